"""What needs neither motion nor learning: the other methods must be better than these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from .calibration import Calibration
from .choice import Choice, Pick
from .frames import Frames
from .methods import FusionMethod, Made, PickedState
from .scene import Scene


@dataclass(frozen=True, kw_only=True)
class Hold(FusionMethod):
    """The last sharp frame, until the next."""

    name: ClassVar[str] = "hold"

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> PickedState:
        """Bind the method to frames."""
        return _Hold(*bound(coarse, sharp, calibration))


@dataclass(frozen=True, kw_only=True)
class TemporalLinear(FusionMethod):
    """The sharp frames before and after, weighted by nearness."""

    name: ClassVar[str] = "temporal-linear"

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> PickedState:
        """Bind the method to frames."""
        return _TemporalLinear(*bound(coarse, sharp, calibration))


@dataclass(frozen=True, kw_only=True)
class Bicubic(FusionMethod):
    """The coarse frame there, enlarged."""

    name: ClassVar[str] = "bicubic"

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> PickedState:
        """Bind the method to frames."""
        return _Bicubic(*bound(coarse, sharp, calibration))


class _Hold(PickedState):
    def make(self, pick: Pick) -> Made:
        held = pick.sharp[1] if pick.t >= 1 else pick.sharp[0]
        return Made(self.scene.sharp_frame(held))


class _TemporalLinear(PickedState):
    def make(self, pick: Pick) -> Made:
        before, after = (self.scene.sharp_frame(i) for i in pick.sharp)
        return Made(torch.lerp(before, after, pick.t))


class _Bicubic(PickedState):
    def make(self, pick: Pick) -> Made:
        return Made(self.scene.coarse_frame(pick.middle, mode="bicubic"))


def bound(
    coarse: Frames, sharp: Frames, calibration: Calibration, *, step: int = 1, multiple: int = 1, around: int = 0
) -> tuple[Scene, Choice]:
    """Return both cameras on one grid, and the choice of their frames by time."""
    scene = Scene(coarse, sharp, calibration, step=step, multiple=multiple)
    return scene, Choice(scene.moments, sharp.times, around=around)
