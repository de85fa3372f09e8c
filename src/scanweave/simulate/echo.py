"""Four-chamber echo: beating chambers in speckle that moves with them, seen through a sector."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .motion import Contraction, Motion, Rigid, draw_ripple
from .overlay import Mark, Sector, draw_marks, marked
from .params import Params, Point, Range, new_seed, stream, uniform
from .speckle import Speckle, log_compressed, scattering
from .textures import clouds
from .warping import sampled

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class EchoConfig:
    """What may be drawn. Lengths are parts of the depth of the sector.

    Attributes:
        size: ``(row, column)`` in pixels.
        frame_rate: Frames per second of the run.
        half_angle: Of the sector, radians.
        squeeze: Of the ventricles (`Contraction`): 1 halves their area.
        twist: Radians at the end of systole.
        heart_rate: Beats per second.
        strain: Of the waves (`Ripple`); below 1.
        drift: Of the heart under the probe, per second.
        decorrelation_time: Of the speckle, seconds.
        dynamic_range: Decibels from black to white.
        noise: Of the receiver, decibels below the wall.
        marks: Readings burned in: at most so many.
    """

    size: tuple[int, int] = (256, 256)
    frame_rate: Range = (20.0, 60.0)
    half_angle: Range = (0.5, 0.75)
    squeeze: Range = (0.4, 1.2)
    twist: Range = (-0.2, 0.2)
    heart_rate: Range = (0.8, 1.6)
    strain: Range = (0.1, 0.35)
    drift: Range = (0.0, 0.05)
    decorrelation_time: Range = (0.08, 0.5)
    dynamic_range: Range = (45.0, 60.0)
    noise: Range = (-45.0, -30.0)
    marks: int = 3


class Chamber(Params):
    """An ellipse of blood in the still.

    Attributes:
        centre: ``(x, y)`` in pixels.
        radii: Half axes in pixels.
        angle: From the x axis to the first half axis, radians towards y.
    """

    centre: Point
    radii: Point
    angle: float


class EchoParams(Params):
    """One run.

    Attributes:
        size: ``(row, column)``.
        seed: Of speckle, tissue and noise.
        frame_interval: Seconds between frames as the run would be acquired.
        start: First time worth showing.
        duration: Seconds worth showing.
        sector: What is seen.
        chambers: Ventricles, then atria.
        wall: Thickness of the wall in pixels.
        blood: Echo of blood relative to the wall.
        surroundings: Echo of what lies around the heart, relative to the wall.
        motion: Of the heart.
        decorrelation_time: Of the speckle, seconds.
        pulse: Standard deviation of the pulse along depth (pixels) and across (radians).
        dynamic_range: Decibels from black to white.
        noise: Of the receiver at full depth, amplitude relative to the wall.
        gain: Amplitude shown white, relative to the wall.
        marks: Burned in.
    """

    scene: Literal["echo"] = "echo"
    size: tuple[int, int]
    seed: int
    frame_interval: float = Field(gt=0)
    start: float = 0.0
    duration: float = Field(gt=0)
    sector: Sector
    chambers: tuple[Chamber, ...]
    wall: float = Field(gt=0)
    blood: float = Field(ge=0)
    surroundings: float = Field(ge=0)
    motion: Motion
    decorrelation_time: float = Field(gt=0)
    pulse: tuple[float, float]
    dynamic_range: float = Field(gt=0)
    noise: float = Field(ge=0)
    gain: float = Field(gt=0)
    marks: tuple[Mark, ...] = ()

    @classmethod
    def draw(cls, config: EchoConfig, *, generator: np.random.Generator) -> Self:
        """Draw one run."""
        sector = _draw_sector(config, generator)
        depth = sector.far
        chambers = _draw_chambers(sector, generator)
        period = 1 / uniform(config.heart_rate, generator=generator)
        return cls(
            size=config.size,
            seed=new_seed(generator),
            frame_interval=1 / uniform(config.frame_rate, generator=generator),
            duration=2 * period,
            sector=sector,
            chambers=chambers,
            wall=depth * float(generator.uniform(0.035, 0.06)),
            blood=float(10 ** generator.uniform(-2.2, -1.4)),
            surroundings=float(10 ** generator.uniform(-1.3, -0.7)),
            motion=_draw_motion(config, sector, chambers, period, generator),
            decorrelation_time=uniform(config.decorrelation_time, generator=generator),
            pulse=(depth * float(generator.uniform(0.0028, 0.0045)), float(generator.uniform(0.008, 0.014))),
            dynamic_range=uniform(config.dynamic_range, generator=generator),
            noise=10 ** (uniform(config.noise, generator=generator) / 20),
            gain=float(10 ** generator.uniform(0.7, 1.1)),
            marks=draw_marks(config.size, count=int(generator.integers(config.marks + 1)), generator=generator),
        )

    def renderer(self) -> Callable[[float, bool], Picture]:
        """Return what makes the frame of a time, with noise or without; what does not move is made once."""
        grid = _BeamGrid(self.sector)
        pulse = (self.pulse[0] / grid.depth_step, self.pulse[1] / grid.angle_step)
        field = Speckle(grid.shape, pulse=pulse, decorrelation_time=self.decorrelation_time, seed=self.seed)
        tissue = _tissue(self)
        seen = self.sector.mask(self.size)
        distance, angle = self.sector.polar(np.arange(self.size[1]), np.arange(self.size[0])[:, None])
        fixed = grid.place(distance, angle)
        shadow = _shadow(self, angle)
        amplification = (distance / self.sector.far).astype(np.float32)

        def frame(time: float, noisy: bool) -> Picture:
            x, y = self.motion.back_grid(self.size, time)
            echo = sampled(field.at(time), *grid.place(*self.sector.polar(x, y)), mode="bilinear")
            echo *= (sampled(tissue, x, y, mode="bilinear") * shadow)[..., None]
            if noisy:
                generator = stream(self.seed, "noise", time=time)
                receiver = scattering(grid.shape, pulse=(0.7 * pulse[0], 0.5 * pulse[1]), generator=generator)
                hiss = sampled(receiver, *fixed, mode="bilinear")
                echo += hiss * (np.float32(self.noise) * amplification)[..., None]
            envelope = np.asarray(np.hypot(echo[..., 0], echo[..., 1]) / self.gain, dtype=np.float32)
            return marked(log_compressed(envelope, dynamic_range=self.dynamic_range) * seen, self.marks)

        return frame


class _BeamGrid:
    """Samples along beams, on which speckle is made: a sample per pixel of depth, some two beams per degree."""

    def __init__(self, sector: Sector) -> None:
        # A margin all round, from where tissue moves into the sector.
        self.shape = (math.ceil(1.15 * sector.far), math.ceil(2.4 * sector.half_angle / math.radians(0.45)))
        self.depth_step = 1.0
        self.angle_step = 2.4 * sector.half_angle / (self.shape[1] - 1)
        self._first = -1.2 * sector.half_angle

    def place(self, distance: NDArray[Any], angle: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return column (beam) and row (depth) of points of the sector."""
        return (angle - self._first) / self.angle_step, distance / self.depth_step


