"""The forward process of DRDM: random fields that grow with the level, and images deformed by them.

Source: Zheng et al., Medical Image Analysis 2026, section on deformation diffusion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.displacement import FieldPadding, compose
from .config import DiffusionConfig

_ROUNDING = 1e-6  # the published counts are those of float32, in which 32^0.6 is 8 and not just below


class Noise(NamedTuple):
    """What was drawn for random fields, each scale ``(B, nd, cells, ...)``, fine to coarse.

    Attributes:
        velocity: Of the motion.
        perturbation: Of the small motion that perturbs it.
    """

    velocity: tuple[Tensor, ...]
    perturbation: tuple[Tensor, ...]


class RandomField(NamedTuple):
    """Random fields on the image, ``(B, nd, *space)`` in fractions of its side.

    Attributes:
        displacement: What the image is deformed by (published: ddf).
        target: What one step of recovery is trained to undo of it (published: dvf).
        velocity: The unperturbed velocity, on the control grid and in fractions of that.
    """

    displacement: Tensor
    target: Tensor
    velocity: Tensor


class Counts(NamedTuple):
    """How often the velocity of a level is composed with itself.

    Attributes:
        field: For the displacement.
        target: For the target.
    """

    field: int
    target: int


def counts(level: int) -> Counts:
    """Return the compositions of a level.

    Raises:
        ValueError: A level below 0.

    Example:
        >>> counts(80)
        Counts(field=198, target=13)
    """
    if level < 0:
        raise ValueError(f"levels begin at 0, not {level}")
    field = math.floor(2 * level**1.3 / 3 + _ROUNDING)
    return Counts(min(max(field, 1), 200), math.floor(level**0.6 + _ROUNDING))


def draw_noise(ndims: int, config: DiffusionConfig, *, generator: torch.Generator, batch: int = 1) -> Noise:
    """Draw the noise of `batch` fields, in the published order, on the generator's device.

    Draw one field at a time where each is to have a seed, or a place in a sequence, of its own.
    """

    def scales() -> tuple[Tensor, ...]:
        shapes = ((batch, ndims, *[cells] * ndims) for cells in config.cells)
        return tuple(torch.randn(shape, generator=generator, device=generator.device) for shape in shapes)

    return Noise(scales(), scales())


def joined(noises: Sequence[Noise]) -> Noise:
    """Return the noise of several fields as one batch."""
    return Noise(
        *(tuple(torch.cat(scale) for scale in zip(*parts, strict=True)) for parts in zip(*noises, strict=True))
    )


def velocity_of(scales: Sequence[Tensor], deviation: float) -> Tensor:
    """Return the sum of noises, each the smoother and the larger the fewer its cells: ``(B, nd, control, ...)``.

    Args:
        scales: Fine to coarse; the first has the cells of the control grid.
        deviation: Standard deviation of the finest.
    """
    control = scales[0].shape[2]
    total = torch.zeros_like(scales[0])
    for noise in scales:
        total = total + _resized(noise * (deviation * control / noise.shape[2]), control)
    return total


def integrate(velocity: Tensor, times: Sequence[int], *, padding: FieldPadding) -> Tensor:
    """Compose each velocity of a batch with itself: ``u <- v + warp(u, v)``, from nothing, `times` times.

    Args:
        velocity: ``(B, nd, *control)`` in fractions of the control grid.
        times: One count for each of the batch.
        padding: Of fields beyond the grid.
    """
    side = float(velocity.shape[2])
    total = torch.zeros_like(velocity)
    until = torch.tensor(times, device=velocity.device).view(-1, *[1] * (velocity.ndim - 1))
    for turn in range(max(times)):
        total = compose(velocity * (until > turn), total, unit=side, padding=padding)
    return total


def integrate_by_squaring(velocity: Tensor, times: Sequence[int], *, padding: FieldPadding) -> Tensor:
    """Return what :func:`integrate` does but for interpolation, by 16 compositions at most instead of 200.

    Powers of a field commute, so that one composed n times with itself is the product of its powers of two in n.

    Args:
        velocity: As for :func:`integrate`.
        times: One count for each of the batch.
        padding: Of fields beyond the grid.
    """
    side = float(velocity.shape[2])
    count = torch.tensor(times, device=velocity.device).view(-1, *[1] * (velocity.ndim - 1))
    total, power = torch.zeros_like(velocity), velocity
    for bit in range(bits := max(times).bit_length()):
        taken = (count >> bit) % 2 == 1
        total = torch.where(taken, compose(power, total, unit=side, padding=padding), total)
        if bit + 1 < bits:
            power = compose(power, power, unit=side, padding=padding)
    return total


def random_field(
    noise: Noise,
    levels: Sequence[int],
    side: int,
    config: DiffusionConfig,
    *,
    strength: float | Tensor = 1.0,
    squaring: bool = False,
) -> RandomField:
    """Make random fields for a square or cubic image.

    Args:
        noise: Of B fields.
        levels: Level of each, from 0; the published ones go to 80.
        side: Of the image, in pixels.
        config: As the noise was drawn with.
        strength: Factor on the velocities; a number, or ``(B, 1, ...)``.
        squaring: Integrate by squaring: much faster, and the same but for interpolation.
    """
    velocity = velocity_of(noise.velocity, config.velocity) * strength
    control = float(velocity.shape[2])
    perturbation = velocity_of(noise.perturbation, config.velocity * config.perturbation) * strength
    perturbed = compose(velocity, perturbation, unit=control, padding=config.control_padding)
    field, target = zip(*(counts(level) for level in levels), strict=True)
    integrated = integrate_by_squaring if squaring else integrate
    displacement = integrated(perturbed, field, padding=config.control_padding)
    wanted = integrated(velocity, target, padding=config.control_padding)
    return RandomField(on_image(displacement, side, config), on_image(wanted, side, config), velocity)


def on_image(field: Tensor, side: int, config: DiffusionConfig) -> Tensor:
    """Bring fields from the control grid to the image, which is the middle half of it along each axis.

    Args:
        field: ``(B, nd, *control)`` in fractions of the control grid.
        side: Of the image, in pixels.
        config: Says by how much fields grow with that.

    Returns:
        ``(B, nd, side, ...)`` in fractions of `side`.
    """
    growth = 2.0 if config.scale == "consistent" else side / field.shape[2]
    whole = _resized(field * growth, 2 * side)
    for axis in range(2, field.ndim):
        whole = whole.narrow(axis, side // 2, side)
    return whole


def _resized(field: Tensor, side: int) -> Tensor:
    mode = "bilinear" if field.ndim == 4 else "trilinear"
    return F.interpolate(field, size=[side] * (field.ndim - 2), mode=mode, align_corners=False)
