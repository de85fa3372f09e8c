"""Measures of pixel-wise error: MSE, MAE, PSNR.

Every entry counts the same: a batch, colour channels and pixels are pooled into one mean. For one value per frame
call once per frame; a mean of PSNRs is not the PSNR of the pooled error.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[Any] | Tensor
"""What the measures take: an array or a tensor (on any device) of integers or floats."""


def mse(estimate: Pixels, truth: Pixels, *, mask: Pixels | None = None) -> float:
    """Return the mean squared error in squared units of the input.

    Args:
        estimate: Any shape.
        truth: The same shape.
        mask: Bool, broadcast to that shape from the right (``(row, column)`` fits ``(channel, row, column)``);
            only entries where it is true count.

    Raises:
        ValueError: Shapes that do not agree, no entries, or entries that are not real numbers.
    """
    return float(np.square(_differences(estimate, truth, mask)).mean())


def mae(estimate: Pixels, truth: Pixels, *, mask: Pixels | None = None) -> float:
    """Return the mean absolute error in units of the input; arguments and errors as for `mse`."""
    return float(np.abs(_differences(estimate, truth, mask)).mean())


def psnr(estimate: Pixels, truth: Pixels, *, peak: float = 1.0, mask: Pixels | None = None) -> float:
    """Return the peak signal-to-noise ratio ``10 log10(peak^2 / MSE)`` in dB; infinity where the two are equal.

    Args:
        estimate: Any shape.
        truth: The same shape.
        peak: The largest value that the depth allows, in units of the input: 1 for unit range, 255 for 8 bits.
        mask: As for `mse`.

    Raises:
        ValueError: As for `mse`, or a peak that is not positive.

    Example:
        >>> round(psnr(np.full((4, 4), 0.1), np.zeros((4, 4))), 6)
        20.0
    """
    peak = checked_peak(peak)
    error = mse(estimate, truth, mask=mask)
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def most_dsa_psnr(estimate: Pixels, truth: Pixels) -> float:
    """Return PSNR as the MoSt-DSA authors report it: peak 1, pooled over channels and pixels, never rounded.

    Their program fails on equal images; this gives infinity.

    Source:
        MoSt-DSA (ECCV 2024), evaluation of the published program.
    """
    return psnr(estimate, truth, peak=1.0)


def checked_pair(estimate: Pixels, truth: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as float64 arrays of one shape.

    Raises:
        ValueError: Shapes that differ, no entries, or entries that are not real numbers.
    """
    first, second = _float64(estimate, "estimate"), _float64(truth, "truth")
    if first.shape != second.shape:
        raise ValueError(f"an estimate of shape {first.shape} cannot be compared with a truth of shape {second.shape}")
    if first.size == 0:
        raise ValueError(f"images of shape {first.shape} hold no pixels")
    return first, second


def checked_mask(mask: Pixels, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return `mask` broadcast to `shape`.

    Raises:
        ValueError: Not bool, not broadcastable, or true nowhere.
    """
    array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype != bool:
        raise ValueError(f"a mask must be bool, this one is {array.dtype}")
    try:
        array = np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"a mask of shape {array.shape} does not fit images of shape {shape}") from None
    if not array.any():
        raise ValueError(f"the mask of shape {array.shape} is true nowhere: there is nothing to compare")
    return array


def checked_peak(peak: float) -> float:
    """Return `peak`.

    Raises:
        ValueError: Not a positive finite number.
    """
    if not (math.isfinite(peak) and peak > 0):
        raise ValueError(f"peak is {peak}; it must be the positive range that the depth of the images means")
    return float(peak)


def _differences(estimate: Pixels, truth: Pixels, mask: Pixels | None) -> NDArray[np.float64]:
    first, second = checked_pair(estimate, truth)
    difference = first - second
    return difference if mask is None else difference[checked_mask(mask, difference.shape)]


def _float64(pixels: Pixels, name: str) -> NDArray[np.float64]:
    if isinstance(pixels, Tensor):
        if pixels.is_complex() or pixels.dtype == torch.bool:
            raise ValueError(f"{name} is a tensor of {pixels.dtype}; integers or floats were expected")
        return pixels.detach().to("cpu", torch.float64).numpy()
    array = np.asarray(pixels)
    if array.dtype.kind not in "uif":
        raise ValueError(f"{name} is an array of {array.dtype}; integers or floats were expected")
    return array.astype(np.float64, copy=False)
