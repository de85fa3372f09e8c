"""The published networks as methods: any size, depth and times; what depends on the pair alone computed once.

Frames are padded by repeating their border to multiples of 32 and cropped back, never stretched. A grey frame runs as
three equal channels and comes out as the mean of the three that the network gives, exactly; with random weights those
three differ by 0.18 on average (MoSt-DSA), since the last layer has a filter for each. Two equal frames have nothing
between them but themselves, and the network is not asked.

Measured against float32 with random weights: bfloat16 differs by 52 dB (MoSt-DSA, real angiograms) and 69 dB
(Super-SloMo, real echo), by 41 to 44 dB on noise; float16 by 58 dB or more. Tiles see as far as the U-Nets do (61 and
262 pixels): the same numbers up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import weights as catalogue
from ..devices import device_of, running
from ..errors import UsageError, WeightsError
from ..models import MostDsa, SuperSlomo, channels_last
from ..models.frames import each_time
from ..models.super_slomo import Pair as SlomoPair
from ..ops import WarpConvention, backward_warp, crop, pad, padding_to_multiple
from ..plan import plain
from ..weights.opening import Weights, digest, opened
from .acceleration import (
    Lowered,
    Precision,
    Tiled,
    finish,
    times_at_once,
    to_device,
    to_host,
    wrap,
)
from .augmentation import both_ways, turned
from .methods import Made, PairwiseMethod

FLOW_SCALES = (0.25, 0.5, 1.0, 2.0)
_SMALLEST_TILE = 64

Studied = Callable[[Tensor], Made]


@dataclass(frozen=True)
class NetworkMethod(PairwiseMethod):
    """Base of methods that are a network with weights.

    Attributes:
        weights: A file in its authors' container or ours, the name of one in the user's folder, or a network.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: Arithmetic of the wide convolutions. Warps, flows, normalisation and the last layers stay in float32.
        compile: Compile the wide convolutions (minutes at first, faster after; needs a C++ compiler on the CPU).
        tile: Side of the tiles that the U-Nets take frames in, ``auto`` (frames above 1024 squared only) or 0 (never).
        flow_scale: Find the motion on frames resized by this, for motion that is large in pixels.
        tta: Average with the pass on the pair turned by 180 degrees.
    """

    weights: Weights | None = None
    device: str = "auto"
    precision: Precision = "float32"
    compile: bool = False
    tile: Literal["auto"] | int = "auto"
    flow_scale: float = 1.0
    tta: bool = False

    architecture: ClassVar[str]
    lowered: ClassVar[tuple[str, ...]]
    tiled: ClassVar[tuple[str, ...]]
    margin: ClassVar[int]
    multiple: ClassVar[int]
    flow_multiple: ClassVar[int]
    blue_first: ClassVar[bool] = False
    one_set_of_times: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what no network can do.

        Raises:
            WeightsError: No weights.
            UsageError: A precision, tile or scale that there is not.
        """
        if self.weights is None:
            raise WeightsError(
                f"{self.architecture} runs on weights, and none were given", remedy="give --weights FILE"
            )
        if self.precision not in get_args(Precision):
            raise UsageError(f"precision {self.precision!r} is none of {', '.join(get_args(Precision))}")
        if self.tile != "auto" and self.tile != 0 and self.tile < _SMALLEST_TILE:
            raise UsageError(f"a tile of {self.tile!r}", remedy=f"give auto, 0, or pixels from {_SMALLEST_TILE}")
        if self.flow_scale not in FLOW_SCALES:
            choices = ", ".join(f"{scale:g}" for scale in FLOW_SCALES)
            raise UsageError(f"a flow scale of {self.flow_scale:g}", remedy=f"choose one of {choices}")

    @property
    def name(self) -> str:
        """The registry name, marked where the pass is augmented."""
        return f"{self.architecture}+tta" if self.tta else self.architecture

    def augmented(self) -> NetworkMethod:
        """Return the same with augmentation, which pads first and turns then, as the published program does."""
        return replace(self, tta=True)

    @property
    def given(self) -> Weights:
        """The weights, which are there."""
        assert self.weights is not None  # refused in the beginning
        return self.weights

    @property
    def overrides(self) -> dict[str, Any]:
        """What is said of the weights over what their file tells."""
        return {}

    @cached_property
    def network(self) -> nn.Module:
        """The network with its card, on its device, arranged as the options say.

        Raises:
            WeightsError: The file is damaged, hostile, or of another network.
            ResourceError: No such device.
        """
        if isinstance(self.given, nn.Module):
            return _arranged(self)
        path = catalogue.find(self.given)
        stamp = path.stat()
        return _arranged_file(replace(self, weights=path, tta=False), stamp.st_mtime_ns, stamp.st_size)

    def describe(self) -> dict[str, Any]:
        """Return name, options that change the numbers, and where the weights come from."""
        card = catalogue.card_of(self.network)
        told: dict[str, Any] = plain(
            {
                "name": self.name,
                "weights": card.origin,
                "weights_sha256": card.sha256 or digest(self.given),
                "trained_times": card.trained_times,
                "config": card.config,
                "precision": self.precision,
                "tile": self.tile,
                "flow_scale": self.flow_scale,
                "tta": self.tta,
            }
        )
        return told

    def cautions(self, times: Sequence[float]) -> list[str]:
        """Return what to know of frames made at `times`: what was decided of the weights, and times never trained."""
        card = catalogue.card_of(self.network)
        notes = []
        for field, decision in card.decisions.items():
            settle = "" if decision.sure else f"; --{field.replace('_', '-')} settles it"
            notes.append(f"{field.replace('_', ' ').capitalize()} {_short(decision.value)}: {decision.why}{settle}.")
        if self.precision == "float16" and device_of(self.device).type == "cpu":
            notes.append("Few processors reckon in float16: it may take a hundred times as long here as bfloat16.")
        unknown = card.untrained(sorted(set(times)))
        if unknown:
            notes.append(
                f"{card.origin} was trained for the times {_short(card.trained_times)} between two frames: what is "
                f"made at {_short(unknown)} is extrapolated."
            )
        if card.trained_times is None and self.one_set_of_times:
            notes.append(
                f"Nothing tells which times {card.origin} was trained for, and its kind serves no others well: the "
                "authors say it by a file name with Inf1, Inf2 or Inf3."
            )
        return notes

    def prepare_pair(self, first: Tensor, second: Tensor) -> Studied:
        """Encode the pair; what is made later shares it."""
        if torch.equal(first, second):
            return lambda times: _itself(first, len(times))
        return _Pair(self, first, second).at

    def study(self, frame0: Tensor, frame1: Tensor) -> Studied:
        """Encode two frames as the network has them, ``(1, 3, H, W)`` of legal sides on its device.

        Returns:
            A function from times ``(time,)`` there to frames, uncertainty and extras, uncropped and unclamped.
        """
        raise TypeError(f"{type(self).__name__} does not say how it studies a pair")


