"""The published networks as methods: any two cameras, any ratio of rates; of each frame features are computed once.

Both enlarge by four: a coarse frame is sampled on blocks of 4 x 4 sharp pixels (`scanweave.fusion.scene`), whatever the
cameras' own scale is. Sides are filled up to what the network takes and cropped back. Frames in tiles have the numbers
of the whole, if tiles are seen as far as the network sees: `reach`, plus what EDVR's taps are moved by.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from ..devices import device_of, running
from ..errors import UsageError, WeightsError
from ..models import EdvrStf, EdvrStfConfig, SwinXvr, SwinXvrConfig, channels_last
from ..models.edvr_modules import Features
from ..ops.tiling import in_tiles
from ..weights.opening import Weights, digest, opened
from .baselines import bound
from .calibration import Calibration
from .choice import Pick
from .frames import Frames
from .methods import FusionMethod, Made, PickedState
from .recent import Recent

Precision = Literal["float32", "bfloat16"]

_SCALE = 4
_LEVELS = 4  # what sides of coarse frames are multiples of where features are aligned at three sizes
_SMALLEST_TILE = 64
_STEM, _PYRAMID, _ALIGNMENT, _ATTENTION, _ENDING = 3, 9, 32, 20, 3  # how far parts see, coarse pixels
_MOVED = 16  # by how much taps are allowed to be moved, all levels together
_REMEDY = "give --tile 512, or --device cpu"


@dataclass(frozen=True, kw_only=True)
class NetworkMethod(FusionMethod):
    """Base of methods that are a network with weights.

    Attributes:
        weights: A file in its authors' container or ours, the name of one in the user's folder, or a network.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: Arithmetic of the wide layers.
        tile: Side of tiles in sharp pixels; 0 takes frames whole. In tiles, features are not shared among frames.
        overlap: How far tiles are seen beyond, in sharp pixels; None: so far that seams are exact.
    """

    weights: Weights | None = None
    device: str = "auto"
    precision: Precision = "float32"
    tile: int = 0
    overlap: int | None = None

    around: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse what no network can do.

        Raises:
            WeightsError: No weights.
            UsageError: A precision or tile that there is not.
        """
        if self.weights is None:
            raise WeightsError(f"{self.name} runs on weights, and none were given", remedy="give --weights FILE")
        if self.precision not in ("float32", "bfloat16"):
            raise UsageError(f"precision {self.precision!r} is none of float32, bfloat16")
        if self.tile and self.tile < _SMALLEST_TILE:
            raise UsageError(f"a tile of {self.tile}", remedy=f"give 0, or sharp pixels from {_SMALLEST_TILE}")
        if self.overlap is not None and self.overlap < 0:
            raise UsageError(f"an overlap of {self.overlap}", remedy="give sharp pixels, 0 or more")

    @cached_property
    def network(self) -> nn.Module:
        """The network on its device.

        Raises:
            WeightsError: The file is damaged, hostile, of another network, or of another number of frames.
            ResourceError: No such device.
        """
        network = channels_last(opened(self.name, cast(Weights, self.weights), {}))
        config = cast(EdvrStf | SwinXvr, network).config
        if (config.coarse, config.sharp) != (3, 2):
            raise WeightsError(
                f"the network takes {config.coarse} coarse and {config.sharp} sharp frames",
                remedy="give one of 3 coarse and 2 sharp frames",
            )
        return network.to(device_of(self.device))

    def describe(self) -> dict[str, Any]:
        """Return name, options and the hash of the weights."""
        given = cast(Weights, self.weights)
        weights = type(given).__name__ if isinstance(given, nn.Module) else str(given)
        options = {name: getattr(self, name) for name in ("precision", "tile", "overlap")}
        return {"name": self.name, **options, "weights": weights, "sha256": digest(given)}


@dataclass(frozen=True, kw_only=True)
class EdvrStfMethod(NetworkMethod):
    """Frames by EDVR-STF."""

    name: ClassVar[str] = "edvr-stf"

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> PickedState:
        """Bind the method to frames; its weights are opened.

        Raises:
            WeightsError: They are damaged, hostile, or of another network.
        """
        network = cast(EdvrStf, self.network)
        unit = _SCALE * _LEVELS
        frames = bound(coarse, sharp, calibration, step=_SCALE, multiple=unit, around=self.around)
        return _Edvr(*frames, self, network, unit)


@dataclass(frozen=True, kw_only=True)
class SwinXvrMethod(NetworkMethod):
    """Frames by SWIN-XVR; of its video variant the middle one is taken."""

    name: ClassVar[str] = "swin-xvr"

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> PickedState:
        """Bind the method to frames; its weights are opened. Sides are filled up to whole windows.

        Raises:
            WeightsError: They are damaged, hostile, or of another network.
        """
        network = cast(SwinXvr, self.network)
        config = network.config
        unit = _SCALE * math.lcm(*config.window[1:], _LEVELS if config.aligned else 1)
        frames = bound(coarse, sharp, calibration, step=_SCALE, multiple=unit, around=self.around)
        return NetworkState(*frames, self, network, unit)


