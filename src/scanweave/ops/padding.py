"""Padding to the sides that a network can take, and its exact undoing."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Padding(NamedTuple):
    """Pixels added on each side of a frame."""

    left: int
    right: int
    top: int
    bottom: int


def padding_to_multiple(rows: int, columns: int, multiple: int) -> Padding:
    """Return the padding that brings both sides to the next multiple, half on either side.

    An odd excess goes to the right and to the bottom, as the published programs have it.

    Raises:
        ValueError: A side or multiple below 1.

    Example:
        >>> padding_to_multiple(45, 70, 32)
        Padding(left=13, right=13, top=9, bottom=10)
    """
    if min(rows, columns, multiple) < 1:
        raise ValueError(f"{rows} x {columns} cannot be padded to multiples of {multiple}")
    across, down = -columns % multiple, -rows % multiple
    return Padding(across // 2, across - across // 2, down // 2, down - down // 2)


def pad(frames: Tensor, padding: Padding) -> Tensor:
    """Repeat the border of ``(B, C, H, W)`` outwards."""
    return F.pad(frames, tuple(padding), mode="replicate") if any(padding) else frames


def crop(frames: Tensor, padding: Padding) -> Tensor:
    """Take off what :func:`pad` added, from the last two axes; a view."""
    rows, columns = frames.shape[-2:]
    return frames[..., padding.top : rows - padding.bottom, padding.left : columns - padding.right]
