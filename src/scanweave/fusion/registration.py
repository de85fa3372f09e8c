"""Calibration by the scene itself: no target, any texture that both cameras see.

First scale and angle are tried out on small pictures, each with the shift that cross-correlation finds. Then the shift
that is left is measured block by block by least squares (Lucas and Kanade 1981), which gives pairs of places, a fit of
scale, rotation and translation to them, weighted by how sure each block is, and residuals in pixels.
"""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError
from .calibration import Calibration, of_points
from .grid import correlation, refuse_swapped, resized
from .rigid import (
    Array,
    Fit,
    Similarity,
    fit_isotropic,
    fit_robust,
    fit_similarity,
    inverse,
    moved,
    rotation,
    standard_errors,
)

Picture = NDArray[np.float32]

_SIDE = 96  # pixels of the pictures on which scale and angle are tried out
_SCALES = np.exp(np.linspace(-0.28, 0.28, 15))  # of the likely ratio
_ANGLES = np.radians(np.linspace(-9, 9, 13))
_REFINED = 3  # of the best trials
_LEAST = 0.4  # correlation that views of one scene must reach
_BLOCKS = 6  # along the shorter side
_SMALLEST = 10  # pixels of a block's side
_DOUBT = 0.5  # coarse pixels of a block's shift
_FINEST = 0.01  # coarse pixels that no block's shift is surer than
_STRETCH = 1.3  # of one scale over the other
_TURN = np.radians(15)
_ROUNDS = 4
_POINTS = 6
_POOR = 0.4  # coarse pixels that points held out may lie off in the mean before it is said
_FAINT = 0.1  # of the detail's standard deviation: contrast that is not raised


def calibrate_by_scene(
    coarse: NDArray[np.float64], sharp: NDArray[np.float64], *, mirrored: bool = False, ratio: float | None = None
) -> Calibration:
    """Return the calibration of two cameras that see one textured scene.

    Args:
        coarse: ``(row, column)``, of the fast camera: one frame, or better the mean over a stretch of time.
        sharp: ``(row, column)``, of the sharp camera over the same stretch, as recorded.
        mirrored: The sharp camera sees the scene mirrored.
        ratio: Sharp pixels in the side of a coarse one, within a quarter; by default as if both saw the same part.

    Raises:
        InputError: The views do not agree in any position, or roles are swapped.
    """
    facing = sharp[:, ::-1] if mirrored else sharp
    shapes = (coarse.shape[0], coarse.shape[1]), (sharp.shape[0], sharp.shape[1])
    likely = ratio or float(np.sqrt(np.prod(np.array(sharp.shape) / coarse.shape)))
    refuse_swapped(Similarity(likely, likely))
    # what the coarse camera cannot resolve would only be noise to it
    soft = ndimage.gaussian_filter(facing, max(likely, 1.0) / 2).astype(np.float32)
    target = coarse.astype(np.float32)
    refined = [_refined(start, target, soft) for start in _starts(target, soft, likely)]
    matrix = max(refined, key=lambda one: _agreement(one, target, soft))
    _refuse_strangers(_agreement(matrix, target, soft))
    fit: Fit = fit_isotropic
    for _ in range(_ROUNDS):
        points, shifts, doubts = _blockwise(matrix, target, soft)
        if len(points) < _POINTS:
            raise InputError(
                f"the scene has texture in {len(points)} places of the common view, {_POINTS} are needed",
                remedy="use frames that show more, or calibrate by a grid",
            )
        places = moved(matrix, points + shifts)
        fit = _warranted(points, places, doubts)
        similarity, kept = fit_robust(points, places, doubts, fit=fit)
        matrix = similarity.matrix
    stretch = similarity.scale_x / similarity.scale_y
    plausible = 1 / _STRETCH < stretch < _STRETCH and abs(similarity.angle) < _TURN
    _refuse_strangers(_agreement(matrix, target, soft) if plausible else -1.0)
    refuse_swapped(similarity)
    found = of_points(points, places, similarity, kept, method="scene", shapes=shapes, mirrored=mirrored)
    return found.model_copy(update={"notes": (*found.notes, *_doubted(found))})


