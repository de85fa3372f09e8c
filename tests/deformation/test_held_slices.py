"""Stacks of slices that lie far apart: slices move alike, within their planes, and labels stay in their parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scanweave.deformation import deform
from scanweave.deformation.diffeomorphic import Diffeomorphic
from scanweave.deformation.elastic import Elastic
from scanweave.deformation.fields import dense, smallest_determinant
from scanweave.deformation.methods import extent, held_axis
from scanweave.grid import Grid
from scanweave.ops.displacement import magnitude
from scanweave.volume import Volume

STACK = Grid.spaced((8, 96, 96), (10.0, 1.5, 1.5))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def cone() -> Volume:
    """Rings of 4 voxels whose outer radius is the inner one of the slice before, as a heart's wall tapers to its apex.

    Slice by slice they lie side by side and never one upon the other: as many parts as slices.
    """
    row, column = np.mgrid[-47.5:48, -47.5:48]
    radius = np.hypot(row, column)
    rings = [(radius >= 8 + 4 * k) & (radius < 12 + 4 * k) for k in reversed(range(STACK.shape[0]))]
    return Volume.from_array(np.stack(rings).astype(np.uint8), affine=STACK.affine)


@pytest.mark.parametrize("made", [Diffeomorphic, Elastic])
def test_slices_move_alike_within_their_planes_as_far_as_asked_for(made):
    method = made(max_displacement=6.0)
    (drawn,) = method.sample(STACK, 1, seeded())
    (field,) = method.fields([drawn], STACK)
    vectors = dense(field)
    assert vectors.shape == (3, *STACK.shape)
    assert torch.all(vectors[0] == 0)
    assert torch.equal(vectors, vectors[:, :1].expand_as(vectors))
    longest = float(magnitude(vectors[None], unit=STACK.spacing).amax())
    assert 0.8 * drawn["longest"] < longest <= drawn["longest"] * (1 + 1e-5)


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_they_do_not_fold_however_far_they_move(share):
    method = Diffeomorphic(max_displacement=share * extent(STACK), least=1.0)
    fields = method.fields(method.sample(STACK, 4, seeded()), STACK)
    assert min(smallest_determinant(field) for field in fields) > 0.04


def test_parts_neither_merge_nor_break_where_slices_are_held(cone):
    free, held = (
        [
            copy.label_checks[0][0].components_after
            for copy in deform(
                cone,
                label=cone,
                n=6,
                method=Diffeomorphic(max_displacement=6.0, through_plane=through_plane),
                generator=seeded(),
            )
        ]
        for through_plane in (True, None)
    )
    assert held == [STACK.shape[0]] * 6
    assert not set(free) & set(held)


@pytest.mark.parametrize(
    ("spacing", "through_plane", "axis"),
    [
        ((10, 1.5, 1.5), None, 0),
        ((1, 1, 3), None, 2),
        ((1, 1, 2.9), None, None),
        ((10, 1, 5), None, None),
        ((10, 1.5, 1.5), True, None),
        ((1, 1, 1), False, 0),
        ((1, 2, 1), False, 1),
    ],
)
def test_the_axis_that_is_held_is_the_coarsest_by_far(spacing, through_plane, axis):
    assert held_axis(Grid.spaced((4, 5, 6), spacing), through_plane=through_plane) == axis


def test_a_single_slice_has_none():
    assert held_axis(Grid.spaced((1, 5, 6), (10, 1, 1)), through_plane=False) is None
