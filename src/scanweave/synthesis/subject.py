"""A subject: volumes of one person by contrast, on one grid, with the axis along which slices lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UnsupportedError, UsageError
from ..grid import Grid
from ..volume import Volume

Axis: TypeAlias = Literal["auto", 0, 1, 2]
"""An array axis (slice, row, column) of volumes as they are read, or the one of the largest spacing."""

_TIED = 0.01  # spacings that differ by less, as a share, are one
_TILTED = 0.5  # degrees that two axes may be off perpendicular
_APART = 1e-2  # of a voxel: how far corners of one grid may lie apart


@dataclass(frozen=True, eq=False)
class Subject:
    """What is known of one person.

    Attributes:
        volumes: By contrast, on one grid, slices along array axis 0.
        axis: Which array axis of the volumes as they came that is.
        mask: ``(slice, row, column)`` bool: where the organ is, on the same grid; None where nobody says.
        thickness: Of a slice in mm, without the gap to the next; None where it is not known.
        notes: What was decided, one sentence each.
    """

    volumes: Mapping[str, Volume]
    axis: int
    mask: NDArray[np.bool_] | None = None
    thickness: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """The grid of all volumes, slices first."""
        return next(iter(self.volumes.values())).grid

    @classmethod
    def of(
        cls,
        volumes: Mapping[str, Volume],
        *,
        axis: Axis = "auto",
        thinner: bool = False,
        mask: Volume | None = None,
        thickness: float | None = None,
        register: bool = False,
    ) -> Subject:
        """Check the volumes of one person and lay their slices first.

        Args:
            volumes: By contrast; the first gives the grid.
            axis: Along which array axis slices lie.
            thinner: Whether slices are to be made between them: then there must be two, and no doubt of the axis.
            mask: Where the organ is: anything but 0.
            thickness: Of a slice in mm, where headers do not say it.
            register: Bring the other volumes onto the grid of the first, rigidly.

        Raises:
            InputError: Another grid, NaN, colours, one slice, or one value only.
            UnsupportedError: A grid whose axes are not perpendicular.
            UsageError: No volume, or an axis that has to be said.
        """
        if not volumes:
            raise UsageError("no volume", remedy="give one of at least one contrast")
        for name, volume in volumes.items():
            _check_values(name, volume)
        notes: list[str] = []
        first = next(iter(volumes.values()))
        _check_axes(first.grid, first)
        if thinner and first.space_unit != "mm":
            raise InputError(
                "states no spacing, so that millimetres between slices mean nothing",
                path=first.source.path,
                remedy="give it with --source-spacing, or Volume.respaced",
            )
        aligned = {name: _aligned(name, volume, first, notes, register=register) for name, volume in volumes.items()}
        if mask is not None:
            mask = _on_grid("the mask", mask, first.grid)
        chosen = _chosen(first, axis, notes, thinner=thinner)
        if thinner and first.grid.shape[chosen] < 2:
            raise InputError(
                f"has one slice along axis {chosen}, and nothing lies between one slice",
                path=first.source.path,
                remedy="give a volume of two slices or more, or another --axis",
            )
        known = thickness if thickness is not None else slice_thickness(first) if chosen == 0 else None
        return cls(
            {name: turned(volume, chosen) for name, volume in aligned.items()},
            chosen,
            None if mask is None else turned(mask, chosen).voxels != 0,
            _checked_thickness(known, first.spacing[chosen], notes, said=thickness is not None),
            tuple(notes),
        )


def turned(volume: Volume, axis: int) -> Volume:
    """Return the same voxels at the same places, an array axis moved to the front."""
    if axis == 0:
        return volume
    return volume.with_voxels(np.moveaxis(volume.voxels, axis, 0), grid=_moved(volume.grid, axis, 0))


def turned_back(volume: Volume, axis: int) -> Volume:
    """Undo `turned`."""
    if axis == 0:
        return volume
    voxels = np.ascontiguousarray(np.moveaxis(volume.voxels, 0, axis))
    return volume.with_voxels(voxels, grid=_moved(volume.grid, 0, axis))


def grid_turned_back(grid: Grid, axis: int) -> Grid:
    """Return the grid of `turned_back`."""
    return grid if axis == 0 else _moved(grid, 0, axis)


def _moved(grid: Grid, start: int, end: int) -> Grid:
    order = [axis for axis in range(3) if axis != start]
    order.insert(end, start)
    a, b, c = order
    return Grid((grid.shape[a], grid.shape[b], grid.shape[c]), grid.affine[:, [a, b, c, 3]])


def slice_thickness(volume: Volume) -> float | None:
    """Return the thickness of a slice in mm that the DICOM header of a volume states, or None."""
    header = volume.source.header
    if header is None or not hasattr(header, "get"):
        return None
    groups = [*header.get("SharedFunctionalGroupsSequence", ()), *header.get("PerFrameFunctionalGroupsSequence", ())]
    measures = [item for group in groups[:2] for item in group.get("PixelMeasuresSequence", ())]
    for place in (header, *measures):
        try:
            found = float(place.get("SliceThickness") or 0)
        except (KeyError, TypeError, ValueError):
            continue
        if found > 0 and np.isfinite(found):
            return found
    return None


def _checked_thickness(known: float | None, spacing: float, notes: list[str], *, said: bool) -> float | None:
    if known is None:
        return None
    if not (np.isfinite(known) and known > 0):
        raise UsageError(f"a slice thickness of {known:g} mm", remedy="give one above 0")
    gap = spacing - known
    what = (
        f"a gap of {gap:.3g} mm" if gap > _TIED * spacing else f"an overlap of {-gap:.3g} mm" if gap < 0 else "no gap"
    )
    notes.append(
        f"Slices are {known:.4g} mm thick{'' if said else ' by their header'}, {spacing:.4g} mm apart: {what}."
    )
    return known


def _check_values(name: str, volume: Volume) -> None:
    if volume.channels is not None:
        raise InputError(
            f"{name} has {volume.channels} channels, one grey value per voxel is needed", path=volume.source.path
        )
    voxels = volume.voxels
    if volume.dtype.kind == "f" and not np.all(np.isfinite(voxels)):
        raise InputError(
            f"{name} holds voxels that are not numbers (NaN or infinity)",
            path=volume.source.path,
            remedy="replace them first",
        )
    if voxels.min() == voxels.max():
        raise InputError(f"{name} holds one value only, {voxels.flat[0]}", path=volume.source.path)


def _check_axes(grid: Grid, volume: Volume) -> None:
    """Refuse sheared grids: turned ones are as good as any."""
    cosines = np.abs(grid.directions.T @ grid.directions - np.eye(3)).max()
    tilt = float(np.degrees(np.arcsin(min(1.0, cosines))))
    if tilt > _TILTED:
        raise UnsupportedError(
            f"its slices are shifted against each other, {tilt:.1f} degrees off perpendicular (a tilted gantry?)",
            path=volume.source.path,
            remedy="resample it onto a grid with perpendicular axes first",
        )


def _aligned(name: str, volume: Volume, first: Volume, notes: list[str], *, register: bool) -> Volume:
    if volume is first or not register:
        return volume if volume is first else _on_grid(name, volume, first.grid)
    from .registration import registered

    moved, note = registered(volume, first)
    notes.append(f"{name}: {note}")
    return moved


def _on_grid(name: str, volume: Volume, grid: Grid) -> Volume:
    """Return a volume with its axes as those of `grid`, on which its voxels must lie.

    Raises:
        InputError: They lie elsewhere.
    """
    same_way = volume if volume.grid.codes == grid.codes else volume.reoriented(grid.codes)
    if same_way.grid.matches(grid, tolerance=_APART):
        return same_way
    raise InputError(
        f"{name} is on another grid: {volume.grid}, and the first volume is on {grid}",
        path=volume.source.path,
        remedy="resample it onto the first, or bring it there with --register",
    )


def _chosen(volume: Volume, axis: Axis, notes: list[str], *, thinner: bool) -> int:
    if axis != "auto":
        if axis not in (0, 1, 2):
            raise UsageError(f"axis {axis!r}", remedy="give auto, 0 (slices), 1 (rows) or 2 (columns)")
        return axis
    spacing = volume.spacing
    widest = max(spacing)
    tied = [k for k in range(3) if spacing[k] > widest * (1 - _TIED)]
    if len(tied) > 1 and thinner:
        steps = " x ".join(f"{step:.4g}" for step in spacing)
        raise UsageError(
            f"spacings of {steps} mm do not say along which axis slices are missing",
            remedy="give --axis 0 (slices), 1 (rows) or 2 (columns)",
        )
    if len(tied) > 1:
        notes.append(f"Several axes have the largest spacing, {widest:.4g} mm; slices were taken along axis {tied[0]}.")
    return tied[0]
