"""MoSt-DSA: an encoder of what moves between two angiograms, and a head and refiner that run once per time.

Xu et al., "MoSt-DSA: Modeling Motion and Structural Interactions for Direct Multi-Frame Interpolation in DSA Images",
ECAI 2024. Attribute names follow the published checkpoints, so that those load strictly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..ops.convolution import Convolution, Doubling, Linear
from ..ops.warp import backward_warp, pointed_at, sample_at
from .frames import by_pair, check_pair, each_time, in_float32, times_of_pairs
from .lambda_layer import LambdaLayer, to_map, to_tokens


@dataclass(frozen=True, slots=True)
class MostDsaConfig:
    """Widths and depths; the defaults are those published.

    Attributes:
        width: Channels of the first stage, F; stages have F, 2F, 4F and 8F.
        depths: Convolutions in stages 1 to 3, interaction blocks in stage 4.
        heads: Queries per pixel in a lambda layer.
        key: Length of a query, k.
        intra: Context maps per key, u.
        context: Side of the square that a position lambda sees, r (odd).
        map_side: Side n of the one square map (8n x 8n pixels) that position lambdas learnt as a table serve; None
            for the published ones, which are learnt as filters and serve any size.
        mlp_ratio: Hidden width of a block's perceptron over its width.
    """

    width: int = 32
    depths: tuple[int, int, int, int] = (2, 2, 2, 4)
    heads: int = 4
    key: int = 16
    intra: int = 1
    context: int = 15
    map_side: int | None = None
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        counts = (self.width, *self.depths, self.heads, self.key, self.intra, self.context, self.mlp_ratio)
        if len(self.depths) != 4 or min(counts) < 1 or (self.map_side is not None and self.map_side < 1):
            raise UsageError(f"widths and depths must be positive, and depths four in number: {self}")
        if self.context % 2 == 0:
            raise UsageError(f"the context of a position lambda has an odd side, not {self.context}")
        if 8 * self.width % self.heads or 8 * self.width % self.depths[3]:
            raise UsageError(f"8 x width must be divisible by heads and by the last depth: {self}")


class Pair(NamedTuple):
    """A pair of frames and what the encoder found in it. Rows 0..B-1 of a feature are frame 0's, the rest frame 1's.

    Attributes:
        frame0: First frame, ``(B, 3, H, W)``.
        frame1: Second frame.
        appearance: Four levels of features, level l of ``(2B, 2^l F, H / 2^l, W / 2^l)``.
        motion: Motion maps of all interaction blocks, ``(2B, 8F, H / 8, W / 8)``.
    """

    frame0: Tensor
    frame1: Tensor
    appearance: tuple[Tensor, Tensor, Tensor, Tensor]
    motion: Tensor


class Flows(NamedTuple):
    """What the flow head says at each time, and what it makes before refinement.

    Attributes:
        flow: ``(B, N, 4, H, W)`` in pixels: columns and rows towards frame 0, then towards frame 1.
        mask: Share of frame 0 in the blend, in (0, 1), ``(B, N, 1, H, W)``.
        blend: The warped frames, blended and not refined, ``(B, N, 3, H, W)``.
    """

    flow: Tensor
    mask: Tensor
    blend: Tensor


class MostDsa(nn.Module):
    """Frames at any times between two angiograms.

    Example:
        >>> network = MostDsa()
        >>> network(torch.rand(1, 3, 16, 32), torch.rand(1, 3, 16, 32), [0.25, 0.5, 0.75]).shape
        torch.Size([1, 3, 3, 16, 32])

    Source: Xu et al., ECAI 2024, figure 2.
    """

    def __init__(self, config: MostDsaConfig | None = None) -> None:
        super().__init__()
        self.config = config or MostDsaConfig()
        self.feature_bone = Encoder(self.config)
        self.block = nn.ModuleList([FlowHead(self.config.width)])
        self.unet = Refiner(self.config.width)
        self.feature_bone.apply(_start_as_published)
        self.unet.apply(_start_as_published)

    def forward(
        self, frame0: Tensor, frame1: Tensor, times: Sequence[float] | Tensor, *, flow_scale: float = 1.0
    ) -> Tensor:
        """Interpolate.

        Args:
            frame0: First frame, ``(B, 3, H, W)``, blue, green, red in [0, 1]; sides multiples of 16.
            frame1: Second frame.
            times: N times between 0 (first frame) and 1 (second), for all pairs or, ``(B, N)``, each pair's own.
            flow_scale: Estimate flow and mask on frames resized by this factor (to sides that are multiples of 8), and
                refine at full size: for motion that is large in pixels.

        Returns:
            ``(B, N, 3, H, W)``, clamped to [0, 1] as published.

        Raises:
            ValueError: Illegal shapes, sides, dtypes, times or scale.
        """
        coarse = None if flow_scale == 1.0 else self.encode_reduced(frame0, frame1, flow_scale)
        return self.decode(self.encode(frame0, frame1), times, coarse=coarse)

    def flows(
        self, frame0: Tensor, frame1: Tensor, times: Sequence[float] | Tensor, *, flow_scale: float = 1.0
    ) -> Flows:
        """Return flow, mask and unrefined blend (arguments and errors as of :meth:`forward`)."""
        pair = self.encode_reduced(frame0, frame1, flow_scale)
        count = times_of_pairs(times, frame0).shape[-1]
        flow, logit = self.estimate(pair, times, size=frame0.shape[2:])
        warped0, warped1 = _warp_frames(frame0, frame1, flow, count)
        mask = torch.sigmoid(logit)
        blend = warped0 * mask + warped1 * (1 - mask)
        return Flows(by_pair(flow, count), by_pair(mask, count), by_pair(blend, count))

    def encode(self, frame0: Tensor, frame1: Tensor) -> Pair:
        """Compute what depends on the pair alone (arguments and errors as of :meth:`forward`)."""
        check_pair(frame0, frame1, multiple=16)
        return Pair(frame0, frame1, *self.feature_bone(frame0, frame1))

    def encode_reduced(self, frame0: Tensor, frame1: Tensor, scale: float) -> Pair:
        """Encode the pair resized by `scale`, to take the flow from (errors as of :meth:`forward`)."""
        check_pair(frame0, frame1, multiple=16)
        if scale != 1.0:
            rows, columns = (side * scale for side in frame0.shape[2:])
            if scale <= 0 or rows % 8 or columns % 8:
                raise ValueError(f"frames reduced to find the flow must have sides of 8n, not {rows} x {columns}")
            size = (int(rows), int(columns))
            frame0 = F.interpolate(frame0, size=size, mode="bilinear", align_corners=False)
            frame1 = F.interpolate(frame1, size=size, mode="bilinear", align_corners=False)
        return Pair(frame0, frame1, *self.feature_bone(frame0, frame1))

    def decode(self, pair: Pair, times: Sequence[float] | Tensor, *, coarse: Pair | None = None) -> Tensor:
        """Interpolate at `times` what :meth:`encode` gave; all times run as one batch.

        Args:
            pair: The encoded pair.
            times: As of :meth:`forward`.
            coarse: The same pair encoded at another size, to take flow and mask from.
        """
        flow, logit = self.estimate(coarse or pair, times, size=pair.frame0.shape[2:])
        return by_pair(self.refine(pair, flow, logit), times_of_pairs(times, pair.frame0).shape[-1])

    def estimate(self, pair: Pair, times: Sequence[float] | Tensor, *, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return flow and mask logit for frames of `size`, ``(T, 4, ...)`` and ``(T, 1, ...)``; T = pairs x times."""
        flow, logit = self.block[0](pair, times_of_pairs(times, pair.frame0))
        rows, columns = pair.frame0.shape[2:]
        if (rows, columns) == tuple(size):
            return flow, logit
        flow = F.interpolate(flow, size=tuple(size), mode="bilinear", align_corners=False) * (size[0] / rows)
        return flow, F.interpolate(logit, size=tuple(size), mode="bilinear", align_corners=False)

    def refine(self, pair: Pair, flow: Tensor, logit: Tensor) -> Tensor:
        """Warp frames and features by `flow`, blend by `logit`, refine: ``(T, 3, H, W)`` in [0, 1]."""
        count = flow.shape[0] // pair.frame0.shape[0]
        warped0, warped1 = _warp_frames(pair.frame0, pair.frame1, flow, count)
        frame0, frame1 = each_time(pair.frame0, count), each_time(pair.frame1, count)
        residual: Tensor = self.unet(
            _like(pair.appearance[0], torch.cat((frame0, frame1, warped0, warped1, logit, flow), dim=1)),
            pair.appearance,
            pointed_at(flow),
        )
        mask = torch.sigmoid(logit)
        return (warped0 * mask + warped1 * (1 - mask) + 2 * residual - 1).clamp(0, 1)


