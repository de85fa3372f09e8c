"""When each frame was acquired, by everything that a DICOM file says about it.

A multi-frame file states gaps or a rate in up to six places, which disagree in practice; an enhanced one states a
time per frame; single-frame instances state clock times, trigger delays or mere numbers. The first sound statement
in the order below is used, the others are checked against it, and whatever is odd becomes a note.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...cine import TimeUnit
from ...errors import UsageError
from .elements import integer, items, moment, moment_of_day, number, numbers, text

_DISAGREEMENT = 0.02
_FRAME_TIME, _FRAME_TIME_VECTOR = 0x00181063, 0x00181065
ASK_FOR_RATE = "The file states no frame times; frames are counted instead (state the true rate with --source-fps)."


@dataclass(frozen=True, slots=True)
class Timing:
    """The time axis of a run.

    Attributes:
        times: One per frame, in seconds from the first or, for ``unit="frame"``, the index.
        unit: ``"s"`` or ``"frame"``.
        origin: What the times came from, in words.
        order: Which frame (as stored) comes first, second, ...; None where that is as stored.
        per_frame: Different frames state different times.
        notes: Oddities, one sentence each.
    """

    times: NDArray[np.float64]
    unit: TimeUnit
    origin: str
    order: tuple[int, ...] | None = None
    per_frame: bool = False
    notes: tuple[str, ...] = ()


def run_timing(header: Dataset, frames: int, *, source_fps: float | None = None) -> Timing:
    """Return the time axis of a multi-frame file (DICOM PS3.3 C.7.6.5, C.7.6.6, C.7.6.16.2.2).

    Args:
        header: The file's header.
        frames: Number of frames.
        source_fps: Frames per second stated by the user, in place of all that the file says.

    Raises:
        UsageError: `source_fps` is not a positive number.
    """
    if source_fps is not None:
        return _stated_by_user(frames, source_fps)
    notes: list[str] = []
    rates = _stated_rates(header, frames, notes)
    groups = items(header, "PerFrameFunctionalGroupsSequence")
    measured = _measured(groups, _ENHANCED_TIMES) if len(groups) == frames else None
    if measured is not None and measured.order is not None:
        _cross_check(measured.origin, measured.times, rates, notes)
        return _with_notes(measured, notes)
    per_frame = measured is not None
    vector = _frame_time_vector(header, frames, notes)
    if vector is not None and (_points_to(header, _FRAME_TIME_VECTOR) or not _points_to(header, _FRAME_TIME)):
        _cross_check("Frame Time Vector", vector, rates, notes)
        return Timing(vector, "s", "Frame Time Vector", per_frame=per_frame, notes=tuple(notes))
    return _uniform(rates, frames, notes, per_frame=per_frame)


def instance_timing(headers: Sequence[Dataset], *, source_fps: float | None = None) -> Timing:
    """Return the order and the time axis of single-frame instances of one series.

    Args:
        headers: One per instance, in the order of their files.
        source_fps: As for `run_timing`; the order is still found from the headers.

    Raises:
        UsageError: `source_fps` is not a positive number.
    """
    measured = _measured(headers, _INSTANCE_TIMES)
    notes: list[str] = []
    order = measured.order if measured else None
    if order is None:
        order, how = _counted_order(headers)
        notes.append(f"No distinct time per file was found; files were put in order by {how}.")
    elif (counted := _counts(headers, "InstanceNumber")) and _ranks(counted) != order:
        notes.append("The order by time differs from the order by Instance Number; time was followed.")
    per_frame = measured is not None
    if source_fps is not None:
        stated = _stated_by_user(len(headers), source_fps)
        return Timing(stated.times, "s", stated.origin, order=order, per_frame=per_frame, notes=tuple(notes))
    rates = _stated_rates(headers[order[0]], 1, notes)
    if measured is not None and measured.order is not None:
        _cross_check(measured.origin, measured.times, rates, notes)
        return _with_notes(measured, notes)
    uniform = _uniform(rates, len(headers), notes, per_frame=per_frame)
    return Timing(uniform.times, uniform.unit, uniform.origin, order, per_frame, uniform.notes)


def _stated_by_user(frames: int, fps: float) -> Timing:
    if not (math.isfinite(fps) and fps > 0):
        raise UsageError(f"--source-fps {fps} is not a rate", remedy="give frames per second, more than zero")
    return Timing(np.arange(frames) / fps, "s", f"--source-fps {fps:g}")


def _uniform(rates: dict[str, float], frames: int, notes: list[str], *, per_frame: bool) -> Timing:
    if not rates:
        if frames > 1:
            notes.append(ASK_FOR_RATE)
        return Timing(np.arange(frames, dtype=np.float64), "frame", "none", per_frame=per_frame, notes=tuple(notes))
    origin, fps = next(iter(rates.items()))
    times = np.arange(frames) / fps
    _cross_check(origin, times, rates, notes, fps=fps)
    if origin == "Recommended Display Frame Rate":
        notes.append("Frame times come from the recommended display rate, which need not be the acquisition's.")
    return Timing(times, "s", origin, per_frame=per_frame, notes=tuple(notes))


def _stated_rates(header: Dataset, frames: int, notes: list[str]) -> dict[str, float]:
    """Return every usable rate (frames per second) that the header states, in the order of trust."""
    statements: list[tuple[str, str, Callable[[float], float]]] = [
        ("Frame Time", "FrameTime", lambda ms: 1000 / ms),
        ("Cine Rate", "CineRate", lambda fps: fps),
        ("Recommended Display Frame Rate", "RecommendedDisplayFrameRate", lambda fps: fps),
        ("Effective Duration", "EffectiveDuration", lambda s: frames / s),
        ("Actual Frame Duration", "ActualFrameDuration", lambda ms: 1000 / ms),
    ]
    if frames < 2:
        del statements[3]
    rates: dict[str, float] = {}
    for name, keyword, to_fps in statements:
        found = numbers(header, keyword)
        if not found:
            continue
        if not (math.isfinite(found[0]) and 1e-6 < found[0] < 1e9):
            notes.append(f"{name} is {found[0]:g} and was taken as absent.")
        else:
            rates.setdefault(name, to_fps(found[0]))
    return rates


def _frame_time_vector(header: Dataset, frames: int, notes: list[str]) -> NDArray[np.float64] | None:
    """Return the times that a Frame Time Vector gives; its entry k is the gap before frame k in milliseconds."""
    gaps = np.asarray(numbers(header, "FrameTimeVector"))
    if not len(gaps):
        return None
    if len(gaps) == frames - 1:
        notes.append("Frame Time Vector has one entry less than there are frames; its entries were taken as the gaps.")
        gaps = np.concatenate([[0.0], gaps])
    if len(gaps) != frames:
        notes.append(f"Frame Time Vector has {len(gaps)} entries for {frames} frames and was taken as absent.")
        return None
    if not np.all(np.isfinite(gaps[1:])) or np.any(gaps[1:] <= 0):
        notes.append("Frame Time Vector holds gaps of zero or less, or no numbers, and was taken as absent.")
        return None
    if gaps[0] != 0:
        notes.append(
            f"Frame Time Vector starts with {gaps[0]:g} ms instead of 0; frame 0 was put at time 0 all the same."
        )
    return np.concatenate([[0.0], np.cumsum(gaps[1:])]) / 1000.0


def _points_to(header: Dataset, tag: int) -> bool:
    """Return whether Frame Increment Pointer names an attribute."""
    return any(int(pointed) == tag for pointed in numbers(header, "FrameIncrementPointer") if math.isfinite(pointed))


def _cross_check(
    origin: str, times: NDArray[np.float64], rates: dict[str, float], notes: list[str], *, fps: float | None = None
) -> None:
    if fps is None:
        if len(times) < 2:
            return
        fps = (len(times) - 1) / float(times[-1] - times[0])
    for name, other in rates.items():
        # A duration counts either the frames or the gaps between them; both readings are in use.
        near = [other, other * (len(times) - 1) / len(times)] if name == "Effective Duration" else [other]
        if name != origin and all(abs(rate / fps - 1) > _DISAGREEMENT for rate in near):
            notes.append(
                f"{name} means {other:.4g} frames per second, {origin} {fps:.4g}; {origin} was used"
                " (override with --source-fps)."
            )


def _with_notes(timing: Timing, notes: Sequence[str]) -> Timing:
    return Timing(timing.times, timing.unit, timing.origin, timing.order, timing.per_frame, tuple(notes))


# --- a time per frame -------------------------------------------------------------------------------------------

_Clock = Callable[[Dataset], float | None]


def _nested(sequence: str, read: _Clock) -> _Clock:
    def clock(group: Dataset) -> float | None:
        inner = items(group, sequence)
        return read(inner[0]) if inner else None

    return clock


def _scaled(keyword: str, scale: float) -> _Clock:
    def clock(header: Dataset) -> float | None:
        found = number(header, keyword)
        return None if found is None else found * scale

    return clock


def _by_position_number(header: Dataset) -> float | None:
    place, step = number(header, "TemporalPositionIdentifier"), number(header, "TemporalResolution")
    return None if place is None or not step else place * step / 1000


_ENHANCED_TIMES: tuple[tuple[str, _Clock], ...] = (
    ("Frame Reference DateTime", _nested("FrameContentSequence", lambda g: moment(g, "FrameReferenceDateTime"))),
    ("Frame Acquisition DateTime", _nested("FrameContentSequence", lambda g: moment(g, "FrameAcquisitionDateTime"))),
    (
        "Nominal Cardiac Trigger Delay Time",
        _nested("CardiacSynchronizationSequence", _scaled("NominalCardiacTriggerDelayTime", 1e-3)),
    ),
    ("Temporal Position Time Offset", _nested("TemporalPositionSequence", _scaled("TemporalPositionTimeOffset", 1))),
)
_INSTANCE_TIMES: tuple[tuple[str, _Clock], ...] = (
    ("Trigger Time", _scaled("TriggerTime", 1e-3)),
    ("Acquisition DateTime", lambda header: moment(header, "AcquisitionDateTime")),
    ("Acquisition Time", lambda header: moment_of_day(header, "AcquisitionDate", "AcquisitionTime")),
    ("Content Time", lambda header: moment_of_day(header, "ContentDate", "ContentTime")),
    ("Temporal Position Identifier and Resolution", _by_position_number),
)


def _measured(groups: Sequence[Dataset], clocks: Sequence[tuple[str, _Clock]]) -> Timing | None:
    """Return the times of the first clock that tells all frames apart.

    A clock that tells only some apart (phases of several slices) gives a `Timing` without order: times vary, but
    cannot serve as an axis. None: no clock varies.
    """
    varies = None
    for name, clock in clocks:
        readings = [clock(group) for group in groups]
        known = [reading for reading in readings if reading is not None]
        distinct = len({round(reading, 6) for reading in known})
        if distinct < 2:
            continue
        if len(known) == len(groups) == distinct:
            order = _ranks(known)
            times = np.round(np.array([known[i] for i in order]) - known[order[0]], 6)
            return Timing(times, "s", name, order=order, per_frame=True)
        varies = varies or Timing(np.zeros(0), "frame", name, per_frame=True)
    return varies


def _ranks(counts: Sequence[float]) -> tuple[int, ...]:
    return tuple(sorted(range(len(counts)), key=counts.__getitem__))


def _counts(headers: Sequence[Dataset], keyword: str) -> list[int] | None:
    """Return a distinct whole number per instance, or None."""
    found = [integer(header, keyword) for header in headers]
    known = [count for count in found if count is not None]
    return known if len(known) == len(set(known)) == len(headers) else None


def _counted_order(headers: Sequence[Dataset]) -> tuple[tuple[int, ...], str]:
    for keyword, name in (
        ("TemporalPositionIdentifier", "Temporal Position Identifier"),
        ("InstanceNumber", "Instance Number"),
        ("AcquisitionNumber", "Acquisition Number"),
    ):
        counts = _counts(headers, keyword)
        if counts is not None:
            return _ranks(counts), name
    return tuple(range(len(headers))), "file name"


def describe(timing: Timing) -> str:
    """Return one line on the time axis, for `info`."""
    if timing.unit == "frame" or len(timing.times) < 2:
        return "none stated" if timing.unit == "frame" else f"single frame ({timing.origin})"
    gaps = np.diff(timing.times) * 1000
    fps = 1000 / float(gaps.mean())
    spread = f"gaps {gaps.min():.4g} to {gaps.max():.4g} ms" if np.ptp(gaps) > 1e-3 else f"every {gaps.mean():.6g} ms"
    return f"{fps:.4g} frames per second, {spread}, by {timing.origin}"


def r_waves(header: Dataset, times: NDArray[np.float64], unit: TimeUnit) -> tuple[float, ...]:
    """Return times of R waves in seconds from the first frame.

    From R Wave Time Vector (milliseconds), else R Wave Pointer (1-based frame numbers, where frames have times).
    """
    waves = [ms / 1000 for ms in numbers(header, "RWaveTimeVector") if math.isfinite(ms)]
    if not waves and unit == "s":
        pointed = [int(n) for n in numbers(header, "RWavePointer") if math.isfinite(n)]
        waves = [float(times[n - 1]) for n in pointed if 1 <= n <= len(times)]
    return tuple(sorted(waves))


def trim(header: Dataset, frames: int, notes: list[str]) -> tuple[int, int] | None:
    """Return the recommended first and last frame, 0-based and inclusive (the file counts from 1)."""
    first, last = integer(header, "StartTrim"), integer(header, "StopTrim")
    if first is None and last is None:
        return None
    start, stop = first if first is not None else 1, last if last is not None else frames
    if not 1 <= start <= stop <= frames:
        notes.append(f"Start and Stop Trim ({text(header, 'StartTrim')}, {text(header, 'StopTrim')}) were ignored.")
        return None
    return start - 1, stop - 1
