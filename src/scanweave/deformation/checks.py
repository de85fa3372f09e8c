"""What is measured on every deformed copy: folding, displacement, labels; and how much copies differ.

Nothing here judges. Folding is the sign of the Jacobian determinant at every voxel; components are neighbours by faces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops.displacement import magnitude
from ..volume import Volume
from .fields import Field, dense, determinants, slabs

_QUANTILES = (0.01, 0.5, 0.99)


@dataclass(frozen=True, slots=True)
class FieldChecks:
    """What was measured of one field.

    Attributes:
        folded: Share of voxels with a Jacobian determinant below 0.
        smallest_determinant: The smallest of all voxels.
        determinant_quantiles: Their 1, 50 and 99 per cent quantiles.
        mean_mm: Mean length of the displacement, mm.
        largest_mm: The longest, mm.
    """

    folded: float
    smallest_determinant: float
    determinant_quantiles: tuple[float, float, float]
    mean_mm: float
    largest_mm: float


@dataclass(frozen=True, slots=True)
class LabelChecks:
    """What became of one label of one map.

    Attributes:
        label: Its number.
        before_ml: Its volume in the source, millilitres (of one slice: as thick as the spacing says).
        after_ml: In the copy.
        components_before: Parts that it has in the source.
        components_after: In the copy.
    """

    label: int
    before_ml: float
    after_ml: float
    components_before: int
    components_after: int

    @property
    def change(self) -> float:
        """By how much its volume grew, as a share of what it was."""
        return self.after_ml / self.before_ml - 1


def check_field(field: Field, spacing: Sequence[float]) -> FieldChecks:
    """Measure a field; `spacing` in mm along its axes."""
    found = torch.cat([slab.flatten() for slab in determinants(field)]).cpu().numpy()
    total, largest = 0.0, 0.0
    for first, last in slabs(field.space):
        lengths = magnitude(field.slab(first, last)[None], unit=spacing)
        total += float(lengths.sum(dtype=torch.float64))
        largest = max(largest, float(lengths.amax()))
    low, middle, high = (float(value) for value in np.quantile(found, _QUANTILES))
    return FieldChecks(
        folded=float(np.count_nonzero(found < 0)) / found.size,
        smallest_determinant=float(found.min()),
        determinant_quantiles=(low, middle, high),
        mean_mm=total / found.size,
        largest_mm=largest,
    )


def check_labels(before: Volume, after: Volume) -> tuple[LabelChecks, ...]:
    """Compare a map of labels with its deformed copy, label by label; 0 is left out."""
    voxel_ml = float(np.prod(before.spacing)) / 1000
    counted, again = components(before), components(after)
    return tuple(
        LabelChecks(label, size * voxel_ml, again.get(label, (0, 0))[0] * voxel_ml, parts, again.get(label, (0, 0))[1])
        for label, (size, parts) in counted.items()
    )


def components(volume: Volume) -> dict[int, tuple[int, int]]:
    """Return voxels and connected parts of each label but 0, by label; channels are maps of their own."""
    maps: NDArray[Any] = volume.voxels[..., None] if volume.channels is None else volume.voxels
    found: dict[int, tuple[int, int]] = {}
    for channel in range(maps.shape[3]):
        for label, (voxels, parts) in parts_of(maps[..., channel]).items():
            size, count = found.get(label, (0, 0))
            found[label] = (size + voxels, count + parts)
    return found


def parts_of(labels: NDArray[Any]) -> dict[int, tuple[int, int]]:
    """Return voxels and connected parts of each label but 0 of one map, in the order of labels.

    Args:
        labels: ``space``, whole numbers.
    """
    from scipy import ndimage

    found: dict[int, tuple[int, int]] = {}
    for label in np.unique(labels):
        if label == 0:
            continue
        mask = labels == label
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        found[int(label)] = (int(mask.sum()), int(ndimage.label(mask[box])[1]))
    return found


class Spread:
    """How much fields of one image differ, found as they pass by: two fields are kept, however many there are.

    Source: Welford, Technometrics 1962.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, field: Field) -> None:
        """Take a field in, on the same voxels as those before."""
        self.count += 1
        if self._mean is None or self._squares is None:
            self._mean = dense(field).clone()
            self._squares = torch.zeros_like(self._mean)
            return
        for first, last in slabs(field.space):
            vectors, mean = field.slab(first, last), self._mean[:, first:last]
            gap = vectors - mean
            mean += gap / self.count
            self._squares[:, first:last] += gap * (vectors - mean)

    def mm(self, spacing: Sequence[float]) -> float:
        """Return the mean over voxels of the root of the summed variances, mm; `spacing` is along the fields' axes.

        Raises:
            ValueError: Fewer than two fields.
        """
        if self._squares is None or self.count < 2:
            raise ValueError("how much fields differ takes two of them")
        scale = torch.tensor(list(spacing)).to(self._squares).square()
        variances = torch.tensordot(scale, self._squares / (self.count - 1), dims=1)
        return float(variances.clamp_min(0).sqrt().mean(dtype=torch.float64))


def diversity(fields: Iterable[Field], spacing: Sequence[float]) -> float:
    """Return how much fields of one image differ, in mm (`Spread`).

    Args:
        fields: At least two.
        spacing: Along their axes, mm.

    Raises:
        ValueError: Fewer than two.
    """
    spread = Spread()
    for field in fields:
        spread.add(field)
    return spread.mm(spacing)
