"""Radiographs of what moves: melt pools in a wall, pores, spatter, cracks and dendrites that grow, fields that shift.

What fusion of two cameras is trained on. A scene is drawn once, as plain values, and rendered at any times; the unit of
time is the interval of the slow camera, that of length a pixel of the sharp one. A frame is the product of
transmissions: of walls, whose surface moves, of the logarithmic contrast of bodies, sheets and branches, and of a drift
of the beam. Then the detector blurs. There is no noise: cameras add theirs (`scanweave.simulate.cameras`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .params import Params, Point, new_seed, uniform
from .textures import clouds

Picture = NDArray[np.float32]

_BEYOND = 3.0  # logarithmic contrast that no layer exceeds
_PROFILE = 1024  # points of the profile of a surface
_EVER = 1e9  # intervals


class Path(Params):
    """How something moves: evenly, and swinging.

    Attributes:
        velocity: Pixels per interval.
        swing: Amplitude of a swing, pixels.
        rate: Swings per interval.
        phase: Of the swing, turns.
    """

    velocity: Point = (0.0, 0.0)
    swing: Point = (0.0, 0.0)
    rate: float = 0.0
    phase: float = 0.0

    @classmethod
    def draw(cls, fastest: float, *, generator: np.random.Generator) -> Path:
        """Draw a path of up to so many pixels per interval; slow ones are as likely as fast ones."""
        speed = math.exp(generator.uniform(math.log(0.2), math.log(max(fastest, 0.3))))
        angle, swings = generator.uniform(0, 2 * math.pi), generator.random() < 0.4
        swing = generator.normal(0, 0.15 * speed, 2) if swings else np.zeros(2)
        return cls(
            velocity=(speed * math.cos(angle), speed * math.sin(angle)),
            swing=(float(swing[0]), float(swing[1])),
            rate=uniform((0.2, 2.0), generator=generator),
            phase=float(generator.random()),
        )

    def at(self, time: float) -> Point:
        """Return how far it has come at a time."""
        wave = math.sin(2 * math.pi * (self.rate * time + self.phase))
        (u, v), (a, b) = self.velocity, self.swing
        return u * time + a * wave, v * time + b * wave

    @property
    def still(self) -> bool:
        """Whether it never moves."""
        return self.velocity == (0.0, 0.0) and self.swing == (0.0, 0.0)


class Body(Params):
    """An ellipse: a pore, a droplet, dust, a keyhole, or a melt pool.

    Attributes:
        centre: At time 0.
        radii: Along x and y at time 0.
        path: How it moves.
        growth: Of its radii, per interval, as a share.
        pulse: Amplitude of a pulsation of its radii, as a share; it goes by the path's rate.
        edge: Width of its border, pixels.
        contrast: Logarithm of what it does to the brightness.
        rim: The same of a bright or dark line along its border.
        born: When it appears, and ...
        gone: ... when it is gone again.
    """

    centre: Point
    radii: Point
    path: Path = Path()
    growth: float = 0.0
    pulse: float = 0.0
    edge: float = 0.7
    contrast: float
    rim: float = 0.0
    born: float = -_EVER
    gone: float = _EVER

    @property
    def still(self) -> bool:
        """Whether it is always the same."""
        return self.path.still and self.growth == self.pulse == 0 and self.born == -_EVER and self.gone == _EVER

    def add(self, layer: Picture, time: float) -> None:
        """Add its logarithmic contrast to a layer, where it lies in it."""
        if not self.born <= time < self.gone:
            return
        wave = math.sin(2 * math.pi * (self.path.rate * time + self.path.phase + 0.25))
        factor = min(max(1 + self.growth * time + self.pulse * wave, 0.0), 4.0)
        rx, ry = (radius * factor for radius in self.radii)
        x, y = (at + by for at, by in zip(self.centre, self.path.at(time), strict=True))
        if min(rx, ry) < 0.2:
            return
        margin = 4 * self.edge + 2
        left, right = max(0, math.floor(x - rx - margin)), min(layer.shape[1], math.ceil(x + rx + margin) + 1)
        top, bottom = max(0, math.floor(y - ry - margin)), min(layer.shape[0], math.ceil(y + ry + margin) + 1)
        if left >= right or top >= bottom:
            return
        across = (np.arange(left, right, dtype=np.float32) - np.float32(x)) / np.float32(rx)
        down = (np.arange(top, bottom, dtype=np.float32) - np.float32(y)) / np.float32(ry)
        outside = (np.hypot(across[None], down[:, None]) - 1) * np.float32(min(rx, ry) / self.edge)
        bump = self.contrast * (0.5 - 0.5 * np.tanh(outside)) + self.rim * np.exp(-np.square(outside))
        layer[top:bottom, left:right] += bump.astype(np.float32)


class Wall(Params):
    """What is dark below a surface, over which a depression runs and leaves it changed.

    Attributes:
        level: Row of the surface at the left.
        slope: Rows per column.
        waves: Amplitude, cycles across the frame and phase in turns of each wave of the surface.
        dark: Transmission of the wall over that of what lies above.
        shade: Share of the contrast that comes gradually ...
        depth: ... over so many pixels below the surface.
        edge: Width of the surface, pixels.
        fringe: Bright line above the surface and dark one below, by phase contrast.
        width: Of these lines, pixels.
        place: Column of the depression at time 0.
        path: Its way; only the first of its coordinates counts.
        dip: Depth of the depression, pixels; negative for a bulge.
        reach: Its half width, pixels.
        quiver: Share of its depth that goes up and down by the path's rate.
        left: By how much the surface lies lower where the depression has passed, pixels.
    """

    level: float
    slope: float
    waves: tuple[tuple[float, float, float], ...]
    dark: float
    shade: float
    depth: float
    edge: float
    fringe: float
    width: float
    place: float
    path: Path
    dip: float
    reach: float
    quiver: float
    left: float

    @classmethod
    def draw(cls, side: int, fastest: float, *, generator: np.random.Generator) -> Wall:
        """Draw a wall in a frame of that side."""

        def between(low: float, high: float) -> float:
            return uniform((low, high), generator=generator)

        path = Path.draw(fastest, generator=generator)
        waves = [(generator.normal(0, 1.5), between(0.2, 3), between(0, 1)) for _ in range(3)]
        faint = generator.random() < 0.3
        return cls(
            level=between(0.1, 0.9) * side,
            slope=generator.normal(0, 0.08),
            waves=tuple((float(a), b, c) for a, b, c in waves),
            dark=math.exp(between(-0.2, 0.1)) if faint else math.exp(between(-1.8, -0.2)),
            shade=between(0, 0.4),
            depth=between(4, 40),
            edge=between(0.3, 1.5),
            fringe=between(0, 0.15) if generator.random() < 0.7 else 0.0,
            width=between(0.7, 2.5),
            place=between(-0.1, 1.1) * side,
            path=path.model_copy(update={"velocity": (path.velocity[0] or 1.0, 0.0)}),
            dip=float(generator.normal(0, 6)),
            reach=math.exp(between(math.log(3), math.log(25))),
            quiver=between(0, 0.5) if generator.random() < 0.5 else 0.0,
            left=float(generator.normal(0, 2)),
        )

    def transmission(self, shape: tuple[int, int], time: float) -> Picture:
        """Return what it lets through, 1 far above its surface."""
        x = np.arange(shape[1], dtype=np.float32)
        below = np.arange(shape[0], dtype=np.float32)[:, None] - self._surface(x, shape[1], time)
        span = max(shape)
        at = np.linspace(-span, span, _PROFILE, dtype=np.float32)
        through: Picture = np.interp(below, at, self._profile(at)).astype(np.float32)
        return through

    def _surface(self, x: Picture, columns: int, time: float) -> Picture:
        place = self.place + self.path.at(time)[0]
        ahead = math.copysign(1.0, self.path.velocity[0])
        level = self.level + self.slope * x
        for amplitude, cycles, phase in self.waves:
            level = level + amplitude * np.sin(2 * math.pi * (cycles * x / columns + phase), dtype=np.float32)
        quiver = 1 + self.quiver * math.sin(2 * math.pi * (3 * self.path.rate * time + self.path.phase))
        behind = (place - x) * ahead / np.float32(self.reach)
        passed = 0.5 + 0.5 * np.tanh(behind)
        # steeper in front than behind
        form = np.exp(-np.square(np.where(behind > 0, 0.7, 1.2) * behind))
        return np.asarray(level + self.dip * quiver * form + self.left * passed, np.float32)

    def _profile(self, below: Picture) -> Picture:
        step = 0.5 + 0.5 * np.tanh(below / self.edge)
        shaded = 1 - self.shade * np.exp(-np.maximum(below, 0) / self.depth)
        line = -below / self.width * np.exp(0.5 - 0.5 * np.square(below / self.width))
        return np.asarray(np.exp(math.log(self.dark) * step * shaded) + self.fringe * line, np.float32)


class Sheet(Params):
    """A texture that moves, turns and pulsates.

    Attributes:
        seed: Of the texture.
        coarsest: Its largest structures along a side.
        octaves: How many times structures are halved.
        falloff: Amplitude of each octave relative to the coarser one.
        sharpness: 0 for smooth; others have borders, the narrower the more.
        contrast: Logarithmic, its standard deviation.
        path: How it moves.
        spin: Radians per interval.
        pulse: Amplitude of a pulsation of its size, as a share; it goes by the path's rate.
    """

    seed: int
    coarsest: int
    octaves: int
    falloff: float
    sharpness: float
    contrast: float
    path: Path = Path()
    spin: float = 0.0
    pulse: float = 0.0

    @property
    def still(self) -> bool:
        """Whether it is always the same."""
        return self.path.still and self.spin == self.pulse == 0

    def texture(self, shape: tuple[int, int]) -> Picture:
        """Return its logarithmic contrast at time 0."""
        generator = np.random.default_rng(self.seed)
        found = clouds(shape, generator=generator, coarsest=self.coarsest, octaves=self.octaves, falloff=self.falloff)
        formed = np.tanh(self.sharpness * found) if self.sharpness else found
        return np.asarray(self.contrast * formed, np.float32)

    def moved(self, texture: Picture, time: float) -> Picture:
        """Return its texture at a time; what comes in from beyond is mirrored."""
        rows, columns = texture.shape
        wave = math.sin(2 * math.pi * (self.path.rate * time + self.path.phase))
        matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), math.degrees(self.spin * time), 1 + self.pulse * wave)
        matrix[:, 2] += np.array(self.path.at(time))
        return np.asarray(
            cv2.warpAffine(texture, matrix, (columns, rows), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT),
            np.float32,
        )


class Branches(Params):
    """A crack or a dendrite: lines that grow.

    Attributes:
        lines: Of each, its points, and from when to when it grows.
        thickness: Pixels.
        contrast: Logarithmic.
        soft: Deviation of the blur of its borders, pixels.
    """

    lines: tuple[tuple[tuple[Point, ...], float, float], ...]
    thickness: int
    contrast: float
    soft: float

    @classmethod
    def draw(cls, side: int, *, generator: np.random.Generator) -> Branches:
        """Draw a trunk with branches, which grow within a few intervals."""
        lines: list[tuple[tuple[Point, ...], float, float]] = []
        starts = [(generator.uniform(0, side, 2), generator.uniform(0, 2 * math.pi), generator.uniform(-1.5, 0.5), 0)]
        regular = generator.random() < 0.5
        while starts and len(lines) < 14:
            start, angle, born, order = starts.pop(0)
            step, turn = generator.uniform(2, 5), 0.03 if regular else 0.35
            angles = angle + np.cumsum(generator.normal(0, turn, int(generator.integers(5, 22 if order == 0 else 10))))
            steps = step * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
            points = np.concatenate([[start], start + np.cumsum(steps, axis=0)])
            grown = born + generator.uniform(0.3, 2.5)
            lines.append((tuple((float(x), float(y)) for x, y in points), float(born), float(grown)))
            if order < 2:
                for k in generator.choice(len(steps), min(4, len(steps)), replace=False):
                    away = generator.choice([-1, 1]) * (math.pi / 3 if regular else generator.uniform(0.4, 1.4))
                    starts.append(
                        (points[k], float(angles[k] + away), born + (grown - born) * k / len(steps), order + 1)
                    )
        return cls(
            lines=tuple(lines),
            thickness=int(generator.integers(1, 4)),
            contrast=float(generator.choice([-1, 1]) * generator.uniform(0.05, 0.5)),
            soft=uniform((0.3, 1.0), generator=generator),
        )

    def layer(self, shape: tuple[int, int], time: float) -> Picture:
        """Return its logarithmic contrast."""
        drawn = np.zeros(shape, np.uint8)
        for points, born, grown in self.lines:
            share = min(max((time - born) / (grown - born), 0.0), 1.0)
            if share == 0:
                continue
            length = share * (len(points) - 1)
            whole = math.floor(length)
            line = np.array(points[: whole + 1])
            if whole < len(points) - 1:
                tip = line[-1] + (length - whole) * (np.array(points[whole + 1]) - line[-1])
                line = np.vstack([line, tip])
            fixed = np.rint(line * 16).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(
                drawn, [fixed], isClosed=False, color=255, thickness=self.thickness, lineType=cv2.LINE_AA, shift=4
            )
        soft = cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), self.soft)
        return np.asarray(soft * np.float32(self.contrast / 255), np.float32)


@dataclass(frozen=True)
class RadiographyConfig:
    """Between what limits scenes are drawn.

    Attributes:
        size: ``(row, column)``.
        fastest: Pixels per interval that the fastest things move.
    """

    size: tuple[int, int] = (96, 96)
    fastest: float = 40.0


class RadiographyParams(Params):
    """One scene.

    Attributes:
        size: ``(row, column)``.
        turns: Quarter turns of the whole.
        level: Brightness without anything.
        tilt: Logarithmic change of brightness across the frame, along x and y.
        walls: Each multiplies.
        bodies: Of all kinds.
        sheets: Textures.
        branches: Cracks and dendrites.
        blur: Deviation of the detector's, pixels.
        drift: Of the beam, a share per interval.
        shake: How the whole scene moves before the detector.
    """

    size: tuple[int, int]
    turns: int
    level: float
    tilt: Point
    walls: tuple[Wall, ...]
    bodies: tuple[Body, ...]
    sheets: tuple[Sheet, ...]
    branches: tuple[Branches, ...]
    blur: float
    drift: float
    shake: Path

    @classmethod
    def draw(cls, config: RadiographyConfig, *, generator: np.random.Generator) -> RadiographyParams:
        """Draw one scene."""
        side = max(config.size)
        fastest = math.exp(generator.uniform(0, math.log(config.fastest)))
        walls = [Wall.draw(side, fastest, generator=generator) for _ in range(generator.choice(3, p=(0.3, 0.5, 0.2)))]
        bodies = _still_bodies(side, generator=generator) + _moving_bodies(side, fastest, generator=generator)
        for wall in walls:
            bodies += _pool(wall, side, generator=generator)
        count = int(generator.choice(3, p=(0.45, 0.4, 0.15))) if walls else int(generator.integers(1, 3))
        moving = 0.25 if walls else 0.75
        return cls(
            size=config.size,
            turns=int(generator.integers(4)),
            level=uniform((0.3, 1.0), generator=generator),
            tilt=(generator.normal(0, 0.1), generator.normal(0, 0.1)),
            walls=tuple(walls),
            bodies=tuple(bodies),
            sheets=tuple(_sheet(fastest, generator.random() < moving, generator=generator) for _ in range(count)),
            branches=tuple(Branches.draw(side, generator=generator) for _ in range(generator.random() < 0.2)),
            blur=uniform((0.4, 1.5), generator=generator),
            drift=float(generator.normal(0, 0.003)),
            shake=Path.draw(3.0, generator=generator) if generator.random() < 0.15 else Path(),
        )

    def render(self, times: Sequence[float]) -> Picture:
        """Return frames ``(time, row, column)`` at times in intervals of the slow camera, about [0, 1.5]."""
        rows, columns = self.size if self.turns % 2 == 0 else self.size[::-1]
        still = self._still((rows, columns))
        textures = [sheet.texture((rows, columns)) for sheet in self.sheets if not sheet.still]
        return np.stack([np.rot90(self._frame(still, textures, time), self.turns) for time in times])

    def _still(self, shape: tuple[int, int]) -> Picture:
        """Return the logarithm of all that never changes."""
        x, y = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape[::-1])
        layer = np.asarray(self.tilt[0] * x[None] + self.tilt[1] * y[:, None] + math.log(self.level), np.float32)
        for sheet in self.sheets:
            if sheet.still:
                layer += sheet.texture(shape)
        for body in self.bodies:
            if body.still:
                body.add(layer, 0.0)
        return layer

    def _frame(self, still: Picture, textures: Sequence[Picture], time: float) -> Picture:
        layer = still.copy()
        moving = [sheet for sheet in self.sheets if not sheet.still]
        for sheet, texture in zip(moving, textures, strict=True):
            layer += sheet.moved(texture, time)
        for body in self.bodies:
            if not body.still:
                body.add(layer, time)
        for branches in self.branches:
            layer += branches.layer((layer.shape[0], layer.shape[1]), time)
        frame = np.exp(np.clip(layer, -_BEYOND, _BEYOND / 6))
        for wall in self.walls:
            frame *= wall.transmission((layer.shape[0], layer.shape[1]), time)
        if not self.shake.still:
            shift = np.array([[1, 0, 0], [0, 1, 0]], np.float64)
            shift[:, 2] = np.array(self.shake.at(time))
            frame = cv2.warpAffine(
                frame, shift, frame.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
        blurred = cv2.GaussianBlur(frame, (0, 0), self.blur, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(np.maximum(blurred, 0) * np.float32(1 + self.drift * time), np.float32)


def _still_bodies(side: int, *, generator: np.random.Generator) -> list[Body]:
    """Pores that stay, and dust before the camera."""
    return [
        Body(
            centre=(generator.uniform(0, side), generator.uniform(0, side)),
            radii=(radius, radius * generator.uniform(0.7, 1.4)),
            edge=generator.uniform(0.4, 2.0),
            contrast=generator.normal(0, 0.12),
            rim=generator.normal(0, 0.06),
        )
        for radius in np.exp(generator.uniform(math.log(0.7), math.log(7), generator.integers(0, 25))).tolist()
    ]


def _moving_bodies(side: int, fastest: float, *, generator: np.random.Generator) -> list[Body]:
    """Droplets that fly, bubbles that rise, pores that grow or close."""
    bodies = []
    for _ in range(int(generator.choice([0, 1, 3, 6], p=(0.35, 0.25, 0.25, 0.15)))):
        radius = math.exp(generator.uniform(math.log(1), math.log(12)))
        grows = generator.random() < 0.4
        bodies.append(
            Body(
                centre=(generator.uniform(0, side), generator.uniform(0, side)),
                radii=(radius, radius * generator.uniform(0.7, 1.4)),
                path=Path.draw(fastest, generator=generator) if generator.random() < 0.8 else Path(rate=0.5),
                growth=generator.uniform(-0.6, 0.6) if grows else 0.0,
                pulse=generator.uniform(0, 0.3) if generator.random() < 0.3 else 0.0,
                edge=generator.uniform(0.4, 2.0),
                contrast=generator.normal(0, 0.35),
                rim=generator.normal(0, 0.1),
                born=generator.uniform(-0.5, 0.8) if generator.random() < 0.15 else -_EVER,
                gone=generator.uniform(0.3, 1.5) if generator.random() < 0.15 else _EVER,
            )
        )
    return bodies


def _pool(wall: Wall, side: int, *, generator: np.random.Generator) -> list[Body]:
    """The melt pool under a depression, and the keyhole in it, which go with it."""
    bodies, row = [], wall.level + wall.slope * wall.place
    if generator.random() < 0.4:
        radii = (generator.uniform(15, 60), generator.uniform(6, 25))
        contrast = generator.normal(0, 0.06)
        edge = generator.uniform(0.6, 3)
        bodies.append(Body(centre=(wall.place, row), radii=radii, path=wall.path, edge=edge, contrast=contrast))
    if generator.random() < 0.4:
        radii = (generator.uniform(2, 6), generator.uniform(4, 25))
        bodies.append(
            Body(
                centre=(wall.place, row + radii[1] * 0.7),
                radii=radii,
                path=wall.path,
                pulse=generator.uniform(0, 0.4),
                edge=generator.uniform(0.5, 1.5),
                contrast=generator.uniform(0.1, 0.6),
            )
        )
    return bodies


def _sheet(fastest: float, moving: bool, *, generator: np.random.Generator) -> Sheet:
    return Sheet(
        seed=new_seed(generator),
        coarsest=int(generator.integers(2, 7)),
        octaves=int(generator.integers(1, 6)),
        falloff=uniform((0.3, 0.9), generator=generator),
        sharpness=uniform((0.5, 4), generator=generator) if generator.random() < 0.4 else 0.0,
        contrast=math.exp(generator.uniform(math.log(0.001), math.log(0.25))),
        path=Path.draw(fastest, generator=generator) if moving else Path(),
        spin=float(generator.normal(0, 0.1)) if moving and generator.random() < 0.3 else 0.0,
        pulse=uniform((0, 0.1), generator=generator) if moving and generator.random() < 0.3 else 0.0,
    )
