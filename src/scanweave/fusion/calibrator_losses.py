"""What the calibrator's training minimises and reports: flow at every step of the search, and what fusion makes of it.

Source: Teed and Deng, "RAFT", ECCV 2020, section 3.3, for the loss over steps; XFusion for the rest (specification,
section 5).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_LONGEST = 400.0  # pixels of a flow that counts
_WITHIN = (1, 3, 5)  # pixels


def counting_pixels(given: Tensor, inside: Tensor, truth: Tensor) -> Tensor:
    """Return which pixels count, ``(B, H, W)`` bool.

    Args:
        given: ``(B, H, W)``, 1 where the true flow is known.
        inside: ``(B, 2, H, W)`` bool, whether x and y of the place that is looked at lie inside.
        truth: ``(B, 2, H, W)``, the true flow in pixels; longer than 400 none counts.
    """
    short: Tensor = truth.norm(dim=1) < _LONGEST
    return (given >= 0.5) & inside.all(dim=1) & short


def sequence_loss(flows: Sequence[Tensor], truth: Tensor, valid: Tensor, *, gamma: float = 0.8) -> Tensor:
    """Return ``sum_i gamma^(n - 1 - i) mean(valid |flow_i - truth|)``, over both components.

    Args:
        flows: ``(B, 2, H, W)`` each, pixels, after every step of the search.
        truth: ``(B, 2, H, W)``.
        valid: ``(B, H, W)``, which pixels count; the mean is over all.
        gamma: How much less each earlier step counts.
    """
    last = len(flows) - 1
    return torch.stack(
        [gamma ** (last - i) * (valid[:, None] * (flow - truth).abs()).mean() for i, flow in enumerate(flows)]
    ).sum()


def reconstruction_loss(made: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the mean squared difference of frames ``(B, 1, H, W)``.

    Args:
        made: What the evaluator made.
        truth: The sharp camera's frame.
        valid: ``(B, H, W)``: pixels that do not count become 0 in both, and the others are divided by the share of
            those that do, as published (``mask_valid_for_fusion``); so the loss is the mean over these by that share.
    """
    if valid is not None:
        counted = valid[:, None].to(made.dtype)
        weight = counted * (counted[0].numel() / counted.flatten(1).sum(dim=1).clamp(min=1)).view(-1, 1, 1, 1)
        made, truth = made * weight, truth * weight
    return (made - truth).square().mean()


def flow_scores(flow: Tensor, truth: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Return, ``(B,)`` each, the mean distance of end points in pixels, and the shares of those below 1, 3 and 5.

    Args:
        flow: ``(B, 2, H, W)``.
        truth: The same shape.
        valid: ``(B, H, W)``, which pixels count; NaN for a sample where none does.
    """
    distance = (flow - truth).norm(dim=1)
    count = valid.flatten(1).sum(dim=1).to(distance.dtype)

    def mean(values: Tensor) -> Tensor:
        return torch.where(valid, values, 0).flatten(1).sum(dim=1) / count

    within = {f"{pixels}px": mean((distance < pixels).to(distance.dtype)) for pixels in _WITHIN}
    return {"epe": mean(distance), **within}


def counted_psnr(made: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the PSNR of frames ``(B, 1, H, W)`` in [0, 1] over the pixels that count, ``(B,)``, dB."""
    error = torch.where(valid[:, None], (made - truth).square(), 0).flatten(1).sum(dim=1)
    return -10 * (error / valid.flatten(1).sum(dim=1)).log10()
