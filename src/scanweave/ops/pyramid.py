"""Laplacian pyramids: an image as what each halving of its size loses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def laplacian_pyramid(image: Tensor, *, levels: int = 5) -> list[Tensor]:
    """Split an image into bands of detail: level l is ``x_l - up(x_(l+1))`` with ``x_(l+1) = down(x_l)``.

    `down` blurs with the binomial 5 x 5 and keeps every second row and column from the first; `up` puts zeros between
    and blurs with four times that kernel. Borders are reflected. What is left after the last halving is not given.

    Args:
        image: ``(B, C, H, W)``, floating; sides that can be halved `levels` times and are twice 2^levels at least.
        levels: How many bands.

    Returns:
        Bands from fine to coarse, band l of ``(B, C, H / 2^l, W / 2^l)``.

    Raises:
        ValueError: Sides that do not allow so many levels.

    Source: Burt and Adelson, "The Laplacian pyramid as a compact image code", 1983; borders as MoSt-DSA has them.
    """
    step = 2**levels
    rows, columns = image.shape[-2:]
    if rows % step or columns % step or min(rows, columns) < 2 * step:
        raise ValueError(
            f"a pyramid of {levels} levels needs sides that are multiples of {step} and at least {2 * step}, "
            f"not {rows} x {columns}"
        )
    taps = torch.tensor(_BINOMIAL, dtype=image.dtype, device=image.device)
    kernel = torch.outer(taps, taps).expand(1, 1, 5, 5)
    bands = []
    rest = image.flatten(0, 1).unsqueeze(1)  # every channel is an image of its own
    for _ in range(levels):
        smaller = _blur(rest, kernel, stride=2)
        between = F.pad(smaller.unsqueeze(3).unsqueeze(5), (0, 1, 0, 0, 0, 1))  # one zero after each sample
        bands.append(rest - _blur(between.flatten(4, 5).flatten(2, 3), 4 * kernel))
        rest = smaller
    return [band.view(*image.shape[:2], *band.shape[-2:]) for band in bands]


def _blur(planes: Tensor, kernel: Tensor, *, stride: int = 1) -> Tensor:
    return F.conv2d(F.pad(planes, (2, 2, 2, 2), mode="reflect"), kernel, stride=stride)
