"""Where slices of a derived volume lie, and which of the source's lie near them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import UnsupportedError
from ...grid import LPS_TO_RAS, Grid
from .derived_timing import decimal, remove
from .geometry import Place

_ALIKE = 1e-3  # direction cosines that differ by less are one
_UPRIGHT = 1e-3  # between rows and columns
_ON = 1e-3  # of the distance between slices: nearer to a source slice than this, one lies on it


@dataclass(frozen=True)
class Seat:
    """Where a slice lies, as its grid has it, in mm along LPS.

    Attributes:
        position: Centre of its first voxel.
        axes: ``(2, 3)``: directions in which columns and rows count up.
        steps: Between rows, between columns, between slices.
    """

    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    steps: tuple[float, float, float]

    @classmethod
    def of(cls, grid: Grid, k: int) -> Seat:
        """Return the seat of slice `k`.

        Raises:
            UnsupportedError: Rows and columns are not perpendicular, which DICOM cannot say.
        """
        lps = LPS_TO_RAS @ grid.affine
        between_slices, between_rows, between_columns = grid.spacing
        axes = np.stack([lps[:3, 2] / between_columns, lps[:3, 1] / between_rows])
        if abs(axes[0] @ axes[1]) > _UPRIGHT:
            raise UnsupportedError("its rows and columns are not perpendicular", remedy="write .nii.gz, .mha or .nrrd")
        return cls((lps @ [k, 0, 0, 1])[:3], axes, (between_rows, between_columns, between_slices))

    def nearest(self, places: NDArray[np.float64]) -> tuple[int | None, float]:
        """Return which place is nearest and how far off, mm: infinitely, where none is turned alike; None of none."""
        if not len(places):
            return None, np.inf
        distances = np.where(self._alike(places), np.linalg.norm(places[:, :3] - self.position, axis=1), np.inf)
        nearest = int(distances.argmin())
        return nearest, float(distances[nearest])

    def around(self, places: NDArray[np.float64]) -> list[int]:
        """Return the places before and after it along its normal, the nearer first: one on it, or beyond all; or none.

        Args:
            places: ``(places, 9)`` (`known_places`); those that are turned otherwise are left out.
        """
        along = (places[:, :3] - self.position) @ np.cross(*self.axes)
        along = np.where(self._alike(places), along, np.nan)
        near = [k for k in np.argsort(np.abs(along)) if not np.isnan(along[k])]
        if not near:
            return []
        first = near[0]
        if abs(along[first]) <= _ON * self.steps[2]:
            return [int(first)]
        other = next((k for k in near if along[k] * along[first] < 0), None)
        return [int(first)] if other is None else [int(first), int(other)]

    def write(self, dataset: Dataset) -> None:
        """Write it into the header of a slice (PS3.3 C.7.6.2)."""
        dataset.ImagePositionPatient = self.image_position
        dataset.ImageOrientationPatient = self.image_orientation
        dataset.PixelSpacing = [decimal(self.steps[0]), decimal(self.steps[1])]
        dataset.SliceThickness = decimal(self.steps[2])
        if "SpacingBetweenSlices" in dataset:
            dataset.SpacingBetweenSlices = decimal(self.steps[2])
        remove(dataset, ("SliceLocation",))

    @property
    def image_position(self) -> list[str]:
        """The value of Image Position (Patient)."""
        return [decimal(float(one)) for one in self.position]

    @property
    def image_orientation(self) -> list[str]:
        """The value of Image Orientation (Patient)."""
        return [decimal(float(one)) for one in self.axes.ravel()]

    def _alike(self, places: NDArray[np.float64]) -> NDArray[np.bool_]:
        alike: NDArray[np.bool_] = np.all(np.abs(places[:, 3:] - self.axes.ravel()) <= _ALIKE, axis=1)
        return alike


def known_places(places: Sequence[Place | None]) -> NDArray[np.float64]:
    """Return positions and directions ``(places, 9)``; NaN where they are not stated."""
    unknown = (np.nan,) * 9
    return np.array([place if place is not None and len(place) == 9 else unknown for place in places]).reshape(-1, 9)
