"""Scores of synthesized volumes against what was acquired: in a mask, over a range that the target alone decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from ..errors import InputError
from ..grid import Grid
from ..metrics import dice_of_labels, mae, psnr, ssim_map
from ..volume import Volume
from .intensity import MADE_UNITS, Window, window_of
from .published_metrics import PUBLISHED_MEASURES, published_scores

Unit = NDArray[np.float32]
Mask = NDArray[np.bool_]
Segment = Callable[[Unit], NDArray[np.integer]]
"""Finds labels ``(slice, row, column)``, 0 for none, in an image ``(slice, row, column)`` in about [0, 1]."""

Units = Literal["target", "made"]
"""Of a prediction: those of the target; or 0 to 255 between the ends of the contrast's window, as `synthesize` writes a
contrast that the subject has not."""

MEASURES = ("psnr", "ssim", "mae", "psnr_fitted", "ssim_axial", "ssim_coronal", "ssim_sagittal", "psnr_whole")
"""What is measured of every volume (`score`)."""

PLANES = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal", "L": "sagittal", "R": "sagittal"}
"""Plane across an axis, by which way it runs."""

_ALIKE = 1e-2  # of a voxel: how far corners of one grid may lie apart


def score(
    made: Volume,
    truth: Volume,
    *,
    mask: Volume | None = None,
    units: Units = "target",
    segment: Segment | None = None,
    labels: Volume | None = None,
) -> dict[str, float]:
    """Score a volume in a mask, over the range of the target.

    0 and 1 are the ends of the target's window, percentiles 0.5 and 99.5 inside the mask; nothing is clipped. PSNR in
    dB, ``mae`` in the target's real units. ``ssim`` has a Gaussian cube as its window, ``ssim_axial`` and the like a
    square in one plane, where slices that do not fit together show. ``psnr_fitted`` is after the one scale and offset
    that suit the prediction best: what is left is structure. ``psnr_whole`` counts the background too.

    Args:
        made: What is judged.
        truth: What was acquired, on the same grid in any orientation.
        mask: What is not 0 is judged; by default the largest bright part of `truth`, holes filled (`organ_mask`).
        units: Of `made`.
        segment: Any way of finding labels: adds ``dice_1`` and so on, and ``dice``, their mean.
        labels: What it should find; by default what it finds in `truth`.

    Raises:
        InputError: Other grids, values that are not numbers, an empty mask, or no contrast.
    """
    _require_finite(truth, "the target")
    _require_finite(made, "the prediction")
    there = None if mask is None else on_grid(mask, truth.grid, "the mask").voxels != 0
    inside = organ_mask(truth) if there is None else there
    if not inside.any():
        raise InputError("the mask is 0 everywhere", remedy="give one that covers the organ")
    window = window_of("the target", truth, "percentile", inside)
    image = _unit(on_grid(made, truth.grid, "the prediction"), window, truth, units)
    target = truth.unit((window.low, window.high))[0]
    peak = (window.high - window.low) * abs(truth.scale)
    found = {
        "psnr": psnr(image, target, mask=inside),
        "ssim": float(ssim_map(image, target, axes=3)[inside].mean()),
        "mae": mae(image, target, mask=inside) * peak,
        "psnr_fitted": psnr(_fitted(image[inside], target[inside]), target[inside]),
        **_by_plane(image, target, inside, truth.grid),
        "psnr_whole": psnr(image, target),
    }
    if segment is None:
        return found
    wanted = segment(target) if labels is None else on_grid(labels, truth.grid, "the labels").voxels
    return found | _overlaps(segment(image), wanted)


def score_as_published(made: Volume, truth: Volume) -> dict[str, float]:
    """Score a volume by the published protocol, `published_metrics.published_scores`; no mask.

    Args:
        made: What is judged, in any units: it is scaled by its own percentiles.
        truth: What was acquired.

    Raises:
        InputError: Other grids, or volumes that the protocol cannot take.
    """
    axial = truth.reoriented("LPS")
    # the protocol adds 1 to what its network gives, which is about [-1, 1]
    prediction = on_grid(made, axial.grid, "the prediction").real() - 1
    told = published_scores(prediction, axial.real())
    return {name: float(getattr(told, name)) for name in PUBLISHED_MEASURES}


def organ_mask(volume: Volume) -> Mask:
    """Return where a volume shows something: its largest part above Otsu's threshold, holes filled.

    Of a stripped brain it is the brain; of a whole head the head. A mask of the brain is better.

    Raises:
        InputError: One value everywhere.
    """
    values = volume.real()
    if not values.min() < values.max():
        raise InputError("one value everywhere", path=volume.source.path)
    # tissue is brighter than about half of the threshold between it and background
    between = float(threshold_otsu(values))  # type: ignore[no-untyped-call]
    parts, count = ndimage.label(values > between / 2)
    if not count:
        return np.asarray(values > values.min(), dtype=np.bool_)
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)


def on_grid(volume: Volume, grid: Grid, name: str) -> Volume:
    """Return a volume with its axes turned as those of a grid.

    Raises:
        InputError: It lies elsewhere.
    """
    turned = volume if volume.grid.codes == grid.codes else volume.reoriented(grid.codes)
    if turned.channels is None and turned.grid.matches(grid, tolerance=_ALIKE):
        return turned
    raise InputError(
        f"{name} is on another grid than the target: {volume!r} against {' x '.join(map(str, grid.shape))} voxels of "
        f"{' x '.join(f'{step:.4g}' for step in grid.spacing)} mm",
        path=volume.source.path,
        remedy="resample it onto the target's grid",
    )


def _unit(made: Volume, window: Window, truth: Volume, units: Units) -> Unit:
    """Return a prediction ``(slice, row, column)``, 0 and 1 at the ends of a window of stored values of `truth`."""
    real = made.real().astype(np.float64)
    if units == "made":
        return np.asarray(real / MADE_UNITS, dtype=np.float32)
    low, high = (end * truth.scale + truth.offset for end in (window.low, window.high))
    return np.asarray((real - low) / (high - low), dtype=np.float32)


def _require_finite(volume: Volume, name: str) -> None:
    if volume.voxels.dtype.kind == "f" and not np.isfinite(volume.voxels).all():
        raise InputError(
            f"{name} holds voxels that are not numbers (NaN or infinity)",
            path=volume.source.path,
            remedy="replace them first",
        )


def _fitted(image: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``a * image + b`` for the a and b of least squared error."""
    x, y = image.astype(np.float64), target.astype(np.float64)
    spread = x.var()
    slope = ((x - x.mean()) * (y - y.mean())).mean() / spread if spread > 0 else 0.0
    return np.asarray(slope * (x - x.mean()) + y.mean(), dtype=np.float64)


def _by_plane(image: Unit, target: Unit, inside: Mask, grid: Grid) -> dict[str, float]:
    """Return SSIM in each anatomical plane, the one across each array axis."""
    found = {}
    for axis in range(3):
        across = [np.moveaxis(array, axis, 0) for array in (image, target, inside)]
        plane = PLANES[grid.codes[2 - axis]]
        found[f"ssim_{plane}"] = float(ssim_map(across[0], across[1])[across[2]].mean())
    return dict(sorted(found.items()))


def _overlaps(found: NDArray[np.integer], wanted: NDArray[np.integer]) -> dict[str, float]:
    each = dice_of_labels(found, wanted)
    told = [value for value in each.values() if not math.isnan(value)]
    mean = math.fsum(told) / len(told) if told else math.nan
    return {"dice": mean, **{f"dice_{label}": value for label, value in each.items()}}
