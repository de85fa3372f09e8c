"""What the coarse camera would have recorded of a sharp frame: each of its pixels is the mean over what it covers.

A pixel is taken at as many places along its side as it has sharp pixels, where the calibration puts them, each
interpolated bilinearly. Where pixels are whole blocks that is just the mean of the block. A blur of the coarse camera
comes before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from ..errors import InputError, UsageError
from .calibration import Calibration
from .rigid import moved
from .scene import common_box

Array = NDArray[np.float64]

_HALF = 0.5 + 1e-6  # a pixel's light comes from half a pixel around its centre
_REACH = 2.0  # standard deviations that a blur is looked at


@dataclass(frozen=True, eq=False)
class Degradation:
    """From sharp frames of the part that both cameras see to pixels of the coarse camera: linear.

    Attributes:
        weights: ``(coarse pixel, sharp pixel)``: of those coarse pixels that are seen whole.
        inside: ``(row, column)`` of the coarse camera: which pixels these are.
        shape: Rows and columns of the sharp frames.
        places: ``(coarse pixel, 2)``: x and y of their centres in sharp frames as recorded.
        blur: Of the coarse camera, standard deviation in sharp pixels, before its pixels average.
    """

    weights: sparse.csr_matrix
    inside: NDArray[np.bool_]
    shape: tuple[int, int]
    places: Array
    blur: float = 0.0

    @classmethod
    def of(cls, calibration: Calibration, *, blur: float = 0.0) -> Degradation:
        """Return that of two cameras.

        Args:
            calibration: How they go together.
            blur: Of the coarse camera, standard deviation in coarse pixels.

        Raises:
            UsageError: A negative blur.
            InputError: No coarse pixel is seen whole.
        """
        if blur < 0:
            raise UsageError(f"a blur of {blur:g} pixels", remedy="give 0 or more")
        x0, y0, x1, y1 = common_box(calibration)
        shape = y1 - y0, x1 - x0
        parts = max(1, math.ceil(calibration.scale - 1e-6))
        at = moved(calibration.affine, _parts_of(calibration.coarse_shape, parts)) - (x0, y0)
        whole = ((at >= -_HALF) & (at <= np.array(shape[::-1]) - 1 + _HALF)).all(axis=1)
        covered = np.asarray(whole.reshape(-1, parts**2).all(axis=1), np.bool_).reshape(calibration.coarse_shape)
        inside = _without_border(covered, math.ceil(_REACH * blur))
        if not inside.any():
            raise InputError("no pixel of the coarse camera is seen whole", remedy="check the calibration")
        chosen = at.reshape(-1, parts**2, 2)[inside.ravel()]
        rows, columns = np.nonzero(inside)
        places = moved(calibration.affine, np.stack([columns, rows], axis=1).astype(np.float64))
        return cls(_bilinear(chosen, shape), inside, shape, places, blur * calibration.scale)

    def __call__(self, frame: NDArray[np.floating]) -> Array:
        """Return ``(coarse pixel,)`` of a sharp frame ``(row, column)``.

        Raises:
            InputError: A frame of another size.
        """
        if frame.shape != self.shape:
            raise InputError(f"a frame of {frame.shape} pixels, {self.shape} expected")
        return np.asarray(self.weights @ self._blurred(np.asarray(frame, np.float64)).ravel(), np.float64)

    def adjoint(self, pixels: Array) -> Array:
        """Return the sharp frame ``(row, column)`` that the transposed map makes of ``(coarse pixel,)``."""
        return self._blurred((self.weights.T @ pixels).reshape(self.shape))

    def seen(self, coarse: NDArray[np.floating]) -> Array:
        """Return ``(coarse pixel,)`` of a coarse frame ``(row, column)`` as recorded."""
        return np.asarray(coarse[self.inside], np.float64)

    def picture(self, pixels: Array) -> Array:
        """Return ``(row, column)`` of the coarse camera, NaN where it is not seen whole; cut to what is."""
        whole = np.full(self.inside.shape, np.nan)
        whole[self.inside] = pixels
        return np.asarray(whole[self.part], np.float64)

    @cached_property
    def part(self) -> tuple[slice, slice]:
        """Rows and columns of the coarse frame that hold all pixels seen whole."""
        rows, columns = (np.flatnonzero(self.inside.any(axis=axis)) for axis in (1, 0))
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    @cached_property
    def passed(self) -> float:
        """Share of the variance of white noise in sharp frames that is left in coarse pixels."""
        middle = int(np.argmin(np.square(self.places - self.places.mean(axis=0)).sum(axis=1)))
        one = np.zeros(len(self.places))
        one[middle] = 1
        return float(np.square(self.adjoint(one)).sum())

    def _blurred(self, frame: Array) -> Array:
        # mirrored at the border, a symmetric filter is its own adjoint
        return ndimage.gaussian_filter(frame, self.blur, mode="reflect") if self.blur > 0 else frame


def _parts_of(shape: tuple[int, int], parts: int) -> Array:
    """Return x and y of the middles of ``parts x parts`` parts of each pixel, ``(pixel x part, 2)``, pixel by pixel."""
    steps = (np.arange(parts) + 0.5) / parts - 0.5
    rows, columns, down, across = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), steps, steps, indexing="ij")
    return np.stack([(columns + across).ravel(), (rows + down).ravel()], axis=1)


def _bilinear(places: Array, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Return the means over places ``(pixel, part, 2)`` in a frame as weights of its pixels; the border is repeated."""
    count, parts = places.shape[:2]
    high = np.array(shape[::-1]) - 1.0
    at = np.clip(places, 0.0, high)
    low = np.minimum(np.floor(at), np.maximum(high - 1, 0))
    share = at - low
    pixel = np.repeat(np.arange(count), parts)
    weights = sparse.csr_matrix((count, shape[0] * shape[1]), dtype=np.float64)
    for down in (0, 1):
        for across in (0, 1):
            x, y = np.minimum(low + np.array([across, down]), high).astype(np.int64).reshape(-1, 2).T
            weight = np.prod(np.where((across, down), share, 1 - share), axis=-1).ravel() / parts
            weights = weights + sparse.csr_matrix((weight, (pixel, y * shape[1] + x)), shape=weights.shape)
    weights.data[np.abs(weights.data) < 1e-9] = 0
    weights.eliminate_zeros()
    return weights


def _without_border(inside: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """Return a mask without what lies less than `margin` pixels from its border."""
    return np.asarray(ndimage.binary_erosion(inside, iterations=margin), np.bool_) if margin else inside