def _tissue(params: EchoParams) -> Picture:
    """Return how strongly the still echoes at each pixel: 1 in the wall, little in blood."""
    generator = stream(params.seed, "tissue")
    rows, columns = (np.arange(side, dtype=np.float32) for side in params.size)
    x, y = np.meshgrid(columns, rows)
    edge = 0.15 * params.wall
    depth = np.maximum.reduce([_inside(chamber, x, y) for chamber in params.chambers])
    blood = 0.5 + 0.5 * np.tanh(0.5 * depth / edge)
    # The wall is what lies within its thickness of any chamber; beyond it tissue fades into the surroundings.
    beyond = np.maximum(-depth - params.wall, 0)
    wall = params.surroundings + (1 - params.surroundings) * np.exp(-beyond / (0.5 * params.wall))
    patches = np.exp(0.9 * clouds(params.size, generator=generator, coarsest=4, octaves=4, falloff=0.8))
    far = params.sector.far
    distance, _ = params.sector.polar(x, y)
    lining = 1.2 * np.exp(-(((distance - generator.uniform(0.93, 0.97) * far) / (0.02 * far)) ** 2))
    probe = 0.8 * np.exp(-(distance - params.sector.near) / (0.05 * far))
    solid = (wall + lining + probe) * patches
    return np.asarray(blood * params.blood + (1 - blood) * solid, dtype=np.float32)


