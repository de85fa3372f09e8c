"""Structural similarity (SSIM): the two-dimensional standard, the same of volumes, and the published variants.

    SSIM = (2 mu_x mu_y + C1) (2 s_xy + C2) / ((mu_x^2 + mu_y^2 + C1) (s_x^2 + s_y^2 + C2)),
    C1 = (0.01 range)^2, C2 = (0.03 range)^2,

with means, variances and covariance under a sliding window. Filters are separable and run in float64: in float32
the variances lose up to 3e-4 of the result to cancellation.

Source:
    Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, IEEE Trans. Image Processing 13(4), 2004.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from .fidelity import Pixels, checked_mask, checked_pair, checked_peak

Window = Literal["gaussian", "uniform"]
Axes = Literal[2, 3]
Floats = NDArray[np.float64]

_SIDE = {"gaussian": 11, "uniform": 7}
_SIGMA = 1.5


def ssim(
    estimate: Pixels,
    truth: Pixels,
    *,
    peak: float = 1.0,
    window: Window = "gaussian",
    axes: Axes = 2,
    mask: Pixels | None = None,
) -> float:
    """Return the mean structural similarity; 1 where the two are equal.

    Without a mask, pixels whose window would reach over the border do not count, as in scikit-image; with one, the
    mean is over exactly the pixels of the mask, borders included (`ssim_map` says how they are filled).

    Args:
        estimate: ``(..., row, column)``. Every leading entry (batch, channel) is an image of its own; all count alike.
        truth: The same shape.
        peak: Range that the depth of the images means, in units of the input: 1 for unit range, 255 for 8 bits.
        window: ``gaussian`` (sigma 1.5, 11 x 11, population covariance: Wang et al., and scikit-image with
            ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``) or ``uniform`` (7 x 7, sample
            covariance: scikit-image's default).
        axes: How many of the last axes the window slides along: 2 for images, 3 for volumes ``(..., slice, row,
            column)``, whose window is a cube.
        mask: Bool, broadcast to the shape from the right.

    Raises:
        ValueError: Shapes that do not agree, fewer axes than that, entries that are not real numbers, a peak that is
            not positive, or an unknown window.

    Example:
        >>> image = np.random.default_rng(0).random((32, 32))
        >>> ssim(image, image)
        1.0
    """
    similarity = ssim_map(estimate, truth, peak=peak, window=window, axes=axes)
    if mask is not None:
        return float(similarity[checked_mask(mask, similarity.shape)].mean())
    margin = (_window_side(similarity.shape, window, axes) - 1) // 2
    inside: tuple[Any, ...] = (..., *(slice(margin, side - margin) for side in similarity.shape[-axes:]))
    return float(similarity[inside].mean())


def ssim_map(
    estimate: Pixels, truth: Pixels, *, peak: float = 1.0, window: Window = "gaussian", axes: Axes = 2
) -> Floats:
    """Return the structural similarity around every pixel, in the shape of the input.

    Beyond the border the images are mirrored, edge pixels repeated (``dcba|abcd|dcba``). Where a side is shorter than
    the window, the window shrinks to the longest odd length that fits.

    Args:
        estimate: As for `ssim`.
        truth: As for `ssim`.
        peak: As for `ssim`.
        window: As for `ssim`.
        axes: As for `ssim`.

    Raises:
        ValueError: As for `ssim`.
    """
    x, y = _checked_images(estimate, truth, axes)
    side = _window_side(x.shape, window, axes)
    sample = 1.0
    if window == "gaussian":
        taps = _gaussian(side)
    else:
        taps = np.full(side, 1 / side)
        sample = side**axes / max(side**axes - 1, 1)

    def mirrored(plane: Floats) -> Floats:
        return np.asarray(cv2.sepFilter2D(plane, -1, taps, taps, borderType=cv2.BORDER_REFLECT), dtype=np.float64)

    def smooth(images: Floats) -> Floats:
        planes = _each_plane(images, mirrored)
        return planes if axes == 2 else np.asarray(correlate1d(planes, taps, axis=-3, mode="reflect"))

    return _similarity(x, y, smooth, value_range=checked_peak(peak), sample=sample)


def most_dsa_ssim(estimate: Pixels, truth: Pixels) -> float:
    """Return SSIM as the MoSt-DSA authors report it: channels are the depth of a volume under a 3-D window.

    The window is 11 x 11 x 11 (sigma 1.5), borders are replicated by 5 on all three axes, and all pixels count. The
    range follows from `truth` (255 above a maximum of 128, else 1; 1 more below a minimum of -0.5). If a side of the
    image is shorter than 11, the window takes that side in all axes while the border stays 5. On grey images in three
    equal channels this is the 2-D measure with replicated borders; on colour it is much higher: not comparable with
    SSIM of other papers.

    Args:
        estimate: ``(channel, row, column)``.
        truth: The same shape.

    Raises:
        ValueError: Shapes that do not agree or are not ``(channel, row, column)``, or no real numbers.

    Source:
        MoSt-DSA (ECCV 2024), evaluation of the published program ("matlab" variant), computed in float64.
    """
    return _most_dsa(estimate, truth, volume=True)


def most_dsa_ssim_2d(estimate: Pixels, truth: Pixels) -> float:
    """Return the two-dimensional variant that the MoSt-DSA program holds but does not report.

    As `most_dsa_ssim`, each channel on its own. The published one fails where a side is shorter than 11; here the
    window shrinks as in the reported variant.
    """
    return _most_dsa(estimate, truth, volume=False)


def _most_dsa(estimate: Pixels, truth: Pixels, *, volume: bool) -> float:
    x, y = _checked_images(estimate, truth)
    if x.ndim != 3:
        raise ValueError(f"images of shape {x.shape} are not (channel, row, column)")
    side = min(11, *x.shape[1:])
    taps = _gaussian(side)
    lowest = -1.0 if y.min() < -0.5 else 0.0
    highest = 255.0 if y.max() > 128 else 1.0

    # Along the channels, borders and window together are one small matrix.
    mix = _along_channels(len(x), taps) if volume else np.eye(len(x))

    def smooth(images: Floats) -> Floats:
        return np.asarray(np.tensordot(mix, _each_plane(images, lambda plane: _replicated(plane, taps)), axes=1))

    return float(_similarity(x, y, smooth, value_range=highest - lowest, sample=1.0).mean())


def _similarity(
    x: Floats, y: Floats, smooth: Callable[[Floats], Floats], *, value_range: float, sample: float
) -> Floats:
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    mean_x, mean_y = smooth(x), smooth(y)
    # x^2 + y^2 needs one pass: the formula only uses the sum of the two variances.
    variances = sample * (smooth(x * x + y * y) - mean_x**2 - mean_y**2)
    covariance = sample * (smooth(x * y) - mean_x * mean_y)
    luminance: Floats = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast: Floats = (2 * covariance + c2) / (variances + c2)
    return luminance * contrast


def _gaussian(side: int) -> Floats:
    # The centre of an even window (only MoSt-DSA has one) lies right of its middle.
    offsets = np.arange(side) - side // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _replicated(plane: Floats, taps: Floats) -> Floats:
    """Filter after five replicated rows and columns on every side; where the window fits whole."""
    padded = np.pad(plane, 5, mode="edge")
    rows, columns = (length - len(taps) + 1 for length in padded.shape)
    filtered = cv2.sepFilter2D(padded, -1, taps, taps, anchor=(0, 0))
    return np.asarray(filtered[:rows, :columns], dtype=np.float64)


def _along_channels(channels: int, taps: Floats) -> Floats:
    padded = np.pad(np.eye(channels), [(5, 5), (0, 0)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(taps), axis=0)
    return np.asarray(windows @ taps, dtype=np.float64)


def _each_plane(images: Floats, filter_plane: Callable[[Floats], Floats]) -> Floats:
    planes = [filter_plane(plane) for plane in images.reshape(-1, *images.shape[-2:])]
    return np.stack(planes).reshape(*images.shape[:-2], *planes[0].shape)


def _checked_images(estimate: Pixels, truth: Pixels, axes: Axes = 2) -> tuple[Floats, Floats]:
    x, y = checked_pair(estimate, truth)
    if axes not in (2, 3):
        raise ValueError(f"a window slides along 2 or 3 axes, not {axes}")
    if x.ndim < axes:
        expected = "(..., row, column)" if axes == 2 else "(..., slice, row, column)"
        raise ValueError(f"images of shape {x.shape} are not {expected}")
    return x, y


def _window_side(shape: tuple[int, ...], window: str, axes: Axes = 2) -> int:
    if window not in _SIDE:
        raise ValueError(f"no window is called {window!r}: choose one of {', '.join(_SIDE)}")
    shortest = min(shape[-axes:])
    return min(_SIDE[window], shortest - (shortest + 1) % 2)
