"""Where slices are made: any spacing, the window around each, the grid of the result; and windows of intensity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.errors import InputError, UsageError
from scanweave.grid import Grid
from scanweave.synthesis.intensity import MADE, in_units, window_of, windowed
from scanweave.synthesis.slices import places_of, plan_slices, windows
from scanweave.volume import Volume


@given(count=st.integers(2, 40), step=st.floats(0.5, 10), share=st.floats(0.05, 1))
@settings(max_examples=50, deadline=None)
def test_positions_and_places_are_one(count, step, share):
    plan = plan_slices(count, step, spacing=share * step)
    for place in plan.places:
        assert 0 <= place.delta < 1 and not place.extrapolated
        assert (place.source + place.delta) * step == pytest.approx(place.position_mm, abs=1e-4 * step)
    assert plan.places[0].position_mm == 0
    assert (count - 1) * step - plan.places[-1].position_mm < share * step * 1.001


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6])
def test_whole_factors_are_the_published_pairing(step):
    plan = plan_slices(5, float(step), spacing=1.0, coverage="published")
    assert len(plan.places) == 5 * step
    for idx, place in enumerate(plan.places):
        assert place.source == idx // step and place.delta == pytest.approx(idx % step / step, abs=1e-6)
        assert place.extrapolated == (idx > 4 * step)


def test_a_slab_is_covered_evenly_and_its_ends_flagged():
    plan = plan_slices(3, 5.0, spacing=2.0, coverage="slab")
    assert plan.positions_mm == (-1.0, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0)
    assert [place.extrapolated for place in plan.places] == [True, False, False, False, False, False, True]
    assert (plan.places[0].source, plan.places[0].delta) == (-1, pytest.approx(0.8))


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), float("inf"), 6.0, 1e-6])
def test_spacings_that_cannot_be_are_refused(spacing):
    with pytest.raises(UsageError, match="spacing of"):
        plan_slices(4, 5.0, spacing=spacing)


def test_windows_hold_the_slices_around_and_what_lies_beyond_the_ends():
    stack = torch.arange(4.0).view(4, 1, 1).expand(4, 2, 3)
    places = places_of([0.0, 7.5, 15.0], count=4, step=5.0)
    assert windows(stack, places)[:, :, 0, 0].tolist() == [[0, 0, 1, 2], [0, 1, 2, 3], [2, 3, 3, 3]]
    assert windows(stack, places, edge="black")[:, :, 0, 0].tolist() == [[-1, 0, 1, 2], [0, 1, 2, 3], [2, 3, -1, -1]]
    assert windows(stack, places, size=1)[:, :, 0, 0].tolist() == [[0], [1], [3]]


def test_the_grid_of_a_result_is_exact_however_the_source_lies():
    affine = np.array([[0.1, 0.9, 0.2, 3], [4.9, -0.02, 0.3, -7], [0.5, 0.3, -0.9, 11], [0, 0, 0, 1.0]])
    source = Grid((4, 6, 5), affine)
    plan = plan_slices(4, source.spacing[0], spacing=1.3, coverage="slab")
    grid = plan.grid(source)
    assert grid.shape == (len(plan.places), 6, 5) and grid.spacing[0] == pytest.approx(1.3)
    for k, place in enumerate(plan.places):
        along = place.position_mm / source.spacing[0]
        np.testing.assert_allclose(grid.to_mm([k, 2, 3]), source.to_mm([along, 2, 3]), atol=1e-9)


def test_windows_of_intensity_are_the_published_percentiles_or_all_values():
    voxels = np.zeros((2, 10, 10), np.int16)
    voxels[1] = np.arange(1, 101).reshape(10, 10)
    volume = Volume.from_array(voxels, spacing=(1, 1, 1), scale=0.5)
    assert window_of("T1", volume, "range").high == 100
    found = window_of("T1", volume, "percentile")
    low, high = np.percentile(np.arange(1, 101) * 0.5, (0.5, 99.5)) / 0.5
    assert (found.low, found.high, found.over) == (pytest.approx(low), pytest.approx(high), "voxels above 0")
    masked = window_of("T1", volume, "percentile", voxels > 50)
    assert masked.low > 50 and masked.over == "the mask"
    assert windowed(volume, found).levels == (found.low, found.high)
    with pytest.raises(InputError, match="has no window"):
        window_of("T1", volume, "percentile", voxels == 7)


def test_made_slices_go_back_to_the_units_of_the_subject_and_unknown_contrasts_to_255():
    source = Volume.from_array(np.arange(24, dtype=np.int16).reshape(2, 3, 4) * 10, spacing=(5, 1, 1), scale=2.0)
    window = window_of("T1", source, "range")
    frames = torch.from_numpy(windowed(source, window).unit()[0])[:, None]
    back = in_units(frames, source.grid, window, like=source, known=True)
    np.testing.assert_array_equal(back.voxels, source.voxels)
    assert (back.dtype, back.scale) == (source.dtype, 2.0)
    other = in_units(frames, source.grid, MADE, like=source, known=False)
    assert (other.dtype, other.real().min(), other.real().max()) == (np.uint16, 0.0, 255.0)
