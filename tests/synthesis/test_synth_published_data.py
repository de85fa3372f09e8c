"""Uni-COAL's published files and what its programs do to them, number for number."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from scanweave.errors import InputError
from scanweave.synthesis.published_data import (
    contrasts_in,
    fitted,
    pairing,
    read_subject,
    rescaled,
    signed_unit,
    stated_splits,
    subject_files,
    thick_pairing,
    truncated,
    write_subject,
)


@pytest.fixture(scope="module")
def golden(vectors) -> dict[str, np.ndarray]:
    return vectors("uni_coal/data")


def test_levels_are_the_published_ones(golden):
    assert np.array_equal(rescaled(golden["prep_in"]), golden["prep_out"])
    assert np.array_equal(truncated(golden["prep_in"]), golden["clip_eval_u8"])
    assert np.array_equal(truncated(golden["prep_in"], low_from_zero=True), golden["clip_nii_u8"])
    np.testing.assert_allclose(signed_unit(golden["normalize_in"]), golden["normalize_out"], atol=1e-7)


def test_slices_are_cropped_and_surrounded_as_published(golden):
    for case in range(4):
        size = tuple(golden[f"crop{case}_size"])
        assert np.array_equal(fitted(golden[f"crop{case}_in"], size), golden[f"crop{case}_out"])


def test_slices_go_together_as_published(golden):
    for thickness, slices, depth, index, position, *sources in golden["pairing"]:
        found, where = pairing(int(index), thickness=int(thickness), slices=int(slices), depth=int(depth))
        assert found == [int(place) for place in sources[: int(slices)]]
        assert where == pytest.approx(position)


@pytest.mark.parametrize("case", ["nii_t3_o1", "nii_t7_o1"])
def test_slices_of_one_thick_volume_go_together_as_published(case, golden):
    for thickness, _, depth, index, position, *sources in golden[case]:
        found, where = thick_pairing(int(index), thickness=int(thickness), depth=int(depth))
        assert found == [int(place) for place in sources]
        assert where == pytest.approx(position)


def test_a_subject_is_written_plainly_and_read_back(tmp_path):
    volumes = {"T1": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "seg": np.ones((2, 3, 4), np.uint8)}
    write_subject(tmp_path / "one.h5", volumes)
    with h5py.File(tmp_path / "one.h5") as file:
        assert set(file) == {"T1", "seg"}
        assert not file.attrs
        assert all(not item.attrs and item.dtype == np.uint8 for item in file.values())
    found = read_subject(tmp_path / "one.h5")
    assert all(np.array_equal(found[name], volume) for name, volume in volumes.items())
    assert contrasts_in(tmp_path / "one.h5")["T1"] == (2, 3, 4)


def test_a_slice_is_a_volume_of_one(tmp_path):
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["T1"] = np.zeros((3, 4), np.uint8)
    assert read_subject(tmp_path / "flat.h5")["T1"].shape == (1, 3, 4)


def test_files_of_another_form_are_refused(tmp_path):
    with h5py.File(tmp_path / "float.h5", "w") as file:
        file["T1"] = np.zeros((2, 3, 4), np.float32)
    with h5py.File(tmp_path / "uneven.h5", "w") as file:
        file["T1"], file["T2"] = np.zeros((2, 3, 4), np.uint8), np.zeros((3, 3, 4), np.uint8)
    with h5py.File(tmp_path / "bare.h5", "w"):
        pass
    (tmp_path / "text.h5").write_text("no HDF5")
    for name, message in {
        "float": "float32",
        "uneven": "differ in shape: T1 2 x 3 x 4, T2 3 x 3 x 4",
        "bare": "no contrasts",
        "text": "cannot be read as HDF5",
    }.items():
        with pytest.raises(InputError, match=message):
            contrasts_in(tmp_path / f"{name}.h5")
    write_subject(tmp_path / "one.h5", {"T1": np.zeros((2, 3, 4), np.uint8)})
    with pytest.raises(InputError, match="has no T2; it has T1"):
        read_subject(tmp_path / "one.h5", ["T2"])
    with pytest.raises(InputError, match="uint8 volumes of one shape"):
        write_subject(tmp_path / "two.h5", {"T1": np.zeros((2, 3, 4))})
    assert not (tmp_path / "two.h5").exists()


def test_values_without_a_range_are_refused():
    with pytest.raises(InputError, match="no two values above 0"):
        rescaled(np.zeros((2, 2, 2)))
    with pytest.raises(InputError, match="no two values"):
        truncated(np.full((2, 2, 2), 7))


def test_lists_and_folders_state_the_splits(tmp_path):
    for name in ("a", "b", "c"):
        write_subject(tmp_path / "all" / f"{name}.h5", {"T1": np.zeros((1, 2, 2), np.uint8)})
    (tmp_path / "train.txt").write_text("all/a.h5\n\nall/b.h5\n")
    (tmp_path / "test").symlink_to(tmp_path / "all")
    assert stated_splits(tmp_path) == {"train": tmp_path / "train.txt", "test": tmp_path / "test"}
    assert [path.name for path in subject_files(tmp_path / "train.txt")] == ["a.h5", "b.h5"]
    assert len(subject_files(tmp_path / "test")) == 3
    for text, message in {"all/z.h5": "not there", "all/a.h5\nall/a.h5": "twice", "\n": "names no file"}.items():
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(InputError, match=message):
            subject_files(Path(tmp_path / "bad.txt"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no"):
        subject_files(tmp_path / "empty")
