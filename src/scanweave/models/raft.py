"""RAFT: optical flow between two views, here of a coarse and a sharp camera, found step by step.

Teed and Deng, "RAFT: recurrent all-pairs field transforms for optical flow", ECCV 2020. Attribute names follow the
published checkpoints, so that those load strictly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..ops.warp import pointed_at, sample_at
from .frames import in_float32

_WIDTHS = (64, 64, 96, 128)
_FEATURES, _HIDDEN, _LEVELS, _RADIUS = 256, 128, 4, 4
_SMALLEST = 128


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """What the published networks differ in; the defaults are those of the calibrator.

    Attributes:
        channels: Channels of the images; 1, or 3 as first published.
        split: Whether each camera has an encoder of its own: `fnet` that of image 1, `fnet2` that of image 2.
    """

    channels: int = 1
    split: bool = False

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise UsageError(f"raft takes images of at least one channel, not {self.channels}")


class Estimate(NamedTuple):
    """Where the search has come to.

    Attributes:
        flow: At an eighth of the size and in its pixels, ``(B, 2, H / 8, W / 8)``, columns before rows.
        hidden: What the search remembers, ``(B, 128, H / 8, W / 8)``.
    """

    flow: Tensor
    hidden: Tensor


class Raft(nn.Module):
    """The flow from one view to another: ``place in image 2 = place in image 1 + flow(place in image 1)``.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> view = 255 * torch.rand(1, 1, 128, 136)
        >>> Raft().eval()(view, view, iterations=1).shape
        torch.Size([1, 2, 128, 136])

    Source: Teed and Deng, 2020, figure 1.
    """

    def __init__(self, config: RaftConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RaftConfig()
        self.fnet = Encoder(config.channels, batch_norm=False)
        if config.split:
            self.fnet2 = Encoder(config.channels, batch_norm=False)
        self.cnet = Encoder(config.channels, batch_norm=True)
        self.update_block = Update()

    def forward(self, image1: Tensor, image2: Tensor, *, iterations: int = 12) -> Tensor:
        """Estimate the flow.

        Args:
            image1: The coarse camera's view, ``(B, C, H, W)``, levels from 0 to 255; H and W multiples of 8 from 128
                on.
            image2: The sharp camera's view, alike.
            iterations: Steps of the search.

        Returns:
            ``(B, 2, H, W)`` in pixels, columns before rows.

        Raises:
            ValueError: Illegal shapes, or no iteration.
        """
        *_, last = self.estimates(image1, image2, iterations=iterations)
        return self.raised(last)

    def sequence(self, image1: Tensor, image2: Tensor, *, iterations: int = 12) -> list[Tensor]:
        """Return the flow after each step, as training compares it; arguments as of the call."""
        return [self.raised(estimate) for estimate in self.estimates(image1, image2, iterations=iterations)]

    def estimates(self, image1: Tensor, image2: Tensor, *, iterations: int = 12) -> Iterator[Estimate]:
        """Yield the flow after each step at an eighth of the size; arguments as of the call."""
        self._check(image1, image2, iterations)
        image1, image2 = 2 * (image1 / 255) - 1, 2 * (image2 / 255) - 1
        correlations = pyramid(*self.encode(image1, image2))
        hidden, context = self.cnet(image1).split(_HIDDEN, dim=1)
        hidden, context = hidden.tanh(), context.relu()
        flow = torch.zeros_like(hidden[:, :2])
        for _ in range(iterations):
            flow = flow.detach()
            seen = looked_up(correlations, pointed_at(flow)).to(hidden.dtype)
            hidden, step = self.update_block(hidden, context, seen, flow)
            flow = flow + step
            yield Estimate(flow, hidden)

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of both views, ``(B, 256, H / 8, W / 8)``, of images in [-1, 1]."""
        if self.config.split:
            return self.fnet(image1), self.fnet2(image2)
        first, second = self.fnet(torch.cat((image1, image2))).chunk(2)
        return first, second

    def raised(self, estimate: Estimate) -> Tensor:
        """Return an estimate at full size: each pixel a mean of the nine places around, weighted as learnt."""
        batch, _, rows, columns = estimate.flow.shape
        weights = self.update_block.mask(estimate.hidden).mul(0.25).to(estimate.flow.dtype)
        weights = weights.view(batch, 1, 9, 8, 8, rows, columns).softmax(dim=2)
        around = F.unfold(8 * estimate.flow, 3, padding=1).view(batch, 2, 9, 1, 1, rows, columns)
        fine: Tensor = (weights * around).sum(dim=2)
        return fine.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, 8 * rows, 8 * columns)

    def _check(self, image1: Tensor, image2: Tensor, iterations: int) -> None:
        channels = self.config.channels
        if image1.ndim != 4 or image1.shape[1] != channels or image1.shape != image2.shape:
            came = f"{tuple(image1.shape)} and {tuple(image2.shape)}"
            raise ValueError(f"two views of one shape (batch, {channels}, rows, columns) are needed, not {came}")
        if not image1.is_floating_point() or image1.dtype != image2.dtype:
            raise ValueError(f"floating views of one dtype are needed, not {image1.dtype} and {image2.dtype}")
        if any(side < _SMALLEST or side % 8 for side in image1.shape[2:]):
            came = " x ".join(str(side) for side in image1.shape[2:])
            raise ValueError(f"rows and columns must be multiples of 8 from {_SMALLEST} on, not {came}: pad, then crop")
        if iterations < 1:
            raise ValueError(f"at least one iteration is needed, not {iterations}")


