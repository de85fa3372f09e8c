"""Displacement fields: the published numbers, and what must hold of any field."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scanweave.ops.displacement import (
    compose,
    compose_all,
    exponential,
    fold_fraction,
    folded,
    in_voxels,
    inverse,
    jacobian_determinant,
    magnitude,
    repeat,
    warp,
)

TIES = 4  # places exactly between two voxels, of which rounding picks one


def waves(*space: int, height: float = 1.5, batch: int = 1) -> Tensor:
    """Return a smooth field in voxels that is zero at the edges."""
    axes = [torch.linspace(0, math.pi, size, dtype=torch.float64) for size in space]
    grids = torch.meshgrid(*axes, indexing="ij")
    bump = torch.stack([grid.sin() for grid in grids]).prod(0)
    parts = [height * bump * (grid + axis).cos() for axis, grid in enumerate(grids)]
    return torch.stack(parts)[None].repeat(batch, *[1] * (len(space) + 1))


@pytest.mark.parametrize("case", ["warp2d", "warp3d"])
def test_golden_warps(case, vectors, agree):
    arrays = vectors(f"drdm/{case}")
    volume, field = torch.from_numpy(arrays["vol"]), torch.from_numpy(arrays["ddf"])
    names = [name for name in arrays if name.startswith("out_")]
    assert len(names) == (9 if case == "warp2d" else 6)
    for name in names:
        _, mode, padding = name.split("_")
        made = warp(volume, field, unit=volume.shape[2], mode=mode, padding=padding)
        if mode == "nearest":
            assert int((made != torch.from_numpy(arrays[name])).sum()) <= TIES
        else:
            agree(made, arrays[name], 1e-5)


@pytest.mark.parametrize("case", ["warp2d", "warp3d"])
def test_golden_compositions(case, vectors, agree):
    arrays = vectors(f"drdm/{case}")
    fields = list(torch.from_numpy(arrays["ddfs"]))
    unit = fields[0].shape[2]
    for padding in ("border", "zeros"):
        agree(compose_all(fields, unit=unit, padding=padding), arrays[f"composite_{padding}"], 1e-5)
        agree(repeat(0.2 * fields[0], 4, unit=unit, padding=padding), arrays[f"power4_{padding}"], 1e-5)
        volume, field = torch.from_numpy(arrays["rect_vol"]), torch.from_numpy(arrays["rect_ddf"])
        agree(warp(volume, field, unit=volume.shape[2], padding=padding), arrays[f"rect_out_{padding}"], 1e-5)


@pytest.mark.parametrize("ndims", [2, 3])
def test_golden_folds_and_lengths(ndims, vectors):
    arrays = vectors("drdm/metrics")
    field = torch.from_numpy(arrays[f"u{ndims}d"])
    assert int(folded(field).sum()) == int(arrays[f"neg_count{ndims}d"])
    lengths = magnitude(field).double()
    assert float(lengths.mean()) == pytest.approx(float(arrays[f"mag_mean{ndims}d"]), rel=1e-5)
    assert float(lengths.flatten(1).amax(1).mean()) == pytest.approx(float(arrays[f"mag_max{ndims}d"]), rel=1e-5)
    share = float(fold_fraction(field).mean())
    assert share == pytest.approx(int(arrays[f"neg_count{ndims}d"]) / folded(field).numel())


@settings(max_examples=20, deadline=None)
@given(
    space=st.lists(st.integers(1, 7), min_size=2, max_size=3),
    shift=st.integers(-3, 3),
    axis=st.integers(0, 1),
    spacing=st.floats(0.25, 4),
)
def test_a_whole_shift_moves_voxels(space, shift, axis, spacing):
    """In any unit, of any shape: what lies beyond is zero; an axis of one voxel does not move."""
    image = torch.rand(1, 1, *space, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 1
    field = torch.zeros(1, len(space), *space, dtype=torch.float64)
    field[:, axis] = shift * spacing
    unit = [1.0 / spacing if index == axis else 7.0 for index in range(len(space))]
    moved = warp(image, field, unit=unit, mode="nearest")
    expected = torch.zeros_like(image) if space[axis] > 1 else image.clone()
    for place in range(space[axis]):
        if space[axis] > 1 and 0 <= place + shift < space[axis]:
            expected.select(axis + 2, place).copy_(image.select(axis + 2, place + shift))
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("space", [(24, 30), (14, 12, 16)])
def test_composition_is_one_warp_after_the_other(space):
    axes = torch.meshgrid(*[torch.linspace(0, 1, size, dtype=torch.float64) for size in space], indexing="ij")
    image = torch.stack(axes).sum(0)[None, None]  # linear, so that resampling is exact
    first, second = waves(*space), -0.7 * waves(*space).flip(2)
    both = warp(image, compose(second, first), padding="border")
    one_by_one = warp(warp(image, first, padding="border"), second, padding="border")
    torch.testing.assert_close(both, one_by_one, atol=1e-3, rtol=0)


@pytest.mark.parametrize("space", [(32, 24), (16, 14, 12)])
def test_an_inverse_undoes_its_field(space):
    field = waves(*space)
    back = inverse(field)
    assert float(magnitude(compose(back, field)).max()) < 2e-3
    assert float(magnitude(compose(field, back)).max()) < 0.15  # between voxels the two are interpolated differently


@pytest.mark.parametrize("space", [(32, 24), (16, 14, 12)])
def test_an_exponential_has_the_opposite_velocity_as_inverse(space):
    assert float(jacobian_determinant(exponential(waves(*space, height=4.0))).min()) > 0
    velocity = waves(*space, height=1.0)
    there, back = exponential(velocity), exponential(velocity, time=-1)
    assert float(magnitude(compose(back, there)).max()) < 0.12
    halves = exponential(velocity, time=0.5)
    torch.testing.assert_close(compose(halves, halves), there, atol=0.05, rtol=0)
    assert torch.equal(exponential(torch.zeros_like(velocity)), torch.zeros_like(velocity))


@pytest.mark.parametrize("ndims", [2, 3])
def test_determinant_of_a_linear_map(ndims):
    matrix = torch.randn(ndims, ndims, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    axes = torch.meshgrid(*[torch.arange(5, dtype=torch.float64)] * ndims, indexing="ij")
    field = torch.einsum("ab,b...->a...", matrix, torch.stack(axes))[None]
    expected = torch.linalg.det(torch.eye(ndims, dtype=torch.float64) + matrix)
    torch.testing.assert_close(jacobian_determinant(field), expected.expand(1, *[5] * ndims))
    torch.testing.assert_close(jacobian_determinant(field / 4, unit=4), expected.expand(1, *[5] * ndims))


def test_a_unit_is_for_all_axes_or_for_each():
    field = torch.ones(1, 2, 3, 3)
    assert in_voxels(field, unit=[2, 3])[0, :, 0, 0].tolist() == [2, 3]
    for unit in ([1, 2, 3], 0, [1, -1], float("nan")):
        with pytest.raises(ValueError, match="unit"):
            in_voxels(field, unit=unit)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="cannot be warped"):
        warp(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="bicubic"):
        warp(torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 3, 4, 4, 4), mode="bicubic")
    with pytest.raises(ValueError, match="no fields"):
        compose_all([])
