"""Which frames make a sample: the two that are given, and those between them that are to be made.

Published samplers are those of `Super-SloMo` and `MoSt-DSA`; `Mixed` is ours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

import numpy as np

from ..errors import InputError
from .clips import Clip

Sampling = Literal["windows", "mixed", "super-slomo-train", "super-slomo-validation", "triplets"]

_SLOMO_GAP = 8
_SLOMO_STARTS = 4


@dataclass(frozen=True, slots=True)
class Picked:
    """Frames of one clip.

    Attributes:
        clip: The clip.
        outer: The two frames that are given; the first may be the later one.
        middle: The frames between them that are to be made, in the order from the first to the second.
        times: Where each lies between the two, above 0 and below 1.
    """

    clip: Clip
    outer: tuple[int, int]
    middle: tuple[int, ...]
    times: tuple[float, ...]


class Sampler(ABC):
    """Picks the frames of sample `index` from a list of clips."""

    clips: Sequence[Clip]

    @abstractmethod
    def __len__(self) -> int:
        """How many samples one epoch has."""

    @abstractmethod
    def pick(self, index: int, generator: np.random.Generator) -> Picked:
        """Return the frames of sample `index`."""


@dataclass(frozen=True)
class SlomoTrain(Sampler):
    """The published training samples of Super-SloMo: one per clip and epoch, from 12 frames.

    First frame 0 to 3 and middle frame 1 to 7 after it, uniform; the second is 8 after the first; reversed in time
    with probability 1/2.
    """

    clips: Sequence[Clip]

    def __post_init__(self) -> None:
        _need(self.clips, _SLOMO_GAP + _SLOMO_STARTS)

    def __len__(self) -> int:
        return len(self.clips)

    def pick(self, index: int, generator: np.random.Generator) -> Picked:
        """Return a window of clip `index`."""
        first = int(generator.integers(_SLOMO_STARTS))
        middle = first + 1 + int(generator.integers(_SLOMO_GAP - 1))
        last, t = first + _SLOMO_GAP, (middle - first) / _SLOMO_GAP
        if generator.integers(2):
            return Picked(self.clips[index], (last, first), (middle,), (1 - t,))
        return Picked(self.clips[index], (first, last), (middle,), (t,))


@dataclass(frozen=True)
class SlomoValidation(Sampler):
    """The published validation samples of Super-SloMo: frames 0 and 8 of clip i, and frame i modulo 7, plus 1."""

    clips: Sequence[Clip]

    def __post_init__(self) -> None:
        _need(self.clips, _SLOMO_GAP + 1)

    def __len__(self) -> int:
        return len(self.clips)

    def pick(self, index: int, generator: np.random.Generator) -> Picked:
        """Return the frames of clip `index`; nothing is random."""
        middle = index % (_SLOMO_GAP - 1) + 1
        return Picked(self.clips[index], (0, _SLOMO_GAP), (middle,), (middle / _SLOMO_GAP,))


@dataclass(frozen=True)
class Triplets(Sampler):
    """Clips of exactly three frames, as of UCF101: the middle one is at 1/2."""

    clips: Sequence[Clip]

    def __post_init__(self) -> None:
        _need(self.clips, 3, exactly=True)

    def __len__(self) -> int:
        return len(self.clips)

    def pick(self, index: int, generator: np.random.Generator) -> Picked:
        """Return the frames of clip `index`; nothing is random."""
        return Picked(self.clips[index], (0, 2), (1,), (0.5,))


@dataclass(frozen=True)
class Windows(Sampler):
    """Every window of ``n + 2`` frames, in order: the outer two are given, all between are made.

    A MoSt-DSA sequence is exactly one.

    Attributes:
        clips: The clips; those that are shorter have no window.
        inter_frames: Frames between, n.
        stride: Frames from the start of one window to that of the next.
        true_times: Times as acquired where they are known, else as published: ``i / (n + 1)``.
    """

    clips: Sequence[Clip]
    inter_frames: int
    stride: int
    true_times: bool

    def __post_init__(self) -> None:
        if not self._ends[-1]:
            raise InputError(
                f"none of {len(self.clips)} clips has {self.inter_frames + 2} frames",
                remedy="ask for fewer frames between, or prepare longer clips",
            )

    @cached_property
    def _ends(self) -> list[int]:
        lengths = (max(0, (len(clip) - self.inter_frames - 2) // self.stride + 1) for clip in self.clips)
        return list(accumulate(lengths))

    def __len__(self) -> int:
        return self._ends[-1]

    def pick(self, index: int, generator: np.random.Generator) -> Picked:
        """Return window `index`; nothing is random."""
        clip, place = _located(self.clips, self._ends, index)
        first = place * self.stride
        last = first + self.inter_frames + 1
        middle = tuple(range(first + 1, last))
        return Picked(clip, (first, last), middle, _times(clip, (first, last), middle, true=self.true_times))


@dataclass(frozen=True)
class Mixed(Sampler):
    """Our training samples: from every frame of every clip, over gaps of mixed lengths, at the true times.

    Models that see one gap and one time in training fail at others. The length is uniform over the gaps that fit; of
    the frames in the gap as many as asked for are picked uniformly.

    Attributes:
        clips: The clips; those that are shorter than the shortest gap have no samples.
        inter_frames: Frames to be made per sample.
        gaps: Shortest and longest distance between the outer frames, in frames of the clip. A distance of 1 has no
            true frame between, and so cannot be trained on.
        reversal: Probability of exchanging the outer frames, which reverses time.
        true_times: Times as acquired where they are known, else as if frames were evenly spaced.
    """

    clips: Sequence[Clip]
    inter_frames: int
    gaps: tuple[int, int]
    reversal: float
    true_times: bool

    def __post_init__(self) -> None:
        if not self._ends[-1]:
            raise InputError(
                f"none of {len(self.clips)} clips has {self._shortest + 1} frames",
                remedy="ask for shorter gaps, or prepare longer clips",
            )

    @property
    def _shortest(self) -> int:
        return max(self.gaps[0], self.inter_frames + 1)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(max(0, len(clip) - self._shortest) for clip in self.clips))

    def __len__(self) -> int:
        return self._ends[-1]

    def pick(self, index: int, generator: np.random.Generator) -> Picked:
        """Return a sample that begins at the frame that `index` names."""
        clip, first = _located(self.clips, self._ends, index)
        longest = min(max(self.gaps[1], self._shortest), len(clip) - 1 - first)
        last = first + int(generator.integers(self._shortest, longest + 1))
        inside = generator.choice(np.arange(first + 1, last), size=self.inter_frames, replace=False)
        middle = tuple(sorted(int(frame) for frame in inside))
        outer = (first, last)
        if generator.random() < self.reversal:
            outer, middle = (last, first), middle[::-1]
        return Picked(clip, outer, middle, _times(clip, outer, middle, true=self.true_times))


def _times(clip: Clip, outer: tuple[int, int], middle: Sequence[int], *, true: bool) -> tuple[float, ...]:
    axis: Sequence[float] = clip.times if true and clip.times is not None else range(len(clip))
    start, end = axis[outer[0]], axis[outer[1]]
    return tuple(float((axis[frame] - start) / (end - start)) for frame in middle)


def _located(clips: Sequence[Clip], ends: Sequence[int], index: int) -> tuple[Clip, int]:
    """Return the clip that sample `index` is in, and its place there."""
    if not 0 <= index < ends[-1]:
        raise IndexError(f"sample {index} of {ends[-1]}")
    k = bisect_right(ends, index)
    return clips[k], index - (ends[k - 1] if k else 0)


def _need(clips: Sequence[Clip], frames: int, *, exactly: bool = False) -> None:
    for clip in clips:
        if len(clip) < frames or (exactly and len(clip) > frames):
            raise InputError(
                f"has {len(clip)} frames, where this sampling needs {'exactly' if exactly else 'at least'} {frames}",
                path=clip.files[0].parent,
                remedy="prepare longer clips, or choose another sampling" if not exactly else "choose another sampling",
            )
