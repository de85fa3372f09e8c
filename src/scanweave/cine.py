"""`Cine`: frames over time, the one thing that crosses from files to a job and back.

Arrays are ``(row, column)`` or ``(row, column, 3)`` in **stored** units: the integers or floats of the file,
untouched. A job asks for `Cine.unit` (float32 in [0, 1] over `Cine.levels`) and returns to stored units with
`Cine.stored`; what was acquired never takes that road.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

if TYPE_CHECKING:
    from scipy.spatial import KDTree

TimeUnit = Literal["s", "frame"]
RegionKind = Literal["tissue-2d", "colour-flow", "m-mode", "spectral", "waveform", "graphics", "other"]
FrameKind = Literal["acquired", "made", "copied"]

_CACHED_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the image whose meaning the file states (ultrasound regions, DICOM PS3.3 C.8.5.5).

    Attributes:
        rows: First row and one past the last row, as the file states them.
        columns: First column and one past the last column, as the file states them.
        kind: What is shown there.
        spacing: Physical distance per pixel along (row axis, column axis), or None.
        units: Units of `spacing` along (row axis, column axis), for example ``("cm", "s")``.
        inside: Whether the rectangle lies inside the image; if not, it must not be used to crop.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    kind: RegionKind
    spacing: tuple[float, float] | None = None
    units: tuple[str, str] | None = None
    inside: bool = True


@dataclass(frozen=True, slots=True)
class Display:
    """How stored values are meant to be shown; never applied to what a job computes.

    Attributes:
        inverted: The smallest stored value is white (MONOCHROME1).
        window: Stored values shown as black and white, or None for the whole of `Cine.levels`.
        palette: ``(entries, 3)`` uint8 or uint16 colours, for indexed pixels.
        palette_first: The stored value that the first palette entry stands for.
    """

    inverted: bool = False
    window: tuple[float, float] | None = None
    palette: NDArray[Any] | None = None
    palette_first: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """Where a cine came from, and what its file said beyond pixels and times.

    Attributes:
        path: The file or folder, or None for an array.
        files: All files that the frames came from, in frame order where there is one per frame.
        format: Short lower-case name: ``dicom``, ``video``, ``png``, ``tiff``, ``npy``, ``hdf5``, ``array``.
        header: The format's own header object (a pydicom ``Dataset`` without pixel data), or None.
        modality: DICOM modality code (``US``, ``XA``, ``RF``, ``MR`` ...), or None.
        regions: Regions that the file states.
        r_waves: Times of R waves in seconds from the first frame.
        trim: First and last frame (0-based, inclusive) that the file recommends to show, or None.
        facts: What `info` prints, in order: attribute -> value.
        notes: Oddities that a user should know, one sentence each.
        order: The file's own index (0-based) of each frame, where the file keeps another order than time; else empty.
        lossy: The lossy compression that other files than DICOM came through: the term of DICOM PS3.3 C.7.6.1.1.5.1
            (``ISO_10918_1`` is JPEG), or ``unnamed``; empty where there was none. A DICOM header says it itself.
    """

    path: Path | None = None
    files: tuple[Path, ...] = ()
    format: str = "array"
    header: Any = None
    modality: str | None = None
    regions: tuple[Region, ...] = ()
    r_waves: tuple[float, ...] = ()
    trim: tuple[int, int] | None = None
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    lossy: str = ""


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What one output frame is.

    Attributes:
        index: 0-based position in the output.
        time: Seconds (or frame units) on the source's own time axis.
        kind: ``acquired`` (bit for bit), ``made`` (computed), or ``copied`` (a repeated acquired frame, where
            nothing may be made: across a cut).
        pair: The acquired frames (0-based, in the source) that it lies between; twice the same if acquired.
        t: Position between them, 0 to 1.
        method: Name of the method that made it, or None.
        confidence: 0 to 1; 0.5 where as large an error is expected as for the typical frame of this run that was hidden
            at gap 2 and made again (`scanweave.trust.calibration`), or None.
        expected_error: Expected mean absolute error in stored units over the interpolated region, or None.
    """

    index: int
    time: float
    kind: FrameKind
    pair: tuple[int, int]
    t: float
    method: str | None = None
    confidence: float | None = None
    expected_error: float | None = None


