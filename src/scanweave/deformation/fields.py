"""Fields that are worked through slab by slab: whole ones, and ones kept as the few nodes of a lattice.

A field is in voxels, component a along array axis a, and pulls: the made image at p is the image at ``p + field(p)``.
A slab is some neighbouring slices (rows, in 2D), small enough for the caches of a processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ..ops.displacement import jacobian_determinant
from .cores import each

_SLAB = 1 << 18  # voxels: three components of them, and as much again for work, stay in a cache of a few megabytes


class Field(Protocol):
    """A field on the voxels of an image."""

    @property
    def space(self) -> tuple[int, ...]:
        """Voxels along each axis."""

    def slab(self, first: int, last: int) -> Tensor:
        """Return slices from `first` up to, not including, `last`: ``(nd, last - first, ...)``, in voxels."""

    def nodes_kept(self) -> int:
        """Return how many numbers it is kept as."""


@dataclass(frozen=True, eq=False)
class DenseField:
    """A field kept as a vector for each voxel.

    Attributes:
        vectors: ``(nd, *space)``, in voxels.
    """

    vectors: Tensor

    @property
    def space(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(self.vectors.shape[1:])

    def slab(self, first: int, last: int) -> Tensor:
        """Return slices of it."""
        return self.vectors[:, first:last]

    def nodes_kept(self) -> int:
        """Return how many numbers it is kept as."""
        return self.vectors.numel()


@dataclass(frozen=True, eq=False)
class LatticeField:
    """A field kept as a cubic B-spline, with nodes on a lattice from the first voxel of each axis to the last.

    No vector is longer than the longest node (along an axis), and no slope steeper than that between two nodes.

    Attributes:
        nodes: ``(nd, *lattice)``, coefficients in voxels of the image.
        space: Voxels along each axis.
    """

    nodes: Tensor
    space: tuple[int, ...]

    @cached_property
    def _planes(self) -> Tensor:
        """Nodes brought to the voxels along every axis but the first, ``(nd, nodes, ...)``."""
        planes = self.nodes
        for axis in range(len(self.space) - 1, 0, -1):
            planes = along(planes, axis + 1, self._weights[axis])
        return planes

    @cached_property
    def _weights(self) -> tuple[Tensor, ...]:
        return tuple(
            spline_weights(size, count).to(self.nodes)
            for size, count in zip(self.space, self.nodes.shape[1:], strict=True)
        )

    def slab(self, first: int, last: int) -> Tensor:
        """Return slices of it."""
        return along(self._planes, 1, self._weights[0][first:last])

    def nodes_kept(self) -> int:
        """Return how many numbers it is kept as."""
        return self.nodes.numel()


def dense(field: Field) -> Tensor:
    """Return the vectors of all voxels, ``(nd, *space)``."""
    return field.slab(0, field.space[0])


def slabs(space: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Give the first slice of each slab, and the one after its last."""
    plane = 1
    for size in space[1:]:
        plane *= size
    step = max(1, _SLAB // plane)
    for first in range(0, space[0], step):
        yield first, min(first + step, space[0])


def determinants(field: Field) -> Iterator[Tensor]:
    """Give the Jacobian determinant of each voxel, slab by slab: ``(slices, ...)``; below 0 where it folds."""

    def of(ends: tuple[int, int]) -> Tensor:
        first, last = ends
        before, after = max(0, first - 1), min(field.space[0], last + 1)  # central differences reach one slice further
        found = jacobian_determinant(field.slab(before, after)[None])[0]
        return found[first - before : found.shape[0] - (after - last)]

    field.slab(0, 1)  # what all slabs share is made once, before they are
    return each(of, slabs(field.space))


def smallest_determinant(field: Field) -> float:
    """Return the smallest Jacobian determinant of all voxels."""
    return min(float(slab.amin()) for slab in determinants(field))


def spline_weights(size: int, count: int) -> Tensor:
    """Return what each of `count` nodes gives to each of `size` voxels, ``(size, count)``: cubic B-splines.

    The first node lies on the first voxel and the last on the last; beyond them nodes go on in a straight line, so
    that the spline passes through both. All weights are at least 0, and those of a voxel sum to 1.
    """
    if count == 1:
        return torch.ones(size, 1, dtype=torch.float64)
    places = torch.linspace(0, count - 1, size, dtype=torch.float64) if size > 1 else torch.zeros(1).double()
    return spline_basis(places, count)


def spline_basis(places: Tensor, count: int) -> Tensor:
    """Return the weights of `count` nodes at places in [0, count - 1]: ``(places, count)``; see `spline_weights`."""
    nodes = torch.arange(-1, count + 1, dtype=torch.float64)
    gap = (places[:, None] - nodes).abs()
    near, far = 2 / 3 - gap.square() + gap**3 / 2, (2 - gap).clamp_min(0) ** 3 / 6
    weights = torch.where(gap < 1, near, far)
    inner = weights[:, 1:-1].clone()
    for beyond, edge, within in ((0, 0, 1), (-1, -1, -2)):  # a node beyond is twice the edge minus the one within
        inner[:, edge] += 2 * weights[:, beyond]
        inner[:, within] -= weights[:, beyond]
    return inner


def along(tensor: Tensor, axis: int, weights: Tensor) -> Tensor:
    """Return ``tensor`` with one axis brought from nodes to places by weights ``(places, nodes)``; contiguous."""
    if axis == tensor.ndim - 1:
        return tensor @ weights.T
    shape = tensor.shape
    flat = tensor.reshape(*shape[: axis + 1], -1)
    return (weights @ flat).reshape(*shape[:axis], weights.shape[0], *shape[axis + 1 :])
