"""`Displacement`: millimetres along RAS+ and voxels of a grid are one field."""

from __future__ import annotations

import numpy as np
import pytest

from scanweave.displacement import Displacement
from scanweave.errors import InputError
from scanweave.grid import Grid

GRID = Grid((2, 3, 4), np.array([[0.2, -0.5, 1.1, -20], [0.1, 0.7, 0.8, 5], [3.0, 0.1, -0.2, 33], [0, 0, 0, 1]]))


def test_voxels_become_millimetres_and_back():
    moved = np.random.default_rng(0).normal(size=(3, 2, 3, 4))
    field = Displacement.of_voxels(moved, GRID)
    index = np.array([1, 2, 0])
    np.testing.assert_allclose(
        field.vectors[tuple(index)], GRID.to_mm(index + moved[(slice(None), *index)]) - GRID.to_mm(index)
    )
    np.testing.assert_allclose(field.in_voxels(), moved)


def test_a_flat_field_stays_in_its_slice():
    grid = Grid.spaced((1, 3, 4), (6, 2, 0.5))
    field = Displacement.of_voxels(np.stack([np.ones((3, 4)), np.zeros((3, 4))]), grid)
    assert field.vectors[0, 1, 1].tolist() == [0, 2, 0], "a row further is 2 mm to the front"


def test_what_is_no_field_is_refused():
    with pytest.raises(InputError, match="do not fit"):
        Displacement(np.zeros((2, 3, 4, 2)), GRID)
    with pytest.raises(InputError, match="not numbers"):
        Displacement(np.full((2, 3, 4, 3), np.nan), GRID)
