"""Learning rates over a training: the published cosines, and those that follow its real length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from ..errors import UsageError
from ..training.recipe import Horizon
from ..training.schedules import cosine


def cosine_restarts(step: int, *, base: float, floor: float, periods: Sequence[int], weights: Sequence[float]) -> float:
    """Return the rate of `step`: cosines down to `floor`, one after the other, each beginning at its share of `base`.

    ``floor + weight (base - floor) (1 + cos(pi s / period)) / 2``, ``s`` counted from the cosine's beginning. As
    published, a restart shows one step after the boundary; after the last period the rate stays where that ended.

    Args:
        step: From 0.
        base: The highest rate of a cosine of weight 1.
        floor: Where cosines end.
        periods: Steps of each.
        weights: One for each.
    """
    ends = list(accumulate(periods))
    place = min(step, ends[-1])
    k = next(index for index, end in enumerate(ends) if place <= end)
    since = place - (ends[k] - periods[k])
    return floor + weights[k] * (base - floor) * (1 + math.cos(math.pi * since / periods[k])) / 2


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FusionRate:
    """The rate of every step."""

    strategy: Literal["cosine", "constant", "published"] = "cosine"
    """cosine: a warm-up, then one cosine down to a tenth over the real number of steps; constant; published: cosines
    down to `floor`, with restarts where there is more than one of `periods`."""

    base: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    """The highest rate."""

    warm_up: int = Field(default=0, ge=0)
    """Steps of a warm-up in a straight line; the published one takes the place of the cosine's first steps."""

    floor: float = Field(default=1e-7, ge=0)
    """published: where cosines end."""

    periods: tuple[int, ...] = ()
    """published: steps of each cosine; none means one over the real number of steps."""

    weights: tuple[float, ...] = ()
    """published: share of `base` at which each begins; none means 1 for all."""

    def __post_init__(self) -> None:
        """Refuse what makes no schedule.

        Raises:
            UsageError: Periods and weights that do not go together, or out of range.
        """
        if self.weights and len(self.weights) != len(self.periods):
            raise UsageError(f"{len(self.periods)} periods have {len(self.weights)} weights: give one of each, or none")
        if min(self.periods, default=1) < 1 or not all(0 < one < math.inf for one in self.weights):
            raise UsageError(f"periods {self.periods} with weights {self.weights} make no schedule")

    def at(self, step: int, horizon: Horizon) -> float:
        """Return the rate of `step`, counted from 0."""
        if self.strategy == "constant":
            return self.base
        if self.strategy == "cosine":
            return cosine(step, horizon, base=self.base, warm_up=self.warm_up)
        if step + 1 < self.warm_up:
            return self.base * (step + 1) / self.warm_up
        periods = self.periods or (horizon.steps,)
        weights = self.weights or (1.0,) * len(periods)
        return cosine_restarts(step, base=self.base, floor=self.floor, periods=periods, weights=weights)
