"""Uni-COAL's generator: from neighbouring slices of one contrast, a slice of another contrast or place between them.

Song et al., "Uni-COAL: a unified framework for cross-modality synthesis and super-resolution of MR images", Expert
Systems with Applications 270, 2025; co-modulation after Zhao et al. 2021, alias-free layers after Karras et al. 2021.
Attribute names follow the published checkpoints, so that those load strictly.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .uni_coal_config import ENCODED, GLOBAL, UniCoalConfig
from .uni_coal_layers import Convolution, Dense, Mapping
from .uni_coal_levels import Level
from .uni_coal_modulated import EncoderLayer, SynthesisLayer, Waves


class Encoded(NamedTuple):
    """What the encoder says of source slices; of use for any number of latents.

    Attributes:
        last: Its coarsest map, ``(B, C, size, size)``.
        code: The global code, ``(B, 1024)``.
        skips: Maps that synthesis adds, by size.
    """

    last: Tensor
    code: Tensor
    skips: dict[int, Tensor]


class UniCoal(nn.Module):
    """A slice of a target contrast, at any place between two source slices.

    Example:
        >>> small = UniCoalConfig(resolution=32, layers=6, channel_base=64, channel_max=8)
        >>> slices, z, t1 = torch.rand(1, 4, 32, 32), torch.randn(1, 64), torch.eye(3)[:1]
        >>> UniCoal(small)(slices, z=z, contrast=t1, position=torch.zeros(1, 1)).shape
        torch.Size([1, 1, 32, 32])

    Source: Song et al., 2025, figure 2.
    """

    def __init__(self, config: UniCoalConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UniCoalConfig()
        self.synthesis = Synthesis(config)
        self.mapping = Mapping(
            latent=config.latent,
            contrasts=config.contrasts,
            position=config.position,
            embedded=config.latent,
            width=config.width,
            layers=config.mapping_layers,
            waves=config.position_waves,
        )

    def forward(
        self,
        source: Tensor,
        z: Tensor,
        contrast: Tensor | None = None,
        position: Tensor | None = None,
        *,
        truncation: float = 1.0,
        truncated: int | None = None,
    ) -> Tensor:
        """Make slices.

        Args:
            source: ``(B, K, H, W)``: slices n - 1, n, n + 1, ... of the source, in [-1, 1]; those missing are -1.
            z: ``(B, latent)``, standard normal.
            contrast: ``(B, contrasts)``, one-hot: what to make.
            position: ``(B, 1)``: where, from slice n on in spacings of the source, [0, 1).
            truncation: How far styles are from their mean; 1 leaves them.
            truncated: How many of the styles, from the coarse on; all by default.

        Returns:
            ``(B, C, H, W)``, about [-1, 1], not clamped.

        Raises:
            ValueError: Illegal shapes, or what the network needs to be told is missing.
        """
        encoded = self.encode(source, contrast, position)
        styles = self.styles(z, contrast, position, truncation=truncation, truncated=truncated)
        return self.decode(encoded, styles, position)

    def encode(self, source: Tensor, contrast: Tensor | None = None, position: Tensor | None = None) -> Encoded:
        """Encode source slices, once for any number of latents; arguments as of the call."""
        config = self.config
        expected = (config.channels_in, config.resolution, config.resolution)
        if source.ndim != 4 or tuple(source.shape[1:]) != expected or not source.is_floating_point():
            raise ValueError(f"floating slices (B, {expected}) are needed, not {tuple(source.shape)} {source.dtype}")
        if config.told_position and (position is None or position.shape != (source.shape[0], 1)):
            came = None if position is None else tuple(position.shape)
            raise ValueError(f"a position of shape {(source.shape[0], 1)} is needed, not {came}")
        encoded: Encoded = self.synthesis.encoder(source, contrast, position)
        return encoded

    def styles(
        self,
        z: Tensor,
        contrast: Tensor | None = None,
        position: Tensor | None = None,
        *,
        truncation: float = 1.0,
        truncated: int | None = None,
    ) -> Tensor:
        """Return the styles of all layers, ``(B, N + 2, width)``; arguments as of the call."""
        w: Tensor = self.mapping(z, contrast, position)[:, None].expand(-1, self.config.layers + 2, -1)
        if truncation == 1:
            return w
        drawn = torch.lerp(self.mapping.w_avg, w[:, :truncated], truncation)
        return torch.cat((drawn, w[:, drawn.shape[1] :]), dim=1)

    def decode(self, encoded: Encoded, styles: Tensor, position: Tensor | None = None) -> Tensor:
        """Make slices of what was encoded, by styles ``(B, N + 2, width)``."""
        made: Tensor = self.synthesis(encoded, styles, position)
        return made


class Synthesis(nn.Module):
    """The way up: alias-free layers, their styles co-modulated by the global code, with the encoder's maps added."""

    def __init__(self, config: UniCoalConfig) -> None:
        super().__init__()
        self.config = config
        levels = config.spectrum.levels()
        self.encoder = Encoder(config)
        if config.fourier_input:
            self.input = Waves(levels[0], config.width)
        if config.coordinate:
            levels[0] = replace(levels[0], channels=levels[0].channels + 1)
        for index in (config.layers - 1, config.layers):
            levels[index] = replace(levels[index], size=config.resolution)
        self.levels = levels
        self.names = [f"L{index}_{level.size}_{level.channels}" for index, level in enumerate(levels)]
        for index, name in enumerate(self.names):
            self.add_module(name, SynthesisLayer(config, levels[max(index - 1, 0)], levels[index], index))

    def forward(self, encoded: Encoded, styles: Tensor, position: Tensor | None = None) -> Tensor:
        """Map what was encoded and styles ``(B, N + 2, width)`` to slices ``(B, C, H, W)``."""
        x = encoded.last
        if self.config.fourier_input:
            x = self.input(styles[:, 0]) + x
        if self.config.coordinate and position is not None:
            x = torch.cat((x, position[:, :, None, None].expand(-1, -1, *x.shape[2:])), dim=1)
        joined = linked_levels(self.config, self.levels)
        for index, name in enumerate(self.names):
            style = styles[:, index + 1]
            if self.config.conditional:
                style = torch.cat((style, encoded.code), dim=1)
            x = self.get_submodule(name)(x, style)
            if index in joined:
                x = x + encoded.skips[self.levels[index].size]
        return x * self.config.scale


