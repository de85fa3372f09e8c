"""What lies on the image and does not move: the shape of the field, text and marks; and frames that are repeated."""

from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from ..errors import UsageError
from .params import Params, Point

Picture = NDArray[np.float32]


class Sector(Params):
    """The fan that a phased array sees.

    Attributes:
        apex: Where its beams meet, ``(x, y)``.
        half_angle: Between the middle beam, which points down, and the outermost; radians.
        near: Distance from the apex to where the image starts, pixels.
        far: Distance from the apex to where it ends.
    """

    apex: Point
    half_angle: float = Field(gt=0, le=math.pi / 2)
    near: float = Field(default=0.0, ge=0)
    far: float = Field(gt=0)

    def polar(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the distance from the apex in pixels, and the angle from the middle beam in radians."""
        across, down = np.asarray(x) - self.apex[0], np.asarray(y) - self.apex[1]
        return np.hypot(across, down), np.arctan2(across, down)

    def mask(self, shape: tuple[int, int]) -> Picture:
        """Return 1 inside, 0 outside, and on the border the part of the pixel that is inside."""
        distance, angle = self.polar(np.arange(shape[1]), np.arange(shape[0])[:, None])
        aside = (self.half_angle - np.abs(angle)) * distance
        inside = np.minimum(np.minimum(distance - self.near, self.far - distance), aside)
        return np.asarray(np.clip(inside + 0.5, 0.0, 1.0), dtype=np.float32)


class Shutter(Params):
    """The round field of an image intensifier, cut off by straight blades.

    Attributes:
        centre: ``(x, y)``.
        radius: Of the round field, pixels.
        half_width: From the centre to the blades at the left and right.
        half_height: From the centre to the blades above and below.
    """

    centre: Point
    radius: float = Field(gt=0)
    half_width: float = Field(gt=0)
    half_height: float = Field(gt=0)

    def mask(self, shape: tuple[int, int]) -> Picture:
        """Return 1 inside, 0 outside, and on the border the part of the pixel that is inside."""
        x = np.abs(np.arange(shape[1]) - self.centre[0])
        y = np.abs(np.arange(shape[0]) - self.centre[1])[:, None]
        inside = np.minimum(np.minimum(self.half_width - x, self.half_height - y), self.radius - np.hypot(x, y))
        return np.asarray(np.clip(inside + 0.5, 0.0, 1.0), dtype=np.float32)


class Mark(Params):
    """A static mark.

    Attributes:
        kind: ``text`` or ``line``.
        start: Lower left corner of the text, or one end of the line, ``(x, y)``.
        end: The other end of the line.
        text: What is written.
        height: Of a capital letter, pixels.
        level: Grey value, 0 to 1.
    """

    kind: Literal["text", "line"]
    start: Point
    end: Point = (0.0, 0.0)
    text: str = ""
    height: float = Field(default=8.0, gt=0)
    level: float = Field(default=1.0, ge=0, le=1)


# Height of a capital letter of this face at scale 1.
_CAPITAL = 21.0


def marked(frame: Picture, marks: tuple[Mark, ...]) -> Picture:
    """Return `frame`, ``(row, column[, 3])``, with `marks` drawn on it."""
    for mark in marks:
        ink = np.zeros(frame.shape[:2], np.uint8)
        start, end = ([round(value) for value in point] for point in (mark.start, mark.end))
        if mark.kind == "line":
            cv2.line(ink, start, end, 255, 1, cv2.LINE_AA)
        else:
            scale = mark.height / _CAPITAL
            cv2.putText(ink, mark.text, start, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_AA)
        cover = ink.astype(np.float32) / 255
        cover = cover[..., None] if frame.ndim == 3 else cover
        frame = np.asarray(frame * (1 - cover) + np.float32(mark.level) * cover, dtype=np.float32)
    return frame


def draw_marks(shape: tuple[int, int], *, count: int, generator: np.random.Generator) -> tuple[Mark, ...]:
    """Draw `count` readings (at most 12) in the corners, and perhaps a ruler of ticks at one side."""
    height, width = shape
    letter = max(4.0, 0.03 * height)
    # Lines of text have places of their own, so that none is written over another.
    places = [(x, y) for x in (0.02, 0.8) for y in (0.06, 0.11, 0.16, 0.84, 0.9, 0.96)]
    marks = []
    for index in generator.permutation(len(places))[:count]:
        name = "".join(generator.choice(list("ABCDGHMRTX"), 2))
        marks.append(
            Mark(
                kind="text",
                start=(places[index][0] * width, places[index][1] * height),
                text=f"{name} {generator.integers(1, 999)}",
                height=letter,
                level=float(generator.uniform(0.6, 1.0)),
            )
        )
    if count and generator.random() < 0.5:
        column, step = 0.975 * width, height / int(generator.integers(8, 20))
        marks += [
            Mark(kind="line", start=(column, row), end=(column + 0.012 * width, row), level=0.8)
            for row in (float(value) for value in np.arange(0.5 * step, height, step))
        ]
    return tuple(marks)


def held(times: ArrayLike, repeated: ArrayLike) -> NDArray[np.float64]:
    """Return the times that are really seen where some frames only repeat the one before.

    Args:
        times: One time per frame.
        repeated: 0-based frames that are repetitions; not the first.

    Raises:
        UsageError: The first frame cannot repeat, or there is no such frame.
    """
    seen = np.array(times, dtype=np.float64)
    for index in sorted(int(i) for i in np.asarray(repeated, dtype=np.int64)):
        if not 0 < index < len(seen):
            raise UsageError(f"frame {index} of {len(seen)} cannot repeat the one before", remedy="name frames from 1")
        seen[index] = seen[index - 1]
    return seen
