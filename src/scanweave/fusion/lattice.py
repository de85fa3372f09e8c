"""Squares (or dots) of a calibration grid in one image: where they are, and their places on the lattice.

Nothing is known beforehand: not the size of the squares, not whether they are bright or dark.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.filters import threshold_otsu

from ..errors import InputError
from .rigid import Array, rotation

Place = tuple[int, int]

_LEAST = 9  # squares
_DIVISORS = (4, 9, 20, 45)  # of the image's shorter side: the widths of surroundings that are tried
_FINE = 300  # pixels of a shorter side up to which an image is enlarged, for outlines of small squares
_LARGEST = 3
_SIMILAR = (0.5, 2.0)  # areas, by the median one
_REACH = 0.25  # pitches that a square may lie off its place, seen from its neighbour


@dataclass(frozen=True, eq=False)
class Lattice:
    """Squares of one image.

    Attributes:
        points: ``(n, 2)`` centres as (x, y), pixels of the image.
        places: The square at each place of the lattice, along its axes; (0, 0) is near the middle.
        pitch: Mean distance of neighbours, pixels.
        angle: Of the first axis from x towards y, radians, between -pi/4 and pi/4.
    """

    points: Array
    places: dict[Place, int]
    pitch: float
    angle: float


def find_lattice(image: NDArray[np.float64], *, name: str = "image") -> Lattice:
    """Return the largest lattice of squares that an image shows.

    Squares are what stands out from its surroundings by Otsu's threshold, in pieces of like size; surroundings of
    several widths are tried, bright and dark squares, and what gives the most squares on one lattice is taken.

    Args:
        image: ``(row, column)``.
        name: What to call it in an error.

    Raises:
        InputError: Fewer than nine squares lie on a lattice.
    """
    factor = min(-(-_FINE // min(image.shape)), _LARGEST)
    fine = _enlarged(image, factor)
    smooth = ndimage.gaussian_filter(fine, 0.7)
    best: Lattice | None = None
    for divisor in _DIVISORS:
        width = min(fine.shape) / divisor
        standing = smooth - _surroundings(fine, width)
        for sign in (1, -1):
            found = _on_lattice(_centres(sign * standing))
            if found and (best is None or len(found.places) > len(best.places)):
                best = found
    if best is None or len(best.places) < _LEAST:
        raise InputError(
            f"the {name} shows no grid: {len(best.places) if best else 0} squares lie on a lattice, {_LEAST} needed",
            remedy="check the images of the grid, or calibrate by the scene: --target scene",
        )
    # pixels of the enlarged image have their centres elsewhere
    return Lattice((best.points + 0.5) / factor - 0.5, best.places, best.pitch / factor, best.angle)


def _enlarged(image: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    if factor == 1:
        return image
    large = cv2.resize(image.astype(np.float32), None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, dtype=np.float64)


def _surroundings(image: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the image blurred to `width`: three means in a row are nearly a Gaussian, at a cost that does not grow."""
    side = 2 * int(width) + 1
    for _ in range(3):
        image = np.asarray(cv2.blur(image, (side, side), borderType=cv2.BORDER_REFLECT_101), dtype=np.float64)
    return image


def _centres(standing: NDArray[np.float64]) -> Array:
    """Return the centres ``(n, 2)`` of pieces of like size that stand out, weighted by how far they do."""
    mask = standing > threshold_otsu(standing)  # type: ignore[no-untyped-call]
    labels, count = ndimage.label(mask)
    if count < _LEAST:
        return np.zeros((0, 2))
    boxes = ndimage.find_objects(labels)
    edge = np.array([any(s.start == 0 or s.stop == n for s, n in zip(box, mask.shape, strict=True)) for box in boxes])
    areas = np.bincount(labels.ravel())[1:]
    whole = ~edge & (areas >= 4)
    if whole.sum() < _LEAST:
        return np.zeros((0, 2))
    # half of all area lies in pieces smaller than this: specks are many, but small
    order = np.sort(areas[whole])
    usual = order[np.searchsorted(np.cumsum(order), order.sum() / 2)]
    kept = whole & (areas >= _SIMILAR[0] * usual) & (areas <= _SIMILAR[1] * usual)
    weights = np.where(mask, standing, 0.0)
    centres = np.array(ndimage.center_of_mass(weights, labels, np.flatnonzero(kept) + 1))
    return centres.reshape(-1, 2)[:, ::-1]


def _on_lattice(points: Array) -> Lattice | None:
    if len(points) < _LEAST:
        return None
    tree = KDTree(points)
    lengths, near = tree.query(points, k=5)
    pitch = float(np.median(lengths[:, 1]))
    steps = points[near[:, 1:]] - points[:, None]
    steps = steps[np.abs(lengths[:, 1:] - pitch) < _REACH * pitch]
    turns = np.exp(4j * np.arctan2(steps[:, 1], steps[:, 0]))
    if len(steps) < _LEAST or abs(turns.mean()) < 0.5:  # neighbours do not lie along two axes
        return None
    angle = float(np.angle(turns.mean()) / 4)
    places = _grown(points, tree, rotation(angle).T * pitch)
    if len(places) < _LEAST:
        return None
    return Lattice(points, places, pitch, angle)


def _grown(points: Array, tree: KDTree, axes: Array) -> dict[Place, int]:
    """Return the squares reached from that nearest the middle, neighbour by neighbour; `axes` are its two steps."""
    start = int(tree.query(points.mean(axis=0))[1])
    found: dict[Place, int] = {(0, 0): start}
    reach = _REACH * float(np.linalg.norm(axes[0]))
    queue, taken = deque([(0, 0)]), {start}
    while queue:
        place = queue.popleft()
        for step in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            beside = place[0] + step[0], place[1] + step[1]
            if beside in found:
                continue
            off, index = tree.query(points[found[place]] + step @ axes)
            if off <= reach and index not in taken:
                found[beside] = int(index)
                taken.add(int(index))
                queue.append(beside)
    return found
