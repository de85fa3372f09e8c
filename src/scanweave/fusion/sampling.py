"""Which frames of two cameras make a training sample, as published: by index, all randomness from a generator.

Around a centre c of a clip with n frames, c - i, c and c + i are the coarse frames, i drawn of `intervals`, and
c - a and c + b the sharp ones, a and b drawn from 1 to `sharp_reach`. Where frames c - i or c + i would lie outside,
another centre is drawn; a sharp frame that would lie outside is the one at a = 1 or b = 1 instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from ..errors import InputError, UsageError
from .published_tables import Padding, frame_indices


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FramesConfig:
    """Which frames make a sample. Published training sets tell how by the number that a clip's name is."""

    coarse: int = Field(default=3, ge=1)
    """Coarse frames, an odd number."""

    intervals: tuple[int, ...] = (1,)
    """Frames from one coarse frame to the next; one of these is drawn for each sample."""

    intervals_from: int | None = None
    """Clips numbered below take every frame, interval 1; as published 270, where clips of REDS end. null: all clips
    draw."""

    second_from: int | None = None
    """Clips numbered so or higher have no use for their first frame; as published 2234 for some x-ray sets."""

    sharp_reach: int = Field(default=1, ge=1)
    """Sharp frames lie up to so many steps before and after the centre, each drawn for itself."""

    sharp_step: Literal["frame", "interval"] = "frame"
    """What a step of `sharp_reach` is: one frame, as published for x-rays, or the interval drawn, as for REDS."""

    reverse: float = Field(default=0.0, ge=0, le=1)
    """Chance that the order of the coarse frames, and of nothing else, is reversed; a published option."""

    padding: Padding = "reflection_circle"
    """Validation scores every centre: which frames stand for those beyond a clip's ends."""

    def __post_init__(self) -> None:
        """Refuse what makes no sample.

        Raises:
            UsageError: An even number of coarse frames, or no interval.
        """
        if self.coarse % 2 == 0 or not self.intervals or min(self.intervals) < 1:
            raise UsageError(f"{self.coarse} coarse frames at intervals {self.intervals}: give an odd number, from 1")


@dataclass(frozen=True)
class Chosen:
    """The frames of one sample, by their numbers in the clip.

    Attributes:
        coarse: Of the coarse camera, in order.
        sharp: Of the sharp camera, before and after.
        centre: The sharp frame to be made.
    """

    coarse: tuple[int, ...]
    sharp: tuple[int, int]
    centre: int


def draw_frames(
    config: FramesConfig, centre: int, count: int, *, number: int | None, generator: np.random.Generator
) -> tuple[Chosen, int]:
    """Return the frames of a sample, and the interval drawn.

    Args:
        config: How they are chosen.
        centre: The frame that is asked for; another one is taken if it lies too near to an end.
        count: Frames of the clip.
        number: What the clip's name is as a number, if it is one.
        generator: For all that is drawn.

    Raises:
        InputError: A clip too short.
    """
    interval = int(generator.choice(config.intervals))
    if config.intervals_from is not None and (number is None or number < config.intervals_from):
        interval = 1
    first = 1 if config.second_from is not None and number is not None and number >= config.second_from else 0
    half = config.coarse // 2 * interval
    margin = max(half, 1)
    low, high = first + margin, count - 1 - margin
    if high < low:
        raise InputError(
            f"a clip of {count} frames gives no {config.coarse} frames {interval} apart",
            remedy="give longer clips, or smaller recipe.pairs.frames.intervals",
        )
    if not low <= centre <= high:
        centre = int(generator.integers(low, high + 1))
    coarse = list(range(centre - half, centre + half + 1, interval))
    if config.reverse and generator.random() < config.reverse:
        coarse.reverse()
    step = interval if config.sharp_step == "interval" else 1
    before, after = (int(one) for one in generator.integers(1, config.sharp_reach + 1, 2))
    sharp = _within(centre, -before * step, -step, first, count), _within(centre, after * step, step, first, count)
    return Chosen(tuple(coarse), sharp, centre), interval


def _within(centre: int, offset: int, fallback: int, first: int, count: int) -> int:
    return centre + (offset if first <= centre + offset < count else fallback)


def draw_context(
    chosen: Chosen, mapped: tuple[int, ...], total: int, interval: int, *, generator: np.random.Generator
) -> Chosen:
    """Return `chosen` with its coarse frames taken from the whole coarse recording, around the frame paired with it.

    As published, their spacing is drawn from 1 to the interval times the first entry of the map; it is reduced here
    where frames would lie outside the recording.

    Args:
        chosen: The sample's frames among paired ones.
        mapped: Which frame of the whole recording each paired frame is.
        total: Frames of the whole recording.
        interval: That drawn for the sample.
        generator: For the spacing.
    """
    half, middle = len(chosen.coarse) // 2, mapped[chosen.centre]
    most = max(interval * mapped[0], 1)
    room = min(middle, total - 1 - middle) // half if half else most
    spacing = min(int(generator.integers(1, most + 1)), max(room, 1))
    around = range(middle - half * spacing, middle + half * spacing + 1, spacing)
    return Chosen(tuple(min(max(i, 0), total - 1) for i in around), chosen.sharp, chosen.centre)


def frames_to_validate(config: FramesConfig, centre: int, count: int) -> Chosen:
    """Return the frames that validation takes around `centre`: neighbours at the least interval, nothing drawn.

    Beyond the ends others stand for them as `padding` says; the centre itself is never among the sharp ones.
    """
    interval = min(config.intervals)
    around = frame_indices(centre, count, frames=2 * (config.coarse // 2) * interval + 1, padding=config.padding)
    step = config.sharp_reach * (interval if config.sharp_step == "interval" else 1)
    ends = frame_indices(centre, count, frames=2 * step + 1, padding=config.padding)
    before, after = (next((i for i in side if i != centre and 0 <= i < count), -1) for side in (ends, ends[::-1]))
    if min(before, after) < 0 or not all(0 <= i < count for i in around):
        raise InputError(f"a clip of {count} frames is too short to validate on", remedy="leave it out")
    return Chosen(tuple(around[::interval]), (before, after), centre)
