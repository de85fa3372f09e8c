"""What a detector adds: scattered radiation and counting noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

Picture = NDArray[np.float32]


def scattered(intensity: Picture, *, fraction: float, width: float) -> Picture:
    """Add scatter: `fraction` of the intensity, blurred over `width` (standard deviation in pixels).

    A uniform intensity ``I`` becomes ``I (1 + fraction)``. The blur is made on a coarse grid, since it is wide.
    """
    if fraction == 0:
        return intensity
    coarse = max(1, int(width / 3))
    height, width_px = intensity.shape
    size = (max(1, round(width_px / coarse)), max(1, round(height / coarse)))
    small = cv2.resize(intensity, size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), width / coarse, borderType=cv2.BORDER_REFLECT)
    spread = cv2.resize(blurred, (width_px, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(intensity + np.float32(fraction) * spread, dtype=np.float32)


def counted(intensity: Picture, *, photons: float, generator: np.random.Generator) -> Picture:
    """Return what is counted where `photons` are expected at intensity 1, divided by `photons`.

    Mean `intensity`, variance ``intensity / photons``.

    Raises:
        UsageError: No photons.
    """
    if not photons > 0:
        raise UsageError(f"{photons} photons make no picture", remedy="state how many reach a pixel at intensity 1")
    expected = np.maximum(intensity, 0).astype(np.float64) * photons
    return (generator.poisson(expected) / photons).astype(np.float32)