def _like(layout: Tensor, x: Tensor) -> Tensor:
    """Return `x` in the memory layout of `layout`, so that joining it to others of that layout is one plain copy."""
    channels_last = layout.is_contiguous(memory_format=torch.channels_last) and not layout.is_contiguous()
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


def _warp_frames(frame0: Tensor, frame1: Tensor, flow: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return (
        backward_warp(each_time(frame0, count), flow[:, :2]),
        backward_warp(each_time(frame1, count), flow[:, 2:]),
    )


def warp_features(features: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Warp one level of both frames' features.

    Args:
        features: A level of :class:`Pair`, ``(2B, C, h, w)``.
        places: Where the flows point, in pixels of the level, ``(T, 4, ...)``; T is a multiple of B: each pair's times
            side by side. Those of one tile do too.

    Returns:
        Frame 0's features and frame 1's, each ``(T, C, ...)``.
    """
    count = 2 * places.shape[0] // features.shape[0]
    features0, features1 = (each_time(half, count) for half in features.chunk(2))
    return (
        _like(features, sample_at(features0, places[:, :2])),
        _like(features, sample_at(features1, places[:, 2:])),
    )


class Encoder(nn.Module):
    """Convolutions on each frame, then blocks in which each frame's pixels query the other frame."""

    def __init__(self, config: MostDsaConfig) -> None:
        super().__init__()
        width = config.width
        self.block1 = ConvStage(3, width, config.depths[0])
        self.patch_embed2 = _conv_prelu(width, 2 * width, stride=2)
        self.block2 = ConvStage(2 * width, 2 * width, config.depths[1])
        self.patch_embed3 = _conv_prelu(2 * width, 4 * width, stride=2)
        self.block3 = ConvStage(4 * width, 4 * width, config.depths[2])
        self.patch_embed4 = CrossScaleEmbed(width)
        self.block4 = nn.ModuleList(InteractionBlock(config) for _ in range(config.depths[3]))
        self.norm4 = nn.LayerNorm(8 * width, eps=1e-6)

    def forward(self, frame0: Tensor, frame1: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """Return appearance and motion as of :class:`Pair`."""
        l0 = self.block1(torch.cat((frame0, frame1)))
        l1 = self.block2(self.patch_embed2(l0))
        l2 = self.block3(self.patch_embed3(l1))
        tokens = self.patch_embed4(l0, l1, l2)
        motions = []
        for block in self.block4:
            tokens, motion = block(tokens)
            motions.append(motion)
        l3 = to_map(self.norm4(tokens))
        return (l0, l1, l2, l3), torch.cat([to_map(motion) for motion in motions], dim=1)


class ConvStage(nn.Module):
    """`depth` convolutions of 3 x 3, each with a PReLU."""

    def __init__(self, channels_in: int, channels_out: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(depth):
            layers += _conv_prelu(channels_out if index else channels_in, channels_out)
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, channels_in, h, w)`` to ``(B, channels_out, h, w)``."""
        out: Tensor = self.conv(x)
        return out


class CrossScaleEmbed(nn.Module):
    """Tokens at 1/8 of the size from dilated looks at the three levels above."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels, width, 3, stride=stride, padding=dilation, dilation=dilation)
            for channels, stride, dilations in ((4 * width, 2, (1,)), (2 * width, 4, (1, 2)), (width, 8, (1, 2, 3, 4)))
            for dilation in dilations
        )
        self.proj = nn.Conv2d(7 * width, 8 * width, 1)
        self.norm = nn.LayerNorm(8 * width, eps=1e-5)

    def forward(self, l0: Tensor, l1: Tensor, l2: Tensor) -> Tensor:
        """Return tokens ``(2B, H / 8, W / 8, 8F)``."""
        looks = [layer(level) for layer, level in zip(self.layers, (l2, l1, l1, l0, l0, l0, l0), strict=True)]
        tokens: Tensor = self.norm(to_tokens(self.proj(torch.cat(looks, dim=1))))
        return tokens


class InteractionBlock(nn.Module):
    """A lambda layer between the frames, then a perceptron with a depth-wise convolution inside."""

    def __init__(self, config: MostDsaConfig) -> None:
        super().__init__()
        channels = 8 * config.width
        self.norm1 = nn.LayerNorm(channels, eps=1e-5)
        self.Lambda = LambdaLayer(
            channels,
            channels // config.depths[3],
            heads=config.heads,
            key=config.key,
            intra=config.intra,
            context=config.context,
            map_side=config.map_side,
        )
        self.norm2 = nn.LayerNorm(channels, eps=1e-5)
        self.mlp = Mlp(channels, config.mlp_ratio * channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return new tokens and motion, ``(2B, h, w, ...)``, for tokens ``(2B, h, w, C)``."""
        normal = self.norm1(x)
        appearance, motion = self.Lambda(normal)
        y = normal + appearance  # the skip starts from the normalised tokens, unlike in a transformer
        return y + self.mlp(self.norm2(y)), motion


class Mlp(nn.Module):
    """Widen, look at the 3 x 3 neighbours channel by channel, GELU, narrow."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(channels, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens ``(B, h, w, C)`` to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.dwconv(self.fc1(tokens))))
        return out


class DepthwiseConv(nn.Module):
    """3 x 3 convolution of each channel of tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens ``(B, h, w, C)`` to the same shape."""
        return to_tokens(self.dwconv(to_map(tokens)))


class FlowHead(nn.Module):
    """Flow and mask at a time, from motion scaled by that time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 4 * width
        self.conv = nn.Sequential(
            _conv_prelu(2 * width + 6, hidden), _conv_prelu(hidden, hidden), _conv_prelu(hidden, 5)
        )

    def forward(self, pair: Pair, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return flow ``(T, 4, H, W)`` in pixels and mask logit ``(T, 1, H, W)``; T = pairs x times."""
        frames = F.avg_pool2d(torch.cat((pair.frame0, pair.frame1), dim=1), 2)  # bilinear to half the size
        inputs = torch.cat((self.motion_at(pair, times), each_time(frames, times.shape[-1])), dim=1)
        first, second, last = self.conv
        half = in_float32(last, second(first(inputs)))
        out = F.interpolate(half, scale_factor=2.0, mode="bilinear", align_corners=False)
        return 2 * out[:, :4], out[:, 4:]

    def motion_at(self, pair: Pair, times: Tensor) -> Tensor:
        """Return scaled motion and appearance brought to half the frame's size, ``(T, 2F, H / 2, W / 2)``."""
        t = times.expand(pair.frame0.shape[0], times.shape[-1]).reshape(-1, 1, 1, 1)
        motion0, motion1, deep0, deep1 = (
            each_time(half, times.shape[-1]) for whole in (pair.motion, pair.appearance[3]) for half in whole.chunk(2)
        )
        stacked = torch.cat((t * motion0, (1 - t) * motion1, deep0, deep1), dim=1)
        # Two shuffles by 2 order the sub-pixels unlike one shuffle by 4.
        return F.pixel_shuffle(F.pixel_shuffle(stacked, 2), 2)


class Refiner(nn.Module):
    """U-Net that corrects the blend, with the warped features of both frames joined at each level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        c = 2 * width
        self.down0 = Down(17 + c, 2 * c)
        self.down1 = Down(4 * c, 4 * c)
        self.down2 = Down(8 * c, 8 * c)
        self.down3 = Down(16 * c, 16 * c)
        self.supple = Down(4 * c, 8 * c)
        self.up0 = _up(32 * c, 8 * c)
        self.up1 = _up(16 * c, 4 * c)
        self.up2 = _up(8 * c, 2 * c)
        self.up3 = _up(4 * c, c)
        self.conv = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, stacked: Tensor, appearance: Sequence[Tensor], places: Tensor) -> Tensor:
        """Return the residual in (0, 1), 1/2 meaning none.

        Args:
            stacked: Frames, warped frames, mask logit and flow, ``(T, 17, H, W)``.
            appearance: Features of :class:`Pair`; each level is warped where it is joined, since kept to the end the
                first alone would be a tenth of the memory.
            places: Where the flows point, ``(T, 4, H, W)`` in pixels of the whole frame. `stacked` may be a tile: its
                places still lead to features outside it.
        """
        s0 = self.down0([stacked, *warp_features(appearance[0], places)])
        places = halved(places)
        s1 = self.down1([s0, *warp_features(appearance[1], places)])
        places = halved(places)
        s2 = self.down2([s1, *warp_features(appearance[2], places)])
        deep = warp_features(appearance[3], halved(places))
        x = self.up0([self.down3([s2, *deep]), *(self.supple([half]) for half in deep)])
        x = self.up1([x, s2])
        x = self.up2([x, s1])
        parts = [x, s0]
        del x, s0, s1, s2  # what comes now is the peak of memory
        x = self.up3(parts)
        return torch.sigmoid(in_float32(self.conv, x))


def halved(places: Tensor) -> Tensor:
    """Return places for maps of half the size, in their pixels, whose centres lie between two of the larger ones."""
    return 0.5 * F.avg_pool2d(places, 2) - 0.25  # bilinear to half the size is the mean of 2 x 2


class Down(nn.Module):
    """Two convolutions, the first of which halves the size."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = Joining(*_conv_prelu(channels_in, channels_out, stride=2))
        self.conv2 = _conv_prelu(channels_out, channels_out)

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Map parts as of `Joining`, of `channels_in` channels in all, to ``(B, channels_out, h / 2, w / 2)``."""
        out: Tensor = self.conv2(self.conv1(parts))
        return out


class Joining(nn.Sequential):
    """A convolution of joined maps, then its activation; neither parts nor joined maps are kept longer than needed."""

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Map parts ``(B, ..., h, w)``, joined by channels; the list is emptied."""
        conv, activation = self
        joined = torch.cat(parts, dim=1)
        parts.clear()
        x = conv(joined)
        del joined
        out: Tensor = activation(x)
        return out


def _start_as_published(layer: nn.Module) -> None:
    """Draw the weights of a plain convolution or linear layer; other layers keep what PyTorch starts them with."""
    if isinstance(layer, nn.Conv2d):
        rows, columns = layer.kernel_size
        nn.init.normal_(layer.weight, std=math.sqrt(2 * layer.groups / (rows * columns * layer.out_channels)))
    elif isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02, a=-2, b=2)
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _conv_prelu(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(Convolution(channels_in, channels_out, 3, stride=stride, padding=1), nn.PReLU(channels_out))


def _up(channels_in: int, channels_out: int) -> Joining:
    return Joining(Doubling(channels_in, channels_out), nn.PReLU(channels_out))