def pyramid(features1: Tensor, features2: Tensor) -> list[Tensor]:
    """Return how like places of view 1 are to those of view 2, at four sizes of the latter: ``(B h w, 1, h', w')``."""
    batch, width, rows, columns = features1.shape
    likeness = features1.flatten(2).transpose(1, 2) @ features2.flatten(2) / math.sqrt(width)
    levels = [likeness.view(batch * rows * columns, 1, rows, columns)]
    for _ in range(_LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def looked_up(levels: list[Tensor], places: Tensor) -> Tensor:
    """Return the likeness around places of view 2, at each of four sizes.

    Args:
        levels: As of :func:`pyramid`.
        places: ``(B, 2, h, w)`` in pixels of the features, columns before rows.

    Returns:
        ``(B, 324, h, w)``: for each size 9 x 9 values, those of one column after the other.
    """
    batch, _, rows, columns = places.shape
    steps = torch.arange(-_RADIUS, _RADIUS + 1, dtype=places.dtype, device=places.device)
    window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"))  # columns are slow
    centre = places.permute(0, 2, 3, 1).reshape(-1, 2, 1, 1)
    found = [sample_at(level, centre / 2**k + window, padding="zeros") for k, level in enumerate(levels)]
    return torch.cat(found, dim=1).view(batch, rows, columns, -1).permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """Features at an eighth of the size."""

    def __init__(self, channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.norm1 = _norm(_WIDTHS[0], batch_norm)
        self.conv1 = nn.Conv2d(channels, _WIDTHS[0], 7, stride=2, padding=3)
        pairs = pairwise(_WIDTHS)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                EncoderBlock(before, after, 1 if before == after else 2, batch_norm),
                EncoderBlock(after, after, 1, batch_norm),
            )
            for before, after in pairs
        )
        self.conv2 = nn.Conv2d(_WIDTHS[-1], _FEATURES, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, 256, H / 8, W / 8)``."""
        x = F.relu(self.norm1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        made: Tensor = self.conv2(x)
        return made


class EncoderBlock(nn.Module):
    """Two convolutions, normalised, on top of what came."""

    def __init__(self, before: int, after: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.norm1, self.norm2 = _norm(after, batch_norm), _norm(after, batch_norm)
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride), _norm(after, batch_norm))
        self.strided = stride > 1

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, before, h, w)`` to ``(B, after, h / stride, w / stride)``."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu((self.downsample(x) if self.strided else x) + y)


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.InstanceNorm2d(channels)


class Update(nn.Module):
    """A step of the search."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Motion()
        self.gru = SeparableGru()
        self.flow_head = FlowHead()
        self.mask = nn.Sequential(
            nn.Conv2d(_HIDDEN, 256, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(256, 9 * 8 * 8, 1)
        )

    def forward(self, hidden: Tensor, context: Tensor, seen: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Return what to remember and by how much the flow changes."""
        hidden = self.gru(hidden, torch.cat((context, self.encoder(seen, flow)), dim=1))
        return hidden, self.flow_head(hidden)


class Motion(nn.Module):
    """What likeness and flow tell of motion."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(_LEVELS * (2 * _RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(64 + 192, 128 - 2, 3, padding=1)

    def forward(self, seen: Tensor, flow: Tensor) -> Tensor:
        """Map likeness ``(B, 324, h, w)`` and flow ``(B, 2, h, w)`` to ``(B, 128, h, w)``."""
        likeness = F.relu(self.convc2(F.relu(self.convc1(seen))))
        moved = F.relu(self.convf2(F.relu(self.convf1(flow))))
        told = F.relu(self.conv(torch.cat((likeness, moved), dim=1)))
        return torch.cat((told, flow.to(told.dtype)), dim=1)


class SeparableGru(nn.Module):
    """A convolutional gated unit, along rows and then along columns."""

    def __init__(self) -> None:
        super().__init__()
        joined = 3 * _HIDDEN
        self.convz1, self.convr1, self.convq1 = (nn.Conv2d(joined, _HIDDEN, (1, 5), padding=(0, 2)) for _ in range(3))
        self.convz2, self.convr2, self.convq2 = (nn.Conv2d(joined, _HIDDEN, (5, 1), padding=(2, 0)) for _ in range(3))

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        """Map what is remembered, ``(B, 128, h, w)``, by what is seen, ``(B, 256, h, w)``."""
        for update, reset, new in (
            (self.convz1, self.convr1, self.convq1),
            (self.convz2, self.convr2, self.convq2),
        ):
            both = torch.cat((hidden, x), dim=1)
            share = update(both).sigmoid()
            fresh = new(torch.cat((reset(both).sigmoid() * hidden, x), dim=1)).tanh()
            hidden = (1 - share) * hidden + share * fresh
        return hidden


class FlowHead(nn.Module):
    """The change of the flow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map ``(B, 128, h, w)`` to ``(B, 2, h, w)``."""
        return in_float32(self.conv2, F.relu(self.conv1(hidden)))
