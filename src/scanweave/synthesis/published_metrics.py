"""Scores of synthesized volumes as Uni-COAL's authors report them: named variants of `scanweave.metrics`.

They are for comparing with published numbers, never for judging: the prediction is scaled by its own percentiles, which
hides errors of intensity; the background counts; which slices count is decided by the prediction; and the validation's
SSIM has twice the true range, which lifts it. `scanweave.synthesis.evaluate` is what we advise.

Source:
    Song et al., Uni-COAL, 2025 (arXiv 2311.08225): the evaluation of the published program.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..metrics import mae, psnr, ssim

Voxels = NDArray[Any]
Unit = NDArray[np.float32]

PUBLISHED_MEASURES = ("psnr3d", "ssim3d", "mae", "psnr_slice", "ssim_slice")
_PERCENTILES = (0.5, 99.5)
_WINDOW = 7
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class PublishedScores:
    """What the published evaluation says of one volume.

    Attributes:
        psnr3d: PSNR of the whole volume, in dB.
        ssim3d: SSIM under a cube of 7, of the volume's inside.
        mae: Mean absolute error in [0, 1]; the published program prints it as "mse".
        psnr_slice: Mean over slices of their PSNR, in dB.
        ssim_slice: The same of their SSIM.
        slices: How many slices these two are means of: those whose prediction is not empty.
    """

    psnr3d: float
    ssim3d: float
    mae: float
    psnr_slice: float
    ssim_slice: float
    slices: int


def published_unit(voxels: Voxels) -> Unit:
    """Return a volume in [0, 1]: clipped at its own percentiles 0.5 and 99.5, the lower not below 0.

    Raises:
        InputError: It has one value only, or holds NaN or infinity.
    """
    values = np.asarray(voxels, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("holds voxels that are not numbers (NaN or infinity)", remedy="replace them first")
    low, high = np.percentile(values, _PERCENTILES)
    low = max(low, type(low)(0))
    if not high > low:
        raise InputError(
            f"percentiles {_PERCENTILES[0]} and {_PERCENTILES[1]} are {low:g} and {high:g}: there is no contrast",
            remedy="leave this volume out of the published protocol",
        )
    return np.asarray((np.clip(values, low, high) - low) / (high - low), dtype=np.float32)


def published_scores(prediction: Voxels, target: Voxels) -> PublishedScores:
    """Score a volume as the published evaluation does.

    Args:
        prediction: ``(slice, row, column)`` of what the network gives, about [-1, 1]; axial slices.
        target: The acquired volume on the same grid, in its own units.

    Raises:
        InputError: Shapes that differ, fewer than 7 voxels along an axis, no contrast, or no slice that counts.

    Source: the published ``evaluate.py``.
    """
    if prediction.shape != target.shape or target.ndim != 3 or min(target.shape) < _WINDOW:
        raise InputError(
            f"a prediction of shape {prediction.shape} and a target of shape {target.shape}: the published protocol "
            f"takes two volumes (slice, row, column) of one shape, {_WINDOW} voxels at least along each axis"
        )
    made, truth = published_unit(np.asarray(prediction, dtype=np.float32) + np.float32(1)), published_unit(target)
    chosen = [k for k, plane in enumerate(made) if plane.max() > 0]
    return PublishedScores(
        psnr3d=psnr(made, truth),
        ssim3d=ssim(made, truth, window="uniform", axes=3),
        mae=mae(made, truth),
        psnr_slice=_mean(psnr(made[k], truth[k]) for k in chosen),
        ssim_slice=ssim(made[chosen], truth[chosen], window="uniform"),
        slices=len(chosen),
    )


def published_validation(predictions: Voxels, targets: Voxels) -> dict[str, float]:
    """Score slices as the published training does while it runs, where `best` is chosen by ``ssim``.

    PSNR is of slices divided by their own maxima. An empty prediction counts as it is, where the published program
    gives NaN.

    Args:
        predictions: ``(n, row, column)`` in [0, 1].
        targets: The same; empty ones count in ``mae`` only.

    Returns:
        ``psnr`` in dB, ``ssim`` with range 2 and ``mae``; NaN of the first two where all targets are empty.
    """
    chosen = [k for k, plane in enumerate(targets) if plane.max() > 0]
    return {
        "psnr": _mean(psnr(_by_maximum(predictions[k]), _by_maximum(targets[k])) for k in chosen),
        "ssim": _mean(ssim(predictions[k], targets[k], peak=2.0, window="uniform") for k in chosen),
        "mae": mae(predictions, targets),
    }


def published_dice(found: Voxels, truth: Voxels, *, threshold: float = 0.5) -> float:
    """Return Dice of what lies above `threshold`; 1 where both are empty."""
    return _overlap(np.asarray(found) > threshold, np.asarray(truth) > threshold)


def published_multi_dice(found: Voxels, truth: Voxels, *, classes: int) -> float:
    """Return the mean Dice of labels 1 to ``classes - 1``; a label that neither has counts as 1."""
    return _mean(_overlap(found == label, truth == label) for label in range(1, classes))


def published_brats_dice(found: Voxels, truth: Voxels) -> dict[str, float]:
    """Return Dice of enhancing tumour, tumour core and whole tumour, and their mean.

    Args:
        found: Labels 1 (necrosis), 2 (oedema) and 3 (enhancing).
        truth: The same. In BraTS's own files enhancing tumour is 4.

    Raises:
        InputError: A label 4: the published program takes it for a part of the whole tumour alone.
    """
    for labels in (found, truth):
        if (labels > 3).any():
            raise InputError(
                f"labels up to {labels.max()}; the published protocol knows 1, 2 and 3", remedy="rename label 4 to 3"
            )
    regions: Sequence[tuple[str, tuple[int, ...]]] = (("et", (3,)), ("tc", (1, 3)), ("wt", (1, 2, 3)))
    told = {name: _overlap(np.isin(found, labels), np.isin(truth, labels)) for name, labels in regions}
    return told | {"mean": _mean(told.values())}


def _overlap(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return Dice with the small number above and below the line that keeps the published one from 0 / 0."""
    both = np.count_nonzero(found & truth)
    return float((2 * both + _EPSILON) / (np.count_nonzero(found) + np.count_nonzero(truth) + _EPSILON))


def _by_maximum(plane: Voxels) -> Voxels:
    highest = plane.max()
    return plane / highest if highest > 0 else plane


def _mean(values: Iterable[float]) -> float:
    told = list(values)
    return math.fsum(told) / len(told) if told else math.nan
