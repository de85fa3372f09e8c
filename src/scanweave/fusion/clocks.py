"""Two cameras, two clocks: which moment of one is which of the other.

A moment ``t`` on the fast camera's clock is ``rate * t + offset`` on the sharp one's. Times may be irregular and frames
missing; nothing is clamped: where there is no frame before or after a moment, that is said, and no other one is taken.

Example:
    >>> clocks = Clocks(rate=1.0, offset=0.5)
    >>> before, after = enclosing(np.array([0.0, 1.0, 2.0]), clocks.on_sharp(np.array([0.1, 1.0, 1.6])))
    >>> before.tolist(), after.tolist()  # -1: there is none
    ([0, 1, 2], [1, 2, -1])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.signal import correlate, find_peaks

from ..errors import InputError
from .cameras import CameraRecord

Array = NDArray[np.float64]

_GAP = 1.5  # usual intervals from which on a frame is missing
_SWAPPED = "--fast names the coarse camera, which takes more frames in a time; exchange --fast and --sharp"
_LEAST = 4  # sharp frames inside the fast run, for clocks from images
_ALIKE = 0.5  # correlation that clocks from images must reach
_CANDIDATES = 10  # offsets of the coarse search that are looked at closely
_FINEST = 2**20  # moments of the coarse search at most
_AROUND = np.linspace(-2, 2, 9)  # steps around each


@dataclass(frozen=True)
class Clocks:
    """How the clocks of two cameras go together.

    Attributes:
        rate: Seconds of the sharp clock in one of the fast one.
        offset: What the sharp clock shows when the fast one shows 0, seconds.
        fast_exposure: Seconds over which a fast frame collects light, from its time on; 0 where not known.
        sharp_exposure: Of a sharp frame.
        origin: How they were found: ``stamps``, ``marks``, ``images`` or ``stated``.
        agreement: Of ``images`` the correlation, from -1 to 1; of ``marks`` the root mean square error in seconds.
    """

    rate: float = 1.0
    offset: float = 0.0
    fast_exposure: float = 0.0
    sharp_exposure: float = 0.0
    origin: str = "stated"
    agreement: float | None = None

    def on_sharp(self, fast_times: ArrayLike) -> Array:
        """Return moments of the fast clock on the sharp one; of frames, the middles of their exposures."""
        return self.rate * np.asarray(fast_times, dtype=np.float64) + self.offset + self._middle

    def on_fast(self, sharp_times: ArrayLike) -> Array:
        """Return moments of the sharp clock on the fast one; the inverse of :meth:`on_sharp`."""
        return (np.asarray(sharp_times, dtype=np.float64) - self.offset - self._middle) / self.rate

    @property
    def _middle(self) -> float:
        """By how much the middle of a fast exposure lies later in its frame than that of a sharp one."""
        return (self.fast_exposure * self.rate - self.sharp_exposure) / 2


def seconds(record: CameraRecord) -> Array:
    """Return the times of a camera's frames in seconds, 0 at its first frame; of flagged ones, at the first flagged."""
    first = record.times_ns[record.marked[0]]
    return np.asarray((record.times_ns - first) * 1e-9)


def from_stamps(fast: CameraRecord, sharp: CameraRecord, *, offset: float = 0.0) -> Clocks:
    """Return clocks that are both zeroed at their first (flagged) frame, as :func:`seconds` has them.

    Args:
        fast: The fast camera.
        sharp: The sharp one.
        offset: Seconds by which the sharp camera's zero is later than the fast one's: the trigger's delay.
    """
    of_fast, of_sharp = ((record.exposure_ns or 0.0) * 1e-9 for record in (fast, sharp))
    return Clocks(1.0, -offset, of_fast, of_sharp, origin="stamps")


