"""Displacement fields: what scanweave writes SimpleITK applies, and what SimpleITK writes scanweave reads."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from scanweave import io
from scanweave.displacement import Displacement
from scanweave.errors import InputError, OutputError, UsageError
from scanweave.grid import Grid
from scanweave.volume import Volume

ROTATION = sitk.VersorTransform([0.2, -0.5, 0.8], 0.4).GetMatrix()
LPS = np.diag([-1.0, -1, 1])


@pytest.fixture
def grid() -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(ROTATION, (3, 3)) @ np.diag([3.0, 0.7, 1.2])
    affine[:3, 3] = (-12, 40, 7)
    return Grid((9, 12, 14), affine)


@pytest.fixture
def field(grid) -> Displacement:
    """A smooth field of about a voxel, zero at the border."""
    places = np.indices(grid.shape) / np.reshape(np.array(grid.shape) - 1, (3, 1, 1, 1))
    bump = np.prod(np.sin(np.pi * places), axis=0)
    return Displacement.of_voxels(np.stack([0.8 * bump, -1.3 * bump, 1.1 * bump**2]).astype(np.float32), grid)


def test_what_is_written_is_read_back(tmp_path, field, grid):
    io.write(field, tmp_path / "d.nii.gz")
    again = io.read_displacement(tmp_path / "d.nii.gz")
    assert np.array_equal(again.vectors, field.vectors) and again.vectors.dtype == np.float32
    assert again.grid.matches(grid)
    header = nib.load(tmp_path / "d.nii.gz").header
    assert tuple(header["dim"][:6]) == (5, 14, 12, 9, 1, 3)
    assert header["intent_code"] == 1007 and b"LPS" in header["descrip"].item()
    assert again.source.facts["Components"] == "mm along LPS"


def test_itk_reads_it_as_vectors_along_lps(tmp_path, field, grid):
    io.write(field, tmp_path / "d.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "d.nii.gz"))
    assert image.GetNumberOfComponentsPerPixel() == 3 and image.GetSize() == (14, 12, 9)
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), field.vectors @ LPS, atol=1e-6)
    index = (2, 5, 3)
    np.testing.assert_allclose(
        np.array(image.TransformIndexToPhysicalPoint(index)) @ LPS, grid.to_mm(index[::-1]), atol=1e-4
    )


def test_itk_deforms_with_it_as_we_define_it(tmp_path, field, grid):
    """The made image at p is the source at p + d(p): resampling by ITK against index arithmetic of our own."""
    rng = np.random.default_rng(0)
    source = Volume.from_array(rng.random(grid.shape, dtype=np.float32), affine=grid.affine)
    io.write(source, tmp_path / "source.nii.gz")
    io.write(field, tmp_path / "d.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "source.nii.gz"))
    transform = sitk.DisplacementFieldTransform(sitk.ReadImage(str(tmp_path / "d.nii.gz"), sitk.sitkVectorFloat64))
    theirs = sitk.GetArrayFromImage(sitk.Resample(image, image, transform, sitk.sitkLinear))
    ours = map_coordinates(source.voxels, np.indices(grid.shape) + field.in_voxels(), order=1)
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(theirs[inner], ours[inner], atol=1e-4)


@pytest.mark.parametrize(("intent", "along"), [(1007, "LPS"), (1006, "RAS")])
def test_fields_of_others_are_read_as_itk_does(tmp_path, intent, along):
    rng = np.random.default_rng(1)
    image = sitk.GetImageFromArray(rng.normal(size=(4, 5, 6, 3)).astype(np.float32), isVector=True)
    image.SetOrigin((10, 20, 30))
    sitk.WriteImage(image, str(tmp_path / "itk.nii"))
    whole = bytearray((tmp_path / "itk.nii").read_bytes())
    whole[68:70] = np.array([intent], "<i2").tobytes()
    (tmp_path / "itk.nii").write_bytes(bytes(whole))
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "itk.nii")))
    ours = io.read_displacement(tmp_path / "itk.nii")
    np.testing.assert_array_equal(ours.vectors, theirs @ LPS.astype(np.float32))
    assert ours.source.facts["Components"] == f"mm along {along}"


def test_fields_of_one_slice(tmp_path):
    grid = Grid.spaced((1, 5, 6), (8, 2, 0.5))
    flat = np.random.default_rng(0).normal(size=(2, 5, 6))
    io.write(Displacement.of_voxels(flat, grid), tmp_path / "d.nii")
    again = io.read_displacement(tmp_path / "d.nii").in_voxels()
    assert not again[0].any()
    np.testing.assert_allclose(again[1:, 0], flat, atol=1e-6)


def test_what_is_no_field_is_refused(tmp_path, field):
    io.write(Volume.from_array(np.zeros((3, 4, 5), np.int16)), tmp_path / "a.nii")
    with pytest.raises(InputError, match="no displacement field: 1 components"):
        io.read_displacement(tmp_path / "a.nii")
    io.write(Volume.from_array(np.zeros((3, 4, 5), np.int16)), tmp_path / "a.npy")
    with pytest.raises(InputError, match="no NIfTI"):
        io.read_displacement(tmp_path / "a.npy")
    with pytest.raises(UsageError, match=r"\.nii\.gz"):
        io.write(field, tmp_path / "d.npz")
    io.write(field, tmp_path / "d.nii")
    with pytest.raises(OutputError, match="also an input"):
        io.write(io.read_displacement(tmp_path / "d.nii"), tmp_path / "d.nii", overwrite=True)
    whole = bytearray((tmp_path / "d.nii").read_bytes())
    whole[-4:] = np.array([np.nan], "<f4").tobytes()
    (tmp_path / "nan.nii").write_bytes(bytes(whole))
    with pytest.raises(InputError, match="not numbers"):
        io.read_displacement(tmp_path / "nan.nii")
