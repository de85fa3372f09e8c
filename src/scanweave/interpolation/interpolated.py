"""The interpolated run: frames made when asked for, a gap at a time, each with what is expected of its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..cine import Cine, Derivation, FrameRecord
from ..trust.calibration import Calibration
from ..trust.hidden import disagreement
from ..trust.survey import Survey
from .methods import Fitted, Made, Method, PairState
from .regions import RegionPlan
from .timeline import Slot

# So many times are asked of a pair at once: bounds memory when a gap is divided into hundreds of frames.
_TIMES_AT_ONCE = 16


class FrameStore(Protocol):
    """Keeps made frames, so that a run that was killed loses none."""

    def load(self, index: int) -> MadeFrame | None:
        """Return output frame `index`, or None if it is not kept."""

    def save(self, index: int, frame: MadeFrame) -> None:
        """Keep output frame `index`."""


@dataclass(frozen=True, slots=True)
class MadeFrame:
    """One made frame in stored units, with what is expected of its error.

    Attributes:
        pixels: ``(row, column[, 3])`` in stored units.
        expected_error: Expected mean absolute error in stored units, or None.
        interval: ``(row, column)`` float32, half-width of the interval of the error in stored units, or None.
    """

    pixels: NDArray[Any]
    expected_error: float | None = None
    interval: NDArray[np.float32] | None = None


class InterpolatedCine(Cine):
    """A run with frames made between the acquired ones; frames are made when asked for, a gap at a time.

    Attributes:
        acquired: The run that it was made from (duplicates taken off, if that was asked).
        method: The method, as it was wrapped (regions, augmentation).
        survey: What was found in the run.
        regions: What was interpolated and what was copied.
        calibration: What hidden frames say of the error, or None.
        notes: What was found and decided, one sentence each.
    """

    def __init__(
        self,
        acquired: Cine,
        slots: Sequence[Slot],
        *,
        original: Sequence[int],
        method: Method,
        run: Survey,
        regions: RegionPlan,
        calibration: Calibration | None,
        derivation: Derivation,
        notes: Sequence[str],
        store: FrameStore | None = None,
    ) -> None:
        self.acquired = acquired
        self.method = method
        self.survey = run
        self.regions = regions
        self.calibration = calibration
        self.notes = tuple(notes)
        self._slots = tuple(slots)
        self._original = tuple(original)
        self._store = store
        self._fitted: Fitted | None = None
        self._state: tuple[tuple[int, int], PairState] | None = None
        self._ready: dict[int, MadeFrame] = {}
        self._errors: dict[int, float] = {}
        super().__init__(
            self._give,
            shape=acquired.shape,
            dtype=acquired.dtype,
            times=[slot.time for slot in self._slots],
            time_unit=acquired.time_unit,
            levels=acquired.levels,
            display=acquired.display,
            source=acquired.source,
            derivation=derivation,
        )
        self._chunks = _chunks(self._slots)

    @property
    def records(self) -> tuple[FrameRecord, ...]:
        """What each frame is; confidence is known once a frame was made."""
        return tuple(self._record(slot) for slot in self._slots)

    def made_frame(self, index: int) -> MadeFrame:
        """Return made frame `index` with its expected error.

        Raises:
            ValueError: The frame was not made but acquired or copied.
        """
        if self._slots[index].kind != "made":
            raise ValueError(f"output frame {index} was {self._slots[index].kind}, not made")
        with self._lock:
            return self._made(index)

    def _record(self, slot: Slot) -> FrameRecord:
        error = self._errors.get(slot.index)
        first, second = (self._original[k] for k in slot.pair)
        return FrameRecord(
            index=slot.index,
            time=slot.time,
            kind=slot.kind,
            pair=(first, second),
            t=slot.t,
            method=self.method.name if slot.kind == "made" else None,
            confidence=self._confidence(error),
            expected_error=error,
        )

    def _confidence(self, error: float | None) -> float | None:
        """Return the confidence in a frame whose expected error is `error` in stored units."""
        if error is None or self.calibration is None:
            return None
        low, high = self.levels
        return self.calibration.confidence(error / (high - low))

    def _give(self, index: int) -> NDArray[Any]:
        slot = self._slots[index]
        if slot.kind != "made":
            return self.acquired.frame(slot.nearest)
        return self._made(index).pixels

    def _made(self, index: int) -> MadeFrame:
        if index in self._ready:
            return self._ready[index]
        kept = self._store.load(index) if self._store is not None else None
        if kept is not None:
            self._remember(index, kept)
            return kept
        self._make(self._chunks[index])
        return self._ready[index]

    def _make(self, slots: Sequence[Slot]) -> None:
        pair = slots[0].pair
        if self._state is None or self._state[0] != pair:
            self._fitted = self._fitted or self.method.fit(self.acquired)
            self._state = (pair, self._fitted.prepare(*pair))
        made = self._state[1].at([slot.t for slot in slots])
        self._ready.clear()
        for k, slot in enumerate(slots):
            pixels = self.acquired.stored(made.frames[k].numpy())
            error, interval = self._expect(made, k, slot)
            frame = MadeFrame(pixels, error, interval)
            self._remember(slot.index, frame)
            if self._store is not None:
                self._store.save(slot.index, frame)

    def _expect(self, made: Made, k: int, slot: Slot) -> tuple[float | None, NDArray[np.float32] | None]:
        """Return the expected mean error and the interval's half-width, in stored units, as calibrated on this run."""
        if self.calibration is None:
            return None, None
        if self.calibration.own_uncertainty and made.uncertainty is not None:
            doubt = made.uncertainty[k, 0].numpy()
        else:
            first, second = (self.acquired.unit(i) for i in slot.pair)
            doubt = disagreement(first, second, slot.t)
        low, high = self.acquired.levels
        error = float(self.calibration.expected_error(doubt)) * (high - low)
        return error, (self.calibration.interval(doubt) * (high - low)).astype(np.float32)

    def _remember(self, index: int, frame: MadeFrame) -> None:
        if len(self._ready) > _TIMES_AT_ONCE:
            self._ready.clear()
        self._ready[index] = frame
        if frame.expected_error is not None:
            self._errors[index] = frame.expected_error


def _chunks(slots: Sequence[Slot]) -> dict[int, Sequence[Slot]]:
    """Group the made slots of each gap, a bounded number at a time; every slot leads to its group."""
    groups: dict[int, Sequence[Slot]] = {}
    made = (slot for slot in slots if slot.kind == "made")
    for _, members in groupby(made, key=lambda slot: slot.pair):
        gap = list(members)
        for start in range(0, len(gap), _TIMES_AT_ONCE):
            chunk = gap[start : start + _TIMES_AT_ONCE]
            groups.update({slot.index: chunk for slot in chunk})
    return groups
