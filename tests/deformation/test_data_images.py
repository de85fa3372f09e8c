"""Training images from folders of any kind: which they are, whose, and who is held out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scanweave.deformation.data import DataConfig, DiffusedSamples, FolderImages, data_sha256, open_images
from scanweave.deformation.recipe import DrdmRecipeConfig, drdm
from scanweave.deformation.simulated import SimulatedImages, SimulationConfig
from scanweave.errors import InputError, ScanweaveError, UsageError


def save_nifti(path: Path, shape=(12, 10, 4), seed=0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(0, 500, shape).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([1, 1, 8, 1])), path)


def opened(path: Path, ndims=2, **options) -> tuple[FolderImages, FolderImages | None]:
    return open_images(DataConfig(path=path, side=16, **options), ndims=ndims, channels=1)


def names(images: FolderImages) -> set[str]:
    return {file.name for file in images.files}


def test_every_slice_or_every_volume_is_an_image(tmp_path):
    for number in range(2):
        save_nifti(tmp_path / f"case{number}.nii.gz", seed=number)
    np.save(tmp_path / "more.npy", np.random.default_rng(9).random((3, 9, 9)))
    (tmp_path / ".hidden").write_text("no image")
    slices, none = opened(tmp_path, held_out=0)
    assert (len(slices), none) == (4 + 4 + 3, None)
    drawn = [slices.draw(index, generator=np.random.default_rng(0)) for index in range(len(slices))]
    assert drawn[5] == {"file": "case1.nii.gz", "image": 1}
    assert slices.make(drawn[5]).shape == (1, 16, 16)
    volumes, _ = opened(tmp_path, ndims=3, held_out=0)
    assert len(volumes) == 3
    assert volumes.make({"file": "more.npy", "image": 0}).shape == (1, 16, 16, 16)


def test_files_are_told_by_their_bytes_whatever_their_names(tmp_path):
    def told(folder: str, seeds: tuple[int, ...]) -> str | None:
        for number, seed in enumerate(seeds):
            save_nifti(tmp_path / folder / f"{folder}{number}.nii", seed=seed)
        return data_sha256(DiffusedSamples(opened(tmp_path / folder, held_out=0)[0], (0, 79)))

    assert told("one", (0, 1)) == told("other", (1, 0)) != told("third", (0, 2))
    files = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "one").iterdir())
    assert told("one", (0, 1)) == hashlib.sha256("".join(f"{one}\n" for one in files).encode()).hexdigest()
    assert data_sha256(DiffusedSamples(SimulatedImages(SimulationConfig(side=16), 4, 2), (0, 79))) is None
    assert data_sha256(None) is None
    config = DrdmRecipeConfig(data=DataConfig(path=tmp_path / "one", side=16, held_out=0))
    assert drdm(config).describe()["data_sha256"] == told("one", (0, 1))


def test_slices_at_either_end_can_be_left_out(tmp_path):
    save_nifti(tmp_path / "case.nii.gz", shape=(8, 8, 10))
    images, _ = opened(tmp_path, held_out=0, trim=0.2)
    assert [images.draw(i, generator=np.random.default_rng(0))["image"] for i in range(len(images))] == [*range(2, 8)]


def test_pictures_of_one_folder_may_differ_in_size(tmp_path):
    for number, size in enumerate([(20, 10), (9, 30)]):
        Image.new("L", size, number * 100).save(tmp_path / f"{number}.png")
    images, _ = opened(tmp_path, held_out=0)
    assert len(images) == 2
    assert images.make({"file": "1.png", "image": 0}).shape == (1, 16, 16)


def test_patients_are_held_out_whole(tmp_path):
    for patient in range(4):
        for visit in range(2):
            save_nifti(tmp_path / f"patient{patient}" / f"visit{visit}.nii", shape=(8, 8, 1), seed=2 * patient + visit)
    train, held_out = opened(tmp_path, held_out=0.25)
    apart = [{name.split("/")[0] for name in names(part)} for part in (train, held_out)]
    assert [len(part) for part in apart] == [3, 1]
    assert not apart[0] & apart[1]
    table = tmp_path / "table.csv"
    table.write_text(
        "".join(f"{name},{'one' if 'visit0' in name else 'two'}\n" for name in sorted(names(train) | names(held_out)))
    )
    train, held_out = open_images(
        DataConfig(path=tmp_path, side=16, held_out=0.5, table=table, patients="auto"), ndims=2, channels=1
    )
    assert {name.split("/")[1] for name in names(train)}.isdisjoint({name.split("/")[1] for name in names(held_out)})


def test_folders_may_state_the_split_and_a_patient_may_not_be_in_two(tmp_path):
    for split in ("train", "validation"):
        save_nifti(tmp_path / split / f"{split}.nii", shape=(8, 8, 1))
    train, held_out = opened(tmp_path)
    assert (names(train), names(held_out)) == ({"train/train.nii"}, {"validation/validation.nii"})
    for split in ("train", "validation"):
        save_nifti(tmp_path / split / "anna" / "same.nii", shape=(8, 8, 1))
    table = tmp_path.with_suffix(".csv")
    table.write_text("train.nii,a\nvalidation.nii,b\nsame.nii,c\n")
    with pytest.raises(InputError, match="of the same patient"):
        opened(tmp_path, table=table)


@pytest.mark.parametrize("named", ["auto", "published"])
def test_the_published_folders(tmp_path, named):
    folder = tmp_path / "Data" / "Src_data"
    whole = np.random.default_rng(0).random((16, 16))
    (folder / "CMR_processed_rmbg_resize").mkdir(parents=True)
    nib.save(nib.Nifti1Image(whole, np.eye(4)), folder / "CMR_processed_rmbg_resize" / "OpenDataset_1.nii.gz")
    images, _ = opened(tmp_path, layout=named, prepare="published", held_out=0)
    np.testing.assert_allclose(images.make({"file": next(iter(names(images))), "image": 0})[0], whole, atol=1e-6)
    (folder / "CTLung_processed").mkdir()
    cube = np.random.default_rng(1).random((16, 16, 16)).astype(np.float32)
    np.save(folder / "CTLung_processed" / "a.npy", cube)
    images, _ = opened(tmp_path, ndims=3, layout=named, name="lct", prepare="published", held_out=0)
    np.testing.assert_array_equal(images.make({"file": next(iter(names(images))), "image": 0})[0], cube)


def test_memory_for_images_is_bounded_and_what_is_given_out_may_be_changed(tmp_path):
    save_nifti(tmp_path / "case.nii.gz")
    for mib in (0, 64):
        images, _ = opened(tmp_path, held_out=0, cache_mib=mib)
        drawn = {"file": "case.nii.gz", "image": 0}
        first = images.make(drawn)
        before = first.clone()
        first.zero_()
        assert np.array_equal(images.make(drawn), before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"side": 20}, "such as 24"),
        ({"window": (99, 1)}, "percentiles"),
        ({"held_out": 0.5}, "of one patient"),
    ],
)
def test_options_that_contradict_are_refused(tmp_path, options, words):
    save_nifti(tmp_path / "case.nii.gz")
    with pytest.raises(UsageError, match=words):
        open_images(DataConfig(path=tmp_path, **options), ndims=2, channels=1)
    with pytest.raises(UsageError, match=r"data\.path"):
        open_images(DataConfig(), ndims=2, channels=1)


def test_bad_files_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        opened(tmp_path / "empty")
    save_nifti(tmp_path / "set" / "good.nii")
    (tmp_path / "set" / "bad.nii").write_bytes((tmp_path / "set" / "good.nii").read_bytes()[:500])
    with pytest.raises(ScanweaveError, match=r"bad\.nii"):
        images, _ = opened(tmp_path / "set", held_out=0)
        for index in range(len(images)):
            images.make(images.draw(index, generator=np.random.default_rng(0)))
    Image.new("RGB", (9, 9)).save(tmp_path / "colour.png")
    images, _ = opened(tmp_path / "colour.png", held_out=0)
    with pytest.raises(InputError, match=r"3 channels, not 1.*recipe\.channels"):
        images.make({"file": "colour.png", "image": 0})


@given(low=st.integers(0, 79), span=st.integers(0, 79), seed=st.integers(0, 99))
def test_levels_and_seeds_are_drawn_within_their_limits(low, span, seed):
    class One:
        def __len__(self):
            return 1

        def draw(self, index, *, generator):
            return {"index": index}

    drawn = DiffusedSamples(One(), (low, low + span)).draw(0, generator=np.random.default_rng(seed))
    assert low <= drawn["level"] <= low + span
    assert 0 <= drawn["seed"] < 2**53
