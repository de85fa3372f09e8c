"""How the frames of one sample are cut, turned and brightened: one decision for all of them.

Each transform first draws its decisions as plain values, then applies them exactly (`Samples`). Frames arrive as they
lie in their files, ``(n, row, column[, 3])``, so that published 8-bit resizing gives published 8-bit values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..ops.padding import Padding
from .clips import Clip

Augmentation = Literal["none", "most-dsa-train", "most-dsa-test", "super-slomo", "top-left", "vessels", "pad"]
Values = Mapping[str, Any]
Stack = NDArray[Any]
Size = tuple[int, int]

_DSA_CROP = 320
_DSA_SQUARES = (256, 512, 640, 1024, 1280)
_DSA_MULTIPLE = 8


class Transform(ABC):
    """Turns stored frames of one clip into float32 RGB ``(n, 3, row, column)`` in [0, 1]."""

    @property
    def keeps_size(self) -> bool:
        """Whether samples are as large as their clips, so that clips of several sizes cannot be joined."""
        return False

    def check(self, clip: Clip) -> None:
        """Refuse a clip whose frames are too small, before any is read.

        Raises:
            InputError: They are.
        """
        return

    def draw(self, size: Size, generator: np.random.Generator) -> Values:
        """Return the decisions for frames of `size`, as JSON."""
        return {}

    @abstractmethod
    def apply(self, stored: Stack, clip: Clip, drawn: Values) -> NDArray[np.float32]:
        """Return the frames as `drawn` decides."""

    def area(self, size: Size) -> tuple[int, int, int, int] | None:
        """Return which part of a result is the frame, as top, bottom, left, right; None for all of it."""
        return None


def as_rgb(stored: Stack, clip: Clip) -> NDArray[np.float32]:
    """Return stored frames as float32 ``(n, 3, row, column)`` in [0, 1]; grey in three equal channels."""
    unit = clip.unit(stored)
    if unit.ndim == 3:
        return np.repeat(unit[:, None], 3, axis=1)
    return np.ascontiguousarray(np.moveaxis(unit, -1, 1))


@dataclass(frozen=True)
class Whole(Transform):
    """Frames as they are."""

    @property
    def keeps_size(self) -> bool:
        """Yes."""
        return True

    def apply(self, stored: Stack, clip: Clip, drawn: Values) -> NDArray[np.float32]:
        """Return all of each frame."""
        return as_rgb(stored, clip)


@dataclass(frozen=True)
class TopLeft(Transform):
    """The top left corner of each frame, as in the published validation of Super-SloMo (640 x 352 of 640 x 360)."""

    crop: Size

    def check(self, clip: Clip) -> None:
        """Refuse frames that hold no such corner."""
        _check_fits(self.crop, clip)

    def apply(self, stored: Stack, clip: Clip, drawn: Values) -> NDArray[np.float32]:
        """Return the corner."""
        return as_rgb(stored[:, : self.crop[0], : self.crop[1]], clip)


@dataclass(frozen=True)
class DsaTrain(Transform):
    """The published training augmentation of MoSt-DSA, in its order, on 320 x 320.

    Frames with a side below 320 are *resized* (cubic, ratio not kept), others cropped at random; then with probability
    1/2 each the channels are reversed, rows flipped, columns flipped; then a turn of 90 degrees clockwise, 180, 90
    counter-clockwise or none, each with probability 1/4.
    """

    crop: int = _DSA_CROP

    def draw(self, size: Size, generator: np.random.Generator) -> Values:
        """Draw the crop (row, then column; null: resized), the reversals and the turn."""
        corner = None
        if min(size) >= self.crop:
            corner = [int(generator.integers(side - self.crop + 1)) for side in size]
        reversed_, rows, columns = (bool(generator.random() < 0.5) for _ in range(3))
        turn = (-1, 2, 1, 0)[int(generator.random() * 4)]
        return {
            "corner": corner,
            "reverse_channels": reversed_,
            "flip_rows": rows,
            "flip_columns": columns,
            "quarter_turns": turn,
        }

    def apply(self, stored: Stack, clip: Clip, drawn: Values) -> NDArray[np.float32]:
        """Return the frames as drawn; quarter turns are counter-clockwise."""
        if drawn["corner"] is None:
            stored = _resized(stored, (self.crop, self.crop))
        else:
            stored = _cut(stored, drawn["corner"], (self.crop, self.crop))
        frames = as_rgb(stored, clip)
        if drawn["reverse_channels"]:
            frames = frames[:, ::-1]
        return _turned(frames, drawn)


@dataclass(frozen=True)
class DsaTest(Transform):
    """The published test rule of MoSt-DSA: sizes that are no multiples of 8 are *stretched*, targets too.

    To the first square of 256, 512, 640, 1024, 1280 that is larger than both sides; beyond 1280 rows and columns are
    exchanged, which is a mistake of theirs that is kept here. Samples differ in size if clips do: one per batch.
    """

    def apply(self, stored: Stack, clip: Clip, drawn: Values) -> NDArray[np.float32]:
        """Return the frames at the size that they were tested at."""
        rows, columns = clip.shape
        if rows % _DSA_MULTIPLE or columns % _DSA_MULTIPLE:
            square = next((side for side in _DSA_SQUARES if max(rows, columns) < side), None)
            stored = _resized(stored, (square, square) if square else (columns, rows))
        return as_rgb(stored, clip)


@dataclass(frozen=True)
class SlomoFlip(Transform):
    """The published training augmentation of Super-SloMo: flipped left to right with probability 1/2.

    Attributes:
        crop: A random crop, 352 x 352 in the original; None for full frames, as on echo.
    """

    crop: Size | None = None

    @property
    def keeps_size(self) -> bool:
        """Without a crop."""
        return self.crop is None

    def check(self, clip: Clip) -> None:
        """Refuse frames that hold no such crop."""
        if self.crop is not None:
            _check_fits(self.crop, clip)

    def draw(self, size: Size, generator: np.random.Generator) -> Values:
        """Draw the corner of the crop, if there is one, and the flip."""
        corner = None
        if self.crop is not None:
            corner = [int(generator.integers(side - part + 1)) for side, part in _pairs(size, self.crop)]
        return {"corner": corner, "flip_columns": bool(generator.random() < 0.5)}

    def apply(self, stored: Stack, clip: Clip, drawn: Values) -> NDArray[np.float32]:
        """Return the frames as drawn."""
        if self.crop is not None and drawn["corner"] is not None:
            stored = _cut(stored, drawn["corner"], self.crop)
        frames = as_rgb(stored, clip)
        return np.ascontiguousarray(frames[..., ::-1]) if drawn["flip_columns"] else frames


@dataclass(frozen=True)
class Vessels(Transform):
    """Our training augmentation: crops in which something happens, all turns and flips, common brightness.

    Letterboxes and empty corners teach nothing. Several corners are drawn; the first is taken whose crop changes at
    least as much over the sample's frames, per pixel, as the frame does on average, else the one that changes most.
    Frames smaller than the crop are padded by repeating their border. Brightness ``x`` becomes ``gain * x ** gamma``,
    the same for all frames, so that contrast in time stays what it is.

    Attributes:
        crop: Rows and columns.
        candidates: Corners drawn; 1 for a crop anywhere.
        gain: Gain is uniform within 1 plus or minus this.
        gamma: The logarithm of gamma is uniform within plus or minus this.
    """

    crop: Size
    candidates: int
    gain: float
    gamma: float

    def draw(self, size: Size, generator: np.random.Generator) -> Values:
        """Draw corners, flips, a turn (a half one where the crop is not square), gain and gamma."""
        room = [max(side - part, 0) + 1 for side, part in _pairs(size, self.crop)]
        square = self.crop[0] == self.crop[1]
        return {
            "corners": [[int(generator.integers(n)) for n in room] for _ in range(self.candidates)],
            "flip_rows": bool(generator.random() < 0.5),
            "flip_columns": bool(generator.random() < 0.5),
            "quarter_turns": int(generator.integers(2)) if square else 0,
            "gain": float(1 + self.gain * generator.uniform(-1, 1)),
            "gamma": float(np.exp(self.gamma * generator.uniform(-1, 1))),
        }

    def apply(self, stored: Stack, clip: Clip, drawn: Values) -> NDArray[np.float32]:
        """Return the frames as drawn."""
        stored = _at_least(stored, self.crop)
        stored = _cut(stored, self._chosen(stored, drawn["corners"]), self.crop)
        unit = clip.unit(stored)
        if drawn["gamma"] != 1:
            np.power(unit, np.float32(drawn["gamma"]), out=unit)
        np.clip(unit * np.float32(drawn["gain"]), 0, 1, out=unit)
        frames = np.repeat(unit[:, None], 3, axis=1) if unit.ndim == 3 else np.moveaxis(unit, -1, 1)
        return _turned(frames, drawn)

    def _chosen(self, stored: Stack, corners: Sequence[Sequence[int]]) -> Sequence[int]:
        if len(corners) == 1:
            return corners[0]
        change = stored.max(axis=0).astype(np.float32) - stored.min(axis=0).astype(np.float32)
        change = change.max(axis=-1) if change.ndim == 3 else change
        rows, columns = self.crop
        inside = [float(change[top : top + rows, left : left + columns].mean()) for top, left in corners]
        enough = float(change.mean())
        for corner, found in zip(corners, inside, strict=True):
            if found >= enough:
                return corner
        return corners[int(np.argmax(inside))]


@dataclass(frozen=True)
class Padded(Transform):
    """Our test rule: frames are padded by repeating their border, all to one size, and scored where they were.

    Attributes:
        size: Rows and columns of every sample.
    """

    size: Size

    @classmethod
    def around(cls, clips: Sequence[Clip], multiple: int) -> Padded:
        """Return the rule for `clips`: the smallest multiple of `multiple` that holds all of them."""
        rows, columns = (-(-max(clip.shape[axis] for clip in clips) // multiple) * multiple for axis in (0, 1))
        return cls((rows, columns))

    def apply(self, stored: Stack, clip: Clip, drawn: Values) -> NDArray[np.float32]:
        """Return the padded frames."""
        return as_rgb(_padded(stored, self._padding(clip.shape)), clip)

    def area(self, size: Size) -> tuple[int, int, int, int]:
        """Return where the frame lies: top, bottom, left, right."""
        padding = self._padding(size)
        return padding.top, self.size[0] - padding.bottom, padding.left, self.size[1] - padding.right

    def _padding(self, size: Size) -> Padding:
        return _to_size(size, self.size)


# --- geometry of stacks -----------------------------------------------------------------------------------------------


def _pairs(size: Size, crop: Size) -> tuple[tuple[int, int], tuple[int, int]]:
    return (size[0], crop[0]), (size[1], crop[1])


def _cut(stored: Stack, corner: Sequence[int], size: Size) -> Stack:
    top, left = corner
    return stored[:, top : top + size[0], left : left + size[1]]


def _resized(stored: Stack, size: Size) -> Stack:
    """Resize in the stored depth, as a decoder's caller would: cubic, ratio not kept; 32-bit integers in float64."""
    stored = stored.astype(np.float64) if stored.dtype.kind in "iu" and stored.dtype.itemsize > 2 else stored
    resized = [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_CUBIC) for frame in stored]
    return np.stack(resized)


