"""Edges of one image that none of the images which it was made of has.

An edge is told by its height: what the image rises by across it. Within a slice, slightly smoothed (Gaussian, one
pixel), a step of height h has a slope of ``h / sqrt(2 pi)`` per pixel; across slices it is the difference of
neighbours. So a step between two thick slices has the same height as the sharp one that a thinner stack shows there: an
edge that is only sharpened is not a new one.

Every height is measured in the noise around it. White noise alone makes heights of about half its deviation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .noise import Floats, Mask, local_noise

EDGE, TRACE = 5.0, 2.5
"""Heights in noise: from the first on something is an edge; below the second there is no trace of one."""
DWARFED = 4.0
"""What rises by so many times less than an edge is no trace of it either: tissue is never quite flat."""
VISIBLE = 0.01
"""Of the image's window: noise is taken to be no less, so that edges that nobody would see do not count."""

_STEP = math.sqrt(2 * math.pi)
_REACH = 1 + 1e-6  # voxels that an edge may lie away from its trace


@dataclass(frozen=True, eq=False)
class NewEdges:
    """Edges of an image against those of its inputs.

    Attributes:
        edges: ``(slice, row, column)``: where the image has one.
        new: Where it has one of which no input has a trace within a voxel.
    """

    edges: Mask
    new: Mask

    @property
    def share(self) -> float:
        """Share of the edge voxels that are new; 0 where there is no edge."""
        return float(self.new.sum() / max(1, self.edges.sum()))

    @property
    def largest(self) -> int:
        """Voxels of the largest patch of new edges, neighbours by corners too."""
        patches, count = ndimage.label(self.new, structure=np.ones((3, 3, 3)))
        return int(np.bincount(patches.ravel())[1:].max()) if count else 0


def heights(image: Floats) -> Floats:
    """Return by how much an image rises across the edge at every voxel, 0 where it is flat.

    Args:
        image: ``(slice, row, column)``.

    Example:
        >>> step = np.zeros((1, 9, 9), np.float32)
        >>> step[..., 5:] = 3
        >>> round(float(heights(step)[0, 4, 4:6].max()), 1)
        2.6
    """
    down, across = (
        ndimage.gaussian_filter(image, (0, 1, 1), order=order, mode="nearest") for order in ((0, 1, 0), (0, 0, 1))
    )
    found = _STEP**2 * (down**2 + across**2)
    steps = np.abs(np.diff(ndimage.gaussian_filter(image, (0, 1, 1), mode="nearest"), axis=0))
    steps = np.pad(steps, ((1, 1), (0, 0), (0, 0)))
    found += np.maximum(steps[:-1], steps[1:]) ** 2
    return np.asarray(np.sqrt(found), dtype=np.float32)


def new_edges(image: Floats, inputs: Sequence[Floats], along: NDArray[np.float64], *, thinner: float = 1.0) -> NewEdges:
    """Find edges of `image` that no input has within a voxel.

    An edge rises by `EDGE` times the noise, or more: that of the image or of an input there, whichever is stronger,
    and at least `VISIBLE`. It is new where every input, within one voxel, rises by less than `TRACE` times its own
    noise, or `DWARFED` times less than the edge (both in noise). Within a voxel is: in its plane, and in all of its
    slices that are no further than one spacing. What is as thin as one slice of `image` shows more weakly in a thicker
    one, by as much as that is thicker; so much weaker traces count.

    Args:
        image: ``(slice, row, column)``, scaled so that its window is 0 to 1.
        inputs: ``(source slice, row, column)``, each scaled likewise; one at least.
        along: Where the slices of `image` lie, counted in source slices.
        thinner: How many times thinner they are.

    Raises:
        ValueError: No input, or shapes that do not agree.
    """
    if not inputs or any(one.shape[1:] != image.shape[1:] for one in inputs) or len(along) != len(image):
        raise ValueError(f"inputs {[one.shape for one in inputs]} and {len(along)} places for an image {image.shape}")
    traces, floors = zip(*(_traces(one) for one in inputs), strict=True)
    trace, floor = np.maximum.reduce(traces), np.maximum.reduce(floors)
    rise, noise = heights(image), local_noise(image)
    edges, new = np.zeros(image.shape, dtype=np.bool_), np.zeros(image.shape, dtype=np.bool_)
    for k, place in enumerate(along):
        near = _near(float(place), len(trace))
        height = rise[k] / np.maximum(np.maximum(noise[k], floor[near].max(axis=0)), VISIBLE)
        edges[k] = height >= EDGE
        new[k] = edges[k] & (trace[near].max(axis=0) < np.maximum(TRACE, height / (DWARFED * thinner)))
    return NewEdges(edges, new)


def _traces(image: Floats) -> tuple[Floats, Floats]:
    """Return the highest edge within a pixel of each, in noise; and the noise."""
    noise = np.maximum(local_noise(image), np.float32(VISIBLE))
    return ndimage.maximum_filter(heights(image) / noise, (1, 3, 3), mode="nearest"), noise


def _near(place: float, count: int) -> slice:
    """Return the source slices no further than one spacing; the outermost where there are none."""
    first, last = math.ceil(place - _REACH), math.floor(place + _REACH)
    first = min(max(first, 0), count - 1)
    return slice(first, max(min(last, count - 1), first) + 1)
