"""Slice profiles: shares in closed form, any factor and gap, and exact consistency."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.ops.slice_profile import SliceProfile, degrade, profile_matrix, project

FINE = torch.arange(24, dtype=torch.float64)


@pytest.mark.parametrize("shape", ["gaussian", "box", "decimate"])
@pytest.mark.parametrize(("step", "thickness"), [(6.0, 5.0), (2.3, 2.3), (3.7, 5.0), (0.7, 1.0)])
def test_rows_sum_to_one_at_any_factor_gap_and_overlap(shape, step, thickness):
    coarse = torch.arange(0, 23, step, dtype=torch.float64)
    matrix = profile_matrix(FINE, coarse, SliceProfile(shape, thickness))
    assert matrix.dtype == torch.float32
    assert matrix.shape == (len(coarse), 24)
    assert (matrix >= 0).all()
    assert torch.allclose(matrix.sum(1), torch.ones(len(coarse)), atol=1e-6)


def test_a_box_counts_thin_slices_by_the_part_that_it_covers():
    """2.5 mm around 5.0 reach from 3.75 to 6.25: all of slice 5, three quarters of its neighbours."""
    row = profile_matrix(FINE, torch.tensor([5.0]), SliceProfile("box", 2.5))[0]
    assert torch.allclose(row[3:8], torch.tensor([0, 0.3, 0.4, 0.3, 0]), atol=1e-6)
    between = profile_matrix(FINE, torch.tensor([5.25]), SliceProfile("box", 2.5))[0]
    assert torch.allclose(between[3:8], torch.tensor([0, 0.2, 0.4, 0.4, 0]), atol=1e-6)


def test_a_gap_is_seen_by_nobody():
    """Slices of 5 mm every 6 mm: one thin slice in six is in none, the others in one each."""
    matrix = profile_matrix(FINE, torch.tensor([2.0, 8.0, 14.0, 20.0]), SliceProfile("box", 5.0))
    seen = matrix.sum(0).reshape(4, 6)
    assert torch.allclose(seen[:, :5], torch.full((4, 5), 0.2), atol=1e-6)
    assert (seen[:, 5] == 0).all()


def test_a_gaussian_has_its_full_width_at_half_its_height():
    offsets = torch.arange(-400, 401, dtype=torch.float64) / 20
    weights = SliceProfile("gaussian", 5.0).weights(offsets)
    above = offsets[weights >= weights.max() / 2]
    assert above.max() - above.min() == pytest.approx(5.0, abs=0.11)
    spread = (weights.double() * offsets**2).sum().sqrt()
    assert spread == pytest.approx(5 / 2.354820, rel=1e-4)


def test_a_volume_that_rises_evenly_is_measured_at_the_slice_positions():
    """Any symmetric profile keeps a ramp, whatever the phase, where it lies in the volume."""
    coarse = torch.tensor([6.4, 10.15, 13.9])
    ramp = (2 * FINE + 1).view(-1, 1, 1).expand(-1, 2, 3)
    for profile in (SliceProfile("gaussian", 3.75), SliceProfile("box", 5.0), SliceProfile("decimate", 1.0)):
        thick = degrade(ramp, profile_matrix(FINE, coarse, profile))
        # Not to the last digit: a thin slice that is cut by the box's edge counts at its own centre.
        assert torch.allclose(thick[:, 0, 0], (2 * coarse + 1).double(), atol=0.05)


def test_decimation_takes_every_sixth_slice_and_interpolates_between():
    volume = torch.rand(2, 24, 3, 4, generator=torch.Generator().manual_seed(0))
    taken = degrade(volume, profile_matrix(FINE, FINE[::6], SliceProfile("decimate", 6.0)))
    assert torch.equal(taken, volume[:, ::6])
    between = degrade(volume, profile_matrix(FINE, torch.tensor([2.25]), SliceProfile("decimate", 6.0)))
    assert torch.allclose(between[:, 0], 0.75 * volume[:, 2] + 0.25 * volume[:, 3])


def test_thin_slices_may_be_unevenly_spaced():
    fine = torch.tensor([0.0, 1.0, 3.0, 4.0])  # they reach from -0.5 over 0.5, 2 and 3.5 to 4.5
    row = profile_matrix(fine, torch.tensor([2.0]), SliceProfile("box", 4.0))[0]
    assert torch.allclose(row, torch.tensor([0.5, 1.5, 1.5, 0.5]) / 4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.sampled_from(["gaussian", "box", "decimate"]), st.floats(2.0, 7.0), st.floats(0, 1.9))
def test_projection_is_exact_and_moves_no_further_than_it_must(seed, shape, step, phase):
    generator = torch.Generator().manual_seed(seed)
    matrix = profile_matrix(
        FINE, torch.arange(phase, 23, step, dtype=torch.float64), SliceProfile(shape, min(step, 5.0))
    )
    volume = torch.rand(24, 3, 4, generator=generator, dtype=torch.float64)
    measured = torch.rand(len(matrix), 3, 4, generator=generator, dtype=torch.float64)
    nearest = project(volume, measured, matrix)
    assert torch.allclose(degrade(nearest, matrix), measured, atol=1e-5)
    assert torch.allclose(project(nearest, measured, matrix), nearest, atol=1e-5)
    # The correction is orthogonal to whatever the slices cannot see.
    unseen = volume - degrade(degrade(volume, matrix), torch.linalg.pinv(matrix.double()))
    assert abs(float(((nearest - volume) * unseen).sum())) < 1e-4


def test_degrading_can_be_learned_through():
    volume = torch.rand(1, 12, 2, 2, dtype=torch.float64, requires_grad=True)
    matrix = profile_matrix(FINE[:12], torch.tensor([2.5, 8.5]), SliceProfile("gaussian", 5.0))
    assert torch.autograd.gradcheck(lambda x: degrade(x, matrix), volume)


def test_one_thin_slice_is_all_of_a_thick_one():
    assert torch.equal(
        profile_matrix(torch.tensor([3.0]), torch.tensor([3.0]), SliceProfile("box", 5.0)), torch.ones(1, 1)
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: SliceProfile("sinc", 5.0), "no slice profile is called 'sinc'"),
        (lambda: SliceProfile("box", 0.0), "0 mm thick"),
        (lambda: SliceProfile("box", float("nan")), "nan mm thick"),
        (lambda: profile_matrix(FINE.flip(0), FINE, SliceProfile("box", 5.0)), "must increase strictly"),
        (lambda: profile_matrix(FINE[:0], FINE, SliceProfile("box", 5.0)), "there must be one at least"),
        (lambda: profile_matrix(FINE, torch.tensor([40.0]), SliceProfile("box", 5.0)), "miss a slice of 5 mm"),
        (lambda: profile_matrix(FINE, torch.tensor([-0.6]), SliceProfile("decimate", 5.0)), "miss a slice"),
        (lambda: degrade(torch.zeros(5, 2, 2), torch.ones(2, 6) / 6), "does not have 6 fine slices"),
        (lambda: project(torch.zeros(6, 2, 2), torch.zeros(3, 2, 2), torch.ones(2, 6) / 6), "are not"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
