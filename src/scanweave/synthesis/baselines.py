"""Baselines: slices between slices by interpolation, and another contrast by its histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ..errors import UsageError
from ..made import Made
from ..volume import Volume
from .intensity import clipped, window_of, windowed
from .methods import SynthesisMethod, WindowRule

_LEVELS = 513  # of a quantile function


@dataclass(frozen=True, kw_only=True)
class Interpolation(SynthesisMethod):
    """Base of methods that interpolate along the slice normal; beyond the ends the last slice is repeated."""

    other_contrasts: ClassVar[bool] = False

    def fit(self, volumes: Mapping[str, Volume]) -> FittedInterpolation:
        """Return the method bound to the subject; nothing is studied."""
        return FittedInterpolation(self, volumes)

    def weights(self, along: NDArray[np.float64], count: int) -> Tensor:
        """Return ``(position, slice)``: the share of each slice in what is made at `along`, in slices."""
        raise TypeError(f"{type(self).__name__} does not say how it interpolates")

    def prepared(self, stack: Tensor) -> Tensor:
        """Return what of slices ``(slice, row, column)`` shares are taken of."""
        return stack


@dataclass(frozen=True, slots=True)
class FittedInterpolation:
    """A method of interpolation bound to a subject."""

    method: Interpolation
    volumes: Mapping[str, Volume]

    def at(self, contrast: str, positions_mm: Sequence[float]) -> Made:
        """Return slices of one of the contrasts.

        Raises:
            UsageError: A contrast that the subject has not.
        """
        if contrast not in self.volumes:
            raise UsageError(
                f"{self.method.name} makes slices between slices, and there is no {contrast} among"
                f" {', '.join(self.volumes)}",
                remedy="choose a method that makes other contrasts, such as histogram-matched",
            )
        return Made(resampled(self.volumes[contrast], positions_mm, self.method)[:, None])


def resampled(volume: Volume, positions_mm: Sequence[float], method: Interpolation) -> Tensor:
    """Return ``(position, row, column)`` in [0, 1] over the levels of a volume, what overshoots them clipped."""
    stack = torch.from_numpy(volume.unit()[0])
    count = stack.shape[0]
    along = np.clip(np.asarray(positions_mm, dtype=np.float64) / volume.spacing[0], 0, count - 1)
    shares = method.weights(along, count)
    made = shares @ method.prepared(stack).flatten(1)
    return made.clamp_(0, 1).view(len(along), *stack.shape[1:])


@dataclass(frozen=True, kw_only=True)
class Nearest(Interpolation):
    """Repeat the nearest slice (the later one half-way)."""

    name: ClassVar[str] = "nearest"

    def weights(self, along: NDArray[np.float64], count: int) -> Tensor:
        """Return ones at the nearest slices."""
        nearest = np.minimum(np.floor(along + 0.5).astype(int), count - 1)
        return torch.eye(count)[torch.from_numpy(nearest)]


@dataclass(frozen=True, kw_only=True)
class Linear(Interpolation):
    """Blend the slices before and after by their distance."""

    name: ClassVar[str] = "linear"

    def weights(self, along: NDArray[np.float64], count: int) -> Tensor:
        """Return hat functions."""
        distance = np.abs(along[:, None] - np.arange(count))
        return torch.from_numpy(np.maximum(1 - distance, 0)).float()


@dataclass(frozen=True, kw_only=True)
class BSpline(Interpolation):
    """Interpolate by a cubic B-spline along the slice normal, mirrored at the ends."""

    name: ClassVar[str] = "b-spline"

    def prepared(self, stack: Tensor) -> Tensor:
        """Return the coefficients of the spline."""
        if stack.shape[0] < 2:
            return stack
        filtered = ndimage.spline_filter1d(stack.numpy(), 3, axis=0, output=np.float32, mode="mirror")
        return torch.from_numpy(filtered)

    def weights(self, along: NDArray[np.float64], count: int) -> Tensor:
        """Return the cubic B-spline around each position, what lies beyond the ends added to its mirror image."""
        before = np.floor(along).astype(int)
        shares = np.zeros((len(along), count))
        for offset in (-1, 0, 1, 2):
            knot = before + offset
            distance = np.abs(along - knot)
            near, far = 2 / 3 - distance**2 * (1 - distance / 2), np.maximum(2 - distance, 0) ** 3 / 6
            period = max(2 * (count - 1), 1)
            mirrored = np.abs((knot + count - 1) % period - (count - 1)) if count > 1 else np.zeros_like(knot)
            np.add.at(shares, (np.arange(len(along)), mirrored), np.where(distance < 1, near, far))
        return torch.from_numpy(shares).float()


@dataclass(frozen=True, kw_only=True)
class HistogramMatched(SynthesisMethod):
    """Copy a contrast, its grey values mapped so that their histogram is that of another contrast in other people.

    The map rises everywhere: what is brighter in the one is brighter in the other, which is not so between T1 and T2.
    It is the floor for methods that make contrasts, not one of them. Without examples it is a plain copy.

    Attributes:
        source: What is copied; by default the first contrast other than that which is made.
        examples: Volumes of other people by contrast.
    """

    source: str | None = None
    examples: tuple[Mapping[str, Volume], ...] = field(default=(), repr=False)

    name: ClassVar[str] = "histogram-matched"
    window: ClassVar[WindowRule] = "percentile"

    def fit(self, volumes: Mapping[str, Volume]) -> FittedHistogram:
        """Return the method bound to the subject.

        Raises:
            UsageError: The subject has no such source.
        """
        if self.source is not None and self.source not in volumes:
            raise UsageError(f"there is no {self.source} among {', '.join(volumes)}", remedy="name another --source")
        return FittedHistogram(self, volumes)

    def describe(self) -> dict[str, Any]:
        """Return name and options."""
        return {"name": self.name, "source": self.source, "examples": said(self.examples)}

    def cautions(self, contrast: str, sources: Sequence[str]) -> list[str]:
        """Return what to know of a contrast made so."""
        source = self.source or next((name for name in sources if name != contrast), contrast)
        if any(contrast in example for example in self.examples):
            return [f"{contrast} is {source} with other grey values: a baseline, not what a scanner would show."]
        return [f"No example of {contrast} was given, so that it is a plain copy of {source}: give --examples."]


@dataclass(frozen=True, slots=True)
class FittedHistogram:
    """The copy, bound to a subject."""

    method: HistogramMatched
    volumes: Mapping[str, Volume]

    def at(self, contrast: str, positions_mm: Sequence[float]) -> Made:
        """Return slices of any contrast; between slices by a cubic B-spline."""
        others = [name for name in self.volumes if name != contrast]
        source = self.method.source or (others or [contrast])[0]
        volume = self.volumes[source]
        frames = resampled(volume, positions_mm, BSpline())
        wanted = [
            quantiles(clipped(windowed(example[contrast], window_of(contrast, example[contrast], "percentile"))))
            for example in self.method.examples
            if contrast in example
        ]
        if wanted:
            found, target = quantiles(clipped(volume)), np.mean(wanted, axis=0)
            mapped = np.interp(frames.numpy(), np.concatenate(([0.0], found)), np.concatenate(([0.0], target)))
            frames = torch.from_numpy(mapped.astype(np.float32))
        return Made(frames[:, None])


def quantiles(stack: Tensor) -> NDArray[np.float64]:
    """Return the quantile function of what is above 0, at evenly spaced levels, strictly rising.

    Background is left out: how much of it there is says nothing of the contrast.
    """
    inside = stack[stack > 0].numpy()
    levels = np.linspace(0, 1, _LEVELS)
    found = np.quantile(inside, levels) if inside.size else levels
    return np.asarray(np.maximum.accumulate(found) + 1e-9 * np.arange(1, _LEVELS + 1), dtype=np.float64)


def said(examples: Sequence[Mapping[str, Volume]]) -> list[dict[str, str]]:
    """Return which examples were given, for plans."""
    return [{name: str(volume.source.path or volume) for name, volume in one.items()} for one in examples]
