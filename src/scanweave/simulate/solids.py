"""Bodies cut by a plane: what simulated anatomy is made of.

Millimetres throughout. Points are ``(x, y, z)``: along columns, along rows, and across slices. A body is asked one
section at a time, so that a plane image and the same slice of a stack are the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .motion import Ripple
from .params import Params

Place = tuple[float, float, float]
"""``(x, y, z)`` in mm."""

Field = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Section:
    """The points of one slice, and where they lie once the body is bent into its canonical form.

    Attributes:
        z: Height of the slice.
        x: ``(row, column)`` bent positions along columns.
        y: The same along rows.
        columns: ``(column,)`` straight positions, increasing.
        rows: ``(row,)`` straight positions, increasing.
        reach: How far bending moves a point at most.
    """

    z: float
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    columns: NDArray[np.float32]
    rows: NDArray[np.float32]
    reach: float = 0.0

    @classmethod
    def at(cls, z: float, rows: Field, columns: Field, *, ripple: Ripple) -> Self:
        """Return the slice at height `z`, bent by `ripple` within its plane, with height as its time.

        Points stay in their slice, and no slice folds: each keeps the topology of the unbent body.
        """
        x, y = np.broadcast_arrays(columns.astype(np.float32), rows.astype(np.float32)[:, None])
        if ripple.waves:
            u, v = ripple.displacement(x, y, z)
            x, y = x + u.astype(np.float32), y + v.astype(np.float32)
        reach = sum(math.hypot(*wave.amplitude) for wave in ripple.waves)
        return cls(z, x, y, columns.astype(np.float32), rows.astype(np.float32), reach)

    def around(self, low: tuple[float, float], high: tuple[float, float]) -> tuple[slice, slice] | None:
        """Return the part that can hold bent points between two ``(x, y)``, or None if no pixel lies there."""
        parts = []
        for axis, least, most in zip((self.rows, self.columns), low[::-1], high[::-1], strict=True):
            first, last = np.searchsorted(axis, (least - self.reach, most + self.reach))
            if first == last:
                return None
            parts.append(slice(int(first), int(last)))
        return parts[0], parts[1]


class Ellipsoid(Params):
    """An ellipsoid, turned about the z axis.

    Attributes:
        centre: Where it lies.
        radii: Half axes along its own x, y and z.
        angle: From the x axis to its own, radians towards y.
    """

    centre: Place
    radii: Place
    angle: float = 0.0

    def grown(self, by: float) -> Ellipsoid:
        """Return the ellipsoid with all half axes longer by `by`."""
        a, b, c = self.radii
        return self.model_copy(update={"radii": (a + by, b + by, c + by)})

    def level(self, section: Section) -> Field:
        """Return the distance from the centre in units of the half axes: 1 on the surface, float32."""
        dx, dy = section.x - np.float32(self.centre[0]), section.y - np.float32(self.centre[1])
        cosine, sine = np.float32(math.cos(self.angle)), np.float32(math.sin(self.angle))
        along, across = (dx * cosine + dy * sine), (dy * cosine - dx * sine)
        high = np.float32(((section.z - self.centre[2]) / self.radii[2]) ** 2)
        return np.sqrt((along / np.float32(self.radii[0])) ** 2 + (across / np.float32(self.radii[1])) ** 2 + high)

    def mask(self, section: Section) -> Mask:
        """Return what lies inside."""
        if abs(section.z - self.centre[2]) >= self.radii[2]:
            return np.zeros(section.x.shape, bool)
        return self.level(section) < 1


def oval(section: Section, half: tuple[float, float], *, power: float = 2.0) -> Field:
    """Return the level of a superellipse about the origin: 1 on its rim, below inside.

    Args:
        section: Where.
        half: Half axes along x and y; where one is not positive nothing is inside.
        power: 2 for an ellipse, more for a rounded box.
    """
    if min(half) <= 0:
        return np.full(section.x.shape, np.inf, np.float32)
    u, v = np.abs(section.x) / np.float32(half[0]), np.abs(section.y) / np.float32(half[1])
    level: Field = (u**power + v**power) ** (1 / power)
    return level


@dataclass(frozen=True)
class Tubes:
    """Round cones from point to point with round ends: vessels, airways, ventricles.

    Attributes:
        starts: ``(tube, 3)`` mm.
        ends: ``(tube, 3)`` mm.
        radii: ``(tube, 2)`` mm, at the start and at the end.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    radii: NDArray[np.float64]

    @classmethod
    def along(cls, *lines: Sequence[tuple[Place, float]]) -> Self:
        """Return tubes along lines of points, each with its radius."""
        pieces = [pair for line in lines for pair in pairwise(line)]
        return cls(
            np.array([start for (start, _), _ in pieces], float).reshape(-1, 3),
            np.array([end for _, (end, _) in pieces], float).reshape(-1, 3),
            np.array([(first, last) for (_, first), (_, last) in pieces], float).reshape(-1, 2),
        )

    @classmethod
    def joined(cls, several: Iterable[Self]) -> Self:
        """Return all tubes as one set."""
        every = list(several)
        return cls(*(np.concatenate([getattr(tubes, name) for tubes in every]) for name in ("starts", "ends", "radii")))

    def mask(self, section: Section) -> Mask:
        """Return what lies inside any of them."""
        inside = np.zeros(section.x.shape, bool)
        widest = self.radii.max(axis=1)
        low = np.minimum(self.starts, self.ends) - widest[:, None]
        high = np.maximum(self.starts, self.ends) + widest[:, None]
        for index in np.flatnonzero((low[:, 2] < section.z) & (section.z < high[:, 2])):
            part = section.around((low[index, 0], low[index, 1]), (high[index, 0], high[index, 1]))
            if part is not None:
                inside[part] |= self._one(int(index), section, part)
        return inside

    def _one(self, index: int, section: Section, part: tuple[slice, slice]) -> Mask:
        (x, y, z), step = self.starts[index], self.ends[index] - self.starts[index]
        dx, dy, dz = section.x[part] - np.float32(x), section.y[part] - np.float32(y), np.float32(section.z - z)
        length2 = max(float(step @ step), 1e-12)
        a, b, c = (step / length2).astype(np.float32)
        along = np.clip(dx * a + dy * b + dz * c, 0, 1)
        u, v, w = step.astype(np.float32)
        first, last = self.radii[index].astype(np.float32)
        distance2 = (dx - along * u) ** 2 + (dy - along * v) ** 2 + (dz - along * w) ** 2
        return np.asarray(distance2 < (first + along * (last - first)) ** 2)


