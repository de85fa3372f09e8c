"""What DRDM is trained to make small: a predicted field that, after the target, leads back to where it began.

Fields are ``(B, nd, *space)`` in fractions of the side. Every term is a mean over batch and voxels, without its weight.

Source: Zheng et al., Medical Image Analysis 2026; the published program differs from the paper in `folding_loss`,
whose two variants are both here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.displacement import FieldPadding, Unit, determinant, jacobian_determinant, warp

_DISTANCE_SCALE = 100.0
_ANGLE_SCALE = 1e5
REGULARITY_WEIGHT = 10.0
FOLDING_WEIGHT = 2.0


class Losses(NamedTuple):
    """The published loss and its terms.

    Attributes:
        total: distance + angle + 10 x regularity, or another weight of it.
        distance: How far the prediction is from undoing the target.
        angle: Cosine between prediction and target; -1 where they are opposite.
        regularity: Roughness and folding of the prediction.
    """

    total: Tensor
    distance: Tensor
    angle: Tensor
    regularity: Tensor


def drdm_losses(
    predicted: Tensor,
    target: Tensor,
    *,
    padding: FieldPadding,
    folding: Literal["published", "exact"] = "published",
    over: Literal["voxel", "image"] = "voxel",
    regularity_weight: float = REGULARITY_WEIGHT,
) -> Losses:
    """Return the loss of predicted fields.

    Args:
        predicted: What the network says, ``(B, nd, side, ...)``.
        target: Target of :func:`~scanweave.deformation.diffusion.random_field`.
        padding: Of the prediction beyond the edge, where the target moves it.
        folding: Which penalty on folding.
        over: What errors of the distance are in proportion to; see :func:`distance_loss`.
        regularity_weight: Of roughness and folding.
    """
    moved = warp(predicted, target, unit=float(predicted.shape[2]), padding=padding)
    distance, angle = distance_loss(moved, target, over=over), angle_loss(moved, target)
    folds = (
        published_folding_loss(predicted)
        if folding == "published"
        else folding_loss(predicted, unit=float(predicted.shape[2]))
    )
    regularity = roughness_loss(predicted) + FOLDING_WEIGHT * folds
    return Losses(distance + angle + regularity_weight * regularity, distance, angle, regularity)


def distance_loss(moved: Tensor, target: Tensor, *, over: Literal["voxel", "image"] = "voxel") -> Tensor:
    """Return the mean of ``|q + w|^2 / |w|^2``, q the prediction moved by the target w.

    Args:
        moved: q.
        target: w.
        over: In proportion to the target's energy at each voxel, as published: where the target is near zero, a voxel
            counts for hundreds, and a prediction that is unsure had better be nothing. Or to its mean energy over the
            image: 0 is perfect, 1 what predicting nothing costs, and the best prediction is the expected one.
    """
    error = (_DISTANCE_SCALE * moved + _DISTANCE_SCALE * target).square().sum(1)
    energy = (_DISTANCE_SCALE * target).square().sum(1)
    if over == "image":
        error, energy = (each.flatten(1).mean(1) for each in (error, energy))
    return (error / (energy + 1e-3)).mean()


def angle_loss(moved: Tensor, target: Tensor) -> Tensor:
    """Return the mean cosine between prediction and target; 0 where either vanishes. Not for half precision."""
    q, w = _ANGLE_SCALE * moved, _ANGLE_SCALE * target
    return ((q * w).sum(1) / (q.square().sum(1) * w.square().sum(1) + 1e-4).sqrt()).mean()


def relative_energy_loss(moved: Tensor, target: Tensor) -> Tensor:
    """Return the error's energy over the target's, each image as a whole; the published training does not use it.

    It takes predictions of the target itself, not of its inverse: ``|q - w|^2``.
    """
    error, energy = ((field.square().sum(1).flatten(1).mean(1)) for field in (moved - target, target))
    return (error / (energy + 1e-4)).mean()


def roughness_loss(field: Tensor, *, power: Literal[1, 2] = 1, lag: int = 1, free: float = 1e-4) -> Tensor:
    """Return the mean over axes of how much neighbours differ beyond what is free.

    Args:
        field: ``(B, nd, *space)``.
        power: 1 for absolute differences; 2 for the root of squared ones.
        lag: Voxels between neighbours.
        free: Difference that costs nothing.
    """
    terms = []
    for axis in range(2, field.ndim):
        size = field.shape[axis] - lag
        difference = field.narrow(axis, lag, size) - field.narrow(axis, 0, size)
        excess = difference.abs() - free if power == 1 else difference.square() - free**2
        terms.append(F.relu(excess).mean())
    mean = torch.stack(terms).mean()
    return mean if power == 1 else mean.sqrt()


def published_folding_loss(field: Tensor) -> Tensor:
    """Return the published penalty on folding, which is not of the Jacobian determinant.

    Its determinant is of the backward and the forward difference along axis 0 and, in 3D, the backward one along axis
    1, without the identity.
    """
    backward, forward = _difference(field, 2, before=True), _difference(field, 2, before=False)
    rows = [backward, forward] if field.ndim == 4 else [backward, forward, _difference(field, 3, before=True)]
    return F.relu(-determinant([list(row.unbind(1)) for row in rows])).mean()


def folding_loss(field: Tensor, *, unit: Unit) -> Tensor:
    """Return the mean by which the Jacobian determinant is below 0."""
    return F.relu(-jacobian_determinant(field, unit=unit)).mean()


def _difference(field: Tensor, axis: int, *, before: bool) -> Tensor:
    """Return the difference of neighbours along an axis, with a zero at the start or at the end."""
    edge = torch.zeros_like(field.narrow(axis, 0, 1))
    return torch.cat((edge, field.diff(dim=axis)) if before else (field.diff(dim=axis), edge), dim=axis)
