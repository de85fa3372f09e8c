"""Yardsticks of deformation fields and of what they make of labels.

Fields are ``(n, nd, *space)`` in voxels, n deformations of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops.displacement import folded, magnitude

_BODY = 0.1


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """How some deformations of one image are; tensors have one value for each, ``(n,)``.

    Attributes:
        folded: Share of voxels where they fold.
        folded_inside: The same of voxels inside the body; NaN where there are none, or no image.
        mean: Mean displacement, in voxels.
        largest: Largest displacement, in voxels.
        mean_share: Mean displacement as a share of the longest side.
        roughness: Mean squared second differences, in voxels squared.
        diversity: How far the deformations differ from one another, in voxels; NaN of a single one.
    """

    folded: Tensor
    folded_inside: Tensor
    mean: Tensor
    largest: Tensor
    mean_share: Tensor
    roughness: Tensor
    diversity: float


def yardsticks(fields: Tensor, image: Tensor | None = None) -> Yardsticks:
    """Measure deformations.

    Args:
        fields: ``(n, nd, *space)``.
        image: The image ``space`` in [0, 1]; the body is where it is above 0.1.
    """
    folds, lengths = folded(fields), magnitude(fields)
    inside = torch.zeros(fields.shape[2:], dtype=torch.bool, device=fields.device) if image is None else image > _BODY
    mean = lengths.flatten(1).mean(1)
    return Yardsticks(
        folded=folds.flatten(1).double().mean(1),
        folded_inside=folds[:, inside].double().mean(1),
        mean=mean,
        largest=lengths.flatten(1).amax(1),
        mean_share=mean / max(fields.shape[2:]),
        roughness=roughness(fields),
        diversity=diversity(fields),
    )


def diversity(fields: Tensor) -> float:
    """Return the mean over voxels of ``sqrt(trace(sample covariance))`` of the displacements; NaN of a single field."""
    if len(fields) < 2:
        return float("nan")
    return float(fields.double().var(dim=0, correction=1).sum(0).sqrt().mean())


def roughness(fields: Tensor) -> Tensor:
    """Return the mean over axes and components of squared second differences, ``(n,)``; axes of 3 voxels or more."""
    terms = [
        fields.diff(n=2, dim=axis).square().flatten(1).mean(1)
        for axis in range(2, fields.ndim)
        if fields.shape[axis] > 2
    ]
    return torch.stack(terms).mean(0) if terms else fields.new_zeros(len(fields))


def overshoot(made: Tensor, *, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """Return by how much intensities leave a range, below and above; 0 where they do not."""
    return max(0.0, low - float(made.min())), max(0.0, float(made.max()) - high)


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What a deformation made of a label map.

    Attributes:
        ratios: Area or volume after over before, by class.
        before: Connected components before, by class; voxels that share a face are connected.
        after: The same after.
        foreign: Values after that were none before.
    """

    ratios: Mapping[int, float]
    before: Mapping[int, int]
    after: Mapping[int, int]
    foreign: tuple[int, ...]

    @property
    def keeps_components(self) -> bool:
        """Whether every class has as many components as before."""
        return self.before == self.after


def label_change(before: NDArray[np.integer], after: NDArray[np.integer]) -> LabelChange:
    """Compare a label map with what was made of it; 0 is background.

    Args:
        before: ``space``.
        after: Of the same shape.
    """
    classes = [int(value) for value in np.unique(before) if value]
    sizes = {value: np.count_nonzero(before == value) for value in classes}
    return LabelChange(
        ratios={value: np.count_nonzero(after == value) / sizes[value] for value in classes},
        before={value: components(before == value) for value in classes},
        after={value: components(after == value) for value in classes},
        foreign=tuple(int(value) for value in np.setdiff1d(after, before) if value),
    )


def components(mask: NDArray[np.bool_]) -> int:
    """Return the connected components of a mask; voxels that share a face are connected."""
    from scipy.ndimage import label

    return int(label(mask)[1])
