"""How sure a mean over patients is: bootstrap intervals, and what they let one say of a difference."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Outcome = Literal["better", "worse", "unclear", "level", "too few"]

FEW, TOO_FEW = 10, 6
"""Below the first an interval is rough. Below the second it says nothing: five patients who all gain do so by chance
alone once in sixteen times."""


def bootstrap(
    values: NDArray[np.float64], *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Return the percentile interval of the mean of `values`, drawn with replacement; None for a single value.

    Args:
        values: One per patient, ``(n,)``; of a paired comparison the differences.
        resamples: How often they are drawn.
        level: Share of the resampled means inside the interval.
        seed: Of the draws.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993.

    Example:
        >>> bootstrap(np.full(5, 2.0))
        (2.0, 2.0)
    """
    if len(values) < 2:
        return None
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def outcome(difference: float, interval: tuple[float, float] | None, patients: int, *, visible: float = 0.0) -> Outcome:
    """Return what may be said of a difference between two methods, larger being better.

    Args:
        difference: Its mean over patients.
        interval: Of `bootstrap`.
        patients: How many there are.
        visible: The smallest difference that matters.

    Returns:
        ``better`` or ``worse`` where the interval says so, else ``unclear``; ``level`` where it is sure but does not
        matter; ``too few`` patients.
    """
    if interval is None or patients < TOO_FEW:
        return "too few"
    if interval[0] <= 0 <= interval[1]:
        return "unclear"
    if abs(difference) < visible:
        return "level"
    return "better" if interval[0] > 0 else "worse"
