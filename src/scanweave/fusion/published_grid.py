"""The published spatial calibration by a grid of squares, step for step, for parity with its files.

Specification, section 4.6. Images are ``(row, column)``; step 7, a network's flow, enters as a displacement. Its
defects are kept: scale and rigid motion are fitted in turns, the corrected scale is ``s (1 + k)``, and a pre-rotation
is reported but is no part of the saved transform. `scanweave.fusion.grid` needs no network and has none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import pdist
from skimage.segmentation import clear_border

from ..errors import InputError
from .rigid import Array, fit_rigid, moved

Flow = Callable[[Array], Array]
"""Displacement ``(x, y)`` from the coarse image, enlarged and padded, to the sharp one, at a place ``(x, y)``."""

FACTOR = 3
PITCH_UM = 62.0
_BALL = 40
_RENORM = 0.35
_SIMILAR = 0.3


@dataclass(frozen=True)
class GridTolerances:
    """Of the published command.

    Attributes:
        position: Largest distance of a square from its place on the lattice, in pitches (``tol_pos``).
        area: Largest relative deviation of its area (``tol_area``).
        rotation: Radians beyond which the coarse image is rotated first (``tol_rotation``).
    """

    position: float = 0.1
    area: float = 0.1
    rotation: float = 0.06


@dataclass(frozen=True, eq=False)
class Squares:
    """Squares of one image and the lattice they lie on.

    Attributes:
        centres: ``(n, 2)`` as (row, column).
        areas: ``(n,)`` in pixels.
        origin: The square that counts as (0, 0), as (row, column).
        axes: ``(2, 2)`` unit vectors as (row, column), one per row.
        pitch: Mean distance of neighbours, pixels.
        area: Mean area of the neighbours of the origin.
    """

    centres: Array
    areas: Array
    origin: Array
    axes: Array
    pitch: float
    area: float


@dataclass(frozen=True, eq=False)
class PublishedFit:
    """What the published calibration computes and saves.

    Attributes:
        coarse: ``(n, 2)`` centres of squares as (x, y) in the coarse image enlarged three times.
        sharp: ``(n, 2)`` of the same squares in the flipped sharp image.
        scale: Isotropic, of the enlarged coarse image.
        pixel_um: Pixel sizes of the sharp and the coarse camera.
        first: ``(3, 3)`` rigid motion after isotropic scaling.
        scale_xy: The corrected scales.
        rigid: ``(3, 3)`` rigid motion after those; the saved transform.
        angle: Of the coarse axes against the sharp ones, radians.
        rotated: Whether the coarse image was rotated by it first.
        changed: Whether the flow at the exact centre chose another partner.
        residuals: Distances after the first and the second pass, pixels.
    """

    coarse: Array
    sharp: Array
    scale: float
    pixel_um: tuple[float, float]
    first: Array
    scale_xy: Array
    rigid: Array
    angle: float
    rotated: bool
    changed: bool
    residuals: tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Both views as the flow network sees them, before squares are matched (steps 1 to 6).

    Attributes:
        coarse: Squares of the enlarged coarse view, rotated if `rotated`.
        sharp: Squares of the flipped sharp view.
        coarse_view: ``(row, column)``, levels from 0 to 255 of the enlarged coarse view, rotated if `rotated`.
        sharp_view: Of the flipped sharp view.
        angle: Of the coarse axes against the sharp ones, radians.
        rotated: Whether the coarse view was rotated by it.
    """

    coarse: Squares
    sharp: Squares
    coarse_view: NDArray[np.uint8]
    sharp_view: NDArray[np.uint8]
    angle: float
    rotated: bool


def published_calibration(
    coarse: NDArray[np.uint16], sharp: NDArray[np.uint16], flow: Flow, *, tolerances: GridTolerances | None = None
) -> PublishedFit:
    """Calibrate by a grid seen by both cameras.

    Args:
        coarse: Mean coarse image, as recorded.
        sharp: Mean sharp image, as recorded; it is flipped left to right.
        flow: From the enlarged, padded coarse image to the sharp one.
        tolerances: The published ones by default.

    Raises:
        InputError: No grid is seen, or too few squares pair.
    """
    tolerances = tolerances or GridTolerances()
    return matched(prepared(coarse, sharp, tolerances), flow, tolerances)


