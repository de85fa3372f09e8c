"""``scanweave prepare synthesis``: volumes in, published files out, split by patient, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from scanweave.cli import main
from scanweave.synthesis.config import TaskConfig
from scanweave.synthesis.data import DataConfig, open_volumes
from scanweave.synthesis.published_data import read_subject, rescaled


def write(path: Path, voxels: np.ndarray, shift: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-1.0, -1.0, 3.0, 1.0])
    affine[0, 3] = shift
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine), path)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Four people with T1 and labels, three of them with T2 too."""
    for number in range(4):
        rng = np.random.default_rng(number)
        folder = tmp_path / "in" / f"Doe{number}"
        write(folder / "T1.nii.gz", rng.integers(-5, 900, (4, 10, 8)).astype(np.int16))
        write(folder / "seg.nii.gz", rng.integers(0, 4, (4, 10, 8)).astype(np.int16))
        if number:
            write(folder / "T2.nii.gz", rng.integers(0, 300, (4, 10, 8)).astype(np.int16))
    return tmp_path / "in"


def prepare(*words: object) -> int:
    return main(["prepare", "synthesis", *map(str, words)])


def test_a_set_is_made_as_published_and_trained_on(people, tmp_path, capsys):
    output = tmp_path / "set"
    assert prepare(people, "-o", output, "--split", "2,1,1", "--labels", "seg", "--names", "keep") == 0
    assert "train: 2 subjects of 2 patients" in capsys.readouterr().out
    manifest = json.loads((output / "manifest.json").read_text())
    assert len(manifest["subjects"]) == 4
    for entry in manifest["subjects"]:
        name = Path(entry["file"]).stem
        found = read_subject(output / entry["file"])
        source = nibabel.load(people / name / "T1.nii.gz")
        assert np.array_equal(found["T1"], rescaled(np.asarray(source.dataobj).transpose(2, 1, 0)))
        labels = np.asarray(nibabel.load(people / name / "seg.nii.gz").dataobj).transpose(2, 1, 0)
        assert np.array_equal(found["seg"], labels)
        assert ("T2" in found) == (name != "Doe0")
        assert np.allclose(np.abs(np.array(entry["affine"])[:3, :3]).sum(axis=0), [3, 1, 1])
    with h5py.File(output / manifest["subjects"][0]["file"]) as file:
        assert not file.attrs
    train, held_out = open_volumes(
        DataConfig(path=output), TaskConfig(sources=("T1",), targets=("T1",), spacings=(2.0,), side=16), one_z=True
    )
    assert len(train.subjects) == 2
    assert len(held_out.subjects) == 1


def test_names_are_hashes_unless_they_are_to_be_kept(people, tmp_path):
    assert prepare(people, "-o", tmp_path / "set", "--split", "1,0,0", "--salt", "s") == 0
    text = (tmp_path / "set" / "manifest.json").read_text()
    files = [path.name for path in (tmp_path / "set").rglob("*.h5")]
    assert "Doe" not in text + "".join(files)
    assert len(files) == 4


def test_other_grids_are_refused_or_registered_and_nothing_is_half_written(people, tmp_path, capsys):
    rng = np.random.default_rng(9)
    blob = np.zeros((12, 24, 24), np.int16)
    blob[3:9, 6:18, 8:16] = 400 + rng.integers(0, 50, (6, 12, 8))
    write(people / "Doe9" / "T1.nii.gz", blob)
    write(people / "Doe9" / "T2.nii.gz", blob, shift=2.0)
    output = tmp_path / "set"
    assert prepare(people, "-o", output) == 3
    assert "lies on another grid" in capsys.readouterr().err
    assert not output.exists()
    assert not list(tmp_path.glob(".set*"))
    assert prepare(people, "-o", output, "--skip-bad") == 0
    assert "Left out: lies on another grid" in capsys.readouterr().err
    assert prepare(people, "-o", output, "--register", "--overwrite", "--names", "keep") == 0
    (path,) = output.rglob("Doe9.h5")
    found = read_subject(path)
    assert found["T1"].shape == found["T2"].shape


def test_what_lies_outside_a_mask_becomes_0(people, tmp_path):
    assert prepare(people, "-o", tmp_path / "set", "--mask", "seg", "--names", "keep", "--split", "1,0,0") == 0
    found = read_subject(tmp_path / "set" / "train" / "Doe1.h5")
    mask = np.asarray(nibabel.load(people / "Doe1" / "seg.nii.gz").dataobj).transpose(2, 1, 0) != 0
    assert set(found) == {"T1", "T2"}
    assert not found["T2"][~mask].any()
    assert found["T2"][mask].any()


def test_bad_inputs_are_refused(people, tmp_path, capsys):
    def refused(code: int, message: str, *words: object) -> None:
        assert prepare(*words, "-o", tmp_path / "set") == code
        assert message in capsys.readouterr().err
        assert not (tmp_path / "set").exists()

    refused(2, "no input")
    refused(3, "does not exist", tmp_path / "nowhere")
    refused(3, "no subject with any of PD", people, "--contrasts", "PD")
    refused(2, "name each once", people, "--contrasts", "T1,t1")
    write(people / "Doe7" / "seg.nii.gz", np.full((4, 10, 8), 0.5, np.float32))
    write(people / "Doe7" / "T1.nii.gz", np.arange(320, dtype=np.int16).reshape(4, 10, 8))
    refused(3, "no map of labels", people, "--labels", "seg")
    (people / "Copy").mkdir()
    (people / "Copy" / "T1.nii.gz").write_bytes((people / "Doe1" / "T1.nii.gz").read_bytes())
    refused(3, "of another patient", people)
