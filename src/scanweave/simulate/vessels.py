"""Vessel trees that a contrast bolus runs through, and how they absorb.

A tube of radius ``r`` filled to concentration ``c`` absorbs along a ray at distance ``d`` from its axis by
``c 2 sqrt(r^2 - d^2)``, the chord. That is also the line integral of a disc of radius ``r`` along the axis, so that a
tree is rendered as a sum of discs, one per node, and the image of the tree has the mass of its contrast exactly:
``sum over pixels = sum over nodes of c pi r^2 ds``, however it moves, as long as it stays in the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from .params import Params, Point, stream

Floats = NDArray[np.float64]

_STEP = 1.0
"""Distance between nodes along the axis, in pixels."""

_LEAST_RADIUS = 0.5
"""Thinner discs are drawn this wide and as much paler, so that none falls between pixels."""


@dataclass(frozen=True)
class Tree:
    """Nodes along the axes of all branches.

    Attributes:
        points: ``(node, 3)``: x, y in pixels in the still; depth towards the viewer in pixels.
        radius: ``(node,)`` in pixels.
        length: ``(node,)`` of the axis that each node stands for, in pixels.
        delay: ``(node,)`` seconds that blood takes from the root to here.
    """

    points: Floats
    radius: Floats
    length: Floats
    delay: Floats

    @property
    def volume(self) -> Floats:
        """Blood that each node stands for, ``(node,)`` in cubic pixels."""
        return np.pi * self.radius**2 * self.length

    def mass(self, concentration: ArrayLike) -> float:
        """Return the contrast in the tree: the integral of `concentration` over its volume."""
        return float(np.sum(self.volume * np.asarray(concentration, dtype=np.float64)))

    def seen(self, angle: float, centre: Point) -> tuple[Floats, Floats]:
        """Return ``x, y`` of the nodes after the view has turned by `angle` about the vertical axis at `centre`.

        Near nodes then move against far ones: parallax.
        """
        x, y, depth = self.points.T
        return centre[0] + (x - centre[0]) * math.cos(angle) + depth * math.sin(angle), y


class TreeParams(Params):
    """What a tree grows from; the same values grow the same tree.

    Attributes:
        seed: Of the turns and branchings.
        root: Where it enters.
        heading: Direction at the root, radians from x towards y.
        bend: How far each trunk turns along its length, radians; a coronary artery turns half round the heart.
        radius: At the root, in pixels.
        length: Of the trunk, in pixels.
        generations: Branchings in a row.
        side_branches: Mean number of twigs per branch.
        tortuosity: Amplitude of the winding, radians.
        speed: Of blood at the root, pixels per second; slower in thin branches, as the square root of the radius.
    """

    seed: int
    root: Point
    heading: float
    bend: float = 0.0
    radius: float = Field(gt=0)
    length: float = Field(gt=0)
    generations: int = Field(default=4, ge=0, le=8)
    side_branches: float = 1.0
    tortuosity: float = 0.4
    speed: float = Field(gt=0)


@dataclass(frozen=True)
class _Bud:
    """Where a branch starts."""

    point: Floats
    heading: float
    radius: float
    length: float
    delay: float
    generation: int


def grow(params: TreeParams) -> Tree:
    """Grow a tree: winding tapered branches that part by Murray's law, ``r^3 = r1^3 + r2^3``."""
    generator = stream(params.seed, "tree")
    buds = [_Bud(np.array([*params.root, 0.0]), params.heading, params.radius, params.length, 0.0, 0)]
    branches = []
    while buds:
        bud = buds.pop()
        branch, headings = _branch(bud, params, generator)
        branches.append(branch)
        if bud.generation < params.generations:
            buds += _children(bud, branch, headings, params, generator)
    points, radius, length, delay = (
        np.concatenate([getattr(branch, part) for branch in branches])
        for part in ("points", "radius", "length", "delay")
    )
    return Tree(points, radius, length, delay)


