"""From one image to any number of deformation fields: the whole way of DRDM, for any shape and spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError, UsageError
from ..models import Drdm
from ..ops.displacement import fold_fraction, jacobian_determinant, magnitude
from .canvas import Canvas
from .config import PRESETS, SamplingConfig
from .damping import shrunk, smoothed
from .diffusion import Noise, draw_noise, joined, random_field
from .recovery import TOGETHER, Watcher, recover


@dataclass(frozen=True, slots=True)
class Deformations:
    """Fields that deform one image, and what they were checked for.

    Attributes:
        fields: ``(n, nd, *space)`` in voxels of the image, component a along array axis a; the deformed image at p is
            the image at ``p + field(p)``.
        spacing: Of the image, in mm; `fields` times it are displacements in mm.
        levels: Level of diffusion of each.
        smallest_determinant: Smallest Jacobian determinant of each, ``(n,)``; above 0 where nothing folds.
        folded: Share of voxels where each folds, ``(n,)``.
    """

    fields: Tensor
    spacing: tuple[float, ...]
    levels: tuple[int, ...]
    smallest_determinant: Tensor
    folded: Tensor

    def lengths(self) -> Tensor:
        """Return the length of each displacement in mm, ``(n, *space)``."""
        return magnitude(self.fields, unit=self.spacing)


def sample(
    network: Drdm | None,
    image: Tensor,
    levels: Sequence[int],
    *,
    noise: Noise | None = None,
    generator: torch.Generator | None = None,
    spacing: Sequence[float] | None = None,
    side: int | None = None,
    limit: int | None = None,
    config: SamplingConfig = PRESETS["safe"],
    watch: Watcher | None = None,
) -> Deformations:
    """Sample deformations of an image.

    Args:
        network: Recovers the random fields; None leaves them as drawn.
        image: ``(C, *space)`` in [0, 1], of the network's channels, on its device.
        levels: One level for each deformation: how far it is diffused, from 0; 48 to 80 in the published use.
        noise: What was drawn for them (:func:`draw`); drawn here by default.
        generator: Draws it, on the CPU; needed where `noise` is not given.
        spacing: Of the image along each axis, in mm; equal ones by default. Deformations are isotropic in mm.
        side: Voxels of the canvas that the network works on (:class:`~scanweave.deformation.canvas.Canvas`).
        limit: Most voxels that it has by default: the side that the network is trained on.
        config: How fields are drawn and recovered.
        watch: Told of each step of the recovery.

    Raises:
        InputError: The image holds NaN or infinity.
        UsageError: Channels, dimensions or options that do not go together.
    """
    ndims = image.ndim - 1
    _check(network, image, ndims, levels, config)
    if noise is None:
        if generator is None:
            raise UsageError("deformations are drawn by a generator, or from noise that was drawn before")
        noise = draw(ndims, len(levels), config=config, generator=generator)
    canvas = Canvas.around(image.shape[1:], spacing, side=side, limit=limit)
    unit = float(canvas.side)
    drawn = Noise(*(tuple(scale.to(image) for scale in part) for part in noise))
    fields = random_field(drawn, levels, canvas.side, config.diffusion).displacement
    if (floor := config.recovery.floor) is not None:
        fields = smoothed(fields, unit=unit, floor=floor)
    if network is not None:
        seen = canvas.onto(image[None], padding=config.recovery.image_padding)
        fields = recover(network, seen, fields, config=config.recovery, watch=watch)
    return _checked(canvas, fields, levels, floor)


def bytes_needed(canvas: Canvas, count: int, *, cores: int, network: bool = True) -> int:
    """Return how much memory `sample` takes on a CPU at its peak, beyond the image and the weights.

    As measured (in 3D, on canvases of 16 to 128 voxels and images up to 128), and up to half more. Fields are made and
    checked together; of images, the network sees a few for each core at once.

    Args:
        canvas: Where the fields are made.
        count: How many.
        cores: That the network runs on.
        network: Whether there is one.
    """
    ndims = len(canvas.space)
    on_canvas: int = canvas.side**ndims
    drawn = count * _DRAWN_BYTES * on_canvas
    seen = min(count, TOGETHER[ndims] * cores) if network else 0
    recovered = (seen * _NETWORK_BYTES + count * _HELD_BYTES) * on_canvas
    brought_back = count * _IMAGE_BYTES[ndims] * math.prod(canvas.space)
    return _FIXED_BYTES + max(drawn, recovered, brought_back)


_FIXED_BYTES = 100 << 20
_DRAWN_BYTES = 350  # of a random field, for each voxel of its canvas: it is made on a canvas of twice the side
_HELD_BYTES = 100  # of a field while others are recovered
_NETWORK_BYTES = 500  # of an image that the network sees, for each voxel
_IMAGE_BYTES = {2: 60, 3: 140}  # of a field on the image, for each voxel


def draw(ndims: int, count: int, *, config: SamplingConfig, generator: torch.Generator) -> Noise:
    """Draw the noise of `count` deformations one after the other, so that the first ones do not depend on the count."""
    return joined([draw_noise(ndims, config.diffusion, generator=generator) for _ in range(count)])


def _checked(canvas: Canvas, fields: Tensor, levels: Sequence[int], floor: float | None) -> Deformations:
    """Bring fields to the image, where they must not fold either."""
    voxels = canvas.back(fields) * torch.tensor(canvas.unit).to(fields).view(-1, *[1] * len(canvas.unit))
    if floor is not None:
        voxels = shrunk(voxels, floor=min(floor, _LEAST))
    smallest = jacobian_determinant(voxels).flatten(1).amin(1)
    return Deformations(voxels, canvas.spacing, tuple(levels), smallest, fold_fraction(voxels))


_LEAST = 0.01  # between voxels of another size determinants differ a little: only what nearly folds is shrunk there


def _check(network: Drdm | None, image: Tensor, ndims: int, levels: Sequence[int], config: SamplingConfig) -> None:
    if ndims not in (2, 3) or not image.is_floating_point():
        raise UsageError(f"an image (C, [D,] H, W), floating, is deformed, not {tuple(image.shape)} {image.dtype}")
    if not bool(image.isfinite().all()):
        raise InputError("the image holds values that are not finite", remedy="replace them first")
    if not levels:
        raise UsageError("no levels are given: give one for each deformation")
    if config.recovery.image_mode == "bicubic" and ndims == 3:
        raise UsageError("bicubic interpolation exists in 2D only", remedy="choose bilinear for volumes")
    if network is None:
        return
    if network.config.ndims != ndims:
        raise UsageError(f"weights for {network.config.ndims}D images cannot deform one of {ndims}D")
    if network.config.channels != image.shape[0]:
        raise UsageError(f"the network takes {network.config.channels} channels, the image has {image.shape[0]}")
