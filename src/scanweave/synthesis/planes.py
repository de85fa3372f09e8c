"""Slices as a network that was trained on one size and one orientation wants them, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..grid import Grid

_OVERLAP = 4  # of a window's side: the least that neighbouring windows share
_RANK = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}
_BACKWARDS = "IAR"
_ONE_SPACING = 0.02  # spacings that differ by less, as a share, are one


@dataclass(frozen=True, slots=True)
class Turn:
    """How slices of a grid are turned for a network that was trained on volumes ``(S, P, L)``, the published order.

    Slices count up to the head, to the back or to the left, rows and columns in this order too: an axial slice has the
    face at its top and the patient's left on its right, whichever way a file has it.

    Attributes:
        slices: Their order is reversed.
        transposed: Rows and columns change places, before they are flipped.
        rows: Their order is reversed.
        columns: Likewise.
    """

    slices: bool
    transposed: bool
    rows: bool
    columns: bool

    @classmethod
    def of(cls, grid: Grid) -> Turn:
        """Return the turn of a grid; an oblique one comes as near as it can."""
        column, row, slice_ = list(grid.codes)
        transposed = _RANK[row] > _RANK[column]
        row, column = (column, row) if transposed else (row, column)
        return cls(slice_ in _BACKWARDS, transposed, row in _BACKWARDS, column in _BACKWARDS)

    def apply(self, slices: Tensor) -> Tensor:
        """Turn ``(..., row, column)``; the order of slices is the caller's."""
        turned = slices.mT if self.transposed else slices
        return turned.flip([axis for axis, flips in ((-2, self.rows), (-1, self.columns)) if flips])

    def undo(self, slices: Tensor) -> Tensor:
        """Turn back."""
        flipped = slices.flip([axis for axis, flips in ((-2, self.rows), (-1, self.columns)) if flips])
        return flipped.mT if self.transposed else flipped


def pixels_for(shape: Sequence[int], spacing: Sequence[float], pixel: float) -> tuple[int, int]:
    """Return rows and columns of slices over the same field of view, with pixels as near to `pixel` as there are.

    Example:
        >>> pixels_for((512, 400), (0.45, 0.9), 1.0), pixels_for((256, 256), (1.004, 1.0), 1.0)
        ((230, 360), (256, 256))
    """
    rows, columns = (
        count if abs(step / pixel - 1) < _ONE_SPACING else max(1, round(count * step / pixel))
        for count, step in zip(shape, spacing, strict=True)
    )
    return rows, columns


def repixelled(slices: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``(A, B, H, W)`` with other pixels over the same field of view: bicubic, averaged where they grow."""
    if tuple(slices.shape[-2:]) == size:
        return slices
    return F.interpolate(slices, size=size, mode="bicubic", antialias=True, align_corners=False)


def in_windows(run: Callable[[Tensor], Tensor], slices: Tensor, *, side: int, border: float) -> Tensor:
    """Return what a network of one size makes of slices of any size.

    Smaller slices are padded on all sides, and the result cropped. Larger ones are looked at in windows that overlap
    by a quarter at least, blended so that none has an edge.

    Args:
        run: From ``(B, K, side, side)`` to ``(B, C, side, side)``.
        slices: ``(B, K, H, W)``.
        side: What the network takes.
        border: What lies around a slice.
    """
    rows, columns = slices.shape[-2:]
    above, left = max(side - rows, 0), max(side - columns, 0)
    padding = (left // 2, left - left // 2, above // 2, above - above // 2)
    padded = F.pad(slices, padding, value=border)
    tall, wide = padded.shape[-2:]
    whole: Tensor | None = None
    total = torch.zeros((tall, wide), device=slices.device)
    weight = torch.outer(_tent(side), _tent(side)).to(slices.device)
    for top in starts(tall, side):
        for start in starts(wide, side):
            made = run(padded[..., top : top + side, start : start + side])
            if whole is None:
                whole = made.new_zeros((*made.shape[:2], tall, wide))
            whole[..., top : top + side, start : start + side] += made * weight
            total[top : top + side, start : start + side] += weight
    assert whole is not None  # there is one window at least
    whole = whole / total
    return whole[..., padding[2] : padding[2] + rows, padding[0] : padding[0] + columns]


def starts(length: int, side: int) -> list[int]:
    """Return where windows of a side begin so that they cover a length with overlaps, as few as there can be.

    Example:
        >>> starts(256, 256), starts(300, 256), starts(512, 256)
        ([0], [0, 44], [0, 128, 256])
    """
    if length <= side:
        return [0]
    step = side - side // _OVERLAP
    count = -(-(length - side) // step) + 1
    return [round(k * (length - side) / (count - 1)) for k in range(count)]


def _tent(side: int) -> Tensor:
    ramp = torch.arange(1, side + 1, dtype=torch.float32)
    return torch.minimum(ramp, ramp.flip(0)) / side
