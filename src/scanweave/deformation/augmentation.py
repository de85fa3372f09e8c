"""How training images are turned, cut and changed in brightness: drawn first, then applied.

Source: the published training program of DRDM, whose values are the preset; it draws once for a whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor

from ..ops.displacement import warp


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AugmentationConfig:
    """What may be done to images before they are deformed."""

    per: Literal["image", "batch"] = "image"
    """Draw for each image, or (as published) once for all images of a batch."""

    turn: float = Field(default=0.8, ge=0, le=1)
    """Chance of a turn, in 3D about any axis, and of a shift with it."""

    degrees: float = Field(default=180.0, ge=0, le=180)
    """Largest angle of a turn, either way. Less is sooner learnt, where images of one kind lie alike."""

    shift: float = Field(default=0.125, ge=0, le=1)
    """Longest shift along an axis, as a share of the side; whole voxels."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """Chance of a flip of the last axis but one."""

    crop: float = Field(default=0.0, ge=0, le=1)
    """Chance of a crop that is brought back to full size."""

    smallest_crop: float = Field(default=0.6, gt=0, le=1)
    """Share of the side that the smallest crop keeps."""

    stretch: float = Field(default=0.5, ge=0, le=1)
    """Chance of brightness stretched so that each image spans [0, 1]."""

    noise: float = Field(default=0.1, ge=0, le=1)
    """Strength of random thresholds and changes of brightness, after which images may leave [0, 1]."""


class Turn(NamedTuple):
    """One rotation.

    Attributes:
        axis: About what, ``(z, y, x)``, of any length; None in 2D.
        angle: In radians.
    """

    axis: tuple[float, ...] | None
    angle: float


class Crop(NamedTuple):
    """A box of voxels: where it begins along each axis, and how many it has."""

    start: tuple[int, ...]
    size: tuple[int, ...]


class Brightness(NamedTuple):
    """``x -> clamp(x - dark, 0, 1 - bright - dark) * gain + offset``."""

    dark: float
    bright: float
    gain: float
    offset: float


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What was drawn, as plain values.

    Attributes:
        turns: One for each image, or one for all; none for no turn.
        shift: Voxels along each axis.
        flip: Whether the last axis but one is flipped.
        crop: What is cut out and enlarged, or None.
        stretch: Whether brightness is stretched.
        brightness: How brightness changes, or None.
    """

    turns: tuple[Turn, ...] = ()
    shift: tuple[int, ...] = ()
    flip: bool = False
    crop: Crop | None = None
    stretch: bool = False
    brightness: Brightness | None = None


