"""From volumes to training images: proportions and scale kept, and the published loaders number for number."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from scanweave.deformation.preparation import (
    prepared,
    prepared_as_published,
    published_slice,
    published_target,
    without_background,
)
from scanweave.errors import InputError
from scanweave.volume import Volume


def test_golden_background(vectors):
    arrays = vectors("drdm/data_misc")
    for kind in ("", "_float"):
        given = arrays[f"bg_in{kind}"].copy()
        assert np.array_equal(without_background(given), arrays[f"bg_out{kind}"])
        assert np.array_equal(given, arrays[f"bg_in{kind}"]), "the input is left alone, unlike there"


@pytest.mark.reference
def test_golden_target_slice(reference: Path):
    image, label = (
        nib.load(reference / "data" / "drdm" / f"patient001_frame01{kind}.nii.gz").get_fdata()[..., 4]
        for kind in ("", "_gt")
    )
    made, mask = published_target(image, label, 256)
    with np.load(reference / "goldens" / "drdm" / "data_cmr_slice4.npz") as golden:
        np.testing.assert_allclose(made.numpy(), golden["img"], atol=1e-6)
        np.testing.assert_allclose(mask.numpy(), golden["mask"], atol=1e-6)


def test_slices_keep_their_proportions_and_the_scale_of_their_volume():
    """A square of 20 mm stays one, though rows are twice as far apart as columns; a dimmer slice stays dimmer."""
    voxels = np.zeros((2, 20, 40), np.int16)
    voxels[0, 5:15, 10:30] = 100
    voxels[1] = voxels[0] // 2
    images = prepared(Volume.from_array(voxels, spacing=(8, 2, 1)), ndims=2, side=40)
    assert images.shape == (2, 1, 40, 40)
    assert float(images.min()) == 0
    bright = (images[0, 0] > 0.5).nonzero()
    height, width = (bright.amax(0) - bright.amin(0) + 1).tolist()
    assert abs(height - width) <= 1
    assert float(images[0].max()) == 1
    assert float(images[1].max()) == pytest.approx(0.5)


def test_a_volume_becomes_a_cube():
    rng = np.random.default_rng(0)
    volume = Volume.from_array(rng.normal(size=(5, 12, 16)).astype(np.float32), spacing=(4, 1, 1))
    cube = prepared(volume, ndims=3, side=16, window=(1, 99))
    assert cube.shape == (1, 1, 16, 16, 16)
    assert 0 <= float(cube.min()) <= float(cube.max()) <= 1
    with pytest.raises(InputError, match="single slice"):
        prepared(Volume.from_array(np.zeros((8, 8))), ndims=3, side=16)


@pytest.mark.parametrize("window", [(0, 100), (1, 99)])
def test_voxels_that_are_no_numbers_are_refused(window):
    voxels = np.ones((2, 8, 8), np.float32)
    voxels[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        prepared(Volume.from_array(voxels), ndims=2, side=16, window=window)


def test_an_even_volume_has_no_spread_and_gives_zeros():
    assert not prepared(Volume.from_array(np.full((2, 8, 8), 7, np.uint8)), ndims=2, side=16).any()


def test_as_published_axes_go_x_first_and_each_slice_is_scaled_by_itself():
    voxels = np.random.default_rng(0).integers(0, 4000, (3, 10, 12)).astype(np.int16)
    images = prepared_as_published(Volume.from_array(voxels), ndims=2, side=16, as_is=False)
    assert images.shape == (3, 1, 16, 16)
    assert images.amax((1, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    expected = published_slice(voxels[1].T, 16)
    np.testing.assert_allclose(images[1, 0].numpy(), expected, atol=1e-6)


def test_as_published_prepared_files_are_taken_as_they_are_if_they_fit():
    cube = np.random.default_rng(0).random((8, 8, 8))
    images = prepared_as_published(Volume.from_array(cube), ndims=3, side=8, as_is=True)
    assert torch.equal(images[0, 0], torch.from_numpy(cube.T.copy()).float())
    with pytest.raises(InputError, match=r"not \(16, 16, 16\)"):
        prepared_as_published(Volume.from_array(cube), ndims=3, side=16, as_is=True)
    with pytest.raises(InputError, match="colour"):
        prepared_as_published(Volume.from_array(np.zeros((1, 8, 8, 3))), ndims=2, side=8, as_is=False)