def from_marks(fast_times: ArrayLike, sharp_times: ArrayLike) -> Clocks:
    """Return the clocks that moments seen by both cameras tell, by least squares.

    Args:
        fast_times: Two moments or more on the fast clock, seconds.
        sharp_times: The same moments on the sharp clock.

    Raises:
        InputError: Too few, unlike counts, or moments that run backwards.
    """
    fast, sharp = np.asarray(fast_times, dtype=np.float64), np.asarray(sharp_times, dtype=np.float64)
    if fast.shape != sharp.shape or fast.size < 2 or np.ptp(fast) == 0:
        raise InputError(
            f"{fast.size} and {sharp.size} moments cannot tell the clocks", remedy="give two moments or more of both"
        )
    rate, offset = (float(value) for value in np.polyfit(fast, sharp, 1))
    if rate <= 0:
        raise InputError("the moments of one clock run backwards on the other", remedy="give them in the same order")
    error = float(np.sqrt(np.mean((rate * fast + offset - sharp) ** 2)))
    return Clocks(rate, offset, origin="marks", agreement=error)


def from_images(
    fast_signals: ArrayLike,
    fast_times: ArrayLike,
    sharp_signals: ArrayLike,
    sharp_times: ArrayLike,
    *,
    fit_rate: bool = False,
    sharp_exposure: float = 0.0,
    fast_exposure: float = 0.0,
) -> Clocks:
    """Return the clocks under which both cameras saw the same things happen.

    What the fast camera saw, averaged over each sharp exposure, is compared with what the sharp one saw: the mean
    correlation over signals. All offsets in steps of half the fast interval are searched at once, on evenly spaced
    moments, then around the ten best, then in between. The sharp run must lie inside the fast one by half at least.

    Args:
        fast_signals: ``(frame, signal)``, for example means over blocks of the part of the scene that both see.
        fast_times: Of the fast frames, seconds.
        sharp_signals: ``(frame, signal)``, the same blocks.
        sharp_times: Of the sharp frames, seconds.
        fit_rate: Find the rate too; needs a long run with much happening.
        sharp_exposure: Seconds.
        fast_exposure: Seconds.

    Raises:
        InputError: Counts that do not match, nothing that happens, or no agreement at any offset.
    """
    fast, sharp = _Signals.of(fast_signals, fast_times), _Signals.of(sharp_signals, sharp_times)
    if fast.values.shape[1] != sharp.values.shape[1]:
        raise InputError(f"{fast.values.shape[1]} signals of the fast camera and {sharp.values.shape[1]} of the sharp")
    exposures = fast_exposure, sharp_exposure

    def agreement(offset: float, rate: float = 1.0) -> float:
        return _agreement(fast, sharp, Clocks(rate, offset, *exposures))

    lasting = float(np.ptp(fast.times) + np.ptp(sharp.times))
    step = max(float(np.median(np.diff(fast.times))) / 2, lasting / _FINEST)
    offsets = _likely_offsets(fast, sharp, step, exposures=exposures)
    best = float(offsets[np.argmax([agreement(float(offset)) for offset in offsets])])
    start, scale = [best], np.array([step])
    if fit_rate:
        start, scale = [best, 1.0], np.array([step, step / max(float(np.ptp(fast.times)), step)])
    origin = np.zeros(len(start))
    found = minimize(
        lambda z: -agreement(*(np.asarray(start) + z * scale)),
        origin,
        method="Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-9, "initial_simplex": np.vstack([origin, np.eye(len(start))])},
    )
    values = np.asarray(start) + found.x * scale
    score = -float(found.fun)
    if score < _ALIKE:
        raise InputError(
            f"the two cameras agree at no offset of their clocks (best correlation {score:.2f}, {_ALIKE} needed)",
            remedy="check that both saw the same run and the same part of the scene, or state the offset",
        )
    rate = float(values[1]) if fit_rate else 1.0
    return Clocks(rate, float(values[0]), *exposures, origin="images", agreement=score)