def prepared(coarse: NDArray[np.uint16], sharp: NDArray[np.uint16], tolerances: GridTolerances) -> Prepared:
    """Return both views and their squares; arguments as of :func:`published_calibration`."""
    sharp_view, coarse_view = levelled(np.ascontiguousarray(sharp[:, ::-1]), enlarged(coarse))
    masks = _masks(sharp_view, coarse_view)
    sharp_lattice, coarse_lattice = lattices(*masks)
    b, a = coarse_lattice.axes[0], sharp_lattice.axes[0]
    angle = float(np.arctan2(b[1], b[0]) - np.arctan2(a[1], a[0]))
    rotated = abs(angle) > tolerances.rotation
    if rotated:
        turned = _rotated(masks[1].astype(np.uint8), angle, cv2.INTER_NEAREST) > 0
        sharp_lattice, coarse_lattice = lattices(masks[0], turned)
        coarse_view = _rotated(coarse_view, angle, cv2.INTER_LINEAR)
    return Prepared(coarse_lattice, sharp_lattice, coarse_view, sharp_view, angle, rotated)


def matched(views: Prepared, flow: Flow, tolerances: GridTolerances) -> PublishedFit:
    """Pair the squares of both views by a flow between them, and fit (steps 8 to 12)."""
    size, large = np.array(views.sharp_view.shape), np.array(views.coarse_view.shape)
    coarse, sharp, changed = _partnered(views.coarse, views.sharp, flow, size, large)
    pairs = paired(coarse, sharp, tolerances)
    fit = _fitted(*pairs, size[::-1], large[::-1])
    return replace(fit, angle=views.angle, rotated=views.rotated, changed=changed)


