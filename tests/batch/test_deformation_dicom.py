"""Deformed copies of a DICOM series as DICOM series: where they lie, what they say, and going on after a stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.examples import get_path
from pydicom.uid import generate_uid

from scanweave import io
from scanweave.batch.deformation import DeformOptions, deform_file
from scanweave.cli import main
from scanweave.deformation import apply
from scanweave.errors import UnsupportedError
from scanweave.plan import fingerprint
from scanweave.volume import Volume

OPTIONS = DeformOptions(n=2, seed=5, format="dicom", options=(("max_displacement", 4.0),))


@pytest.fixture
def series(tmp_path) -> Path:
    """Four slices of an example, 5 mm apart, in a folder with a dot in its name."""
    folder, uid = tmp_path / "brain.T1", generate_uid()
    folder.mkdir()
    for k in range(4):
        ds = pydicom.dcmread(get_path("mr"))
        across = np.array(ds.ImageOrientationPatient, float)
        place = np.array(ds.ImagePositionPatient, float) + 5 * k * np.cross(across[:3], across[3:])
        ds.ImagePositionPatient = [f"{x:.6f}" for x in place]
        ds.PixelSpacing, ds.SliceThickness, ds.InstanceNumber = [2, 2], 5, k + 1
        ds.SeriesInstanceUID, ds.SOPInstanceUID = uid, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(folder / f"{k}.dcm")
    return folder


def test_copies_are_series_of_their_own_with_fields_that_make_them(series, tmp_path):
    out = tmp_path / "out"
    done = deform_file((series,), out, options=OPTIONS, report=True)
    source = io.read(series)
    uids = set()
    for k, entry in enumerate(done.manifest.copies):
        folder = out / entry.files["image"].name
        assert sorted(path.name for path in folder.iterdir()) == [f"IM00000{n}.dcm" for n in range(1, 5)]
        assert entry.files["image"].sha256 == fingerprint(folder).sha256
        copy = io.read(folder)
        assert copy.grid.matches(source.grid) and copy.dtype == source.dtype
        field = io.read_displacement(out / entry.files["field"].name)
        np.testing.assert_allclose(apply(field, source).voxels, copy.voxels, atol=1)
        assert not np.array_equal(copy.voxels, source.voxels)
        said = copy.source.header.DerivationDescription
        assert f"Deformed copy {k} by diffeomorphic, seed {entry.params['seed']}" in said
        uids.add(copy.source.header.SeriesInstanceUID)
    assert len(uids) == 2 and source.source.header.SeriesInstanceUID not in uids
    assert "No copy folds" in done.report.read_text()


def test_copies_that_are_whole_are_kept_and_damaged_ones_made_again(series, tmp_path):
    out = tmp_path / "out"
    done = deform_file((series,), out, options=OPTIONS)
    first, second = (out / entry.files["image"].name for entry in done.manifest.copies)
    kept = fingerprint(first).sha256
    next(iter(second.iterdir())).unlink()
    again = deform_file((series,), out, options=OPTIONS, resume=True)
    assert again.manifest.complete and fingerprint(first).sha256 == kept
    assert len(list(second.iterdir())) == 4
    deform_file((series,), out, options=DeformOptions(n=1), overwrite=True)
    assert not first.exists() and not second.exists()


def test_the_command_takes_the_format_and_refuses_what_is_no_dicom(series, tmp_path):
    out = tmp_path / "copies"
    assert main(["deform", str(series), "-o", str(out), "--format", "dicom", "--max-displacement", "4"]) == 0
    assert (out / "brain_0000" / "IM000004.dcm").is_file()
    field = out / "brain_0000_field.nii.gz"
    assert main(["apply-field", str(series), "--field", str(field), "-o", str(tmp_path / "again")]) == 0
    copy, again = io.read(out / "brain_0000"), io.read(tmp_path / "again")
    np.testing.assert_allclose(again.voxels, copy.voxels, atol=1)
    assert again.source.header.SyntheticData == "YES"
    assert fingerprint(field).sha256[:16] in again.source.header.DerivationDescription
    io.write(Volume.from_array(np.eye(8, dtype=np.int16), spacing=(1, 1, 1)), tmp_path / "a.nii.gz")
    with pytest.raises(UnsupportedError, match="no header to derive"):
        deform_file((tmp_path / "a.nii.gz",), tmp_path / "none", options=OPTIONS)
    assert not (tmp_path / "none").exists()