def linked_levels(config: UniCoalConfig, levels: list[Level]) -> list[int]:
    """Return the levels whose output has an encoder's map added: the last of each size, up to `skip_resolution`."""
    allowed = int(math.log2(config.skip_resolution)) - 1 if config.skip_resolution >= 4 else 0
    sizes = [level.size for level in levels]
    ends = [k for k in range(len(sizes) - 1) if sizes[k] != sizes[k + 1] and sizes[k] != sizes[0]]
    return ends[: max(allowed - 1, 0)]


class Encoder(nn.Module):
    """The way down: from source slices to a coarse map, a global code, and the maps that are added on the way up."""

    def __init__(self, config: UniCoalConfig) -> None:
        super().__init__()
        self.config = config
        levels = config.spectrum.levels()
        if config.encoder_modulated:
            self.mapping = Mapping(
                latent=0,
                contrasts=config.encoder_contrasts,
                position=config.encoder_position,
                embedded=config.encoder_embedded,
                width=ENCODED,
                layers=config.encoder_layers,
                waves=config.position_waves,
            )
        top = config.layers - 1
        self.steps = [(top - max(k - 1, 0), top - k) for k in range(config.layers)]
        for k, (start, end) in enumerate(self.steps):
            source = replace(levels[start], channels=config.channels_in) if k == 0 else levels[start]
            self.add_module(f"encoder_{k}", EncoderLayer(config, source, levels[end]))
        # The outermost map has no counterpart on the way up, which crops it: sizes as if it were larger.
        sizes = [level.size + 2 * config.margin * (i >= top) for i, level in enumerate(levels)]
        self.sizes = [sizes[end] if sizes[end] != sizes[start] else 0 for start, end in self.steps]
        upward = [replace(level, size=config.resolution) if i >= top else level for i, level in enumerate(levels)]
        self.wanted = [upward[index].size for index in linked_levels(config, upward)]
        channels = levels[0].channels
        self.e_16x16 = Convolution(channels, channels, 3)
        self.fc_in = Dense(16 * channels, GLOBAL, active=True)

    def forward(self, source: Tensor, contrast: Tensor | None, position: Tensor | None) -> Encoded:
        """Encode ``(B, K, H, W)``."""
        style = self.mapping(None, contrast, position) if self.config.encoder_modulated else None
        margin = self.config.margin
        x = F.pad(source, (margin, margin, margin, margin), value=self.config.border)
        x = x.contiguous(memory_format=torch.channels_last)
        skips = {}
        for k, size in enumerate(self.sizes):
            x = self.get_submodule(f"encoder_{k}")(x, style)
            if size in self.wanted:
                skips[size] = x
        code = F.adaptive_avg_pool2d(self.e_16x16(x), 4).flatten(1)
        code = F.dropout(self.fc_in(code), self.config.dropout, self.training)
        return Encoded(x, code, skips)
