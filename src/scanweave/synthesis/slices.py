"""Which slices are made where: positions, the source slices around each, and the grid of the result.

With source slices at ``0, t, 2t, ...`` mm, a wanted position z lies after source slice ``n = floor(z / t)``, at
``delta = z / t - n`` of the way to the next: any real ratio, not only whole ones. What is looked at of the source are
slices ``n - 1 .. n + 2`` (Uni-COAL, section 6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..grid import Grid

Coverage: TypeAlias = Literal["centres", "slab", "published"]
"""From the centre of the first slice to that of the last; all that slices cover, half a spacing further on both sides;
or from the centre of the first for as long as slices are spaced, which goes beyond the last centre, as published."""

Edge: TypeAlias = Literal["replicate", "black"]
"""What lies beyond the first and last slice: it again, or -1, as published."""

_SNAP = 1e-6  # of a spacing: positions nearer to a source slice than this lie on it
_COARSEST = 1 + 1e-3  # spacings that are larger by no more than this are the source's own
_MOST = 1 << 15


@dataclass(frozen=True, slots=True)
class Place:
    """Where one made slice lies.

    Attributes:
        position_mm: Along the slice normal, from the centre of the first source slice.
        source: Index n of the source slice at or before it; below 0 or at the last where there is none on one side.
        delta: How far on to the next, in [0, 1).
        extrapolated: Whether it lies beyond the first or the last source slice.
    """

    position_mm: float
    source: int
    delta: float
    extrapolated: bool


@dataclass(frozen=True)
class SlicePlan:
    """All slices of a result.

    Attributes:
        places: Evenly spaced, in order.
        spacing: Between them, mm.
    """

    places: tuple[Place, ...]
    spacing: float

    @property
    def positions_mm(self) -> tuple[float, ...]:
        """Where they lie."""
        return tuple(place.position_mm for place in self.places)

    def grid(self, source: Grid) -> Grid:
        """Return the grid of the result for a source whose slices lie along array axis 0: exact."""
        affine = np.array(source.affine)
        normal = source.directions[:, 0]
        affine[:3, 0] = normal * self.spacing
        affine[:3, 3] = source.affine[:3, 3] + normal * self.places[0].position_mm
        return Grid((len(self.places), *source.shape[1:]), affine)


def plan_slices(count: int, step: float, *, spacing: float | None = None, coverage: Coverage = "centres") -> SlicePlan:
    """Return where slices are made.

    Args:
        count: Source slices.
        step: Between them, mm.
        spacing: Between made slices, mm: any number above 0, not above `step`. None: where source slices are.
        coverage: Where they begin and end.

    Raises:
        UsageError: A spacing that there is not, or one above that of the source.

    Example:
        >>> plan = plan_slices(3, 5.0, spacing=2.0)
        >>> [(place.position_mm, place.source, round(place.delta, 3)) for place in plan.places]
        [(0.0, 0, 0.0), (2.0, 0, 0.4), (4.0, 0, 0.8), (6.0, 1, 0.2), (8.0, 1, 0.6), (10.0, 2, 0.0)]
    """
    if spacing is None:
        return SlicePlan(places_of([k * step for k in range(count)], count=count, step=step), step)
    if not (math.isfinite(spacing) and spacing > 0):
        raise UsageError(f"a spacing of {spacing:g} mm between slices", remedy="give --spacing above 0")
    if spacing > step * _COARSEST:
        raise UsageError(
            f"a spacing of {spacing:g} mm is coarser than the {step:.4g} mm of the source",
            remedy="give a smaller --spacing: slices are made between slices, not left out",
        )
    extent = (count - 1) * step
    length = {"centres": extent + spacing, "slab": count * step, "published": count * step}[coverage]
    number = max(1, math.floor(length / spacing + _SNAP))
    if number > _MOST:
        raise UsageError(f"a spacing of {spacing:g} mm makes {number} slices", remedy="give a larger --spacing")
    # of a slab, what does not divide evenly is left out on both sides alike
    start = (extent - (number - 1) * spacing) / 2 if coverage == "slab" else 0.0
    return SlicePlan(places_of([start + k * spacing for k in range(number)], count=count, step=step), spacing)


def places_of(positions_mm: Sequence[float], *, count: int, step: float) -> tuple[Place, ...]:
    """Return where positions lie among `count` source slices that are `step` mm apart."""
    found = []
    for position in positions_mm:
        along = position / step
        if abs(along - round(along)) < _SNAP:
            along = float(round(along))
        source = math.floor(along)
        found.append(Place(float(position), source, along - source, not 0 <= along <= count - 1))
    return tuple(found)


def windows(stack: Tensor, places: Sequence[Place], *, size: int = 4, edge: Edge = "replicate") -> Tensor:
    """Return the source slices around each place.

    Args:
        stack: ``(slice, row, column)`` in [-1, 1].
        places: Where.
        size: Slices K in a window: ``n + 1 - K // 2`` and on; one slice is n itself.
        edge: What lies beyond the ends.

    Returns:
        ``(place, K, row, column)``.
    """
    first = 0 if size == 1 else 1 - size // 2
    wanted = torch.tensor([[place.source + first + k for k in range(size)] for place in places])
    there = wanted.clamp(0, stack.shape[0] - 1)
    found = stack[there]
    if edge == "black":
        found[there != wanted] = -1.0
    return found
