"""Displacement fields of two and three dimensions: warping, composing, inverting, and measuring how they fold.

A field is ``(B, nd, *space)``; component a moves along array axis a, slowest axis first. It is a pull-back: the warped
image at p is the image at ``p + unit * field(p)``, p in voxels. `unit` says how many voxels one unit of the field is,
for all axes or for each: 1 for fields in voxels, the side for fields in fractions of a side, 1 / spacing for
millimetres.

Source: the operators of DRDM (Zheng et al., Medical Image Analysis 2026), in its order of rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

Unit = float | Sequence[float]
Interpolation = Literal["bilinear", "bicubic", "nearest"]
FieldPadding = Literal["zeros", "border", "reflection"]


def warp(
    image: Tensor,
    field: Tensor,
    *,
    unit: Unit = 1.0,
    mode: Interpolation = "bilinear",
    padding: FieldPadding = "zeros",
) -> Tensor:
    """Sample ``image`` where ``field`` points: ``out(p) = image(p + unit * field(p))``.

    Args:
        image: ``(B, C, *space)``, floating.
        field: ``(B, nd, *space)``.
        unit: Voxels per unit of the field.
        mode: ``bilinear`` is trilinear in 3D; ``bicubic`` exists in 2D only.
        padding: What lies beyond the outermost voxel centres.

    Returns:
        ``(B, C, *space)``. An axis of one voxel is never moved along.

    Raises:
        ValueError: Shapes that do not go together, or a mode that these dimensions do not have.
    """
    space = image.shape[2:]
    if field.shape != (image.shape[0], len(space), *space) or len(space) not in (2, 3):
        raise ValueError(f"an image {tuple(image.shape)} cannot be warped by a field {tuple(field.shape)}")
    if mode == "bicubic" and len(space) == 3:
        raise ValueError("bicubic sampling exists in 2D only: use bilinear for volumes")
    places = _grid(field, units(unit, len(space)))
    return F.grid_sample(image, places, mode=mode, padding_mode=padding, align_corners=True)


def _grid(field: Tensor, unit: Sequence[float]) -> Tensor:
    """Return the places that a field points to, -1 and 1 being the outermost centres, last axis first."""
    places = []
    for axis, size in enumerate(field.shape[2:]):
        shape = [1] * (field.ndim - 1)
        shape[axis + 1] = size
        index = torch.arange(size, dtype=field.dtype, device=field.device).view(shape)
        # multiply, add, divide, subtract: the published order, on which the last bits depend
        place = field[:, axis] * unit[axis] + index
        places.append(place / (max(size - 1, 1) / 2) - 1)
    return torch.stack(places[::-1], dim=-1)


def units(unit: Unit, ndims: int) -> tuple[float, ...]:
    """Return the unit of each axis.

    Raises:
        ValueError: Not one for all or one for each, or not positive.
    """
    each = (float(unit),) * ndims if isinstance(unit, (int, float)) else tuple(float(one) for one in unit)
    if len(each) != ndims or not all(one > 0 and math.isfinite(one) for one in each):
        raise ValueError(f"{unit} is no unit of {ndims} axes: give one positive number, or one for each axis")
    return each


def in_voxels(field: Tensor, *, unit: Unit) -> Tensor:
    """Return a field in voxels."""
    each = units(unit, field.shape[1])
    return field * torch.tensor(each, dtype=field.dtype, device=field.device).view(1, -1, *[1] * len(each))


def compose(later: Tensor, earlier: Tensor, *, unit: Unit = 1.0, padding: FieldPadding = "border") -> Tensor:
    """Return the field that warps once as `earlier` and then `later` warp one after the other.

    ``later + warp(earlier, later)``. Padding ``border`` lets a motion go on beyond the edge.
    """
    return later + warp(earlier, later, unit=unit, padding=padding)


def compose_all(fields: Sequence[Tensor], *, unit: Unit = 1.0, padding: FieldPadding = "border") -> Tensor:
    """Return one field for many, the first of which is applied first.

    Raises:
        ValueError: There is none.
    """
    if not fields:
        raise ValueError("no fields to compose")
    total = fields[0]
    for field in fields[1:]:
        total = compose(field, total, unit=unit, padding=padding)
    return total


def repeat(field: Tensor, times: int, *, unit: Unit = 1.0, padding: FieldPadding = "border") -> Tensor:
    """Return a field composed onto itself `times` times, that is applied ``times + 1`` times."""
    total = field
    for _ in range(times):
        total = field + warp(total, field, unit=unit, padding=padding)
    return total


def exponential(
    velocity: Tensor, *, time: float = 1.0, unit: Unit = 1.0, padding: FieldPadding = "border", largest: float = 0.25
) -> Tensor:
    """Return the flow along a stationary velocity: a diffeomorphism, by scaling and squaring.

    The velocity is halved until no step is longer than `largest` voxels, then composed with itself as often as halved.

    Args:
        velocity: ``(B, nd, *space)``, in the unit of the field per unit of time.
        time: How long to flow; negative for the inverse.
        unit: Voxels per unit of the field.
        padding: Of the velocity beyond the edge.
        largest: Longest first step, in voxels.
    """
    reach = float(in_voxels(velocity, unit=unit).abs().amax()) * abs(time) if velocity.numel() else 0.0
    halvings = max(0, math.ceil(math.log2(reach / largest))) if reach > 0 else 0
    field = velocity * math.ldexp(time, -halvings)
    for _ in range(halvings):
        field = compose(field, field, unit=unit, padding=padding)
    return field


def inverse(
    field: Tensor,
    *,
    unit: Unit = 1.0,
    padding: FieldPadding = "border",
    iterations: int = 100,
    tolerance: float = 1e-3,
) -> Tensor:
    """Return the field that undoes `field`, by fixed-point iteration of ``v(p) = -u(p + v(p))`` with halved steps.

    It converges where `field` does not fold; :func:`compose` of the two tells how well.

    Args:
        field: ``(B, nd, *space)``.
        unit: Voxels per unit of the field.
        padding: Of the field beyond the edge.
        iterations: At most so many.
        tolerance: Stop when no voxel still moves by more than this, in voxels.

    Source: Chen et al., "A simple fixed-point approach to invert a deformation field", Medical Physics 2008.
    """
    found = -field
    for _ in range(iterations):
        change = (found + warp(field, found, unit=unit, padding=padding)) / 2  # whole steps swing where strain is large
        found = found - change
        if float(in_voxels(change, unit=unit).abs().amax()) < tolerance / 2:
            break
    return found


def jacobian_determinant(field: Tensor, *, unit: Unit = 1.0) -> Tensor:
    """Return by how much each voxel's neighbourhood grows: det(I + grad u), below 0 where the field folds.

    Central differences, one-sided at the edges; an axis of one voxel has none. It is the same in voxels and in
    millimetres.

    Args:
        field: ``(B, nd, *space)``.
        unit: Voxels per unit of the field.

    Returns:
        ``(B, *space)``.
    """
    moved = in_voxels(field, unit=unit)
    rows = [
        [_slope(moved[:, a], b) + (1.0 if a == b else 0.0) for b in range(moved.shape[1])]
        for a in range(moved.shape[1])
    ]
    return determinant(rows)


def determinant(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the determinant of 2 x 2 or 3 x 3 tensors, written out."""
    if len(rows) == 2:
        (a, b), (c, d) = rows
        return a * d - b * c
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _slope(component: Tensor, axis: int) -> Tensor:
    """Return the derivative of ``(B, *space)`` along a space axis, per voxel."""
    dim, size = axis + 1, component.shape[axis + 1]
    if size == 1:
        return torch.zeros_like(component)
    first = component.narrow(dim, 1, 1) - component.narrow(dim, 0, 1)
    last = component.narrow(dim, size - 1, 1) - component.narrow(dim, size - 2, 1)
    inner = (component.narrow(dim, 2, size - 2) - component.narrow(dim, 0, size - 2)) / 2
    return torch.cat((first, inner, last), dim=dim)


def folded(field: Tensor, *, unit: Unit = 1.0) -> Tensor:
    """Return where a field folds, ``(B, *space)``, boolean: its Jacobian determinant is below 0."""
    return jacobian_determinant(field, unit=unit) < 0


def fold_fraction(field: Tensor, *, unit: Unit = 1.0) -> Tensor:
    """Return the share of voxels where each field of a batch folds, ``(B,)``."""
    return folded(field, unit=unit).flatten(1).double().mean(dim=1)


def magnitude(field: Tensor, *, unit: Unit = 1.0) -> Tensor:
    """Return the length of each displacement in voxels, ``(B, *space)``."""
    return cast(Tensor, torch.linalg.vector_norm(in_voxels(field, unit=unit), dim=1))
