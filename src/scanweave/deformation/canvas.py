"""The square or cube of equal voxels that the network works on, and the way of an image there and of a field back.

The network knows one unit, a fraction of the side, for every axis: on a canvas that is the same length in millimetres
everywhere, whatever the shape and the spacing of the image. An image of equal spacings no larger than the network was
trained on is only padded; any other is resampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UsageError
from ..ops.displacement import FieldPadding

TRAINED_SIDE = {2: 256, 3: 128}
"""Side in voxels of the images that the published configurations are trained on, by dimensions."""

_MULTIPLE = 8


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where an image lies on its canvas: in the middle, to a whole voxel.

    Attributes:
        space: Voxels of the image along each axis.
        spacing: Its spacing along each axis, in mm (or any one unit).
        side: Voxels of the canvas along every axis, a multiple of 8.
        voxel: Their size in mm.
    """

    space: tuple[int, ...]
    spacing: tuple[float, ...]
    side: int
    voxel: float

    @classmethod
    def around(
        cls,
        space: Sequence[int],
        spacing: Sequence[float] | None = None,
        *,
        side: int | None = None,
        limit: int | None = None,
    ) -> Canvas:
        """Lay a canvas around an image.

        Args:
            space: Voxels of the image along each axis.
            spacing: In mm; equal ones by default.
            side: Voxels of the canvas, a multiple of 8; by default as fine as the image, but at most `limit`.
            limit: The side that the network is trained on; by default that of the published configurations.

        Raises:
            UsageError: An image or spacing that there is no canvas for, or a side that is no multiple of 8.
        """
        space = tuple(space)
        spacing = tuple(float(step) for step in (spacing or [1.0] * len(space)))
        if len(space) not in TRAINED_SIDE or len(spacing) != len(space) or min(space) < 1 or not min(spacing) > 0:
            raise UsageError(f"no image has {space} voxels of {spacing} mm")
        finest = min(step for size, step in zip(space, spacing, strict=True) if size > 1 or max(space) == 1)
        extent = max(size * step for size, step in zip(space, spacing, strict=True))
        if side is None:
            own = max(2 * _MULTIPLE, -(-_whole(extent / finest) // _MULTIPLE) * _MULTIPLE)
            side = min(own, limit or TRAINED_SIDE[len(space)])
            return cls(space, spacing, side, finest if side == own else extent / side)
        if side % _MULTIPLE or side < 2 * _MULTIPLE:
            raise UsageError(f"a canvas has 16, 24, 32, ... voxels along each side, not {side}")
        return cls(space, spacing, side, extent / side)

    @property
    def length(self) -> float:
        """The side in mm."""
        return self.side * self.voxel

    @property
    def unit(self) -> tuple[float, ...]:
        """Voxels of the image, along each axis, in one side of the canvas."""
        return tuple(self.length / step for step in self.spacing)

    def onto(self, image: Tensor, *, padding: FieldPadding = "zeros") -> Tensor:
        """Bring an image to the canvas, by linear interpolation; where voxels get larger, averaged.

        Args:
            image: ``(B, C, *space)``.
            padding: What lies beyond the image; anything but `zeros` repeats its edge.

        Returns:
            ``(B, C, side, ...)``.
        """
        for axis, (size, step) in enumerate(zip(self.space, self.spacing, strict=True)):
            ratio = self.voxel / step
            places = (torch.arange(self.side, dtype=torch.float64) + 0.5) * ratio - 0.5 - self._before(axis)
            image = _along(image, axis + 2, _weights(places, size, width=max(1.0, ratio), extend=padding != "zeros"))
        return image

    def back(self, field: Tensor) -> Tensor:
        """Bring a field to the image.

        Args:
            field: ``(B, nd, side, ...)`` in fractions of the side.

        Returns:
            ``(B, nd, *space)``, still in fractions of the side of the canvas: its :attr:`unit` is per axis.
        """
        for axis, (size, step) in enumerate(zip(self.space, self.spacing, strict=True)):
            ratio = step / self.voxel
            places = (torch.arange(size, dtype=torch.float64) + self._before(axis) + 0.5) * ratio - 0.5
            field = _along(field, axis + 2, _weights(places, self.side, width=1.0, extend=True))
        return field

    def _before(self, axis: int) -> int:
        """Return the voxels of the canvas' margin before the image, in voxels of the image."""
        return int((_whole(self.length / self.spacing[axis]) - self.space[axis]) // 2)


def _whole(count: float) -> int:
    """Round a count of voxels up, but not for its last bits."""
    return -int(-(count - 1e-6) // 1)


def _weights(places: Tensor, size: int, *, width: float, extend: bool) -> Tensor:
    """Return what each of `size` voxels gives to each place, ``(places, size)``: a triangle of `width` each way."""
    reach = 0 if extend else math.ceil(width)  # zeros beyond the edge have their share
    places = places.clamp(-reach, size - 1 + reach)
    distance = (places[:, None] - torch.arange(-reach, size + reach, dtype=torch.float64)).abs()
    weights = (1 - distance / width).clamp_min(0)
    return (weights / weights.sum(1, keepdim=True))[:, reach : reach + size]


def _along(tensor: Tensor, axis: int, weights: Tensor) -> Tensor:
    """Apply weights along one axis; weights that only choose leave the numbers as they are."""
    chosen = (weights == 1).nonzero()
    if chosen.shape[0] == weights.shape[0]:
        return tensor.index_select(axis, chosen[:, 1].to(tensor.device))
    matrix = weights.to(tensor)
    return (tensor.movedim(axis, -1) @ matrix.T).movedim(-1, axis).contiguous()
