"""Learning rates over a training that follow its real length."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from .recipe import Horizon

_LEAST = 0.1


def cosine(step: int, horizon: Horizon, *, base: float, warm_up: int) -> float:
    """Return the rate of `step`: up to `base` in a straight line, then along a cosine down to a tenth of it.

    Args:
        step: From 0.
        horizon: How long training goes on.
        base: The highest rate.
        warm_up: Steps of the way up; the first one moves.
    """
    warm_up = min(warm_up, horizon.steps)
    if step < warm_up:
        return base * (step + 1) / warm_up
    done = min((step - warm_up) / max(horizon.steps - warm_up, 1), 1.0)
    return base * (_LEAST + (1 - _LEAST) * (math.cos(math.pi * done) + 1) / 2)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Rate:
    """The rate of every step."""

    strategy: Literal["cosine", "constant"] = "cosine"
    """Warm up and fall to a tenth over the real number of steps, or stay."""

    base: float = Field(default=2e-4, gt=0, allow_inf_nan=False)
    """The highest rate."""

    warm_up: int = Field(default=0, ge=0)
    """Steps of the warm-up of cosine."""

    def at(self, step: int, horizon: Horizon) -> float:
        """Return the rate of `step`, counted from 0."""
        if self.strategy == "constant":
            return self.base
        return cosine(step, horizon, base=self.base, warm_up=self.warm_up)
