"""What EDVR-STF is made of, and the aligned variants of SWIN-XVR with it: features, alignment and fusion of frames.

Wang et al., "EDVR: video restoration with enhanced deformable convolutional networks", CVPR workshops 2019, with a
second stem for frames of a sharper camera: Tang et al., J. Synchrotron Radiation 32, 2025. Attribute names follow the
published checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.deformable import deform_conv2d
from .frames import in_float32

_NAMES = ("l1", "l2", "l3")


class Levels(NamedTuple):
    """Maps of frames at three sizes.

    Attributes:
        full: ``(..., F, h, w)``.
        half: ``(..., F, h / 2, w / 2)``.
        quarter: ``(..., F, h / 4, w / 4)``.
    """

    full: Tensor
    half: Tensor
    quarter: Tensor

    def folded(self, frames: int) -> Levels:
        """Fold ``(B T, ...)`` to ``(B, T, ...)``."""
        return Levels(*(level.view(-1, frames, *level.shape[1:]) for level in self))

    @staticmethod
    def joined(parts: Sequence[Levels]) -> Levels:
        """Concatenate ``(N, ...)``."""
        return Levels(*(torch.cat(same) for same in zip(*parts, strict=True)))


class Following(NamedTuple):
    """What the kernels that tell offsets make of the second of two frames.

    Attributes:
        levels: Those at each size.
        cascade: Those at full size that tell again.
    """

    levels: Levels
    cascade: Tensor

    def folded(self, frames: int) -> Following:
        """Fold ``(B T, ...)`` to ``(B, T, ...)``."""
        return Following(self.levels.folded(frames), self.cascade.view(-1, frames, *self.cascade.shape[1:]))


class Features(NamedTuple):
    """What is computed of a frame once, for all targets that it helps to make.

    Attributes:
        levels: Its features.
        leading: What the kernels that tell offsets make of them, before those of the other frame are added.
    """

    levels: Levels
    leading: Levels

    def at(self, frames: Sequence[Sequence[int]] | Tensor) -> Features:
        """Return ``(B, T, ...)``: of N frames the T that each of B targets needs, by their indices ``(B, T)``."""
        index = torch.as_tensor(frames, device=self.levels.full.device)
        return Features(*(Levels(*(level[index] for level in part)) for part in self))

    def folded(self, frames: int) -> Features:
        """Fold ``(B T, ...)`` to ``(B, T, ...)``."""
        return Features(self.levels.folded(frames), self.leading.folded(frames))

    @staticmethod
    def joined(parts: Sequence[Features]) -> Features:
        """Return the features of frames that were computed apart, ``(N, ...)``, as those of one sequence."""
        return Features(*(Levels.joined(same) for same in zip(*parts, strict=True)))


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate frames ``(B, T, F, h, w)`` along T, with channels last in memory as each of them has it."""
    return torch.cat([part.permute(0, 1, 3, 4, 2) for part in parts], dim=1).permute(0, 1, 4, 2, 3)


