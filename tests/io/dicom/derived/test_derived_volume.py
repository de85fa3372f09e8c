"""Volumes as derived DICOM series: slices where they were, units as they were, and a header that says what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.examples import get_path
from pydicom.uid import UID, generate_uid

from scanweave import io
from scanweave.cine import Derivation
from scanweave.errors import OutputError, UnsupportedError, UsageError
from scanweave.volume import Volume

MADE = Derivation(source_length=4, method="diffeomorphic", summary="Deformed at random, copy 3, seed 42")
PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")


@pytest.fixture
def series(tmp_path: Path) -> Callable[..., Path]:
    """Stack the one slice of an example, 4 times, shuffled in name and 3.7 mm apart along its normal."""

    def write(name: str, **elements: object) -> Path:
        folder, uid = tmp_path / name, generate_uid()
        folder.mkdir()
        for number, k in enumerate((2, 0, 3, 1)):
            ds = pydicom.dcmread(get_path(name))
            first = np.array(ds.ImagePositionPatient, float)
            across = np.array(ds.ImageOrientationPatient, float)
            place = first + 3.7 * k * np.cross(across[:3], across[3:])
            ds.ImagePositionPatient = [f"{x:.6f}" for x in place]
            ds.SeriesInstanceUID, ds.SOPInstanceUID = uid, generate_uid()
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.InstanceNumber = number + 1
            ds.PixelData = np.roll(ds.pixel_array, 5 * k, axis=0).tobytes()
            for keyword, value in elements.items():
                setattr(ds, keyword, value)
            ds.save_as(folder / f"im{number}.dcm")
        return folder

    return write


def deformed(volume: Volume) -> Volume:
    return volume.with_voxels(np.ascontiguousarray(volume.voxels[:, ::-1]))


def written(folder: Path) -> list[Dataset]:
    return [pydicom.dcmread(file) for file in sorted(folder.iterdir())]


@pytest.mark.parametrize("name", ["ct", "mr"])
def test_place_units_and_voxels_survive_exactly(series, name, tmp_path):
    source = io.read(series(name))
    assert isinstance(source, Volume)
    io.write(deformed(source), tmp_path / "out", derivation=MADE)
    again = io.read(tmp_path / "out")
    assert np.array_equal(again.voxels, deformed(source).voxels) and again.dtype == source.dtype
    assert np.array_equal(again.affine, source.affine)
    assert (again.scale, again.offset) == (source.scale, source.offset)
    for file, made in zip(source.source.files, written(tmp_path / "out"), strict=True):
        own = pydicom.dcmread(file)
        for keyword in (*PLACE, "SOPClassUID", "BitsStored", "RescaleSlope", "RescaleIntercept", "FrameOfReferenceUID"):
            assert made.get(keyword) == own.get(keyword), keyword


def test_the_header_says_that_it_is_synthetic_and_what_it_comes_from(series, tmp_path):
    source = io.read(series("ct"))
    io.write(deformed(source), tmp_path / "out", derivation=MADE)
    made = written(tmp_path / "out")
    assert len({ds.SOPInstanceUID for ds in made}) == 4 and len({ds.SeriesInstanceUID for ds in made}) == 1
    assert [ds.InstanceNumber for ds in made] == [1, 2, 3, 4]
    for ds, file in zip(made, source.source.files, strict=True):
        own = pydicom.dcmread(file)
        assert ds.StudyInstanceUID == own.StudyInstanceUID and ds.PatientID == own.PatientID
        assert ds.SeriesInstanceUID != own.SeriesInstanceUID
        assert ds.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
        assert ds.SyntheticData == "YES"
        assert "copy 3, seed 42. " in ds.DerivationDescription and "not for diagnosis" in ds.DerivationDescription
        assert ds.DerivationCodeSequence[-1].CodeMeaning == "Spatial resampling"
        assert [item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence] == [own.SOPInstanceUID]
        assert str(ds.SeriesDescription).endswith("synthetic")


def test_what_is_only_written_again_is_not_called_synthetic(series, tmp_path):
    io.write(io.read(series("mr")), tmp_path / "out")
    for ds in written(tmp_path / "out"):
        assert "SyntheticData" not in ds and ds.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert ds.DerivationCodeSequence[-1].CodeMeaning == "Voxels written again"


def test_a_slice_of_a_series_keeps_its_place_in_one_file(series, tmp_path):
    source = io.read(series("ct"))
    affine = np.array(source.affine)
    affine[:3, 3] = source.grid.to_mm([2, 0, 0])
    io.write(Volume.from_array(source.voxels[2], affine=affine, scale=source.scale, offset=source.offset,
                               source=source.source), tmp_path / "slice.dcm")  # fmt: skip
    own = pydicom.dcmread(source.source.files[2])
    made = pydicom.dcmread(tmp_path / "slice.dcm")
    assert made.ImagePositionPatient == own.ImagePositionPatient
    assert np.array_equal(made.pixel_array, own.pixel_array)


def test_another_grid_and_another_scale_are_written_as_they_are(series, tmp_path):
    """A volume of other slices, that went through an array: its header is that of a series that it is like."""
    source = io.read(series("ct"))
    affine = np.array(source.affine) * (0.5, 2, 1, 1)
    other = Volume.from_array(np.arange(60, dtype=np.uint16).reshape(5, 3, 4), affine=affine, scale=0.25, offset=-3)
    io.write(other, tmp_path / "out", like=tmp_path / "ct", derivation=MADE)
    again = io.read(tmp_path / "out")
    assert np.array_equal(again.voxels, other.voxels) and again.dtype == np.uint16
    np.testing.assert_allclose(again.affine, other.affine, atol=1e-6)
    assert (again.scale, again.offset) == (0.25, -3)
    assert again.source.header.PatientID == source.source.header.PatientID


def test_another_contrast_of_more_bits_is_stored_whole_and_shown_whole(series, tmp_path):
    source = io.read(series("mr", BitsStored=12, HighBit=11, WindowCenter="50", WindowWidth="100"))
    voxels = np.full(source.shape, 60000, np.uint16)
    made = Volume.from_array(voxels, affine=source.affine, scale=1 / 256, levels=(0, 65535), source=source.source)
    contrast = Derivation(source_length=4, method="uni-coal", summary="T2 synthesized", contrast="T2")
    io.write(made, tmp_path / "out", derivation=contrast)
    assert np.array_equal(io.read(tmp_path / "out").voxels, voxels)
    for ds in written(tmp_path / "out"):
        assert (ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (16, 15, 0)
        assert (ds.WindowCenter, ds.WindowWidth) == pytest.approx((128, 256), rel=1e-4)


def test_slices_the_other_way_round_are_read_back_at_the_same_places(series, tmp_path):
    turned = io.read(series("mr")).reoriented("LPI")
    io.write(turned, tmp_path / "out")
    again = io.read(tmp_path / "out").reoriented("LPI")
    assert np.array_equal(again.voxels, turned.voxels)
    np.testing.assert_allclose(again.affine, turned.affine, atol=1e-4)


def test_what_dicom_cannot_hold_is_refused_before_anything_is_written(series, tmp_path):
    source = io.read(series("ct"))
    for volume, error, said in (
        (Volume.from_array(source.voxels, affine=source.affine), UnsupportedError, "no header to derive"),
        (source.with_voxels(source.real()), UnsupportedError, "float32"),
        (source.with_voxels(source.voxels.astype(np.uint8)), UnsupportedError, "other numbers"),
        (source, UsageError, "as many files"),
    ):
        path = tmp_path / ("out.dcm" if error is UsageError else "out")
        with pytest.raises(error, match=said):
            io.write(volume, path)
        assert not path.exists()
    with pytest.raises(OutputError, match="also an input"):
        io.write(source, tmp_path / "ct", overwrite=True)


@pytest.mark.parametrize("name", ["ct", "mr"])
def test_no_error_that_the_source_does_not_have(series, validate, name, tmp_path):
    source = io.read(series(name))
    io.write(deformed(source), tmp_path / "out", derivation=MADE)
    for file, made in zip(source.source.files, sorted((tmp_path / "out").iterdir()), strict=True):
        assert validate(made) - validate(file) == set()


@pytest.mark.reference
def test_an_enhanced_object_stays_one(reference: Path, validate, tmp_path):
    file = reference / "data" / "brain_mr" / "tumour_T2_axial_enhanced.dcm"
    source = io.read(file, as_="volume")
    io.write(deformed(source), tmp_path / "out.dcm", derivation=MADE)
    again = io.read(tmp_path / "out.dcm", as_="volume")
    assert np.array_equal(again.voxels, deformed(source).voxels)
    assert np.array_equal(again.affine, source.affine)
    assert (again.scale, again.offset) == (source.scale, source.offset)
    made = pydicom.dcmread(tmp_path / "out.dcm")
    assert UID(made.SOPClassUID).name == "Enhanced MR Image Storage" and made.SyntheticData == "YES"
    frame = made.PerFrameFunctionalGroupsSequence[0]
    (reference_item,) = frame.DerivationImageSequence[0].SourceImageSequence
    assert reference_item.ReferencedFrameNumber == source.source.order[0] + 1
    assert validate(tmp_path / "out.dcm") - validate(file) == set()
