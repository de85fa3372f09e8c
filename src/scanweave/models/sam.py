"""The image encoder of Segment Anything: a vision transformer whose features judge slices in training.

Kirillov et al., "Segment anything", 2023, after Li et al., "Exploring plain vision transformer backbones for object
detection", 2022. Attribute names follow the published checkpoint without its prefix ``image_encoder.``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class SamEncoderConfig:
    """Sizes; the defaults are those of ViT-B.

    Attributes:
        side: Side of the images, a multiple of `patch`.
        patch: Side of a patch.
        width: Length of a token.
        depth: How many blocks.
        heads: Heads of attention, which divide the width.
        window: Side of the windows in which most blocks attend.
        everywhere: Blocks that attend everywhere.
        features: Channels of the result.
    """

    side: int = 1024
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    window: int = 14
    everywhere: tuple[int, ...] = (2, 5, 8, 11)
    features: int = 256

    def __post_init__(self) -> None:
        sizes = (self.side, self.patch, self.width, self.depth, self.heads, self.window, self.features)
        if min(sizes) < 1 or self.side % self.patch or self.width % self.heads:
            raise UsageError("the encoder needs sizes of at least one, sides of whole patches, and heads of one width")
        if any(not 0 <= block < self.depth for block in self.everywhere):
            raise UsageError(f"of {self.depth} blocks {self.everywhere} cannot attend everywhere")


class SamEncoder(nn.Module):
    """Features of an image.

    Example:
        >>> config = SamEncoderConfig(side=32, width=8, depth=2, heads=2, window=2, everywhere=(1,), features=4)
        >>> SamEncoder(config)(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 4, 2, 2])
    """

    def __init__(self, config: SamEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SamEncoderConfig()
        places = config.side // config.patch
        self.pos_embed = nn.Parameter(torch.zeros(1, places, places, config.width))
        self.patch_embed = Patches(config)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, places, 0 if index in config.everywhere else config.window)
            for index in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(config.width, config.features, 1, bias=False),
            ChannelNorm(config.features),
            nn.Conv2d(config.features, config.features, 3, padding=1, bias=False),
            ChannelNorm(config.features),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Encode images.

        Args:
            image: ``(B, 3, side, side)``, levels from 0 to 255 less (123.675, 116.28, 103.53), over (58.395, 57.12,
                57.375), with zeros to the right and below where it is smaller.

        Returns:
            ``(B, features, side / patch, side / patch)``.

        Raises:
            ValueError: Another shape.
        """
        side = self.config.side
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, side, side) or not image.is_floating_point():
            raise ValueError(f"floating images (B, 3, {side}, {side}) are needed, not {tuple(image.shape)}")
        x = self.patch_embed(image) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return features


class Patches(nn.Module):
    """A token for each patch."""

    def __init__(self, config: SamEncoderConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, stride=config.patch)

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to ``(B, H / patch, W / patch, width)``."""
        tokens: Tensor = self.proj(image).permute(0, 2, 3, 1)
        return tokens


class Block(nn.Module):
    """Attention, in windows or everywhere, and a perceptron, each on top of what came."""

    def __init__(self, width: int, heads: int, places: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = Attention(width, heads, window or places)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = Perceptron(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``(B, H, W, width)``."""
        attended = self.norm1(x)
        if self.window:
            windows, grid = split_windows(attended, self.window)
            attended = join_windows(self.attn(windows), grid, x.shape[1:3])
        else:
            attended = self.attn(attended)
        x = x + attended
        made: Tensor = x + self.mlp(self.norm2(x))
        return made


class Attention(nn.Module):
    """Attention of tokens in a square, with a part that depends on rows and columns between query and key."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``(B, S, S, width)``."""
        batch, height, width, channels = x.shape
        q, k, v = self.qkv(x).view(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        square = q.unflatten(2, (height, width))
        rows = torch.einsum("bnyxc,yzc->bnyxz", square, between(self.rel_pos_h, height))
        columns = torch.einsum("bnyxc,xzc->bnyxz", square, between(self.rel_pos_w, width))
        offsets = (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)
        made = F.scaled_dot_product_attention(q, k, v, attn_mask=offsets, scale=1 / math.sqrt(channels // self.heads))
        projected: Tensor = self.proj(made.transpose(1, 2).reshape(x.shape))
        return projected


def between(table: Tensor, side: int) -> Tensor:
    """Return a table of offsets by query and key: entry ``[y, z]`` is that of ``y - z``, ``(side, side, c)``."""
    places = torch.arange(side, device=table.device)
    return table[places[:, None] - places + side - 1]


class Perceptron(nn.Module):
    """Two layers, four times as wide between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, 4 * width)
        self.lin2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)``."""
        made: Tensor = self.lin2(F.gelu(self.lin1(x)))
        return made


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)``."""
        return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], self.weight, self.bias, _EPS).permute(0, 3, 1, 2)


def split_windows(x: Tensor, side: int) -> tuple[Tensor, tuple[int, int]]:
    """Cut ``(B, H, W, c)``, zeros added right and below, into ``(B rows columns, side, side, c)``; return the grid."""
    batch, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    rows, columns = x.shape[1] // side, x.shape[2] // side
    windows = x.view(batch, rows, side, columns, side, channels).transpose(2, 3)
    return windows.reshape(-1, side, side, channels), (rows, columns)


def join_windows(windows: Tensor, grid: tuple[int, int], size: tuple[int, ...]) -> Tensor:
    """Undo :func:`split_windows`: ``(B, *size, c)``."""
    side, channels = windows.shape[1], windows.shape[3]
    x = windows.view(-1, *grid, side, side, channels).transpose(2, 3)
    return x.reshape(-1, grid[0] * side, grid[1] * side, channels)[:, : size[0], : size[1]]
