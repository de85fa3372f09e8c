"""Which frames of a run become the clips of a training set, and which part of each frame.

A clip holds neither repeats nor cuts. Published layouts keep no times, so theirs hold no uneven gaps either.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cine import Cine, Region
from ..errors import UsageError
from .overlays import Mask

# Gaps in time that differ by more than this share of one another are uneven: files round frame times.
_UNEVEN = 0.05
# The published echo crop begins so many rows above the region.
_ABOVE = 10


class Box(NamedTuple):
    """A part of a frame, in pixels; it may reach beyond the frame.

    Attributes:
        top: First row.
        bottom: One past the last row.
        left: First column.
        right: One past the last column.
    """

    top: int
    bottom: int
    left: int
    right: int


def two_beats(cine: Cine) -> tuple[range, str | None]:
    """Return the frames from the second R wave to the fourth, as the published echo system trains on.

    The frame of an R wave R is ``int(R / D * N)``, with D the Effective Duration and N the number of frames; without
    that element, the frame shown at R by the frame times.

    Returns:
        The frames, and what a user should know of it: why the whole run was taken, or that the last beat is cut short.
    """
    whole, waves, count = range(len(cine)), cine.source.r_waves, len(cine)
    if len(waves) <= 3:
        known = f"{len(waves)} R wave{'' if len(waves) == 1 else 's'}" if waves else "no R waves"
        return whole, f"The file states {known}, where two beats need four; the whole run was taken."
    duration = _effective_duration(cine)
    if duration is not None:
        first, stop = (int(round(waves[k] * 1000, 6) / (duration * 1000) * count) for k in (1, 3))
    elif cine.time_unit == "s":
        first, stop = (_shown_at(waves[k], cine) for k in (1, 3))
    else:
        return whole, "The file states R waves but no frame times; the whole run was taken."
    if not 0 <= first < min(stop, count):
        return whole, "The R waves that the file states lie outside the run; the whole run was taken."
    if stop > count:
        return range(first, count), "The fourth R wave lies beyond the last frame; the second beat is cut short."
    return range(first, stop), None


def _shown_at(time: float, cine: Cine) -> int:
    """Return the frame shown at `time`; a number beyond the last frame where the run is over by then."""
    usual = float(np.diff(cine.times).mean()) if len(cine) > 1 else 0.0
    if time > cine.times[-1] + usual:
        return len(cine) + 1
    return int(np.searchsorted(cine.times, time + 1e-9, side="right")) - 1


def _effective_duration(cine: Cine) -> float | None:
    """Return the Effective Duration (0018,0072) in seconds, or None."""
    if cine.source.header is None:
        return None
    from ..io.dicom.elements import number

    stated = number(cine.source.header, "EffectiveDuration")
    return stated if stated is not None and np.isfinite(stated) and stated > 0 else None


def published_box(region: Region | None, columns: int, *, width: int, height: int) -> Box:
    """Return the box that the published echo system cuts out: beside its first region, never scaled.

    Centred on the region's columns, from 10 rows above it; without a region centred on the image, from its top.
    Fractions are rounded half to even, side by side.

    Raises:
        UsageError: A size below 1, or an odd width, for which that rounding gives boxes of two widths.

    Example:
        >>> published_box(Region((12, 111), (20, 140), "tissue-2d"), 160, width=96, height=64)
        Box(top=2, bottom=66, left=32, right=128)
    """
    if min(width, height) < 1 or width % 2:
        raise UsageError(f"a box {width} wide and {height} high", remedy="give an even width, and both above 0")
    if region is None:
        top, left = 0, columns / 2 - width / 2
    else:
        # The file states the last column inside; a Region one past it.
        top, left = region.rows[0] - _ABOVE, (region.columns[0] + region.columns[1] - 1) / 2 - width / 2
    return Box(top, top + height, round(left), round(left + width))


def box_around(mask: Mask) -> Box:
    """Return the smallest box that holds all of `mask` ``(row, column)``; of an empty one, the whole frame."""
    if not mask.any():
        return Box(0, mask.shape[0], 0, mask.shape[1])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def cropped(cine: Cine, box: Box) -> Cine:
    """Return the run cut to `box`; what lies outside the image is black, the lower end of `Cine.levels`."""
    rows, columns = cine.shape[:2]
    if box == (0, rows, 0, columns):
        return cine
    shape = (box.bottom - box.top, box.right - box.left, *cine.shape[2:])
    inside = (slice(max(box.top, 0), max(box.bottom, 0)), slice(max(box.left, 0), max(box.right, 0)))
    black = np.asarray(cine.levels[0]).astype(cine.dtype)

    def load(i: int) -> NDArray[Any]:
        part = cine.frame(i)[inside]
        if part.shape == shape:
            return part
        frame = np.full(shape, black)
        if not part.size:
            return frame
        top, left = max(-box.top, 0), max(-box.left, 0)
        frame[top : top + part.shape[0], left : left + part.shape[1]] = part
        return frame

    return Cine(
        load,
        shape=shape,
        dtype=cine.dtype,
        times=cine.times,
        time_unit=cine.time_unit,
        levels=cine.levels,
        display=cine.display,
        source=cine.source,
    )


def in_8_bits(cine: Cine) -> Cine:
    """Return the run as it is shown, in 8 bits, as published layouts keep it; grey stays one channel."""

    def load(i: int) -> NDArray[Any]:
        picture = cine.shown(i)
        return picture if cine.is_colour else picture[..., 0]

    return Cine(
        load,
        shape=(*cine.shape[:2], 3) if cine.is_colour else cine.shape[:2],
        dtype=np.uint8,
        times=cine.times,
        time_unit=cine.time_unit,
        source=cine.source,
    )


def stretches(times: ArrayLike, *, cuts: Collection[int] = (), even: bool = False) -> list[range]:
    """Divide a run where nothing may be interpolated across.

    Args:
        times: Time of each frame, increasing.
        cuts: First frame after each cut.
        even: Divide also where a gap in time differs from the first of its stretch by more than 5 %.

    Example:
        >>> stretches([0, 1, 2, 4, 5, 6, 7], cuts=[5], even=True)
        [range(0, 3), range(3, 5), range(5, 7)]
    """
    axis = np.asarray(times, dtype=np.float64)
    starts = [0]
    for i in range(1, len(axis)):
        begun = starts[-1]
        usual = axis[begun + 1] - axis[begun]
        if i in cuts or (even and abs(axis[i] - axis[i - 1] - usual) > _UNEVEN * usual):
            starts.append(i)
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], len(axis)], strict=True)]


def windows(frames: Sequence[int], length: int, stride: int) -> list[tuple[int, ...]]:
    """Return every `stride`-th window of `length` frames; what is left at the end is dropped.

    Example:
        >>> windows(range(10), 3, 3)
        [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    """
    return [tuple(frames[start : start + length]) for start in range(0, len(frames) - length + 1, stride)]
