"""Keeping fields from folding: motions are composed only as far as every neighbourhood keeps its orientation.

Invertibility is held as an invariant. A field whose Jacobian determinant is above a floor everywhere stays so: where
a further motion would break it the motion is faded out around there, and given up where that does not help.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.displacement import FieldPadding, compose, jacobian_determinant

_CELL = 4  # voxels across: motions are faded out on a grid as coarse as this
_REACH = (1, 2, 4, 4)  # cells around a broken place that are faded out, attempt by attempt
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
    """Return the share of a motion that is kept: none at broken places, all from ``2 * (reach + 1)`` cells off.

    Args:
        broken: ``(B, *space)``, boolean.
        reach: Cells.

    Returns:
        ``(B, 1, *space)`` in [0, 1].
    """
    pool = F.max_pool2d if broken.ndim == 3 else F.max_pool3d
    ends = [end for size in reversed(broken.shape[1:]) for end in (0, -size % _CELL)]
    cells = pool(F.pad(broken[:, None].float(), ends), _CELL)
    # One cell more than the mean reaches: a broken voxel in a corner of its cell would keep a part of its motion.
    around, window = [2 * reach + 3] * (broken.ndim - 1), [2 * reach + 1] * (broken.ndim - 1)
    cells = _mean(pool(_padded(cells, around), around, stride=1), window)
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
    for axis in range(field.ndim - 2):
        window = [width if index == axis else 1 for index in range(field.ndim - 2)]
        for _ in range(3):
            field = _mean(field, window)
    return field


def _mean(values: Tensor, window: list[int]) -> Tensor:
    """Return means over a window of odd sides around each place; what lies beyond the edge does not count."""
    pool = F.avg_pool2d if values.ndim == 4 else F.avg_pool3d
    counts = _padded(torch.ones_like(values[:1, :1]), window)
    sums, counts = (pool(padded, window, stride=1, divisor_override=1) for padded in (_padded(values, window), counts))
    return sums / counts


def _padded(values: Tensor, window: Sequence[int]) -> Tensor:
    """Return values with zeros around, so that a window fits everywhere.

    Pooling would pad by itself, but not volumes that are smaller than its window.
    """
    return F.pad(values, [size // 2 for size in reversed(window) for _ in range(2)])


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
