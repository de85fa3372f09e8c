"""Transformer blocks in windows over frames, rows and columns, shifted in every other block.

Liu et al., "Video Swin transformer", CVPR 2022; stages as in Liang et al., "SwinIR", ICCV workshops 2021. Attribute
names follow the published checkpoints of SWIN-XVR. Tokens are ``(B, T, h, w, C)`` throughout.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.convolution import linear

Sides = tuple[int, int, int]
"""Frames, rows and columns."""

Ending = Literal["0conv", "1conv", "3conv"]

_APART = -100.0
"""What is added to the logit of two tokens that a shift brought together from opposite sides."""


def ending(kind: Ending, width: int, side: int) -> nn.Module:
    """Return what convolves the frames at the end of a stage."""
    if kind == "0conv":
        return nn.Identity()
    if kind == "1conv":
        return nn.Conv2d(width, width, side, padding=side // 2)
    narrow = width // 4
    return nn.Sequential(
        nn.Conv2d(width, narrow, side, padding=side // 2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(narrow, narrow, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(narrow, width, side, padding=side // 2),
    )


def frames_of(x: Tensor) -> Tensor:
    """Return tokens as frames, ``(B T, C, h, w)``, laid out channels last."""
    return x.flatten(0, 1).permute(0, 3, 1, 2)


def tokens_of(frames: Tensor, batch: int) -> Tensor:
    """Undo :func:`frames_of`."""
    x = frames.permute(0, 2, 3, 1)
    return x.reshape(batch, -1, *x.shape[1:])


class Stage(nn.Module):
    """Blocks, and a convolution of each frame, on top of what came."""

    def __init__(self, blocks: Blocks, end: nn.Module) -> None:
        super().__init__()
        self.residual_group = blocks
        self.conv = end

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens."""
        return x + tokens_of(self.conv(frames_of(self.residual_group(x))), x.shape[0])


