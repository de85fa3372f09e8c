"""EDVR-STF: the sharp frame at the time of the middle one of coarse frames, from those and sharp ones before and after.

Tang et al., J. Synchrotron Radiation 32, 432-441, 2025, after Wang et al., "EDVR", 2019. Attribute names follow the
published checkpoints, so that those load strictly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from .edvr_modules import (
    Attention,
    Features,
    FrameEncoder,
    Levels,
    Residual,
    active,
    check_cameras,
    conv,
    side_by_side,
    upsampled,
)
from .frames import in_float32


@dataclass(frozen=True, slots=True)
class EdvrStfConfig:
    """Sizes; the defaults are those published.

    Attributes:
        features: Channels of the features.
        groups: Groups of channels whose taps move together; they divide `features`.
        extracted: Residual blocks on each frame.
        reconstructed: Residual blocks on the fused features.
        coarse: Coarse frames, an odd number; the middle one is made sharp.
        sharp: Sharp frames.
        attention: Whether frames are weighted by how like the middle one they are; otherwise one 1 x 1 kernel joins.
    """

    features: int = 128
    groups: int = 8
    extracted: int = 5
    reconstructed: int = 40
    coarse: int = 3
    sharp: int = 2
    attention: bool = True

    def __post_init__(self) -> None:
        if min(self.features, self.groups, self.coarse, self.sharp) < 1 or min(self.extracted, self.reconstructed) < 0:
            raise UsageError("edvr-stf needs features, groups and frames of both cameras")
        if self.features % self.groups:
            raise UsageError(f"{self.features} features cannot be in {self.groups} groups", remedy="choose a divisor")
        if self.coarse % 2 == 0:
            raise UsageError(f"of {self.coarse} coarse frames none is in the middle", remedy="choose an odd number")


class Fused(NamedTuple):
    """What is made of frames.

    Attributes:
        image: ``(B, 1, 4h, 4w)``.
        likeness: How like the middle frame each frame is, coarse before sharp, ``(B, T)``; None without attention.
    """

    image: Tensor
    likeness: Tensor | None


class EdvrStf(FrameEncoder):
    """A sharp frame from coarse and sharp ones.

    Of a sequence, features of each frame are computed once, and then serve all targets::

        coarse, sharp = network.coarse_features(fast), network.sharp_features(slow)
        made = network.fuse(coarse.at([[3, 4, 5]]), sharp.at([[0, 1]]), fast[[4]])

    Example:
        >>> import torch
        >>> network = EdvrStf(EdvrStfConfig(features=8, groups=2, extracted=1, reconstructed=1))
        >>> network(torch.rand(1, 3, 1, 8, 12), torch.rand(1, 2, 1, 32, 48)).shape
        torch.Size([1, 1, 32, 48])

    Source: Tang et al., 2025, figure 2.
    """

    def __init__(self, config: EdvrStfConfig | None = None) -> None:
        config = config or EdvrStfConfig()
        features, frames = config.features, config.coarse + config.sharp
        super().__init__(features, extracted=config.extracted, groups=config.groups)
        self.config = config
        self.fusion = (
            Attention(features, frames, config.coarse // 2)
            if config.attention
            else conv(frames * features, features, 1)
        )
        self.reconstruction = nn.Sequential(*(Residual(features) for _ in range(config.reconstructed)))
        self.upconv1, self.upconv2 = conv(features, 4 * features), conv(features, 256)
        self.conv_hr, self.conv_last = conv(64, 64), conv(64, 1)

    def forward(self, coarse: Tensor, sharp: Tensor) -> Tensor:
        """Make sharp frames.

        Args:
            coarse: ``(B, 3, 1, h, w)`` in [0, 1], one after the other; h and w are multiples of 4.
            sharp: ``(B, 2, 1, 4h, 4w)`` in [0, 1], before and after the middle coarse one.

        Returns:
            ``(B, 1, 4h, 4w)`` at the time of the middle coarse one, not clamped.

        Raises:
            ValueError: Illegal shapes.
        """
        config = self.config
        check_cameras(coarse, sharp, frames=(config.coarse, config.sharp), multiple=4)
        slow = self.sharp_features(sharp.flatten(0, 1)).folded(config.sharp)
        fast = self.coarse_features(coarse.flatten(0, 1)).folded(config.coarse)
        return self.fuse(fast, slow, coarse[:, config.coarse // 2]).image

    def _encoded(self, stemmed: Tensor) -> Features:
        levels = self.pyramid(stemmed)
        return Features(levels, self.pcd_align.leading(levels))

    def coarse_features(self, frames: Tensor) -> Features:
        """Compute the features of coarse frames ``(N, 1, h, w)``, in [0, 1], h and w multiples of 4."""
        return self._encoded(self.stem(frames))

    def sharp_features(self, frames: Tensor) -> Features:
        """Compute the features of sharp frames ``(N, 1, 4h, 4w)``, in [0, 1], h and w multiples of 4."""
        return self._encoded(self.sharp_stem(frames))

    def fuse(self, coarse: Features, sharp: Features, middle: Tensor) -> Fused:
        """Make sharp frames of features.

        Args:
            coarse: Those of coarse frames, ``(B, 3, F, h, w)`` and smaller.
            sharp: Those of sharp frames, ``(B, 2, F, h, w)`` and smaller.
            middle: The middle ones of the coarse frames themselves, ``(B, 1, h, w)``.
        """
        reference = Levels(*(level[:, self.config.coarse // 2] for level in coarse.levels))
        following = self.pcd_align.following(reference).folded(1)
        aligned = side_by_side([self.pcd_align(part.levels, part.leading, following) for part in (coarse, sharp)])
        if self.config.attention:
            fused, likeness = self.fusion(aligned)
        else:
            fused, likeness = self.fusion(aligned.flatten(1, 2)), None
        x = self.reconstruction(fused)
        x = upsampled(active(self.upconv1(x)))
        x = upsampled(active(self.upconv2(x)))
        residual = in_float32(self.conv_last, active(self.conv_hr(x)))
        return Fused(residual + F.interpolate(middle, scale_factor=4, mode="bilinear", align_corners=False), likeness)
