"""Sharp frames moved to the moment by optical flow, then made to agree with the coarse frame there.

With D the mean over a coarse pixel and U bicubic enlargement, the result is ``w + U(g (c - D w - b))``: the warped
sharp frames w tell what is finer than a coarse pixel, the coarse frame c what is not. The bias b is what the two
cameras differ by at the moments of the two sharp frames: the coarse camera's blur is no news. The gain g is Wiener's:
what the difference has locally in excess of the noise, which is measured where both cameras took a frame at once.
Motion is found by DIS flow (Kroeger et al., ECCV 2016) between the two sharp frames, or between coarse ones, taken at
the moment itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UsageError
from ..ops import backward_warp
from .baselines import bound
from .calibration import Calibration
from .choice import Pick
from .clocks import nearest
from .frames import Frames
from .methods import FusionMethod, Made, PickedState
from .recent import Recent
from .scene import whole_step

_LOOKED_AT = 8  # sharp frames that the noise is told from
_SURE = 4.0  # times the noise's power that the square of a window's mean must have: two standard deviations
_MEDIAN = 0.4549  # of the squares of normal numbers of variance 1
_SMALLEST_SIDE = 32  # DIS needs its smallest pyramid level to hold a patch


@dataclass(frozen=True, kw_only=True)
class Flow(FusionMethod):
    """Options.

    Attributes:
        motion: Between which frames motion is found: ``sharp`` ones, taken to move evenly in between; ``coarse`` ones;
            ``none`` moves nothing.
        correction: Share of the difference to the coarse frame that is added, from 0 to 1; ``auto``: Wiener's gain.
        window: Blocks in the side of the windows that Wiener's gain is told from, an odd number.
        doubt: How many times the noise's power is taken for noise: that of few blocks is uncertain.
        calming: Deviation of the Gaussian filter before motion is sought, pixels.
        smoothness: Weight of the motion's smoothness where it is refined.

    What defaults are worth on simulated scenes shows `benchmarks/tune_fusion_flow.py`.

    Raises:
        UsageError: An option outside its range.
    """

    motion: Literal["sharp", "coarse", "none"] = "sharp"
    correction: float | Literal["auto"] = "auto"
    window: int = 7
    doubt: float = 3.0
    calming: float = 1.5
    smoothness: float = 3.0

    name: ClassVar[str] = "flow"

    def __post_init__(self) -> None:
        if self.motion not in ("sharp", "coarse", "none"):
            raise UsageError(f"motion {self.motion!r} is none of sharp, coarse, none")
        if self.correction != "auto" and not 0 <= self.correction <= 1:
            raise UsageError(f"a correction of {self.correction}", remedy="give auto, or a share from 0 to 1")
        if self.window < 1 or self.window % 2 == 0 or self.doubt < 0:
            raise UsageError(
                f"a window of {self.window} blocks, a doubt of {self.doubt}", remedy="give an odd window, doubt from 0"
            )
        if self.calming < 0 or self.smoothness < 0:
            raise UsageError(f"calming {self.calming}, smoothness {self.smoothness}", remedy="give 0 or more")

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> PickedState:
        """Bind the method to frames."""
        step = whole_step(calibration)
        return _Flow(*bound(coarse, sharp, calibration, step=step, multiple=step), self)


@dataclass(frozen=True, eq=False)
class _Flow(PickedState):
    method: Flow
    flows: Recent[tuple[int, int], Tensor] = field(default_factory=lambda: Recent(4))
    differences: Recent[int, Tensor] = field(default_factory=lambda: Recent(4))

    def make(self, pick: Pick) -> Made:
        """Warp both sharp frames to the moment, weight them by nearness, and correct what the coarse frame shows."""
        coarse = self.scene.coarse_frame(pick.middle)
        before, after = (self.scene.sharp_frame(i) for i in pick.sharp)
        if 0 < pick.t < 1 and self.method.motion != "none":
            before, after = self._moved(pick, before, after)
        warped = torch.lerp(before, after, pick.t)
        bias, share = self._bias(pick)
        lacking = coarse - self.scene.blocks(warped) - bias
        if self.method.correction == "auto":
            lacking = wiener(lacking, self.method.doubt * self.noise * (1 + share), window=self.method.window)
            return Made(warped + self._enlarged(lacking))
        return Made(warped + self.method.correction * self._enlarged(lacking))

    @cached_property
    def noise(self) -> float:
        """Variance of what the cameras differ by on blocks beyond what they always do, where they took frames at once.

        0 where they did so less than twice.
        """
        pairs = [i for i, k in enumerate(self._at_once) if k >= 0]
        some = [pairs[int(n)] for n in np.linspace(0, len(pairs) - 1, min(len(pairs), _LOOKED_AT))]
        if len(some) < 2:
            return 0.0
        apart = torch.cat([self._apart(i) for i in some])
        # the median cares little for what moved in between; a mean of n frames takes up one in n of their noise
        squares = (apart - apart.mean(dim=0)).square().flatten(1).median(dim=1).values
        return float(squares.mean()) / _MEDIAN * len(some) / (len(some) - 1)

    @cached_property
    def _at_once(self) -> NDArray[np.int64]:
        """The coarse frame taken at once with each sharp one, -1 where there is none."""
        return nearest(self.scene.moments, self.scene.sharp.times, within=self.choice.within)

    def _apart(self, i: int) -> Tensor:
        """Return by how much the coarse frame at sharp frame `i` differs from it, on blocks."""
        scene = self.scene
        return scene.coarse_frame(int(self._at_once[i])) - scene.blocks(scene.sharp_frame(i))

    def _bias(self, pick: Pick) -> tuple[Tensor, float]:
        """Return what the cameras differ by at both sharp frames, weighted by nearness, and its share of the noise."""
        weights = {i: w for i, w in zip(pick.sharp, (1 - pick.t, pick.t), strict=True) if self._at_once[i] >= 0}
        total = sum(weights.values())
        if total == 0:
            return torch.zeros(()), 0.0
        shares = {i: w / total for i, w in weights.items()}
        kept = [w * self.differences.get(i, partial(self._apart, i)) for i, w in shares.items()]
        return torch.stack(kept).sum(dim=0), sum(w * w for w in shares.values())

    def _moved(self, pick: Pick, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Return both sharp frames moved to the moment."""
        if self.method.motion == "coarse":
            ends = nearest(self.scene.moments, self.scene.sharp.times[list(pick.sharp)]).tolist()
            shown = {i: self._enlarged(self.scene.coarse_frame(i)) for i in {*ends, pick.middle}}
            to_before, to_after = (self._flow(shown[pick.middle], shown[i]) for i in ends)
        else:
            forward = self.flows.get(pick.sharp, lambda: self._flow(before, after))
            backward = self.flows.get(pick.sharp[::-1], lambda: self._flow(after, before))
            to_before, to_after = flows_at(forward, backward, pick.t)
        return backward_warp(before, to_before), backward_warp(after, to_after)

    def _flow(self, first: Tensor, second: Tensor) -> Tensor:
        return flow_between(first, second, calming=self.method.calming, smoothness=self.method.smoothness)

    def _enlarged(self, blocks: Tensor) -> Tensor:
        if self.scene.step == 1:
            return blocks
        return F.interpolate(blocks, scale_factor=self.scene.step, mode="bicubic", align_corners=False)