@dataclass(frozen=True)
class Undulation:
    """Smooth random height over space, of mean 0 and variance 1, its lengths within one band.

    ``g(p) = sqrt(2 / K) sum_k cos(w_k . p + phase_k)``.

    Attributes:
        waves: ``(K, 3)`` radians per mm.
        phases: ``(K,)``.
    """

    waves: NDArray[np.float32]
    phases: NDArray[np.float32]

    @classmethod
    def draw(cls, length: tuple[float, float], *, count: int, generator: np.random.Generator) -> Self:
        """Draw `count` waves of lengths between two limits in mm, of all directions."""
        directions = generator.standard_normal((count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        numbers = 2 * math.pi / generator.uniform(*length, count)
        phases = generator.uniform(0, 2 * math.pi, count)
        return cls((directions * numbers[:, None]).astype(np.float32), phases.astype(np.float32))

    def height(self, points: Field) -> NDArray[np.float32]:
        """Return ``g`` at ``(3, point)``."""
        angles = self.waves @ points + self.phases[:, None]
        return np.asarray(math.sqrt(2 / len(self.phases)) * np.cos(angles).sum(axis=0), np.float32)

    def height_and_slope(self, points: Field) -> tuple[Field, Field]:
        """Return ``g`` and its gradient ``(3, point)``, per mm, at ``(3, point)``."""
        scale = np.float32(math.sqrt(2 / len(self.phases)))
        angles = self.waves @ points + self.phases[:, None]
        return scale * np.cos(angles).sum(axis=0), -scale * (self.waves.T @ np.sin(angles))
