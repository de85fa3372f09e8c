"""How much detail an image has along one of its axes: its power by spatial frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from .noise import Floats, Mask


def spectral_density(
    image: Floats, mask: Mask, *, axis: int, step: float, length: float = 64.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return frequencies (cycles/mm, above 0) and the mean power density along an axis, within a mask.

    Welch's method: segments that lie in the mask entirely, half overlapping, under a Hann window.

    Args:
        image: ``(slice, row, column)``.
        mask: Which voxels count.
        axis: Along which.
        step: Between voxels along it, mm.
        length: Of a segment, mm; half of what the image covers where that is less.

    Returns:
        None where fewer than eight voxels make a segment, or none lies in the mask.
    """
    lines, inside = np.moveaxis(image, axis, -1), np.moveaxis(mask, axis, -1)
    count = round(min(length, lines.shape[-1] * step / 2) / step)
    if count < 8:
        return None
    total, number = np.zeros(count // 2 + 1), 0
    for first in range(0, lines.shape[-1] - count + 1, count // 2):
        part = slice(first, first + count)
        whole = inside[..., part].all(axis=-1)
        if whole.any():
            _, found = signal.periodogram(lines[..., part][whole], 1 / step, window="hann", axis=-1)
            total += found.sum(axis=0)
            number += len(found)
    if not number:
        return None
    return np.fft.rfftfreq(count, step)[1:].astype(np.float64), total[1:] / number
