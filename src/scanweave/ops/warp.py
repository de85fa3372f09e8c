"""Backward warping by a displacement in pixels, with the conventions that published interpolators were trained in."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .eager import plain_cpu

WarpConvention = Literal["exact", "corner", "half_pixel"]
WarpPadding = Literal["zeros", "border"]

_MANY = 16  # channels from which on a pixel is looked up faster as a row


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
    dtype = torch.promote_types(torch.promote_types(image.dtype, flow.dtype), torch.float32)
    return sample_at(image, pointed_at(flow.to(dtype)), convention=convention, padding=padding)


def pointed_at(flow: Tensor) -> Tensor:
    """Return the places that flows point at: channels of `flow` plus, by turns, the column and the row they stand at.

    Args:
        flow: ``(B, 2 n, H, W)`` in pixels: n flows, columns before rows.

    Returns:
        ``(B, 2 n, H, W)`` in pixels, in float32 at least.
    """
    dtype = torch.promote_types(flow.dtype, torch.float32)
    rows, columns = (torch.arange(side, dtype=dtype, device=flow.device) for side in flow.shape[2:])
    here = torch.stack((columns.expand(flow.shape[2:]), rows[:, None].expand(flow.shape[2:])))
    return flow + here.repeat(flow.shape[1] // 2, 1, 1)


def sample_at(
    image: Tensor,
    places: Tensor,
    *,
    convention: WarpConvention = "exact",
    padding: WarpPadding = "border",
) -> Tensor:
    """Sample ``image`` bilinearly at places that :func:`pointed_at` gave, all of them or those of one tile.

    Args:
        image: ``(B, C, H, W)``, floating.
        places: ``(B, 2, h, w)`` in pixels of `image`, columns before rows, of any size.
        convention: As of :func:`backward_warp`.
        padding: As of :func:`backward_warp`.

    Returns:
        ``(B, C, h, w)`` in the dtype of `image`.

    Raises:
        ValueError: An unknown convention or padding.
    """
    if padding not in ("zeros", "border"):
        raise ValueError(f"padding {padding!r} is neither 'zeros' nor 'border'")
    if padding == "border" and _is_table(image) and plain_cpu(image, places):
        return _gathered(image, places, convention)
    dtype = torch.promote_types(torch.promote_types(image.dtype, places.dtype), torch.float32)
    height, width = image.shape[2:]
    columns, rows = places.to(dtype).unbind(1)
    grid = torch.stack((_normalised(columns, width, convention), _normalised(rows, height, convention)), dim=-1)
    if torch.is_grad_enabled() and padding == "border":
        # a flow that diverged: PyTorch's gradient on the CPU would read far outside the image, and end the process
        grid = torch.nan_to_num(grid)
    sampled = F.grid_sample(image.to(dtype), grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return sampled.to(image.dtype)


def _normalised(position: Tensor, side: int, convention: str) -> Tensor:
    """Return pixel positions as grid coordinates (``align_corners=False``: -1 and 1 are the outer edges)."""
    return (2 * _sampled(position, side, convention) + 1) / side - 1


def _sampled(position: Tensor, side: int, convention: str) -> Tensor:
    """Return the positions in pixels that a convention really samples."""
    if convention == "corner":
        return position * ((side - 1) / side)
    if convention == "half_pixel":
        return position - 0.5
    if convention != "exact":
        raise ValueError(f"warp convention {convention!r} is none of 'exact', 'corner', 'half_pixel'")
    return position


def _is_table(image: Tensor) -> bool:
    """Whether an image holds the many channels of each pixel side by side."""
    return image.shape[1] >= _MANY and image.is_contiguous(memory_format=torch.channels_last)


def _gathered(image: Tensor, places: Tensor, convention: str) -> Tensor:
    """Sample as :func:`sample_at`, a pixel's channels being a row of a table: the sum of four weighted rows.

    PyTorch's sampler reads one channel at a time, each from another line of memory: this takes a seventh of its time,
    and gives the channels side by side again. Results differ by the rounding of its coordinates.
    """
    batch, channels, height, width = image.shape
    corners, shares = [], []
    for position, side in zip(places.unbind(1), (width, height), strict=True):
        # like the sampler, take what is no number for the edge
        inside = torch.nan_to_num(_sampled(position, side, convention)).clamp(0, side - 1)
        corner = inside.floor().clamp(max=max(side - 2, 0))
        corners.append(corner.long())
        shares.append(inside - corner)
    (column, row), (right, below) = corners, shares
    first = row * width + column + torch.arange(batch, device=image.device).view(-1, 1, 1) * (height * width)
    across, down = int(width > 1), width if height > 1 else 0
    rows = torch.stack((first, first + across, first + down, first + down + across), dim=-1)
    left, above = 1 - right, 1 - below
    weights = torch.stack((left * above, right * above, left * below, right * below), dim=-1)
    table = image.permute(0, 2, 3, 1).reshape(-1, channels)
    made = F.embedding_bag(rows.view(-1, 4), table, mode="sum", per_sample_weights=weights.view(-1, 4))
    return made.view(batch, *places.shape[2:], channels).permute(0, 3, 1, 2)