def enclosing(sharp_times: ArrayLike, moments: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sharp frames at or before, and after, each moment on the sharp clock; -1 where there is none.

    A moment that is a frame's own, to a billionth of the usual interval, is at that frame.
    """
    times = np.asarray(sharp_times, dtype=np.float64)
    slack = 1e-9 * float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    before = np.searchsorted(times, np.asarray(moments, dtype=np.float64) + slack, side="right") - 1
    after = np.where(before + 1 < len(times), before + 1, -1)
    return before.astype(np.int64), after.astype(np.int64)


def nearest(times: ArrayLike, moments: ArrayLike, *, within: float = np.inf) -> NDArray[np.int64]:
    """Return the frame nearest to each moment; -1 where none lies within `within` seconds."""
    t, at = np.asarray(times, dtype=np.float64), np.asarray(moments, dtype=np.float64)
    right = np.clip(np.searchsorted(t, at), 1, max(len(t) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(t) - 1)
    found = np.where(np.abs(t[left] - at) <= np.abs(t[right] - at), left, right)
    return np.where(np.abs(t[found] - at) <= within, found, -1).astype(np.int64)


def missing(times: ArrayLike) -> NDArray[np.int64]:
    """Return how many frames were dropped after each frame but the last, by the usual interval."""
    intervals = np.diff(np.asarray(times, dtype=np.float64))
    if not len(intervals):
        return np.zeros(0, dtype=np.int64)
    usual = float(np.median(intervals))
    return np.where(intervals > _GAP * usual, np.rint(intervals / usual) - 1, 0).astype(np.int64)


def check_times(fast_times: ArrayLike, sharp_times: ArrayLike, clocks: Clocks) -> None:
    """Refuse runs that do not go together in time.

    Raises:
        InputError: Roles are swapped, or no fast frame lies between two sharp ones.
    """
    fast, sharp = clocks.on_sharp(fast_times), np.asarray(sharp_times, dtype=np.float64)
    if len(sharp) < 2 or len(fast) < 1:
        raise InputError(
            f"{len(sharp)} sharp and {len(fast)} fast frames; frames are made between two sharp ones",
            remedy="give a run with two sharp frames or more, and fast ones in between",
        )
    intervals = [float(np.median(np.diff(times))) if len(times) > 1 else 0.0 for times in (fast, sharp)]
    if intervals[0] > intervals[1]:
        raise InputError(
            f"the fast camera took a frame every {intervals[0]:.4g} s, the sharp one every {intervals[1]:.4g} s",
            remedy=_SWAPPED,
        )
    before, after = enclosing(sharp, fast)
    if not np.any((before >= 0) & (after >= 0)):
        raise InputError(
            f"no overlap in time: on the sharp clock the fast run lasts from {fast[0]:.6g} to {fast[-1]:.6g} s, "
            f"the sharp one from {sharp[0]:.6g} to {sharp[-1]:.6g} s",
            remedy="check that both are of one run, or tell calibrate how far the clocks are apart (--clock-offset)",
        )


@dataclass(frozen=True, eq=False)
class _Signals:
    """Signals over time, and their integrals, by which means over exposures are taken."""

    values: Array
    times: Array
    integral: Array

    @classmethod
    def of(cls, signals: ArrayLike, times: ArrayLike) -> _Signals:
        values, t = np.asarray(signals, dtype=np.float64), np.asarray(times, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if len(values) != len(t):
            raise InputError(f"{len(values)} frames and {len(t)} times", remedy="every frame needs its time")
        if len(t) < _LEAST:
            raise InputError(f"{len(t)} frames cannot tell the clocks, {_LEAST} are needed", remedy="state the offset")
        if not np.any(values.std(axis=0) > 1e-12 * np.abs(values).max()):
            raise InputError("nothing happens in the images, so that they cannot tell the clocks",
                             remedy="state the offset, or use time stamps")  # fmt: skip
        steps = np.diff(t)[:, None] * (values[1:] + values[:-1]) / 2
        return cls(values, t, np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(steps, axis=0)]))

    def mean(self, first: Array, length: float) -> Array:
        """Return means over ``[first, first + length]``, linear between frames; the values there where length is 0."""
        table = self.values if length <= 0 else self.integral
        ends = [first] if length <= 0 else [first, first + length]
        at = [_between(self.times, table, end) for end in ends]
        return at[0] if length <= 0 else (at[1] - at[0]) / length


def _between(times: Array, table: Array, at: Array) -> Array:
    """Return rows of a table at moments between theirs, linearly; as `numpy.interp` does for every column at once."""
    left = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    share = np.clip((at - times[left]) / (times[left + 1] - times[left]), 0.0, 1.0)[:, None]
    return np.asarray(table[left] * (1 - share) + table[left + 1] * share)


def _agreement(fast: _Signals, sharp: _Signals, clocks: Clocks) -> float:
    """Return the mean correlation of both cameras' signals, over sharp frames that lie inside the fast run."""
    length = max(clocks.sharp_exposure / clocks.rate - clocks.fast_exposure, 0.0)
    first = clocks.on_fast(sharp.times) - length / 2
    inside = (first >= fast.times[0]) & (first + length <= fast.times[-1])
    if inside.sum() < _needed(fast, sharp):
        return -1.0
    a, b = fast.mean(first[inside], length), sharp.values[inside]
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    lively = size > 1e-12 * max(float(size.max()), 1e-300)
    return float(np.mean((a * b).sum(axis=0)[lively] / size[lively])) if lively.any() else -1.0


def _likely_offsets(fast: _Signals, sharp: _Signals, step: float, *, exposures: tuple[float, float]) -> Array:
    """Return offsets, seconds, around the best ten of all in steps, by evenly spaced moments that are `step` apart."""
    clocks = Clocks(1.0, 0.0, *exposures)
    length = max(clocks.sharp_exposure - clocks.fast_exposure, 0.0)
    moments = np.arange(fast.times[0], fast.times[-1] - length + step / 2, step)
    first = float(clocks.on_fast(sharp.times[0])) - length / 2
    if not len(moments):
        return np.array([first - fast.times[0]])
    places = np.rint((sharp.times - sharp.times[0]) / step).astype(np.int64)
    scores = _correlations(fast.mean(moments, length), sharp.values, places, least=_needed(fast, sharp))
    peaks, _ = find_peaks(np.pad(scores, 1, constant_values=-2.0))
    best = peaks[np.argsort(scores[peaks - 1])[-_CANDIDATES:]] - 1
    found = first - (moments[0] + (best - places[-1]) * step)
    return np.asarray((found[:, None] + _AROUND * step).ravel())


def _correlations(fast: Array, sharp: Array, places: NDArray[np.int64], *, least: float) -> Array:
    """Return the mean correlation of both cameras' signals at every lag of evenly spaced moments; -1 for too few.

    Args:
        fast: ``(moment, signal)``.
        sharp: ``(frame, signal)``.
        places: At which moment after the first sharp frame each one lies, from 0 up; the last is the greatest.
        least: How many sharp frames must lie inside the fast run.

    Returns:
        ``(lag,)``: the first sharp frame at moment ``-places[-1]`` and every later one, to the last of the fast run.
    """
    there = np.ones(len(fast))

    def summed(a: Array, weights: Array) -> Array:
        """Return the sums over sharp frames of what the fast camera saw, times a weight of each frame."""
        return np.asarray(correlate(a, np.bincount(places, weights), method="fft"))

    count = np.rint(summed(there, np.ones(len(sharp))))
    enough = count >= max(least, 2)
    total, lively = np.zeros(len(count)), np.zeros(len(count))
    divisor = np.maximum(count, 1)
    for x, y in zip((fast - fast.mean(axis=0)).T, (sharp - sharp.mean(axis=0)).T, strict=True):
        of_x, of_y = summed(x, np.ones(len(y))), summed(there, y)
        size_x = summed(x**2, np.ones(len(y))) - of_x**2 / divisor
        size_y = summed(there, y**2) - of_y**2 / divisor
        # what is less than this is error of the transform
        counts = enough & (size_x > 1e-9 * float((x**2).sum())) & (size_y > 1e-9 * float((y**2).sum()))
        size = np.sqrt(np.where(counts, size_x * size_y, 1.0))
        total += np.where(counts, (summed(x, y) - of_x * of_y / divisor) / size, 0.0)
        lively += counts
    return np.where(lively > 0, total / np.maximum(lively, 1), -1.0)


def _needed(fast: _Signals, sharp: _Signals) -> float:
    """Return how many sharp frames must lie inside the fast run."""
    return max(_LEAST, min(len(sharp.times), _spanned(fast, sharp)) / 2)


def _spanned(fast: _Signals, sharp: _Signals) -> float:
    """Return how many sharp frames the fast run is long."""
    return float(np.ptp(fast.times)) / float(np.median(np.diff(sharp.times)))
