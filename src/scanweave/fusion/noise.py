"""How strong the noise of a sharp run is, by brightness: what a network that knows no camera is told of one.

Of photons the variance rises with the brightness in a straight line. It is fitted to the finest diagonal detail of the
differences of neighbouring frames: what stays still cancels, and the median within each range of brightness cares
little for what moved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_NORMAL = 0.6744897501960817  # median of the absolute values of a standard normal variable
_RANGES = 16  # of brightness, with as many pixels each
_ENOUGH = 64  # pixels of one
_FLOOR = 0.002  # of the contrast: what is less noisy counts as that noisy
_CONTRAST = (0.5, 99.5)  # percentiles
_LEAST = 0.1  # of the unit, by which logarithms are limited

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Noise:
    """The noise of a pixel: ``variance = slope * value + base``.

    Attributes:
        slope: Of the variance over the value.
        base: Variance at value 0; negative where values do not begin at darkness.
        unit: Standard deviation, root of the mean variance over a frame, in which frames are told to a network.
    """

    slope: float
    base: float
    unit: float

    def spread(self, values: Tensor) -> Tensor:
        """Return the logarithm of the standard deviation in units, at values."""
        variance = (self.slope * values + self.base) / self.unit**2
        return 0.5 * variance.clamp_min(_LEAST**2).log()

    @classmethod
    def of(cls, slope: float, base: float, *, variance: float, contrast: float) -> Noise:
        """Return a noise with its unit, which is no less than a share of the contrast.

        Args:
            slope: As of the class.
            base: As of the class.
            variance: Mean over a frame.
            contrast: Of a frame, by :func:`contrast_of`.
        """
        floor = max(_FLOOR * contrast, 1e-12)
        if variance < floor**2:
            return cls(0.0, floor**2, floor)
        return cls(slope, base, math.sqrt(variance))


def contrast_of(frame: Plane) -> float:
    """Return between what values nearly all of a frame lies."""
    low, high = np.percentile(frame, _CONTRAST)
    return float(high - low)


def noise_of(pairs: Sequence[tuple[Plane, Plane]]) -> Noise:
    """Return the noise of a run.

    Args:
        pairs: Of frames ``(row, column)`` that follow one another.
    """
    details, values = [], []
    for first, second in pairs:
        details.append(_diagonal((second - first) / np.float32(math.sqrt(2))).ravel())
        values.append(_means((first + second) / np.float32(2)).ravel())
    detail, value = np.abs(np.concatenate(details)), np.concatenate(values)
    ranges = max(1, min(_RANGES, len(value) // _ENOUGH))
    parts = np.array_split(np.argsort(value, kind="stable"), ranges)
    variance = np.array([(np.median(detail[part]) / _NORMAL) ** 2 for part in parts], np.float64)
    slope, base = _line(np.array([value[part].mean() for part in parts], np.float64), variance)
    return Noise.of(slope, base, variance=float(variance.mean()), contrast=contrast_of(pairs[0][0]))


def _line(value: NDArray[np.float64], variance: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and base of a straight line, each range weighted by its own uncertainty; never a falling one."""
    weight = 1 / np.maximum(variance, 0.05 * variance.mean() + 1e-30)
    table = np.stack([value, np.ones_like(value)], axis=1) * weight[:, None]
    slope, base = np.linalg.lstsq(table, variance * weight, rcond=None)[0]
    if slope <= 0:
        return 0.0, float(variance.mean())
    return float(slope), float(base)


def _diagonal(frame: Plane) -> Plane:
    a, b, c, d = _corners(frame)
    return np.asarray((a - b - c + d) / 2, np.float32)


def _means(frame: Plane) -> Plane:
    return np.asarray(sum(_corners(frame)) / 4, np.float32)


def _corners(frame: Plane) -> tuple[Plane, Plane, Plane, Plane]:
    rows, columns = (n // 2 * 2 for n in frame.shape)
    even = frame[:rows, :columns]
    return even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]
