"""Test-time augmentation: the run is also processed upside down, and both results are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..cine import Cine
from .methods import Fitted, Made, Method, PairState


@dataclass(frozen=True)
class TestTimeAugmentation:
    """A method made twice as slow and a little steadier: the mean of the run and of the run rotated by 180 degrees.

    The uncertainty is the mean of both runs' and grows where they disagree; extras are those of the unrotated run.

    Attributes:
        method: The method that is run twice.

    Source: the prediction mode of MoSt-DSA (Xu et al., 2024), for any method and any number of times.
    """

    # Not a test, whatever its name says to pytest.
    __test__ = False

    method: Method

    @property
    def name(self) -> str:
        """The name of the method, marked."""
        return f"{self.method.name}+tta"

    def describe(self) -> dict[str, Any]:
        """Return what the method says of itself, marked."""
        return {**self.method.describe(), "name": self.name, "tta": True}

    def fit(self, cine: Cine) -> FittedBothWays:
        """Fit the method to the run and to the rotated run."""
        return FittedBothWays(self.method.fit(cine), self.method.fit(_rotated(cine)))


@dataclass(frozen=True, slots=True)
class FittedBothWays:
    """A method that has seen the run upright and rotated."""

    upright: Fitted
    rotated: Fitted

    def prepare(self, i: int, j: int) -> BothWays:
        """Study frames `i` and `j` upright and rotated."""
        return BothWays(self.upright.prepare(i, j), self.rotated.prepare(i, j))


@dataclass(frozen=True, slots=True)
class BothWays:
    """A pair studied upright and rotated."""

    upright: PairState
    rotated: PairState

    def at(self, times: Sequence[float]) -> Made:
        """Return the mean of both results at `times` in [0, 1]; 0 and 1 give the sources exactly."""
        return both_ways(self.upright.at(times), self.rotated.at(times))


def both_ways(upright: Made, rotated: Made) -> Made:
    """Return the mean of what was made of a pair and of the pair turned by 180 degrees."""
    other = turned(rotated.frames)
    uncertainty: Tensor | None = None
    if upright.uncertainty is not None and rotated.uncertainty is not None:
        spread = (upright.frames - other).abs().mean(dim=1, keepdim=True) / 2
        uncertainty = (upright.uncertainty + turned(rotated.uncertainty)) / 2 + spread
    return Made((upright.frames + other) / 2, uncertainty, upright.extras)


def turned(maps: Tensor) -> Tensor:
    """Turn maps by 180 degrees: the last two axes alone, so that times and channels keep their order."""
    return torch.flip(maps, dims=(-2, -1))


@runtime_checkable
class Augmentable(Protocol):
    """A method that knows better than to be run on a rotated run: a network that pads first, then turns."""

    def augmented(self) -> Method:
        """Return the same method with augmentation."""


def augmented(method: Method) -> Method:
    """Return `method` with test-time augmentation."""
    return method.augmented() if isinstance(method, Augmentable) else TestTimeAugmentation(method)


def _rotated(cine: Cine) -> Cine:
    return Cine(
        lambda i: np.ascontiguousarray(cine.frame(i)[::-1, ::-1]),
        shape=cine.shape,
        dtype=cine.dtype,
        times=cine.times,
        time_unit=cine.time_unit,
        levels=cine.levels,
        display=cine.display,
        source=cine.source,
    )