def _inside(chamber: Chamber, x: Picture, y: Picture) -> Picture:
    """Return about how many pixels a point lies inside a chamber; negative outside."""
    cosine, sine = np.float32(math.cos(chamber.angle)), np.float32(math.sin(chamber.angle))
    u, v = x - np.float32(chamber.centre[0]), y - np.float32(chamber.centre[1])
    u, v = (u * cosine + v * sine) / chamber.radii[0], (v * cosine - u * sine) / chamber.radii[1]
    return np.asarray((1 - np.hypot(u, v)) * min(chamber.radii), dtype=np.float32)


def _shadow(params: EchoParams, angle: NDArray[Any]) -> Picture:
    """Return what ribs and lung leave of each beam, and the fall-off towards the sides."""
    generator = stream(params.seed, "shadow")
    knots = generator.uniform(0.45, 1.2, 9)
    beams = np.linspace(-params.sector.half_angle, params.sector.half_angle, len(knots))
    return np.asarray(np.interp(angle, beams, knots), dtype=np.float32)


def _draw_sector(config: EchoConfig, generator: np.random.Generator) -> Sector:
    height, width = config.size
    half_angle = uniform(config.half_angle, generator=generator)
    near = 0.03 * height
    # As deep as the image is high, unless the fan would be wider than the image.
    far = min(0.97 * height, 0.5 * width / math.sin(half_angle)) * float(generator.uniform(0.95, 1.0))
    return Sector(apex=((width - 1) / 2, 0.01 * height), half_angle=half_angle, near=near, far=far)


def _draw_chambers(sector: Sector, generator: np.random.Generator) -> tuple[Chamber, ...]:
    """Draw left and right ventricle and atrium, ventricles towards the probe."""
    depth, side = sector.far, float(generator.choice((-1.0, 1.0)))
    tilt = float(generator.uniform(-0.12, 0.12))
    plans = (
        ((0.125, 0.39), (0.115, 0.245), 0.10),
        ((-0.135, 0.44), (0.085, 0.19), -0.15),
        ((0.15, 0.77), (0.135, 0.115), 0.0),
        ((-0.15, 0.76), (0.125, 0.11), 0.0),
    )
    chambers = []
    for (across, down), radii, lean in plans:
        across, down = (value + float(generator.normal(0, 0.012)) for value in (side * across, down))
        turned = (across * math.cos(tilt) - (down - 0.5) * math.sin(tilt), down + across * math.sin(tilt))
        scale = float(generator.uniform(0.88, 1.1))
        chambers.append(
            Chamber(
                centre=(sector.apex[0] + depth * turned[0], sector.apex[1] + depth * turned[1]),
                radii=(depth * radii[0] * scale, depth * radii[1] * scale),
                angle=side * -lean + tilt,
            )
        )
    return tuple(chambers)


def _draw_motion(
    config: EchoConfig,
    sector: Sector,
    chambers: tuple[Chamber, ...],
    period: float,
    generator: np.random.Generator,
) -> Motion:
    """Draw a beat: ventricles squeeze, atria fill meanwhile, everything sways."""
    onset, systole = float(generator.uniform(-1, 0)), float(generator.uniform(0.3, 0.42))
    squeeze = uniform(config.squeeze, generator=generator)
    beats = []
    for index, chamber in enumerate(chambers):
        ventricle = index < 2
        beats.append(
            Contraction(
                centre=chamber.centre,
                radii=(0.8 * chamber.radii[0], 0.8 * chamber.radii[1]),
                angle=chamber.angle,
                squeeze=squeeze * float(generator.uniform(0.8, 1.2)) if ventricle else -0.25 * min(squeeze, 1.5),
                twist=uniform(config.twist, generator=generator) if ventricle else 0.0,
                period=period,
                onset=onset,
                systole=systole,
            )
        )
    speed, heading = sector.far * uniform(config.drift, generator=generator), generator.uniform(0, 2 * math.pi)
    return Motion(
        ripple=draw_ripple(
            sector.far, strain=uniform(config.strain, generator=generator), rate=4.0, generator=generator
        ),
        rigid=Rigid(velocity=(speed * math.cos(heading), speed * math.sin(heading))),
        contractions=tuple(beats),
    )
