"""The learning rate of the calibrator: one cycle of straight lines, as published."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from ..training.recipe import Horizon
from ..training.schedules import cosine

_START = 25  # how many times less than the highest the first rate is
_END = 1e4  # how many times less than the first the last is


def one_cycle(step: int, total: int, *, base: float, warm_up: float) -> float:
    """Return the rate of `step`: from a 25th of `base` up to it, then down to next to nothing, in straight lines.

    Args:
        step: From 0.
        total: Steps of the whole cycle.
        base: The highest rate.
        warm_up: Share of the cycle on the way up.

    Source: Smith and Topin, "Super-convergence", 2019; with the constants of PyTorch's ``OneCycleLR``.
    """
    first, peak = base / _START, max(warm_up * total - 1, 1e-9)
    if step <= peak:
        return first + (base - first) * step / peak
    done = min((step - peak) / max(total - 1 - peak, 1e-9), 1.0)
    return base + (first / _END - base) * done


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CalibratorRate:
    """The rate of every step."""

    strategy: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    """one-cycle: up and down in straight lines, as published; cosine: a warm-up, then down to a tenth."""

    base: float = Field(default=2e-5, gt=0, allow_inf_nan=False)
    """The highest rate."""

    warm_up: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps on the way up."""

    beyond: int = Field(default=100, ge=0)
    """one-cycle: steps that the cycle is longer than the training, so that the last ones still move."""

    def at(self, step: int, horizon: Horizon) -> float:
        """Return the rate of `step`, counted from 0."""
        if self.strategy == "constant":
            return self.base
        if self.strategy == "cosine":
            return cosine(step, horizon, base=self.base, warm_up=round(self.warm_up * horizon.steps))
        return one_cycle(step, horizon.steps + self.beyond, base=self.base, warm_up=self.warm_up)
