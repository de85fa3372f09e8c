"""Points under a field: where what lies at a place of the source is seen in the copy.

A field pulls, so that points need its inverse. It is not made whole: each point is sought where it lands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..displacement import Displacement
from ..errors import InputError

_TOLERANCE = 1e-3  # voxels
_ROUNDS = 200
_STEP = 0.5  # of the gap at first: whole steps swing where the field is strained by more than 1


def vectors_at(displacement: Displacement, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the displacement at points ``(..., 3)`` in RAS+ mm, linearly, in mm; beyond the grid as at its edge."""
    return _at(np.moveaxis(displacement.vectors, -1, 0), displacement.grid.to_index(points))


def move(displacement: Displacement, points: ArrayLike) -> NDArray[np.float64]:
    """Return where points of the source are seen in the copy: ``q`` with ``q + vectors(q) = point``.

    Args:
        displacement: What made the copy.
        points: ``(..., 3)`` in RAS+ mm.

    Returns:
        ``(..., 3)`` in RAS+ mm, float64.

    Raises:
        InputError: No points, NaN, or points that the copy does not show because the field folds there.
    """
    given = np.asarray(points, dtype=np.float64)
    if given.ndim == 0 or given.shape[-1] != 3 or not np.all(np.isfinite(given)):
        raise InputError(f"points of shape {given.shape} are not (..., 3) finite millimetres")
    index = displacement.grid.to_index(given.reshape(-1, 3))
    found = land(displacement.in_voxels(), index)
    return displacement.grid.to_mm(found).reshape(given.shape)


def land(vectors: NDArray[np.floating], index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``q`` with ``q + vectors(q) = index``, by steps along the gap that shorten where it does not close.

    Args:
        vectors: ``(nd, *space)`` in voxels.
        index: ``(points, nd)`` in voxels.

    Raises:
        InputError: Points for which there is none.
    """
    found, step = index.copy(), np.full(len(index), _STEP)
    gap = found + _at(vectors, found) - index
    size = np.linalg.norm(gap, axis=1)
    for _ in range(_ROUNDS):
        if not np.any(size > _TOLERANCE):
            return found
        tried = found - step[:, None] * gap
        left = tried + _at(vectors, tried) - index
        length = np.linalg.norm(left, axis=1)
        closer = length < size
        found, gap = np.where(closer[:, None], tried, found), np.where(closer[:, None], left, gap)
        size = np.where(closer, length, size)
        step = np.where(closer, np.minimum(step * 1.2, 1.0), step / 2)
    lost = int((size > 10 * _TOLERANCE).sum())
    if lost:
        raise InputError(
            f"{lost} of {len(index)} points are nowhere in the copy: the field folds there",
            remedy="deform by a method that does not fold",
        )
    return found


def _at(components: NDArray[np.floating], index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the components at indices ``(..., nd)``, linearly: ``(..., nd)``."""
    from scipy import ndimage

    places = np.moveaxis(index, -1, 0)
    found = [ndimage.map_coordinates(one, places, order=1, mode="nearest", output=np.float64) for one in components]
    return np.stack(found, axis=-1)
