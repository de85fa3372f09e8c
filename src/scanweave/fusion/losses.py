"""What training minimises: differences of pixels, in the forms that are published."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..errors import UsageError

Kind = Literal["charbonnier", "l1", "mse"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LossConfig:
    """How far what was made is from the truth."""

    kind: Kind = "charbonnier"
    """charbonnier: the root of the squared difference plus eps, as published for EDVR-STF; l1: the absolute difference,
    as published for SWIN-XVR; mse: the squared one."""

    reduction: Literal["sum", "mean"] = "sum"
    """Over the pixels of a sample. Samples are always averaged: a published sum over more than one sample per GPU is
    this times their number."""

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What the result is multiplied by."""

    eps: float = Field(default=1e-12, gt=0)
    """Of charbonnier."""

    def of(self, made: Tensor, truth: Tensor) -> Tensor:
        """Return the loss, a mean over samples.

        Args:
            made: ``(B, ..., H, W)``.
            truth: The same shape.
        """
        loss = pixel_loss(made, truth, kind=self.kind, reduction=self.reduction, eps=self.eps)
        return self.weight * (loss / len(made) if self.reduction == "sum" else loss)


def pixel_loss(
    made: Tensor, truth: Tensor, *, kind: Kind = "charbonnier", reduction: Literal["sum", "mean"] = "sum", eps: float
) -> Tensor:
    """Return the sum or mean of a measure of each pixel's difference ``d``.

    ``charbonnier`` is ``sqrt(d^2 + eps)``, ``l1`` is ``|d|`` and ``mse`` is ``d^2``.

    Args:
        made: Any shape.
        truth: The same shape.
        kind: Which measure.
        reduction: What is done with all of them.
        eps: Keeps the root's slope finite where nothing differs.

    Raises:
        UsageError: Shapes that differ.

    Source: Lai et al., "Deep Laplacian pyramid networks", CVPR 2017, for charbonnier.
    """
    if made.shape != truth.shape:
        raise UsageError(f"frames of shape {tuple(made.shape)} cannot be compared with {tuple(truth.shape)}")
    difference = made - truth
    match kind:
        case "charbonnier":
            each = torch.sqrt(difference.square() + eps)
        case "l1":
            each = difference.abs()
        case _:
            each = difference.square()
    return each.sum() if reduction == "sum" else each.mean()
