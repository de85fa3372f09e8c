"""Motion that is an exact function of continuous time, and never folds.

A motion is given by its **backward** map ``psi_t``: the tissue seen at ``x`` at time ``t`` is that of the still image
at ``psi_t(x)``. So a frame at any time is one warp of the still, ``frame_t(x) = still(psi_t(x))``, and no frame is
made from another. ``psi_t`` is composed of three parts, each a smooth one-to-one map of the plane:

    ``psi_t = contraction_n o ... o contraction_1 o rigid o ripple``

The forward map ``phi_t = psi_t^-1`` carries points (vessels), and ``phi_t1 o psi_t0`` is the true flow.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from scipy.interpolate import PchipInterpolator

from .params import Params, Point

Floats = NDArray[np.floating[Any]]
Plane = tuple[Floats, Floats]
"""Coordinates ``(x, y)`` of points, of any one shape."""

_INVERSE_TOLERANCE = 1e-6
_INVERSE_STEPS = 64
_NEWTON_STEPS = 12


class Rigid(Params):
    """Constant velocity and constant turning: ``phi_t(X) = centre + R(spin t) (X - centre) + velocity t``.

    Attributes:
        velocity: Pixels per second along ``(x, y)``.
        spin: Radians per second, from x towards y (clockwise as seen, rows going down).
        centre: What it turns about at time 0.
    """

    velocity: Point = (0.0, 0.0)
    spin: float = 0.0
    centre: Point = (0.0, 0.0)

    def back(self, x: Floats, y: Floats, time: float) -> Plane:
        """Return where in the still the points at `time` come from."""
        u = x - self.centre[0] - self.velocity[0] * time
        v = y - self.centre[1] - self.velocity[1] * time
        u, v = _turned(u, v, -self.spin * time)
        return u + self.centre[0], v + self.centre[1]

    def forth(self, x: Floats, y: Floats, time: float) -> Plane:
        """Return where points of the still are at `time`."""
        u, v = _turned(x - self.centre[0], y - self.centre[1], self.spin * time)
        return u + self.centre[0] + self.velocity[0] * time, v + self.centre[1] + self.velocity[1] * time


class Wave(Params):
    """One travelling wave of displacement: ``amplitude cos(wave . x + phase + rate t)``.

    Attributes:
        wave: Wave vector in radians per pixel, along ``(x, y)``.
        amplitude: Displacement in pixels, along ``(x, y)``.
        phase: Radians.
        rate: Radians per second.
    """

    wave: Point
    amplitude: Point
    phase: float
    rate: float

    @property
    def strain(self) -> float:
        """Greatest norm of the gradient of its displacement."""
        return math.hypot(*self.wave) * math.hypot(*self.amplitude)


class Ripple(Params):
    """Waves of many lengths: ``psi_t(x) = x + sum_k a_k cos(w_k . x + p_k + r_k t)``.

    The gradient of the sum is nowhere and never above ``sum_k |a_k| |w_k|``. Below 1 the map is one to one, and the
    iteration ``x <- X - u(x)`` finds its inverse.

    Attributes:
        waves: The waves, whose strains sum to less than 1.
    """

    waves: tuple[Wave, ...] = ()

    @property
    def strain(self) -> float:
        """What the gradient of the displacement cannot exceed."""
        return sum(wave.strain for wave in self.waves)

    @model_validator(mode="after")
    def _must_not_fold(self) -> Self:
        if not self.strain < 1:
            raise ValueError(f"waves of strain {self.strain:.3g} fold the image; the sum must stay below 1")
        return self

    def displacement(self, x: Floats, y: Floats, time: float) -> Plane:
        """Return ``u(x)`` in pixels at any points."""
        u, v = np.zeros_like(x), np.zeros_like(x)
        for wave in self.waves:
            height = np.cos(wave.wave[0] * x + wave.wave[1] * y + wave.phase + wave.rate * time)
            u += wave.amplitude[0] * height
            v += wave.amplitude[1] * height
        return u, v

    def displacement_on_grid(self, shape: tuple[int, int], time: float) -> Plane:
        """Return ``u`` at every pixel in float32, quickly: rows part from columns.

        ``cos(a + b) = cos a cos b - sin a sin b``.
        """
        if not self.waves:
            return np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        waves = np.array([wave.wave for wave in self.waves])
        along_x = np.outer(np.arange(shape[1]), waves[:, 0])
        along_y = np.outer(np.arange(shape[0]), waves[:, 1])
        along_y += [wave.phase + wave.rate * time for wave in self.waves]
        columns = np.concatenate((np.cos(along_x), np.sin(along_x)), axis=1).astype(np.float32)
        cosine, sine = np.cos(along_y).astype(np.float32), np.sin(along_y).astype(np.float32)
        amplitudes = np.array([wave.amplitude for wave in self.waves], dtype=np.float32)
        u, v = (np.concatenate((cosine * a, -sine * a), axis=1) @ columns.T for a in amplitudes.T)
        return u, v

    def back(self, x: Floats, y: Floats, time: float) -> Plane:
        """Return where in the still the points at `time` come from."""
        u, v = self.displacement(x, y, time)
        return x + u, y + v

    def forth(self, x: Floats, y: Floats, time: float) -> Plane:
        """Return where points of the still are at `time`, to about 1e-6 pixels."""
        here, there = x, y
        for _ in range(_INVERSE_STEPS if self.waves else 0):
            u, v = self.displacement(here, there, time)
            change = max(np.abs(x - u - here).max(initial=0), np.abs(y - v - there).max(initial=0))
            here, there = x - u, y - v
            if change < _INVERSE_TOLERANCE:
                break
        return here, there


@lru_cache(maxsize=64)
def _beat(systole: float) -> PchipInterpolator:
    """Interpolate activation over one beat: ejection, rapid filling, slow filling, the kick of the atria."""
    filling = 1 - systole
    phase = np.array([0.0, systole, systole + 0.35 * filling, systole + 0.7 * filling, 1.0])
    level = np.array([0.0, 1.0, 0.3, 0.22, 0.0])
    # A beat on either side makes the curve and its slope periodic.
    beats = np.concatenate((phase[:-1] - 1, phase[:-1], phase + 1))
    return PchipInterpolator(beats, np.concatenate((level[:-1], level[:-1], level)))


def activation(phase: ArrayLike, *, systole: float = 0.35) -> Floats:
    """Return how far the heart is contracted, 0 (end of diastole) to 1 (end of systole).

    Args:
        phase: Time in beats; the contraction starts at whole numbers.
        systole: The part of a beat that contraction takes.
    """
    return np.asarray(_beat(systole)(np.mod(phase, 1.0)), dtype=np.float64)


class Contraction(Params):
    """The beat of a chamber and its wall: shortening, thickening and torsion about a centre.

    With ``q = |L (x - centre)|^2``, where ``L`` makes a circle of radius 1 of the ellipse, and ``c`` the activation:

        ``psi_t`` scales ``x - centre`` by ``sqrt(1 + squeeze c exp(-q / 2))``, and turns it back by the angle whose
        half has the tangent ``tan(twist c / 2) exp(-q / 2)``: ``twist c`` at the centre, nothing far away.

    Turning keeps areas, so the Jacobian is ``1 + squeeze c (1 - q / 2) exp(-q / 2)``: positive for every
    ``-1 < squeeze < e^2``. The cavity at the centre shrinks to ``1 / (1 + squeeze)`` of its area at the end of systole;
    the wall at ``q = 2`` keeps its area while its circumference shortens, so it thickens, as muscle does. A negative
    squeeze widens: an atrium.

    Attributes:
        centre: Of the cavity, in the still.
        radii: Half axes of the ellipse, in pixels, before it is turned by `angle`.
        angle: From the x axis to the first half axis, radians towards y.
        squeeze: As above; 1 halves the cavity.
        twist: Radians at the end of systole, at the centre.
        period: Seconds per beat.
        onset: Time at which a contraction starts.
        systole: The part of a beat that it takes.
    """

    centre: Point
    radii: Point
    angle: float = 0.0
    squeeze: float = Field(gt=-1, lt=math.e**2)
    twist: float = Field(default=0.0, gt=-math.pi, lt=math.pi)
    period: float = Field(default=1.0, gt=0)
    onset: float = 0.0
    systole: float = Field(default=0.35, gt=0.05, lt=0.95)

    @model_validator(mode="after")
    def _must_have_area(self) -> Self:
        if min(self.radii) <= 0:
            raise ValueError(f"half axes {self.radii} enclose nothing")
        return self

    def activation(self, time: float) -> float:
        """Return the activation at `time`, 0 to 1."""
        return float(activation((time - self.onset) / self.period, systole=self.systole))

    def back(self, x: Floats, y: Floats, time: float) -> Plane:
        """Return where in the still the points at `time` come from."""
        level = self.activation(time)
        u, v = self._centred(x, y)
        near = np.exp(-0.5 * (u * u + v * v))
        scale = np.sqrt(1 + self.squeeze * level * near)
        return self._placed(*_turned_by_half(u * scale, v * scale, -math.tan(self.twist * level / 2) * near))

    def forth(self, x: Floats, y: Floats, time: float) -> Plane:
        """Return where points of the still are at `time`, by Newton's method along the radius."""
        level = self.activation(time)
        squeeze = self.squeeze * level
        u, v = self._centred(x, y)
        still = u * u + v * v
        moved = _unsqueezed(still, squeeze)
        near = np.exp(-0.5 * moved)
        scale = 1 / np.sqrt(1 + squeeze * near)
        return self._placed(*_turned_by_half(u * scale, v * scale, math.tan(self.twist * level / 2) * near))

    def _centred(self, x: Floats, y: Floats) -> Plane:
        u, v = _turned(x - self.centre[0], y - self.centre[1], -self.angle)
        return u / self.radii[0], v / self.radii[1]

    def _placed(self, u: Floats, v: Floats) -> Plane:
        u, v = _turned(u * self.radii[0], v * self.radii[1], self.angle)
        return u + self.centre[0], v + self.centre[1]


