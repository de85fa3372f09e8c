"""What was acquired judges what was made: hide acquired frames, make them again, score them.

This module knows no job: a method is anything that speaks the protocol below (`scanweave.interpolation.methods`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..cine import Cine


class MadeFrames(Protocol):
    """What a method made (`scanweave.interpolation.methods.Made`)."""

    @property
    def frames(self) -> Any:
        """``(time, channel, row, column)`` in [0, 1]."""

    @property
    def uncertainty(self) -> Any:
        """``(time, 1, row, column)``, or None."""


class State(Protocol):
    """A studied pair."""

    def at(self, times: Sequence[float]) -> MadeFrames:
        """Return the frames at `times` in [0, 1]."""


class FittedMethod(Protocol):
    """A method that has seen a run."""

    def prepare(self, i: int, j: int) -> State:
        """Study frames `i` and `j` of that run."""


class RunMethod(Protocol):
    """A method of any job that makes frames of a run."""

    name: str

    def fit(self, cine: Cine) -> FittedMethod:
        """Study the whole run."""


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One hidden frame against what was made in its place.

    PSNR in dB and errors are over `LeaveOneOut.peak`; ``_region`` is where the run moves, ``_frame`` the whole frame.
    """

    method: str
    gap: int
    hidden: int
    pair: tuple[int, int]
    t: float
    psnr_region: float
    psnr_frame: float
    ssim_region: float
    ssim_frame: float
    mae_region: float
    predicted_error: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Median and quartiles over the hidden frames of one method at one gap."""

    method: str
    gap: int
    count: int
    psnr_region: tuple[float, float, float]
    psnr_frame: tuple[float, float, float]
    ssim_region: tuple[float, float, float]
    ssim_frame: tuple[float, float, float]
    mae_region: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """The outcome of a leave-one-out run.

    Attributes:
        scores: One entry per method, gap and hidden frame.
        region: ``(row, column)`` bool, where the run moves: temporal range above 2 % of peak, dilated 3 pixels.
        peak: 2^BitsStored - 1 in stored units, or the run's own range for floats.
        skipped: Gap -> why no frame could be hidden there.
        calibration: Method -> its calibrated intervals and frame errors (gap 2), where it has uncertainty.
        notes: What a reader must know, one sentence each.
    """

    scores: tuple[FrameScore, ...]
    region: NDArray[np.bool_]
    peak: float
    skipped: Mapping[int, str] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
