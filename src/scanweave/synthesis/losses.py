"""The terms that Uni-COAL is trained by, each without its weight.

Both networks' images are blurred before they are compared or judged, less and less as training goes on
(:func:`blur_at`), so that a critic cannot win by grain before there is any form.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..models import SamEncoder, UniCoalCritic
from ..ops.fir import blur

_SAM_MEAN = (123.675, 116.28, 103.53)
_SAM_DEVIATION = (58.395, 57.12, 57.375)


class Asked(NamedTuple):
    """What a slice is to be.

    Attributes:
        contrast: ``(B, contrasts)``, one-hot; None for networks that are not told.
        position: ``(B, 1)`` in [0, 1), from source slice n on in spacings of the source; None likewise.
    """

    contrast: Tensor | None
    position: Tensor | None


class Verdict(NamedTuple):
    """What the critic's step minimises: ``fake + real + weight * penalty``.

    Attributes:
        fake: ``softplus(D(made))``.
        real: ``softplus(-D(acquired))``.
        penalty: :func:`gradient_penalty`; None where it was not asked for.
    """

    fake: Tensor
    real: Tensor
    penalty: Tensor | None


def blur_at(images: int, *, initial: float, fade: int) -> float:
    """Return the blur, in pixels, after so many images were seen; it goes to 0 in a straight line.

    Args:
        images: Seen so far.
        initial: Blur of the first image.
        fade: Images until there is none.
    """
    return initial * max(1 - images / fade, 0.0) if fade else 0.0


def absolute_error(made: Tensor, wanted: Tensor, *, sigma: float = 0.0) -> Tensor:
    """Return the mean absolute difference of slices ``(B, C, H, W)``, both blurred."""
    return F.l1_loss(blur(made, sigma=sigma), blur(wanted, sigma=sigma))


def persuasion(critic: UniCoalCritic, source: Tensor, made: Tensor, asked: Asked, *, sigma: float = 0.0) -> Tensor:
    """Return the generator's logistic loss, ``softplus(-D(source, made))``.

    Args:
        critic: What judges.
        source: ``(B, K, H, W)``.
        made: ``(B, C, H, W)``, with its graph.
        asked: What was to be made.
        sigma: Blur of all that the critic sees, in pixels.

    Source: Goodfellow et al., "Generative adversarial nets", 2014, section 3 (non-saturating).
    """
    return F.softplus(-judged(critic, source, made, asked, sigma=sigma)).mean()


def verdict(
    critic: UniCoalCritic,
    source: Tensor,
    made: Tensor,
    wanted: Tensor,
    asked: Asked,
    *,
    sigma: float = 0.0,
    penalised: bool = True,
) -> Verdict:
    """Return the terms of the critic's own step; arguments as of :func:`persuasion`.

    Args:
        critic: What judges.
        source: The slices that both go with.
        made: From the generator; its graph is not followed.
        wanted: The slice that was acquired.
        asked: What was to be made.
        sigma: Blur.
        penalised: Whether the gradient penalty is taken.
    """
    fake = F.softplus(judged(critic, source, made.detach(), asked, sigma=sigma)).mean()
    if not penalised:
        return Verdict(fake, F.softplus(-judged(critic, source, wanted, asked, sigma=sigma)).mean(), None)
    seen = torch.cat((source, wanted), dim=1).detach().requires_grad_()
    logits = critic(blur(seen, sigma=sigma), asked.contrast, asked.position)
    return Verdict(fake, F.softplus(-logits).mean(), gradient_penalty(logits, seen))


def judged(critic: UniCoalCritic, source: Tensor, image: Tensor, asked: Asked, *, sigma: float) -> Tensor:
    """Return the critic's logits ``(B, 1)`` of blurred sources and slices."""
    logits: Tensor = critic(blur(torch.cat((source, image), dim=1), sigma=sigma), asked.contrast, asked.position)
    return logits


def gradient_penalty(logits: Tensor, seen: Tensor) -> Tensor:
    """Return half the mean squared gradient of logits by all that was seen, before the blur.

    Source: Mescheder et al., "Which training methods for GANs do actually converge?", 2018, equation 9 (R1).
    """
    (gradient,) = torch.autograd.grad(logits.sum(), seen, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


def feature_error(encoder: SamEncoder, made: Tensor, wanted: Tensor, *, sigma: float = 0.0) -> Tensor:
    """Return the mean absolute difference of what SAM's image encoder sees in a mosaic of the batch.

    Args:
        encoder: Frozen; the gradient passes through to `made` alone.
        made: ``(B, 1, H, W)``, about [-1, 1].
        wanted: Likewise.
        sigma: Blur of both.

    Raises:
        UsageError: The batch cannot be laid out as a square that the encoder takes.

    Source: Song et al., 2025, section 3.3.
    """
    with torch.no_grad():
        target = encoder(sam_input(blur(wanted, sigma=sigma), side=encoder.config.side))
    return F.l1_loss(encoder(sam_input(blur(made, sigma=sigma), side=encoder.config.side)), target)


def sam_input(images: Tensor, *, side: int) -> Tensor:
    """Return slices ``(B, 1, H, W)`` as the one picture ``(1, 3, side, side)`` that SAM's encoder takes.

    Levels from 0 to 255 in three like channels, standardised, with zeros to the right and below.

    Raises:
        UsageError: The mosaic is larger than `side`.
    """
    picture = mosaic((images + 1) / 2 * 255).expand(-1, 3, -1, -1)
    rows, columns = picture.shape[-2:]
    if max(rows, columns) > side:
        raise UsageError(
            f"a mosaic of {len(images)} slices has {rows} x {columns} pixels, and SAM's encoder takes {side}",
            remedy="choose a smaller training.batch, or loss.features 0",
        )
    mean, deviation = (images.new_tensor(values).view(1, 3, 1, 1) for values in (_SAM_MEAN, _SAM_DEVIATION))
    return F.pad((picture - mean) / deviation, (0, side - columns, 0, side - rows))


def mosaic(images: Tensor) -> Tensor:
    """Lay slices ``(B, C, H, W)`` out, row by row, as one picture of ``floor(sqrt(B))`` columns.

    Raises:
        UsageError: The last row would not be full.
    """
    columns = math.isqrt(len(images))
    if not columns or len(images) % columns:
        raise UsageError(
            f"{len(images)} slices make no mosaic of {columns} columns",
            remedy="choose training.batch, over processes and accumulated parts, such as 1, 4, 6, 8, 9, 12 or 16",
        )
    rows = len(images) // columns
    channels, height, width = images.shape[1:]
    tiles = images.reshape(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return tiles.reshape(1, channels, rows * height, columns * width)


def mend_gradients(parameters: list[nn.Parameter]) -> None:
    """Set what is not finite in gradients, in place: NaN to 0, infinities to 1e5 of their sign."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=parameter.grad)
