"""Which frames of both cameras serve a moment: by time, nothing clamped, nothing taken twice.

The published programs go by index tables and clamp at the ends (`scanweave.fusion.published_tables`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .clocks import enclosing, nearest
from .published_tables import Selection

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pick:
    """The frames that one moment is made of.

    Attributes:
        time: The moment on the sharp clock, seconds.
        fast: Consecutive coarse frames, an odd number; the middle one is nearest to the moment.
        sharp: The sharp frames before (or at) and after.
        t: Where the moment lies between those two, from 0 to 1.
        late: By how much the middle coarse frame is later than the moment, seconds.
    """

    time: float
    fast: tuple[int, ...]
    sharp: tuple[int, int]
    t: float
    late: float = 0.0

    @property
    def middle(self) -> int:
        """The coarse frame nearest to the moment."""
        return self.fast[len(self.fast) // 2]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A moment that nothing can be made for, and why."""

    time: float
    reason: str


@dataclass(frozen=True, eq=False)
class Choice:
    """Chooses frames for moments.

    Attributes:
        moments: Of the coarse frames, on the sharp clock, seconds.
        sharp_times: Of the sharp frames.
        around: Coarse frames that are needed on either side.
        tolerance: How far the nearest coarse frame may lie from a moment; None: half the usual interval.
    """

    moments: Array
    sharp_times: Array
    around: int = 0
    tolerance: float | None = field(default=None)

    @cached_property
    def within(self) -> float:
        """How far the nearest coarse frame may lie from a moment, seconds."""
        if self.tolerance is not None:
            return self.tolerance
        return float(np.median(np.diff(self.moments))) * (0.5 + 1e-6) if len(self.moments) > 1 else 0.0

    def pick(self, time: float) -> Pick:
        """Return the frames for a moment.

        Raises:
            InputError: There are none, and why.
        """
        found = self._try(time)
        if isinstance(found, LeftOut):
            raise InputError(f"nothing can be made at {time:.9g} s: {found.reason}")
        return found

    def split(self, times: Iterable[float]) -> tuple[list[Pick], list[LeftOut]]:
        """Return the frames for those moments that have them, and the others."""
        found = [self._try(float(time)) for time in times]
        return [one for one in found if isinstance(one, Pick)], [one for one in found if isinstance(one, LeftOut)]

    def published(self, selection: Selection, time: float) -> Pick:
        """Return a choice of the published tables, clamped as it may be, as one of ours."""
        first, last = self.sharp_times[list(selection.sharp)]
        t = float((time - first) / (last - first)) if last > first else 0.0
        late = float(self.moments[selection.fast[1]] - time)
        return Pick(time, selection.fast, selection.sharp, t, late)

    def _try(self, time: float) -> Pick | LeftOut:
        middle = int(nearest(self.moments, [time], within=self.within)[0])
        if middle < 0:
            return LeftOut(time, "no coarse frame lies near it")
        if middle < self.around or middle + self.around >= len(self.moments):
            return LeftOut(time, "the coarse run has no frame before, or none after, the one there")
        found = [int(side[0]) for side in enclosing(self.sharp_times, [time])]
        if found[1] < 0 and found[0] >= 0 and _same(self.sharp_times, found[0], time):
            found = [found[0] - 1, found[0]]  # the last sharp frame's own moment ends an interval
        before, after = found
        if before < 0 or after < 0:
            return LeftOut(time, f"there is no sharp frame {'before' if before < 0 else 'after'} it")
        first, last = self.sharp_times[before], self.sharp_times[after]
        frames = tuple(range(middle - self.around, middle + self.around + 1))
        t = float(np.clip((time - first) / (last - first), 0.0, 1.0))
        return Pick(time, frames, (before, after), t, float(self.moments[middle] - time))


def _same(times: Array, frame: int, time: float) -> bool:
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return abs(float(times[frame]) - time) <= 1e-9 * usual