def _turned(frames: NDArray[np.float32], drawn: Values) -> NDArray[np.float32]:
    if drawn["flip_rows"]:
        frames = frames[:, :, ::-1]
    if drawn["flip_columns"]:
        frames = frames[..., ::-1]
    return np.ascontiguousarray(np.rot90(frames, drawn["quarter_turns"], axes=(2, 3)))


def _to_size(size: Size, wanted: Size) -> Padding:
    down, across = (max(part - side, 0) for side, part in _pairs(size, wanted))
    return Padding(across // 2, across - across // 2, down // 2, down - down // 2)


def _at_least(stored: Stack, size: Size) -> Stack:
    return _padded(stored, _to_size((stored.shape[1], stored.shape[2]), size))


def _padded(stored: Stack, padding: Padding) -> Stack:
    if not any(padding):
        return stored
    sides = [(0, 0), (padding.top, padding.bottom), (padding.left, padding.right)]
    return np.pad(stored, [*sides, *[(0, 0)] * (stored.ndim - 3)], mode="edge")


def _check_fits(crop: Size, clip: Clip) -> None:
    if clip.shape[0] < crop[0] or clip.shape[1] < crop[1]:
        raise InputError(
            f"frames of {clip.shape[0]} x {clip.shape[1]} hold no crop of {crop[0]} x {crop[1]}",
            path=clip.files[0].parent,
            remedy="ask for a smaller crop",
        )
