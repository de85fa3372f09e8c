"""Ultrasound speckle: it moves with the tissue, and forgets itself at a stated rate.

Fully developed speckle is the magnitude of a complex Gaussian field, scatterers convolved with the pulse. Over time

    ``f(X, t) = sum_k sqrt(p_k) exp(i w_k t) F_k(X)``

with independent fields ``F_k`` is stationary, smooth in time, and correlated **exactly** by

    ``rho(dt) = E[f(t) conj f(t + dt)] / E|f|^2 = sum_k p_k cos(w_k dt)``.

Nodes and weights of the Gauss-Hermite rule make that ``exp(-dt^2 / (2 tau^2))`` to 0.01 for ``dt <= 3 tau`` and better
for less; the intensity ``|f|^2`` is correlated by ``rho^2``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Complex = NDArray[np.float32]
"""Real and imaginary part in the last axis."""

_FIELDS = 6
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(_FIELDS)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def correlation(lag: ArrayLike, *, decorrelation_time: float) -> NDArray[np.float64]:
    """Return ``rho`` at time differences `lag`; ``exp(-1/2)`` at the decorrelation time (seconds)."""
    turns = np.multiply.outer(np.asarray(lag, dtype=np.float64) / decorrelation_time, _NODES)
    return np.asarray(np.cos(turns) @ _WEIGHTS)


@dataclass(frozen=True)
class Speckle:
    """A speckle field over time, on a grid of its own.

    Attributes:
        fields: ``(field, depth, beam, 2)``, each of ``E|F|^2 = 1``.
        decorrelation_time: Seconds after which the correlation is ``exp(-1/2)``.
    """

    fields: NDArray[np.float32]
    decorrelation_time: float

    def at(self, time: float) -> Complex:
        """Return the field at `time`, ``(depth, beam, 2)``."""
        turn = _NODES * (time / self.decorrelation_time)
        size = np.sqrt(_WEIGHTS)
        cosine, sine = ((part * size).astype(np.float32) for part in (np.cos(turn), np.sin(turn)))
        real, imaginary = np.tensordot(np.stack((cosine, sine)), self.fields, axes=1)
        return np.stack((real[..., 0] - imaginary[..., 1], real[..., 1] + imaginary[..., 0]), axis=-1)


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


def speckle(
    shape: tuple[int, int],
    *,
    pulse: tuple[float, float],
    decorrelation_time: float,
    generator: np.random.Generator,
) -> Speckle:
    """Return speckle on a grid ``(depth, beam)``; arguments as for `scattering`."""
    fields = np.stack([scattering(shape, pulse=pulse, generator=generator) for _ in range(_FIELDS)])
    return Speckle(fields, decorrelation_time)


def log_compressed(envelope: NDArray[np.float32], *, dynamic_range: float) -> NDArray[np.float32]:
    """Show an envelope as a scanner does: 0 dB is white, `dynamic_range` dB below it is black."""
    decibels = np.float32(20 / dynamic_range) * np.log10(np.maximum(envelope, np.float32(1e-6)))
    return np.clip(1 + decibels, 0, 1)
