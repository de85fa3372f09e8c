"""The calibrator's own warps: frames moved by a flow, and by five values in normalised coordinates.

What the published calibrator is trained with (specification, section 5). Normalised coordinates are -1 and 1 at the
middles of the outermost pixels; values are ``(scale_y, scale_x, angle, x, y)`` as `Similarity` has them.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .published_registration import Box
from .rigid import Similarity, inverse, moved, published_similarity

_MULTIPLE = 16


def warp_by_flow(images: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return images moved by a flow, ``out(p) = in(p - flow(p))``, and where that is inside.

    Args:
        images: ``(B, T, C, H, W)``; all T are moved alike.
        flow: ``(B, 2, H, W)``, x and y in pixels.

    Returns:
        The images, 0 outside; and ``(B, 2, H, W)`` bool, whether x and y of ``p - flow`` lie inside.
    """
    places = _identity(flow) - flow / _half(flow)
    grid = places.permute(0, 2, 3, 1).repeat_interleave(images.shape[1], dim=0)
    warped = F.grid_sample(images.flatten(0, 1), grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return warped.view_as(images), (places >= -1) & (places <= 1)


def warp_by_values(image: Tensor, values: Similarity) -> tuple[Tensor, Box]:
    """Return an image ``(B, C, H, W)`` moved by values in normalised coordinates, and the box that stays filled.

    The box lies between the moved corners, on each side the inner one of two; sides are trimmed to multiples of 16.
    """
    back = torch.as_tensor(inverse(values.matrix)[:2], dtype=image.dtype, device=image.device)
    grid = F.affine_grid(back.expand(len(image), 2, 3), list(image.shape), align_corners=True)
    warped = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    last = np.array(image.shape[:1:-1]) - 1
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    (left, top), (right, above), (lower_left, below), (lower_right, bottom) = (
        (moved(values.matrix, corners) + 1) / 2 * last
    )
    x, y = (int(np.ceil(max(*pair, 0.0))) for pair in ((left, lower_left), (top, above)))
    x_end, y_end = (
        int(np.floor(min(*pair, float(end)))) + 1
        for pair, end in zip(((right, lower_right), (below, bottom)), last, strict=True)
    )
    return warped, (x, y, x + (x_end - x) // _MULTIPLE * _MULTIPLE, y + (y_end - y) // _MULTIPLE * _MULTIPLE)


def values_of_flow(flow: Tensor) -> Similarity:
    """Return the values in normalised coordinates that a flow ``(1, 2, H, W)`` amounts to, by the published fit."""
    target = _identity(flow)[0]
    source = target - (flow / _half(flow))[0]
    points = (one.reshape(2, -1).T.double().cpu().numpy() for one in (source, target))
    return published_similarity(*points)


def _half(flow: Tensor) -> Tensor:
    """Return the pixels in one unit of normalised coordinates, x and y."""
    rows, columns = flow.shape[2:]
    return torch.tensor([(columns - 1) / 2, (rows - 1) / 2], dtype=flow.dtype, device=flow.device).view(1, 2, 1, 1)


def _identity(flow: Tensor) -> Tensor:
    rows, columns = (torch.linspace(-1, 1, n, dtype=flow.dtype, device=flow.device) for n in flow.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y])[None]
