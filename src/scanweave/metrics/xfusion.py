"""PSNR, SSIM and absolute error as the XFusion programs report them: on 8 bits, each under its own name.

While they train, the programs score with BasicSR's measures; of a virtual experiment they report PSNR with the peak
255, and of a real one with the brightest pixel that was made as the peak, so that darker frames score worse and the two
cannot be compared. The standard measures are `scanweave.metrics.psnr`, `ssim` and `mae`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fidelity import Pixels, checked_pair, mae, psnr
from .ssim import ssim

_TOP = 255.0
_LEAST = 1e-8  # what the form for tensors adds to the error, so that equal images have 80 dB


def eight_bits(unit: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels of [0, 1] as the programs write them: clamped, times 255, rounded half to even."""
    return np.asarray(np.rint(np.clip(unit, 0, 1) * _TOP), np.uint8)


def basicsr_psnr(estimate: Pixels, truth: Pixels, *, border: int = 0) -> float:
    """Return BasicSR's PSNR of images of 8 bits, dB.

    Args:
        estimate: ``(row, column)``, 0 to 255.
        truth: The same shape.
        border: Pixels along each side that do not count.

    Raises:
        ValueError: As of `psnr`, or a border that leaves nothing.
    """
    return psnr(*_inside(estimate, truth, border), peak=_TOP)


def basicsr_ssim(estimate: Pixels, truth: Pixels, *, border: int = 0) -> float:
    """Return BasicSR's SSIM of images of 8 bits: Gaussian windows that lie within (arguments as of `basicsr_psnr`)."""
    return ssim(*_inside(estimate, truth, border), peak=_TOP)


def basicsr_psnr_of_tensors(estimate: Pixels, truth: Pixels, *, border: int = 0) -> float:
    """Return BasicSR's PSNR of one image in [0, 1] that is clamped, but not rounded; equal images have 80 dB."""
    x, y = _inside(np.clip(_array(estimate), 0, 1), np.clip(_array(truth), 0, 1), border)
    return 10 * math.log10(1 / (float(np.square(x - y).mean()) + _LEAST))


def basicsr_ssim_of_tensors(estimate: Pixels, truth: Pixels, *, border: int = 0) -> float:
    """Return BasicSR's SSIM of one image in [0, 1] that is clamped, but not rounded."""
    return ssim(*_inside(np.clip(_array(estimate), 0, 1), np.clip(_array(truth), 0, 1), border))


def xfusion_virtual_psnr(estimate: Pixels, truth: Pixels) -> float:
    """Return PSNR as reported of virtual experiments: images of 8 bits, peak 255, dB."""
    return psnr(estimate, truth, peak=_TOP)


def xfusion_actual_psnr(estimate: Pixels, truth: Pixels) -> float:
    """Return PSNR as reported of real experiments: images of 8 bits, the largest value of `estimate` as peak, dB."""
    return psnr(estimate, truth, peak=max(float(_array(estimate).max()), 1.0))


def xfusion_aad(estimate: Pixels, truth: Pixels) -> float:
    """Return the mean absolute difference of images of 8 bits, in grey levels."""
    return mae(estimate, truth)


def xfusion_ssim(estimate: Pixels, truth: Pixels) -> float:
    """Return SSIM as reported of both kinds of experiments: uniform windows of 7 x 7, sample covariance, range 255."""
    return ssim(estimate, truth, peak=_TOP, window="uniform")


def _array(pixels: Pixels) -> NDArray[np.float64]:
    return checked_pair(pixels, pixels)[0]


def _inside(estimate: Pixels, truth: Pixels, border: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = checked_pair(estimate, truth)
    if border < 0 or x.ndim < 2 or min(x.shape[-2:]) <= 2 * border:
        raise ValueError(f"a border of {border} leaves nothing of images of shape {x.shape}")
    inside = (..., slice(border, x.shape[-2] - border), slice(border, x.shape[-1] - border))
    return x[inside], y[inside]
