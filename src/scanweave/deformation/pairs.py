"""Pairs of images for training registration, whose true fields are known in both directions.

Two copies are deformed from one scan, so that both are interpolated once and neither is the sharper one by which a
network could tell them apart. With ``fixed = scan at (id + u)`` and ``moving = scan at (id + w)``, the field that takes
the moving image to the fixed one is ``(id + w)^-1 (id + u)``, and back it is ``(id + u)^-1 (id + w)``.

Source: Zheng et al., Medical Image Analysis 2026, algorithm 4, which knows one direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..displacement import Displacement
from ..grid import Grid
from ..ops.displacement import compose, inverse, magnitude
from ..volume import Volume
from .api import Deformed, deform_each
from .fields import dense
from .labels import LabelRule
from .methods import DEFAULT_METHOD, Method, lattice

_TOLERANCE = 1e-3  # voxels, of the inverses


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images of one subject, and the true fields between them.

    Attributes:
        fixed: One deformed copy, with its labels.
        moving: The other.
        to_fixed: Pulls the moving image onto the fixed one, ``fixed(p) = moving(p + vectors(p))``: what a registration
            should find.
        to_moving: Pulls the fixed image onto the moving one: its inverse.
        error_mm: How far going there and back misses at the worst voxel that comes back from within the image.
    """

    fixed: Deformed
    moving: Deformed
    to_fixed: Displacement
    to_moving: Displacement
    error_mm: float


def registration_pairs(
    volume: Volume,
    *,
    generator: torch.Generator,
    label: Volume | Sequence[Volume] | None = None,
    n: int = 1,
    method: str | Method = DEFAULT_METHOD,
    label_rule: LabelRule = "nearest",
) -> Iterator[Pair]:
    """Give pairs one after the other; arguments and errors are those of :func:`~scanweave.deformation.api.deform_each`.

    Use a method that does not fold: where a field folds it has no inverse, and `Pair.error_mm` tells.
    """
    copies = deform_each(volume, generator=generator, label=label, n=2 * n, method=method, label_rule=label_rule)
    for fixed, moving in zip(copies, copies, strict=True):
        yield _paired(fixed, moving)


def _paired(fixed: Deformed, moving: Deformed) -> Pair:
    grid = fixed.grid
    spacing = lattice(grid)[1]
    u, w = (dense(copy.field)[None] for copy in (fixed, moving))
    to_fixed = compose(u, inverse(w, tolerance=_TOLERANCE))
    to_moving = compose(w, inverse(u, tolerance=_TOLERANCE))
    worst = max(_misses(to_fixed, to_moving, spacing), _misses(to_moving, to_fixed, spacing))
    return Pair(fixed, moving, _in_mm(to_fixed, grid), _in_mm(to_moving, grid), worst)


def _misses(there: Tensor, back: Tensor, spacing: Sequence[float]) -> float:
    """Return by how many mm the worst voxel is missed that ``there`` leaves within the image."""
    within = torch.ones(there.shape[2:], dtype=torch.bool)
    for axis, size in enumerate(there.shape[2:]):
        shape = [1] * (there.ndim - 2)
        shape[axis] = size
        place = there[0, axis] + torch.arange(size).view(shape)
        within &= (place >= 0) & (place <= size - 1)
    missed = magnitude(compose(there, back), unit=spacing)[0]
    return float(missed[within].amax()) if bool(within.any()) else math.inf


def _in_mm(field: Tensor, grid: Grid) -> Displacement:
    return Displacement.of_voxels(field[0].numpy(), grid)
