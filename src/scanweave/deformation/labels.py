"""Warping of labels: whole numbers in, the same whole numbers out."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..ops.displacement import FieldPadding, Unit, warp

LabelRule = Literal["nearest", "linear"]


def warp_labels(
    labels: Tensor,
    field: Tensor,
    *,
    unit: Unit = 1.0,
    rule: LabelRule = "nearest",
    padding: FieldPadding = "zeros",
) -> Tensor:
    """Warp maps of labels.

    Args:
        labels: ``(B, C, *space)``, of any integer or boolean dtype.
        field: ``(B, nd, *space)``.
        unit: Voxels per unit of the field.
        rule: ``nearest`` takes the nearest voxel's label; ``linear`` warps each class linearly and takes the one with
            the largest share (smoother outlines; one warp per class).
        padding: What lies beyond the image: ``zeros`` is label 0.

    Returns:
        ``(B, C, *space)`` in the dtype of `labels`, with no label that `labels` has not, but for 0 from beyond.

    Raises:
        ValueError: Labels that are not whole numbers, or shapes that do not go together.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels are whole numbers, not {labels.dtype}")
    known, codes = torch.unique(labels, return_inverse=True)
    known = torch.cat((known.new_zeros(1), known))  # code 0 is what lies beyond, so that float32 holds any label
    codes = codes + 1
    if rule == "nearest":
        found = warp(codes.to(field.dtype), field, unit=unit, mode="nearest", padding=padding).round().long()
        return known[found]
    best = torch.zeros_like(codes)
    share = torch.zeros(codes.shape, dtype=field.dtype, device=field.device)
    beyond = torch.ones_like(share)
    for code in range(1, known.numel()):
        warped = warp((codes == code).to(field.dtype), field, unit=unit, padding=padding)
        beyond = beyond - warped
        best = torch.where(warped > share, code, best)
        share = torch.maximum(share, warped)
    zero = int((known[1:] == 0).nonzero().flatten()[0]) + 1 if bool((known[1:] == 0).any()) else 0
    best = torch.where(beyond > share, zero, best)
    return known[best]
