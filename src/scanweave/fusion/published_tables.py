"""The published choice of frames, by index tables: to compare with, and to read old results.

`scanweave.fusion.clocks` goes by time instead; these tables clamp at the ends, use a frame as its own neighbour there,
and drop nearly all pairs of cameras whose rates are no whole multiples of each other (specification, sections 4.3, 4.5,
6.3 and 6.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .cameras import CameraRecord

Padding = Literal["replicate", "reflection", "reflection_circle", "circle"]
Mode = Literal["continuous", "double"]
TOLERANCE_NS = 10


@dataclass(frozen=True, eq=False)
class PublishedTables:
    """Which frames of two cameras belong together; positions in file order, from 0.

    Attributes:
        fast: Fast frames that have a sharp frame before and after.
        before: The latest sharp frame at or before each.
        after: The first sharp frame after each.
        paired_sharp: Sharp frames that coincide with a fast frame, to the tolerance.
        paired_fast: The fast frame of each.
        compared: Sharp frames that were looked at.
        errors_ns: Time of the fast frame nearest to each, less its own.
    """

    fast: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    paired_sharp: NDArray[np.int64]
    paired_fast: NDArray[np.int64]
    compared: NDArray[np.int64]
    errors_ns: NDArray[np.int64]

    @property
    def consecutive(self) -> bool:
        """Whether no sharp frame between paired ones is unpaired; the published ``double`` mode requires it."""
        return bool(np.all(np.diff(self.paired_sharp) == 1))


@dataclass(frozen=True)
class Selection:
    """What the network is fed for one output.

    Attributes:
        fast: Three fast frames.
        sharp: Two sharp frames.
        target: The sharp frame to compare with, or None.
        leaks: Whether the target itself is among the sharp frames; the published averages contain it.
    """

    fast: tuple[int, int, int]
    sharp: tuple[int, int]
    target: int | None
    leaks: bool


def published_tables(fast: CameraRecord, sharp: CameraRecord, *, tolerance_ns: int = TOLERANCE_NS) -> PublishedTables:
    """Return the published tables; the first flagged sharp frame is taken to coincide with the first fast frame.

    Raises:
        InputError: Intensities are not linear, or the sharp camera flags no frame.
    """
    if not sharp.linear:
        raise InputError(f"Gamma is {sharp.gamma:g}, so that intensities are not linear", path=sharp.path)
    if sharp.flagged is None:
        raise InputError("flags no frame as taken during the fast recording", path=sharp.path)
    marked = sharp.marked
    sharp_times = sharp.times_ns[marked] - sharp.times_ns[marked[0]]
    fast_times = fast.times_ns - fast.times_ns[0]
    inside = np.flatnonzero(fast_times < sharp_times[-1])
    position = np.searchsorted(sharp_times, fast_times[inside], side="right") - 1
    spanned = np.flatnonzero(sharp_times <= fast_times[-1])
    nearest = np.abs(sharp_times[spanned, None] - fast_times[None]).argmin(axis=1)
    errors = fast_times[nearest] - sharp_times[spanned]
    kept = np.abs(errors) <= tolerance_ns
    return PublishedTables(
        fast=inside,
        before=marked[position],
        after=marked[position + 1],
        paired_sharp=marked[spanned[kept]],
        paired_fast=nearest[kept],
        compared=marked[spanned],
        errors_ns=errors,
    )


def traverse(tables: PublishedTables, mode: Mode, *, count: int) -> Iterator[Selection]:
    """Yield what the published program feeds to its network, in order.

    Args:
        tables: As :func:`published_tables` gives them.
        mode: ``continuous`` makes a frame at every fast time; ``double`` remakes sharp frames between their neighbours.
        count: Number of fast frames.
    """
    if mode == "continuous":
        for row, (before, after) in enumerate(zip(tables.before, tables.after, strict=True)):
            yield Selection(_clamped(row, count), (int(before), int(after)), None, leaks=False)
        return
    sharp = tables.paired_sharp
    last = len(sharp) - 1
    for row, fast in enumerate(tables.paired_fast):
        ends = int(sharp[max(row - 1, 0)]), int(sharp[min(row + 1, last)])
        target = int(sharp[row])
        yield Selection(_clamped(int(fast), count), ends, target, leaks=target in ends)


def frame_indices(centre: int, total: int, *, frames: int, padding: Padding) -> list[int]:
    """Return `frames` consecutive frames around `centre`; what lies beyond the ends is replaced as `padding` says.

    Raises:
        ValueError: An unknown padding.
    """
    half, last = frames // 2, total - 1
    below: dict[str, Callable[[int], int]] = {
        "replicate": lambda _: 0,
        "reflection": lambda i: -i,
        "reflection_circle": lambda i: centre + half - i,
        "circle": lambda i: frames + i,
    }
    above: dict[str, Callable[[int], int]] = {
        "replicate": lambda _: last,
        "reflection": lambda i: 2 * last - i,
        "reflection_circle": lambda i: centre - half - (i - last),
        "circle": lambda i: i - frames,
    }
    if padding not in below:
        raise ValueError(f"padding {padding!r} is none of {', '.join(below)}")
    wanted = range(centre - half, centre - half + frames)
    return [below[padding](i) if i < 0 else above[padding](i) if i > last else i for i in wanted]


def virtual_selection(index: int, *, count: int, last: int, fast_step: int = 1, sharp_step: int = 1) -> Selection:
    """Return the published choice for frame `index` of one recording that stands for both cameras.

    Args:
        index: The frame to make.
        count: Number of frames.
        last: The last frame that sharp frames are taken from; the published value may lie beyond the recording.
        fast_step: Frames between the fast frames used (``lo_frame_sep``).
        sharp_step: Half the frames between sharp frames (``hi_frame_sep``).
    """
    period = 2 * sharp_step
    first = index // period * period
    fast = max(index - fast_step, 0), index, min(index + fast_step, count - 1)
    leaks = index == first or index == min(count - 1, index + fast_step)
    return Selection(fast, (first, min(last, first + period)), index, leaks)


def _clamped(centre: int, count: int) -> tuple[int, int, int]:
    return max(centre - 1, 0), centre, min(centre + 1, count - 1)
