"""The network of `self-supervised`: what a spline misses between thick slices, from the slices themselves.

It works on the lattice of the thick slices, where a plane through the stack has few samples across slices and many
along them, and gives the `factor` thin slices of every thick one as channels: as much is seen as on the lattice of the
thin slices, for a `factor`-th of the work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDE, _SQUARE = (3, 5), (3, 3)  # across slices, along them


class ThroughPlaneNetwork(nn.Module):
    """Residual convolutions over planes through a stack of slices.

    Weights are drawn so that the first answer is 0: the network starts as the spline that it adds to.

    Args:
        factor: Thin slices per thick one.
        width: Channels within.
        blocks: Pairs of convolutions.
        generator: Draws the weights.
    """

    def __init__(self, factor: int, *, width: int, blocks: int, generator: torch.Generator) -> None:
        super().__init__()
        self.factor = factor
        self.first = _convolution(1, width, _WIDE)
        sizes = [size for _ in range(blocks) for size in (_WIDE, _SQUARE)]
        self.body = nn.ModuleList(_convolution(width, width, size) for size in sizes)
        self.last = _convolution(width, factor, _WIDE)
        for layer in (self.first, *self._layers()):
            bound = math.sqrt(3 / layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.last.weight)

    def forward(self, planes: Tensor) -> Tensor:
        """Map ``(B, slice, along)`` to what is missing, ``(B, slice * factor, along)``."""
        features = self.first(planes[:, None])
        for before, after in zip(*[self._layers()] * 2, strict=True):
            features = features + 0.5 * after(F.relu(before(F.relu(features))))
        thin: Tensor = self.last(F.relu(features))
        return thin.transpose(1, 2).flatten(1, 2)

    def _layers(self) -> Iterator[nn.Conv2d]:
        for layer in self.body:
            assert isinstance(layer, nn.Conv2d)
            yield layer


def _convolution(channels: int, width: int, size: tuple[int, int]) -> nn.Conv2d:
    layer = nn.Conv2d(channels, width, size, padding=(size[0] // 2, size[1] // 2))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
