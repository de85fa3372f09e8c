"""The published way from a calibration to registered frames, for parity (specification, section 4.7).

8-bit throughout, bilinear reduction without a filter, and a common rectangle that is misread. The rectangle is right
unless ``misread=True``; `scanweave.fusion.calibration` has none of the rest.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .published_grid import FACTOR
from .rigid import Array, Similarity, inverse, moved, pixels, published_similarity, rotation

Box = tuple[int, int, int, int]
"""First column, first row, one past the last column, one past the last row."""

_MULTIPLE = 16


def registered(
    coarse: NDArray[np.uint16], sharp_shape: tuple[int, int], calibration: Similarity
) -> NDArray[np.float32]:
    """Return a coarse frame on the grid of the flipped sharp ones, in grey levels of 8 bits, 0 where it shows nothing.

    Args:
        coarse: ``(row, column)`` as recorded.
        sharp_shape: Rows and columns of a sharp frame.
        calibration: The saved scales of the enlarged coarse frame, angle and translation.
    """
    size = [int(np.floor(n * s * FACTOR)) for n, s in zip(coarse.shape[::-1], _scales(calibration), strict=True)]
    large = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    eight = (large // 257).astype(np.float32)
    return _warped(_padded(eight, sharp_shape), calibration)


def sharp_levels(sharp: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return a sharp frame flipped left to right, in 8 bits."""
    return np.asarray(sharp[:, ::-1] // 257).astype(np.uint8)


def foreground(
    coarse_shape: tuple[int, int], sharp_shape: tuple[int, int], calibration: Similarity
) -> NDArray[np.bool_]:
    """Return where a registered coarse frame shows anything at all, a dark seam of interpolation among it."""
    white = np.full(coarse_shape, np.iinfo(np.uint16).max, np.uint16)
    return registered(white, sharp_shape, calibration) > 0


def common_box(seen: NDArray[np.bool_], *, misread: bool = False, multiple: int = _MULTIPLE) -> Box:
    """Return the largest rectangle in which all is seen, trimmed at the right and below to multiples of 16.

    Args:
        seen: ``(row, column)``.
        misread: Take its width and height for its far corner, as the published program does.
        multiple: Of sides.
    """
    x, y, width, height = largest_rectangle(seen)
    right, below = (width, height) if misread else (x + width, y + height)
    return x, y, x + max(right - x, 0) // multiple * multiple, y + max(below - y, 0) // multiple * multiple


def largest_rectangle(seen: NDArray[np.bool_]) -> Box:
    """Return first column, first row, width and height of the largest rectangle of True along the axes.

    Row by row, each column's run of True upwards is a bar; the largest rectangle below a row of bars is found with a
    stack of bars that still grow.
    """
    best, area = (0, 0, 0, 0), 0
    heights = np.zeros(seen.shape[1], dtype=np.int64)
    for row, line in enumerate(seen):
        heights = (heights + 1) * line
        stack: list[tuple[int, int]] = []  # first column and height, heights increasing
        for column, height in enumerate([*heights.tolist(), 0]):
            first = column
            while stack and stack[-1][1] >= height:
                first, bar = stack.pop()
                if bar * (column - first) > area:
                    area = bar * (column - first)
                    best = (first, row - bar + 1, column - first, bar)
            stack.append((first, height))
    return best


def of_flow(flow: NDArray[np.float32], *, sharp_shape: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> Similarity:
    """Return the published calibration that a network's flow on a window of the padded frames amounts to.

    Args:
        flow: ``(2, row, column)``, x and y in pixels, which coarse frames are warped by: ``out(p) = in(p - flow)``.
        sharp_shape: Rows and columns of a sharp frame.
        corner: Column and row of the window's first pixel.
    """
    target = pixels((flow.shape[1], flow.shape[2])) + np.array(corner)
    fitted = published_similarity(target - flow.reshape(2, -1).T.astype(np.float64), target)
    # the published scaling keeps the frame's centre where it is
    centre = np.array([sharp_shape[1] / 2, sharp_shape[0] / 2])
    x, y = (fitted.x, fitted.y) - rotation(fitted.angle) @ (centre - _scales(fitted) * centre)
    return Similarity(fitted.scale_x, fitted.scale_y, fitted.angle, float(x), float(y))


def _scales(calibration: Similarity) -> Array:
    return np.array([calibration.scale_x, calibration.scale_y])


def _padded(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the image in the middle of a frame of `shape`: what is missing is 0, what is too much is cut."""
    made = np.zeros(shape, np.float32)
    places = []
    for have, want in zip(image.shape, shape, strict=True):
        first = (want - have) // 2
        places.append((slice(max(first, 0), min(first + have, want)), slice(max(-first, 0), min(want - first, have))))
    (rows, from_rows), (columns, from_columns) = places
    made[rows, columns] = image[from_rows, from_columns]
    return made


def _warped(image: NDArray[np.float32], calibration: Similarity) -> NDArray[np.float32]:
    """Return ``out(p) = in(M^-1 p)``, bilinear, 0 outside; M is the rigid part."""
    back = inverse(Similarity(1.0, 1.0, calibration.angle, calibration.x, calibration.y).matrix)
    at = moved(back, pixels((image.shape[0], image.shape[1]))).astype(np.float32).reshape(*image.shape, 2)
    return np.asarray(
        cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0),
        np.float32,
    )