def _branch(bud: _Bud, params: TreeParams, generator: np.random.Generator) -> tuple[Tree, Floats]:
    """Return one branch and its heading at each node."""
    count = max(4, round(bud.length / _STEP))
    step = bud.length / count
    along = (np.arange(count) + 0.5) / count
    frequency = generator.uniform(0.5, 2.0, 3)[:, None]
    phase = generator.uniform(0, 2 * math.pi, 3)[:, None]
    winding = (np.sin(2 * math.pi * frequency * along + phase) - np.sin(phase)) / frequency
    bend = params.bend * (1 if bud.generation == 0 else 0.3 * generator.uniform(-1, 1))
    headings = bud.heading + bend * along + params.tortuosity * winding.mean(axis=0)
    rise = generator.uniform(-0.6, 0.6)
    steps = np.stack((np.cos(headings), np.sin(headings), np.full(count, rise)), axis=1) * step
    radius = bud.radius * (1 - 0.25 * along)
    speed = params.speed * np.sqrt(radius / params.radius)
    branch = Tree(
        points=bud.point + np.cumsum(steps, axis=0) - 0.5 * steps,
        radius=radius,
        length=np.full(count, step),
        delay=bud.delay + np.cumsum(step / speed) - 0.5 * step / speed,
    )
    return branch, headings


def _children(
    bud: _Bud, branch: Tree, headings: Floats, params: TreeParams, generator: np.random.Generator
) -> list[_Bud]:
    """Return the two branches at the end, and twigs along the way."""
    share = generator.uniform(0.25, 0.5)
    side = generator.choice((-1.0, 1.0))
    spread = generator.uniform(0.5, 1.1)
    # The thinner of two branches turns off further.
    forks = [(-1, share, side * spread * (1 - share)), (-1, 1 - share, -side * spread * share)]
    for _ in range(generator.poisson(params.side_branches)):
        node = int(generator.uniform(0.15, 0.9) * len(headings))
        forks.append((node, generator.uniform(0.03, 0.15), generator.choice((-1.0, 1.0)) * generator.uniform(0.6, 1.3)))
    buds = []
    for node, flow, turn in forks:
        relative = flow ** (1 / 3)
        radius = float(branch.radius[node]) * relative
        if radius > 0.15 * params.radius:
            buds.append(
                _Bud(
                    point=branch.points[node],
                    heading=float(headings[node]) + turn,
                    radius=radius,
                    length=bud.length * math.sqrt(relative) * generator.uniform(0.6, 1.0),
                    delay=float(branch.delay[node]),
                    generation=bud.generation + 1,
                )
            )
    return buds


class Bolus(Params):
    """Contrast that flows in and is carried along: ``c(s, t) = strength g(t - arrival - delay(s))``.

    ``g`` is a gamma variate, ``(u / p)^shape exp(shape (1 - u / p))`` for ``u > 0``: 1 at its peak ``u = p``. On the
    way it spreads, ``p = peak + spread delay``, and pales so that what passes in all, the area under it, is the same.

    Attributes:
        arrival: Time at which it reaches the root, seconds.
        peak: Seconds from its arrival to its peak at the root.
        shape: Exponent; greater is more sudden.
        strength: Concentration at the peak at the root, in absorbance per pixel of path.
        spread: Seconds of peak time gained per second of delay.
    """

    arrival: float = 0.0
    peak: float = Field(gt=0)
    shape: float = Field(default=2.5, gt=0)
    strength: float = Field(gt=0)
    spread: float = Field(default=0.0, ge=0)

    def concentration(self, delay: ArrayLike, time: float) -> Floats:
        """Return the concentration at nodes of `delay` (seconds) at `time`."""
        late = np.asarray(delay, dtype=np.float64)
        peak = self.peak + self.spread * late
        u = np.maximum(time - self.arrival - late, 0.0) / peak
        return np.asarray(self.strength * self.peak / peak * (u * np.exp(1 - u)) ** self.shape)

    @property
    def exposure(self) -> float:
        """What passes each place in all: the integral of the concentration over time."""
        return self.strength * self.peak * math.exp(self.shape - _log_gamma_power(self.shape))


