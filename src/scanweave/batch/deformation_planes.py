"""Pictures of deformed copies: one plane of the image, brought to square pixels, with outlines, grids and maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..deformation.fields import Field, dense
from ..ops.displacement import jacobian_determinant, magnitude
from ..report.pictures import difference_map, error_map, outlined
from ..volume import Volume

_SIDE = 300  # pixels of the longest side
_LINES = 16  # of the grid, along the longest side
_WIDTH = 0.9  # of a line of the grid, pixels
_COLOURS = ((255, 196, 0), (0, 190, 230), (255, 90, 160), (120, 220, 90), (190, 140, 255), (255, 140, 60))
_GRID = (90, 220, 255)
_FOLD = (255, 0, 255)


@dataclass(frozen=True)
class Plane:
    """One slice of a grid, sampled at square pixels.

    Attributes:
        index: Number of the slice.
        places: Row and column, in voxels, of each pixel: ``(2, height, width)``.
    """

    index: int
    places: NDArray[np.float64]

    @classmethod
    def of(cls, image: Volume, labels: tuple[Volume, ...]) -> Plane:
        """Return the slice that labels cover most, or the middle one."""
        slices, rows, columns = image.grid.shape
        index = slices // 2
        if labels:
            covered = (labels[0].voxels != 0).reshape(slices, -1).sum(1)
            index = int(covered.argmax()) if covered.any() else index
        _, down, across = image.spacing
        step = max(rows * down, columns * across) / _SIDE
        height, width = max(1, round(rows * down / step)), max(1, round(columns * across / step))
        row = (np.arange(height) + 0.5) * rows / height - 0.5
        column = (np.arange(width) + 0.5) * columns / width - 0.5
        return cls(index, np.stack(np.meshgrid(row, column, indexing="ij")))

    def seen(self, array: NDArray[Any], *, order: int = 1) -> NDArray[Any]:
        """Return a slice ``(row, column)`` at the pixels; order 0 for labels, 1 for what is between numbers."""
        from scipy.ndimage import map_coordinates

        found: NDArray[Any] = map_coordinates(array, self.places, order=order, mode="nearest")
        return found

    def grey(self, image: Volume, window: tuple[float, float]) -> NDArray[np.uint8]:
        """Return the image as a picture ``(row, column, 3)``."""
        slice_ = image.voxels[self.index]
        slice_ = slice_ if slice_.ndim == 2 else slice_.mean(axis=-1)
        low, high = window
        shade = np.clip((self.seen(slice_.astype(np.float64)) - low) / (high - low), 0, 1)
        return np.repeat(np.rint(shade * 255).astype(np.uint8)[..., None], 3, axis=-1)

    def marked(self, picture: NDArray[np.uint8], labels: tuple[Volume, ...]) -> NDArray[np.uint8]:
        """Return a picture with the outline of each label, each in its colour."""
        for volume in labels:
            known = np.unique(volume.voxels)
            maps = volume.voxels[self.index]
            shown = self.seen(maps if maps.ndim == 2 else maps[..., 0], order=0)
            for number, label in enumerate(known[known != 0]):
                picture = outlined(picture, shown == label, colour=_COLOURS[number % len(_COLOURS)])
        return picture

    def gridded(self, picture: NDArray[np.uint8], field: Field) -> NDArray[np.uint8]:
        """Return a picture with the lines that were a square grid on the source, as the field deforms them."""
        flat = self._slice(dense(field).numpy())
        rows, columns = (self.places[a] + self.seen(flat[a]) for a in (-2, -1))
        per_pixel = self._voxels_per_pixel()
        near = np.full(rows.shape, np.inf)
        for places, scale in zip((rows, columns), per_pixel, strict=True):
            cell = scale * max(self.places.shape[1:]) / _LINES
            near = np.minimum(near, np.abs((places / cell + 0.5) % 1 - 0.5) * cell / scale)
        share = np.clip(_WIDTH + 0.5 - near, 0, 1)[..., None] * 0.8
        return np.rint(picture * (1 - share) + np.array(_GRID) * share).astype(np.uint8)

    def volume_change(self, field: Field, limit: float) -> NDArray[np.uint8]:
        """Return log2 of the Jacobian determinant as colours, blue to red, full at ``±limit``; folds are magenta."""
        found = self._slice(jacobian_determinant(dense(field)[None]).numpy())
        shown = self.seen(found[0])
        colours = difference_map(np.log2(np.clip(shown, 2.0**-8, None)), limit)
        colours[self.seen((found[0] < 0).astype(np.uint8), order=0) > 0] = _FOLD
        return colours

    def lengths(self, field: Field, spacing: tuple[float, ...], limit: float) -> NDArray[np.uint8]:
        """Return how far pixels are displaced, in mm, as colours up to `limit`."""
        found = self._slice(magnitude(dense(field)[None], unit=spacing).numpy())
        return error_map(self.seen(found[0]), limit)

    def _slice(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return this slice of ``(C, [slice,] row, column)``."""
        return array[:, self.index] if array.ndim == 4 else array

    def _voxels_per_pixel(self) -> tuple[float, float]:
        _, height, width = self.places.shape
        rows, columns = self.places[0], self.places[1]
        down = float(rows[1, 0] - rows[0, 0]) if height > 1 else 1.0
        across = float(columns[0, 1] - columns[0, 0]) if width > 1 else 1.0
        return down, across
