"""Super-SloMo: two U-Nets that interpolate a pair of frames at any times between them.

Jiang et al., "Super SloMo", CVPR 2018, in the form that slow-motion echocardiography was published with (Sahashi et
al., Int J Cardiovasc Imaging 2024). One network finds the flow between the frames, once per pair; the other corrects,
for each time, the flows that follow from it, and says which frame is to be believed where.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..ops.warp import WarpConvention, WarpPadding, backward_warp
from .frames import by_pair, check_pair, each_time, in_float32, times_of_pairs

ECHO_MEAN = (0.186, 0.184, 0.206)
"""Mean red, green and blue that the published echo program subtracts by default."""

ADOBE_MEAN = (0.429, 0.431, 0.397)
"""Mean red, green and blue of Adobe240-fps, for the checkpoint trained on natural video."""


@dataclass(frozen=True, slots=True)
class SuperSlomoConfig:
    """What a set of Super-SloMo weights was trained with.

    Attributes:
        warp_convention: Where a flow points (:func:`scanweave.ops.backward_warp`). The published conventions
            ``corner`` and ``half_pixel`` see zeros (the mean colour) outside the frame; ``exact``, for new trainings,
            sees the border repeated.
        mean: Red, green and blue in [0, 1], subtracted before the network and added after it.
    """

    warp_convention: WarpConvention = "exact"
    mean: tuple[float, float, float] = ECHO_MEAN

    def __post_init__(self) -> None:
        if self.warp_convention not in get_args(WarpConvention):
            choices = ", ".join(get_args(WarpConvention))
            raise UsageError(f"warp convention {self.warp_convention!r} is none of {choices}")
        if len(self.mean) != 3 or not all(math.isfinite(level) for level in self.mean):
            raise UsageError(f"the mean colour is three finite numbers, red, green and blue, not {self.mean!r}")

    @property
    def warp_padding(self) -> WarpPadding:
        """What a warp sees outside the frame."""
        return "border" if self.warp_convention == "exact" else "zeros"


class Pair(NamedTuple):
    """A pair of frames and what follows from it alone.

    Attributes:
        frame0: First frame less the mean, ``(B, 3, H, W)``.
        frame1: Second frame less the mean.
        flow01: Flow from the first to the second frame, ``(B, 2, H, W)`` in pixels, columns first.
        flow10: Flow from the second to the first frame.
    """

    frame0: Tensor
    frame1: Tensor
    flow01: Tensor
    flow10: Tensor


class Flows(NamedTuple):
    """Where the frame at each time comes from; `T` = pairs x times, the times of one pair side by side.

    Attributes:
        to_0: Flow from the time to the first frame, ``(T, 2, H, W)`` in pixels, columns first.
        to_1: Flow from the time to the second frame.
        visible_0: How far the first frame is to be believed, in (0, 1), ``(T, 1, H, W)``; the rest is the second's.
    """

    to_0: Tensor
    to_1: Tensor
    visible_0: Tensor


class Blend(NamedTuple):
    """What a frame is mixed of; `T` as of :class:`Flows`.

    Attributes:
        warped_0: First frame less the mean, brought to the time, ``(T, 3, H, W)``.
        warped_1: Second frame less the mean, brought to the time.
        share_0: Share of the first in the mixture, in (0, 1), ``(T, 1, H, W)``.
    """

    warped_0: Tensor
    warped_1: Tensor
    share_0: Tensor


class SuperSlomo(nn.Module):
    """Frames at any times between two, from flow, refined flow and visibility.

    Example:
        >>> network = SuperSlomo(SuperSlomoConfig(warp_convention="half_pixel"))
        >>> network(torch.rand(1, 3, 32, 64), torch.rand(1, 3, 32, 64), [0.25, 0.5]).shape
        torch.Size([1, 2, 3, 32, 64])

    Source: Jiang et al., CVPR 2018, equations 1 to 5.
    """

    def __init__(self, config: SuperSlomoConfig | None = None) -> None:
        super().__init__()
        self.config = config or SuperSlomoConfig()
        self.flow = UNet(6, 4)  # state_dictFC: "flow computation"
        self.refine = UNet(20, 5)  # state_dictAT: "arbitrary time"
        self.register_buffer("mean", torch.tensor(self.config.mean).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor

    def forward(self, frame0: Tensor, frame1: Tensor, times: Sequence[float] | Tensor) -> Tensor:
        """Interpolate.

        Args:
            frame0: First frame, ``(B, 3, H, W)``, red, green, blue in [0, 1]; sides multiples of 32.
            frame1: Second frame.
            times: N times between 0 (first frame) and 1 (second), for all pairs or, ``(B, N)``, each pair's own.

        Returns:
            ``(B, N, 3, H, W)``, in [0, 1] up to rounding where frames are, and not clamped.

        Raises:
            ValueError: Illegal shapes, sides, dtypes or times.
        """
        return self.decode(self.encode(frame0, frame1), times)

    def encode(self, frame0: Tensor, frame1: Tensor) -> Pair:
        """Compute what depends on the pair alone (arguments and errors as of :meth:`forward`)."""
        check_pair(frame0, frame1, multiple=32)
        frame0, frame1 = frame0 - self.mean, frame1 - self.mean
        flow01, flow10 = self.flow(torch.cat((frame0, frame1), dim=1)).split(2, dim=1)
        return Pair(frame0, frame1, flow01, flow10)

    def decode(self, pair: Pair, times: Sequence[float] | Tensor) -> Tensor:
        """Interpolate at `times` what :meth:`encode` gave; all times run as one batch."""
        t = times_of_pairs(times, pair.frame0)
        blend = self.blend(pair, t, self.flows(pair, t))
        made = blend.share_0 * blend.warped_0 + (1 - blend.share_0) * blend.warped_1
        return by_pair(made + self.mean, t.shape[-1])

    def blend(self, pair: Pair, times: Sequence[float] | Tensor, flows: Flows) -> Blend:
        """Return what the frames at `times` are mixed of, given the flows there (equation 5)."""
        t = times_of_pairs(times, pair.frame0)
        weight0 = (1 - _column(t, pair)) * flows.visible_0
        weight1 = _column(t, pair) * (1 - flows.visible_0)
        frame0, frame1 = each_time(pair.frame0, t.shape[-1]), each_time(pair.frame1, t.shape[-1])
        return Blend(self.warp(frame0, flows.to_0), self.warp(frame1, flows.to_1), weight0 / (weight0 + weight1))

    def flows(self, pair: Pair, times: Sequence[float] | Tensor) -> Flows:
        """Return the refined flows and the visibility at `times`, without the frames they make."""
        t = times_of_pairs(times, pair.frame0)
        to_0, to_1 = flows_at(pair, t)
        frame0, frame1, flow01, flow10 = (each_time(item, t.shape[-1]) for item in pair)
        warped0, warped1 = self.warp(frame0, to_0), self.warp(frame1, to_1)
        stacked = torch.cat((frame0, frame1, flow01, flow10, to_1, to_0, warped1, warped0), dim=1)
        change_0, change_1, logit = self.refine(stacked).split((2, 2, 1), dim=1)
        return Flows(to_0 + change_0, to_1 + change_1, torch.sigmoid(logit))

    def warp(self, frame: Tensor, flow: Tensor) -> Tensor:
        """Sample `frame` where `flow` points, in the convention that the weights were trained in."""
        config = self.config
        return backward_warp(frame, flow, convention=config.warp_convention, padding=config.warp_padding)


def flows_at(pair: Pair, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return the flows from `times` to the first and to the second frame, motion taken as linear (equation 4)."""
    t = _column(times, pair)
    flow01, flow10 = each_time(pair.flow01, times.shape[-1]), each_time(pair.flow10, times.shape[-1])
    to_0 = -t * (1 - t) * flow01 + t**2 * flow10
    to_1 = (1 - t) ** 2 * flow01 - t * (1 - t) * flow10
    return to_0, to_1


