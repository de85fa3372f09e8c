"""One warp of one still image: the only resampling that a simulated frame sees."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Picture = NDArray[np.float32]


def sampled(
    image: Picture,
    x: NDArray[Any],
    y: NDArray[Any],
    *,
    mode: Literal["bilinear", "bicubic"] = "bicubic",
) -> Picture:
    """Return `image` at positions ``(x, y)`` in pixels; beyond its edge pixels it is mirrored.

    Args:
        image: ``(row, column[, channel])``.
        x: ``(row', column')`` columns to look at.
        y: The same of rows.
        mode: ``bicubic`` keeps fine texture sharp; ``bilinear`` never leaves the range of the image.

    Returns:
        ``(row', column'[, channel])``.
    """
    height, width = image.shape[:2]
    channels = torch.from_numpy(np.ascontiguousarray(image)).reshape(height, width, -1).permute(2, 0, 1)[None]
    places = np.stack((x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1), axis=-1)
    grid = torch.from_numpy(places.astype(np.float32))[None]
    found = F.grid_sample(channels, grid, mode=mode, padding_mode="reflection", align_corners=True)
    return np.asarray(found[0].permute(1, 2, 0).reshape(*x.shape, *image.shape[2:]).numpy())
