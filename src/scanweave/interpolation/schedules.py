"""Learning rates and loss weights over a training: the published tables, and one that follows its real length."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from ..errors import UsageError
from ..training.recipe import Horizon
from ..training.schedules import cosine

Strategy: TypeAlias = Literal[
    "cosine",
    "constant",
    "ori",
    "ori-custom",
    "ori-for-continue",
    "2-stage-decay",
    "3-stage-decay",
    "multistep",
    "multistep-published",
]

_PUBLISHED_EPOCHS = 300  # the length of MoSt-DSA's cosine, whatever the length of the training
_MILESTONES = {"ori-custom": 1, "ori-for-continue": 1, "2-stage-decay": 1, "3-stage-decay": 2}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LearningRate:
    """The rate of every step.

    Strategies of ours: ``cosine`` warms up and falls to a tenth over the real number of steps; ``constant``;
    ``multistep`` multiplies by `gamma` at each of `milestones`, in epochs from 0. MoSt-DSA's, `milestones` in steps:
    ``ori`` (all numbers fixed), ``ori-custom``, ``ori-for-continue`` (a warm-up, then a cosine over 300 epochs,
    whatever the length of the training), ``2-stage-decay`` and ``3-stage-decay``. Super-SloMo's:
    ``multistep-published``, whose drops come an epoch before each milestone, as its program has them.
    """

    strategy: Strategy = "cosine"
    """Which table."""

    base: float = 2e-4
    """The highest rate."""

    start: float = 0.0
    """Where the warm-up of ori-for-continue begins."""

    warm_up: int = 0
    """Steps of the warm-up of cosine."""

    milestones: tuple[int, ...] = ()
    """Ends of the warm-up or stages: steps for MoSt-DSA's strategies, epochs for multistep."""

    gamma: float = 0.1
    """Factor at each stage."""

    def __post_init__(self) -> None:
        """Refuse what makes no schedule.

        Raises:
            UsageError: Numbers out of range, or milestones of another count than the strategy has.
        """
        known = math.isfinite(self.base) and math.isfinite(self.start)
        if not known or self.base <= 0 or self.start < 0 or not 0 < self.gamma <= 1 or self.warm_up < 0:
            raise UsageError(f"a rate of {self.base}, start {self.start}, gamma {self.gamma} is no learning rate")
        expected = _MILESTONES.get(self.strategy)
        if expected is not None and len(self.milestones) != expected:
            raise UsageError(f"{self.strategy} has {expected} milestones in steps, {len(self.milestones)} came")
        if list(self.milestones) != sorted(set(self.milestones)) or min(self.milestones, default=1) < 1:
            raise UsageError(f"milestones rise from 1, unlike {self.milestones}")

    def at(self, step: int, horizon: Horizon) -> float:
        """Return the rate of `step`, counted from 0."""
        match self.strategy:
            case "cosine":
                return cosine(step, horizon, base=self.base, warm_up=self.warm_up)
            case "constant":
                return self.base
            case "multistep" | "multistep-published":
                early = self.strategy == "multistep-published"
                passed = sum(horizon.epoch(step) >= milestone - early for milestone in self.milestones)
                return self.base * self.gamma**passed
            case "2-stage-decay" | "3-stage-decay":
                return self.base * self.gamma ** sum(step >= milestone for milestone in self.milestones)
            case "ori":
                return _warmed_cosine(step, horizon, base=2e-4, start=0.0, warm_up=2000)
            case _:
                start = self.start if self.strategy == "ori-for-continue" else 0.0
                return _warmed_cosine(step, horizon, base=self.base, start=start, warm_up=self.milestones[0])


def _warmed_cosine(step: int, horizon: Horizon, *, base: float, start: float, warm_up: int) -> float:
    if step < warm_up:
        return start + (base - start) * step / warm_up
    length = _PUBLISHED_EPOCHS * horizon.steps_per_epoch - warm_up or 1
    return base / 10 + 0.9 * base * (math.cos(math.pi * (step - warm_up) / length) + 1) / 2


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Weight:
    """The weight of a loss term, constant between boundaries."""

    values: tuple[float, ...] = (1.0,)
    """One value more than there are boundaries."""

    boundaries: tuple[int, ...] = ()
    """Where the next value comes into force."""

    unit: Literal["epoch", "step"] = "epoch"
    """What boundaries count: epochs from 1, as published, or steps from 0."""

    def __post_init__(self) -> None:
        """Refuse what makes no schedule.

        Raises:
            UsageError: Counts that do not go together, boundaries that do not rise, or a negative weight.
        """
        if len(self.values) != len(self.boundaries) + 1:
            raise UsageError(f"{len(self.boundaries)} boundaries need one value more, not {len(self.values)}")
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise UsageError(f"boundaries rise, unlike {self.boundaries}")
        if not all(math.isfinite(value) and value >= 0 for value in self.values):
            raise UsageError(f"weights are at least 0, unlike {self.values}")

    def at(self, step: int, horizon: Horizon) -> float:
        """Return the weight in force at `step`, counted from 0."""
        place = step if self.unit == "step" else horizon.epoch(step) + 1
        return self.values[sum(place >= boundary for boundary in self.boundaries)]

    @property
    def last(self) -> float:
        """The weight in force in the end."""
        return self.values[-1]