def _column(times: Tensor, pair: Pair) -> Tensor:
    """Return `times` for each pair as ``(T, 1, 1, 1)``."""
    return times.expand(pair.frame0.shape[0], times.shape[-1]).reshape(-1, 1, 1, 1)


class UNet(nn.Module):
    """Five halvings and five doublings with skips; leaky ReLU after every convolution, the last included.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, 32, 7, padding=3)
        self.conv2 = nn.Conv2d(32, 32, 7, padding=3)
        self.down1 = Down(32, 64, 5)
        self.down2 = Down(64, 128, 3)
        self.down3 = Down(128, 256, 3)
        self.down4 = Down(256, 512, 3)
        self.down5 = Down(512, 512, 3)
        self.up1 = Up(512, 512)
        self.up2 = Up(512, 256)
        self.up3 = Up(256, 128)
        self.up4 = Up(128, 64)
        self.up5 = Up(64, 32)
        self.conv3 = nn.Conv2d(32, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channels_in, H, W)`` to ``(B, channels_out, H, W)``; sides must be multiples of 32."""
        s1 = _leaky(self.conv2(_leaky(self.conv1(x))))
        s2 = self.down1(s1)
        s3 = self.down2(s2)
        s4 = self.down3(s3)
        s5 = self.down4(s4)
        x = self.down5(s5)
        x = self.up1(x, s5)
        x = self.up2(x, s4)
        x = self.up3(x, s3)
        x = self.up4(x, s2)
        x = self.up5(x, s1)
        return _leaky(in_float32(self.conv3, x))


class Down(nn.Module):
    """Halve by the mean of 2 x 2, then two convolutions of side `kernel`."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(channels_out, channels_out, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channels_in, h, w)`` to ``(B, channels_out, h / 2, w / 2)``."""
        return _leaky(self.conv2(_leaky(self.conv1(F.avg_pool2d(x, 2)))))


class Up(nn.Module):
    """Double bilinearly, convolve, join the skip of that size, convolve."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv2d(2 * channels_out, channels_out, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map ``(B, channels_in, h, w)`` and a skip ``(B, channels_out, 2h, 2w)`` to the shape of the skip."""
        # One name for all: the doubled map is twice the rest together, and goes as soon as it was looked at.
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = _leaky(self.conv1(x))
        return _leaky(self.conv2(torch.cat((x, skip), dim=1)))


def _leaky(x: Tensor) -> Tensor:
    # In place: a convolution needs its input for the backward pass, never its output.
    return F.leaky_relu_(x, 0.1)
