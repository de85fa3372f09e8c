"""Backward warping by a displacement in pixels, with the conventions that published interpolators were trained in."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

WarpConvention = Literal["exact", "corner", "half_pixel"]
WarpPadding = Literal["zeros", "border"]


def backward_warp(
    image: Tensor,
    flow: Tensor,
    *,
    convention: WarpConvention = "exact",
    padding: WarpPadding = "border",
) -> Tensor:
    """Sample ``image`` bilinearly where `flow` points: ``out(x, y) = image(x + u, y + v)``.

    The position really sampled, along columns (rows alike with H and v):

    ============== ========================= ===============================================================
    convention     sampled column            zero flow gives
    ============== ========================= ===============================================================
    ``exact``      ``x + u``                 the image
    ``corner``     ``(x + u) * (W - 1) / W`` a slight shrink (networks trained with PyTorch up to 1.2)
    ``half_pixel`` ``x + u - 1/2``           a shift by half a pixel (the same code in PyTorch 1.3 and later)
    ============== ========================= ===============================================================

    Args:
        image: ``(B, C, H, W)``, floating.
        flow: ``(B, 2, H, W)`` in pixels; channel 0 along columns (x), channel 1 along rows (y).
        convention: Where a flow points, by the table.
        padding: What lies outside: ``border`` repeats the edge, ``zeros`` is 0.

    Returns:
        ``(B, C, H, W)`` in the dtype of `image`. Sampling runs in float32 at least, since half precision cannot name
        the pixels of a large image.

    Raises:
        ValueError: Shapes that do not go together, or an unknown convention or padding.

    Source: Super-SloMo's backward warp (Jiang et al., CVPR 2018), whose normalisation by the full side means two
    different operators before and after the ``align_corners`` default of PyTorch changed.
    """
    if image.ndim != 4 or flow.shape != (image.shape[0], 2, *image.shape[2:]):
        raise ValueError(f"an image {tuple(image.shape)} cannot be warped by a flow {tuple(flow.shape)}")
    if padding not in ("zeros", "border"):
        raise ValueError(f"padding {padding!r} is neither 'zeros' nor 'border'")
    dtype = torch.promote_types(torch.promote_types(image.dtype, flow.dtype), torch.float32)
    height, width = image.shape[2:]
    moved = flow.to(dtype)
    columns = moved[:, 0] + torch.arange(width, dtype=dtype, device=image.device)
    rows = moved[:, 1] + torch.arange(height, dtype=dtype, device=image.device)[:, None]
    grid = torch.stack((_normalised(columns, width, convention), _normalised(rows, height, convention)), dim=-1)
    if torch.is_grad_enabled() and padding == "border":
        # a flow that diverged: PyTorch's gradient on the CPU would read far outside the image, and end the process
        grid = torch.nan_to_num(grid)
    sampled = F.grid_sample(image.to(dtype), grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return sampled.to(image.dtype)


def _normalised(position: Tensor, side: int, convention: str) -> Tensor:
    """Return pixel positions as grid coordinates (``align_corners=False``: -1 and 1 are the outer edges)."""
    if convention == "corner":
        position = position * ((side - 1) / side)
    elif convention == "half_pixel":
        position = position - 0.5
    elif convention != "exact":
        raise ValueError(f"warp convention {convention!r} is none of 'exact', 'corner', 'half_pixel'")
    return (2 * position + 1) / side - 1
