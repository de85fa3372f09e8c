"""The field's habit: independent random vectors on a coarse lattice, made smooth by a B-spline. They may fold.

What folds is measured and warned of: use it to compare with, and `diffeomorphic` to deform with.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import UsageError
from ..grid import Grid
from ..ops.displacement import magnitude
from .fields import Field, LatticeField, determinants, slabs
from .methods import DeformationMethod, Params, extent, generator_of, held_axis, lattice

DEFAULT_REACH = 0.05
"""The longest displacement by default, as a share of the longest side."""

_CELLS = 6  # along the longest side: seven control points, as others have by default


class FoldingWarning(UserWarning):
    """A deformation folds: parts of the image lie there mirrored, or more than once."""


@dataclass(frozen=True, kw_only=True)
class Elastic(DeformationMethod):
    """Random vectors on a coarse lattice, interpolated by a cubic B-spline; they fold where they are long.

    Attributes:
        control_spacing: Millimetres between control points; by default a sixth of the longest side.
        through_plane: Whether voxels move out of their slices, and slices differently; by default where slices are
            less than three times as far apart as pixels (`held_axis`).
    """

    control_spacing: float | None = None
    through_plane: bool | None = None

    name: ClassVar[str] = "elastic"

    def __post_init__(self) -> None:
        """Refuse what no lattice can have.

        Raises:
            UsageError: A spacing that is not above 0.
        """
        super().__post_init__()
        if self.control_spacing is not None and not self.control_spacing > 0:
            raise UsageError(f"control points {self.control_spacing:g} mm apart", remedy="give a number above 0")

    def draw(self, grid: Grid, generator: torch.Generator) -> Params:
        """Draw a seed; the longest displacement, in mm, is the one that is allowed."""
        longest = self.max_displacement or DEFAULT_REACH * self.strength * extent(grid)
        return {**super().draw(grid, generator), "longest": longest}

    def fields(self, params: Sequence[Params], grid: Grid, image: Tensor | None = None) -> list[Field]:
        """Return the fields of what was drawn; warns of those that fold."""
        fields = [self._field(drawn, grid) for drawn in params]
        for drawn, field in zip(params, fields, strict=True):
            folds = sum(int((slab < 0).sum()) for slab in determinants(field))
            if folds:
                warnings.warn(
                    f"the elastic deformation of seed {drawn['seed']} folds at {folds / math.prod(field.space):.2%} of "
                    "all voxels; the method diffeomorphic never does",
                    FoldingWarning,
                    stacklevel=2,
                )
        return fields

    def _field(self, drawn: Params, grid: Grid) -> Field:
        space, spacing = lattice(grid)
        cell = self.control_spacing or extent(grid) / _CELLS
        held = held_axis(grid, through_plane=self.through_plane)
        counts = [
            1 if size == 1 or axis == held else math.ceil((size - 1) * step / cell) + 1
            for axis, (size, step) in enumerate(zip(space, spacing, strict=True))
        ]
        vectors = 2 * torch.rand(len(space), *counts, generator=generator_of(drawn)) - 1
        for axis, count in enumerate(counts):
            vectors[axis] *= float(count > 1)
        nodes = vectors / torch.tensor(spacing).view(-1, *[1] * len(spacing))
        field = LatticeField(nodes, space)
        lengths = (magnitude(field.slab(a, b)[None], unit=spacing).amax() for a, b in slabs(space))
        longest = max(float(length) for length in lengths)
        return LatticeField(nodes * (float(drawn["longest"]) / max(longest, 1e-12)), space)
