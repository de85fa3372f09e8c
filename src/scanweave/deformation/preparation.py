"""From a volume to the images of one size that DRDM is trained on: ours, and as the published loaders do it.

Ours keeps proportions, in millimetres, and one scale of brightness for a whole volume. The published loaders stretch
each slice to a square and scale it by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..ops.displacement import FieldPadding
from ..volume import Volume
from .canvas import Canvas

_NO_SPREAD = 1e-7
_CLASSES = 4


def prepared(
    volume: Volume,
    *,
    ndims: int,
    side: int,
    window: tuple[float, float] = (0.0, 100.0),
    padding: FieldPadding = "zeros",
) -> Tensor:
    """Return the images of a volume: its slices for 2D, itself for 3D.

    Each lies in the middle of a square or cube of equal voxels in mm, and fills it along its longest side.

    Args:
        volume: Of any shape and spacing.
        ndims: 2 or 3.
        side: Of the images, a multiple of 8.
        window: Percentiles of the volume's values that become 0 and 1; what lies outside is cut off.
        padding: What lies around: 0, or the image's edge.

    Returns:
        ``(images, C, side, ...)``.

    Raises:
        InputError: The volume holds NaN or infinity, or is a single slice where a volume is needed.
    """
    if ndims == 3 and volume.grid.shape[0] == 1:
        raise InputError("is a single slice, not a volume", path=volume.source.path, remedy="train with ndims 2")
    low, high = _window(volume, window)
    unit = torch.from_numpy(volume.unit((low, high))).clamp_(0, 1)
    images = unit.movedim(1, 0) if ndims == 2 else unit[None]
    canvas = Canvas.around(images.shape[2:], volume.spacing[-ndims:], side=side)
    return canvas.onto(images, padding=padding)


def _window(volume: Volume, percentiles: tuple[float, float]) -> tuple[float, float]:
    """Return the stored values at two percentiles; those of an even volume are one apart."""
    if percentiles == (0.0, 100.0):
        values = (float(volume.voxels.min()), float(volume.voxels.max()))
    else:
        # every voxel of a large volume adds seconds and no accuracy
        sampled = volume.voxels.ravel()[:: max(1, volume.voxels.size // 1_000_000)]
        low, high = np.percentile(sampled, percentiles)
        values = (float(low), float(high))
    if not np.isfinite(values).all():
        raise InputError(
            "holds voxels that are not numbers (NaN or infinity)", path=volume.source.path, remedy="replace them first"
        )
    return values if values[1] > values[0] else (values[0], values[0] + 1)


def prepared_as_published(volume: Volume, *, ndims: int, side: int, as_is: bool) -> Tensor:
    """Return the images of a volume as the published training loaders do: axes (x, y) or (x, y, z).

    Slices are stretched to a square, their most frequent whole value is taken for background and removed, and each is
    scaled by itself. Volumes are scaled, and must be cubes of the right side. Files of folders that are named as
    prepared are taken as they are.

    Args:
        volume: Of one channel.
        ndims: 2 or 3.
        side: Of the images.
        as_is: The file is prepared already.

    Returns:
        ``(images, 1, side, ...)``.

    Raises:
        InputError: Colour, or another size than is needed.
    """
    path = volume.source.path
    if volume.channels is not None:
        raise InputError("has colour, which the published loaders do not know", path=path)
    real = np.asarray(volume.real().T, np.float64)  # NIfTI's order, and that of the published arrays
    images = list(np.moveaxis(real, 2, 0)) if ndims == 2 else [real]
    if not as_is:
        images = [published_slice(image, side) if ndims == 2 else scaled(image) for image in images]
    if any(image.shape != (side,) * ndims for image in images):
        raise InputError(
            f"is of {images[0].shape}, not {(side,) * ndims}",
            path=path,
            remedy="set side to what the files are, or prepare them by millimetres",
        )
    return torch.from_numpy(np.stack(images)).float()[:, None]


def published_slice(image: NDArray[Any], side: int) -> NDArray[np.float64]:
    """Return a slice stretched to a square, without background and scaled, as the cardiac training loader has it."""
    return scaled(without_background(resized(image, side)[None])[0])


def published_target(image: NDArray[Any], label: NDArray[Any], side: int) -> tuple[Tensor, Tensor]:
    """Return what the cardiac augmentation loader makes of a slice ``(x, y)`` and its labels, both stretched.

    Returns:
        The image ``(1, side, side)`` in [0, 1], and ``(4, side, side)``, whose channel k has the value k + 1 where the
        label is k + 1, with soft edges.
    """
    classes = [resized(k * (label == k).astype(np.float64), side) for k in range(1, _CLASSES + 1)]
    return (
        torch.from_numpy(scaled(resized(image, side))).float()[None],
        torch.from_numpy(np.stack(classes)).float(),
    )


def resized(image: NDArray[Any], side: int) -> NDArray[np.float64]:
    """Return an image stretched to a square, smoothed before it gets smaller."""
    from skimage.transform import resize

    shape = (side,) * image.ndim
    made = resize(image.astype(np.float64), shape, order=1, anti_aliasing=True, preserve_range=True)  # type: ignore[no-untyped-call]
    return np.asarray(made)


def scaled(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image with its least value at 0 and its greatest at 1, but for 1e-7 (as published)."""
    return np.asarray((image - image.min()) / (image.max() - image.min() + _NO_SPREAD))


def without_background(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image whose most frequent whole value, 0 to 254, is replaced by the least of the others.

    Only pixels of exactly that value in all channels are: after resampling, those of flat regions.

    Args:
        image: ``(C, H, W)``.
    """
    counts, _ = np.histogram(image, bins=np.arange(256))
    background = (image == counts.argmax()).all(axis=0)
    if background.all():
        return image
    return np.where(background, image[:, ~background].min(), image)
