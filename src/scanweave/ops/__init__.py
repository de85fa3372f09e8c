"""Tensor geometry that more than one model or method needs."""

from .warp import WarpConvention, WarpPadding, backward_warp

__all__ = ["WarpConvention", "WarpPadding", "backward_warp"]
