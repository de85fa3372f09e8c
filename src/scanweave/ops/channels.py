"""Sums and products per channel on images laid out channels last, at the speed of plain ones.

PyTorch takes a value per channel to such an image in runs of one pixel's few channels, and copies it to another layout
and back for instance normalisation. Seen as rows, with the values repeated along a row, the runs are as long as rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def is_channels_last(image: Tensor) -> bool:
    """Say whether ``(B, C, H, W)`` lies channels last in memory, and not also in the plain order."""
    return image.ndim == 4 and image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()


def as_laid_out(image: Tensor, like: Tensor) -> Tensor:
    """Return ``(B, 1, H, W)`` described as channels last if `like` is: the same memory, for which both are true.

    What a convolution of one channel gives takes its layout from this description. Other images return as they are.
    """
    if image.ndim != 4 or image.shape[1] != 1 or not is_channels_last(like) or not image.is_contiguous():
        return image
    return laid_channels_last(image)


def laid_channels_last(image: Tensor) -> Tensor:
    """Return ``(B, C, H, W)`` laid out channels last, and described so even where one channel makes both true."""
    _, channels, height, width = image.shape
    laid = image.contiguous(memory_format=torch.channels_last)
    return laid.as_strided(image.shape, (channels * height * width, 1, channels * width, channels))


def add_to_channels_(image: Tensor, values: Tensor) -> Tensor:
    """Add to an image, in place, and return it.

    Args:
        image: ``(B, C, *space)``.
        values: ``(B, C, 1, ...)``.
    """
    if not is_channels_last(image):
        return image.add_(values)
    _rows(image).add_(_repeated(values.flatten(1), image))
    return image


def instance_norm(image: Tensor, weight: Tensor, bias: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Return each channel of each image with mean 0 and variance 1, times weight, plus bias.

    Computed in float32 at least; what comes back is in the image's dtype.

    Args:
        image: ``(B, C, *space)``.
        weight: ``(C,)``.
        bias: ``(C,)``.
        eps: Added to the variance.
    """
    if not is_channels_last(image):
        return F.instance_norm(image, weight=weight, bias=bias, eps=eps)
    rows = _rows(image).to(torch.promote_types(image.dtype, torch.float32))
    centred = rows - _repeated(_channel_means(rows, image), image)
    scale = weight * torch.rsqrt(_channel_means(centred.square(), image) + eps)
    normal = torch.addcmul(_repeated(bias[None], image), centred, _repeated(scale, image))
    return _from_rows(normal.to(image.dtype), image)


def _rows(image: Tensor) -> Tensor:
    """Return ``(B, H, W C)``, a view."""
    return image.permute(0, 2, 3, 1).flatten(2)


def _from_rows(rows: Tensor, like: Tensor) -> Tensor:
    batch, channels, height, width = like.shape
    return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _repeated(values: Tensor, like: Tensor) -> Tensor:
    """Return ``(B, C)`` as ``(B, 1, W C)``."""
    return values.repeat(1, like.shape[3])[:, None]


def _channel_means(rows: Tensor, like: Tensor) -> Tensor:
    """Return the mean over an image of rows of it, ``(B, C)``."""
    batch, channels, height, width = like.shape
    return rows.sum(1).view(batch, width, channels).sum(1) / (height * width)