def conv(channels_in: int, channels_out: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps the size, or halves it."""
    return nn.Conv2d(channels_in, channels_out, side, stride=stride, padding=side // 2)


def active(x: Tensor) -> Tensor:
    """Apply the leaky ReLU of these networks, in place."""
    return F.leaky_relu_(x, 0.1)


def doubled(x: Tensor) -> Tensor:
    """Double the sides, bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Residual(nn.Module):
    """Two convolutions on top of what came."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(features, features), conv(features, features)
        for layer in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            layer.weight.data.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, F, h, w)``."""
        made: Tensor = self.conv2(F.relu_(self.conv1(x)))
        return made.add_(x)


class DeformablePack(nn.Module):
    """A modulated deformable 3 x 3 convolution whose taps another map moves."""

    def __init__(self, features: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, features, 3, 3))
        self.bias = nn.Parameter(torch.empty(features))
        self.conv_offset = conv(features, 27 * groups)
        nn.init.uniform_(self.weight, -1 / math.sqrt(9 * features), 1 / math.sqrt(9 * features))
        for still in (self.bias, self.conv_offset.weight, self.conv_offset.bias):
            nn.init.zeros_(still)  # type: ignore[arg-type]

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Map ``(B, F, h, w)``, its taps moved and weighted by what `guide` of the same shape tells."""
        told = in_float32(self.conv_offset, guide)
        shifts = told.shape[1] // 3 * 2
        return deform_conv2d(x, told[:, :shifts], told[:, shifts:].sigmoid(), self.weight, self.bias, padding=1)


class Alignment(nn.Module):
    """Features of frames moved onto those of another, from a quarter of the size up (pyramid, cascade, deformable).

    Offsets are told by kernels over two joined maps. Such a kernel is applied to each map apart, in two halves, and
    the results are added: a map is then convolved once, however many others it is joined with.

    Source: Wang et al., 2019, section 3.2.
    """

    def __init__(self, features: int, groups: int) -> None:
        super().__init__()
        names, upper = ("l3", "l2", "l1"), ("l2", "l1")
        twice = 2 * features
        self.offset_conv1 = nn.ModuleDict({name: conv(twice, features) for name in names})
        self.offset_conv2 = nn.ModuleDict({name: conv(features if name == "l3" else twice, features) for name in names})
        self.offset_conv3 = nn.ModuleDict({name: conv(features, features) for name in upper})
        self.dcn_pack = nn.ModuleDict({name: DeformablePack(features, groups) for name in names})
        self.feat_conv = nn.ModuleDict({name: conv(twice, features) for name in upper})
        self.cas_offset_conv1 = conv(twice, features)
        self.cas_offset_conv2 = conv(features, features)
        self.cas_dcnpack = DeformablePack(features, groups)

    def leading(self, levels: Levels) -> Levels:
        """Return what offsets take from the maps that come first, `levels` of ``(N, F, h, w)``."""
        pairs = zip(_NAMES, levels, strict=True)
        return Levels(*(leading_half(self.offset_conv1[name], level) for name, level in pairs))

    def following(self, levels: Levels) -> Following:
        """Return what offsets take from the maps that come second, `levels` of ``(N, F, h, w)``."""
        pairs = zip(_NAMES, levels, strict=True)
        told = Levels(*(following_half(self.offset_conv1[name], level) for name, level in pairs))
        return Following(told, following_half(self.cas_offset_conv1, levels.full))

    def forward(self, levels: Levels, leading: Levels, following: Following) -> Tensor:
        """Move features.

        Args:
            levels: Those of T frames, ``(B, T, F, h, w)`` and smaller.
            leading: As of :meth:`leading`, ``(B, T or 1, F, h, w)`` and smaller.
            following: As of :meth:`following`, alike.

        Returns:
            ``(B, T, F, h, w)``.
        """
        told = [active((a + b).flatten(0, 1)) for a, b in zip(leading, following.levels, strict=True)]
        guide = active(self.offset_conv2["l3"](told[2]))
        moved = active(self.dcn_pack["l3"](levels[2].flatten(0, 1), guide))
        for name, index in (("l2", 1), ("l1", 0)):
            guide = active(self.offset_conv2[name](torch.cat((told[index], doubled(guide).mul_(2)), dim=1)))
            guide = active(self.offset_conv3[name](guide))
            here = self.dcn_pack[name](levels[index].flatten(0, 1), guide)
            moved = self.feat_conv[name](torch.cat((here, doubled(moved)), dim=1))
            if name == "l2":
                moved = active(moved)
        again = leading_half(self.cas_offset_conv1, moved).view(levels.full.shape) + following.cascade
        guide = active(self.cas_offset_conv2(active(again.flatten(0, 1))))
        return active(self.cas_dcnpack(moved, guide)).view(levels.full.shape)


def leading_half(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply the half of a kernel that meets the first of two joined maps."""
    assert isinstance(layer, nn.Conv2d)
    return F.conv2d(x, layer.weight[:, : x.shape[1]], padding=layer.padding)


