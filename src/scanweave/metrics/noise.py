"""How strong the noise of a magnitude image is: in the air around what it shows, and from place to place.

In air, where there is no signal, magnitudes of complex Gaussian noise are Rayleigh distributed: their median is
``sigma sqrt(2 ln 2)``. Where air was cut away, and from place to place, the finest diagonal detail of each slice stands
for the noise: ``median |d| / 0.6745`` of the differences of differences of 2 x 2 pixels.

Source:
    Gudbjartsson and Patz, Magnetic Resonance in Medicine 34(6), 1995 (magnitudes in air); Donoho and Johnstone,
    Biometrika 81(3), 1994 (the median of the finest detail).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_AWAY = 12  # pixels from what is shown, and from the edge of the image: there is air only
_ENOUGH = 1000  # voxels of air
_RAYLEIGH = math.sqrt(2 * math.log(2))
_NORMAL = 0.6744897501960817  # median of the absolute values of a standard normal variable
_BLOCK = 8  # 2 x 2 pixels in a row


def air_noise(image: Floats, organ: Mask) -> float | None:
    """Return the deviation of the noise from the air around what is shown; None where too little of it was left.

    Args:
        image: ``(slice, row, column)`` magnitudes.
        organ: Where the image shows something.
    """
    near = np.stack([ndimage.binary_dilation(plane, iterations=_AWAY) for plane in organ])
    air = np.zeros_like(near)
    air[:, _AWAY:-_AWAY, _AWAY:-_AWAY] = ~near[:, _AWAY:-_AWAY, _AWAY:-_AWAY]
    values = image[air]
    median = float(np.median(values)) if values.size >= _ENOUGH else 0.0
    return median / _RAYLEIGH if median > 0 else None


def detail_noise(image: Floats, organ: Mask) -> float:
    """Return the deviation of the noise from the finest detail within what is shown; 0 where there is none.

    Detail that is there counts as noise, and noise that was smoothed away does not.

    Args:
        image: ``(slice, row, column)``.
        organ: Where the image shows something.
    """
    detail, inside = np.abs(_diagonal(image)), _even(organ)[:, ::2, ::2]
    return float(np.median(detail[inside])) / _NORMAL if inside.any() else 0.0


def local_noise(image: Floats) -> Floats:
    """Return the deviation of the noise around each voxel, by the finest detail in blocks of 16 x 16 pixels.

    An edge across a block does not matter: it touches less than half of it.

    Args:
        image: ``(slice, row, column)``.
    """
    detail = np.abs(_diagonal(image))
    slices, rows, columns = detail.shape
    if min(rows, columns) == 0:
        return np.zeros_like(image)
    down, across = -(-rows // _BLOCK), -(-columns // _BLOCK)
    full = np.pad(detail, ((0, 0), (0, down * _BLOCK - rows), (0, across * _BLOCK - columns)), mode="symmetric")
    blocks = full.reshape(slices, down, _BLOCK, across, _BLOCK).swapaxes(2, 3).reshape(slices, down, across, -1)
    found = np.median(blocks, axis=-1) / _NORMAL
    spread = found.repeat(2 * _BLOCK, axis=1).repeat(2 * _BLOCK, axis=2)
    rows_over, columns_over = (max(0, image.shape[k] - spread.shape[k]) for k in (1, 2))
    spread = np.pad(spread, ((0, 0), (0, rows_over), (0, columns_over)), mode="edge")
    return np.asarray(spread[:, : image.shape[1], : image.shape[2]], dtype=np.float32)


def _diagonal(image: Floats) -> Floats:
    """Return the diagonal Haar detail of every slice: of white noise, its deviation."""
    pixels = _even(image)
    a, b, c, d = pixels[:, ::2, ::2], pixels[:, ::2, 1::2], pixels[:, 1::2, ::2], pixels[:, 1::2, 1::2]
    return np.asarray((a - b - c + d) / 2, dtype=np.float32)


def _even(image: NDArray[Any]) -> NDArray[Any]:
    """Return the image without the last row or column where their number is odd."""
    return image[:, : image.shape[1] // 2 * 2, : image.shape[2] // 2 * 2]