@dataclass(frozen=True, slots=True)
class Derivation:
    """What was done to a source cine to give this one; the writers put it into headers.

    Attributes:
        source_length: Number of frames of the source.
        method: Name of the method.
        summary: One plain-text paragraph: method, model and hash, factor, region handled.
        factor: Frames per source gap where every gap is divided alike, else None.
        time_axis: ``physical`` keeps true time; ``display`` keeps the source's frame time, so that a viewer
            that ignores display rates plays slowly, and makes every time measurement wrong by the factor.
        playback_rate: Frames per second at which the result is meant to be shown, or None.
        weights_sha256: Hash of the weights that made the frames, or None for a method without weights.
        contrast: Of a volume: what it shows, where its source shows another contrast; headers then no longer state how
            the source was acquired.
    """

    source_length: int
    method: str
    summary: str
    factor: int | None = None
    time_axis: Literal["physical", "display"] = "physical"
    playback_rate: float | None = None
    weights_sha256: str | None = None
    contrast: str | None = None


class Cine:
    """Frames over time, loaded when asked for.

    Args:
        load: Gives frame ``i`` as ``(row, column)`` or ``(row, column, 3)`` in stored units. Called under a lock.
        shape: Shape of every frame.
        dtype: Stored dtype.
        times: One time per frame, strictly increasing.
        time_unit: ``"s"``, or ``"frame"`` where the file has no times (then `times` is the frame index).
        levels: Range that the stored depth means, for example (0, 1023) for 10 bits. None: the full range of
            integers up to 16 bits, else the run's own finite minimum and maximum, found when first needed.
        display: How stored values are meant to be shown.
        source: Where the frames came from.
        records: What each frame is, for a cine that a job made.
        derivation: What was done, for a cine that a job made.

    Raises:
        InputError: No frames, or times that do not fit or do not increase.
    """

    def __init__(
        self,
        load: Callable[[int], NDArray[Any]],
        *,
        shape: Sequence[int],
        dtype: np.dtype[Any] | type,
        times: ArrayLike,
        time_unit: TimeUnit = "s",
        levels: tuple[float, float] | None = None,
        display: Display | None = None,
        source: Source | None = None,
        records: Sequence[FrameRecord] | None = None,
        derivation: Derivation | None = None,
    ) -> None:
        self.source = source or Source()
        self.times: NDArray[np.float64] = np.array(times, dtype=np.float64)
        self.times.setflags(write=False)
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self.time_unit: TimeUnit = time_unit
        self.display = display or Display()
        self._records = None if records is None else tuple(records)
        self.derivation = derivation
        self._load = load
        self._levels = levels
        self._shown_range: tuple[float, float] | None = None
        self._cache: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = threading.RLock()
        self._palette_tree: KDTree | None = None
        self._check()

    def _check(self) -> None:
        path = self.source.path
        if self.times.ndim != 1 or not len(self.times):
            raise InputError("no frames", path=path, remedy="give a run of at least one frame")
        if len(self.shape) not in (2, 3) or (len(self.shape) == 3 and self.shape[2] != 3) or 0 in self.shape:
            raise InputError(
                f"frames of shape {self.shape} are neither grey (row, column) nor colour (row, column, 3)",
                path=path,
            )
        if not np.all(np.isfinite(self.times)) or np.any(np.diff(self.times) <= 0):
            raise InputError(
                "frame times do not increase strictly",
                path=path,
                remedy="state the true rate with --source-fps",
            )
        if self._records is not None and len(self._records) != len(self.times):
            raise ValueError(f"{len(self._records)} records for {len(self.times)} frames")

    @classmethod
    def from_array(
        cls,
        frames: ArrayLike,
        *,
        times: ArrayLike | None = None,
        fps: float | None = None,
        levels: tuple[float, float] | None = None,
        display: Display | None = None,
        source: Source | None = None,
    ) -> Cine:
        """Make a cine of an array ``(frame, row, column[, 3])``.

        Args:
            frames: The stored pixels; bool counts as one bit.
            times: One time per frame in seconds. Without it and without `fps`, the frame index is the time.
            fps: Frames per second, instead of `times`.
            levels: As for `Cine`.
            display: As for `Cine`.
            source: As for `Cine`.

        Example:
            >>> cine = Cine.from_array(np.zeros((3, 4, 5), np.uint8), fps=30)
            >>> len(cine), cine.levels
            (3, (0.0, 255.0))
        """
        array = np.asarray(frames)
        if array.ndim not in (3, 4):
            raise InputError(f"an array of shape {array.shape} is not (frame, row, column[, 3])")
        if array.dtype == bool:
            array, levels = array.astype(np.uint8), levels or (0.0, 1.0)
        if array.dtype.kind not in "uif":
            raise InputError(f"an array of {array.dtype} holds no grey values")
        unit: TimeUnit = "s"
        if times is None and fps is None:
            times, unit = np.arange(len(array), dtype=np.float64), "frame"
        elif times is None:
            times = np.arange(len(array), dtype=np.float64) / float(fps or 0)
        return cls(
            lambda i: np.asarray(array[i]),
            shape=array.shape[1:],
            dtype=array.dtype,
            times=times,
            time_unit=unit,
            levels=levels,
            display=display,
            source=source,
        )

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.frame(i) for i in range(len(self)))

    def __repr__(self) -> str:
        unit = "s" if self.time_unit == "s" else "frames"
        return f"<Cine {len(self)} x {'x'.join(map(str, self.shape))} {self.dtype}, {self.duration:.4g} {unit}>"

    def frame(self, i: int) -> NDArray[Any]:
        """Return frame `i` (0-based, negative from the end) in stored units, read-only.

        Raises:
            IndexError: No such frame.
            InputError: The frame cannot be decoded, or differs from the others in shape or dtype.
        """
        index = i + len(self) if i < 0 else i
        if not 0 <= index < len(self):
            raise IndexError(f"frame {i} of {len(self)}")
        with self._lock:
            if index not in self._cache:
                array = np.ascontiguousarray(self._load(index))
                if array.shape != self.shape or array.dtype != self.dtype:
                    raise InputError(
                        f"frame {index} is {array.shape} {array.dtype}, the first is {self.shape} {self.dtype}",
                        path=self.source.path,
                        remedy="all frames of a run must have one size and depth",
                    )
                array.setflags(write=False)
                self._cache[index] = array
                while len(self._cache) > _CACHED_FRAMES:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(index)
            return self._cache[index]

    def select(self, indices: Sequence[int], *, times: ArrayLike | None = None) -> Cine:
        """Return the cine of the frames at `indices` (times kept, unless given)."""
        kept = [int(i) for i in indices]
        chosen = self.times[kept] if times is None else times
        return Cine(
            lambda i: self.frame(kept[i]),
            shape=self.shape,
            dtype=self.dtype,
            times=chosen,
            time_unit=self.time_unit,
            levels=self.levels,
            display=self.display,
            source=self.source,
        )

    def with_times(self, times: ArrayLike, *, time_unit: TimeUnit = "s") -> Cine:
        """Return the same frames on another time axis."""
        return self._as(self.frame, times, time_unit)

    def with_frames(self, load: Callable[[int], NDArray[Any]]) -> Cine:
        """Return the same run with other pixels; `load` gives frame ``i`` in the same shape and dtype."""
        return self._as(load, self.times, self.time_unit)

    def _as(self, load: Callable[[int], NDArray[Any]], times: ArrayLike, time_unit: TimeUnit) -> Cine:
        return Cine(
            load,
            shape=self.shape,
            dtype=self.dtype,
            times=times,
            time_unit=time_unit,
            levels=self._levels,
            display=self.display,
            source=self.source,
            records=self.records,
            derivation=self.derivation,
        )

    def with_source(self, **changes: Any) -> Cine:
        """Return the same cine with fields of `source` replaced."""
        copy = self.with_times(self.times, time_unit=self.time_unit)
        copy.source = replace(self.source, **changes)
        return copy

    @property
    def records(self) -> tuple[FrameRecord, ...] | None:
        """What each frame is, for a cine that a job made; None for one that was read."""
        return self._records

    @property
    def duration(self) -> float:
        """Time from the first frame to the last."""
        return float(self.times[-1] - self.times[0])

    @property
    def fps(self) -> float | None:
        """Mean frames per second, or None for one frame or for frames without times."""
        return (len(self) - 1) / self.duration if len(self) > 1 and self.time_unit == "s" else None

    @property
    def is_colour(self) -> bool:
        """Whether a job sees three channels: stored colour, or indices into a palette."""
        return len(self.shape) == 3 or self.display.palette is not None

    @property
    def levels(self) -> tuple[float, float]:
        """Range that the stored depth means; for floats and deep integers the run's own range."""
        if self._levels is None:
            if self.dtype.kind in "ui" and self.dtype.itemsize <= 2:
                info = np.iinfo(self.dtype)
                self._levels = (float(info.min), float(info.max))
            else:
                lows, highs = zip(
                    *(_finite_range(self.frame(i), i, self.source.path) for i in range(len(self))),
                    strict=True,
                )
                self._levels = (float(min(lows)), float(max(highs)))
        low, high = self._levels
        return (low, high) if high > low else (low, low + 1.0)

    def unit(self, i: int) -> NDArray[np.float32]:
        """Return frame `i` as float32 ``(channel, row, column)`` in [0, 1] over `levels`; palettes resolved.

        Raises:
            InputError: The frame holds NaN or infinity.
        """
        frame = self.frame(i)
        palette = self.display.palette
        if palette is not None:
            index = np.clip(frame.astype(np.int64) - self.display.palette_first, 0, len(palette) - 1)
            colours = palette.astype(np.float32) / np.float32(np.iinfo(palette.dtype).max)
            return np.ascontiguousarray(np.moveaxis(colours[index], -1, 0))
        if frame.dtype.kind == "f":
            _finite_range(frame, i, self.source.path)
        low, high = self.levels
        scaled = ((frame.astype(np.float64) - low) / (high - low)).astype(np.float32)
        return np.ascontiguousarray(np.moveaxis(scaled, -1, 0)) if scaled.ndim == 3 else scaled[None]

    def stored(self, unit: NDArray[Any]) -> NDArray[Any]:
        """Return ``(channel, row, column)`` values in [0, 1] as a frame in stored units: rounded and clamped.

        Palette pixels become the index of the nearest colour of the palette.
        """
        palette = self.display.palette
        values = np.clip(np.asarray(unit, dtype=np.float64), 0.0, 1.0)
        if palette is not None:
            if self._palette_tree is None:
                from scipy.spatial import KDTree

                self._palette_tree = KDTree(palette.astype(np.float64) / np.iinfo(palette.dtype).max)
            index = np.asarray(self._palette_tree.query(np.moveaxis(values, 0, -1))[1])
            return np.asarray(index + self.display.palette_first).astype(self.dtype)
        low, high = self.levels
        scaled = values * (high - low) + low
        if self.dtype.kind in "ui":
            scaled = np.rint(scaled)
        frame = scaled.astype(self.dtype)
        return np.ascontiguousarray(np.moveaxis(frame, 0, -1)) if len(self.shape) == 3 else frame[0]

    @property
    def shown_range(self) -> tuple[float, float]:
        """Stored values shown as black and white: the file's window, else the depth; of deep runs what they use.

        More than 8 bits without a window are seldom used in full, and would be shown black: their range is that of the
        first and last frame, without the outermost thousandth at either end.
        """
        if self.display.window is not None:
            return self.display.window
        if self.dtype.itemsize == 1 or self.is_colour:
            return self.levels
        if self._shown_range is None:
            ends = np.stack([self.frame(0), self.frame(-1)])
            low, high = (float(value) for value in np.percentile(ends, (0.1, 99.9)))
            self._shown_range = (low, high) if high > low else self.levels
        return self._shown_range

    def shown(self, i: int) -> NDArray[np.uint8]:
        """Return frame `i` as an 8-bit picture ``(row, column, 3)``, windowed as `display` says."""
        return self.picture(self.unit(i))

    def picture(self, unit: NDArray[Any]) -> NDArray[np.uint8]:
        """Return ``(channel, row, column)`` values in [0, 1] as an 8-bit picture ``(row, column, 3)``."""
        values = np.moveaxis(np.asarray(unit, dtype=np.float64), 0, -1)
        if not self.is_colour:
            low, high = self.levels
            bottom, top = ((value - low) / (high - low) for value in self.shown_range)
            values = (values - bottom) / max(top - bottom, 1e-12)
        values = np.clip(values, 0.0, 1.0)
        if self.display.inverted:
            values = 1.0 - values
        picture: NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
        return picture if picture.shape[2] == 3 else np.repeat(picture, 3, axis=2)


def _finite_range(frame: NDArray[Any], i: int, path: Path | None) -> tuple[float, float]:
    low, high = float(frame.min()), float(frame.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            f"frame {i} holds values that are not numbers (NaN or infinity)",
            path=path,
            remedy="replace them before interpolation",
        )
    return low, high
