"""A small mark that is burned into made frames on request, and never into acquired ones."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...cine import Cine

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_HEIGHT = 1 / 18  # of the frame
_MINIMUM = 10  # rows of the smallest legible letters


def marked(frame: NDArray[Any], cine: Cine) -> NDArray[Any]:
    """Return a copy of `frame` with SYNTHETIC (or S where that is too wide) in the lower left corner.

    Args:
        frame: Stored pixels ``(row, column[, 3])`` of `cine`.
        cine: Tells which stored values are shown black and white.
    """
    letters, outline = _stencils(frame.shape[0], frame.shape[1])
    black, white = _extremes(cine)
    result = frame.copy()
    result[outline] = black
    result[letters] = white
    return result


def _stencils(rows: int, columns: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    for text in ("SYNTHETIC", "S"):
        scale = cv2.getFontScaleFromHeight(_FONT, max(_MINIMUM, round(rows * _HEIGHT)), 1)
        (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
        if width + 8 <= columns:
            break
    letters, outline = np.zeros((rows, columns), np.uint8), np.zeros((rows, columns), np.uint8)
    place = (4, max(height, rows - 5))
    cv2.putText(outline, text, place, _FONT, scale, 1, 3)
    cv2.putText(letters, text, place, _FONT, scale, 1, 1)
    return letters.astype(bool), outline.astype(bool)


def _extremes(cine: Cine) -> tuple[Any, Any]:
    """Return the stored values that are shown black and white."""
    palette = cine.display.palette
    if palette is not None:
        brightness = palette.astype(np.float64).sum(axis=1)
        first = cine.display.palette_first
        return first + int(brightness.argmin()), first + int(brightness.argmax())
    low, high = cine.levels
    if cine.display.window is not None and len(cine.shape) == 2:
        low, high = max(low, cine.display.window[0]), min(high, cine.display.window[1])
    return (high, low) if cine.display.inverted else (low, high)
