"""The sampling rates, sizes and filters of Uni-COAL's levels, from the coarse to the image.

Karras et al., "Alias-free generative adversarial networks", 2021, section 3.2 and appendix C.1: from level to level
cutoff and stopband grow geometrically; the rate is the power of 2 that holds the stopband.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..ops.fir import Pad, kaiser_lowpass


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the network.

    Attributes:
        rate: Samples across the field of view.
        cutoff: Highest frequency kept, in cycles across the field of view.
        half_width: Half of the filter's transition.
        size: Samples of a feature map: the field of view and a margin on each side.
        channels: Channels of a feature map.
    """

    rate: int
    cutoff: float
    half_width: float
    size: int
    channels: int


@dataclass(frozen=True, slots=True)
class Passage:
    """How a layer goes from one level to another: factors, filters, and padding around a full convolution.

    Attributes:
        up: Factor to the rate at which the activation is taken.
        down: Factor from it to the rate that leaves.
        pad: At the rate of the activation.
        up_taps: Length of the filter before the activation, 1 for none.
        down_taps: Length of the filter after it, 1 for none.
        inside: The rate of the activation.
        source: The level that it comes from.
        target: The level that it goes to.
    """

    up: int
    down: int
    pad: Pad
    up_taps: int
    down_taps: int
    inside: int
    source: Level
    target: Level

    @classmethod
    def between(cls, source: Level, target: Level, *, kernel: int, taps: int, oversampled: int) -> Passage:
        """Plan a passage.

        Args:
            source: The level that it comes from.
            target: The level that it goes to.
            kernel: Side of the convolution.
            taps: Taps of a filter per factor of its rate; 0 filters nothing.
            oversampled: Factor from the higher of the rates to that of the activation.
        """
        inside = max(source.rate, target.rate) * oversampled
        up, down = inside // source.rate, inside // target.rate
        up_taps = taps * up if up > 1 and taps else 1
        down_taps = taps * down if down > 1 and taps else 1
        total = (target.size - 1) * down + 1 - (source.size + kernel - 1) * up + up_taps + down_taps - 2
        low = (total + up) // 2
        pad = (low, total - low, low, total - low)
        return cls(up, down, pad, up_taps, down_taps, inside, source, target)

    def filters(self, *, radial: bool = False) -> tuple[Tensor | None, Tensor | None]:
        """Design the filters before and after the activation; the latter radial if asked for."""
        levels = ((self.up_taps, self.source, False), (self.down_taps, self.target, radial))
        up, down = (
            kaiser_lowpass(taps, cutoff=level.cutoff, width=2 * level.half_width, rate=self.inside, radial=flag)
            for taps, level, flag in levels
        )
        return up, down


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What the levels follow from.

    Attributes:
        resolution: Side of the images.
        layers: How many layers, N; there are N + 1 levels.
        critical: How many of the last layers are sampled critically.
        first_cutoff: Cutoff of the first level.
        first_stopband: Its stopband.
        last_stopband: Stopband of the last level over its cutoff.
        margin: Samples on each side beyond the field of view.
        channel_base: Channels are half of this over the cutoff, at most `channel_max`.
        channel_max: The most channels anywhere.
        channels_out: Channels of the last level.
    """

    resolution: int
    layers: int
    critical: int
    first_cutoff: float
    first_stopband: float
    last_stopband: float
    margin: int
    channel_base: int
    channel_max: int
    channels_out: int

    def levels(self) -> list[Level]:
        """Return the levels from coarse to fine, all with their margin."""
        return [self._level(index) for index in range(self.layers + 1)]

    def _level(self, index: int) -> Level:
        share = min(index / (self.layers - self.critical), 1)
        highest = self.resolution / 2
        cutoff = self.first_cutoff * (highest / self.first_cutoff) ** share
        stopband = self.first_stopband * (highest * self.last_stopband / self.first_stopband) ** share
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, self.resolution)))
        half_width = max(stopband, rate / 2) - cutoff
        channels = round(min(self.channel_base / 2 / cutoff, self.channel_max))  # half to even
        if index == self.layers:
            channels = self.channels_out
        return Level(rate, cutoff, half_width, rate + 2 * self.margin, channels)