@dataclass(frozen=True)
class MostDsaMethod(NetworkMethod):
    """MoSt-DSA (Xu et al., ECAI 2024), for angiograms; its files know one set of times each.

    The uncertainty is the spread of the two warped frames under the blend's mask, ``sqrt(m (1 - m)) |w0 - w1|``, plus
    how far the refiner moved the blend: both 0 where the frames agree along the motion and nothing was refined.
    """

    architecture = "most-dsa"
    lowered = (
        *(f"feature_bone.{part}" for part in ("block1", "patch_embed2", "block2", "patch_embed3", "block3")),
        "unet",
    )
    tiled = ("unet",)
    margin = 64
    multiple = 16
    flow_multiple = 8
    blue_first = True
    one_set_of_times = True

    def study(self, frame0: Tensor, frame1: Tensor) -> Studied:
        """Encode the pair, and at another size if the motion is to be found there."""
        network = cast(MostDsa, self.network)
        pair = network.encode(frame0, frame1)
        seen = pair if self.flow_scale == 1 else network.encode_reduced(frame0, frame1, self.flow_scale)

        def at(times: Tensor) -> Made:
            flow, logit = network.estimate(seen, times, size=frame0.shape[2:])
            frames = network.refine(pair, flow, logit)
            share = torch.sigmoid(logit)
            warped0 = backward_warp(each_time(frame0, len(times)), flow[:, :2])
            warped1 = backward_warp(each_time(frame1, len(times)), flow[:, 2:])
            refined = (frames - torch.lerp(warped1, warped0, share)).abs().mean(dim=1, keepdim=True)
            doubt = _spread(warped0, warped1, share) + refined
            return Made(frames, doubt, {"flow_to_first": flow[:, :2], "flow_to_second": flow[:, 2:], "mask": share})

        return at


@dataclass(frozen=True)
class SuperSlomoMethod(NetworkMethod):
    """Super-SloMo (Jiang et al., CVPR 2018), as slow-motion echocardiography was published with.

    The uncertainty is the spread of the two warped frames under the shares that visibility and time give them,
    ``sqrt(s (1 - s)) |w0 - w1|``: 0 where both agree, or where only one is believed.

    Attributes:
        warp_convention: Where flows point (`scanweave.ops.backward_warp`); by default as the weights' origin decides.
        mean: Mean red, green and blue in [0, 1]; by default as the weights' origin decides.
    """

    warp_convention: WarpConvention | None = None
    mean: tuple[float, float, float] | None = None

    architecture = "super-slomo"
    lowered = ("flow", "refine")
    tiled = ("flow", "refine")
    margin = 288
    multiple = 32
    flow_multiple = 32

    @property
    def overrides(self) -> dict[str, Any]:
        """Convention and mean, where they are given."""
        given = {"warp_convention": self.warp_convention, "mean": self.mean}
        return {field: value for field, value in given.items() if value is not None}

    def study(self, frame0: Tensor, frame1: Tensor) -> Studied:
        """Find the flow between the frames, at another size if asked."""
        network = cast(SuperSlomo, self.network)
        pair = network.encode(frame0, frame1) if self.flow_scale == 1 else self._reduced(network, frame0, frame1)

        def at(times: Tensor) -> Made:
            flows = network.flows(pair, times)
            blend = network.blend(pair, times, flows)
            frames = torch.lerp(blend.warped_1, blend.warped_0, blend.share_0) + network.mean
            doubt = _spread(blend.warped_0, blend.warped_1, blend.share_0)
            extras = {"flow_to_first": flows.to_0, "flow_to_second": flows.to_1, "mask": flows.visible_0}
            return Made(frames, doubt, extras)

        return at

    def _reduced(self, network: SuperSlomo, frame0: Tensor, frame1: Tensor) -> SlomoPair:
        """Find the flow on resized frames and bring it to the size of the frames, in their pixels."""

        def resized(item: Tensor, scale: float) -> Tensor:
            return F.interpolate(item, scale_factor=scale, mode="bilinear", align_corners=False)

        small = network.encode(resized(frame0, self.flow_scale), resized(frame1, self.flow_scale))
        back = 1 / self.flow_scale
        flow01, flow10 = (resized(flow, back) * back for flow in (small.flow01, small.flow10))
        return SlomoPair(frame0 - network.mean, frame1 - network.mean, flow01, flow10)


