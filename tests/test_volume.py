"""`Volume` and `Grid`: index orders, exact windows, orientations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nibabel.affines import apply_affine

from scanweave.errors import InputError, ResourceError, UsageError
from scanweave.grid import Grid
from scanweave.volume import Volume

OBLIQUE = np.array([[0.2, -0.5, 1.1, -20], [0.1, 0.7, 0.8, 5], [3.0, 0.1, -0.2, 33], [0, 0, 0, 1]])


def ramp(shape=(3, 4, 5), dtype=np.int16) -> Volume:
    return Volume.from_array(np.arange(np.prod(shape)).reshape(shape).astype(dtype), affine=OBLIQUE)


def test_affines_of_both_index_orders_name_the_same_places():
    grid = Grid((3, 4, 5), OBLIQUE)
    again = Grid.of_nifti((3, 4, 5), grid.nifti_affine)
    assert np.array_equal(again.affine, grid.affine)
    np.testing.assert_allclose(grid.to_mm([2, 1, 3]), apply_affine(grid.nifti_affine, [3, 1, 2]))
    np.testing.assert_allclose(grid.to_index(grid.to_mm([[2, 1, 3], [0, 0, 0]])), [[2, 1, 3], [0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(grid.directions * grid.spacing, OBLIQUE[:3, :3])


def test_grids_match_within_a_share_of_a_voxel():
    grid = Grid.spaced((9, 9, 9), (2, 1, 1))
    moved = np.array(grid.affine)
    moved[0, 3] += 5e-4
    assert grid.matches(Grid((9, 9, 9), moved))
    moved[0, 3] += 1
    assert not grid.matches(Grid((9, 9, 9), moved))
    assert not grid.matches(Grid.spaced((9, 9, 8), (2, 1, 1)))
    assert not grid.matches(Grid.spaced((9, 9, 9), (2, 1, 1.01)))


@pytest.mark.parametrize(
    ("affine", "reason"),
    [
        (np.full((4, 4), np.nan), "not numbers"),
        (np.diag([1, 0, 1, 1]), "spacing of its voxels is 1 x 0 x 1"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "parallel"),
        (np.diag([1, 1, 1, 2]), "not in 0 0 0 1"),
        (np.eye(3), "of shape"),
    ],
)
def test_affines_that_are_none_are_named(affine, reason):
    with pytest.raises(InputError, match=reason):
        Volume.from_array(np.zeros((2, 2, 2)), affine=affine)


def test_arrays_that_are_no_volume_are_refused():
    for array in (np.zeros(3), np.zeros((0, 2, 2)), np.zeros((2, 2, 2), complex), np.array(["a", "b"])):
        with pytest.raises(InputError):
            Volume.from_array(array)
    with pytest.raises(UsageError, match="both"):
        Volume.from_array(np.zeros((2, 2)), affine=np.eye(4), spacing=(1, 1, 1))
    for scale in (0.0, float("nan")):
        with pytest.raises(InputError, match="scaled"):
            Volume.from_array(np.zeros((2, 2)), scale=scale)


def test_a_slice_and_a_mask_are_volumes():
    assert Volume.from_array(np.zeros((4, 5))).shape == (1, 4, 5)
    mask = Volume.from_array(np.ones((2, 4, 5), bool))
    assert (mask.dtype, mask.space_unit) == (np.uint8, "voxel")
    with pytest.raises(ValueError, match="read-only"):
        mask.voxels[0] = 0


@given(hnp.arrays(st.sampled_from([np.uint8, np.int16, np.uint16]), (2, 3, 4)), st.sampled_from([None, 3]))
def test_unit_and_stored_are_exact_inverses_for_integers(voxels, channels):
    voxels = voxels if channels is None else np.stack([voxels] * channels, axis=-1)
    volume = Volume.from_array(voxels)
    unit = volume.unit()
    assert unit.shape == (channels or 1, 2, 3, 4) and unit.dtype == np.float32
    assert unit.min() >= 0 and unit.max() <= 1
    assert np.array_equal(volume.stored(unit), voxels)
    narrow = (10.0, 57.0)
    assert np.array_equal(volume.stored(volume.unit(narrow), narrow), voxels), "nothing is clipped"


def test_stored_clamps_to_the_depth_and_takes_any_size():
    volume = Volume.from_array(np.array([[0, 255]], np.uint8))
    assert volume.stored(np.full((1, 2, 3, 4), 1.7)).tolist() == np.full((2, 3, 4), 255).tolist()
    with pytest.raises(UsageError, match="empty"):
        volume.unit((3, 3))


def test_levels_are_the_volumes_own_and_never_of_nan():
    assert ramp().levels == (0, 59)
    assert Volume.from_array(np.full((2, 2), 7)).levels == (7, 8)
    assert Volume.from_array(np.zeros((2, 2), np.uint16), levels=(0, 4095)).levels == (0, 4095)
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="not numbers"):
            Volume.from_array(np.array([[0, bad]])).unit()


def test_real_values_are_scaled_in_double():
    volume = Volume.from_array(np.array([[1, 3]], np.int32), scale=0.1, offset=-1024)
    assert volume.real().dtype == np.float64
    np.testing.assert_array_equal(volume.real(), np.array([[[1, 3]]]) * 0.1 - 1024)
    assert Volume.from_array(np.zeros((2, 2), np.int16)).real().dtype == np.float32


@given(st.permutations("xyz"), st.tuples(*[st.booleans()] * 3), st.sampled_from([None, 3]))
def test_reoriented_voxels_stay_where_they_are(axes, flips, channels):
    letters = {"x": "RL", "y": "AP", "z": "SI"}
    codes = "".join(letters[axis][flip] for axis, flip in zip(axes, flips, strict=True))
    shape = (3, 4, 5) if channels is None else (3, 4, 5, channels)
    volume = Volume.from_array(np.arange(np.prod(shape)).reshape(shape), affine=OBLIQUE)
    turned = volume.reoriented(codes)
    assert turned.grid.codes == codes
    for index in ((0, 0, 0), (2, 3, 4), (1, 2, 0)):
        place = tuple(np.rint(turned.grid.to_index(volume.grid.to_mm(index))).astype(int))
        assert np.array_equal(turned.voxels[place], volume.voxels[index])
    back = turned.reoriented(volume.grid.codes)
    assert np.array_equal(back.voxels, volume.voxels)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-12)


def test_an_orientation_of_no_name_is_refused():
    for codes in ("RAR", "RA", "XYZ", ""):
        with pytest.raises(UsageError, match="names no orientation"):
            ramp().reoriented(codes)


def test_respaced_keeps_directions_and_the_first_voxel():
    volume = ramp().respaced((6, 0.5, 0.25))
    np.testing.assert_allclose(volume.spacing, (6, 0.5, 0.25))
    np.testing.assert_allclose(volume.grid.directions, ramp().grid.directions)
    np.testing.assert_array_equal(volume.affine[:3, 3], OBLIQUE[:3, 3])


def test_other_voxels_keep_the_meaning():
    volume = Volume.from_array(np.zeros((2, 3, 4), np.int16), spacing=(6, 1, 1), scale=2, offset=-5, levels=(0, 99))
    made = volume.with_voxels(np.ones((2, 3, 4), np.int16))
    assert (made.scale, made.offset, made.levels, made.spacing) == (2, -5, (0, 99), (6, 1, 1))
    wide = volume.with_voxels(np.ones((1, 3, 4), np.float32), grid=Grid.spaced((1, 3, 4), (6, 1, 1)))
    assert wide.stated_levels is None and wide.grid.shape == (1, 3, 4)
    assert volume.with_source(format="x").source.format == "x"


def test_voxels_are_loaded_once_and_checked():
    calls = []

    def load():
        calls.append(1)
        return np.zeros((2, 3, 4), np.uint8)

    grid = Grid.spaced((2, 3, 4), (1, 1, 1))
    volume = Volume(load, grid=grid, dtype=np.uint8)
    assert not calls
    assert volume.voxels is volume.voxels and calls == [1]
    with pytest.raises(InputError, match="the header says"):
        _ = Volume(load, grid=grid, dtype=np.int16).voxels


def test_the_need_for_memory_is_stated():
    def load():
        raise MemoryError

    volume = Volume(load, grid=Grid.spaced((1024, 1024, 1024), (1, 1, 1)), dtype=np.float32)
    with pytest.raises(ResourceError, match="need 4 GiB"):
        _ = volume.voxels
