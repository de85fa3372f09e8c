"""Calibration by a grid that both cameras see, without a network: which square is which is tried out.

The squares of each image lie on a lattice, so that what is unknown is by how many squares one lattice is displaced
against the other. Every displacement gives a fit and a picture of one view over the other; what differs between them is
where the grid ends, its defects and marks. The best picture wins; where several are as good, since the grid fills both
views, the light on its squares decides, which comes from one beam; if that does not tell either, the views' middles,
and a note says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError
from .calibration import Calibration, Shape, of_points
from .lattice import Lattice, Place, find_lattice
from .rigid import Array, Similarity, fit_robust, fit_similarity, inverse, moved

_LEAST = 6  # pairs of squares
_OVERLAP = 0.3  # of the smaller view, which a displacement must leave in common
_SIDE = 200  # pixels of the pictures that are compared
_ALIKE = 0.02  # of the correlation: as good
_BRIGHT = 0.8  # correlation of the light on squares that decides, if
_CLEARLY = 0.03  # it is as much above that of every other displacement
_SWAP = 1.02  # sharp pixels in the side of a coarse one, which the sharp camera must reach


@dataclass(frozen=True, eq=False)
class _Candidate:
    """One displacement of the lattices: the pairs it makes and how well the views then agree."""

    coarse: Array
    sharp: Array
    score: float
    light: float
    off_centre: float


def calibrate_by_grid(
    coarse: NDArray[np.float64],
    sharp: NDArray[np.float64],
    *,
    mirrored: bool = False,
    turned: bool = False,
) -> Calibration:
    """Return the calibration of two cameras that see one grid.

    Args:
        coarse: ``(row, column)``, mean image of the fast camera.
        sharp: ``(row, column)``, mean image of the sharp one, as recorded.
        mirrored: The sharp camera sees the scene mirrored (as the published set-up does).
        turned: Try all four quarter turns of one camera against the other, not only those within 45 degrees.

    Raises:
        InputError: No grid, no overlap, or roles that are swapped.
    """
    facing = sharp[:, ::-1] if mirrored else sharp
    of_coarse, of_sharp = find_lattice(coarse, name="fast camera"), find_lattice(facing, name="sharp camera")
    candidates = _candidates(of_coarse, of_sharp, coarse, facing, quarters=range(4) if turned else range(1))
    if not candidates:
        raise InputError(
            "no overlap in space: no displacement of the grid brings the two views together",
            remedy="check that both cameras saw the grid where their views overlap",
        )
    best, notes = _chosen(candidates)
    similarity, kept = fit_robust(best.coarse, best.sharp)
    refuse_swapped(similarity)
    return of_points(
        best.coarse,
        best.sharp,
        similarity,
        kept,
        method="grid",
        shapes=(_shape(coarse), _shape(sharp)),
        mirrored=mirrored,
        notes=notes,
    )


def _chosen(candidates: list[_Candidate]) -> tuple[_Candidate, tuple[str, ...]]:
    """Return the displacement to believe in, and what a user should know about it."""
    top = max(one.score for one in candidates)
    equals = sorted((one for one in candidates if one.score >= top - _ALIKE), key=lambda one: -one.light)
    if len(equals) == 1:
        return equals[0], ()
    said = f"{len(equals)} displacements of the grid agree as well with both views; "
    if equals[0].light >= max(_BRIGHT, equals[1].light + _CLEARLY):
        return equals[0], (said + f"the light on its squares told which is right (correlation {equals[0].light:.2f}).",)
    return min(equals, key=lambda one: one.off_centre), (
        said + "that which leaves the middles of the views closest was taken, and may be wrong by whole squares. A "
        "mark in the grid, or its edge in view, would decide.",
    )


def refuse_swapped(similarity: Similarity) -> None:
    """Refuse a sharp camera whose pixels are no smaller than the fast one's.

    Raises:
        InputError: They are not.
    """
    scale = float(np.sqrt(similarity.scale_x * similarity.scale_y))
    if scale < _SWAP:
        raise InputError(
            f"the sharp camera has {scale:.2f} pixels in the side of one of the fast camera, more than 1 is needed",
            remedy="exchange --fast and --sharp; or give --ratio, where the sharp camera sees a smaller part",
        )


def _candidates(
    coarse: Lattice, sharp: Lattice, coarse_image: Array, sharp_image: Array, *, quarters: range
) -> list[_Candidate]:
    small_coarse, small_sharp = _small(coarse_image), _small(sharp_image)
    on_sharp = {place: sharp.points[index] for place, index in sharp.places.items()}
    made = []
    for quarter in quarters:
        on_coarse = {_turned(place, quarter): coarse.points[index] for place, index in coarse.places.items()}
        for step in _steps(on_coarse, on_sharp):
            pairs = [(point, on_sharp[beside]) for place, point in on_coarse.items()
                     if (beside := (place[0] + step[0], place[1] + step[1])) in on_sharp]  # fmt: skip
            if len(pairs) < _LEAST:
                continue
            candidate = _judged(np.array(pairs), small_coarse, small_sharp, coarse_image.shape, sharp_image.shape)
            if candidate is not None:
                made.append(candidate)
    return made


def _turned(place: Place, quarters: int) -> Place:
    for _ in range(quarters):
        place = -place[1], place[0]
    return place


def _steps(coarse: dict[Place, Array], sharp: dict[Place, Array]) -> product[tuple[int, int]]:
    """Return every displacement that leaves a place in common."""
    ends = [
        range(min(p[axis] for p in sharp) - max(p[axis] for p in coarse),
              max(p[axis] for p in sharp) - min(p[axis] for p in coarse) + 1)
        for axis in (0, 1)
    ]  # fmt: skip
    return product(*ends)  # type: ignore[return-value]


def _judged(
    pairs: Array,
    coarse: tuple[NDArray[np.float32], float],
    sharp: tuple[NDArray[np.float32], float],
    coarse_shape: tuple[int, ...],
    sharp_shape: tuple[int, ...],
) -> _Candidate | None:
    """Return what a displacement is worth; None where the views then hardly overlap."""
    try:
        fitted = fit_similarity(pairs[:, 0], pairs[:, 1])
    except ValueError:  # all squares in one row
        return None
    matrix = resized(1 / sharp[1]) @ fitted.matrix @ inverse(resized(1 / coarse[1]))
    size = sharp[0].shape[::-1]
    laid = np.asarray(cv2.warpAffine(coarse[0], matrix[:2], size, flags=cv2.INTER_LINEAR), np.float32)
    seen = np.asarray(cv2.warpAffine(np.ones_like(coarse[0]), matrix[:2], size, flags=cv2.INTER_LINEAR)) > 0.999
    covered = coarse[0].size * abs(float(np.linalg.det(matrix[:2, :2])))
    if seen.sum() < _OVERLAP * min(covered, sharp[0].size):
        return None
    middle = (np.array(coarse_shape[::-1])[None] - 1) / 2
    off = float(np.linalg.norm(moved(fitted.matrix, middle)[0] - (np.array(sharp_shape[::-1]) - 1) / 2))
    light = correlation(_light(coarse, pairs[:, 0]), _light(sharp, pairs[:, 1]))
    return _Candidate(pairs[:, 0], pairs[:, 1], correlation(laid[seen], sharp[0][seen]), light, off)


def _light(image: tuple[NDArray[np.float32], float], points: Array) -> NDArray[np.float32]:
    """Return the image's values at points."""
    x, y = moved(resized(1 / image[1]), points).T
    return np.asarray(ndimage.map_coordinates(image[0], [y, x], order=1, mode="nearest"), np.float32)


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return Pearson's correlation; 0 where one does not vary."""
    x, y = a - a.mean(dtype=np.float64), b - b.mean(dtype=np.float64)
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / size if size > 0 else 0.0


def resized(factor: float) -> Array:
    """Return the matrix from places of an image to those of the same at `factor` times its size."""
    return np.array([[factor, 0.0, (factor - 1) / 2], [0.0, factor, (factor - 1) / 2], [0.0, 0.0, 1.0]])


def _small(image: Array) -> tuple[NDArray[np.float32], float]:
    """Return the image at about 200 pixels a side, without its slow shades, and how much smaller it is."""
    factor = max(min(image.shape) / _SIDE, 1.0)
    smooth = ndimage.gaussian_filter(image, factor / 2) if factor > 1 else image
    rows, columns = (int(n / factor) for n in image.shape)
    back = inverse(resized(1 / factor))
    small = cv2.warpAffine(
        smooth.astype(np.float32), back[:2], (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(small, np.float32), factor


def _shape(image: Array) -> Shape:
    return int(image.shape[0]), int(image.shape[1])
