"""One pass over a run: what moves, what repeats, what is missing, where it is cut.

Memory stays flat: two images (the temporal minimum and maximum), the previous frame and a thumbnail of 32 x 32 numbers
per frame are all that is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..cine import Cine, TimeUnit

_THUMBNAIL = 32

# A gap is uneven if it differs from the median gap by more than this fraction: DICOM rounds frame times.
_UNEVEN = 0.05
# A gap of k median gaps, to within this fraction of one, means k - 1 missing frames.
_MULTIPLE = 0.2

# A cut is a change of structure that is large, and three times as large as any of the two steps before and after it.
# On real echo, XA, MR and x-ray runs no step reaches 0.24 or 1.9 times its neighbours; a change of view gives 0.6 to 1
# and 4.5 to 12 times, a jump of half a beat in the same view 0.45 and 4 times.
_CUT_CHANGE = 0.25
_CUT_RATIO = 3.0
_CUT_NEIGHBOURS = 2
# Below this ratio of structure on the two sides something appears or vanishes (contrast medium): no change of scene.
_CUT_ENERGY = 0.02

# After a repeated frame, a step this many times the usual one means that the repeat took the place of a frame.
_JUMP_RATIO = 1.5
_JUMP_NEIGHBOURS = 3

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Drop:
    """Frames that are missing from a run.

    Attributes:
        after: The frame (0-based) after which they are missing.
        missing: How many.
        basis: ``times`` where the gap is a multiple of the usual one, ``content`` where a repeated frame is followed
            by a jump, so that the repeat (frame `after`) took the place of what was missed.
    """

    after: int
    missing: int
    basis: Literal["times", "content"]


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a run found. Intensities are in units of `Cine.unit` (0 to 1).

    Attributes:
        times: Time of each frame, in `time_unit`.
        time_unit: Unit of `times`, as in the cine.
        minimum: ``(channel, row, column)`` float32, temporal minimum of every pixel.
        maximum: ``(channel, row, column)`` float32, temporal maximum of every pixel.
        means: Mean intensity of each frame.
        steps: Mean absolute difference of each frame from the one before; one entry fewer than frames.
        changes: Change of coarse structure at each step: root of the squared difference of 32 x 32 thumbnails without
            their mean, over twice their average energy. About 0 at rest, 1 between unrelated scenes.
        duplicates: Frames (0-based) whose stored pixels equal those of the frame before, bit for bit.
        cuts: First frame (0-based) after each cut.
        drops: Frames missing.
        uneven: Frames (0-based) whose distance in time from the frame before is not the usual one.
    """

    times: NDArray[np.float64]
    time_unit: TimeUnit
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]
    means: NDArray[np.float64]
    steps: NDArray[np.float64]
    changes: NDArray[np.float64]
    duplicates: tuple[int, ...] = ()
    cuts: tuple[int, ...] = ()
    drops: tuple[Drop, ...] = ()
    uneven: tuple[int, ...] = ()

    @property
    def temporal_range(self) -> NDArray[np.float32]:
        """``(row, column)``: the largest range over time of any channel."""
        spread: NDArray[np.float32] = (self.maximum - self.minimum).max(axis=0)
        return spread

    def notes(self) -> tuple[str, ...]:
        """Return what a user should know, one sentence each; nothing for a run without oddities."""
        notes: list[str] = []
        if self.duplicates:
            notes.append(
                f"{_count(len(self.duplicates), 'frame repeats', 'frames repeat')} the one before bit for bit: "
                f"{_listed(self.duplicates)}."
            )
        for drop in self.drops:
            where = f"between frames {drop.after} and {drop.after + 1}"
            why = (
                f"the gap is {drop.missing + 1} times the usual one"
                if drop.basis == "times"
                else "a repeated frame is followed by a jump"
            )
            notes.append(f"{_count(drop.missing, 'frame seems', 'frames seem')} to be missing {where}: {why}.")
        if self.cuts:
            notes.append(
                f"The scene changes abruptly at {_listed(self.cuts, 'frame')}; nothing is made across such a cut."
            )
        if self.uneven:
            gaps = np.diff(self.times)
            notes.append(
                f"Frame times are uneven: {len(self.uneven)} of {len(gaps)} gaps differ from the usual "
                f"{_duration(float(np.median(gaps)), self.time_unit)} "
                f"({_duration(float(gaps.min()), self.time_unit)} to {_duration(float(gaps.max()), self.time_unit)})."
            )
        return tuple(notes)


def survey(cine: Cine, *, progress: Progress | None = None) -> Survey:
    """Study a run in one pass.

    Args:
        cine: The run; each frame is read once, in order.
        progress: Called with (frames done, frames in all) after each frame.

    Raises:
        InputError: A frame cannot be decoded, or holds NaN or infinity.

    Example:
        >>> survey(Cine.from_array(np.zeros((3, 8, 8), np.uint8))).duplicates
        (1, 2)
    """
    minimum = maximum = cine.unit(0)
    before_stored: NDArray[Any] = cine.frame(0)
    before = minimum
    means, steps, thumbnails = [float(before.mean(dtype=np.float64))], [], [_thumbnail(before)]
    duplicates = []
    if progress is not None:
        progress(1, len(cine))
    for i in range(1, len(cine)):
        stored, frame = cine.frame(i), cine.unit(i)
        if np.array_equal(stored, before_stored):
            duplicates.append(i)
        minimum, maximum = np.minimum(minimum, frame), np.maximum(maximum, frame)
        means.append(float(frame.mean(dtype=np.float64)))
        steps.append(float(np.abs(frame - before).mean(dtype=np.float64)))
        thumbnails.append(_thumbnail(frame))
        before_stored, before = stored, frame
        if progress is not None:
            progress(i + 1, len(cine))
    changes, energy = _changes(np.stack(thumbnails))
    gaps = np.diff(cine.times)
    cuts = _cuts(changes, energy, gaps, duplicates)
    return Survey(
        times=cine.times,
        time_unit=cine.time_unit,
        minimum=minimum,
        maximum=maximum,
        means=np.array(means),
        steps=np.array(steps),
        changes=changes,
        duplicates=tuple(duplicates),
        cuts=cuts,
        drops=(*_drops_in_times(gaps), *_drops_in_content(changes, duplicates, cuts)),
        uneven=_uneven(gaps),
    )


