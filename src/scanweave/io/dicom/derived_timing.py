"""Times, rates and frame numbers of a derived run (PS3.3 C.7.6.5 Cine, C.7.6.6 Multi-frame).

Physiological times (R waves, heart rate, trigger time) are the same in the output as in the source; what counts
frames is brought to the new numbering; what has one value per frame is interpolated, or dropped and reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.valuerep import format_number_as_ds

from ...cine import Cine

# Elements that count frames from 1, wherever they stand.
_FRAME_NUMBERS = (
    "StartTrim",
    "StopTrim",
    "RepresentativeFrameNumber",
    "FrameNumbersOfInterest",
    "RWavePointer",
    "MaskFrameNumbers",
    "ApplicableFrameRange",
    "PixelShiftFrameRange",
)
_REFERENCED_NUMBERS = ("ReferencedFrameNumber", "ReferencedFrameNumbers")
# One value per frame, or a single value: the change from frame to frame (PS3.3 C.8.7.5.1.3, C.8.7.4).
_INCREMENTS = (
    "PositionerPrimaryAngleIncrement",
    "PositionerSecondaryAngleIncrement",
    "DetectorPrimaryAngle",
    "TableVerticalIncrement",
    "TableLateralIncrement",
    "TableLongitudinalIncrement",
)
_NUMERIC_VECTORS = ("FramePrimaryAngleVector", "FrameSecondaryAngleVector", "SliceLocationVector")
_DROPPED_VECTORS = ("PageNumberVector", "DisplayWindowLabelVector", "FrameDimensionPointer")
_FRAME_TIMES = ("FrameTime", "FrameTimeVector", "FrameIncrementPointer")
_SECONDS_EACH = 1e-9  # steps that differ by less (relative) are equal but for float noise
_UNKNOWN_RATE = 25.0


@dataclass(frozen=True, slots=True)
class FrameMap:
    """Where each output frame lies among the source frames.

    Attributes:
        positions: Per output frame, its position in source frames (1.25 is a quarter from frame 1 to frame 2).
        pairs: Per output frame, the acquired frames that it lies between.
        made: Per output frame, whether it was computed.
        source_length: Number of source frames.
        order: The file's own index of each source frame, where it is not that of time; else empty.
    """

    positions: NDArray[np.float64]
    pairs: tuple[tuple[int, int], ...]
    made: tuple[bool, ...]
    source_length: int
    order: tuple[int, ...] = ()

    @classmethod
    def of(cls, cine: Cine, header: Dataset | None) -> FrameMap | None:
        """Return the map of `cine`, or None where it is not known which source frames it holds."""
        records = cine.records
        if records is not None:
            pairs = tuple((int(r.pair[0]), int(r.pair[1])) for r in records)
            positions = np.array([r.pair[0] + r.t * (r.pair[1] - r.pair[0]) for r in records], dtype=np.float64)
            last = max(max(pair) for pair in pairs) + 1
            length = cine.derivation.source_length if cine.derivation is not None else last
            made = tuple(record.kind == "made" for record in records)
            return cls(positions, pairs, made, max(length, last), cine.source.order)
        files = len(cine.source.files)
        stated = files if files > 1 else int((header or Dataset()).get("NumberOfFrames") or 0)
        if stated not in (0, len(cine)):
            return None
        count = len(cine)
        pairs = tuple((i, i) for i in range(count))
        return cls(np.arange(count, dtype=np.float64), pairs, (False,) * count, count, cine.source.order)

    @property
    def is_whole(self) -> bool:
        """Whether the output spans the source from its first frame to its last."""
        return bool(self.positions[0] == 0 and self.positions[-1] == self.source_length - 1)

    def output_of(self, source: int) -> int:
        """Return the output frame (0-based) that is source frame `source`, else the nearest to it."""
        distances = np.abs(self.positions - source)
        # Of frames equally near, the acquired one; a repeated frame stands for itself only once.
        return int(np.lexsort((np.arange(len(distances)), np.array(self.made), distances))[0])

    def number(self, source: int) -> int:
        """Return the number (1-based) that source frame `source` has in its file."""
        return (self.order[source] if source < len(self.order) else source) + 1

    def output_number(self, number: int) -> int:
        """Return the number (1-based) in the output of the frame with this number in the source's file."""
        source = self.order.index(number - 1) if number - 1 in self.order else number - 1
        return self.output_of(source) + 1

    def nearest(self, output: int) -> int:
        """Return the source frame nearest to output frame `output`."""
        first, second = self.pairs[output]
        return first if self.positions[output] - first <= second - self.positions[output] else second

    def interpolate(self, values: Sequence[float]) -> NDArray[np.float64]:
        """Interpolate one value per source frame to the output frames."""
        return np.interp(self.positions, np.arange(self.source_length), np.asarray(values, dtype=np.float64))


