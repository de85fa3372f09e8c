"""Uni-COAL's critic: is this target slice, seen beside its sources, one that was acquired?

A residual critic of StyleGAN2 (Karras et al., "Analyzing and improving the image quality of StyleGAN", 2020), whose
verdict is projected on the contrast and position asked for. Attribute names follow the published checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..ops.fir import normal_filter
from .uni_coal_layers import Convolution, Dense, Mapping


@dataclass(frozen=True, slots=True)
class UniCoalCriticConfig:
    """What the published critics differ in.

    Attributes:
        resolution: Side of the slices, a power of 2 from 8 on.
        channels_in: Channels of the source and the target together.
        contrasts: Length of the one-hot contrast; 0 judges without.
        position: Whether the position is told.
        embedded: Width of the embeddings of both.
        mapping_layers: Layers of the network that maps them.
        position_waves: How a position is embedded.
        channel_base: Channels at side r are this over r, at most `channel_max`.
        channel_max: The most channels anywhere.
        group: Samples over which the deviation is taken as a feature.
    """

    resolution: int = 256
    channels_in: int = 5
    contrasts: int = 3
    position: bool = True
    embedded: int = 64
    mapping_layers: int = 2
    position_waves: Literal["linear", "fourier"] = "linear"
    channel_base: int = 16384
    channel_max: int = 512
    group: int = 16

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise UsageError(f"slices of the critic have a side of 8, 16, 32, ..., not {self.resolution}")
        smallest = min(self.channels_in, self.embedded, self.mapping_layers, self.channel_max, self.group)
        if smallest < 1 or self.contrasts < 0 or self.channel_base < self.resolution:
            raise UsageError("the critic needs channels, layers and groups of at least one")
        if self.position and not self.contrasts:
            raise UsageError("a critic that is told the position is told the contrast too", remedy="give contrasts=1")

    def channels(self, side: int) -> int:
        """Return the channels at a side."""
        return min(self.channel_base // side, self.channel_max)


class UniCoalCritic(nn.Module):
    """How much a slice looks acquired.

    Example:
        >>> critic = UniCoalCritic(UniCoalCriticConfig(resolution=16, contrasts=0, position=False))
        >>> critic(torch.rand(2, 5, 16, 16)).shape
        torch.Size([2, 1])
    """

    def __init__(self, config: UniCoalCriticConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UniCoalCriticConfig()
        side = config.resolution
        while side > 4:
            shallow, deep = config.channels(side), config.channels(side // 2)
            first = config.channels_in if side == config.resolution else 0
            self.add_module(f"b{side}", Block(shallow, deep, first))
            side //= 2
        width = config.channels(4)
        if config.contrasts:
            self.mapping = Mapping(
                latent=0,
                contrasts=config.contrasts,
                position=config.position,
                embedded=config.embedded,
                width=width,
                layers=config.mapping_layers,
                waves=config.position_waves,
                averaged=False,
            )
        self.b4 = Epilogue(width, width if config.contrasts else 1, config.group)

    def forward(self, image: Tensor, contrast: Tensor | None = None, position: Tensor | None = None) -> Tensor:
        """Judge slices; above 0 is acquired.

        Args:
            image: ``(B, K + C, H, W)``: source slices and the target slice, about [-1, 1].
            contrast: ``(B, contrasts)``, one-hot: what the target is asked to be.
            position: ``(B, 1)``: where it is asked for, see :class:`~scanweave.models.UniCoal`.

        Returns:
            Logits ``(B, 1)``.

        Raises:
            ValueError: Illegal shape, or a batch that is no multiple of the group.
        """
        config = self.config
        expected = (config.channels_in, config.resolution, config.resolution)
        if image.ndim != 4 or tuple(image.shape[1:]) != expected or not image.is_floating_point():
            raise ValueError(f"floating slices (B, {expected}) are needed, not {tuple(image.shape)} {image.dtype}")
        x, side = image, config.resolution
        while side > 4:
            x = self.get_submodule(f"b{side}")(x)
            side //= 2
        verdict: Tensor = self.b4(x)
        if not config.contrasts:
            return verdict
        asked: Tensor = self.mapping(None, contrast, position)
        return (verdict * asked).sum(dim=1, keepdim=True) / math.sqrt(asked.shape[1])


class Block(nn.Module):
    """Two convolutions that halve the size, and a linear way around them; the first block takes images."""

    resample_filter: Tensor

    def __init__(self, channels_in: int, channels_out: int, image_channels: int) -> None:
        super().__init__()
        self.register_buffer("resample_filter", normal_filter([1, 3, 3, 1]))
        self.fromrgb = Convolution(image_channels, channels_in, 1) if image_channels else nn.Identity()
        self.conv0 = Convolution(channels_in, channels_in, 3)
        self.conv1 = Convolution(channels_in, channels_out, 3, halve=True)
        self.skip = Convolution(channels_in, channels_out, 1, active=False, halve=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channels_in, H, W)`` to ``(B, channels_out, H / 2, W / 2)``."""
        x = self.fromrgb(x)
        around: Tensor = self.skip(x)
        through: Tensor = self.conv1(self.conv0(x))
        return (around + through) * math.sqrt(0.5)


class Epilogue(nn.Module):
    """From 4 x 4 features, and how much they differ within a group of samples, to the verdict."""

    def __init__(self, channels: int, size_out: int, group: int) -> None:
        super().__init__()
        self.group = group
        self.conv = Convolution(channels + 1, channels, 3)
        self.fc = Dense(16 * channels, channels, active=True)
        self.out = Dense(channels, size_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channels, 4, 4)`` to ``(B, size_out)``."""
        x = self.conv(with_deviation(x, group=self.group))
        verdict: Tensor = self.out(self.fc(x.flatten(1)))
        return verdict


def with_deviation(x: Tensor, *, group: int) -> Tensor:
    """Append a channel: the mean deviation of ``(B, C, H, W)`` over groups, whose members lie B / g samples apart.

    Raises:
        ValueError: The batch is no multiple of the group.

    Source: Karras et al., "Progressive growing of GANs", 2018, section 3.
    """
    batch, _, height, width = x.shape
    group = min(group, batch)
    if batch % group:
        raise ValueError(f"a batch of {batch} cannot be split into groups of {group}: give a multiple, or fewer")
    members = x.reshape(group, batch // group, -1)
    deviation = (members.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=1)
    channel = deviation.repeat(group)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat((x, channel), dim=1)
