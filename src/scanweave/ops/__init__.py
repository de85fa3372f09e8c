"""Tensor geometry that more than one model or method needs."""

from .padding import Padding, crop, pad, padding_to_multiple
from .tiling import in_tiles
from .warp import WarpConvention, WarpPadding, backward_warp

__all__ = [
    "Padding",
    "WarpConvention",
    "WarpPadding",
    "backward_warp",
    "crop",
    "in_tiles",
    "pad",
    "padding_to_multiple",
]