def decimal(value: float) -> str:
    """Return `value` as a decimal string of at most 16 characters, without float noise: 33.333 / 4 is 8.33325."""
    return format_number_as_ds(float(f"{value:.10g}"))


def frame_steps(
    cine: Cine, header: Dataset | None, *, playback_rate: float | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the steps between output frames in ms as they are to be written, and what must be said about them."""
    count = len(cine) - 1
    if cine.time_unit == "frame":
        rate = playback_rate or _UNKNOWN_RATE
        said = (
            f"True frame times are unknown: the frame time written is that of playback at {rate:g} frames per second."
        )
        return np.full(count, 1000.0 / rate), (said,)
    steps = np.diff(cine.times) * 1000.0
    if cine.derivation is None or cine.derivation.time_axis == "physical" or not count:
        return steps, ()
    factor = cine.derivation.factor or _stretch(cine, header)
    said = f"Display time axis: frame times, and all times measured by them, are {factor:g} times too long."
    return steps * factor, (said,)


def _stretch(cine: Cine, header: Dataset | None) -> float:
    """How much longer the source's typical step is than the output's."""
    step = float(np.median(np.diff(cine.times)))
    records = cine.records or ()
    acquired = sorted({r.pair[0]: r.time for r in records if r.kind == "acquired"}.items())
    if len(acquired) > 1:
        gaps = [(t1 - t0) / (i1 - i0) for (i0, t0), (i1, t1) in pairwise(acquired) if i1 > i0]
        return float(np.median(gaps)) / step
    frame_time = float((header or Dataset()).get("FrameTime") or 0)
    return frame_time / 1000 / step if frame_time > 0 else 1.0


def write_frame_times(dataset: Dataset, steps: NDArray[np.float64]) -> None:
    """Write Frame Time, or Frame Time Vector where steps differ, and the pointer that names it."""
    known = dataset.get("FrameTime")
    remove(dataset, _FRAME_TIMES)
    mean = float(steps.mean()) if len(steps) else float(known or 0)
    if not len(steps) or np.all(np.abs(steps - mean) <= _SECONDS_EACH * max(mean, 1.0)):
        dataset.FrameTime = decimal(mean)
        dataset.FrameIncrementPointer = Tag("FrameTime")
        return
    # Differences of rounded sums: no rounding accumulates, and the total stays what it was.
    ends = np.rint(np.concatenate([[0.0], np.cumsum(steps)]) * 1e6).astype(np.int64)
    dataset.FrameTimeVector = ["0", *(decimal(int(step) / 1e6) for step in np.diff(ends))]
    dataset.FrameIncrementPointer = Tag("FrameTimeVector")


def write_rates(dataset: Dataset, cine: Cine, *, playback_rate: float | None, always: bool = True) -> None:
    """Write Cine Rate and Recommended Display Frame Rate, which are integers.

    Args:
        dataset: Header of the output.
        cine: The output.
        playback_rate: Frames per second to show it at; default: the source's rate, so that it plays slowly.
        always: Write them even where the source has none.
    """
    factor = cine.derivation.factor if cine.derivation is not None else None
    rate = playback_rate or (cine.fps / (factor or 1) if cine.fps else None)
    present = remove(dataset, ("CineRate", "RecommendedDisplayFrameRate"))
    if rate is not None:
        for name in ("CineRate", "RecommendedDisplayFrameRate") if always else present:
            setattr(dataset, name, max(1, round(rate)))
    for item in dataset.get("FrameDisplaySequence") or ():
        if rate is not None and "RecommendedDisplayFrameRateInFloat" in item:
            item.RecommendedDisplayFrameRateInFloat = float(rate)


def shift_start(dataset: Dataset, cine: Cine, frames: FrameMap | None) -> list[str]:
    """Correct what counts from the first frame, where the output starts or ends elsewhere than the source."""
    if frames is None or not frames.is_whole:
        notes = [
            f"{name} dropped: the output does not span the source" for name in remove(dataset, ("EffectiveDuration",))
        ]
    else:
        notes = []
    start = float(cine.times[0])
    if cine.time_unit != "s" or start == 0 or cine.records is None:
        return notes
    if dataset.get("RWaveTimeVector") is not None:
        waves = [float(t) - start * 1000 for t in _values(dataset.RWaveTimeVector)]
        _set_numbers(dataset, "RWaveTimeVector", [t for t in waves if t >= 0])
    for name in ("TriggerTime", "FrameDelay"):
        if dataset.get(name) is not None:
            _set_numbers(dataset, name, [float(dataset[name].value) + start * 1000])
    return notes


def renumber(dataset: Dataset, frames: FrameMap | None) -> list[str]:
    """Bring every element that counts frames to the new numbering, also inside sequences.

    Returns:
        A note for each that had to be dropped.
    """
    notes: list[str] = []
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                notes += renumber(item, frames)
            continue
        # A reference with an instance beside it is to a frame of that instance, which stays as it is.
        own = element.keyword in _REFERENCED_NUMBERS and "ReferencedSOPInstanceUID" not in dataset
        if element.keyword in _FRAME_NUMBERS or own:
            kept = _renumbered(_values(element.value), frames)
            if kept:
                element.value = kept if len(kept) > 1 else kept[0]
            elif _values(element.value):
                del dataset[element.tag]
                notes.append(f"{element.keyword} dropped: it names no frame of the output")
    return notes


def _renumbered(numbers: Sequence[Any], frames: FrameMap | None) -> list[int]:
    kept = []
    for number in map(int, numbers):
        if number < 1:  # no frame at all: some writers fill in 0
            kept.append(number)
        elif frames is not None and number <= frames.source_length:
            kept.append(frames.output_number(number))
    return kept


def expand_vectors(dataset: Dataset, frames: FrameMap | None) -> list[str]:
    """Interpolate what has one value per frame; drop, with a note, what cannot be.

    A single Positioner or Table Increment is the change per frame, and is divided where all gaps are.
    """
    notes = []
    for name in (*_INCREMENTS, *_NUMERIC_VECTORS):
        values = _values(dataset.get(name))
        if not values or (len(values) == 1 and name == "DetectorPrimaryAngle"):
            continue
        if frames is not None and len(values) == frames.source_length and len(values) > 1:
            _set_numbers(dataset, name, list(frames.interpolate([float(v) for v in values])))
        elif len(values) == 1 and name in _INCREMENTS and frames is not None and _uniform(frames.positions):
            step = float(frames.positions[1] - frames.positions[0]) if len(frames.positions) > 1 else 1.0
            _set_numbers(dataset, name, [float(values[0]) * step])
        else:
            notes += [f"{n} dropped: its values do not fit the frames" for n in remove(dataset, (name,))]
    labels = _values(dataset.get("FrameLabelVector"))
    if labels and frames is not None and len(labels) == frames.source_length:
        chosen = ("SYNTHETIC" if made else str(labels[frames.nearest(k)]) for k, made in enumerate(frames.made))
        dataset.FrameLabelVector = list(chosen)
    else:
        notes += [f"{n} dropped: its values do not fit the frames" for n in remove(dataset, ("FrameLabelVector",))]
    notes += [f"{n} dropped: it describes single frames" for n in remove(dataset, _DROPPED_VECTORS)]
    return notes + _masks_by_offset(dataset, frames)


def _masks_by_offset(dataset: Dataset, frames: FrameMap | None) -> list[str]:
    """Rescale TID Offset, the distance in frames between a frame and its mask (PS3.3 C.7.6.10)."""
    notes = []
    for item in dataset.get("MaskSubtractionSequence") or ():
        if item.get("TIDOffset") is None:
            continue
        if frames is not None and len(frames.positions) > 1 and _uniform(frames.positions):
            item.TIDOffset = round(item.TIDOffset / float(frames.positions[1] - frames.positions[0]))
        else:
            del item.TIDOffset
            notes.append("TIDOffset dropped: frames are not evenly spaced among the source's")
    return notes


def _uniform(positions: NDArray[np.float64]) -> bool:
    return bool(np.ptp(np.diff(positions)) < 1e-9) if len(positions) > 1 else True


def _set_numbers(dataset: Dataset, name: str, values: Sequence[float]) -> None:
    """Give an existing element new numbers, as its value representation writes them."""
    numbers: list[Any] = [decimal(v) if dataset[name].VR == "DS" else float(v) for v in values]
    dataset[name].value = numbers[0] if len(numbers) == 1 else numbers or None


def _values(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | int | float) else list(value)


def remove(dataset: Dataset, names: Sequence[str]) -> list[str]:
    """Delete the elements named; return the names of those that were there."""
    found = [name for name in names if name in dataset]
    for name in found:
        del dataset[name]
    return found
