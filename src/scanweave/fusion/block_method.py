"""Block fusion as a method: small weights of ours, for any two cameras, that come with scanweave.

What the network works on is prepared here: coarse frames on blocks of 4 x 4 sharp pixels, sharp frames moved to the
moment by optical flow, the mean of further sharp frames of the run, and all of that in units of the noise, which is
measured once for a run (`scanweave.fusion.noise`). Frames are made with less noise than those recorded; a sharp frame's
own moment gives it back as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import device_of
from ..models import BlockFusion, channels_last
from ..models.block_fusion import SCALE, reach
from ..ops.tiling import in_tiles
from ..weights.opening import Weights, opened
from .baselines import bound
from .calibration import Calibration
from .choice import Pick
from .clocks import nearest
from .flow import flow_between, moved_to
from .frames import Frames
from .methods import Made, PickedState
from .networks import NetworkMethod, NetworkState
from .noise import Noise, noise_of
from .recent import Recent

BUNDLED = "block-fusion-radiographs"
"""The weights that come with scanweave."""

_UNIT = SCALE * 4  # what sides of sharp frames are multiples of
_LOOKED_AT = 6  # pairs of sharp frames that the noise is told from
_OTHERS = 4  # further sharp frames that serve a moment


@dataclass(frozen=True, kw_only=True)
class BlockFusionMethod(NetworkMethod):
    """Frames by block fusion; options as of the other networks.

    Attributes:
        weights: By default those that come with scanweave.
    """

    weights: Weights | None = BUNDLED

    name: ClassVar[str] = "block-fusion"

    @cached_property
    def network(self) -> BlockFusion:
        """The network on its device.

        Raises:
            WeightsError: The file is damaged, hostile, or of another network.
            ResourceError: No such device.
        """
        network = channels_last(opened(self.name, cast(Weights, self.weights), {}))
        return cast(BlockFusion, network.to(device_of(self.device)))

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> PickedState:
        """Bind the method to frames; its weights are opened.

        Raises:
            WeightsError: They are damaged, hostile, or of another network.
        """
        frames = bound(coarse, sharp, calibration, step=SCALE, multiple=_UNIT, around=self.around)
        return _BlockFusion(*frames, self, self.network, _UNIT)


@dataclass(frozen=True, eq=False)
class _BlockFusion(NetworkState):
    flows: Recent[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=lambda: Recent(2))
    means: Recent[tuple[int, ...], Tensor] = field(default_factory=lambda: Recent(2))

    @cached_property
    def noise(self) -> Noise:
        """Of the sharp run, over the window."""
        count = len(self.scene.sharp)
        firsts = sorted({int(i) for i in np.linspace(0, count - 2, min(count - 1, _LOOKED_AT))})
        planes = [tuple(self.scene.sharp_frame(i)[0, 0].numpy() for i in (first, first + 1)) for first in firsts]
        return noise_of(cast(list[tuple[NDArray[np.float32], NDArray[np.float32]]], planes))

    def make(self, pick: Pick) -> Made:
        """Run the network on what serves the moment.

        Raises:
            ResourceError: Memory gave out.
        """
        if pick.t in (0.0, 1.0):
            return Made(self.scene.sharp_frame(pick.sharp[int(pick.t)]))
        return super().make(pick)

    def _run(self, pick: Pick) -> tuple[Tensor, dict[str, Tensor]]:
        noise, device = self.noise, device_of(self.method.device)
        coarse, (sharp, others) = self._coarse_frames(pick), self._candidates(pick)
        spread = noise.spread(coarse[:, 1:2])
        times = torch.tensor([[pick.t, self._interval(pick), float(others)]], device=device)
        maps = [map_.to(device) for map_ in (sharp / noise.unit, coarse / noise.unit, spread)]

        def whole(sharp: Tensor, coarse: Tensor, spread: Tensor) -> Tensor:
            return cast(Tensor, self.network(coarse.unsqueeze(2), sharp.unsqueeze(2), times, spread))

        if not self.method.tile:
            return noise.unit * whole(*maps), {}
        overlap = self.method.overlap
        margin = SCALE * reach(cast(BlockFusion, self.network).config) if overlap is None else overlap
        return noise.unit * in_tiles(whole, maps, core=self.method.tile, margin=margin, multiple=self.unit), {}

    def _interval(self, pick: Pick) -> float:
        """Return the coarse camera's interval over the sharp one's."""
        first, last = self.scene.sharp.times[list(pick.sharp)]
        before, after = self.scene.moments[[pick.fast[0], pick.fast[-1]]]
        return float((after - before) / (len(pick.fast) - 1) / (last - first))

    def _coarse_frames(self, pick: Pick) -> Tensor:
        """Return the coarse frames about the moment and those at both sharp frames, ``(1, 5, row, column)``.

        Where there is none at a sharp frame, the sharp one's own means stand for it.
        """
        scene = self.scene
        frames = [scene.coarse_frame(i) for i in pick.fast]
        ends = nearest(scene.moments, scene.sharp.times[list(pick.sharp)], within=self.choice.within).tolist()
        for end, i in zip(ends, pick.sharp, strict=True):
            frames.append(scene.coarse_frame(end) if end >= 0 else scene.blocks(scene.sharp_frame(i)))
        return torch.cat(frames, dim=1)

    def _candidates(self, pick: Pick) -> tuple[Tensor, int]:
        """Return what sharp frames tell ``(1, 5, row, column)``, and how many frames the last is the mean of."""
        before, after = (self.scene.sharp_frame(i) for i in pick.sharp)
        flows = self.flows.get(pick.sharp, lambda: (flow_between(before, after), flow_between(after, before)))
        others = self._others(pick)
        mean = self.means.get(others, lambda: self._mean(others)) if others else torch.zeros_like(before)
        return torch.cat([before, after, *moved_to(pick.t, before, after, *flows), mean], dim=1), len(others)

    def _others(self, pick: Pick) -> tuple[int, ...]:
        """Return the sharp frames nearest in time to the two that the moment lies between."""
        times = self.scene.sharp.times
        away = np.abs(times - times[list(pick.sharp)].mean())
        nearest_first = (int(i) for i in np.argsort(away, kind="stable") if i not in pick.sharp)
        return tuple(sorted([i for _, i in zip(range(_OTHERS), nearest_first, strict=False)]))

    def _mean(self, frames: tuple[int, ...]) -> Tensor:
        return torch.stack([self.scene.sharp_frame(i) for i in frames]).mean(dim=0)
