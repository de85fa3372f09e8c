"""Yardsticks of many deformations of one image, and of what they make of labels: `checks`, put together.

Fields are ``(n, nd, *space)`` in voxels, n deformations of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops.displacement import folded
from .checks import Spread, check_field, parts_of
from .fields import DenseField

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
    found = [check_field(DenseField(field), (1.0,) * len(field)) for field in fields]
    mean = torch.tensor([one.mean_mm for one in found])
    return Yardsticks(
        folded=torch.tensor([one.folded for one in found], dtype=torch.float64),
        folded_inside=_folded_inside(fields, image),
        mean=mean,
        largest=torch.tensor([one.largest_mm for one in found]),
        mean_share=mean / max(fields.shape[2:]),
        roughness=roughness(fields),
        diversity=diversity(fields),
    )


def _folded_inside(fields: Tensor, image: Tensor | None) -> Tensor:
    if image is None:
        return torch.full((len(fields),), torch.nan, dtype=torch.float64)
    return folded(fields)[:, image > _BODY].double().mean(1).cpu()


def diversity(fields: Tensor) -> float:
    """Return how much fields differ (`Spread`), in voxels; NaN of a single one."""
    spread = Spread()
    for field in fields:
        spread.add(DenseField(field))
    return spread.mm((1.0,) * fields.shape[1]) if spread.count > 1 else float("nan")


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
    known, found = parts_of(before), parts_of(after)
    return LabelChange(
        ratios={label: found.get(label, (0, 0))[0] / voxels for label, (voxels, _) in known.items()},
        before={label: parts for label, (_, parts) in known.items()},
        after={label: found.get(label, (0, 0))[1] for label in known},
        foreign=tuple(sorted(set(found) - set(known))),
    )
