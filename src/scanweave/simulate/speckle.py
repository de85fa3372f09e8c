"""Ultrasound speckle: it moves with the tissue, and forgets itself at a stated rate.

Fully developed speckle is the magnitude of a complex Gaussian field, scatterers convolved with the pulse. Over time

    ``f(X, t) = sum_j w(t / T - j) F_j(X)``,  ``w(s) = sqrt(2 / 3) cos^2(pi s / 4)`` for ``|s| < 2``, else 0,

where the fields ``F_j`` are independent, so that only four matter at a time. Since ``sum_j w(s - j)^2 = 1`` for every
``s``, the speckle is as bright at any time, and it is correlated **exactly** by

    ``rho(t, t') = E[f(t) conj f(t')] / E|f|^2 = sum_j w(t / T - j) w(t' / T - j)``.

With ``T = pi tau / sqrt(12)`` that is ``exp(-(t' - t)^2 / (2 tau^2))`` to 0.05, and 0 once ``|t' - t| >= 4 T``, for
ever. The intensity ``|f|^2`` is correlated by ``rho^2``.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .params import stream

Complex = NDArray[np.float32]
"""Real and imaginary part in the last axis."""

_PER_TIME = 4
_KEPT = 16


def correlation(time: ArrayLike, other: ArrayLike, *, decorrelation_time: float) -> NDArray[np.float64]:
    """Return ``rho`` of two times in seconds: about ``exp(-1/2)`` if they are the decorrelation time apart."""
    s, s1 = (np.asarray(value, dtype=np.float64) / _spacing(decorrelation_time) for value in (time, other))
    first = np.floor(s) - 1
    knots = [first + step for step in range(_PER_TIME)]
    return np.asarray(sum(_weight(s - knot) * _weight(s1 - knot) for knot in knots))


class Speckle:
    """A speckle field over time, on a grid of its own.

    Args:
        shape: ``(depth, beam)``.
        pulse: Standard deviation of the pulse along depth and across beams, in samples.
        decorrelation_time: ``tau`` above, in seconds.
        seed: Of its scatterers.
    """

    def __init__(
        self, shape: tuple[int, int], *, pulse: tuple[float, float], decorrelation_time: float, seed: int
    ) -> None:
        self.shape = shape
        self.pulse = pulse
        self.decorrelation_time = decorrelation_time
        self.seed = seed
        self._fields: dict[int, Complex] = {}

    def at(self, time: float) -> Complex:
        """Return the field at `time`, ``(depth, beam, 2)`` with ``E|f|^2 = 1``."""
        s = time / _spacing(self.decorrelation_time)
        first = math.floor(s) - 1
        total: NDArray[Any] = np.zeros((*self.shape, 2), np.float32)
        for knot in range(first, first + _PER_TIME):
            total += np.float32(_weight(s - knot)) * self._field(knot)
        return total

    def _field(self, knot: int) -> Complex:
        if knot not in self._fields:
            if len(self._fields) >= _KEPT:
                self._fields.pop(next(iter(self._fields)))
            generator = stream(self.seed, f"speckle {knot}")
            self._fields[knot] = scattering(self.shape, pulse=self.pulse, generator=generator)
        return self._fields[knot]


def scattering(shape: tuple[int, int], *, pulse: tuple[float, float], generator: np.random.Generator) -> Complex:
    """Return a complex field of ``E|F|^2 = 1``: random scatterers convolved with a Gaussian pulse.

    Args:
        shape: ``(depth, beam)``.
        pulse: Standard deviation of the pulse along depth and across beams, in samples.
        generator: Where all randomness comes from.
    """
    scatterers = generator.random((*shape, 2), dtype=np.float32) - np.float32(0.5)
    down, across = (cv2.getGaussianKernel(2 * math.ceil(4 * sigma) + 1, sigma) for sigma in pulse)
    blurred = cv2.sepFilter2D(scatterers, -1, across, down, borderType=cv2.BORDER_REFLECT)
    # Each part of a scatterer is uniform over one unit, of variance 1/12.
    energy = float(np.sum(down**2) * np.sum(across**2)) / 6
    return np.asarray(blurred / np.float32(math.sqrt(energy)), dtype=np.float32)


def log_compressed(envelope: NDArray[np.float32], *, dynamic_range: float) -> NDArray[np.float32]:
    """Show an envelope as a scanner does: 0 dB is white, `dynamic_range` dB below it is black."""
    decibels = np.float32(20 / dynamic_range) * np.log10(np.maximum(envelope, np.float32(1e-6)))
    return np.clip(1 + decibels, 0, 1)


def _spacing(decorrelation_time: float) -> float:
    """Return ``T``: with it the curvature of the correlation at 0 is that of the Gaussian."""
    return math.pi * decorrelation_time / math.sqrt(12)


def _weight(s: ArrayLike) -> NDArray[np.float64]:
    """Return ``w``; 0 where ``|s| >= 2``."""
    return np.where(np.abs(s) < 2, math.sqrt(2 / 3) * np.cos(0.25 * math.pi * np.asarray(s)) ** 2, 0.0)
