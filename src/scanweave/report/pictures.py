"""Pictures for reports: 8-bit arrays as inline PNGs, error maps on a stated scale, M-mode images, contact sheets."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .page import Picture, Scale

OUTLINE = (255, 196, 0)
_ABSOLUTE, _SIGNED = "inferno", "RdBu_r"


def picture(
    image: NDArray[np.uint8], caption: str = "", *, alt: str = "", max_side: int = 640, enlarge: bool = True
) -> Picture:
    """Return an 8-bit image as an inline PNG.

    Args:
        image: ``(row, column)`` or ``(row, column, 3)`` uint8.
        caption: What stands below it.
        alt: What a reader who cannot see it should know.
        max_side: Longest side in pixels; a larger image is scaled down, a smaller one is never resampled.
        enlarge: Whether a small image is repeated pixel by pixel, so that viewers which smooth do not blur it.

    Raises:
        ValueError: The array is not such an image.
    """
    from PIL import Image

    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"{image.shape} {image.dtype} is not an 8-bit grey or RGB image")
    if image.ndim == 3 and bool((image == image[..., :1]).all()):
        image = image[..., 0]
    shown = Image.fromarray(np.ascontiguousarray(image))
    longest = max(shown.size)
    if longest > max_side:
        ratio = max_side / longest
        size = (max(1, round(shown.width * ratio)), max(1, round(shown.height * ratio)))
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    elif enlarge and longest * 2 <= max_side // 2:
        times = max_side // 2 // longest
        shown = shown.resize((shown.width * times, shown.height * times), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    shown.save(buffer, format="PNG", optimize=True)
    data = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(data, (shown.width, shown.height), caption, alt)


@functools.cache
def _colours(name: str) -> NDArray[np.uint8]:
    from matplotlib import colormaps

    table: NDArray[np.uint8] = np.rint(colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
    return table


def _coloured(name: str, index: NDArray[np.floating]) -> NDArray[np.uint8]:
    chosen: NDArray[np.uint8] = np.take(_colours(name), np.rint(index).astype(np.intp), axis=0)
    return chosen


def error_map(error: NDArray[np.floating], limit: float) -> NDArray[np.uint8]:
    """Return absolute errors as colours: black at 0, pale yellow at `limit` and beyond.

    Args:
        error: ``(row, column)``, any unit.
        limit: The error shown brightest, in that unit.
    """
    index = np.clip(np.abs(error) / max(limit, 1e-12) * 255, 0, 255)
    return _coloured(_ABSOLUTE, np.nan_to_num(index, nan=255.0))


def difference_map(difference: NDArray[np.floating], limit: float) -> NDArray[np.uint8]:
    """Return signed differences as colours: blue below zero, white at it, red above; full at ``±limit``."""
    index = np.clip((difference / max(limit, 1e-12) + 1) / 2 * 255, 0, 255)
    return _coloured(_SIGNED, np.nan_to_num(index, nan=127.5))


def error_scale(limit: float, name: str, *, signed: bool = False, digits: int = 0) -> Scale:
    """Return the colour bar that belongs to `error_map`, or to `difference_map` if `signed`."""
    colours = _colours(_SIGNED if signed else _ABSOLUTE)[np.linspace(0, 255, 17).round().astype(int)]
    low = f"−{limit:.{digits}f}" if signed else "0"
    return Scale([f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colours], low, f"{limit:.{digits}f} or more", name)


def outlined(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], *, colour: tuple[int, int, int] = OUTLINE
) -> NDArray[np.uint8]:
    """Return the picture ``(row, column, 3)`` with the border of `mask` drawn on it."""
    from scipy.ndimage import binary_erosion

    painted = image.copy()
    painted[mask & ~binary_erosion(mask, border_value=1)] = colour
    return painted


def box(mask: NDArray[np.bool_], *, margin: int = 8) -> tuple[slice, slice]:
    """Return the rows and columns that hold `mask` with a margin; everything if the mask is empty."""
    if not mask.any():
        return slice(None), slice(None)
    spans = []
    for axis in (1, 0):
        where = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(max(0, int(where[0]) - margin), int(where[-1]) + 1 + margin))
    return spans[0], spans[1]


def m_mode(
    lines: Iterable[NDArray[np.uint8]], times: Sequence[float], *, width: int = 900, span: tuple[float, float] | None
) -> NDArray[np.uint8]:
    """Return a static M-mode image: one line of the picture, side by side over time.

    Every line is shown from its own time until the next one's, as a player shows frames; so the image is as wide for
    few frames as for many.

    Args:
        lines: One line per frame, ``(position,)`` or ``(position, 3)`` uint8.
        times: Time of each line, increasing.
        width: Columns of the image.
        span: First and last time shown; None: those of the lines.

    Returns:
        ``(position, width[, 3])`` uint8.
    """
    stack = np.stack(list(lines))
    if len(stack) != len(times):
        raise ValueError(f"{len(stack)} lines for {len(times)} times")
    first, last = span or (times[0], times[-1])
    at = np.linspace(first, last, width)
    index = np.clip(np.searchsorted(np.asarray(times), at + 1e-9 * max(abs(last), 1.0), side="right") - 1, 0, None)
    return np.ascontiguousarray(np.swapaxes(stack[index], 0, 1))


def contact_sheet(
    images: Sequence[NDArray[np.uint8]], *, across: int = 6, gap: int = 4, shade: int = 128
) -> NDArray[np.uint8]:
    """Return images of one size in a grid with `gap` pixels of grey between them."""
    rows, columns = images[0].shape[:2]
    down = -(-len(images) // across)
    size = (down * (rows + gap) - gap, across * (columns + gap) - gap, *images[0].shape[2:])
    sheet = np.full(size, shade, dtype=np.uint8)
    for k, image in enumerate(images):
        top, left = (k // across) * (rows + gap), (k % across) * (columns + gap)
        sheet[top : top + rows, left : left + columns] = image
    return sheet
