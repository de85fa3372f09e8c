"""Motion-compensated interpolation by dense optical flow, without training: the default method.

The pair is studied once: DIS flow (Kroeger et al., ECCV 2016) in both directions, made antisymmetric, with the
forward-backward error as the sign of occlusion. For each time both frames are warped there by the intermediate flows
of Super-SloMo (Jiang et al., CVPR 2018, eq. 4) and blended by nearness and visibility. Speckle and noise do not move
with the tissue, so the result is mixed with the plain blend: fully so where motion compensation does not bring the two
frames closer together, and by a small share everywhere, which averages independent noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UsageError
from ..ops import backward_warp
from .methods import Made, PairwiseMethod

# DIS needs its smallest pyramid level to hold a patch; smaller frames are extended by their edge.
_SMALLEST_SIDE = 32
_LUMINANCE = np.array((0.299, 0.587, 0.114), dtype=np.float32)
_RANGE_SAMPLES = 1 << 18


@dataclass(frozen=True)
class OpticalFlow(PairwiseMethod):
    """Options of the flow and of the blend; the defaults are the winners of ``benchmarks/tune_optical_flow.py``.

    Attributes:
        presmooth: Standard deviation in pixels of the Gaussian that calms speckle before the flow search (the frames
            that are warped are not smoothed); 0 for none.
        patch_size: Side of the DIS patches in pixels.
        patch_stride: Distance between DIS patches in pixels.
        finest_scale: Pyramid level at which the search ends (0: full resolution, 1: half).
        refinement_steps: Fixed-point iterations of the variational refinement.
        refinement_smoothness: Weight of its smoothness term.
        motion_share: Largest weight of the motion-compensated frame against the plain blend.
        disagreement_blur: Standard deviation in pixels of the window in which the two warped frames are compared.
        disagreement_penalty: How much of the plain blend is mixed in where warping does not bring the frames closer.
        disagreement_floor: Disagreement that is noise, as a fraction of the pair's range.
        occlusion_pixels: Forward-backward error of one frame at which the other's visibility falls to 1/e.

    Raises:
        UsageError: An option outside its range.
    """

    name = "optical-flow"

    presmooth: float = 0.7
    patch_size: int = 8
    patch_stride: int = 3
    finest_scale: int = 1
    refinement_steps: int = 5
    refinement_smoothness: float = 80.0
    motion_share: float = 0.8
    disagreement_blur: float = 2.0
    disagreement_penalty: float = 0.4
    disagreement_floor: float = 0.004
    occlusion_pixels: float = 6.0

    def __post_init__(self) -> None:
        ranges = {
            "presmooth": (0, 16),
            "patch_size": (4, 16),
            "patch_stride": (1, self.patch_size),
            "finest_scale": (0, 4),
            "refinement_steps": (0, 1000),
            "refinement_smoothness": (0, 1e6),
            "motion_share": (0, 1),
            "disagreement_blur": (0, 32),
            "disagreement_penalty": (0, 1e6),
            "disagreement_floor": (1e-6, 1),
            "occlusion_pixels": (1e-3, 1e9),
        }
        for option, (low, high) in ranges.items():
            value = getattr(self, option)
            if not low <= value <= high:
                raise UsageError(f"{option} {value} of optical-flow is not between {low} and {high}")

    def prepare_pair(self, first: Tensor, second: Tensor) -> Callable[[Tensor], Made]:
        """Find the motion between two frames ``(1, channel, row, column)`` in [0, 1], both ways.

        Extras of what is made: ``flow_forward`` and ``flow_backward`` ``(1, 2, row, column)`` in pixels, x before y;
        ``occlusion`` ``(time, 2, row, column)``, 0 where the first (second) frame sees the point and 1 where not.
        """
        if torch.equal(first, second):
            return _Still(first)
        return self._study(first, second)

    def _study(self, first: Tensor, second: Tensor) -> MovingPair:
        low, high = _robust_range(first, second)
        pictures = [self._picture(frame, low=low, high=high) for frame in (first, second)]
        # OpenCV's search runs in one thread and lets go of the interpreter lock: both directions at once.
        with ThreadPoolExecutor(2) as pool:
            forward, backward = pool.map(self._flow, pictures, reversed(pictures))
        forward_seen, backward_seen = backward_warp(backward, forward), backward_warp(forward, backward)
        difference = (first - second).abs().mean(dim=1, keepdim=True)
        floor = self.disagreement_floor * (high - low)
        return MovingPair(
            options=self,
            first=first,
            second=second,
            difference=difference,
            floor=floor,
            apart=(_blur(difference, self.disagreement_blur) + floor) ** 2,
            forward=(forward - forward_seen) / 2,
            backward=(backward - backward_seen) / 2,
            forward_error=(forward + forward_seen).norm(dim=1, keepdim=True),
            backward_error=(backward + backward_seen).norm(dim=1, keepdim=True),
        )

    def _picture(self, frame: Tensor, *, low: float, high: float) -> NDArray[np.uint8]:
        """Return the luminance of a frame as the 8-bit picture that DIS reads, stretched to the pair's range."""
        grey = _smoothed(_luminance(frame), self.presmooth)
        levels: NDArray[np.uint8] = np.rint(np.clip((grey - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        return levels

    def _flow(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Tensor:
        """Return the DIS flow from `first` to `second`, ``(1, 2, row, column)`` in pixels."""
        rows, columns = first.shape
        extra = ((0, max(0, _SMALLEST_SIDE - rows)), (0, max(0, _SMALLEST_SIDE - columns)))
        no_start: Any = None
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setPatchSize(self.patch_size)
        search.setPatchStride(self.patch_stride)
        search.setFinestScale(self.finest_scale)
        search.setVariationalRefinementIterations(self.refinement_steps)
        search.setVariationalRefinementAlpha(self.refinement_smoothness)
        flow = search.calc(np.pad(first, extra, mode="edge"), np.pad(second, extra, mode="edge"), no_start)
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.asarray(flow)[:rows, :columns], -1, 0)))[None]


@dataclass(frozen=True, slots=True)
class _Still:
    """Two equal frames: everything in between is the same frame, bit for bit."""

    frame: Tensor

    def __call__(self, times: Tensor) -> Made:
        rows, columns = self.frame.shape[2:]
        flow = torch.zeros(1, 2, rows, columns)
        return Made(
            self.frame.expand(len(times), -1, -1, -1).clone(),
            torch.zeros(len(times), 1, rows, columns),
            {"flow_forward": flow, "flow_backward": flow, "occlusion": torch.zeros(len(times), 2, rows, columns)},
        )


@dataclass(frozen=True, slots=True)
class MovingPair:
    """Two frames and the motion between them; called with times, makes the frames there.

    Attributes:
        options: How to blend.
        first: ``(1, channel, row, column)`` in [0, 1].
        second: The same, later.
        difference: Mean absolute difference of the two over the channels, ``(1, 1, row, column)``.
        floor: Difference that is noise.
        apart: Square of the difference about each pixel.
        forward: Flow from the first frame to the second, ``(1, 2, row, column)`` in pixels, x before y.
        backward: Flow from the second frame to the first.
        forward_error: Length of the forward-backward error seen from the first frame, ``(1, 1, row, column)``, pixels.
        backward_error: The same seen from the second frame.
    """

    options: OpticalFlow
    first: Tensor
    second: Tensor
    difference: Tensor
    floor: float
    apart: Tensor
    forward: Tensor
    backward: Tensor
    forward_error: Tensor
    backward_error: Tensor

    def __call__(self, times: Tensor) -> Made:
        """Make the frames at `times` ``(time,)``, strictly between 0 and 1."""
        t = times.to(torch.float32).view(-1, 1, 1, 1)
        # Super-SloMo, eq. 4: flows from time t back to the first frame, and on to the second.
        to_first = -t * (1 - t) * self.forward + t * t * self.backward
        to_second = (1 - t) ** 2 * self.forward - t * (1 - t) * self.backward
        first, error_first = _sample(self.first, self.forward_error, to_first)
        second, error_second = _sample(self.second, self.backward_error, to_second)
        # Motion that leads nowhere and back means that the *other* frame does not show the point: covered or uncovered.
        seen_first, seen_second = self._visibility(error_second), self._visibility(error_first)
        # A point that neither frame seems to show keeps the weights of nearness.
        weight_first, weight_second = (1 - t) * (seen_first + 0.05), t * (seen_second + 0.05)
        compensated = (weight_first * first + weight_second * second) / (weight_first + weight_second)

        plain = torch.lerp(self.first, self.second, t)
        disagreement = (first - second).abs().mean(dim=1, keepdim=True)
        share = self._share(disagreement)
        # What was blended disagrees by `doubt`; an uncertain motion adds what it may have displaced.
        doubt = torch.lerp(self.difference, disagreement, share)
        displaced = torch.minimum(error_first, error_second) * _slope(plain)
        doubt = doubt + torch.minimum(displaced, self.difference)
        return Made(
            torch.lerp(plain, compensated, share).clamp(0, 1),
            2 * t * (1 - t) * doubt,
            {
                "flow_forward": self.forward,
                "flow_backward": self.backward,
                "occlusion": 1 - torch.cat((seen_first, seen_second), dim=1),
            },
        )

    def _visibility(self, error: Tensor) -> Tensor:
        """Return how likely a frame sees the point, by its forward-backward error in pixels."""
        return torch.exp(-((error / self.options.occlusion_pixels) ** 2))

    def _share(self, disagreement: Tensor) -> Tensor:
        """Return the weight of motion compensation: high where it brings the two frames closer together."""
        options = self.options
        left = (_blur(disagreement, options.disagreement_blur) + self.floor) ** 2
        return options.motion_share * self.apart / (self.apart + options.disagreement_penalty * left)


def _sample(frame: Tensor, error: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Warp a frame and its forward-backward error to every time by the flows ``(time, 2, row, column)``."""
    both = torch.cat((frame, error), dim=1).expand(len(flow), -1, -1, -1)
    warped = backward_warp(both, flow)
    return warped[:, :-1], warped[:, -1:]


def _slope(frames: Tensor) -> Tensor:
    """Return the mean absolute intensity step to the next row and column, ``(time, 1, row, column)``."""
    grey = F.pad(frames.mean(dim=1, keepdim=True), (0, 1, 0, 1), mode="replicate")
    here = grey[..., :-1, :-1]
    return ((grey[..., 1:, :-1] - here).abs() + (grey[..., :-1, 1:] - here).abs()) / 2


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Return ``(time, 1, row, column)`` maps smoothed by a Gaussian, edges repeated."""
    return torch.from_numpy(np.stack([_smoothed(image, sigma) for image in maps[:, 0].numpy()]))[:, None]


def _smoothed(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return ``(row, column)`` smoothed by a Gaussian, edges repeated; unchanged for 0."""
    if sigma <= 0:
        return image
    blurred: Any = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float32)


def _luminance(frame: Tensor) -> NDArray[np.float32]:
    """Return ``(row, column)`` grey values of a frame ``(1, channel, row, column)`` (BT.601 for colour)."""
    values = frame[0].to(torch.float32).numpy()
    if len(values) == 3:
        return np.ascontiguousarray(np.tensordot(_LUMINANCE, values, axes=1))
    return np.ascontiguousarray(values.mean(axis=0))


def _robust_range(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Return a range that a few broken pixels cannot widen, so that a low-contrast run uses all of the 8 bits."""
    values = np.concatenate([_luminance(frame).ravel() for frame in (first, second)])
    step = math.ceil(len(values) / _RANGE_SAMPLES)
    low, high = np.percentile(values[::step], (0.05, 99.95))
    if high - low < 1e-6:
        low, high = values.min(), values.max()
    return float(low), float(max(high, low + 1e-6))
