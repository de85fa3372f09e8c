"""What to train: the contract between a job's recipe and the engine.

A recipe knows networks, losses, schedules and samples. The engine knows devices, precision, processes, accumulation,
averages, checkpoints and logs (`scanweave.training.engine`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from .samples import Samples

Batch = Mapping[str, Tensor]
"""Samples joined along a first axis, on the device."""


@dataclass(frozen=True)
class Update:
    """One optimizer's step, asked for by a recipe.

    Attributes:
        optimizer: Its name in `Recipe.optimizers`.
        loss: A mean over the samples of the batch, with its graph. Only parameters of that optimizer get gradients.
        logs: Scalars worth a line, each a mean over the samples; detached by the engine. NaN says that the batch has
            nothing of the kind.
    """

    optimizer: str
    loss: Tensor
    logs: Mapping[str, Tensor | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Horizon:
    """How long training goes on, told before it starts.

    Attributes:
        steps: Steps in all.
        steps_per_epoch: Whole batches in one pass over the samples; the last partial one is dropped.
        batch: Samples per step, over all processes and accumulated parts.
    """

    steps: int
    steps_per_epoch: int
    batch: int

    def epoch(self, step: int) -> int:
        """Return the epoch of `step`, both counted from 0."""
        return step // self.steps_per_epoch


class Recipe(ABC):
    """What to train. State lives in modules and optimizers alone, so that a checkpoint of those resumes exactly.

    Attributes:
        monitor: The validation score that decides which checkpoint is best; a leading ``-`` means less is better.
    """

    monitor: str = "psnr"

    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """Return every network, trained or frozen, by the name that it has in checkpoints and average weights."""

    @abstractmethod
    def optimizers(self) -> Mapping[str, Optimizer]:
        """Return the optimizers by name; the same objects at each call."""

    @abstractmethod
    def samples(self) -> Samples:
        """Return what to train on."""

    def validation(self) -> Samples | None:
        """Return what to validate on, each sample once, in order; None for no validation."""
        return None

    @abstractmethod
    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the updates of one step, one after the other.

        The engine has stepped the optimizer of one update before it asks for the next, so that a second loss sees
        the first's step. Under accumulation it runs one such iterator per part of the batch, side by side.

        Args:
            batch: Samples on the device.
            step: Step from 0.
        """

    def begin(self, horizon: Horizon) -> None:
        """Learn how long training goes on, for schedules that depend on it. Called once, before anything else."""
        return

    def learning_rate(self, step: int) -> Mapping[str, float]:
        """Return the rate of `step` per optimizer; one that is left out keeps its own."""
        return {}

    def trainable(self, step: int) -> Mapping[str, bool]:
        """Return which parts train at `step`: prefixes of parameter names (``module.layer``) to yes or no.

        The longest prefix that fits a parameter decides; what none fits trains.
        """
        return {}

    def on_gradients(self, optimizer: str, parameters: Sequence[nn.Parameter], step: int) -> None:
        """Change the gradients of one update in place, after they were averaged and before they are clipped."""
        return

    def averages(self, step: int) -> Mapping[str, float]:
        """Return the decay, in [0, 1), of each module whose weights are averaged exponentially; called after `step`.

        ``average = decay * average + (1 - decay) * weights``; buffers are copied. Must name the same modules always.
        """
        return {}

    def validate(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return scores, one per sample each, ``(B,)``; NaN where a sample has nothing of the kind.

        Averaged weights are in place where there are any.
        """
        return {}

    def pictures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return pictures of the first validation sample for the log, ``(3 or 1, H, W)`` in [0, 1]."""
        return {}

    def export(self, directory: Path, stem: str) -> Sequence[Path]:
        """Write finished weights into `directory` in the layouts that users load; return the files."""
        return []

    def describe(self) -> Mapping[str, Any]:
        """Return what else the plan of a run should say, as plain values: weights started from, hashes of data."""
        return {}