@dataclass(frozen=True, eq=False)
class NetworkState(PickedState):
    """Frames of a network, each from its five alone.

    Attributes:
        method: Whose frames they are.
        network: As it says.
        unit: What sides are multiples of, in sharp pixels.
    """

    method: NetworkMethod
    network: nn.Module
    unit: int

    def make(self, pick: Pick) -> Made:
        """Run the network on the three coarse and two sharp frames.

        Raises:
            ResourceError: Memory gave out.
        """
        with running(remedy=_REMEDY), self._arithmetic():
            frame, extras = self._run(pick)
        return Made(frame.float().cpu(), extras=extras)

    def _run(self, pick: Pick) -> tuple[Tensor, dict[str, Tensor]]:
        coarse = torch.cat([self._coarse(i) for i in pick.fast], dim=1)
        sharp = torch.cat([self._sharp(i) for i in pick.sharp], dim=1)
        if not self.method.tile:
            return self._whole(sharp, coarse), {}
        margin = self.method.overlap if self.method.overlap is not None else _SCALE * reach(self.network)
        return in_tiles(self._whole, [sharp, coarse], core=self.method.tile, margin=margin, multiple=self.unit), {}

    def _whole(self, sharp: Tensor, coarse: Tensor) -> Tensor:
        """Return the frame of two sharp ones ``(1, 2, H, W)`` and three coarse ones ``(1, 3, h, w)``."""
        made: Tensor = self.network(coarse.unsqueeze(2), sharp.unsqueeze(2))
        return made[:, made.shape[1] // 2] if made.ndim == 5 else made

    def _coarse(self, i: int) -> Tensor:
        return self.scene.coarse_frame(i).to(device_of(self.method.device))

    def _sharp(self, i: int) -> Tensor:
        return self.scene.sharp_frame(i).to(device_of(self.method.device))

    def _arithmetic(self) -> Any:
        if self.method.precision == "float32":
            return nullcontext()
        return torch.autocast(device_of(self.method.device).type, dtype=torch.bfloat16)


@dataclass(frozen=True, eq=False)
class _Edvr(NetworkState):
    """Frames of EDVR-STF: as long as frames are whole, features of each are kept for the next."""

    fast: Recent[int, tuple[Tensor, Features]] = field(default_factory=lambda: Recent(3))
    slow: Recent[int, Features] = field(default_factory=lambda: Recent(2))

    def _run(self, pick: Pick) -> tuple[Tensor, dict[str, Tensor]]:
        if self.method.tile:
            return super()._run(pick)
        network = cast(EdvrStf, self.network)
        coarse = {i: self.fast.get(i, lambda i=i: self._coarse_features(i)) for i in pick.fast}  # type: ignore[misc]
        sharp = [self.slow.get(i, lambda i=i: network.sharp_features(self._sharp(i))) for i in pick.sharp]  # type: ignore[misc]
        fused = network.fuse(
            Features.joined([coarse[i][1] for i in pick.fast]).folded(len(pick.fast)),
            Features.joined(sharp).folded(len(sharp)),
            coarse[pick.middle][0],
        )
        return fused.image, {} if fused.likeness is None else {"likeness": fused.likeness.float().cpu()}

    def _coarse_features(self, i: int) -> tuple[Tensor, Features]:
        frame = self._coarse(i)
        return frame, cast(EdvrStf, self.network).coarse_features(frame)


def reach(network: nn.Module) -> int:
    """Return how far a network sees, in coarse pixels; taps moved by 16 pixels in all are allowed for."""
    config: Any = network.config
    if isinstance(config, EdvrStfConfig):
        alignment = _PYRAMID + _ALIGNMENT + _MOVED
        attention = _ATTENTION if config.attention else 0
        return _STEM + 2 * config.extracted + alignment + attention + 2 * config.reconstructed + _ENDING
    if not isinstance(config, SwinXvrConfig):
        raise TypeError(f"{type(config).__name__} tells of no network of fusion")
    window, blocks = max(config.window[1:]), sum(config.depths)
    # shifted windows overlap by half, so that each block after the first sees half a window further
    attention = window + (blocks - 1) * (window - window // 2)
    kernels = (config.ending_side // 2) * {"0conv": 0, "1conv": 1, "3conv": 2}[config.ending] * (len(config.depths) + 1)
    alignment = 2 * config.extracted + 2 * (_PYRAMID + _ALIGNMENT + _MOVED) if config.aligned else 0
    return _STEM + alignment + attention + kernels + _ENDING


def published_inputs(coarse: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the published program feeds to its network of registered frames.

    Coarse frames are reduced by four without a filter, which uses 4 of 16 pixels; all are cropped to the top left
    multiple of 128 sharp pixels (specification, section 6.4).

    Args:
        coarse: ``(B, 3, 1, H, W)`` on the sharp grid, 0 to 255.
        sharp: ``(B, 2, 1, H, W)``, 0 to 255.
    """
    rows, columns = (n // 128 * 128 for n in sharp.shape[-2:])
    reduced = nn.functional.interpolate(
        coarse.flatten(0, 1).float() / 255, scale_factor=1 / _SCALE, mode="bilinear", align_corners=False
    )
    reduced = reduced.view(*coarse.shape[:3], *reduced.shape[-2:])
    return reduced[..., : rows // _SCALE, : columns // _SCALE], sharp[..., :rows, :columns].float() / 255