def flows_at(forward: Tensor, backward: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """Return the flows from a moment between two frames to the first and to the second, of those between the two.

    They are read where the moment's pixel is: exact for even motion. Jiang et al., "Super SloMo", CVPR 2018, eq. 4.
    """
    to_first = -(1 - t) * t * forward + t * t * backward
    return to_first, (1 - t) ** 2 * forward - t * (1 - t) * backward


def moved_to(moment: float, before: Tensor, after: Tensor, forward: Tensor, backward: Tensor) -> tuple[Tensor, Tensor]:
    """Return both frames ``(1, 1, row, column)`` moved to a moment between them by the flows from one to the other."""
    to_before, to_after = flows_at(forward, backward, moment)
    return backward_warp(before, to_before), backward_warp(after, to_after)


def flow_between(first: Tensor, second: Tensor, *, calming: float = 1.5, smoothness: float = 80.0) -> Tensor:
    """Return the flow from `first` to `second`, both ``(1, 1, row, column)``, by DIS; options as of :class:`Flow`.

    Returns:
        ``(1, 2, row, column)`` in pixels, columns before rows.
    """
    both = torch.cat([first, second]).squeeze(1).numpy()
    low, high = np.percentile(both, (0.5, 99.5))
    pictures = [_picture(one, low=float(low), high=float(high), calming=calming) for one in both]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(1)
    search.setVariationalRefinementAlpha(smoothness)
    rows, columns = both.shape[1:]
    extra = ((0, max(0, _SMALLEST_SIDE - rows)), (0, max(0, _SMALLEST_SIDE - columns)))
    no_start: Any = None
    found = search.calc(np.pad(pictures[0], extra, mode="edge"), np.pad(pictures[1], extra, mode="edge"), no_start)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.asarray(found)[:rows, :columns], -1, 0)))[None]


def _picture(frame: NDArray[np.float32], *, low: float, high: float, calming: float) -> NDArray[np.uint8]:
    calm = cv2.GaussianBlur(frame, (0, 0), calming) if calming else frame
    return np.asarray(np.rint(np.clip((calm - low) / max(high - low, 1e-12), 0, 1) * 255), np.uint8)


def wiener(lacking: Tensor, noise: float, *, window: int) -> Tensor:
    """Return a difference, on blocks, without what noise of that variance makes of it (Wiener's local filter)."""
    if noise == 0:
        return lacking
    around = F.pad(lacking, (window // 2,) * 4, mode="replicate")
    mean = F.avg_pool2d(around, window, stride=1)
    power = F.avg_pool2d(around.square(), window, stride=1) - mean.square()
    local = (power - noise).clamp_min(0) / power.clamp_min(1e-12)
    # the mean of a window has less noise than its pixels, but its power is told by one number, not many: what chance
    # makes of it must not pass for a signal
    least = _SURE * noise / window**2
    calm = (mean.square() - least).clamp_min(0) / mean.square().clamp_min(1e-12)
    return calm * mean + local * (lacking - mean)
