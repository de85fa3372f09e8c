"""When the output has a frame, and what each one is: acquired, made, or copied."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cine import Cine, FrameKind, TimeUnit
from ..errors import InputError, UsageError
from ..trust.survey import Survey
from ..trust.survey import survey as survey_of

# More output frames than any run needs: a mistyped rate must not fill the memory.
MOST_FRAMES = 1_000_000

# Files round frame times (33.333 ms for 1/30 s): a resampled frame this close to an acquired one, in steps of the
# output, is that frame. Times that a user lists are taken at their word but for rounding.
_GRID_TOLERANCE = 1e-2
_LIST_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Slot:
    """One output frame.

    Attributes:
        index: 0-based position in the output.
        time: Time on the source's own axis, in its unit.
        kind: ``acquired`` (bit for bit), ``made``, or ``copied`` (the nearest acquired frame, across a cut).
        pair: The acquired frames (0-based) that it lies between, neighbours; twice the same if acquired.
        t: Position between them: 0 if acquired, else strictly between 0 and 1.
    """

    index: int
    time: float
    kind: FrameKind
    pair: tuple[int, int]
    t: float

    @property
    def nearest(self) -> int:
        """The acquired frame nearest in time (the earlier one at 1/2): the source of a copied slot."""
        return self.pair[0] if self.t <= 0.5 else self.pair[1]


def schedule(
    times: ArrayLike,
    *,
    factor: int | None = None,
    inter_frames: int | None = None,
    to_fps: float | None = None,
    at_times: Sequence[float] | None = None,
    cuts: Sequence[int] = (),
    time_unit: TimeUnit = "s",
) -> tuple[Slot, ...]:
    """Lay out the output frames of a run. Give exactly one of `factor`, `inter_frames`, `to_fps` and `at_times`.

    Args:
        times: Time of each acquired frame, strictly increasing.
        factor: Divide each gap into this many equal parts: ``(N - 1) * factor + 1`` frames. 1 copies the run.
        inter_frames: Frames to put into each gap, as the DSA authors count: ``factor - 1``.
        to_fps: Frames per second on the true time axis, from the first acquired frame to the last.
        at_times: Times of the output frames from the first acquired one, strictly increasing, within the run.
        cuts: First frame after each cut (`Survey.cuts`): nothing is made between it and the frame before.
        time_unit: Unit of `times`; `to_fps` needs seconds.

    Raises:
        UsageError: None or several ways were asked for, or a value that makes no sense.
        InputError: Fewer than two frames.

    Example:
        >>> [(slot.kind, slot.time) for slot in schedule([0.0, 1.0], factor=2)]
        [('acquired', 0.0), ('made', 0.5), ('acquired', 1.0)]
    """
    acquired = np.asarray(times, dtype=np.float64)
    if acquired.ndim != 1 or len(acquired) < 2:
        raise InputError(
            f"a run of {acquired.size} frame{'' if acquired.size == 1 else 's'} has no gap to fill",
            remedy="give a run of two frames or more",
        )
    ways = {"factor": factor, "inter_frames": inter_frames, "to_fps": to_fps, "at_times": at_times}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        raise UsageError(
            f"{' and '.join(given) if given else 'none of ' + ', '.join(ways)} given",
            remedy=f"give exactly one of {', '.join(ways)}",
        )
    if inter_frames is not None:
        factor = _whole(inter_frames, "inter_frames", least=0) + 1
    if factor is not None:
        slots = _divided(acquired, _whole(factor, "factor", least=1))
    elif to_fps is not None:
        slots = _resampled(acquired, to_fps, time_unit)
    else:
        slots = _listed(acquired, at_times or (), time_unit)
    crossed = set(cuts)
    return tuple(
        replace(slot, kind="copied") if slot.kind == "made" and slot.pair[1] in crossed else slot for slot in slots
    )


def _divided(times: NDArray[np.float64], factor: int) -> list[Slot]:
    _limit((len(times) - 1) * factor + 1)
    slots: list[Slot] = []
    for i in range(len(times) - 1):
        slots.append(Slot(len(slots), float(times[i]), "acquired", (i, i), 0.0))
        gap = float(times[i + 1] - times[i])
        for k in range(1, factor):
            t = k / factor
            slots.append(Slot(len(slots), float(times[i]) + gap * t, "made", (i, i + 1), t))
    last = len(times) - 1
    slots.append(Slot(len(slots), float(times[last]), "acquired", (last, last), 0.0))
    return slots


def _resampled(times: NDArray[np.float64], fps: float, time_unit: TimeUnit) -> list[Slot]:
    if time_unit != "s":
        raise UsageError("to_fps needs times in seconds, and this run has none", remedy="state its rate: --source-fps")
    if isinstance(fps, bool) or not (math.isfinite(fps) and fps > 0):
        raise UsageError(f"{fps!r} frames per second asked for", remedy="give a rate above 0")
    _limit(float(times[-1] - times[0]) * fps + 1)
    count = math.floor(float(times[-1] - times[0]) * fps + _GRID_TOLERANCE) + 1
    wanted = [float(times[0]) + k / fps for k in range(count)]
    return [_slot(k, time, times, _GRID_TOLERANCE / fps) for k, time in enumerate(wanted)]


def _listed(times: NDArray[np.float64], wanted: Sequence[float], time_unit: TimeUnit) -> list[Slot]:
    unit = "s" if time_unit == "s" else "frames"
    start, duration = float(times[0]), float(times[-1] - times[0])
    span = f"the run lasts {duration:.6g} {unit} from its first frame, which is 0"
    _limit(len(wanted))
    if not len(wanted):
        raise UsageError("an empty list of times asked for", remedy=f"{span}: give times within")
    slack = _LIST_TOLERANCE * float(np.diff(times).min())
    for k, time in enumerate(wanted):
        if not math.isfinite(time) or not -slack <= time <= duration + slack:
            raise UsageError(f"time {time:.6g} {unit} is outside the run", remedy=f"{span}: give times within")
        if k and time <= wanted[k - 1]:
            raise UsageError(
                f"times do not increase: {wanted[k - 1]:.6g} is followed by {time:.6g}",
                remedy="give them in order, each once",
            )
    slots = [_slot(k, start + float(time), times, slack) for k, time in enumerate(wanted)]
    for one, two in pairwise(slots):
        if two.time <= one.time:
            raise UsageError(
                f"times {wanted[one.index]!r} and {wanted[two.index]!r} are both acquired frame {one.pair[0]}",
                remedy="give each once",
            )
    return slots


def _slot(index: int, time: float, times: NDArray[np.float64], tolerance: float) -> Slot:
    """Return the slot at `time`: the nearest acquired frame if that is within `tolerance`, else one between two."""
    after = min(max(bisect_right(times, time), 1), len(times) - 1)
    before = after - 1
    near = before if time - times[before] <= times[after] - time else after
    if abs(time - times[near]) <= tolerance:
        return Slot(index, float(times[near]), "acquired", (near, near), 0.0)
    t = float((time - times[before]) / (times[after] - times[before]))
    return Slot(index, time, "made", (before, after), t)


def _whole(value: int, name: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UsageError(f"{name} {value!r} given", remedy=f"give a whole number, {least} or more")
    return int(value)


def _limit(frames: float) -> None:
    if frames > MOST_FRAMES:
        raise UsageError(
            f"{frames:.3g} output frames asked for, {MOST_FRAMES:,} are the most", remedy="ask for a lower rate"
        )


# --- frames taken off the time axis -----------------------------------------------------------------------------------


def surveyed(
    cine: Cine,
    *,
    duplicates: Literal["report", "drop"] = "report",
    survey: Survey | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Cine, Survey]:
    """Return the run as a job takes it, and what one pass over it found.

    Args:
        cine: The run.
        duplicates: ``report`` leaves it as it is; ``drop`` takes exact repeats off the time axis.
        survey: What was found in `cine`, if that is known.
        progress: Called with (frames seen, of how many).

    Raises:
        InputError: Repeats are to be dropped, and all frames are the same.
    """
    found = survey or survey_of(cine, progress=progress)
    if duplicates == "report" or not found.duplicates:
        return cine, found
    kept = without_duplicates(cine, found)
    return kept, survey_of(kept)


def without_duplicates(cine: Cine, survey: Survey) -> Cine:
    """Return the run without frames that repeat the one before bit for bit; the others keep their true times.

    What the source says per frame (its recommended trim, its files) follows the frames that stay.

    Raises:
        InputError: All frames are the same.
    """
    if not survey.duplicates:
        return cine
    repeats = set(survey.duplicates)
    kept = [i for i in range(len(cine)) if i not in repeats]
    if len(kept) < 2:
        raise InputError(
            f"all {len(cine)} frames are the same, bit for bit",
            path=cine.source.path,
            remedy="keep duplicates, or give a run in which something changes",
        )
    trim = cine.source.trim
    if trim is not None:
        # A trim that points at a repeat means the frame shown there: the one it repeats.
        first, last = (max(bisect_right(kept, frame) - 1, 0) for frame in trim)
        trim = (first, last)
    files = cine.source.files
    if len(files) == len(cine):
        files = tuple(files[i] for i in kept)
    return cine.select(kept).with_source(trim=trim, files=files)


def exposure_share_saved(keep_every: int) -> float:
    """Return the share of exposures saved if only every `keep_every`-th frame is acquired: 1/2, 2/3, 3/4 for 2, 3, 4.

    With n frames made in each gap to restore the rate (`inter_frames`), `keep_every` is n + 1.
    """
    return 1.0 - 1.0 / _whole(keep_every, "keep_every", least=1)


def exposures_saved(keep_every: int) -> str:
    """Say how many exposures are saved if only every `keep_every`-th frame is acquired."""
    share, made = exposure_share_saved(keep_every), keep_every - 1
    return (
        f"Acquiring every {_ordinal(keep_every)} frame and making {made} between two saves {100 * share:.0f} % "
        "of the exposures."
    )


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
