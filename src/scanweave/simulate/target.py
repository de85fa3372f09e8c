"""Calibration targets: a grid of squares in a beam, of which some may be missing, over what else the beam shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .params import Params, Point, Range, new_seed, stream, uniform
from .textures import clouds

Picture = NDArray[np.float32]

_BEAM = 0.75  # of the shorter side: the beam's standard deviation
_STRUCTURE = 0.04  # of the brightness: what is not even about the beam


@dataclass(frozen=True)
class TargetConfig:
    """Between what limits targets are drawn.

    Attributes:
        size: ``(row, column)``.
        pitch: Pixels from square to square.
        share: Side of a square, in pitches.
        contrast: Brightness of the squares relative to the beam; negative for dark ones.
        missing: Share of the squares that are missing.
        most: Radians that the grid is turned at most.
        margin: Squares that at most are missing along each side of the view, so that the grid's end is seen.
    """

    size: tuple[int, int] = (256, 256)
    pitch: Range = (14.0, 40.0)
    share: Range = (0.4, 0.7)
    contrast: Range = (-0.5, 0.8)
    missing: float = 0.04
    most: float = 0.06
    margin: int = 3


class TargetParams(Params):
    """One target.

    Attributes:
        size: ``(row, column)``.
        pitch: Pixels from square to square.
        share: Side of a square, in pitches.
        contrast: Brightness of the squares relative to the beam.
        angle: Radians that the grid is turned by.
        origin: Where one square's middle lies, ``(x, y)``.
        first: The first square there is, by columns and rows of the grid counted from that at `origin`.
        last: The last one.
        missing: Squares between them that are not there.
        beam: Where the beam is brightest, ``(x, y)``.
        seed: Of what is not even about the beam.
    """

    size: tuple[int, int]
    pitch: float
    share: float
    contrast: float
    angle: float = 0.0
    origin: Point
    first: tuple[int, int]
    last: tuple[int, int]
    missing: tuple[tuple[int, int], ...] = ()
    beam: Point
    seed: int = 0

    @classmethod
    def draw(cls, config: TargetConfig, *, generator: np.random.Generator) -> TargetParams:
        """Draw a target; its middle is near that of the view."""
        rows, columns = config.size
        middle = (columns - 1) / 2, (rows - 1) / 2
        pitch = math.exp(uniform((math.log(config.pitch[0]), math.log(config.pitch[1])), generator=generator))
        reach = [max(int(side / 2 / pitch), 2) for side in (columns, rows)]
        ends = [[max(n - int(generator.integers(0, config.margin + 1)), 2) for n in reach] for _ in range(2)]
        (left, top), (right, below) = ends
        count = int(generator.binomial((left + right + 1) * (top + below + 1), config.missing))
        missing = {
            (int(generator.integers(-left, right + 1)), int(generator.integers(-top, below + 1))) for _ in range(count)
        }
        contrast = uniform(config.contrast, generator=generator)
        return cls(
            size=config.size,
            pitch=pitch,
            share=uniform(config.share, generator=generator),
            contrast=contrast if abs(contrast) > 0.2 else math.copysign(0.2, contrast),
            angle=uniform((-config.most, config.most), generator=generator),
            origin=_near(middle, pitch / 2, generator),
            first=(-left, -top),
            last=(right, below),
            missing=tuple(sorted(missing)),
            beam=_near(middle, min(rows, columns) / 6, generator),
            seed=new_seed(generator),
        )

    def render(self) -> Picture:
        """Return the target, ``(row, column)``, brightest about 1; edges of squares are a pixel wide."""
        rows, columns = self.size
        y, x = np.mgrid[:rows, :columns].astype(np.float32)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        across, down = x - self.origin[0], y - self.origin[1]
        along = (cos * across + sin * down) / self.pitch, (cos * down - sin * across) / self.pitch
        place = [np.rint(one) for one in along]
        squares = np.ones(self.size, np.float32)
        for one, nearest, low, high in zip(along, place, self.first, self.last, strict=True):
            squares *= np.clip((self.share / 2 - np.abs(one - nearest)) * self.pitch + 0.5, 0, 1)
            squares *= (nearest >= low) & (nearest <= high)
        for column, row in self.missing:
            squares *= (place[0] != column) | (place[1] != row)
        far = (np.square(x - self.beam[0]) + np.square(y - self.beam[1])) / (2 * (_BEAM * min(rows, columns)) ** 2)
        uneven = clouds(self.size, generator=stream(self.seed, "beam"))
        beam = np.exp(-far) * (1 + np.float32(_STRUCTURE) * uneven)
        return np.asarray(beam * (1 + self.contrast * squares) / max(1 + self.contrast, 1), np.float32)


def _near(point: Point, reach: float, generator: np.random.Generator) -> Point:
    return (
        point[0] + uniform((-reach, reach), generator=generator),
        point[1] + uniform((-reach, reach), generator=generator),
    )
