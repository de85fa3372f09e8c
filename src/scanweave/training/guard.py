"""Watches losses and gradients: what explodes stops the training before the weights are spoilt."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import ScanweaveError

_REMEMBERED = 101
_LEAST = 20


class LossWatch:
    """Knows how large each optimizer's loss usually is.

    A loss explodes if it is not finite; or if it lies further above the median of its last 101 values than `factor`
    times the larger of that median's size and their interquartile range (losses may be negative), and above ten times
    the largest such median that there was (where a loss came near zero, one hard sample is no explosion).

    Args:
        factor: As above; None lets everything pass.
    """

    def __init__(self, factor: float | None) -> None:
        self._factor = factor
        self._losses: dict[str, deque[float]] = {}
        self._highest: dict[str, float] = {}

    def exploded(self, optimizer: str, loss: float) -> str | None:
        """Return in words how `loss` exploded, or None; then it is remembered."""
        losses = self._losses.setdefault(optimizer, deque(maxlen=_REMEMBERED))
        if self._factor is None:
            return None
        if not math.isfinite(loss):
            return f"the loss of {optimizer!r} is {loss}"
        if len(losses) >= _LEAST:
            ordered = sorted(losses)
            lower, median, upper = (ordered[len(ordered) * k // 4] for k in (1, 2, 3))
            highest = self._highest[optimizer] = max(median, self._highest.get(optimizer, 0.0))
            if loss > 10 * highest and loss - median > self._factor * max(abs(median), upper - lower):
                return f"the loss of {optimizer!r} is {loss:.4g}, its running median {median:.4g}"
        losses.append(loss)
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered."""
        losses = {name: list(losses) for name, losses in self._losses.items()}
        return {"losses": losses, "highest": dict(self._highest)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what another watch did."""
        self._losses = {name: deque(losses, maxlen=_REMEMBERED) for name, losses in state["losses"].items()}
        self._highest = dict(state["highest"])


class GradientRule:
    """Decides what happens to an update whose gradients are not finite. All processes see the same gradients.

    Args:
        rule: Skip the update, set what is not finite to zero, or stop.
        limit: Stop after so many skipped updates of one optimizer in a row.
    """

    def __init__(self, rule: Literal["skip", "zero", "stop"], limit: int) -> None:
        self._rule = rule
        self._limit = limit
        self.skipped = 0
        self._in_a_row: dict[str, int] = {}

    def passes(self, optimizer: str, norm: float, gradients: list[Tensor]) -> bool:
        """Return whether the update is made; by the rule, first mends the gradients in place.

        Raises:
            ScanweaveError: The rule says to stop, or too many updates in a row were skipped.
        """
        if math.isfinite(norm):
            self._in_a_row[optimizer] = 0
            return True
        if self._rule == "stop":
            raise ScanweaveError(
                f"gradients of {optimizer!r} are not finite",
                remedy="lower the learning rate, or choose training.non_finite skip or zero",
            )
        if self._rule == "zero":
            for gradient in gradients:
                torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0, out=gradient)
            return True
        self.skip(optimizer)
        return False

    def skip(self, optimizer: str) -> None:
        """Count a skipped update.

        Raises:
            ScanweaveError: Too many in a row.
        """
        self.skipped += 1
        in_a_row = self._in_a_row[optimizer] = self._in_a_row.get(optimizer, 0) + 1
        if in_a_row >= self._limit:
            raise ScanweaveError(
                f"gradients of {optimizer!r} were not finite {in_a_row} updates in a row",
                remedy="lower the learning rate, or train in float32",
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the counts."""
        return {"skipped": self.skipped, "in_a_row": dict(self._in_a_row)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the counts of another."""
        self.skipped, self._in_a_row = state["skipped"], dict(state["in_a_row"])
