"""Random deformations that never fold, without a network: flows along smooth random velocities.

A stationary velocity, a cubic B-spline of noise on three scales, is flowed along for one unit of time by scaling and
squaring. Its component across a face of the image vanishes there, so that the image is mapped onto itself: nothing
comes in from beyond, nothing is lost, and the inverse is known everywhere. The flow is found on a lattice of about 33
nodes along the longest side and brought to the voxels as a B-spline, whose Jacobian determinant is then measured at
every voxel; a flow that would come too near folding there is drawn shorter.

Slices that lie far apart move alike and within their planes (`held_axis`): the lattice has a single node across them.

Source: Arsigny et al., "A log-Euclidean framework for statistics on diffeomorphisms", MICCAI 2006; the scales are
those of DRDM (Zheng et al., Medical Image Analysis 2026): coarser ones move further, each with the same strain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import UsageError
from ..grid import Grid
from ..ops.displacement import exponential, magnitude
from .cores import each
from .fields import Field, LatticeField, along, smallest_determinant, spline_basis
from .methods import DeformationMethod, Params, extent, generator_of, held_axis, lattice

DEFAULT_REACH = 0.05
"""The longest displacement by default, as a share of the longest side."""

_FINEST = 8  # cells of the finest noise along the longest side
_SCALES = 3  # each with cells twice as long as the one before
_PER_CELL = 4  # nodes of the lattice for each cell of the finest noise
_FLOOR = 0.05  # smallest Jacobian determinant that is let pass
_TOLERANCE = 0.01  # of the longest displacement
_TRIALS = 4
_SHORTER = 0.85


@dataclass(frozen=True, kw_only=True)
class Diffeomorphic(DeformationMethod):
    """Flows along smooth random velocities; they never fold, whatever their length.

    Attributes:
        control_spacing: Millimetres between the control points of the finest noise; by default an eighth of the
            longest side. Smaller bends more.
        least: Copies' longest displacements are spread evenly from this share of the largest allowed up to it.
        through_plane: Whether voxels move out of their slices, and slices differently; by default where slices are
            less than three times as far apart as pixels (`held_axis`).
    """

    control_spacing: float | None = None
    least: float = 0.5
    through_plane: bool | None = None

    name: ClassVar[str] = "diffeomorphic"

    def __post_init__(self) -> None:
        """Refuse what no flow can have.

        Raises:
            UsageError: A spacing that is not above 0, or a share beyond (0, 1].
        """
        super().__post_init__()
        if self.control_spacing is not None and not self.control_spacing > 0:
            raise UsageError(f"control points {self.control_spacing:g} mm apart", remedy="give a number above 0")
        if not 0 < self.least <= 1:
            raise UsageError(f"a least share of {self.least:g}", remedy="give a number above 0, at most 1")

    def draw(self, grid: Grid, generator: torch.Generator) -> Params:
        """Draw a seed, and the longest displacement in mm."""
        share = self.least + (1 - self.least) * float(torch.rand((), generator=generator, device=generator.device))
        longest = self.max_displacement or DEFAULT_REACH * self.strength * extent(grid)
        return {**super().draw(grid, generator), "longest": longest * share}

    def fields(self, params: Sequence[Params], grid: Grid, image: Tensor | None = None) -> list[Field]:
        """Return the flows of what was drawn."""
        return [self._field(drawn, grid) for drawn in params]

    def _field(self, drawn: Params, grid: Grid) -> Field:
        space, spacing = lattice(grid)
        held = held_axis(grid, through_plane=self.through_plane)
        velocity = random_velocity(generator_of(drawn), grid, self._cell(grid), held=held)
        longest = float(drawn["longest"])
        while True:
            (nodes,) = each(partial(flow_of_length, velocity, space=space, spacing=spacing), [longest])
            field = LatticeField(nodes, space)
            if smallest_determinant(field) >= _FLOOR:
                return field
            longest *= _SHORTER

    def _cell(self, grid: Grid) -> float:
        return self.control_spacing or extent(grid) / _FINEST


def random_velocity(generator: torch.Generator, grid: Grid, cell: float, *, held: int | None = None) -> Tensor:
    """Return a random velocity on the lattice, ``(nd, *lattice)``, in mm, of no particular size.

    Args:
        generator: Draws the noise.
        grid: Whose first and last voxels the lattice spans.
        cell: Millimetres between control points of the finest noise.
        held: Axis that nothing moves along, and along which the velocity is the same everywhere: one node wide.
    """
    space, spacing = lattice(grid)
    space = tuple(1 if axis == held else size for axis, size in enumerate(space))
    lengths = [(size - 1) * step for size, step in zip(space, spacing, strict=True)]
    counts = [_nodes(size, length, cell) for size, length in zip(space, lengths, strict=True)]
    total = torch.zeros(len(space), *counts)
    for scale in range(_SCALES):
        wide = cell * 2**scale
        shape = [math.ceil(length / wide) + 3 for length in lengths]
        noise = torch.randn(len(space), *shape, generator=generator) * wide
        for axis, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            places = torch.linspace(0, length / wide, count, dtype=torch.float64) + 1
            noise = along(noise, axis + 1, spline_basis(places, shape[axis]).float())
        total += noise
    for axis, count in enumerate(counts):
        total[axis] *= _across(count).view(-1, *[1] * (len(space) - 1 - axis))
    return total


def _nodes(size: int, length: float, cell: float) -> int:
    return max(min(size, 2), min(size, math.ceil(_PER_CELL * length / cell) + 1))


def _across(count: int) -> Tensor:
    """Return a factor for each node along an axis that vanishes on both ends."""
    factor = torch.sin(torch.linspace(0, math.pi, count))
    factor[0] = factor[-1] = 0
    return factor


def flow_of_length(velocity: Tensor, longest: float, space: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Return the flow along a velocity, as long as is wanted.

    Args:
        velocity: ``(nd, *lattice)`` in mm.
        longest: Millimetres of the longest displacement of a node.
        space: Voxels of the image along each axis.
        spacing: Of them, in mm.

    Returns:
        ``(nd, *lattice)``, in voxels of the image.
    """
    steps = [  # millimetres between nodes; along an axis of one voxel nothing moves
        (size - 1) * step / (count - 1) if count > 1 else 1.0
        for size, step, count in zip(space, spacing, velocity.shape[1:], strict=True)
    ]
    unit = tuple(1 / step for step in steps)
    scale = longest / max(float(magnitude(velocity[None]).amax()), 1e-12)
    for _ in range(_TRIALS):
        flow = exponential((velocity * scale)[None], unit=unit)
        found = max(float(magnitude(flow).amax()), 1e-12)
        if abs(found / longest - 1) < _TOLERANCE:
            break
        scale *= longest / found
    per_voxel = torch.tensor([longest / found / step for step in spacing]).view(-1, *[1] * len(spacing))
    return flow[0] * per_voxel
