"""How fine an image is: its power by spatial frequency in all directions, and its response to a straight edge.

The edge method is that of ISO 12233: along a straight edge that is slanted against the pixels, these lie at ever other
distances from it, so that together they show it more finely than one row does. The derivative of that profile is the
line spread function; its Fourier transform, 1 at frequency 0, the modulation transfer function (MTF).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from .fidelity import Pixels, checked_pair

Array = NDArray[np.float64]

_SMOOTH = 1.0  # pixels, of gradients
_STRAIGHT = 0.5  # pixels, root mean square, that rows of an edge may lie off its line
_ONE_WAY = 0.85  # coherence of the gradients from which on there is one edge only
_CONTRAST = 8.0  # of the edge, in the noise beside it
_FINE = 4  # parts of a pixel
_TAPERED = 0.5  # share of the profile that is faded out


@dataclass(frozen=True, slots=True)
class Window:
    """A square of an image in which an edge is looked at.

    Attributes:
        row: Its first row.
        column: Its first column.
        side: Pixels.
    """

    row: int
    column: int
    side: int

    def of(self, image: Array) -> Array:
        """Return what it shows of an image."""
        return image[self.row : self.row + self.side, self.column : self.column + self.side]


@dataclass(frozen=True, eq=False)
class Response:
    """How an edge is rendered.

    Attributes:
        frequencies: Cycles per pixel, across the edge, from 0 to 0.5.
        transfer: MTF at each.
    """

    frequencies: Array
    transfer: Array

    @property
    def half(self) -> float:
        """Frequency at which the transfer first falls to 0.5; NaN if it never does."""
        below = np.flatnonzero(self.transfer < 0.5)
        if not len(below) or below[0] == 0:
            return math.nan
        k = int(below[0])
        (f0, f1), (t0, t1) = self.frequencies[k - 1 : k + 1], self.transfer[k - 1 : k + 1]
        return float(f0 + (f1 - f0) * (t0 - 0.5) / (t0 - t1))


def radial_power(image: Pixels) -> tuple[Array, Array]:
    """Return frequencies (cycles per pixel, above 0 to 0.5) and the mean power density at each, all directions alike.

    White noise of variance v has the power v at all frequencies. The image is seen through a Hann window.

    Args:
        image: ``(row, column)``, at least 8 pixels a side.

    Raises:
        ValueError: A smaller image.
    """
    values, _ = checked_pair(image, image)
    if values.ndim != 2 or min(values.shape) < 8:
        raise ValueError(f"an image of shape {values.shape}; at least 8 x 8 pixels expected")
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in values.shape))
    mean = (values * window).sum() / window.sum()
    power = np.abs(np.fft.fft2((values - mean) * window)) ** 2 / np.square(window).sum()
    down, across = (np.fft.fftfreq(n) for n in values.shape)
    radius = np.hypot(down[:, None], across[None])
    rings = min(values.shape) // 2
    number = np.rint(radius * 2 * rings).astype(int)
    wanted = (number >= 1) & (number <= rings)
    total, count = (
        np.bincount(number[wanted], weights=weights, minlength=rings + 1)[1:] for weights in (power[wanted], None)
    )
    return np.arange(1, rings + 1) / (2 * rings), total / count


def find_edge(image: Pixels, *, side: int = 28) -> Window | None:
    """Return the square with the strongest straight edge across it; None where there is none.

    Args:
        image: ``(row, column)``.
        side: Of the square, pixels.
    """
    values, _ = checked_pair(image, image)
    if min(values.shape) < side:
        return None
    windows = [
        Window(row, column, side)
        for row in range(0, values.shape[0] - side + 1, side // 4)
        for column in range(0, values.shape[1] - side + 1, side // 4)
    ]
    down, across = _gradients(values)
    energy = [float(np.hypot(one.of(down), one.of(across)).sum()) for one in windows]
    for k in np.argsort(energy)[::-1][: _tried(len(windows))]:
        if edge_response(values, windows[int(k)]) is not None:
            return windows[int(k)]
    return None


def edge_response(image: Pixels, window: Window) -> Response | None:
    """Return how an image renders the edge in a square; None where there is no straight edge across it.

    Args:
        image: ``(row, column)``.
        window: The square.
    """
    values, _ = checked_pair(image, image)
    down, across = _gradients(values)
    part, gradient = window.of(values), (window.of(down), window.of(across))
    if not _one_way(*gradient):
        return None
    if np.square(gradient[0]).sum() > np.square(gradient[1]).sum():
        part, gradient = part.T, (gradient[1].T, gradient[0].T)
    distance = _distances(gradient[1])
    return None if distance is None else _response(part, distance)


def _tried(count: int) -> int:
    return max(1, min(24, count // 2))


def _gradients(values: Array) -> tuple[Array, Array]:
    down, across = (ndimage.gaussian_filter(values, _SMOOTH, order=order, mode="nearest") for order in ((1, 0), (0, 1)))
    return down, across


def _one_way(down: Array, across: Array) -> bool:
    """Whether nearly all gradients point one way, or the opposite."""
    tensor = np.array([[(down * down).sum(), (down * across).sum()], [(down * across).sum(), (across * across).sum()]])
    low, high = np.linalg.eigvalsh(tensor)
    return bool(high > 0 and (high - low) / (high + low) >= _ONE_WAY)


def _distances(across: Array) -> Array | None:
    """Return the distance of every pixel to the edge, which runs along the columns; None if it is not straight."""
    weight = np.square(across)
    columns, rows = np.arange(across.shape[1]), np.arange(across.shape[0])
    # only what lies near the strongest gradient of a row
    near = np.abs(columns[None] - weight.argmax(axis=1)[:, None]) <= 5
    weight = np.where(near, weight, 0)
    if (weight.sum(axis=1) <= 0).any():
        return None
    middle = (weight * columns).sum(axis=1) / weight.sum(axis=1)
    slope, start = np.polyfit(rows, middle, 1)
    off = math.sqrt(float(np.square(middle - start - slope * rows).mean()))
    if off > _STRAIGHT or not 6 <= middle.min() <= middle.max() <= across.shape[1] - 7:
        return None
    return np.asarray((columns[None] - start - slope * rows[:, None]) / math.hypot(1, slope), np.float64)


def _response(part: Array, distance: Array) -> Response | None:
    """Return the transfer of the profile across an edge, which pixels at many distances tell."""
    reach = int(min(-distance[:, 0].max(), distance[:, -1].min()))
    step = 1 / _FINE
    number = np.rint(distance / step).astype(int) + reach * _FINE
    wanted = (number >= 0) & (number <= 2 * reach * _FINE)
    count = np.bincount(number[wanted], minlength=2 * reach * _FINE + 1)
    total = np.bincount(number[wanted], weights=part[wanted], minlength=len(count))
    known = count > 0
    if reach < 6 or known.mean() < 0.7:
        return None
    places = (np.arange(len(count)) - reach * _FINE) * step
    profile = np.interp(places, places[known], total[known] / count[known])
    ends = profile[: 2 * _FINE], profile[-2 * _FINE :]
    height = abs(float(ends[1].mean() - ends[0].mean()))
    if height <= _CONTRAST * math.sqrt(sum(float(np.var(one)) for one in ends) / 2):
        return None
    spread = np.gradient(profile, step)
    spread *= signal.windows.tukey(len(spread), _TAPERED)
    size = 16 * len(spread)
    transfer = np.abs(np.fft.rfft(spread, size))
    frequencies = np.fft.rfftfreq(size, step)
    # a central difference spans two steps, a bin one
    lost = np.sinc(2 * step * frequencies) * np.sinc(step * frequencies)
    seen = frequencies <= 0.5
    found = transfer[seen] / transfer[0] / lost[seen]
    return Response(np.asarray(frequencies[seen], np.float64), np.asarray(found, np.float64))
