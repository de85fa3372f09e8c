"""Any still image set in motion: exact frames between, with the texture of real pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..errors import InputError
from .motion import Contraction, Motion, Rigid, draw_ripple
from .noise import counted
from .overlay import Mark, draw_marks, marked
from .params import Params, Point, Range, new_seed, stream, uniform
from .warping import sampled

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class StillConfig:
    """What may be drawn. Lengths are parts of the shorter side of the frame.

    Attributes:
        size: ``(row, column)`` of the frames in pixels.
        zoom: Pixels of the frame per pixel of the still.
        frame_rate: Frames per second.
        speed: Of the whole image, per second.
        spin: Radians per second.
        squeeze: Of a contraction (`Contraction`).
        strain: Of the waves (`Ripple`); below 1.
        beating: Chance that a part of the image contracts.
        photons: Per pixel of full white; few are noisy.
        noisy: Chance of noise.
        marks: Readings burned in: at most so many.
    """

    size: tuple[int, int] = (256, 256)
    zoom: Range = (0.8, 1.25)
    frame_rate: Range = (10.0, 30.0)
    speed: Range = (0.0, 0.4)
    spin: Range = (-0.5, 0.5)
    squeeze: Range = (-0.3, 0.8)
    strain: Range = (0.1, 0.6)
    beating: float = 0.5
    photons: Range = (500.0, 10000.0)
    noisy: float = 0.5
    marks: int = 1


@dataclass(frozen=True)
class Still:
    """A still image, ready to be moved.

    Attributes:
        pixels: ``(row, column[, 3])`` in [0, 1].
        sha256: Hash of dtype, shape and bytes of what was given.
    """

    pixels: Picture
    sha256: str

    @classmethod
    def of(cls, image: NDArray[Any]) -> Self:
        """Return an image as a still: unsigned integers over their depth, floats as they are.

        Raises:
            InputError: Neither grey nor colour, or floats outside [0, 1].
        """
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
            raise InputError(f"a still image of shape {image.shape} is neither (row, column) nor (row, column, 3)")
        if image.dtype.kind == "u":
            pixels = (image / np.float32(np.iinfo(image.dtype).max)).astype(np.float32)
        elif image.dtype.kind == "f" and np.all(image >= 0) and np.all(image <= 1):
            pixels = image.astype(np.float32)
        else:
            raise InputError(
                f"a still image of {image.dtype} has no stated range",
                remedy="give unsigned integers, or floats in [0, 1]",
            )
        described = f"{image.dtype.str} {image.shape} ".encode()
        return cls(pixels, hashlib.sha256(described + np.ascontiguousarray(image).tobytes()).hexdigest())


class StillParams(Params):
    """One run made of a still.

    Attributes:
        size: ``(row, column)`` of the frames.
        seed: Of the noise.
        frame_interval: Seconds between frames as the run would be acquired.
        start: First time worth showing.
        duration: Seconds worth showing.
        image: Which of the stills.
        sha256: Hash of its shape, dtype and bytes, so that no other is taken for it.
        corner: Where in the still the first pixel of the frame lies, ``(x, y)``, before motion.
        zoom: Pixels of the frame per pixel of the still.
        motion: In pixels of the frame.
        photons: Per pixel of full white, or None for no noise.
        marks: Burned in.
    """

    scene: Literal["still"] = "still"
    size: tuple[int, int]
    seed: int
    frame_interval: float = Field(gt=0)
    start: float = 0.0
    duration: float = Field(gt=0)
    image: int = Field(ge=0)
    sha256: str
    corner: Point
    zoom: float = Field(gt=0)
    motion: Motion
    photons: float | None = Field(default=None, gt=0)
    marks: tuple[Mark, ...] = ()

    @classmethod
    def draw(cls, config: StillConfig, stills: Sequence[Still], *, generator: np.random.Generator) -> Self:
        """Draw one run of one of `stills`.

        Raises:
            InputError: No images.
        """
        if not stills:
            raise InputError("no still images to move", remedy="give at least one, or leave the scene out")
        index = int(generator.integers(len(stills)))
        rows, columns = stills[index].pixels.shape[:2]
        zoom = uniform(config.zoom, generator=generator)
        corner = tuple(
            float(generator.uniform(min(0.0, room), max(0.0, room)))
            for room in (columns - config.size[1] / zoom, rows - config.size[0] / zoom)
        )
        noisy = bool(generator.random() < config.noisy)
        return cls(
            size=config.size,
            seed=new_seed(generator),
            frame_interval=1 / uniform(config.frame_rate, generator=generator),
            duration=2.0,
            image=index,
            sha256=stills[index].sha256,
            corner=(corner[0], corner[1]),
            zoom=zoom,
            motion=_draw_motion(config, generator),
            photons=uniform(config.photons, generator=generator) if noisy else None,
            marks=draw_marks(config.size, count=int(generator.integers(config.marks + 1)), generator=generator),
        )

    def renderer(self, stills: Sequence[Still]) -> Callable[[float, bool], Picture]:
        """Return what makes the frame of a time, with noise or without.

        Raises:
            InputError: The still is missing, or is another one.
        """
        if self.image >= len(stills):
            raise InputError(f"still image {self.image} of {len(stills)} is missing", remedy="give all, in order")
        if stills[self.image].sha256 != self.sha256:
            raise InputError(
                f"still image {self.image} is not the one that the parameters were drawn for",
                remedy="give the same images in the same order",
            )
        still = stills[self.image].pixels

        def frame(time: float, noisy: bool) -> Picture:
            x, y = self.motion.back_grid(self.size, time)
            shown = sampled(still, x / self.zoom + self.corner[0], y / self.zoom + self.corner[1])
            shown = np.clip(shown, 0, 1)
            if noisy and self.photons is not None:
                generator = stream(self.seed, "noise", time=time)
                shown = np.clip(counted(shown, photons=self.photons, generator=generator), 0, 1)
            return marked(shown, self.marks)

        return frame


def _draw_motion(config: StillConfig, generator: np.random.Generator) -> Motion:
    height, width = config.size
    side = float(min(config.size))
    speed, heading = side * uniform(config.speed, generator=generator), generator.uniform(0, 2 * math.pi)
    contractions: tuple[Contraction, ...] = ()
    if generator.random() < config.beating:
        radius = side * generator.uniform(0.15, 0.35)
        contractions = (
            Contraction(
                centre=(width * float(generator.uniform(0.3, 0.7)), height * float(generator.uniform(0.3, 0.7))),
                radii=(radius, radius * float(generator.uniform(0.6, 1.0))),
                angle=float(generator.uniform(0, math.pi)),
                squeeze=uniform(config.squeeze, generator=generator),
                twist=float(generator.uniform(-0.3, 0.3)),
                period=float(generator.uniform(0.6, 1.2)),
                onset=float(generator.uniform(-1, 0)),
            ),
        )
    return Motion(
        ripple=draw_ripple(side, strain=uniform(config.strain, generator=generator), rate=4.0, generator=generator),
        rigid=Rigid(
            velocity=(speed * math.cos(heading), speed * math.sin(heading)),
            spin=uniform(config.spin, generator=generator),
            centre=((width - 1) / 2, (height - 1) / 2),
        ),
        contractions=contractions,
    )