def _unsqueezed(still: Floats, squeeze: float) -> Floats:
    """Solve ``q (1 + squeeze exp(-q / 2)) = still`` for ``q``: a rising function, so bracketed Newton finds it."""
    low = still / (1 + max(squeeze, 0.0))
    high = still / (1 + min(squeeze, 0.0))
    q = 0.5 * (low + high)
    for _ in range(_NEWTON_STEPS):
        near = squeeze * np.exp(-0.5 * q)
        excess = q * (1 + near) - still
        low, high = np.where(excess > 0, low, q), np.where(excess > 0, q, high)
        step = q - excess / (1 + near * (1 - 0.5 * q))
        q = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    return q


class Motion(Params):
    """Everything that moves one layer of tissue; see the head of this file.

    Attributes:
        ripple: Waves, nearest to the image.
        rigid: Constant velocity and turning.
        contractions: Beating chambers, in the still.
    """

    ripple: Ripple = Ripple()
    rigid: Rigid = Rigid()
    contractions: tuple[Contraction, ...] = ()

    def back(self, x: ArrayLike, y: ArrayLike, time: float) -> Plane:
        """Return ``psi_t``: where in the still the points at `time` come from."""
        return self._inner(*self.ripple.back(_floats(x), _floats(y), time), time)

    def back_grid(self, shape: tuple[int, int], time: float) -> Plane:
        """Return ``psi_t`` at every pixel of an image ``(row, column)``, in float32: to some 1e-4 pixels."""
        u, v = self.ripple.displacement_on_grid(shape, time)
        u += np.arange(shape[1], dtype=np.float32)
        v += np.arange(shape[0], dtype=np.float32)[:, None]
        return self._inner(u, v, time)

    def forth(self, x: ArrayLike, y: ArrayLike, time: float) -> Plane:
        """Return ``phi_t``: where points of the still are at `time`."""
        here, there = _floats(x), _floats(y)
        for contraction in reversed(self.contractions):
            here, there = contraction.forth(here, there, time)
        return self.ripple.forth(*self.rigid.forth(here, there, time), time)

    def flow(self, shape: tuple[int, int], start: float, end: float) -> NDArray[np.float32]:
        """Return where the tissue of each pixel at `start` has gone at `end`.

        Returns:
            ``(2, row, column)`` displacement in pixels, component 0 along columns (x), 1 along rows (y):
            ``frame_end(x + flow(x)) = frame_start(x)``.
        """
        columns, rows = np.meshgrid(*(np.arange(side, dtype=np.float64) for side in shape[::-1]))
        x, y = self.forth(*self.back(columns, rows, start), end)
        return np.stack((x - columns, y - rows)).astype(np.float32)

    def _inner(self, x: Floats, y: Floats, time: float) -> Plane:
        x, y = self.rigid.back(x, y, time)
        for contraction in self.contractions:
            x, y = contraction.back(x, y, time)
        return x, y


