"""Fading motions out: what is kept of them where, on canvases of any size, the smallest included."""

from __future__ import annotations

import pytest
import torch

from scanweave.deformation.damping import damped_compose, faded, smoothed
from scanweave.ops.displacement import jacobian_determinant


@pytest.mark.parametrize("ndims", [2, 3])
@pytest.mark.parametrize("side", [4, 5, 9, 16, 17, 24])
@pytest.mark.parametrize("reach", [1, 2, 4, 8])
def test_none_is_kept_where_it_is_broken_and_all_where_nothing_is(ndims, side, reach):
    broken = torch.zeros(2, *[side] * ndims, dtype=torch.bool)
    broken[(0, *[side // 2] * ndims)] = True
    kept = faded(broken, reach)
    assert kept.shape == (2, 1, *[side] * ndims)
    assert float(kept.min()) >= 0 and float(kept.max()) <= 1
    assert float(kept[(0, 0, *[side // 2] * ndims)]) <= 1e-6
    assert torch.all(kept[1] == 1)


@pytest.mark.parametrize("side", [12, 16, 40])
def test_a_volume_that_is_the_same_in_all_slices_is_faded_as_its_slice(side):
    broken = torch.rand(1, side, side, generator=torch.Generator().manual_seed(1)) > 0.98
    flat, deep = faded(broken, 2), faded(broken[:, None].expand(-1, side, -1, -1), 2)
    torch.testing.assert_close(deep, flat[:, :, None].expand_as(deep))


@pytest.mark.parametrize(("side", "ndims"), [(8, 2), (16, 2), (8, 3), (16, 3)])
def test_small_canvases_are_unfolded_and_stay_so(side, ndims):
    drawn = torch.randn(1, ndims, *[side] * ndims, generator=torch.Generator().manual_seed(2)) / side
    assert float(jacobian_determinant(drawn, unit=side).min()) < 0
    total = smoothed(drawn, unit=side, floor=0.1)
    assert float(jacobian_determinant(total, unit=side).min()) >= 0.1
    total = damped_compose(drawn, total, unit=side, floor=0.1)
    assert float(jacobian_determinant(total, unit=side).min()) >= 0.1