def _doubted(found: Calibration) -> tuple[str, ...]:
    """Say so where places that the fit had not seen are far off: views of strangers agree somewhere, too."""
    off = 0.0 if found.residuals is None else found.residuals.held_out / found.scale
    if off <= _POOR:
        return ()
    return (
        f"The views fit poorly: points are {off:.2f} coarse pixels off in the mean. Look at the picture; "
        "if one camera sees the scene mirrored, say --mirrored (or leave it out), or give --ratio.",
    )


def _warranted(points: Array, places: Array, doubts: Array) -> Fit:
    """Return the fit with two scales if the points tell them apart from one, else that with one."""
    two, kept = fit_robust(points, places, doubts)
    errors = standard_errors(two, points[kept], places[kept])
    apart = abs(two.scale_x - two.scale_y)
    return fit_similarity if apart > 3 * np.hypot(errors["scale_x"], errors["scale_y"]) else fit_isotropic


def _refuse_strangers(agreement: float) -> None:
    if agreement < _LEAST:
        raise InputError(
            f"no overlap in space: the two views agree in no position (best correlation {agreement:.2f}, {_LEAST} "
            "needed)",
            remedy="check that both cameras saw the same scene, say --mirrored if one sees it so, or give --ratio",
        )


def _starts(coarse: Picture, sharp: Picture, likely: float) -> list[Array]:
    """Return the maps from coarse to sharp whose pictures correlate best, of all scales and angles tried."""
    of_coarse = resized(max(min(coarse.shape) / _SIDE, 1.0))
    of_sharp = resized(max(likely * of_coarse[0, 0] * _SCALES[0], 1.0))
    small_coarse, small_sharp = _shrunk(coarse, of_coarse), _shrunk(sharp, of_sharp)
    side = cv2.getOptimalDFTSize(2 * max(*small_coarse.shape, *small_sharp.shape))
    spectrum = np.conj(np.fft.rfft2(_band(small_coarse), (side, side)))
    trials = []
    for stretch, angle in product(_SCALES / _SCALES[0], _ANGLES):
        turn = _turned_about_middle(small_sharp, float(stretch), float(angle))
        turned = _band(_at(small_sharp, turn, _size(small_sharp, float(stretch))))
        surface = np.fft.irfft2(spectrum * np.fft.rfft2(turned, (side, side)), (side, side))
        y, x = (int(n) for n in np.unravel_index(surface.argmax(), surface.shape))
        move = np.eye(3)
        move[:2, 2] = x - side * (x > side // 2), y - side * (y > side // 2)
        score = float(surface.max()) / max(float(np.linalg.norm(turned)), 1e-12)
        trials.append((score, of_sharp @ turn @ move @ inverse(of_coarse)))
    trials.sort(key=lambda trial: -trial[0])
    return [matrix for _, matrix in trials[:_REFINED]]


def _turned_about_middle(image: Picture, scale: float, angle: float) -> Array:
    """Return the map that a picture of the image, `scale` times smaller and turned, is sampled by."""
    made = np.eye(3)
    made[:2, :2] = scale * rotation(angle)
    ends = (np.array(image.shape[::-1]) - 1) / 2, (np.array(_size(image, scale)) - 1) / 2
    made[:2, 2] = ends[0] - made[:2, :2] @ ends[1]
    return made


def _shrunk(image: Picture, matrix: Array) -> Picture:
    """Return the image at the size that :func:`resized` says, each pixel the mean over its area."""
    factor = float(matrix[0, 0])
    return _at(ndimage.uniform_filter(image, max(round(factor), 1)), matrix, _size(image, factor))


def _refined(start: Array, coarse: Picture, sharp: Picture) -> Array:
    """Return the similarity with one scale near `start` that blocks agree on; `start` where they do not."""
    matrix = start
    for _ in range(_ROUNDS):
        points, shifts, doubts = _blockwise(matrix, coarse, sharp)
        if len(points) < _POINTS:
            break
        similarity, _ = fit_robust(points, moved(matrix, points + shifts), doubts, fit=fit_isotropic)
        matrix = similarity.matrix
    return matrix


def _agreement(matrix: Array, coarse: Picture, sharp: Picture) -> float:
    """Return the correlation of both views without slow shades, where both see; -1 where that is hardly anywhere."""
    laid, seen = _laid(matrix, coarse.shape, sharp)
    if seen.mean() < 0.2 * min(1.0, sharp.size / max(abs(np.linalg.det(matrix[:2, :2])) * coarse.size, 1e-9)):
        return -1.0
    return correlation(_band(coarse)[seen], _band(laid)[seen])


def _blockwise(matrix: Array, coarse: Picture, sharp: Picture) -> tuple[Array, Array, Array]:
    """Return centres of blocks of the coarse frame, how far they should move, ``(n, 2)``, and the doubt, ``(n,)``.

    In each block gain, offset and shift are found together: ``coarse = a + g w + g (dx w_x + dy w_y)``, with the sharp
    view laid over it as w. Blocks with less texture than noise are left out.
    """
    laid, seen = _laid(matrix, coarse.shape, sharp)
    dy, dx = (np.asarray(np.gradient(laid, axis=axis), np.float32) for axis in (0, 1))
    side = max(min(coarse.shape) // _BLOCKS, _SMALLEST)
    centres, shifts, doubts = [], [], []
    for top, left in product(*(range(0, n - side + 1, side // 2) for n in coarse.shape)):
        block = slice(top, top + side), slice(left, left + side)
        if not seen[block].all():
            continue
        table = np.stack([np.ones(side * side), *(one[block].ravel() for one in (laid, dx, dy))], axis=1)
        scale = np.maximum(np.linalg.norm(table, axis=0), 1e-12)
        solved, *_ = np.linalg.lstsq(table / scale, coarse[block].ravel(), rcond=None)
        solved = solved / scale
        left_over = coarse[block].ravel() - table @ solved
        noise = float(left_over.var()) / max(float(solved[1]) ** 2, 1e-12)
        spread = np.asarray(np.linalg.pinv(table.T @ table)) * noise
        shift = solved[2:] / solved[1] if solved[1] > 0 else np.full(2, np.inf)
        doubt = np.sqrt(spread.diagonal()[2:])
        if np.abs(shift).max() < side / 4 and doubt.max() < _DOUBT:
            centres.append((left + (side - 1) / 2, top + (side - 1) / 2))
            shifts.append(shift)
            doubts.append(np.hypot(*doubt) + _FINEST)
    return np.array(centres).reshape(-1, 2), np.array(shifts).reshape(-1, 2), np.array(doubts)


def _laid(matrix: Array, shape: tuple[int, ...], sharp: Picture) -> tuple[Picture, NDArray[np.bool_]]:
    """Return the sharp view on the coarse frame, and where it is seen there."""
    size = (shape[1], shape[0])
    seen = _at(np.ones_like(sharp), matrix, size, border=cv2.BORDER_CONSTANT) > 0.999
    return _at(sharp, matrix, size), seen


def _at(image: Picture, matrix: Array, size: tuple[int, int], *, border: int = cv2.BORDER_REPLICATE) -> Picture:
    """Return the image sampled where `matrix` puts the pixels of a frame of `size` (columns, rows)."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, matrix[:2], size, flags=flags, borderMode=border), np.float32)


def _band(image: Picture) -> Picture:
    """Return the image without slow shades, of like contrast everywhere, so that no edge outweighs the rest."""
    width = min(image.shape) / 8
    detail = image - ndimage.gaussian_filter(image, width)
    power = ndimage.gaussian_filter(detail**2, width)
    return np.asarray(detail / np.sqrt(power + (_FAINT * detail.std()) ** 2 + 1e-12), np.float32)


def _size(image: Picture, factor: float) -> tuple[int, int]:
    return max(int(image.shape[1] / factor), 8), max(int(image.shape[0] / factor), 8)