class _Pair:
    """Two frames in a network's terms: colour order, sides and device; and back."""

    def __init__(self, method: NetworkMethod, first: Tensor, second: Tensor) -> None:
        rows, columns = first.shape[2:]
        self.padding = padding_to_multiple(rows, columns, max(32, round(method.flow_multiple / method.flow_scale)))
        self.grey = first.shape[1] == 1
        self.method = method
        self.device = next(method.network.parameters()).device
        with running():
            frames = [self._legal(frame) for frame in (first, second)]
            self.at_once = times_at_once(frames[0].shape[2] * frames[0].shape[3], self.device)
            self.upright = method.study(*frames)
            self.rotated = method.study(*(turned(frame) for frame in frames)) if method.tta else None

    def at(self, times: Tensor) -> Made:
        """Return what is made at `times`, on the CPU; a bounded number of times run as one batch."""
        with running():
            goes = [self._go(part) for part in torch.split(times, self.at_once)]
            finish(self.device)
        if len(goes) == 1:
            return goes[0]
        extras = {key: torch.cat([go.extras[key] for go in goes]) for key in goes[0].extras}
        return Made(torch.cat([go.frames for go in goes]), _joined([go.uncertainty for go in goes]), extras)

    def _go(self, times: Tensor) -> Made:
        sent = times.to(self.device)
        made = self.upright(sent)
        if self.rotated is not None:
            made = both_ways(made, self.rotated(sent))
        frames = made.frames.mean(dim=1, keepdim=True) if self.grey else made.frames
        frames = frames.flip(1) if self.method.blue_first else frames
        assert made.uncertainty is not None
        return Made(
            self._home(frames.clamp(0, 1)),
            self._home(made.uncertainty),
            {key: self._home(item) for key, item in made.extras.items()},
        )

    def _legal(self, frame: Tensor) -> Tensor:
        coloured = frame.expand(-1, 3, -1, -1)
        ordered = coloured.flip(1) if self.method.blue_first else coloured
        return to_device(pad(ordered, self.padding), self.device)

    def _home(self, maps: Tensor) -> Tensor:
        return to_host(crop(maps, self.padding))


def _itself(frame: Tensor, count: int) -> Made:
    size = (count, *frame.shape[1:])
    return Made(frame.expand(size).clone(), torch.zeros(count, 1, *frame.shape[2:]))


def _spread(warped0: Tensor, warped1: Tensor, share: Tensor) -> Tensor:
    """Return the standard deviation of two candidates of which the first has weight `share`, ``(T, 1, H, W)``."""
    return (share * (1 - share)).sqrt() * (warped0 - warped1).abs().mean(dim=1, keepdim=True)


def _joined(maps: Sequence[Tensor | None]) -> Tensor:
    return torch.cat([item for item in maps if item is not None])


@lru_cache(maxsize=2)
def _arranged_file(method: NetworkMethod, modified: int, size: int) -> nn.Module:
    """Keep what was loaded last: a plan, a run and its report ask one after the other. A file that changed is new."""
    return _arranged(method)


def _arranged(method: NetworkMethod) -> nn.Module:
    """Open the weights, and put tiles, precision and compilation around the parts of the network that they concern."""
    device = device_of(method.device)
    network = opened(method.architecture, method.given, method.overrides)
    if device.type != "mps":  # which has got convolutions of that layout wrong in the past
        channels_last(network)
    network.to(device)
    if method.compile:
        for path in method.lowered:
            network.get_submodule(path).compile()
    if method.precision != "float32":
        dtype = getattr(torch, method.precision)
        wrap(network, method.lowered, lambda part: Lowered(part, dtype))
    if method.tile != 0:
        tile, margin, multiple = method.tile, method.margin, method.multiple
        wrap(network, method.tiled, lambda part: Tiled(part, tile=tile, margin=margin, multiple=multiple))
    return network


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_short(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