def _log_gamma_power(shape: float) -> float:
    """Return ``log(shape^(shape + 1) / Gamma(shape + 1))``."""
    return (shape + 1) * math.log(shape) - math.lgamma(shape + 1)


def absorbance(x: ArrayLike, y: ArrayLike, *, radius: ArrayLike, mass: ArrayLike, shape: tuple[int, int]) -> Floats:
    """Render nodes as discs whose pixels sum to their mass.

    Args:
        x: ``(node,)`` columns, in pixels.
        y: ``(node,)`` rows.
        radius: ``(node,)`` in pixels.
        mass: ``(node,)`` contrast that each stands for, concentration times volume.
        shape: Of the image, ``(row, column)``.

    Returns:
        ``(row, column)`` absorbance: intensity is ``exp(-absorbance)``.
    """
    columns, rows, radii, masses = (np.asarray(values, dtype=np.float64) for values in (x, y, radius, mass))
    radii = np.maximum(radii, _LEAST_RADIUS)
    reach = np.ceil(radii + 0.5).astype(np.int64)
    height, width = shape
    seen = (masses > 0) & (columns > -reach) & (columns < width + reach) & (rows > -reach) & (rows < height + reach)
    # A margin takes up what lies outside, so that every disc is whole and its mass is known.
    margin = 2 * int(reach.max(initial=1)) + 1
    image = np.zeros((height + 2 * margin) * (width + 2 * margin))
    for size in np.unique(reach[seen]):
        some = seen & (reach == size)
        corner, discs = _discs(columns[some], rows[some], radii[some], int(size))
        discs *= masses[some, None, None] / discs.sum(axis=(1, 2), keepdims=True)
        offsets = np.arange(2 * size + 1)
        index = (corner[1] + margin)[:, None, None] + offsets[:, None]
        index = index * (width + 2 * margin) + (corner[0] + margin)[:, None, None] + offsets
        image += np.bincount(index.ravel(), discs.ravel(), minlength=image.size)
    return image.reshape(height + 2 * margin, -1)[margin:-margin, margin:-margin]


def _discs(x: Floats, y: Floats, radius: Floats, reach: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the first pixel ``(x, y)`` of each disc's square, and how much of each pixel the disc covers."""
    corner = np.rint(np.stack((x, y))).astype(np.int64) - reach
    offsets = np.arange(2 * reach + 1)
    across = (corner[0] - x)[:, None] + offsets
    down = (corner[1] - y)[:, None] + offsets
    distance = np.sqrt(across[:, None, :] ** 2 + down[:, :, None] ** 2)
    return corner, np.clip(radius[:, None, None] - distance + 0.5, 0.0, 1.0)


def tree_absorbance(
    tree: Tree,
    concentration: ArrayLike,
    *,
    place: Callable[[Floats, Floats], tuple[NDArray[Any], NDArray[Any]]],
    shape: tuple[int, int],
    angle: float = 0.0,
) -> Floats:
    """Render a tree.

    Args:
        tree: The tree in the still.
        concentration: ``(node,)`` absorbance per pixel of path, or one for all.
        place: Where points of the still are now (`Motion.forth` at one time).
        shape: Of the image, ``(row, column)``.
        angle: How far the view has turned.
    """
    level = np.broadcast_to(np.asarray(concentration, dtype=np.float64), tree.radius.shape)
    filled = level > 0
    x, y = tree.seen(angle, ((shape[1] - 1) / 2, (shape[0] - 1) / 2))
    x, y = place(x[filled], y[filled])
    return absorbance(x, y, radius=tree.radius[filled], mass=(tree.volume * level)[filled], shape=shape)
