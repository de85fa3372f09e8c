"""MetaImage and NRRD: read as SimpleITK places them, written so that SimpleITK reads them."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from scanweave import io
from scanweave.cine import Cine
from scanweave.errors import InputError, OutputError, UnsupportedError
from scanweave.volume import Volume

TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, np.float32, np.float64)
DIRECTION = sitk.VersorTransform([0.2, -0.5, 0.8], 0.4).GetMatrix()
LPS = np.array([-1.0, -1, 1])


def image(dtype=np.int16, shape=(3, 4, 5), *, vector=False) -> sitk.Image:
    made = sitk.GetImageFromArray(np.arange(np.prod(shape)).reshape(shape).astype(dtype), isVector=vector)
    if made.GetDimension() == 3:
        made.SetSpacing((0.7, 1.1, 3.3))
        made.SetOrigin((-12.5, 40.1, 7.3))
        made.SetDirection(DIRECTION)
    return made


def write(made: sitk.Image, path, *, compressed=False):
    sitk.WriteImage(made, str(path), useCompression=compressed)
    return path


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_every_type_and_place_survive_to_the_last_bit(tmp_path, dtype, suffix):
    path = write(image(dtype), tmp_path / f"a{suffix}", compressed=True)
    volume = io.read(path)
    assert isinstance(volume, Volume) and volume.dtype == dtype
    assert np.array_equal(volume.voxels, sitk.GetArrayFromImage(image(dtype)))
    for index in ((0, 0, 0), (2, 3, 4)):
        point = np.array(image().TransformIndexToPhysicalPoint(index[::-1])) * LPS
        np.testing.assert_allclose(volume.grid.to_mm(index), point, atol=1e-9)
    assert io.write(volume, tmp_path / f"b{suffix}") == ()
    again = sitk.ReadImage(str(tmp_path / f"b{suffix}"))
    first = sitk.ReadImage(str(path))
    assert again.GetPixelID() == first.GetPixelID()
    assert (again.GetSpacing(), again.GetOrigin(), again.GetDirection()) == (
        first.GetSpacing(), first.GetOrigin(), first.GetDirection())  # fmt: skip
    assert np.array_equal(io.read(tmp_path / f"b{suffix}").voxels, volume.voxels)


@pytest.mark.parametrize("header", [".mhd", ".nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_voxels_may_lie_beside_their_header(tmp_path, header, compressed):
    path = write(image(), tmp_path / f"a{header}", compressed=compressed)
    assert np.array_equal(io.read(path).voxels, sitk.GetArrayFromImage(image()))
    for beside in tmp_path.glob("a.*raw*"):
        beside.unlink()
    with pytest.raises(InputError, match="voxels are missing"):
        io.read(path)


def test_pictures_channels_and_phases(tmp_path):
    flat = io.read(write(image(np.uint8, (4, 5)), tmp_path / "flat.mha"))
    assert flat.shape == (1, 4, 5) and flat.spacing == (1, 1, 1)
    colour = io.read(write(image(np.uint8, (3, 4, 5, 3), vector=True), tmp_path / "colour.nrrd"))
    assert colour.shape == (3, 4, 5, 3)
    io.write(colour, tmp_path / "again.mha")
    assert np.array_equal(io.read(tmp_path / "again.mha").voxels, colour.voxels)
    phases = sitk.JoinSeries([image(), image() + 100])
    path = write(phases, tmp_path / "phases.mha")
    with pytest.raises(InputError, match="--time-index 0 to 1"):
        io.read(path)
    assert np.array_equal(io.read(path, time_index=1).voxels, sitk.GetArrayFromImage(image()) + 100)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_scale_and_offset_survive(tmp_path, suffix):
    volume = Volume.from_array(np.zeros((3, 4, 5), np.int16), spacing=(3, 2, 1), scale=0.1, offset=-1024, levels=(0, 9))
    assert "other programs show stored values" in io.write(volume, tmp_path / f"a{suffix}")[0]
    again = io.read(tmp_path / f"a{suffix}")
    assert (again.scale, again.offset, again.levels) == (0.1, -1024, (0, 9))
    np.testing.assert_allclose(again.affine, volume.affine)


def test_formats_agree_on_the_place(tmp_path):
    volume = io.read(write(image(), tmp_path / "a.mha"))
    io.write(volume, tmp_path / "a.nii.gz")
    theirs = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_allclose(theirs.GetOrigin(), image().GetOrigin(), rtol=1e-6)
    np.testing.assert_allclose(theirs.GetDirection(), DIRECTION, atol=1e-6)
    again = io.read(tmp_path / "a.nii.gz")
    assert again.grid.matches(volume.grid)


def test_damage_is_named_and_nothing_is_printed(tmp_path, capfd):
    for suffix in (".mha", ".nrrd"):
        path = write(image(), tmp_path / f"a{suffix}")
        path.write_bytes(path.read_bytes()[:-60])
        with pytest.raises(InputError, match="cannot be read as") as caught:
            _ = io.read(path).voxels
        assert caught.value.path == str(path)
    text = write(image(), tmp_path / "b.mha").read_bytes()
    for old, new, reason in (
        (b"DimSize = 5 4 3", b"DimSize = 50000 40000 30000", "cannot hold"),
        (b"Offset = -12.5", b"Offset = nan", "not numbers"),
        (b"ElementSpacing = 0.69999999999999996", b"ElementSpacing = 0", "spacing"),
        (b"MET_SHORT", b"MET_NOTHING", "cannot be read"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = gone.raw", "voxels are missing"),
    ):
        assert old in text
        (tmp_path / "c.mha").write_bytes(text.replace(old, new))
        with pytest.raises(InputError, match=reason):
            _ = io.read(tmp_path / "c.mha").voxels
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_what_itk_cannot_hold_or_is_no_volume_is_refused(tmp_path):
    path = write(sitk.RealAndImaginaryToComplex(image(np.float32), image(np.float32)), tmp_path / "a.nrrd")
    with pytest.raises(UnsupportedError, match="complex"):
        io.read(path)
    with pytest.raises(UnsupportedError, match="no float16"):
        io.write(Volume.from_array(np.zeros((2, 2), np.float16)), tmp_path / "b.mha")
    path = write(image(), tmp_path / "c.mha")
    with pytest.raises(UnsupportedError, match="not a run over time"):
        io.read(path, as_="cine")
    with pytest.raises(OutputError, match="also an input"):
        io.write(io.read(path), path, overwrite=True)
    assert not isinstance(io.read(path), Cine)
