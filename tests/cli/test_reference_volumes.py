"""Every real volume goes through `info`, is read, and comes back from each format as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest

import scanweave
from scanweave.cli import main

# file or folder -> shape, dtype, spacing, directions of columns, rows and slices, words of a note
TABLE = {
    "brain_mr/stroke_T1.nii.gz": ((140, 160, 124), "uint8", (1, 1, 1), "RAS", ""),
    "brain_mr/stroke_T2.nii.gz": ((140, 160, 124), "uint8", (1, 1, 1), "RAS", ""),
    "brain_mr/stroke_FLAIR.nii.gz": ((140, 160, 124), "uint8", (1, 1, 1), "RAS", ""),
    "brain_mr/tumour_T1_axial.nii.gz": ((24, 256, 256), "int16", (6, 0.820312, 0.820312), "LPS", ""),
    "brain_mr/tumour_T2_axial_enhanced.dcm": ((24, 256, 256), "int16", (6, 0.820312, 0.820312), "LPS", ""),
    "lung_ct/ct_lung_a_half.mha": ((64, 78, 57), "int16", (5, 2.732, 2.732), "LPS", ""),
    "lung_ct/ct_lung_b.mha": ((129, 157, 115), "int16", (2.5, 1.366, 1.366), "LPS", ""),
    "lung_ct/ct_lung_mask.mha": ((129, 157, 115), "uint8", (2.5, 1.366, 1.366), "LPS", ""),
    "drdm/OpenDataset_162867.nii.gz": ((1, 256, 256), "float64", (1, 1, 1), "RAS", ""),
    "drdm/patient001_frame01.nii.gz": ((10, 256, 216), "int16", (1, 1, 1), "LPS", "ITK takes) 1.5625 x 1.5625 x 10"),
    "drdm/patient001_frame01_gt.nii.gz": ((10, 256, 216), "uint8", (1, 1, 1), "LPS", "ITK takes) 1.5625 x 1.5625 x 10"),
}


@pytest.mark.reference
@pytest.mark.parametrize("name", TABLE)
def test_each_volume_is_told_read_and_written_back(reference, tmp_path, capsys, name):
    path = reference / "data" / name
    shape, dtype, spacing, codes, note = TABLE[name]
    assert main(["info", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["slices"], told["rows"], told["columns"], told["stored_as"]) == (*shape, dtype)
    assert told["finite"] and told["values"]["greatest"] > told["values"]["least"]
    np.testing.assert_allclose(told["spacing"], spacing, rtol=1e-6)
    assert any(note in said for said in told["notes"]) if note else not told["notes"]
    volume = scanweave.read(path)
    assert isinstance(volume, scanweave.Volume) and volume.grid.codes == codes
    for suffix in (".nii.gz", ".mha", ".nrrd", ".npz", ".h5"):
        scanweave.write(volume, tmp_path / f"a{suffix}")
        again = scanweave.read(tmp_path / f"a{suffix}")
        assert again.dtype == volume.dtype and np.array_equal(again.voxels, volume.voxels)
        assert (again.scale, again.offset) == (volume.scale, volume.offset)
        np.testing.assert_allclose(again.affine, volume.affine, rtol=1e-6, atol=1e-4)
    assert np.array_equal(volume.stored(volume.unit()), volume.voxels) or dtype == "float64"


@pytest.mark.reference
def test_the_two_slices_of_a_series_are_found_in_their_folder(reference, tmp_path, capsys):
    for k in range(2):
        (tmp_path / f"{k}.dcm").write_bytes((reference / "data/lung_ct" / f"ct_chest_slice{k}.dcm").read_bytes())
    assert main(["info", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["slices"], told["spacing"], told["modality"]) == (2, [1, 0.625, 0.625], None)


@pytest.mark.reference
@pytest.mark.parametrize("command", ["interpolate", "trust"])
def test_verbs_for_runs_refuse_volumes_in_one_line(reference, tmp_path, capsys, command):
    arguments = [command, str(reference / "data/brain_mr/stroke_T1.nii.gz"), "-o", str(tmp_path / "out.html")]
    assert main([*arguments, *(["--factor", "2"] if command == "interpolate" else [])]) == 4
    told = capsys.readouterr().err.strip()
    assert "is a volume (140 slices" in told and len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())
