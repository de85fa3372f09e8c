"""`Job`: all that is decided of a fusion before a frame is made, and what makes each when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from .calibration import Calibration
from .choice import LeftOut, Pick
from .frames import Frames, Plane
from .methods import Method, PickedState, State
from .published_registration import Box
from .scene import common_box

Mode: TypeAlias = Literal["continuous", "held-out", "published-continuous", "published-double"]
"""``continuous``: a frame at every moment of the fast camera that has sharp frames before and after. ``held-out``: each
sharp frame again, from its neighbours. The two published modes choose frames by the published tables, clamped at the
ends; in ``published-double`` the first and last frame are made of themselves."""

Depth: TypeAlias = Literal["stored", "float32"]


@dataclass(frozen=True, eq=False)
class MadePlane:
    """One made frame.

    Attributes:
        pixels: ``(row, column)`` as it is written.
        extras: What else the method told of it, a number or a few each.
    """

    pixels: NDArray[Any]
    extras: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Job:
    """All that is decided before anything is made.

    Attributes:
        coarse: The fast camera's run.
        sharp: The slow camera's run.
        calibration: How they go together.
        method: How frames are made.
        mode: Which are made.
        picks: What each is made of.
        left_out: Moments that nothing can be made for.
        depth: ``stored``: whole numbers as the sharp camera stores them, where it has no flat field; else float32.
        notes: What a user should know, one sentence each.
        like: The run whose stored units made frames have; by default the sharp one.
    """

    coarse: Frames
    sharp: Frames
    calibration: Calibration
    method: Method
    mode: Mode
    picks: tuple[Pick, ...]
    left_out: tuple[LeftOut, ...]
    depth: Depth
    notes: tuple[str, ...]
    like: Frames
    _states: dict[int | None, State] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.picks)

    @property
    def box(self) -> Box:
        """The part of a sharp frame, as recorded, that is made."""
        return common_box(self.calibration)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of what is made: the part of a sharp frame that both cameras see."""
        x0, y0, x1, y1 = self.box
        return y1 - y0, x1 - x0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is made."""
        return np.dtype(np.float32) if self._floats else self.like.cine.dtype

    @property
    def _floats(self) -> bool:
        return self.depth == "float32" or self.like.field.flat or self.like.cine.dtype.kind not in "ui"

    def target(self, number: int) -> int | None:
        """Return the sharp frame that made frame `number` is to equal, where it is one that was held out."""
        if self.mode not in ("held-out", "published-double"):
            return None
        return int(np.abs(self.sharp.times - self.picks[number].time).argmin())

    def unit(self, number: int) -> tuple[Plane, dict[str, tuple[float, ...]]]:
        """Make frame `number`: ``(row, column)`` over the sharp camera's window, not clamped, and what else was told.

        Raises:
            InputError: A frame that it is made of shows nothing.
            ResourceError: Memory gave out.
        """
        pick = self.picks[number]
        if self.mode.startswith("published"):
            state = self._state(None)
            if not isinstance(state, PickedState):
                raise UsageError(f"{self.method.name} chooses frames itself", remedy="leave the published modes")
            made = state.made([pick])
        else:
            hidden = self.target(number)
            made = self._state(None if hidden is None else hidden % 2).at([pick.time])
        extras = {name: tuple(map(float, one.flatten())) for name, one in made.extras.items() if one.numel() <= 64}
        frame = np.asarray(made.frames[0, 0].numpy(), np.float32)
        if frame.shape != self.shape:
            raise InputError(f"{self.method.name} made {frame.shape} pixels, {self.shape} expected")
        return frame, extras

    def make(self, number: int) -> MadePlane:
        """Make frame `number` as it is written; errors as of :meth:`unit`."""
        frame, extras = self.unit(number)
        return MadePlane(self.written(frame), extras)

    def written(self, unit: Plane) -> NDArray[Any]:
        """Return numbers over the window as they are written; whole numbers are rounded, and fit their container."""
        values = self.like.values(unit)
        if self._floats:
            return values
        info = np.iinfo(self.dtype)
        return np.asarray(np.clip(np.rint(values + self._dark), info.min, info.max), self.dtype)

    def read(self, written: NDArray[Any]) -> Plane:
        """Return what :meth:`written` gave as numbers over the window."""
        low, high = self.like.window
        values = written.astype(np.float32) - (0 if self._floats else self._dark)
        return np.asarray((values - low) / (high - low), np.float32)

    @property
    def _dark(self) -> Plane:
        x0, y0, x1, y1 = self.box
        return self.like.field.dark[y0:y1, x0:x1]

    def _state(self, hidden: int | None) -> State:
        """Return the method bound to all frames; or to the sharp ones of odd or even number, if the others are hidden.

        Frames are held out by turns: who makes those of odd number is given those of even number only.
        """
        if hidden not in self._states:
            shown = self.sharp
            if hidden is not None:
                shown = shown.select([i for i in range(len(shown)) if i % 2 != hidden])
            self._states[hidden] = self.method.prepare(self.coarse, shown, self.calibration)
        return self._states[hidden]
