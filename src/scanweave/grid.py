"""`Grid`: where the voxels of a volume lie.

Every index goes in the array's own order, ``(slice, row, column)``, and so does `Grid.affine`: it takes
``(slice, row, column, 1)`` to millimetres in RAS+ (x to the right, y to the front, z to the head, as NIfTI has it).
`Grid.nifti_affine` is the same map for NIfTI's order of indices, ``(column, row, slice, 1)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Between DICOM's and ITK's axes (left, back, head) and ours; its own inverse."""

_REVERSED = np.eye(4)[[2, 1, 0, 3]]
_SINGULAR = 1e-9  # volume of the unit cell of voxels, as a share of that of a box with the same sides


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie.

    Args:
        shape: Slices, rows, columns.
        affine: ``(4, 4)``, from ``(slice, row, column, 1)`` to millimetres in RAS+.

    Raises:
        InputError: The affine holds NaN, has a spacing of zero or parallel axes, or is none; or there is no voxel.

    Example:
        >>> grid = Grid.spaced((10, 64, 64), (6.0, 0.5, 0.5))
        >>> grid.spacing, grid.to_mm([9, 0, 0]).tolist()
        ((6.0, 0.5, 0.5), [0.0, 0.0, 54.0])
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4):
            raise InputError(f"its affine is of shape {affine.shape}, not (4, 4)")
        if not np.all(np.isfinite(affine)):
            raise InputError("its affine holds values that are not numbers", remedy="mend its header")
        if not np.array_equal(affine[3], [0, 0, 0, 1]):
            raise InputError(f"its affine ends in {affine[3].tolist()}, not in 0 0 0 1", remedy="mend its header")
        sides = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.all(sides > 0):
            raise InputError(
                f"the spacing of its voxels is {' x '.join(f'{side:g}' for side in sides)} mm",
                remedy="mend its header: every spacing must be above zero",
            )
        if abs(np.linalg.det(affine[:3, :3] / sides)) < _SINGULAR:
            raise InputError("two axes of its affine are parallel", remedy="mend its header")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"a grid of {' x '.join(map(str, self.shape))} holds no voxel")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def spaced(cls, shape: Sequence[int], spacing: Sequence[float]) -> Grid:
        """Return a grid of a given spacing (slice, row, column) in mm, its first voxel at the origin, along RAS+.

        Columns go to the right, rows to the front, slices to the head.
        """
        return cls.of_nifti(shape, np.diag([*reversed([float(step) for step in spacing]), 1.0]))

    @classmethod
    def of_nifti(cls, shape: Sequence[int], affine: ArrayLike) -> Grid:
        """Return the grid of ``shape`` (slice, row, column) whose affine is for NIfTI's ``(column, row, slice, 1)``."""
        slices, rows, columns = shape
        return cls((slices, rows, columns), np.asarray(affine, dtype=np.float64) @ _REVERSED)

    @property
    def nifti_affine(self) -> NDArray[np.float64]:
        """The affine for indices ``(column, row, slice, 1)``: what nibabel calls ``affine``."""
        return np.asarray(self.affine @ _REVERSED)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from a voxel to the next slice, row and column."""
        a, b, c = (float(side) for side in np.linalg.norm(self.affine[:3, :3], axis=0))
        return a, b, c

    @property
    def directions(self) -> NDArray[np.float64]:
        """``(3, 3)``: column k is the RAS+ unit vector along array axis k."""
        return np.asarray(self.affine[:3, :3] / np.asarray(self.spacing))

    @property
    def codes(self) -> str:
        """Which way the indices go, as nibabel names it for NIfTI's order: ``LPS`` has columns to the left."""
        from nibabel.orientations import aff2axcodes

        return "".join(str(code) for code in aff2axcodes(self.nifti_affine))

    def __str__(self) -> str:
        """Say size, spacing, orientation and first voxel, for messages."""
        sizes, steps = " x ".join(map(str, self.shape)), " x ".join(f"{step:.4g}" for step in self.spacing)
        first = ", ".join(f"{place:.4g}" for place in self.affine[:3, 3])
        return f"{sizes} voxels of {steps} mm {self.codes} from ({first})"

    def to_mm(self, index: ArrayLike) -> NDArray[np.float64]:
        """Return where indices ``(..., 3)`` in the order (slice, row, column) lie: ``(..., 3)`` mm in RAS+."""
        return np.asarray(np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_index(self, mm: ArrayLike) -> NDArray[np.float64]:
        """Return the indices (slice, row, column) of points ``(..., 3)`` in RAS+ mm; the inverse of `to_mm`."""
        shifted = np.asarray(mm, dtype=np.float64) - self.affine[:3, 3]
        return np.asarray(shifted @ np.linalg.inv(self.affine[:3, :3]).T)

    def matches(self, other: Grid, *, tolerance: float = 1e-3) -> bool:
        """Return whether both grids have one shape and no corner lies further apart than `tolerance` voxels."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[[0, n - 1] for n in self.shape])).reshape(3, -1).T
        gap = np.linalg.norm(self.to_mm(corners) - other.to_mm(corners), axis=1).max()
        return bool(gap <= tolerance * min(self.spacing))