def draw_augmentation(
    config: AugmentationConfig, space: Sequence[int], *, generator: torch.Generator, count: int = 1
) -> Augmentation:
    """Draw what is done to `count` images at once: in 3D each has a turn of its own, all else they share.

    Args:
        config: What may be done.
        space: Voxels along each axis.
        generator: Where all randomness comes from.
        count: Images.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))

    def happens(chance: float) -> bool:
        return uniform(0, 1) < chance

    turns, shift = tuple[Turn, ...](), (0,) * len(space)
    if happens(config.turn):
        solid = len(space) == 3
        turns = tuple(
            Turn(
                tuple(uniform(-1, 1) for _ in space) if solid else None,
                math.radians(uniform(-config.degrees, config.degrees)),
            )
            for _ in range(count if solid else 1)
        )
        shift = tuple(round(uniform(-1, 1) * config.shift * size) for size in space)
    crop = None
    flip = happens(config.flip)
    if happens(config.crop):
        ratio = uniform(config.smallest_crop, 1)
        sizes = tuple(max(1, int(ratio * size)) for size in space)
        gaps = [size - kept for size, kept in zip(space, sizes, strict=True)]
        crop = Crop(tuple(min(gap, int(uniform(0, gap + 1))) for gap in gaps), sizes)
    stretch = happens(config.stretch)
    return Augmentation(turns, shift, flip, crop, stretch, _brightness(config.noise, generator))


def _brightness(noise: float, generator: torch.Generator) -> Brightness | None:
    if not noise:
        return None
    dark, bright = (2 * noise * torch.rand(2, generator=generator, dtype=torch.float64)).tolist()
    gain, offset = (noise * torch.randn(2, generator=generator, dtype=torch.float64)).tolist()
    return Brightness(dark, bright, 1 + gain, offset)


def augmented(images: Tensor, config: AugmentationConfig, *, seeds: Sequence[int]) -> Tensor:
    """Return images turned, cut and changed in brightness.

    Args:
        images: ``(B, C, *space)``.
        config: What may be done.
        seeds: One for each image; of a batch that is drawn for at once, the first decides all.
    """
    space = images.shape[2:]
    if config.per == "batch":
        generator = torch.Generator().manual_seed(seeds[0])
        return apply(images, draw_augmentation(config, space, generator=generator, count=len(images)))
    drawn = (draw_augmentation(config, space, generator=torch.Generator().manual_seed(seed)) for seed in seeds)
    return torch.cat([apply(images[row : row + 1], one) for row, one in enumerate(drawn)])


def apply(images: Tensor, drawn: Augmentation) -> Tensor:
    """Apply what was drawn: turn and shift, flip, crop, stretch, then brightness.

    Args:
        images: ``(B, C, *space)``.
        drawn: For these images.
    """
    if drawn.turns or any(drawn.shift):
        images = warp(
            images, movement(drawn, images.shape[2:]).to(images).expand(len(images), *[-1] * (images.ndim - 1))
        )
    if drawn.flip:
        images = images.flip(-2)
    if drawn.crop is not None:
        images = cropped(images, drawn.crop)
    if drawn.stretch:
        images = stretched(images)
    return images if drawn.brightness is None else changed(images, drawn.brightness)


def movement(drawn: Augmentation, space: Sequence[int]) -> Tensor:
    """Return turn and shift as a displacement in voxels, ``(turns or 1, nd, *space)``.

    Coordinates from the middle, as rows, are multiplied by the matrix of the turn from the right.
    """
    axes = [torch.arange(size, dtype=torch.float32) - (size - 1) / 2 for size in space]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    matrices = torch.stack([rotation(turn) for turn in drawn.turns] or [torch.eye(len(space))])
    moved = torch.einsum("...i,bij->b...j", places, matrices) - places
    return (moved + torch.tensor(drawn.shift or [0] * len(space))).movedim(-1, 1)


def rotation(turn: Turn) -> Tensor:
    """Return the matrix of a turn, right-handed, by Rodrigues' formula: ``(nd, nd)``."""
    cosine, sine = math.cos(turn.angle), math.sin(turn.angle)
    if turn.axis is None:
        return torch.tensor([[cosine, -sine], [sine, cosine]])
    axis = torch.tensor(turn.axis, dtype=torch.float64)
    a, b, c = (axis / axis.norm().clamp_min(1e-12)).tolist()
    cross = torch.tensor([[0, -c, b], [c, 0, -a], [-b, a, 0]], dtype=torch.float64)
    return (torch.eye(3, dtype=torch.float64) + sine * cross + (1 - cosine) * (cross @ cross)).float()


def cropped(images: Tensor, crop: Crop) -> Tensor:
    """Return a box of the images enlarged to their size."""
    space = list(images.shape[2:])
    for axis, (start, size) in enumerate(zip(*crop, strict=True)):
        images = images.narrow(axis + 2, start, size)
    return F.interpolate(images, size=space, mode="bilinear" if len(space) == 2 else "trilinear", align_corners=False)


def stretched(images: Tensor) -> Tensor:
    """Return each channel of each image with its least value at 0 and its greatest at 1; a flat one as it is."""
    axes = tuple(range(2, images.ndim))
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp_min(1e-12), images)


def changed(images: Tensor, drawn: Brightness) -> Tensor:
    """Return images darkened, cut off and changed in brightness."""
    return (images - drawn.dark).clamp(0, 1 - drawn.bright - drawn.dark) * drawn.gain + drawn.offset
