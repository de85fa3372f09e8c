"""How far two segmentations agree: the Dice coefficient of two regions.

    Dice = 2 |A and B| / (|A| + |B|)

Source:
    Dice: Measures of the amount of ecologic association between species, Ecology 26(3), 1945.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .fidelity import Pixels


def dice(found: Pixels, truth: Pixels) -> float:
    """Return the Dice coefficient of two regions; NaN where both are empty: then there is nothing to agree on.

    Args:
        found: Bool, any shape.
        truth: Bool, the same shape.

    Raises:
        ValueError: Shapes that do not agree, or other entries than bool.

    Example:
        >>> dice(np.array([True, True, False]), np.array([True, False, False])) == 2 / 3
        True
    """
    first, second = _region(found, "found"), _region(truth, "truth")
    if first.shape != second.shape:
        raise ValueError(f"a region of shape {first.shape} cannot be compared with one of shape {second.shape}")
    both, sizes = np.count_nonzero(first & second), np.count_nonzero(first) + np.count_nonzero(second)
    return float(2 * both / sizes) if sizes else math.nan


def dice_of_labels(found: Pixels, truth: Pixels, labels: Iterable[int] | None = None) -> dict[int, float]:
    """Return the Dice coefficient of every label of two label maps.

    Args:
        found: Integers, any shape; 0 is background.
        truth: Integers, the same shape.
        labels: Which; by default all that either map holds, but 0.

    Raises:
        ValueError: Shapes that do not agree.
    """
    first, second = _labels(found), _labels(truth)
    if labels is None:
        labels = sorted({int(label) for label in (*np.unique(first), *np.unique(second))} - {0})
    return {label: dice(first == label, second == label) for label in labels}


def _region(pixels: Pixels, name: str) -> NDArray[np.bool_]:
    array = pixels.detach().cpu().numpy() if isinstance(pixels, Tensor) else np.asarray(pixels)
    if array.dtype != bool:
        raise ValueError(f"{name} must be bool, it is {array.dtype}")
    return np.asarray(array, dtype=np.bool_)


def _labels(pixels: Pixels) -> NDArray[np.integer]:
    array = pixels.detach().cpu().numpy() if isinstance(pixels, Tensor) else np.asarray(pixels)
    if array.dtype.kind not in "uib":
        raise ValueError(f"labels must be integers, these are {array.dtype}")
    return array
