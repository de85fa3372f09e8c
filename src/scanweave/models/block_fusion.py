"""Block fusion: a sharp frame from sharp frames around a moment and a coarse frame at it, small enough for a CPU.

All work is done on the coarse camera's grid, where a sharp frame is 16 channels: the pixels of each block of 4 x 4.
The network weights candidates for every pixel, five sharp frames and the coarse one enlarged, and adds a correction.
With candidates s_k, weights a_k of sum 1, D the mean of each block and U an enlargement with ``D U = 1``::

    w = sum_k a_k s_k,    base = w + U(c - D w),    made = base + correction

so that the base agrees with the coarse frame c whatever the weights are. Fresh, the correction is 0 and the weights are
by nearness in time. Everything is in units of the noise: one network for every camera, depth and dose.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from .frames import in_float32

SCALE = 4
COARSE = 5
"""Coarse frames: before the moment, at it and after it, and those at the first and second sharp frame."""

CANDIDATES = 5
"""Sharp ones: the frames before and after, both moved to the moment, and the mean of others."""

_BLENDED = CANDIDATES + 1  # the last is the coarse frame, enlarged: without detail, and so without its noise
_TOLD = 3  # numbers about the times
_ALIKE = 3  # maps of `likeness`
_PIXELS = SCALE * SCALE
_RANGE = 4.0  # units of noise that the network sees on a straight scale
_TREND = 9  # blocks around that the coarse frame is compared with
_LEAST = 0.02  # weight of a candidate that is as far away as can be
_NEVER = -1e4
_LEVELS = 4  # what sides of coarse frames are multiples of, with two levels below


@dataclass(frozen=True, slots=True)
class BlockFusionConfig:
    """Sizes; the defaults are those of the weights that come with scanweave.

    Attributes:
        widths: Channels on the coarse grid, on that of half its sides, and of a quarter.
        depths: Residual blocks on each of these grids: on the way down, and again on the way up.
        bottom: Residual blocks on the coarsest.
    """

    widths: tuple[int, int, int] = (96, 96, 128)
    depths: tuple[int, int] = (2, 2)
    bottom: int = 2

    def __post_init__(self) -> None:
        if (
            len(self.widths) != 3
            or len(self.depths) != 2
            or min(*self.widths) < 1
            or min(*self.depths, self.bottom) < 0
        ):
            raise UsageError(f"block-fusion of widths {self.widths}, depths {self.depths} and {self.bottom} cannot be")


class _Residual(nn.Module):
    """``x + conv(relu(conv(x)))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2.weight.data *= 0.1

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + changed


def _chain(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(width) for _ in range(count)))


