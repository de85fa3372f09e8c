"""What Uni-COAL's generator and critic share: layers of equalised learning rate, and the mapping network.

Weights are stored at unit variance and scaled where they are used, so that Adam's steps are alike for all of them
(Karras et al., "Progressive growing of GANs", 2018, section 4.1).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.fir import normal_filter, resample

SLOPE = 0.2
GAIN = math.sqrt(2)
BINOMIAL = (1.0, 3.0, 3.0, 1.0)

Position = Literal["linear", "fourier"]


def activate(x: Tensor) -> Tensor:
    """Apply the leaky ReLU, its gain keeping the variance."""
    return F.leaky_relu(x, SLOPE) * GAIN


def normalise(x: Tensor) -> Tensor:
    """Scale ``(B, n)`` to a mean square of 1 in each row."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class Dense(nn.Module):
    """``act(x W^T m / sqrt(n) + b m)`` with learning-rate multiplier m."""

    def __init__(
        self, size_in: int, size_out: int, *, active: bool = False, rate: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.active, self.rate = active, rate
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(size_out, size_in), std=1 / rate))
        self.bias = nn.Parameter(torch.full((size_out,), bias / rate))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, size_in)`` to ``(B, size_out)``."""
        bias = self.bias if self.rate == 1 else self.bias * self.rate
        x = F.linear(x, self.weight * (self.rate / math.sqrt(self.weight.shape[1])), bias)
        return activate(x) if self.active else x


class Convolution(nn.Module):
    """An equalised convolution that keeps the size, or halves it after a binomial low-pass."""

    resample_filter: Tensor

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, active: bool = True, halve: bool = False
    ) -> None:
        super().__init__()
        self.active, self.halve = active, halve
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(channels_out, channels_in, kernel, kernel)))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if active else None
        self.register_buffer("resample_filter", normal_filter(list(BINOMIAL)))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channels_in, H, W)`` to ``(B, channels_out, H, W)``, or to half of H and W."""
        kernel = self.weight.shape[2]
        weight = self.weight / math.sqrt(self.weight[0].numel())
        if not self.halve:
            x = F.conv2d(x, weight, self.bias, padding=kernel // 2)
        elif kernel == 1:
            x = F.conv2d(resample(x, self._line(x), down=2, pad=(1, 1, 1, 1)), weight, self.bias)
        else:
            x = F.conv2d(resample(x, self._line(x), pad=(2, 2, 2, 2)), weight, self.bias, stride=2)
        return activate(x) if self.active else x

    @staticmethod
    def _line(x: Tensor) -> Tensor:
        line = x.new_tensor(BINOMIAL)
        return line / line.sum()


class PositionWaves(nn.Module):
    """Sines and cosines of a position at octaves: ``sin(2^k pi p), cos(2^k pi p)`` for k from 0 to 5."""

    fourier_coefs: Tensor

    def __init__(self, octaves: int = 6) -> None:
        super().__init__()
        self.register_buffer("fourier_coefs", math.pi * 2.0 ** torch.arange(octaves)[None])

    def forward(self, position: Tensor) -> Tensor:
        """Map ``(B, 1)`` to ``(B, 2 octaves)``."""
        angles = position * self.fourier_coefs
        return torch.cat((angles.sin(), angles.cos()), dim=1)


class Mapping(nn.Module):
    """From latent, contrast and position to what styles are made of.

    Args:
        latent: Length of z; 0 for none.
        contrasts: Length of the one-hot contrast; 0 for none.
        position: Whether the position is told.
        embedded: Width of the embeddings of both.
        width: Length of the result.
        layers: How many layers.
        waves: How a position is embedded.
        averaged: Whether there is a mean, to which results may be drawn.

    Source: Karras et al., "A style-based generator architecture", 2019, section 2, with class embedding.
    """

    w_avg: Tensor

    def __init__(
        self,
        *,
        latent: int,
        contrasts: int,
        position: bool,
        embedded: int,
        width: int,
        layers: int,
        waves: Position = "linear",
        averaged: bool = True,
    ) -> None:
        super().__init__()
        self.latent = latent
        if averaged:
            self.register_buffer("w_avg", torch.zeros(width))
        if contrasts:
            self.embed = Dense(contrasts, embedded)
        if position and waves == "fourier":
            self.posi_emb = PositionWaves()
        if position:
            self.embed_index = Dense(12 if waves == "fourier" else 1, embedded)
        self.has_contrast, self.has_position, self.waves = contrasts > 0, position, waves
        size = latent + embedded * (self.has_contrast + position)
        self.depth = layers
        for index in range(layers):
            self.add_module(f"fc{index}", Dense(size if index == 0 else width, width, active=True, rate=0.01))

    def forward(self, latent: Tensor | None, contrast: Tensor | None, position: Tensor | None) -> Tensor:
        """Map z ``(B, latent)``, a contrast ``(B, contrasts)`` and a position ``(B, 1)`` to ``(B, width)``.

        What the network does not take is ignored.

        Raises:
            ValueError: Something that it takes is missing or of another shape.
        """
        parts = []
        if self.latent:
            parts.append(normalise(_needed("z", latent, self.latent)))
        if self.has_contrast:
            parts.append(normalise(self.embed(_needed("contrast", contrast, self.embed.weight.shape[1]))))
        if self.has_position:
            place = _needed("position", position, 1)
            parts.append(normalise(self.embed_index(self.posi_emb(place) if self.waves == "fourier" else place)))
        x = torch.cat(parts, dim=1)
        for index in range(self.depth):
            x = self.get_submodule(f"fc{index}")(x)
        return x


def _needed(name: str, given: Tensor | None, width: int) -> Tensor:
    if given is None:
        raise ValueError(f"this network needs {name}=, of shape (B, {width})")
    if given.ndim != 2 or given.shape[1] != width or not given.is_floating_point():
        raise ValueError(f"{name} must be floating, of shape (B, {width}), not {tuple(given.shape)} {given.dtype}")
    return given
