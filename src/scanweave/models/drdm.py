"""DRDM's RecResACNet: from a deformed image, the displacement that takes back what is implausible of it.

Zheng et al., "Deformation-Recovery Diffusion Model (DRDM): Instance Deformation for Image Manipulation and
Synthesis", Medical Image Analysis 2026. Attribute names follow the published checkpoints, so that those load strictly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..ops.channels import add_to_channels_, as_laid_out, instance_norm
from ..ops.displacement import compose, warp
from .frames import in_float32

_EMBEDDED = 100
_SLOPE = 1e-6  # of the leaky ReLU; as good as none, but the published numbers have it

_CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


@dataclass(frozen=True, slots=True)
class DrdmConfig:
    """What the published networks differ in.

    Attributes:
        ndims: Dimensions of the images, 2 or 3.
        channels: Channels of the images.
        steps: Diffusion steps T that it was trained for.
    """

    ndims: int = 2
    channels: int = 1
    steps: int = 80

    def __post_init__(self) -> None:
        if self.ndims not in (2, 3):
            raise UsageError(f"drdm deforms images of 2 or 3 dimensions, not {self.ndims}")
        if min(self.channels, self.steps) < 1:
            raise UsageError(f"drdm needs at least one channel and one step, not {self.channels} and {self.steps}")


class Times(NamedTuple):
    """What the time heads say of a step: one value per image and channel, ``(B, c, 1, ...)``, for each stage."""

    b1: Tensor
    b2: Tensor
    b3: Tensor
    b_mid: Tensor
    b4: Tensor
    b5: Tensor
    b_out: Tensor


class Drdm(nn.Module):
    """The recovering displacement of an image at a diffusion step.

    Example:
        >>> network = Drdm(DrdmConfig(ndims=3))
        >>> network(torch.rand(1, 1, 16, 16, 8), 40, recursions=1).shape
        torch.Size([1, 3, 16, 16, 8])

    Source: Zheng et al., Medical Image Analysis 2026, figure 3.
    """

    def __init__(self, config: DrdmConfig | None = None) -> None:
        super().__init__()
        self.config = config or DrdmConfig()
        nd = self.config.ndims
        convolution, transposed = _CONVOLUTION[nd], _TRANSPOSED[nd]
        self.time_embed = TimeTable(self.config.steps)
        self.te1 = _head(1)
        self.b1 = _blocks(nd, self.config.channels, 10, 10, 10, norm=True)
        self.down1 = convolution(10, 10, 4, stride=2, padding=1)
        self.te2 = _head(10)
        self.b2 = _blocks(nd, 10, 20, 20, 20, norm=True)
        self.down2 = convolution(20, 20, 4, stride=2, padding=1)
        self.te3 = _head(20)
        self.b3 = _blocks(nd, 20, 40, 40, 40, norm=True)
        self.down3 = convolution(40, 40, 4, stride=2, padding=1)
        self.te_mid = _head(40)
        self.b_mid = _blocks(nd, 40, 20, 20, 40, norm=True)
        self.up1 = transposed(40, 40, 4, stride=2, padding=1)
        self.te4 = _head(80)
        self.b4 = _blocks(nd, 80, 40, 20, 20, norm=False)
        self.up2 = transposed(20, 20, 4, stride=2, padding=1)
        self.te5 = _head(40)
        self.b5 = _blocks(nd, 40, 20, 10, 10, norm=False)
        self.up3 = transposed(10, 10, 4, stride=2, padding=1)
        self.te_out = _head(20)
        self.b_out = _blocks(nd, 20, 10, 10, 10, norm=False)
        self.conv_out = convolution(10, nd, 3, padding=1)

    def forward(self, image: Tensor, step: int | Tensor, recursions: int = 2) -> Tensor:
        """Predict the displacement that undoes what step `step` of the diffusion did to an image.

        The first pass looks at the image, each further one at the image as moved so far; the predictions are composed.

        Args:
            image: ``(B, C, *space)``, about [0, 1]; sides multiples of 8, not all of them 8.
            step: Diffusion step t from 0 to T - 1, for all images or ``(B,)``.
            recursions: Passes, at least 1.

        Returns:
            ``(B, nd, *space)``, component a along array axis a, in fractions of the side of array axis 0 (for every
            axis): the warped image at p is the image at p + side * displacement.

        Raises:
            ValueError: Illegal shape, sides, step or recursions.
        """
        self._check(image, recursions)
        times = self.times(step, image.shape[0])
        side = float(image.shape[2])
        total = self.once(image, times)
        for _ in range(recursions - 1):
            found = self.once(warp(image, total, unit=side, padding="zeros"), times)
            total = compose(found, total, unit=side, padding="border")
        return total

    def times(self, step: int | Tensor, batch: int) -> Times:
        """Return what every stage is told of the step.

        Raises:
            ValueError: Not one step for all or one for each image, or a step that the network does not know.
        """
        steps = torch.as_tensor(step, device=self.time_embed.weight.device)
        if steps.shape not in ((), (1,), (batch,)) or steps.is_floating_point():
            raise ValueError(f"give one whole step, or one for each of {batch} images, not {step}")
        if not torch.compiler.is_compiling() and (steps.min() < 0 or steps.max() >= self.config.steps):
            raise ValueError(f"steps are 0 to {self.config.steps - 1}, not {step}")
        embedded = self.time_embed(steps.reshape(-1))  # of one step once: a product of more rows rounds differently
        heads = (self.te1, self.te2, self.te3, self.te_mid, self.te4, self.te5, self.te_out)
        told = (head(embedded).expand(batch, -1) for head in heads)
        return Times(*(values.reshape(batch, -1, *[1] * self.config.ndims) for values in told))

    def once(self, image: Tensor, times: Times) -> Tensor:
        """Predict in a single pass: the U-Net alone, its displacement clamped to one side less a voxel."""
        image = as_laid_out(image + times.b1, like=self.down1.weight)
        skip1 = self.b1(image)
        skip2 = self.b2(add_to_channels_(self.down1(skip1), times.b2))
        skip3 = self.b3(add_to_channels_(self.down2(skip2), times.b3))
        x = self.b_mid(self.down3(skip3) * times.b_mid)
        x = self.b4(add_to_channels_(torch.cat((skip3, self.up1(x)), dim=1), times.b4))
        x = self.b5(add_to_channels_(torch.cat((skip2, self.up2(x)), dim=1), times.b5))
        x = self.b_out(add_to_channels_(torch.cat((skip1, self.up3(x)), dim=1), times.b_out))
        side = image.shape[2]
        found = in_float32(self.conv_out, x)
        return (found * side).clamp(1 - side, side - 1) / side

    def _check(self, image: Tensor, recursions: int) -> None:
        nd, channels = self.config.ndims, self.config.channels
        if image.ndim != nd + 2 or image.shape[1] != channels or not image.is_floating_point():
            expected = f"(B, {channels}, {'D, ' * (nd - 2)}H, W), floating"
            raise ValueError(f"an image of shape {expected}, is needed, not {tuple(image.shape)} {image.dtype}")
        if any(size % 8 for size in image.shape[2:]) or image.shape[2:].numel() <= 8**nd:
            raise ValueError(f"sides must be multiples of 8, and one above 8, not {tuple(image.shape[2:])}")
        if recursions < 1:
            raise ValueError(f"at least one pass is needed, not {recursions}")


class AtrousBlock(nn.Module):
    """A convolution, normalised or not, and over it a residual branch of two convolutions, the second dilated by 3."""

    def __init__(self, ndims: int, channels_in: int, channels_out: int, *, norm: bool) -> None:
        super().__init__()
        convolution = _CONVOLUTION[ndims]
        self.ln = InstanceNorm(channels_out) if norm else nn.Identity()
        self.conv0 = convolution(channels_in, channels_out, 3, padding=1)
        self.convs = nn.ModuleList(
            convolution(channels_out, channels_out, 3, padding=dilation, dilation=dilation) for dilation in (1, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channels_in, *space)`` to ``(B, channels_out, *space)``."""
        plain, dilated = self.convs
        r = self.ln(self.conv0(x))
        z = plain(F.leaky_relu(r, _SLOPE))
        z = dilated(F.leaky_relu_(z, _SLOPE))
        return F.leaky_relu_(z.add_(r), _SLOPE)


