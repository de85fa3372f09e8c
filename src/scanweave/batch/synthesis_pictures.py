"""Pictures of made volumes: three planes as a reader knows them, at square pixels, and maps of slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..report import Picture, Swipe
from ..report.pictures import difference_map, outlined, picture
from ..synthesis.subject import turned_back
from ..volume import Volume

Mask = NDArray[np.bool_]
Part = tuple[slice, slice]

PLANES = ("axial", "coronal", "sagittal")
NEW, LESION = (255, 60, 160), (90, 220, 255)
_SIDE = 420  # pixels of the longest side
_MARGIN = 6.0  # mm around the organ


@dataclass(frozen=True, eq=False)
class Planes:
    """Three planes through one point of a grid: seen from below, from the front, and from the left.

    Attributes:
        like: A volume on the grid, slices first.
        axis: Which array axis of the volume as it came slices are.
        centre: Slice, row and column, in an orientation with columns to the left, rows to the back, slices to the head.
        box: First and last of each that is shown.
    """

    like: Volume
    axis: int
    centre: tuple[int, int, int]
    box: tuple[slice, slice, slice]

    @classmethod
    def of(cls, like: Volume, axis: int, organ: Mask, *, centre: Mask | None = None) -> Planes:
        """Return the planes through the middle of something, as large as the organ.

        Args:
            like: A volume on the grid, slices first.
            axis: Which array axis of the volume as it came slices are.
            organ: ``(slice, row, column)`` on that grid.
            centre: What they go through the middle of; the organ by default.
        """
        shown = _facing(like.with_voxels(organ.astype(np.uint8)), axis)
        there = shown.voxels > 0
        middle = there if centre is None else _facing(like.with_voxels(centre.astype(np.uint8)), axis).voxels > 0
        return cls(like, axis, _middle(middle), _box(there, shown.spacing))

    def cut(self, values: NDArray[Any], *, smooth: bool = True) -> list[NDArray[np.float32]]:
        """Return ``(row, column)`` float32 at square pixels of each plane.

        Args:
            values: ``(slice, row, column)`` on the grid, slices first.
            smooth: Whether values between voxels are interpolated within the plane; else voxels are seen.
        """
        shown = _facing(self.like.with_voxels(np.asarray(values, dtype=np.float32)), self.axis)
        k, j, i = self.centre
        slices, rows, columns = self.box
        down, back, left = shown.spacing
        voxels = shown.voxels
        planes = (
            (voxels[k, rows, columns], back, left),
            (voxels[slices, j, columns][::-1], down, left),
            (voxels[slices, rows, i][::-1], down, back),
        )
        return [_square(plane, step, across, smooth=smooth) for plane, step, across in planes]


def grey(plane: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a plane as 8-bit grey."""
    low, high = window
    shade: NDArray[np.uint8] = np.rint(np.clip((plane - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return shade


def swiped(
    left: Sequence[NDArray[np.uint8]], right: Sequence[NDArray[np.uint8]], *, named: tuple[str, str]
) -> list[Swipe]:
    """Return pairs of planes to be wiped over."""
    return [
        Swipe(picture(one, named[0], max_side=_SIDE), picture(other, named[1], max_side=_SIDE), plane)
        for one, other, plane in zip(left, right, PLANES, strict=True)
    ]


def differences(planes: Sequence[NDArray[np.float32]], limit: float, captions: Sequence[str] = PLANES) -> list[Picture]:
    """Return signed differences as colours, full at ``±limit``."""
    pairs = zip(planes, captions, strict=True)
    return [picture(difference_map(plane, limit), caption, max_side=_SIDE) for plane, caption in pairs]


def slice_map(
    volume: Volume,
    index: int,
    mask: Mask,
    window: tuple[float, float],
    caption: str,
    *,
    part: Part,
    style: Literal["fill", "outline"] = "fill",
) -> Picture:
    """Return a slice with what `mask` ``(row, column)`` says marked.

    Args:
        volume: Slices first.
        index: Which.
        mask: What is marked.
        window: Real values shown black and white.
        caption: What stands below it.
        part: Rows and columns that are shown.
        style: Whether it is filled or outlined.
    """
    _, down, across = volume.spacing
    values, marks = _upright(volume.real()[index][part], volume), _upright(mask[part], volume)
    shade = np.repeat(grey(_square(values, down, across, smooth=True), window)[..., None], 3, axis=-1)
    marked = _square(marks, down, across, smooth=False) > 0.5
    if style == "outline":
        shade = outlined(shade, marked, colour=LESION)
    else:
        shade[marked] = NEW
    return picture(shade, caption, max_side=_SIDE)


def slice_difference(volume: Volume, values: NDArray[np.float32], limit: float, caption: str, *, part: Part) -> Picture:
    """Return values ``(row, column)`` of a slice as signed colours, full at ``±limit``; `volume` gives the spacing."""
    _, down, across = volume.spacing
    shown = _square(_upright(values[part], volume), down, across, smooth=True)
    return picture(difference_map(shown, limit), caption, max_side=_SIDE)


def _facing(volume: Volume, axis: int) -> Volume:
    return turned_back(volume, axis).reoriented("LPS")


def _upright(plane: NDArray[Any], volume: Volume) -> NDArray[np.float32]:
    """Return a slice with its rows to the back or the feet, and its columns to the left or the back."""
    codes = volume.grid.codes
    turned = plane[::-1] if codes[1] in "AS" else plane
    turned = turned[:, ::-1] if codes[0] in "RA" else turned
    return np.asarray(turned, dtype=np.float32)


def _middle(mask: Mask) -> tuple[int, int, int]:
    if not mask.any():
        return mask.shape[0] // 2, mask.shape[1] // 2, mask.shape[2] // 2
    a, b, c = (int(np.round(np.mean(np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {k})))))) for k in range(3))
    return a, b, c


def _box(mask: Mask, spacing: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    spans = []
    for axis, step in enumerate(spacing):
        where = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        margin = int(_MARGIN / step)
        spans.append(slice(max(0, int(where[0]) - margin), int(where[-1]) + margin + 1) if len(where) else slice(None))
    return spans[0], spans[1], spans[2]


def _square(plane: NDArray[np.float32], down: float, across: float, *, smooth: bool) -> NDArray[np.float32]:
    """Return a plane at square pixels, its longest side `_SIDE`."""
    from PIL import Image

    rows, columns = plane.shape
    height, width = rows * down, columns * across
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    shown = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32)).resize(size, how)
    return np.asarray(shown, dtype=np.float32)
