"""Keeping fields from folding: motions are composed only as far as every neighbourhood keeps its orientation.

Invertibility is held as an invariant. A field whose Jacobian determinant is above a floor everywhere stays so: where
a further motion would break it the motion is faded out around there, and given up where that does not help.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.displacement import FieldPadding, compose, jacobian_determinant

_CELL = 4  # voxels across: motions are faded out on a grid as coarse as this
_REACH = (2, 4)  # cells around a broken place that are faded out, at the first and at the second attempt
_HALVINGS = 12
_WIDTHS = (5, 9, 17, 33)  # voxels that are averaged, the next where the one before did not help
_ROUNDS = 4


def damped_compose(
    later: Tensor, earlier: Tensor, *, unit: float, floor: float, padding: FieldPadding = "border"
) -> Tensor:
    """Compose two fields as far as no Jacobian determinant falls below `floor`.

    Args:
        later: The motion to add, ``(B, nd, *space)``.
        earlier: Fields so far, which keep to the floor.
        unit: Voxels per unit of the fields.
        floor: Smallest determinant allowed.
        padding: Of `earlier` beyond the edge.

    Returns:
        ``(B, nd, *space)``: the composition, with `later` faded out around where it would fold; `earlier` itself in
        those of the batch where nothing helps.
    """
    total = compose(later, earlier, unit=unit, padding=padding)
    broken = jacobian_determinant(total, unit=unit) < floor
    share = torch.ones_like(later[:, :1])
    for reach in _REACH:
        rows = broken.flatten(1).any(1).nonzero().flatten()
        if rows.numel() == 0:
            return total
        share[rows] = torch.minimum(share[rows], faded(broken[rows], reach))
        total[rows] = compose(later[rows] * share[rows], earlier[rows], unit=unit, padding=padding)
        broken[rows] = jacobian_determinant(total[rows], unit=unit) < floor
    rows = broken.flatten(1).any(1).nonzero().flatten()
    total[rows] = earlier[rows]
    return total


def faded(broken: Tensor, reach: int) -> Tensor:
    """Return the share of a motion that is kept: 0 within `reach` cells of broken places, rising smoothly to 1.

    Args:
        broken: ``(B, *space)``, boolean.
        reach: Cells.

    Returns:
        ``(B, 1, *space)`` in [0, 1].
    """
    pool, mean = (F.max_pool2d, F.avg_pool2d) if broken.ndim == 3 else (F.max_pool3d, F.avg_pool3d)
    cells = pool(broken[:, None].float(), _CELL, ceil_mode=True)
    cells = pool(cells, 2 * reach + 1, stride=1, padding=reach)
    cells = mean(cells, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)
    mode = "bilinear" if broken.ndim == 3 else "trilinear"
    grown = [size * _CELL for size in cells.shape[2:]]
    smooth = F.interpolate(cells, size=grown, mode=mode, align_corners=False)
    for axis, size in enumerate(broken.shape[1:]):
        smooth = smooth.narrow(axis + 2, 0, size)
    return 1 - smooth


def smoothed(field: Tensor, *, unit: float, floor: float) -> Tensor:
    """Return fields smoothed, around places where they fold or nearly so, until no determinant is below `floor`.

    What little smoothing in places cannot mend is shrunk as a whole.

    Args:
        field: ``(B, nd, *space)``.
        unit: Voxels per unit of the field.
        floor: Smallest determinant allowed.
    """
    field = field.clone()
    for width in _WIDTHS:
        for _ in range(_ROUNDS):
            broken = jacobian_determinant(field, unit=unit) < floor
            rows = broken.flatten(1).any(1).nonzero().flatten()
            if rows.numel() == 0:
                return field
            share = 1 - faded(broken[rows], max(1, width // _CELL))
            field[rows] = field[rows] + share * (_averaged(field[rows], width) - field[rows])
    return shrunk(field, unit=unit, floor=floor)


def _averaged(field: Tensor, width: int) -> Tensor:
    """Return means over about `width` voxels along every axis, bell-shaped."""
    mean = F.avg_pool2d if field.ndim == 4 else F.avg_pool3d
    for axis in range(field.ndim - 2):
        window = [width if index == axis else 1 for index in range(field.ndim - 2)]
        reach = [size // 2 for size in window]
        for _ in range(3):
            field = mean(field, window, stride=1, padding=reach, count_include_pad=False)
    return field


def shrunk(field: Tensor, *, unit: float | tuple[float, ...] = 1.0, floor: float) -> Tensor:
    """Return fields times the largest of 1, 1/2, 1/4, ..., 0 with which no Jacobian determinant is below `floor`.

    Between two of these the factor is sought by bisection.
    """
    parts = (field[row : row + 1] for row in range(field.shape[0]))
    return torch.cat([part * _largest_factor(part, unit, floor) for part in parts])


def _largest_factor(field: Tensor, unit: float | tuple[float, ...], floor: float) -> float:
    def sound(factor: float) -> bool:
        return bool(jacobian_determinant(field * factor, unit=unit).amin() >= floor)

    if sound(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sound(middle) else (low, middle)
    return low