def following_half(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply the half of a kernel that meets the second of two joined maps, and the bias."""
    assert isinstance(layer, nn.Conv2d)
    return F.conv2d(x, layer.weight[:, -x.shape[1] :], layer.bias, padding=layer.padding)


class Attention(nn.Module):
    """Aligned frames made one, each place of each as strong as it is like the reference (temporal, then spatial).

    Source: Wang et al., 2019, section 3.3.
    """

    def __init__(self, features: int, frames: int, reference: int) -> None:
        super().__init__()
        self.reference = reference
        self.temporal_attn1, self.temporal_attn2 = conv(features, features), conv(features, features)
        self.feat_fusion = conv(frames * features, features, 1)
        self.spatial_attn1 = conv(frames * features, features, 1)
        self.spatial_attn2 = conv(2 * features, features, 1)
        self.spatial_attn3 = conv(features, features)
        self.spatial_attn4 = conv(features, features, 1)
        self.spatial_attn5 = conv(features, features)
        self.spatial_attn_l1 = conv(features, features, 1)
        self.spatial_attn_l2 = conv(2 * features, features)
        self.spatial_attn_l3 = conv(features, features)
        self.spatial_attn_add1, self.spatial_attn_add2 = conv(features, features, 1), conv(features, features, 1)

    def forward(self, aligned: Tensor) -> tuple[Tensor, Tensor]:
        """Make one of T frames.

        Args:
            aligned: ``(B, T, F, h, w)``.

        Returns:
            ``(B, F, h, w)``, and how like the reference each frame is on the whole, ``(B, T)``.
        """
        wanted = self.temporal_attn1(aligned[:, self.reference])
        offered = self.temporal_attn2(aligned.flatten(0, 1)).view(aligned.shape)
        likeness = torch.linalg.vecdot(offered, wanted[:, None], dim=2)
        shares = likeness.sigmoid()[:, :, None]
        weighted = torch.cat([aligned[:, k] * shares[:, k] for k in range(aligned.shape[1])], dim=1)
        fused = active(self.feat_fusion(weighted))

        places = active(self.spatial_attn2(pooled(active(self.spatial_attn1(weighted)))))
        coarse = active(self.spatial_attn_l2(pooled(active(self.spatial_attn_l1(places)))))
        coarse = doubled(active(self.spatial_attn_l3(coarse)))
        places = active(self.spatial_attn3(places)) + coarse
        places = self.spatial_attn5(doubled(active(self.spatial_attn4(places))))
        added = self.spatial_attn_add2(active(self.spatial_attn_add1(places)))
        return torch.addcmul(added, fused, places.sigmoid(), value=2), likeness.mean(dim=(2, 3))


def pooled(x: Tensor) -> Tensor:
    """Halve the sides, by maximum and by mean (zeros beyond the sides counted), joined: ``(B, 2 F, h / 2, w / 2)``."""
    return torch.cat((F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1)), dim=1)


class FrameEncoder(nn.Module):
    """A stem for frames of each camera, and by option the alignment of their features: the base of both families."""

    def __init__(self, features: int, *, extracted: int = 0, groups: int = 0) -> None:
        super().__init__()
        self.conv_first, self.conv_first_hi = conv(1, features), conv(1, features)
        self.conv1_hi, self.conv2_hi = conv(features, features), conv(features, features)
        if groups:
            self.feature_extraction = nn.Sequential(*(Residual(features) for _ in range(extracted)))
            self.conv_l2_1, self.conv_l2_2 = conv(features, features, stride=2), conv(features, features)
            self.conv_l3_1, self.conv_l3_2 = conv(features, features, stride=2), conv(features, features)
            self.pcd_align = Alignment(features, groups)

    def stem(self, coarse: Tensor) -> Tensor:
        """Map coarse frames ``(N, 1, h, w)`` to ``(N, F, h, w)``."""
        return active(self.conv_first(coarse.to(memory_format=torch.channels_last)))

    def sharp_stem(self, sharp: Tensor) -> Tensor:
        """Map sharp frames ``(N, 1, 4h, 4w)`` to ``(N, F, h, w)``.

        Its maps are sixteen times as large as any other: without gradients frames follow one another, for the memory.
        """
        if sharp.shape[0] > 1 and not torch.is_grad_enabled():
            return torch.cat([self.sharp_stem(frame) for frame in torch.split(sharp, 1)])
        x = active(self.conv_first_hi(sharp.to(memory_format=torch.channels_last)))
        x = F.max_pool2d(active(self.conv1_hi(x)), 3, 2, 1)
        return F.max_pool2d(active(self.conv2_hi(x)), 3, 2, 1)

    def pyramid(self, stemmed: Tensor) -> Levels:
        """Map what a stem made to features at three sizes."""
        full = self.feature_extraction(stemmed)
        half = active(self.conv_l2_2(active(self.conv_l2_1(full))))
        return Levels(full, half, active(self.conv_l3_2(active(self.conv_l3_1(half)))))


def upsampled(x: Tensor) -> Tensor:
    """Turn each four channels into 2 x 2 pixels."""
    return F.pixel_shuffle(x, 2)


def check_cameras(coarse: Tensor, sharp: Tensor, *, frames: tuple[int, int], multiple: int) -> None:
    """Refuse frames that a network of two cameras cannot take.

    Args:
        coarse: ``(B, T, 1, h, w)``.
        sharp: ``(B, S, 1, 4h, 4w)``.
        frames: T and S.
        multiple: What h and w must be a multiple of.

    Raises:
        ValueError: They are other than that. A method pads and crops; a network never does.
    """
    if coarse.ndim != 5 or coarse.shape[1:3] != (frames[0], 1):
        raise ValueError(f"coarse frames (batch, {frames[0]}, 1, rows, columns) are needed, not {tuple(coarse.shape)}")
    batch, _, _, rows, columns = coarse.shape
    wanted = (batch, frames[1], 1, 4 * rows, 4 * columns)
    if tuple(sharp.shape) != wanted:
        raise ValueError(f"sharp frames {wanted}, four times as fine, are needed, not {tuple(sharp.shape)}")
    if not coarse.is_floating_point() or coarse.dtype != sharp.dtype:
        raise ValueError(f"floating frames of one dtype are needed, not {coarse.dtype} and {sharp.dtype}")
    if min(rows, columns) < multiple or rows % multiple or columns % multiple:
        raise ValueError(f"coarse rows and columns must be multiples of {multiple}, not {rows} x {columns}: pad, crop")