class BlockFusion(nn.Module):
    """A sharp frame from sharp ones around it and coarse ones.

    Args:
        config: Sizes.

    Example:
        >>> network = BlockFusion(BlockFusionConfig(widths=(8, 8, 8), depths=(1, 1), bottom=1))
        >>> coarse, sharp = torch.rand(1, 5, 1, 8, 12), torch.rand(1, 5, 1, 32, 48)
        >>> network(coarse, sharp, torch.tensor([[0.5, 0.1, 0.0]]), torch.zeros(1, 1, 8, 12)).shape
        torch.Size([1, 1, 32, 48])
    """

    def __init__(self, config: BlockFusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or BlockFusionConfig()
        whole, half, quarter = config.widths
        self.stem = nn.Conv2d(CANDIDATES * _PIXELS + COARSE + 2 + _TOLD + _ALIKE, whole, 3, padding=1)
        self.down0 = _chain(whole, config.depths[0])
        self.reduce0 = nn.Conv2d(whole, half, 2, stride=2)
        self.down1 = _chain(half, config.depths[1])
        self.reduce1 = nn.Conv2d(half, quarter, 2, stride=2)
        self.bottom = _chain(quarter, config.bottom)
        self.enlarge1 = nn.ConvTranspose2d(quarter, half, 2, stride=2)
        self.up1 = _chain(half, config.depths[1])
        self.enlarge0 = nn.ConvTranspose2d(half, whole, 2, stride=2)
        self.up0 = _chain(whole, config.depths[0])
        self.head = nn.Conv2d(whole, (_BLENDED + 1) * _PIXELS, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, coarse: Tensor, sharp: Tensor, times: Tensor, spread: Tensor) -> Tensor:
        """Return the sharp frame at the moment.

        Args:
            coarse: ``(B, 5, 1, h, w)``, see :data:`COARSE`; both sides are multiples of 4.
            sharp: ``(B, 5, 1, 4h, 4w)``, see :data:`CANDIDATES`.
            times: ``(B, 3)``: where the moment lies between the two sharp frames, 0 to 1; the coarse camera's interval
                over the sharp one's; and how many frames the mean of others is of, 0 where it means nothing.
            spread: ``(B, 1, h, w)``, logarithm of the noise of a sharp pixel there; 0 is the unit of all frames.

        Returns:
            ``(B, 1, 4h, 4w)``.

        Raises:
            ValueError: Other shapes.
        """
        _check(coarse, sharp, times, spread)
        batch, _, _, rows, columns = coarse.shape
        blocks = F.pixel_unshuffle(sharp.flatten(0, 1), SCALE).view(batch, CANDIDATES, _PIXELS, rows, columns)
        moment = coarse[:, 1]
        features = self._features(self._seen(blocks, coarse, times, spread))
        told = in_float32(self.head, features).view(batch, _BLENDED + 1, _PIXELS, rows, columns)
        logits, correction = told[:, :_BLENDED], told[:, _BLENDED]
        weights = (logits + _prior(times)[..., None, None, None]).softmax(dim=1)
        smooth = F.pixel_unshuffle(enlarged(moment), SCALE)
        blend = (weights * torch.cat([blocks, smooth[:, None]], dim=1)).sum(dim=1)
        lacking = enlarged(moment - blend.mean(dim=1, keepdim=True))
        made: Tensor = F.pixel_shuffle(blend + correction, SCALE) + lacking
        return made

    def _seen(self, blocks: Tensor, coarse: Tensor, times: Tensor, spread: Tensor) -> Tensor:
        """Return the network's input: everything relative to the coarse frame at the moment, and told numbers."""
        moment = coarse[:, 1]
        there = (times[:, 2] > 0).to(blocks.dtype)[:, None, None, None]
        others = blocks[:, CANDIDATES - 1] - moment
        pixels = torch.cat([(blocks[:, : CANDIDATES - 1] - moment[:, None]).flatten(1, 2), others * there], dim=1)
        trend = F.avg_pool2d(moment, _TREND, stride=1, padding=_TREND // 2, count_include_pad=False)
        apart = coarse[:, 3:].flatten(1, 2) - blocks[:, :2].mean(dim=2)
        seen = torch.cat([pixels, coarse[:, :1, 0] - moment, coarse[:, 2:3, 0] - moment, moment - trend, apart], dim=1)
        alike = torch.asinh(likeness(blocks))
        told = torch.stack([times[:, 0], times[:, 1].clamp(max=1), (1 + times[:, 2]).log()], dim=1)
        told = told[..., None, None].expand(-1, -1, *moment.shape[-2:])
        # what is far from the coarse frame is seen on a scale that flattens: edges are hundreds of times the noise
        return torch.cat([_RANGE * torch.asinh(seen / _RANGE), spread, 1 - there.expand_as(spread), told, alike], dim=1)

    def _features(self, seen: Tensor) -> Tensor:
        first = self.down0(self.stem(seen))
        second = self.down1(self.reduce0(first))
        third = self.bottom(self.reduce1(second))
        second = self.up1(second + self.enlarge1(third))
        features: Tensor = self.up0(first + self.enlarge0(second))
        return features


def reach(config: BlockFusionConfig) -> int:
    """Return how far the network sees, in coarse pixels."""
    (whole, half), bottom = config.depths, config.bottom
    convolved = 2 + 2 * 2 * whole + 2 * (2 * 2 * half) + 4 * (2 * bottom)
    return convolved + _TREND // 2 + 3 + 2  # strides of two grids begin up to 3 pixels off; bicubic looks 2 away


def enlarged(blocks: Tensor) -> Tensor:
    """Return blocks ``(B, 1, h, w)`` enlarged by 4, smooth, and with just these means."""
    smooth = F.interpolate(blocks, scale_factor=SCALE, mode="bicubic", align_corners=False)
    return smooth + F.interpolate(blocks - F.avg_pool2d(smooth, SCALE), scale_factor=SCALE, mode="nearest")


def likeness(blocks: Tensor) -> Tensor:
    """Return how alike the pixels of sharp frames are in each block.

    Where there is nothing but noise means over many blocks are 0, 0 and 2, so that a network that averages can tell
    texture from noise.

    Args:
        blocks: ``(B, 5, 16, h, w)``, the pixels of each block.

    Returns:
        ``(B, 3, h, w)``: the covariance of both frames, that of both once moved, and the mean square of what the former
        differ by.
    """
    centred = blocks - blocks.mean(dim=2, keepdim=True)
    products = (centred[:, 0] * centred[:, 1], centred[:, 2] * centred[:, 3], (blocks[:, 0] - blocks[:, 1]).square())
    return torch.stack([product.mean(dim=1) for product in products], dim=1)


def _prior(times: Tensor) -> Tensor:
    """Return the logarithms ``(B, 6)`` of the weights that fresh networks give: by nearness in time."""
    late, far = times[:, 0], torch.zeros_like(times[:, 0])
    near = torch.stack([1 - late, late, 1 - late, late, far, far], dim=1) + _LEAST
    others = torch.where(times[:, 2] > 0, far, far + _NEVER)
    return near.log() + torch.stack([far, far, far, far, others, far], dim=1)


def _check(coarse: Tensor, sharp: Tensor, times: Tensor, spread: Tensor) -> None:
    batch, rows, columns = len(coarse), *coarse.shape[-2:]
    expected: list[tuple[int, ...]] = [(batch, COARSE, 1, rows, columns), (batch, _TOLD), (batch, 1, rows, columns)]
    expected.insert(1, (batch, CANDIDATES, 1, SCALE * rows, SCALE * columns))
    came = [tuple(item.shape) for item in (coarse, sharp, times, spread)]
    if came != expected or rows % _LEVELS or columns % _LEVELS:
        raise ValueError(
            f"(B, {COARSE}, 1, h, w), (B, {CANDIDATES}, 1, {SCALE}h, {SCALE}w), (B, {_TOLD}) and (B, 1, h, w) with"
            f" h and w multiples of {_LEVELS} were expected, not {came}"
        )
