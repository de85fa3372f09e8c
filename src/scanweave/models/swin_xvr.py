"""SWIN-XVR: the sharp frame at the time of coarse frames by attention among those and sharp ones before and after.

Tang et al., Frontiers in High Performance Computing, 2025, after Liu et al., "Video Swin transformer", 2022. Attribute
names follow the published checkpoints, so that those load strictly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .edvr_modules import Alignment, FrameEncoder, Levels, active, check_cameras, conv
from .frames import in_float32
from .swin_blocks import Blocks, Ending, Sides, Stage, ending, frames_of, tokens_of


@dataclass(frozen=True, slots=True)
class SwinXvrConfig:
    """What the published networks differ in; the defaults are those of the published training configuration.

    Attributes:
        variant: Whether the middle coarse frame is made sharp, or each one.
        width: Length of a token.
        heads: Heads of attention in each stage; they divide `width`.
        depths: Blocks of each stage.
        window: Frames, rows and columns of a window.
        ratio: Of the perceptrons' hidden layer to `width`.
        ending: How many convolutions end a stage.
        ending_side: Side of their kernels.
        upsampled: Channels while the size is raised.
        features: Channels of the frames' features: `width`, unless `adapted`.
        aligned: Whether features are aligned by deformable convolutions before, and in a video led back after.
        adapted: Whether features are projected to `width`, and in a video back.
        groups: Groups of channels whose taps move together.
        extracted: Residual blocks on each frame before alignment.
        coarse: Coarse frames, an odd number.
        sharp: Sharp frames.
        drop: Chance at which the last block is left out in training (stochastic depth, rising from 0).
    """

    variant: Literal["image", "video"] = "image"
    width: int = 192
    heads: tuple[int, ...] = (3, 3, 3, 3)
    depths: tuple[int, ...] = (2, 2, 18, 2)
    window: Sides = (5, 8, 8)
    ratio: float = 2.0
    ending: Ending = "1conv"
    ending_side: int = 3
    upsampled: int = 64
    features: int = 192
    aligned: bool = False
    adapted: bool = False
    groups: int = 8
    extracted: int = 5
    coarse: int = 3
    sharp: int = 2
    drop: float = 0.2

    def __post_init__(self) -> None:
        sizes = (self.width, *self.heads, *self.depths, *self.window, self.features, self.groups, self.sharp)
        if min(sizes) < 1 or self.extracted < 0 or self.upsampled < 1 or len(self.heads) != len(self.depths):
            raise UsageError("swin-xvr needs sizes of at least one, and heads for each stage")
        if any(self.width % heads for heads in self.heads):
            raise UsageError(f"tokens of {self.width} cannot be shared by {self.heads} heads")
        if self.variant not in ("image", "video") or self.ending not in ("0conv", "1conv", "3conv"):
            raise UsageError("swin-xvr has variant image or video, and ending 0conv, 1conv or 3conv")
        if not self.adapted and self.features != self.width:
            raise UsageError(f"features of {self.features} are no tokens of {self.width}", remedy="choose adapted=True")
        if self.aligned and self.features % self.groups:
            raise UsageError(f"{self.features} features cannot be in {self.groups} groups", remedy="choose a divisor")
        if self.coarse < 1 or self.coarse % 2 == 0 or self.ending_side % 2 == 0 or not 0 <= self.drop < 1:
            raise UsageError("swin-xvr needs odd coarse frames, odd kernels, and a chance of less than one")


DUAL_DETECTOR = SwinXvrConfig(width=384, features=384, heads=(6, 6, 6, 6), window=(5, 4, 4))
"""The published network for experiments with two detectors."""


class SwinXvr(FrameEncoder):
    """Sharp frames from coarse and sharp ones.

    Example:
        >>> import torch
        >>> small = SwinXvrConfig(width=16, features=16, heads=(2,), depths=(2,), window=(5, 4, 4), variant="video")
        >>> SwinXvr(small)(torch.rand(1, 3, 1, 8, 12), torch.rand(1, 2, 1, 32, 48)).shape
        torch.Size([1, 3, 1, 32, 48])

    Source: Tang et al., Frontiers in High Performance Computing, 2025.
    """

    def __init__(self, config: SwinXvrConfig | None = None) -> None:
        config = config or SwinXvrConfig()
        features, width = config.features, config.width
        super().__init__(features, extracted=config.extracted, groups=config.groups if config.aligned else 0)
        self.config = config
        if config.adapted:
            self.channel_projection = conv(features, width, 1)
        self.layers = nn.ModuleList(
            Stage(
                Blocks(width, heads, config.window, int(width * config.ratio), drops),
                ending(config.ending, width, config.ending_side),
            )
            for heads, drops in zip(config.heads, chances(config.depths, config.drop), strict=True)
        )
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = ending(config.ending, width, config.ending_side)
        back = config.variant == "video" and config.adapted
        kept = config.upsampled
        self.conv_before_upsample = nn.Sequential(conv(features if back else width, kept), nn.LeakyReLU(0.01, True))
        self.upsample = nn.Sequential(
            conv(kept, 4 * kept), nn.PixelShuffle(2), conv(kept, 4 * kept), nn.PixelShuffle(2)
        )
        self.conv_last = conv(kept, 1)
        if back:
            self.channel_projection_postfusion = conv(width, features, 1)
        if config.variant == "video" and config.aligned:
            self._add_alignment_back()

    def _add_alignment_back(self) -> None:
        features = self.config.features
        for level in ("l2", "l3"):
            self.add_module(f"conv_{level}_1_postfusion", conv(features, features, stride=2))
            self.add_module(f"conv_{level}_2_postfusion", conv(features, features))
        self.pcd_align_postfusion = Alignment(features, self.config.groups)

    def forward(self, coarse: Tensor, sharp: Tensor) -> Tensor:
        """Make sharp frames.

        Args:
            coarse: ``(B, 3, 1, h, w)`` in [0, 1], one after the other; of any size, but that of the published windows
                alone has no zeros among its tokens. Where features are aligned, h and w are multiples of 4.
            sharp: ``(B, 2, 1, 4h, 4w)`` in [0, 1], before and after the middle coarse one.

        Returns:
            ``(B, 1, 4h, 4w)`` at the time of the middle coarse one, or ``(B, 3, 1, 4h, 4w)`` of a video; not clamped.

        Raises:
            ValueError: Illegal shapes.
        """
        config = self.config
        check_cameras(coarse, sharp, frames=(config.coarse, config.sharp), multiple=4 if config.aligned else 1)
        batch, middle = coarse.shape[0], config.coarse // 2
        stems = [self.stem(coarse.flatten(0, 1)), self.sharp_stem(sharp.flatten(0, 1))]
        frames = [stem.view(batch, -1, *stem.shape[1:]) for stem in stems]
        x = torch.cat(frames, dim=1).flatten(0, 1)
        levels = self.pyramid(x).folded(config.coarse + config.sharp) if config.aligned else None
        if levels is not None:
            x = self._aligned(levels).flatten(0, 1)
        x = self.body(self.channel_projection(x) if config.adapted else x, batch)
        if config.variant == "image":
            return self.raised(x.view(batch, -1, *x.shape[1:])[:, middle])
        x = self.channel_projection_postfusion(x) if config.adapted else x
        enhanced = x.view(batch, -1, *x.shape[1:])[:, : config.coarse]
        if levels is not None:
            enhanced = self._led_back(enhanced, levels)
        made = self.raised(enhanced.flatten(0, 1))
        return made.view(batch, -1, *made.shape[1:])

    def body(self, x: Tensor, batch: int) -> Tensor:
        """Map features of frames ``(B T, C, h, w)`` by the stages of attention, on top of what came."""
        tokens = tokens_of(x, batch)
        for stage in self.layers:
            tokens = stage(tokens)
        made: Tensor = self.conv_after_body(frames_of(self.norm(tokens)))
        return made + x

    def raised(self, x: Tensor) -> Tensor:
        """Map features ``(N, C, h, w)`` to images ``(N, 1, 4h, 4w)``."""
        return in_float32(self.conv_last, self.upsample(self.conv_before_upsample(x)))

    def _aligned(self, levels: Levels) -> Tensor:
        """Move the features of all frames ``(B, T, F, h, w)`` onto the middle one."""
        leading = self.pcd_align.leading(Levels(*(level.flatten(0, 1) for level in levels)))
        middle = Levels(*(self._middle(level) for level in levels))
        aligned: Tensor = self.pcd_align(
            levels, leading.folded(levels.full.shape[1]), self.pcd_align.following(middle).folded(1)
        )
        return aligned

    def _led_back(self, enhanced: Tensor, before: Levels) -> Tensor:
        """Move enhanced features of coarse frames, ``(B, 3, F, h, w)``, from the middle one back to where they were."""
        count = enhanced.shape[1]
        maps = [enhanced.flatten(0, 1)]
        for level in ("l2", "l3"):
            first, second = (self.get_submodule(f"conv_{level}_{step}_postfusion") for step in (1, 2))
            maps.append(active(second(active(first(maps[-1])))))
        align = self.pcd_align_postfusion
        own = Levels(*(level[:, :count].flatten(0, 1) for level in before))
        leading = align.leading(Levels(*(self._middle(level) for level in before))).folded(1)
        led: Tensor = align(Levels(*maps).folded(count), leading, align.following(own).folded(count))
        return led

    def _middle(self, x: Tensor) -> Tensor:
        return x[:, self.config.coarse // 2]


def chances(depths: tuple[int, ...], last: float) -> list[list[float]]:
    """Return the chances at which blocks are left out, rising evenly from 0 to that of the last.

    Example:
        >>> chances((2, 3), 0.4)
        [[0.0, 0.1], [0.2, 0.3, 0.4]]
    """
    total = sum(depths)
    rising = [round(last * index / max(total - 1, 1), 12) for index in range(total)]
    ends = [sum(depths[: stage + 1]) for stage in range(len(depths))]
    return [rising[end - depth : end] for depth, end in zip(depths, ends, strict=True)]
