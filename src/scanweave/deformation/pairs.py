"""Pairs of images for training registration, whose true fields are known in both directions.

The scan is deformed to the moving image, and that again to the fixed image. The field of the second deformation is the
truth, to the last bit: ``fixed(p) = moving(p + to_fixed(p))``. The way back is its inverse.

Source: Zheng et al., Medical Image Analysis 2026, algorithm 4, which knows one direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..displacement import Displacement
from ..errors import UsageError
from ..ops.displacement import compose, inverse, magnitude
from ..volume import Volume
from .api import Deformed, deform_each
from .fields import dense
from .labels import LabelRule
from .methods import DEFAULT_METHOD, Method, create, lattice

_TOLERANCE = 1e-3  # voxels, of the inverse


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images of one subject, and the true fields between them.

    Attributes:
        moving: The scan deformed, with its labels.
        fixed: The moving image deformed, with its labels.
        to_fixed: Pulls the moving image onto the fixed one: what a registration should find.
        to_moving: Pulls the fixed image onto the moving one: its inverse.
        error_mm: How far going there and back misses at the worst voxel that comes from within the image.
    """

    moving: Deformed
    fixed: Deformed
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

    Raises:
        UsageError: `n` below 1.
    """
    if n < 1:
        raise UsageError(f"{n} pairs", remedy="ask for one or more")
    chosen = create(method)

    def pair() -> Pair:
        (moving,) = deform_each(volume, generator=generator, label=label, method=chosen, label_rule=label_rule)
        (fixed,) = deform_each(
            moving.image, generator=generator, label=moving.labels, method=chosen, label_rule=label_rule
        )
        return _paired(moving, fixed)

    return (pair() for _ in range(n))


def _paired(moving: Deformed, fixed: Deformed) -> Pair:
    spacing = lattice(fixed.grid)[1]
    there = dense(fixed.field)[None]
    back = inverse(there, tolerance=_TOLERANCE)
    worst = max(_misses(there, back, spacing), _misses(back, there, spacing))
    to_moving = Displacement.of_voxels(back[0].numpy(), fixed.grid)
    return Pair(moving, fixed, fixed.displacement, to_moving, worst)


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