class InstanceNorm(nn.Module):
    """Every channel of every image at mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channels, *space)``."""
        return instance_norm(x, self.weight, self.bias)


class TimeTable(nn.Module):
    """The embedding of each step: a table that is stored with the weights and never trained."""

    weight: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.register_buffer("weight", sinusoids(steps, _EMBEDDED))

    def forward(self, steps: Tensor) -> Tensor:
        """Map ``(B,)`` to ``(B, 100)``."""
        return F.embedding(steps, self.weight)


def sinusoids(steps: int, width: int) -> Tensor:
    """Return the table of time embeddings, ``(steps, width)``.

    Columns j and j + 1, j even, are sine and cosine of ``t * 10000^(-2 j / width)``: the exponent counts columns, not
    pairs, so that frequencies fall twice as fast as in the usual table.
    """
    columns = torch.arange(0, width, 2, dtype=torch.float64)
    frequencies = (10000 ** (-2 * columns / width)).float()
    angles = torch.arange(steps, dtype=torch.float32)[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)[:, :width].contiguous()


def _head(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(_EMBEDDED, channels), nn.ReLU(), nn.Linear(channels, channels))


def _blocks(ndims: int, *channels: int, norm: bool) -> nn.Sequential:
    return nn.Sequential(*(AtrousBlock(ndims, one, two, norm=norm) for one, two in pairwise(channels)))
