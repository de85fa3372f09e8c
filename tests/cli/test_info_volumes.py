"""`scanweave info` on volumes: what it prints, and the options that say how one is read."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from scanweave.cli import main


@pytest.fixture
def phases(tmp_path):
    """A volume over time: 4 phases of 3 slices."""
    path = tmp_path / "phases.nii.gz"
    nib.save(nib.Nifti1Image(np.arange(240, dtype=np.int16).reshape(5, 4, 3, 4), np.diag([1, 2, 3, 1])), path)
    return path


def told(capsys, *arguments) -> dict:
    assert main(["info", "--json", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_phase_is_chosen_and_a_spacing_mended(phases, capsys):
    assert main(["info", str(phases)]) == 3
    refusal = capsys.readouterr().err
    assert "--as volume --time-index 0 to 3" in refusal and len(refusal.strip().splitlines()) == 1
    found = told(capsys, phases, "--time-index", 2)
    assert (found["slices"], found["rows"], found["columns"], found["time_index"]) == (3, 4, 5, 2)
    assert found["spacing"] == [3, 2, 1]
    assert found["values"] == {"least": 2, "greatest": 238}
    mended = told(capsys, phases, "--time-index", 0, "--spacing", 6, 0.5, 0.5, "--header-only")
    assert mended["spacing"] == [6, 0.5, 0.5] and "values" not in mended


def test_a_folder_of_volumes_is_told_one_by_one(phases, capsys):
    nib.save(nib.Nifti1Image(np.zeros((5, 4, 3), np.float32), np.eye(4)), phases.with_name("b.nii"))
    (phases.parent / "broken.nii").write_bytes(phases.with_name("b.nii").read_bytes()[:400])
    assert main(["info", "--json", "--time-index", "0", str(phases.parent)]) == 3
    answers = {answer["input"].rpartition("/")[2]: answer for answer in json.loads(capsys.readouterr().out)}
    assert set(answers) == {"phases.nii.gz", "b.nii", "broken.nii"}
    assert answers["b.nii"]["stored_as"] == "float32"
    assert "400 of 592 bytes" in answers["broken.nii"]["error"]


def test_the_table_names_grid_and_orientation(phases, capsys):
    assert main(["info", str(phases), "--time-index", "1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "spacing 3, 2, 1" in printed and "RAS (columns, rows, slices), by the sform" in printed


def test_nan_is_told(tmp_path, capsys):
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), np.nan, np.float32), np.eye(4)), tmp_path / "a.nii")
    found = told(capsys, tmp_path / "a.nii")
    assert found["finite"] is False and "values" not in found
