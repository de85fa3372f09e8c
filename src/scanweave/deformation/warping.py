"""Pulling images and labels along one field together: places are computed once for all, slab by slab."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.displacement import FieldPadding
from .cores import each
from .fields import Field, dense, slabs
from .labels import LabelRule, warp_labels

Beyond = Literal["edge", "zero"]
"""What lies beyond an image: its edge, repeated, or 0."""


def pull(
    field: Field,
    images: Sequence[Tensor] = (),
    labels: Sequence[Tensor] = (),
    *,
    rule: LabelRule = "nearest",
    beyond: Beyond = "edge",
) -> tuple[list[Tensor], list[Tensor]]:
    """Return images and labels at the places that a field points to.

    Args:
        field: On their voxels.
        images: Each ``(C, *space)``, floating; interpolated linearly.
        labels: Each ``(C, *space)``, integer or boolean.
        rule: How labels are found (:func:`~scanweave.deformation.labels.warp_labels`).
        beyond: What lies beyond the outermost voxels.

    Returns:
        Images and labels, in their dtypes.

    Raises:
        ValueError: Shapes or dtypes that do not go together.
    """
    for item in (*images, *labels):
        if tuple(item.shape[1:]) != field.space:
            raise ValueError(f"{tuple(item.shape)} is not on the field's voxels, {field.space}")
    if any(item.is_floating_point() or item.is_complex() for item in labels):
        raise ValueError("labels are whole numbers")
    nearest = labels if rule == "nearest" else ()
    made = [torch.empty_like(item, memory_format=torch.contiguous_format) for item in images]
    marked = [torch.empty_like(item, memory_format=torch.contiguous_format) for item in nearest]

    def pull_slab(ends: tuple[int, int]) -> None:
        first, last = ends
        places = _places(field, first, last)
        if images:
            grid = _as_grid(places, field.space)
        for image, out in zip(images, made, strict=True):
            out[:, first:last] = _linear(image, grid.to(image.dtype), beyond)
        if nearest:
            index, within = _nearest(places, field.space, check=beyond == "zero")
        for label, out in zip(nearest, marked, strict=True):
            found = label.reshape(label.shape[0], -1).index_select(1, index).view(-1, *places.shape[1:])
            out[:, first:last] = found if within is None else found * within.to(found.dtype)

    field.slab(0, 1)  # what all slabs share is made once, before they are
    for _ in each(pull_slab, slabs(field.space)):
        pass
    if rule != "nearest":
        padding: FieldPadding = "border" if beyond == "edge" else "zeros"
        whole = dense(field)[None]
        marked = [warp_labels(label[None], whole, rule=rule, padding=padding)[0] for label in labels]
    return made, marked


def _places(field: Field, first: int, last: int) -> Tensor:
    """Return where each voxel of a slab is pulled from, ``(nd, slices, ...)``, in voxels."""
    vectors = field.slab(first, last)
    places = torch.empty_like(vectors)
    for axis, size in enumerate(field.space):
        start, stop = (first, last) if axis == 0 else (0, size)
        shape = [1] * (vectors.ndim - 1)
        shape[axis] = stop - start
        index = torch.arange(start, stop, dtype=vectors.dtype, device=vectors.device)
        torch.add(vectors[axis], index.view(shape), out=places[axis])
    return places


def _as_grid(places: Tensor, space: tuple[int, ...]) -> Tensor:
    """Return places as `grid_sample` has them, -1 and 1 being the outermost centres: ``(slices, ..., nd)``."""
    grid = torch.empty((*places.shape[1:], len(space)), dtype=places.dtype, device=places.device)
    for axis, size in enumerate(space):
        half = max(size - 1, 1) / 2
        torch.add(places[axis] / half, -1.0, out=grid[..., len(space) - 1 - axis])
    return grid


def _linear(image: Tensor, grid: Tensor, beyond: Beyond) -> Tensor:
    """Return an image at the places of a slab, ``(C, slices, ...)``."""
    padding = "border" if beyond == "edge" else "zeros"
    return F.grid_sample(image[None], grid[None], mode="bilinear", padding_mode=padding, align_corners=True)[0]


def _nearest(places: Tensor, space: tuple[int, ...], *, check: bool) -> tuple[Tensor, Tensor | None]:
    """Return the flat index of the nearest voxel of each place, and which places are within the image."""
    rounded = places.round()
    sizes = torch.tensor(space, dtype=places.dtype, device=places.device).view(-1, *[1] * len(space))
    within = ((rounded >= 0) & (rounded < sizes)).all(0) if check else None
    flat = torch.zeros(places.shape[1:], dtype=torch.int64, device=places.device)
    for axis, size in enumerate(space):
        flat = flat.mul_(size).add_(rounded[axis].clamp_(0, size - 1).to(torch.int64))
    return flat.flatten(), within


def bytes_of(space: Sequence[int]) -> int:
    """Return the bytes of a whole field on so many voxels, float32."""
    return 4 * len(space) * math.prod(space)