class Blocks(nn.Module):
    """Blocks one after the other; the windows of every second one are shifted by half."""

    def __init__(self, width: int, heads: int, window: Sides, hidden: int, drops: list[float]) -> None:
        super().__init__()
        shifts = [(window[0] // 2, window[1] // 2, window[2] // 2) if i % 2 else (0, 0, 0) for i in range(len(drops))]
        self.blocks = nn.Sequential(
            *(Block(width, heads, window, shift, hidden, drop) for shift, drop in zip(shifts, drops, strict=True))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens."""
        made: Tensor = self.blocks(x)
        return made


class Block(nn.Module):
    """Attention in windows and a perceptron, each on top of what came."""

    def __init__(self, width: int, heads: int, window: Sides, shift: Sides, hidden: int, drop: float) -> None:
        super().__init__()
        self.window, self.shift, self.drop = window, shift, drop
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens."""
        x = x + self._kept(self._attended(self.norm1(x)))
        return x + self._kept(self.mlp(self.norm2(x)))

    def _attended(self, x: Tensor) -> Tensor:
        """Attend in shifted windows; zeros fill up the last ones and take part, as published."""
        sides = x.shape[1:4]
        window, shift = fitting(self.window, self.shift, (sides[0], sides[1], sides[2]))
        far = [-side % length for side, length in zip(sides, window, strict=True)]
        x = F.pad(x, (0, 0, 0, far[2], 0, far[1], 0, far[0]))
        x = x.roll([-length for length in shift], dims=(1, 2, 3)) if any(shift) else x
        made = torch.empty_like(x)
        for part, torn in regions(x.shape[1:4], window, shift):
            made[part] = self.attn(x[part], window, torn)
        made = made.roll(shift, dims=(1, 2, 3)) if any(shift) else made
        return made[:, : sides[0], : sides[1], : sides[2]]

    def _kept(self, x: Tensor) -> Tensor:
        """Leave a branch out by chance, sample by sample (stochastic depth)."""
        if not self.training or not self.drop:
            return x
        return x * F.dropout(x.new_ones(x.shape[0], 1, 1, 1, 1), self.drop)


def fitting(window: Sides, shift: Sides, sides: Sides) -> tuple[Sides, Sides]:
    """Return the window and shift on a lattice: an axis no longer than its window is one window, unshifted.

    Example:
        >>> fitting((5, 8, 8), (2, 4, 4), (5, 16, 6))
        ((5, 8, 6), (0, 4, 0))
    """
    pairs = [
        (side, 0) if side <= length else (length, step) for side, length, step in zip(sides, window, shift, strict=True)
    ]
    (frames, a), (rows, b), (columns, c) = pairs
    return (frames, rows, columns), (a, b, c)


def regions(
    sides: torch.Size, window: Sides, shift: Sides
) -> list[tuple[tuple[slice, slice, slice, slice], tuple[bool, bool, bool]]]:
    """Cut a shifted lattice where its windows change kind.

    Returns:
        For each part, as slices of ``(B, T, h, w, C)``, the axes along which its windows hold tokens of opposite sides:
        only the last windows of a shifted axis do.
    """
    choices = []
    for side, length, step in zip(sides, window, shift, strict=True):
        cut = side - length
        last = [(slice(cut, side), True)]
        choices.append([(slice(0, cut), False), *last] if step and cut else last if step else [(slice(0, side), False)])
    return [
        ((slice(None), frames[0], rows[0], columns[0]), (frames[1], rows[1], columns[1]))
        for frames, rows, columns in itertools.product(*choices)
    ]


class WindowAttention(nn.Module):
    """Attention within windows, with a part that depends on where query and key stand to each other."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, window: Sides) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        spans = [2 * length - 1 for length in window]
        self.relative_position_bias_table = nn.Parameter(torch.zeros(spans[0] * spans[1] * spans[2], heads))
        self.register_buffer("relative_position_index", positions(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, window: Sides, torn: tuple[bool, bool, bool]) -> Tensor:
        """Attend.

        Args:
            x: Tokens of whole windows.
            window: Their sides; those of the network, or fewer on a small lattice.
            torn: Axes along which windows hold tokens of opposite sides.

        Returns:
            Tokens alike.
        """
        offsets = self.offsets(window, torn)
        tokens = split(x, window)
        qkv = linear(tokens, self.qkv.weight, self.qkv.bias)
        q, k, v = qkv.view(*tokens.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        made = F.scaled_dot_product_attention(q, k, v, attn_mask=offsets.to(q.dtype))
        made = linear(made.transpose(1, 2).flatten(2), self.proj.weight, self.proj.bias)
        return joined(made, x.shape, window)

    def offsets(self, window: Sides, torn: tuple[bool, bool, bool]) -> Tensor:
        """Return what is added to logits, ``(1, heads, N, N)``.

        In windows smaller than the network's the index is cut short, as published, though along rows and columns that
        names other places.
        """
        count = window[0] * window[1] * window[2]
        index = self.relative_position_index[:count, :count]
        offsets = self.relative_position_bias_table[index].permute(2, 0, 1)[None]
        if not any(torn):
            return offsets
        apart = torch.zeros(window, dtype=torch.int64, device=index.device)
        for axis, (length, cut) in enumerate(zip(self.window, torn, strict=True)):
            if cut:  # shifted by half: the far half came from the other side
                near = torch.arange(length, device=index.device) < length - length // 2
                apart = 2 * apart + near.view([-1 if other == axis else 1 for other in range(3)])
        apart = apart.flatten()
        return offsets + _APART * (apart[:, None] != apart)


def positions(window: Sides) -> Tensor:
    """Return the row of the table for each query and key of a window, ``(N, N)``.

    Example:
        >>> positions((1, 1, 2)).tolist()
        [[1, 0], [2, 1]]
    """
    places = torch.cartesian_prod(*(torch.arange(length) for length in window)).view(-1, 3)
    apart = places[:, None] - places + torch.tensor([length - 1 for length in window])
    spans = [2 * length - 1 for length in window]
    return (apart * torch.tensor([spans[1] * spans[2], spans[2], 1])).sum(dim=2)


def split(x: Tensor, window: Sides) -> Tensor:
    """Cut tokens into windows: ``(B windows, N, C)``."""
    batch, frames, rows, columns, width = x.shape
    a, b, c = window
    lattice = x.reshape(batch, frames // a, a, rows // b, b, columns // c, c, width)
    return lattice.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, a * b * c, width)


def joined(windows: Tensor, shape: torch.Size, window: Sides) -> Tensor:
    """Undo :func:`split`."""
    batch, frames, rows, columns, width = shape
    a, b, c = window
    lattice = windows.view(batch, frames // a, rows // b, columns // c, a, b, c, width)
    return lattice.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(shape)


class Perceptron(nn.Module):
    """Two layers."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., C)``."""
        hidden = F.gelu(linear(x, self.fc1.weight, self.fc1.bias))
        return linear(hidden, self.fc2.weight, self.fc2.bias)
