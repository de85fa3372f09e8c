"""Every option of the engine: the command line's help, the YAML file and the plan come from here."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from ..errors import UsageError

MAY_DIFFER = frozenset(
    {
        *("steps", "epochs", "accumulate", "device", "processes", "nodes", "workers", "prefetch"),
        *("validation_batch", "non_finite_limit", "explode", "log_every", "validate_every", "picture_every"),
        *("checkpoint_every", "keep_last", "keep_best"),
    }
)
"""Options that a resumed run may change: they leave the steps that were taken as they are."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TrainingConfig:
    """How a recipe is trained. Exactly one of `steps` and `epochs` says for how long."""

    steps: int | None = Field(default=None, ge=1)
    """Steps in all."""

    epochs: int | None = Field(default=None, ge=1)
    """Passes over the samples in all, instead of steps."""

    batch: int = Field(default=4, ge=1)
    """Samples per step, over all processes and accumulated parts: the same training whatever it runs on."""

    accumulate: int = Field(default=1, ge=1)
    """Parts that each process takes its share of a batch in, one after the other: less memory, the same step."""

    seed: int = Field(default=0, ge=0)
    """Decides the order of samples, everything random about them, and dropout."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the forward passes (automatic mixed precision). Weights stay float32; the scale that gradients
    of float16 need finds itself."""

    device: str = "auto"
    """Where to train: auto, cpu, cuda, cuda:1, mps."""

    processes: int = Field(default=1, ge=1)
    """Processes on this machine, one per GPU. Under torchrun its own numbers hold instead, over any number of
    machines."""

    nodes: int = Field(default=1, ge=1)
    """Machines, where no torchrun says so."""

    workers: int = Field(default=0, ge=0)
    """Processes that make samples ahead, per training process; 0 makes them in between steps."""

    prefetch: int = Field(default=2, ge=1)
    """Parts of a batch that each worker makes ahead."""

    clip_norm: float | None = Field(default=None, gt=0)
    """Scale the gradients of an update down to this norm; null never."""

    non_finite: Literal["skip", "zero", "stop"] = "skip"
    """When gradients are not finite: skip the update, set those entries to zero, or stop."""

    non_finite_limit: int = Field(default=20, ge=1)
    """Stop after so many skipped updates of one optimizer in a row."""

    explode: float | None = Field(default=1000.0, gt=1)
    """Stop when a loss is not finite, or above so many times its running median; null never. What was in the batch is
    written to a file."""

    log_every: int = Field(default=50, ge=1)
    """Steps between lines of the log."""

    validate_every: int = Field(default=1000, ge=1)
    """Steps between validations, with averaged weights where there are any."""

    validation_batch: int = Field(default=1, ge=1)
    """Validation samples at a time, per process."""

    picture_every: int = Field(default=1000, ge=1)
    """Steps between pictures in the log."""

    checkpoint_every: int = Field(default=1000, ge=1)
    """Steps between checkpoints; also one at the end, at each best validation, and when the run is stopped."""

    keep_last: int = Field(default=2, ge=1)
    """Newest checkpoints to keep."""

    keep_best: int = Field(default=1, ge=0)
    """Best checkpoints to keep beside them."""

    def __post_init__(self) -> None:
        """Refuse values that contradict each other.

        Raises:
            UsageError: Both steps and epochs, or a batch that cannot be divided.
        """
        if self.steps is not None and self.epochs is not None:
            raise UsageError("training.steps and training.epochs are both given", remedy="give one of them")
        if self.batch % self.accumulate:
            raise UsageError(
                f"training.batch {self.batch} cannot be taken in {self.accumulate} equal parts",
                remedy="choose training.batch as a multiple of training.accumulate",
            )

    def length(self, steps_per_epoch: int) -> int:
        """Return the number of steps in all.

        Raises:
            UsageError: Neither steps nor epochs are given.
        """
        if self.steps is not None:
            return self.steps
        if self.epochs is None:
            raise UsageError("nothing says how long to train", remedy="give training.steps or training.epochs")
        return self.epochs * steps_per_epoch
