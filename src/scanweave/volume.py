"""`Volume`: voxels in space, the other thing that crosses from files to a job and back.

Arrays are ``(slice, row, column[, channel])`` in **stored** units: the integers or floats of the file, untouched;
``stored * scale + offset`` is what they mean (Hounsfield units, say). A job asks for `Volume.unit` (float32 over a
window) and returns to stored units with `Volume.stored`.

Where they lie is a `Grid`: its affine takes ``(slice, row, column, 1)`` to millimetres in RAS+.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cine import Display, Source
from .errors import InputError, ResourceError, UsageError
from .grid import Grid

SpaceUnit = Literal["mm", "voxel"]

_AXES = {"L": "x", "R": "x", "P": "y", "A": "y", "I": "z", "S": "z"}


class Volume:
    """Voxels in space, loaded when asked for.

    Args:
        load: Gives all voxels ``(slice, row, column[, channel])`` in stored units; called once, under a lock.
        grid: Where they lie.
        dtype: Stored dtype.
        channels: Length of the last axis, or None where there is none.
        scale: ``stored * scale + offset`` is the real value; not zero.
        offset: See `scale`.
        levels: Range that the stored depth means, for example (0, 4095) for 12 bits. None: the volume's own finite
            minimum and maximum, found when first needed (a CT's 16 bits say nothing of what is in them).
        space_unit: ``"mm"``, or ``"voxel"`` where the file states no geometry (then every spacing is 1).
        time_index: Which phase of a run of volumes this is, 0-based, or None.
        display: How stored values are meant to be shown.
        source: Where the voxels came from.

    Raises:
        InputError: A scale of zero or NaN.
    """

    def __init__(
        self,
        load: Callable[[], NDArray[Any]],
        *,
        grid: Grid,
        dtype: np.dtype[Any] | type,
        channels: int | None = None,
        scale: float = 1.0,
        offset: float = 0.0,
        levels: tuple[float, float] | None = None,
        space_unit: SpaceUnit = "mm",
        time_index: int | None = None,
        display: Display | None = None,
        source: Source | None = None,
    ) -> None:
        self.source = source or Source()
        self.grid = grid
        self.dtype = np.dtype(dtype)
        self.shape: tuple[int, ...] = grid.shape if channels is None else (*grid.shape, channels)
        self.scale, self.offset = float(scale), float(offset)
        self.space_unit: SpaceUnit = space_unit
        self.time_index = time_index
        self.display = display or Display()
        self.stated_levels = levels
        self._load = load
        self._voxels: NDArray[Any] | None = None
        self._range: tuple[float, float] | None = None
        self._lock = threading.RLock()
        if not (np.isfinite(self.scale) and np.isfinite(self.offset) and self.scale != 0):
            raise InputError(
                f"its stored values are scaled by {scale:g} with offset {offset:g}",
                path=self.source.path,
                remedy="mend its header",
            )

    @classmethod
    def from_array(
        cls,
        voxels: ArrayLike,
        *,
        affine: ArrayLike | None = None,
        spacing: Sequence[float] | None = None,
        scale: float = 1.0,
        offset: float = 0.0,
        levels: tuple[float, float] | None = None,
        time_index: int | None = None,
        display: Display | None = None,
        source: Source | None = None,
    ) -> Volume:
        """Make a volume of an array ``(slice, row, column[, channel])`` or of one slice ``(row, column)``.

        Args:
            voxels: The stored values; bool counts as 0 and 1.
            affine: From ``(slice, row, column, 1)`` to mm in RAS+ (a NIfTI affine: `Grid.of_nifti`).
            spacing: Millimetres between slices, rows, columns, in place of `affine`. Without either, voxels are
                counted.
            scale: As for `Volume`.
            offset: As for `Volume`.
            levels: As for `Volume`.
            time_index: As for `Volume`.
            display: As for `Volume`.
            source: As for `Volume`.

        Raises:
            InputError: No numbers, or no volume by its shape.
            UsageError: Both `affine` and `spacing`.

        Example:
            >>> volume = Volume.from_array(np.zeros((3, 4, 5), np.int16), spacing=(6, 1, 1), offset=-1024)
            >>> volume.spacing, volume.real().min()
            ((6.0, 1.0, 1.0), np.float32(-1024.0))
        """
        array = np.asarray(voxels)
        array = array[None] if array.ndim == 2 else array
        if array.ndim not in (3, 4) or 0 in array.shape:
            raise InputError(f"an array of shape {array.shape} is not (slice, row, column[, channel])")
        if array.dtype.kind not in "buif":
            raise InputError(f"an array of {array.dtype} holds no grey values")
        if affine is not None and spacing is not None:
            raise UsageError("both affine and spacing are given", remedy="an affine has the spacing in it")
        array = array.astype(np.uint8) if array.dtype == bool else array
        shape = array.shape[:3]
        return cls(
            lambda: array,
            grid=Grid.spaced(shape, spacing or (1, 1, 1)) if affine is None else Grid(shape, np.asarray(affine)),
            dtype=array.dtype,
            channels=array.shape[3] if array.ndim == 4 else None,
            scale=scale,
            offset=offset,
            levels=levels,
            space_unit="voxel" if affine is None and spacing is None else "mm",
            time_index=time_index,
            display=display,
            source=source,
        )

    def __repr__(self) -> str:
        spacing = " x ".join(f"{step:.4g}" for step in self.spacing)
        return f"<Volume {' x '.join(map(str, self.shape))} {self.dtype}, {spacing} {self.space_unit}>"

    @property
    def voxels(self) -> NDArray[Any]:
        """All voxels ``(slice, row, column[, channel])`` in stored units, read-only; kept once they are loaded.

        Raises:
            InputError: They cannot be decoded.
            ResourceError: They do not fit into memory.
        """
        with self._lock:
            if self._voxels is None:
                try:
                    array = self._load()
                except MemoryError as error:
                    size = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize / (1 << 30)
                    raise ResourceError(
                        f"its voxels need {size:.3g} GiB of memory",
                        path=self.source.path,
                        remedy="free some, or crop it",
                    ) from error
                if array.shape != self.shape or array.dtype != self.dtype:
                    raise InputError(
                        f"its voxels are {array.shape} {array.dtype}, the header says {self.shape} {self.dtype}",
                        path=self.source.path,
                    )
                self._voxels = array.view()
                self._voxels.setflags(write=False)
            return self._voxels

    @property
    def affine(self) -> NDArray[np.float64]:
        """``(4, 4)``, from ``(slice, row, column, 1)`` to millimetres in RAS+; see `Grid`."""
        return self.grid.affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from a voxel to the next slice, row and column."""
        return self.grid.spacing

    @property
    def channels(self) -> int | None:
        """Length of the last axis, or None where there is none."""
        return self.shape[3] if len(self.shape) == 4 else None

    @property
    def levels(self) -> tuple[float, float]:
        """Range of the stored values: what the file's depth means, else the volume's own.

        Raises:
            InputError: The volume holds NaN or infinity.
        """
        if self.stated_levels is not None:
            low, high = self.stated_levels
        else:
            if self._range is None:
                self._range = _finite_range(self.voxels, self)
            low, high = self._range
        return (low, high) if high > low else (low, low + 1.0)

    def real(self) -> NDArray[Any]:
        """Return the real values, ``stored * scale + offset``: float32, or float64 where stored values need it."""
        wide = np.float64 if self.dtype.itemsize > 4 or (self.dtype.kind in "ui" and self.dtype.itemsize > 2) else None
        values = self.voxels.astype(wide or np.float32)
        if (self.scale, self.offset) != (1.0, 0.0):
            values = (values.astype(np.float64) * self.scale + self.offset).astype(values.dtype)
        return values

    def unit(self, window: tuple[float, float] | None = None) -> NDArray[np.float32]:
        """Return float32 ``(channel, slice, row, column)`` that is 0 and 1 at the ends of a window of stored values.

        Nothing is clipped: values outside the window come out below 0 or above 1, so that `stored` gives integers that
        span fewer than 2**23 levels of the window back exactly.

        Args:
            window: Stored values to call 0 and 1; `levels` where not given.

        Raises:
            InputError: The volume holds NaN or infinity.
            UsageError: An empty window.
        """
        low, high = self._window(window)
        _finite_range(self.voxels, self)
        unit = np.empty((self.channels or 1, *self.grid.shape), np.float32)
        for k, plane in enumerate(self.voxels):  # slice by slice: float64 of the whole would need much memory
            scaled = (plane.astype(np.float64) - low) / (high - low)
            unit[:, k] = np.moveaxis(scaled, -1, 0) if scaled.ndim == 3 else scaled
        return unit

    def stored(self, unit: NDArray[Any], window: tuple[float, float] | None = None) -> NDArray[Any]:
        """Return ``(channel, slice, row, column)`` as voxels in stored units: the inverse of `unit`, any spatial size.

        Integers are rounded, and clamped to what their dtype holds.
        """
        low, high = self._window(window)
        channels, *shape = unit.shape
        voxels = np.empty(shape if self.channels is None else (*shape, channels), self.dtype)
        depth = np.iinfo(self.dtype) if self.dtype.kind in "ui" else None
        for k in range(shape[0]):
            values = np.asarray(unit[:, k], dtype=np.float64) * (high - low) + low
            if depth is not None:
                values = np.clip(np.rint(values), depth.min, depth.max)
            voxels[k] = values[0] if self.channels is None else np.moveaxis(values, 0, -1)
        return voxels

    def with_voxels(self, voxels: NDArray[Any], *, grid: Grid | None = None) -> Volume:
        """Return a volume of the same meaning (scale, offset, levels, display, source) with other voxels.

        Args:
            voxels: ``(slice, row, column[, channel])`` in stored units, of any dtype.
            grid: Where they lie, if not where these do.
        """
        channels = voxels.shape[3] if voxels.ndim == 4 else None
        levels = self.stated_levels if voxels.dtype == self.dtype else None
        return self._copy(lambda: voxels, grid or self.grid, voxels.dtype, channels, levels)

    def with_levels(self, low: float, high: float) -> Volume:
        """Return the same volume with another range of stored values for its levels.

        Raises:
            UsageError: An empty range.
        """
        levels = self._window((low, high))
        return self._copy(lambda: self.voxels, self.grid, self.dtype, self.channels, levels)

    def with_source(self, **changes: Any) -> Volume:
        """Return the same volume with fields of `source` replaced."""
        copy = self._copy(lambda: self.voxels, self.grid, self.dtype, self.channels, self.stated_levels)
        copy.source = replace(self.source, **changes)
        return copy

    def respaced(self, spacing: Sequence[float]) -> Volume:
        """Return the same voxels with another spacing (slice, row, column) in mm; directions and first voxel stay.

        For files that state none or a wrong one; nothing is resampled.

        Raises:
            UsageError: A spacing of zero or less.
        """
        if not all(step > 0 and np.isfinite(step) for step in spacing):
            raise UsageError(
                f"a spacing of {' x '.join(f'{step:g}' for step in spacing)} mm", remedy="give three above 0"
            )
        affine = np.array(self.affine)
        affine[:3, :3] = self.grid.directions * np.asarray(spacing, dtype=np.float64)
        moved = self._copy(
            lambda: self.voxels, Grid(self.grid.shape, affine), self.dtype, self.channels, self.stated_levels
        )
        moved.space_unit = "mm"
        return moved

    def reoriented(self, codes: str = "RAS") -> Volume:
        """Return the same voxels at the same places with axes flipped and swapped; nothing is resampled.

        Args:
            codes: Which way columns, rows and slices shall go, as `Grid.codes`: of ``LPS``, columns to the left,
                rows to the back and slices to the head. An oblique grid comes as near as it can.

        Raises:
            UsageError: Not three letters of L or R, P or A, I or S.

        Example:
            >>> Volume.from_array(np.zeros((3, 4, 5)), spacing=(1, 1, 1)).reoriented("SRA").shape
            (4, 5, 3)
        """
        if sorted(_AXES.get(code, "") for code in codes) != ["x", "y", "z"]:
            raise UsageError(f"{codes!r} names no orientation", remedy="name three directions, such as RAS or LPS")
        from nibabel import orientations

        now = orientations.io_orientation(self.grid.nifti_affine)
        change = orientations.ornt_transform(now, orientations.axcodes2ornt(tuple(codes)))
        columns_first = self.grid.shape[::-1]
        affine = self.grid.nifti_affine @ orientations.inv_ornt_aff(change, columns_first)
        order = [int(place) for place in change[:, 0]]
        shape = tuple(columns_first[order.index(k)] for k in range(3))

        def load() -> NDArray[Any]:
            turned = orientations.apply_orientation(np.swapaxes(self.voxels, 0, 2), change)
            return np.ascontiguousarray(np.swapaxes(turned, 0, 2))

        grid = Grid.of_nifti(shape[::-1], affine)
        return self._copy(load, grid, self.dtype, self.channels, self.stated_levels)

    def _copy(
        self,
        load: Callable[[], NDArray[Any]],
        grid: Grid,
        dtype: np.dtype[Any],
        channels: int | None,
        levels: tuple[float, float] | None,
    ) -> Volume:
        return Volume(
            load,
            grid=grid,
            dtype=dtype,
            channels=channels,
            scale=self.scale,
            offset=self.offset,
            levels=levels,
            space_unit=self.space_unit,
            time_index=self.time_index,
            display=self.display,
            source=self.source,
        )

    def _window(self, window: tuple[float, float] | None) -> tuple[float, float]:
        low, high = window or self.levels
        if not (np.isfinite(low) and np.isfinite(high) and high > low):
            raise UsageError(f"a window from {low:g} to {high:g} is empty")
        return low, high


def _finite_range(voxels: NDArray[Any], volume: Volume) -> tuple[float, float]:
    low, high = float(voxels.min()), float(voxels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            "holds voxels that are not numbers (NaN or infinity)", path=volume.source.path, remedy="replace them first"
        )
    return low, high