def enlarged(coarse: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the coarse image three times as large, by OpenCV's bilinear interpolation."""
    return np.asarray(cv2.resize(coarse, None, fx=FACTOR, fy=FACTOR, interpolation=cv2.INTER_LINEAR), np.uint16)


def foreground(image: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Return where the grid lies (step 2)."""
    level, found = _otsu(cv2.blur(_top_hat(image), (3, 3)), 65535)
    inner = _inner(found >= level).astype(np.uint8)
    closed = cv2.morphologyEx(inner, cv2.MORPH_CLOSE, _ellipse(_BALL)) > 0
    labels, count = ndimage.label(closed)
    if not count:
        raise InputError("shows no grid: nothing stands out from its surroundings", remedy="check the grid's images")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def segmented(sharp: NDArray[np.uint16], coarse: NDArray[np.uint16]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the squares of both images, by the sharp image's threshold (steps 3 and 4)."""
    return _masks(*levelled(sharp, coarse))


def levelled(sharp: NDArray[np.uint16], coarse: NDArray[np.uint16]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return both images in levels from 0 to 255, without what changes slowly (step 3)."""
    return _evened(sharp, foreground(sharp)), _evened(coarse, foreground(coarse))


def _masks(sharp: NDArray[np.uint8], coarse: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    level, _ = _otsu(sharp, 255)
    return _inner(sharp > level), _inner(coarse >= level)


def lattices(sharp: NDArray[np.bool_], coarse: NDArray[np.bool_]) -> tuple[Squares, Squares]:
    """Return the squares of both masks with axes that go together (step 5)."""
    (sharp_squares, towards), (coarse_squares, coarse_towards) = (_central(mask) for mask in (sharp, coarse))
    likeness = towards @ coarse_towards.T
    i, j = np.unravel_index(likeness.argmax(), likeness.shape)
    k = int(np.abs(towards @ towards[i]).argmin())
    m = int(likeness[k].argmax())
    return (
        replace(sharp_squares, axes=np.stack([towards[i], towards[k]])),
        replace(coarse_squares, axes=np.stack([coarse_towards[j], coarse_towards[m]])),
    )


def paired(coarse: Squares, sharp: Squares, tolerances: GridTolerances) -> tuple[Array, Array]:
    """Return squares that lie at the same place of both lattices, as (x, y), in the order of places (step 9)."""
    on_coarse, on_sharp = (_places(squares, tolerances) for squares in (coarse, sharp))
    places = sorted(on_coarse.keys() & on_sharp.keys())
    if len(places) < 3:
        raise InputError(
            f"{len(places)} squares of the grid are seen by both cameras, 3 at least are needed",
            remedy="the views do not overlap, or tolerances are too strict",
        )
    return tuple(  # type: ignore[return-value]
        np.array([squares.centres[on[place]][::-1] for place in places])
        for squares, on in ((coarse, on_coarse), (sharp, on_sharp))
    )


def _ellipse(size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _top_hat(image: NDArray[np.uint16] | NDArray[np.uint8]) -> NDArray[np.uint16] | NDArray[np.uint8]:
    return cv2.morphologyEx(image, cv2.MORPH_TOPHAT, _ellipse(2 * _BALL + 1))  # type: ignore[return-value]


def _inner(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask without pieces that touch its border."""
    return np.asarray(clear_border(mask), dtype=np.bool_)  # type: ignore[no-untyped-call]


def _otsu(image: object, top: int) -> tuple[float, NDArray[np.uint16]]:
    level, _ = cv2.threshold(image, 0, top, cv2.THRESH_BINARY + cv2.THRESH_OTSU)  # type: ignore[call-overload]
    return level, image  # type: ignore[return-value]


def _evened(image: NDArray[np.uint16], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    low, high = np.percentile(image[inside], (_RENORM, 100 - _RENORM))
    if not high > low:
        raise InputError("shows no grid: it is of one value where the grid should be")
    stretched = ((np.clip(image.astype(np.float64), low, high) - low) / (high - low) * 255).astype(np.uint8)
    flat = cv2.blur(_top_hat(stretched), (3, 3))
    return np.asarray(flat / flat.max() * 255).astype(np.uint8)


def _central(mask: NDArray[np.bool_]) -> tuple[Squares, Array]:
    """Return squares around that nearest the image's centre, and unit vectors to its four neighbours."""
    labels, count = ndimage.label(mask)
    if count < 5:
        raise InputError(f"{count} squares of a grid are seen, 5 at least are needed", remedy="check the grid's images")
    index = np.arange(1, count + 1)
    centres = np.array(ndimage.center_of_mass(mask, labels, index))
    areas = np.bincount(labels.ravel())[1:].astype(np.float64)
    origin = centres[np.linalg.norm(centres - np.array(mask.shape) / 2, axis=1).argmin()]
    distance = np.linalg.norm(centres - origin, axis=1)
    near = np.argsort(distance, kind="stable")[1:5]
    towards = (centres[near] - origin) / distance[near, None]
    squares = Squares(centres, areas, origin, np.eye(2), float(distance[near].mean()), float(areas[near].mean()))
    return squares, towards


def _rotated(image: NDArray[np.uint8], angle: float, flags: int) -> NDArray[np.uint8]:
    rows, columns = image.shape
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), -np.degrees(angle), 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (columns, rows), flags=flags), np.uint8)


def _partnered(
    coarse: Squares, sharp: Squares, flow: Flow, sharp_size: NDArray[np.int64], large_size: NDArray[np.int64]
) -> tuple[Squares, Squares, bool]:
    """Return both with origins that are the same square (step 8); sizes are (rows, columns)."""
    pad = ((sharp_size - large_size) // 2).astype(np.float64)
    middle = sharp_size / 2 - pad
    origin = coarse.centres[np.linalg.norm(coarse.centres - middle, axis=1).argmin()]

    def partner(place: Array) -> Array:
        predicted = origin + pad + flow((place + pad)[::-1])[::-1]
        return np.asarray(sharp.centres[np.linalg.norm(sharp.centres - predicted, axis=1).argmin()])

    at_square, at_middle = partner(origin), partner(middle)
    changed = not np.array_equal(at_square, at_middle)
    return replace(coarse, origin=origin), replace(sharp, origin=at_square), changed


def _places(squares: Squares, tolerances: GridTolerances) -> dict[tuple[int, int], int]:
    places = (squares.centres - squares.origin) @ squares.axes.T / squares.pitch
    whole = np.rint(places)
    kept = (np.abs(places - whole) <= tolerances.position).all(axis=1)
    kept &= np.abs(squares.areas - squares.area) <= tolerances.area * squares.area
    return {(int(whole[i, 0]), int(whole[i, 1])): int(i) for i in np.flatnonzero(kept)}


def _pitch(centres: Array) -> float:
    distances = pdist(centres)
    return float(distances[distances <= (1 + _SIMILAR) * distances.min()].mean())


def _fitted(coarse: Array, sharp: Array, size: NDArray[np.int64], large: NDArray[np.int64]) -> PublishedFit:
    """Fit scale and rigid motion in turns (steps 10 to 12); sizes are (columns, rows)."""
    pixel = PITCH_UM / _pitch(sharp), PITCH_UM / _pitch(coarse) * FACTOR
    scale = pixel[1] / pixel[0] / FACTOR

    def rigid(scales: Array) -> tuple[Array, Array]:
        scaled = coarse * scales + (size - np.floor(large * scales)) // 2
        fitted = fit_rigid(scaled, sharp)
        return fitted, moved(fitted, scaled)

    first, warped = rigid(np.full(2, scale))
    off = sharp - warped
    slopes = np.array([np.polyfit(coarse[:, i] - size[i] // 2, off[:, i], 1)[0] for i in (0, 1)])
    scale_xy = scale * (1 + slopes)
    second, again = rigid(scale_xy)
    residuals = tuple(np.linalg.norm(sharp - points, axis=1) for points in (warped, again))
    return PublishedFit(
        coarse, sharp, scale, pixel, first, scale_xy, second, 0.0, False, False, (residuals[0], residuals[1])
    )
