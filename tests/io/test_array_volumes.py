"""npy, npz, HDF5, TIFF and pictures as volumes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from PIL import Image

from scanweave import io
from scanweave.cine import Cine, Display
from scanweave.errors import InputError, OutputError, UsageError
from scanweave.volume import Volume

OBLIQUE = np.array([[0.2, -0.5, 1.1, -20], [0.1, 0.7, 0.8, 5], [3.0, 0.1, -0.2, 1 / 3], [0, 0, 0, 1]])
RAMP = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (3, 4, 5, 3), (3, 4, 5, 2)])
def test_all_that_a_volume_means_survives(tmp_path, dtype, suffix, shape):
    volume = Volume.from_array(
        np.arange(np.prod(shape)).reshape(shape).astype(dtype),
        affine=OBLIQUE,
        scale=0.1,
        offset=-1024,
        levels=(0, 4095),
        time_index=3,
        display=Display(inverted=True, window=(5, 50)),
    )
    assert io.write(volume, tmp_path / f"a{suffix}") == ()
    again = io.read(tmp_path / f"a{suffix}")
    assert isinstance(again, Volume) and again.dtype == dtype
    assert np.array_equal(again.voxels, volume.voxels)
    assert np.array_equal(again.affine, volume.affine)
    for name in ("scale", "offset", "stated_levels", "time_index", "display", "space_unit"):
        assert getattr(again, name) == getattr(volume, name), name


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_counted_voxels_stay_counted(tmp_path, suffix):
    io.write(Volume.from_array(RAMP), tmp_path / f"a{suffix}")
    again = io.read(tmp_path / f"a{suffix}", as_="volume")
    assert (again.space_unit, again.spacing) == ("voxel", (1, 1, 1))
    assert np.array_equal(again.voxels, RAMP)
    assert any("no spacing" in note for note in again.source.notes)


def test_bare_arrays_are_runs_unless_said_otherwise(tmp_path):
    np.save(tmp_path / "a.npy", RAMP)
    np.savez(tmp_path / "a.npz", T1=RAMP)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["T1"] = RAMP.astype(np.uint8)
        file["T2"] = RAMP.astype(np.uint8) + 1
    for name in ("a.npy", "a.npz", "a.h5:/T2"):
        assert isinstance(io.read(tmp_path / name), Cine)
        assert io.read(tmp_path / name, as_="volume").shape == (3, 4, 5)
    assert io.read(tmp_path / "a.h5:/T2", as_="volume").voxels[0, 0, 0] == 1
    io.write(Volume.from_array(RAMP, affine=OBLIQUE), tmp_path / "b.h5")
    assert isinstance(io.read(tmp_path / "b.h5", as_="cine"), Cine)


def test_an_affine_beside_an_array_makes_it_a_volume(tmp_path):
    np.savez(tmp_path / "a.npz", T1=RAMP, affine=OBLIQUE)
    with pytest.raises(InputError, match="holds 2 arrays"):
        io.read(tmp_path / "a.npz")
    assert np.array_equal(io.read(tmp_path / "a.npz", dataset="T1").affine, OBLIQUE)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["T1"] = RAMP
        file["T1"].attrs["affine"] = OBLIQUE
    assert np.array_equal(io.read(tmp_path / "a.h5").affine, OBLIQUE)
    np.savez(tmp_path / "a.npz", voxels=RAMP, affine=np.full((4, 4), np.nan))
    with pytest.raises(InputError, match="not numbers") as caught:
        io.read(tmp_path / "a.npz")
    assert caught.value.path == str(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", voxels=RAMP, affine=np.eye(3))
    with pytest.raises(InputError, match="of shape"):
        io.read(tmp_path / "a.npz")


def test_arrays_that_are_no_volume(tmp_path):
    for array in (np.zeros(4), np.zeros((2, 2, 2, 2, 2)), np.zeros((2, 0, 2)), np.zeros((2, 2), complex)):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(InputError, match="is no volume"):
            io.read(tmp_path / "a.npy", as_="volume")
    np.save(tmp_path / "a.npy", np.zeros((2, 2), ">i2"))
    assert io.read(tmp_path / "a.npy", as_="volume").voxels.dtype == np.int16
    np.save(tmp_path / "a.npy", np.ones((2, 2, 2), bool))
    assert io.read(tmp_path / "a.npy", as_="volume").voxels.dtype == np.uint8


def test_pages_and_pictures_may_be_slices(tmp_path):
    cine = Cine.from_array(RAMP.astype(np.uint8))
    io.write(cine, tmp_path / "a.tif")
    volume = io.read(tmp_path / "a.tif", as_="volume")
    assert np.array_equal(volume.voxels, RAMP) and volume.space_unit == "voxel"
    assert any("taken as slices" in note for note in volume.source.notes)
    for k, plane in enumerate(RAMP.astype(np.uint8)):
        Image.fromarray(plane).save(tmp_path / f"{k}.png")
    pictures = [tmp_path / f"{k}.png" for k in range(3)]
    assert np.array_equal(io.read(pictures, as_="volume").voxels, RAMP)


def test_outputs_are_named_and_never_inputs(tmp_path):
    volume = Volume.from_array(RAMP, affine=OBLIQUE)
    io.write(volume, f"{tmp_path / 'a.h5'}:/group/T1")
    again = io.read(f"{tmp_path / 'a.h5'}:/group/T1")
    assert np.array_equal(again.voxels, RAMP)
    with pytest.raises(OutputError, match="also an input"):
        io.write(again, tmp_path / "a.h5", overwrite=True)
    with pytest.raises(UsageError, match="no format of volumes"):
        io.write(volume, tmp_path / "a.mp4")
    assert "keeps neither geometry" in io.write(volume, tmp_path / "a.npy")[0]