def draw_ripple(
    side: float,
    *,
    strain: float,
    rate: float,
    octaves: int = 3,
    per_octave: int = 4,
    generator: np.random.Generator,
) -> Ripple:
    """Draw waves of lengths from twice `side` downwards, each octave with half the strain of the one above it.

    Args:
        side: Side of the image in pixels.
        strain: What the gradient of the displacement shall never exceed, below 1.
        rate: Greatest rate of a wave, radians per second.
        octaves: How many times lengths are halved, and one more.
        per_octave: Waves of each octave.
        generator: Where all randomness comes from.
    """
    shares = 0.5 ** np.arange(octaves)
    shares *= strain / (shares.sum() * per_octave)
    waves = []
    for octave, share in enumerate(shares):
        for _ in range(per_octave):
            number = 2 * math.pi / (2 * side * 0.5**octave * generator.uniform(0.7, 1.4))
            direction, heading, phase = generator.uniform(0, 2 * math.pi, 3)
            size = float(share) / number
            waves.append(
                Wave(
                    wave=(number * math.cos(direction), number * math.sin(direction)),
                    amplitude=(size * math.cos(heading), size * math.sin(heading)),
                    phase=float(phase),
                    rate=float(generator.uniform(-rate, rate)),
                )
            )
    return Ripple(waves=tuple(waves))


def _turned(x: Floats, y: Floats, angle: float) -> Plane:
    cosine, sine = math.cos(angle), math.sin(angle)
    return x * cosine - y * sine, x * sine + y * cosine


def _turned_by_half(x: Floats, y: Floats, tangent: Floats) -> Plane:
    """Turn each point by an angle of its own, given by the tangent of its half: no sine of every pixel."""
    scale = 1 / (1 + tangent * tangent)
    cosine, sine = 2 * scale - 1, 2 * tangent * scale
    return x * cosine - y * sine, x * sine + y * cosine


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