def moving_region(found: Survey, peak_fraction: float = 0.02, dilation: int = 3) -> NDArray[np.bool_]:
    """Return where a run moves ``(row, column)``: the region of the leave-one-out score.

    Args:
        found: The survey of the run.
        peak_fraction: A pixel moves if any of its channels ranges over more than this share of peak (1 in `Cine.unit`).
        dilation: The region is grown by all pixels at most so far away (Euclidean distance).
    """
    moving = found.temporal_range > np.float32(peak_fraction)
    if dilation <= 0:
        return moving
    # OpenCV's own ellipse reaches farther than its radius.
    rows, columns = np.mgrid[-dilation : dilation + 1, -dilation : dilation + 1]
    disc = (rows**2 + columns**2 <= dilation**2).astype(np.uint8)
    grown: NDArray[np.bool_] = cv2.dilate(moving.astype(np.uint8), disc).astype(bool)
    return grown


def _thumbnail(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the coarse structure of a frame: small (so free of noise and speckle) and without its mean."""
    grey = unit.mean(axis=0)
    size = (min(_THUMBNAIL, grey.shape[1]), min(_THUMBNAIL, grey.shape[0]))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    structure: NDArray[np.float32] = small - small.mean()
    return structure


def _changes(thumbnails: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the change of structure at each step (`Survey.changes`) and the energy of each thumbnail."""
    energy = np.square(thumbnails).sum(axis=(1, 2), dtype=np.float64)
    squared = np.square(np.diff(thumbnails, axis=0)).sum(axis=(1, 2), dtype=np.float64)
    return np.sqrt(squared / max(2.0 * float(energy.mean()), np.finfo(np.float64).tiny)), energy


def _cuts(
    changes: NDArray[np.float64],
    energy: NDArray[np.float64],
    gaps: NDArray[np.float64],
    duplicates: Sequence[int],
) -> tuple[int, ...]:
    """Find steps whose change is large, stands alone, and is not explained by a longer gap in time."""
    cuts = []
    repeats = set(duplicates)
    # A longer gap lets things move further: what counts is the change per usual gap.
    rates = changes / np.maximum(gaps / np.median(gaps), 1.0) if len(gaps) else changes
    for i in range(1, len(changes) + 1):
        near = _near(rates, i, repeats, _CUT_NEIGHBOURS)
        if rates[i - 1] < _CUT_CHANGE or len(near) < _CUT_NEIGHBOURS or rates[i - 1] < _CUT_RATIO * near.max():
            continue
        if min(energy[i - 1], energy[i]) >= _CUT_ENERGY * max(energy[i - 1], energy[i]):
            cuts.append(i)
    return tuple(cuts)


def _near(changes: NDArray[np.float64], i: int, repeats: set[int], reach: int) -> NDArray[np.float64]:
    """Return the changes at up to `reach` steps on either side of the step to frame `i`, without repeated frames."""
    earlier = [k for k in range(i - 1, 0, -1) if k not in repeats][:reach]
    later = [k for k in range(i + 1, len(changes) + 1) if k not in repeats][:reach]
    return changes[[k - 1 for k in (*earlier, *later)]]


def _drops_in_times(gaps: NDArray[np.float64]) -> tuple[Drop, ...]:
    if not len(gaps):
        return ()
    ratios = gaps / np.median(gaps)
    whole = np.rint(ratios)
    odd = (whole >= 2) & (np.abs(ratios - whole) <= _MULTIPLE)
    return tuple(Drop(int(i), int(whole[i]) - 1, "times") for i in np.flatnonzero(odd))


def _drops_in_content(changes: NDArray[np.float64], duplicates: Sequence[int], cuts: Sequence[int]) -> tuple[Drop, ...]:
    """Find repeated frames followed by a jump: the repeat was shown because the true frame was missed."""
    repeats, drops = set(duplicates), []
    for i in duplicates:
        # A jump to another scene is no sign that a frame was missed.
        if i + 1 in repeats or i + 1 in cuts or i >= len(changes):
            continue
        usual = _near(changes, i + 1, repeats, _JUMP_NEIGHBOURS)
        if not len(usual) or changes[i] < _JUMP_RATIO * max(float(np.median(usual)), np.finfo(np.float64).tiny):
            continue
        first = i
        while first - 1 in repeats:
            first -= 1
        drops.append(Drop(i, i - first + 1, "content"))
    return tuple(drops)


def _uneven(gaps: NDArray[np.float64]) -> tuple[int, ...]:
    if not len(gaps):
        return ()
    usual = float(np.median(gaps))
    return tuple(int(i) + 1 for i in np.flatnonzero(np.abs(gaps - usual) > _UNEVEN * usual))


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _listed(frames: Sequence[int], noun: str = "", most: int = 8) -> str:
    shown = ", ".join(str(i) for i in frames[:most])
    more = f" and {len(frames) - most} more" if len(frames) > most else ""
    return f"{noun + ('s ' if len(frames) > 1 else ' ') if noun else ''}{shown}{more}"


def _duration(value: float, unit: TimeUnit) -> str:
    return f"{value * 1000:.4g} ms" if unit == "s" else f"{value:.4g} frames"
