"""A step of data consistency after any method: what it makes is moved until it agrees with the coarse frame.

Where a made frame f, re-degraded, differs from the coarse frame c by more than noise, the smallest smooth change d is
added that explains it. With A the coarse camera, V the variance of its noise and P what the residual has in excess of
noise around each pixel,

    d = k P^1/2 S P^1/2 A^T y,   (k A P^1/2 S P^1/2 A^T + V) y = c - A f,

which is Wiener's estimate for errors of variance k P that are smooth over a coarse pixel (S). The factor k rises until
the residual there is within its noise (the discrepancy principle: Morozov, Soviet Mathematics Doklady 7, 1966), and no
further, so that the coarse camera's noise is not copied. A frame that agrees already stays as it is, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import linalg

from ..made import Made
from .agreement import Agreement, CameraModel, camera_model
from .calibration import Calibration
from .choice import Choice
from .frames import Frames, Plane
from .methods import Method, State, around
from .scene import moments

Array = NDArray[np.float64]

_WINDOW = 7  # coarse pixels that the excess over noise is told from
_DOUBT = 2.0  # power, in that of noise, from which on there is an excess: that of 49 pixels is uncertain by a fifth
_FIRST, _RISE, _STEPS = 4.0**-6, 4.0, 14  # values of k that are tried
_HALVINGS = 3  # of the interval, in its logarithm, that k is then known to lie in
_ITERATIONS, _EXACT = 100, 1e-4


@dataclass(frozen=True)
class Consistent:
    """Any method, and a step of data consistency after it.

    Attributes:
        method: What makes the frames.
    """

    method: Method

    @property
    def name(self) -> str:
        """That of the method, and what is done after it."""
        return f"{self.method.name}, made consistent"

    @property
    def around(self) -> int:
        """Coarse frames that the method needs on either side."""
        return around(self.method)

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> State:
        """Bind the method to frames."""
        return _Consistent(self.method.prepare(coarse, sharp, calibration), coarse, sharp, calibration)

    def describe(self) -> dict[str, Any]:
        """Return what the method says, and that it was made consistent."""
        return {**self.method.describe(), "consistent": True}


@dataclass(frozen=True, eq=False)
class _Consistent:
    """A state whose frames agree with the coarse ones.

    Extras ``chi_square_before`` and ``chi_square_after``, one number a frame, say by how much.
    """

    state: State
    coarse: Frames
    sharp: Frames
    calibration: Calibration

    def at(self, times: Sequence[float]) -> Made:
        """Return frames at moments on the sharp clock, as `State` says."""
        parts = [self._one(float(time)) for time in times]
        extras = {name: torch.cat([part.extras[name] for part in parts]) for name in parts[0].extras}
        spreads = [part.uncertainty for part in parts if part.uncertainty is not None]
        whole = torch.cat(spreads) if len(spreads) == len(parts) else None
        return Made(torch.cat([part.frames for part in parts]), whole, extras)

    def _one(self, time: float) -> Made:
        made, seen = self.state.at([time]), self.coarse.unit(self.choice.pick(time).middle)
        frame, before, after = consistent(made.frames[0, 0].numpy(), seen, self.model)
        told = {"chi_square_before": torch.tensor([before]), "chi_square_after": torch.tensor([after])}
        return Made(torch.from_numpy(frame)[None, None], made.uncertainty, {**made.extras, **told})

    @cached_property
    def model(self) -> CameraModel:
        """What both runs tell of their cameras."""
        return camera_model(self.coarse, self.sharp, self.calibration)

    @cached_property
    def choice(self) -> Choice:
        """Which coarse frame a moment has."""
        return Choice(moments(self.coarse, self.calibration), self.sharp.times)


def consistent(frame: Plane, coarse: Plane, model: CameraModel) -> tuple[Plane, float, float]:
    """Return a frame that agrees with the coarse one, and the reduced chi-square before and after.

    Args:
        frame: ``(row, column)`` of the part that both cameras see, over the window.
        coarse: The coarse frame of its moment as recorded, over the window.
        model: Of both cameras.
    """
    before = model.agreement(frame, coarse)
    excess = excess_of(before)
    if not excess.any():
        return frame, before.chi_square, before.chi_square
    change, wanted = _Change.of(before, excess), excess > 0

    def tried(factor: float) -> tuple[Plane, Agreement, bool]:
        made = np.asarray(frame + change.by(factor), np.float32)
        after = model.agreement(made, coarse)
        return made, after, bool(np.square(after.whitened)[wanted].mean() <= after.level)

    factor, (made, after, enough) = _FIRST, tried(_FIRST)
    for _ in range(_STEPS):
        if enough:
            break
        factor *= _RISE
        made, after, enough = tried(factor)
    step = math.sqrt(_RISE)
    for _ in range(_HALVINGS if enough and factor > _FIRST else 0):
        less = tried(factor / step)
        if less[2]:
            factor, (made, after, _) = factor / step, less
        step = math.sqrt(step)
    return made, before.chi_square, after.chi_square


def excess_of(agreement: Agreement) -> Array:
    """Return ``(coarse pixel,)``: variance of the residual around each pixel beyond noise; 0 where it may be noise."""
    degradation = agreement.model.degradation
    whitened = agreement.picture
    known = np.isfinite(whitened)
    power, count = (
        ndimage.uniform_filter(one, _WINDOW, mode="constant")
        for one in (np.where(known, np.square(whitened), 0.0), known.astype(np.float64))
    )
    found = (power / np.maximum(count, 1e-12))[degradation.inside[degradation.part]]
    beyond = np.where(found > _DOUBT * agreement.level, found - agreement.level, 0.0)
    return np.asarray(beyond * (agreement.noise + agreement.own), np.float64)


@dataclass(frozen=True, eq=False)
class _Change:
    """The smallest smooth change of a made frame that explains a residual.

    Attributes:
        agreement: That is to be explained.
        root: ``(row, column)``: expected size of errors of the frame.
        smooth: Standard deviation of S, sharp pixels.
        unit: What S leaves of the variance of coarse pixels.
    """

    agreement: Agreement
    root: Array
    smooth: float
    unit: float

    @classmethod
    def of(cls, agreement: Agreement, excess: Array) -> _Change:
        degradation = agreement.model.degradation
        covered = degradation.adjoint(np.ones_like(excess))
        root = degradation.adjoint(np.sqrt(excess)) / np.maximum(covered, 1e-3 * covered.max())
        smooth = 0.5 / math.sqrt(degradation.passed)  # half a coarse pixel: the mean of n pixels leaves one in n
        middle = np.zeros_like(excess)
        middle[len(middle) // 2] = 1
        unit = float(middle @ degradation(_smoothed(degradation.adjoint(middle), smooth)))
        return cls(agreement, root, smooth, unit)

    def by(self, factor: float) -> Array:
        """Return the change ``(row, column)`` for errors `factor` times as strong as expected, in variance."""
        found, degradation = self.agreement, self.agreement.model.degradation

        def spread(pixels: Array) -> Array:
            inner = _smoothed(self.root * degradation.adjoint(pixels.ravel()), self.smooth)
            return factor / self.unit * self.root * inner

        def observed(pixels: Array) -> Array:
            return degradation(spread(pixels)) + found.noise * pixels.ravel()

        size = len(found.residual)
        weight = factor * np.square(degradation(self.root)) + found.noise  # nearly the diagonal
        solved, _ = linalg.cg(
            linalg.LinearOperator((size, size), matvec=observed, dtype=np.float64),
            -found.residual,
            rtol=_EXACT,
            maxiter=_ITERATIONS,
            M=linalg.LinearOperator((size, size), matvec=lambda one: one.ravel() / weight, dtype=np.float64),
        )
        return spread(solved)


def _smoothed(frame: Array, deviation: float) -> Array:
    return np.asarray(ndimage.gaussian_filter(frame, deviation, mode="reflect", truncate=3.0), np.float64)
