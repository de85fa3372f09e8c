"""`Displacement`: how far every voxel is displaced; it crosses from a job to files and back, as `Volume` does."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .cine import Source
from .errors import InputError
from .grid import Grid


@dataclass(frozen=True, eq=False)
class Displacement:
    """A displacement field in millimetres that pulls: the made image at p is the source image at ``p + vectors(p)``.

    That is ITK's way too (``sitk.DisplacementFieldTransform`` for ``sitk.Resample``): a point of the *made* image is
    taken to the *source* by it, and back by its inverse.

    Attributes:
        vectors: ``(slice, row, column, 3)``, millimetres along RAS+ (right, front, head), float.
        grid: Where they lie: the grid of the made image.
        source: The file that they were read from.

    Raises:
        InputError: A shape that does not fit the grid, or NaN.

    Example:
        >>> grid = Grid.spaced((2, 3, 4), (6.0, 1.0, 0.5))
        >>> one_slice = np.zeros((3, 2, 3, 4)); one_slice[0] = 1
        >>> Displacement.of_voxels(one_slice, grid).vectors[0, 0, 0].tolist()
        [0.0, 0.0, 6.0]
    """

    vectors: NDArray[np.floating]
    grid: Grid
    source: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        path = self.source.path
        if self.vectors.shape != (*self.grid.shape, 3):
            raise InputError(f"vectors of shape {self.vectors.shape} do not fit a grid of {self.grid.shape}", path=path)
        if self.vectors.dtype.kind != "f" or not np.all(np.isfinite(self.vectors)):
            raise InputError("holds displacements that are not numbers", path=path)

    @classmethod
    def of_voxels(cls, displacement: NDArray[np.floating], grid: Grid) -> Displacement:
        """Return the field of a displacement in voxels.

        Args:
            displacement: ``(3, slice, row, column)``, components (slice, row, column) in voxels of `grid`; or
                ``(2, row, column)`` of a grid of one slice, components (row, column).
            grid: Where it lies.
        """
        flat = displacement.ndim == 3
        whole = np.concatenate([np.zeros_like(displacement[:1]), displacement])[:, None] if flat else displacement
        mm = np.einsum("xk,k...->...x", grid.affine[:3, :3].astype(whole.dtype), whole)
        return cls(np.ascontiguousarray(mm), grid)

    def in_voxels(self) -> NDArray[np.floating]:
        """Return ``(3, slice, row, column)``: components (slice, row, column) in voxels; undoes `of_voxels`."""
        inverse = np.linalg.inv(self.grid.affine[:3, :3]).astype(self.vectors.dtype)
        return np.ascontiguousarray(np.einsum("kx,...x->k...", inverse, self.vectors))
