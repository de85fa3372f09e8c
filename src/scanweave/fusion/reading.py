"""The run of one camera from files: any that scanweave reads, HDF5 of synchrotrons, the published experiment folder.

::

    RUN/*.ini                        the published folder: the fast camera's metadata,
    RUN/TIFF16/<one folder>/*.tiff   its frames,
    RUN/<any other folder>/*.tif     the sharp camera's frames, and one *.xml of metadata

Of HDF5 in the APS exchange layout (De Carlo et al., J. Synchrotron Radiation 21, 2014) ``exchange/data`` are the
frames, ``data_white`` and ``data_dark`` beside them the fields; any other dataset is named ``file.h5:/group/name``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from .. import io
from ..cine import Cine
from ..errors import InputError, UnsupportedError, UsageError
from ..io.arrays import cine_of
from ..io.common import natural, reading
from ..io.kinds import kind_of
from .cameras import READERS, CameraRecord, read_record
from .clocks import seconds
from .frames import Plane

Camera = Literal["fast", "sharp"]

_KIND = "an HDF5 file"
_EXCHANGE = "exchange/data"
_WHITE, _DARK = ("data_white", "data_flat", "white", "flat"), ("data_dark", "dark")
_TIMES = ("times", "time")
_STAMPS = ("/defaults/NDArrayTimeStamp", "/entry/instrument/NDAttributes/NDArrayTimeStamp")
_TEXT = (".txt", ".csv")


@dataclass(frozen=True, eq=False)
class CameraRun:
    """What one camera recorded, as its files tell it.

    Attributes:
        cine: Its frames; times in seconds, or the frame number where nothing tells.
        record: Its metadata, or None.
        dark: Mean of frames without light, or None.
        flat: Mean of frames with light and no sample, or None.
        files: What was read beside the frames.
    """

    cine: Cine
    record: CameraRecord | None = None
    dark: Plane | None = None
    flat: Plane | None = None
    files: tuple[Path, ...] = ()

    @property
    def timed(self) -> bool:
        """Whether times are seconds."""
        return self.cine.time_unit == "s"


def read_camera(
    path: Path,
    camera: Camera,
    *,
    fps: float | None = None,
    times: Path | None = None,
    dark: Path | None = None,
    flat: Path | None = None,
) -> CameraRun:
    """Read the run of one camera; frames are decoded when asked for.

    Args:
        path: A run, ``file.h5:/dataset``, or the published experiment folder, which holds both cameras.
        camera: Which of the two.
        fps: Frames per second, in place of what files state.
        times: The camera's metadata, or a text with the seconds of one frame a line; in place of what lies beside.
        dark: A run of frames without light, in place of what the file holds.
        flat: A run of frames with light and no sample.

    Raises:
        InputError: Missing or damaged, or counts of frames and times that differ.
        UnsupportedError: Metadata of an unknown version, or a tomography scan.
        UsageError: A rate that is none.
    """
    found = _read(path, camera)
    beside = times or (None if found.timed or fps is not None else _metadata(_folder(path, camera)))
    if beside is not None:
        found = _timed(found, beside)
    if fps is not None:
        if not (np.isfinite(fps) and fps > 0):
            raise UsageError(f"{fps:g} frames per second of the {camera} camera", remedy="give a number above 0")
        found = replace(found, cine=found.cine.with_times(np.arange(len(found.cine)) / fps))
    return replace(
        found,
        dark=found.dark if dark is None else mean_of(dark),
        flat=found.flat if flat is None else mean_of(flat),
        files=(*found.files, *(one for one in (dark, flat) if one is not None)),
    )


def mean_of(path: Path) -> Plane:
    """Return the mean of all frames of a run, ``(row, column)``."""
    run = io.read(path, as_="cine")
    return _mean(run.frame(i) for i in range(len(run)))


def experiment(path: Path) -> dict[Camera, Path] | None:
    """Return the folders of both cameras' frames in a published experiment folder; None if it is none.

    Raises:
        InputError: It is one, but more than one folder, or none, could hold a camera's frames.
    """
    deep = path / "TIFF16"
    if not deep.is_dir():
        return None
    fast = [one for one in sorted(deep.iterdir(), key=natural) if one.is_dir()]
    sharp = [one for one in sorted(path.iterdir(), key=natural) if one.is_dir() and one != deep]
    for name, place, folders in (("fast", deep, fast), ("sharp", path, sharp)):
        if len(folders) != 1:
            raise InputError(
                f"holds {len(folders)} folders that could be the {name} camera's frames, one expected",
                path=place,
                remedy="keep one recording in it, or name the folders of frames themselves",
            )
    return {"fast": fast[0], "sharp": sharp[0]}


def _folder(path: Path, camera: Camera) -> Path | None:
    """Return where metadata of a camera would lie."""
    if not path.is_dir():
        return None
    inside = experiment(path)
    return path if inside is None or camera == "fast" else inside["sharp"]


def _metadata(folder: Path | None) -> Path | None:
    """Return the one metadata file of a folder, or None."""
    if folder is None:
        return None
    found = sorted(one for one in folder.iterdir() if one.suffix.lower() in READERS and not one.name.startswith("."))
    if len(found) > 1:
        names = ", ".join(one.name for one in found[:4])
        raise InputError(f"holds {len(found)} files of metadata: {names}", path=folder, remedy="name the right one")
    return found[0] if found else None


def _read(path: Path, camera: Camera) -> CameraRun:
    file, dataset = _split(path)
    if file.is_dir():
        inside = experiment(file)
        return CameraRun(io.read(file if inside is None else inside[camera], as_="cine"))
    if not file.is_file():
        raise InputError("does not exist", path=path, remedy="check the name")
    if kind_of(file) == "hdf5":
        found = _exchange(file, dataset)
        if found is not None:
            return found
    return CameraRun(io.read(path, as_="cine"))


def _split(path: Path) -> tuple[Path, str | None]:
    head, mark, name = str(path).rpartition(":/")
    return (Path(head), f"/{name}") if mark and not path.exists() and Path(head).is_file() else (path, None)


def _exchange(path: Path, dataset: str | None) -> CameraRun | None:
    """Read a dataset with its fields; None of a file without the exchange layout in which none is named."""
    with reading(path, _KIND):
        file = h5py.File(path, "r")
        name = dataset or (f"/{_EXCHANGE}" if isinstance(file.get(_EXCHANGE), h5py.Dataset) else None)
        frames = None if name is None else file.get(name)
        if not isinstance(frames, h5py.Dataset):
            file.close()
            return None
        _refuse_tomography(frames, path)
        beside = frames.parent
        dark, flat = (_field(beside, names, frames) for names in (_DARK, _WHITE))
        times = _stamps(file, frames)
        cine = cine_of(_Lazy(frames), path, format_="hdf5", times=times, name=str(frames.name))
    return CameraRun(cine, dark=dark, flat=flat)


class _Lazy:
    """A dataset whose frames are read one by one; it keeps its file open."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._file = dataset.file
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(self._dataset[key])


def _refuse_tomography(frames: Any, path: Path) -> None:
    """Refuse projections at many angles; radiographs at one may state it for each."""
    theta = frames.parent.get("theta")
    if isinstance(theta, h5py.Dataset) and theta.shape[:1] == frames.shape[:1] and np.ptp(theta[()]) > 0:
        raise UnsupportedError(
            f"is a tomography scan ({len(theta)} angles in {theta.name}): its projections differ in angle, not in time",
            path=path,
            remedy="give a run of frames at one angle",
        )


def _field(group: Any, names: Sequence[str], frames: Any) -> Plane | None:
    found = next((group[name] for name in names if isinstance(group.get(name), h5py.Dataset)), None)
    if found is None or found.name == frames.name or 0 in found.shape or found.ndim not in (2, 3):
        return None
    return _mean([found[()]] if found.ndim == 2 else (found[i] for i in range(len(found))))


def _mean(frames: Any) -> Plane:
    total, count = np.zeros((), np.float64), 0
    for frame in frames:
        total, count = total + np.asarray(frame, np.float64), count + 1
    return np.asarray(total / count, np.float32)


def _stamps(file: Any, frames: Any) -> NDArray[np.float64] | None:
    """Return seconds of every frame from datasets that state them."""
    places = [f"{frames.parent.name.rstrip('/')}/{name}" for name in _TIMES]
    for place in (*places, *_STAMPS):
        found = file.get(place)
        if isinstance(found, h5py.Dataset) and found.shape == frames.shape[:1] and found.dtype.kind in "uif":
            return np.asarray(found[()], np.float64)
    return None


def _timed(found: CameraRun, path: Path) -> CameraRun:
    """Return a run with the times that a file states."""
    if path.suffix.lower() in READERS:
        record = read_record(path)
        if not record.linear:
            raise InputError(
                f"Gamma is {record.gamma:g}, so that intensities are not linear",
                path=path,
                remedy="record with gamma 0 or 1; frames of both cameras could not be joined",
            )
        return replace(found, cine=_with_times(found.cine, seconds(record), path), record=record, files=(path,))
    if path.suffix.lower() not in _TEXT:
        raise UnsupportedError(
            "is neither a camera's metadata nor a text of times", path=path, remedy="give .xml, .ini, .txt or .csv"
        )
    try:
        times = np.loadtxt(path, dtype=np.float64, ndmin=1, delimiter=",")
    except (OSError, ValueError) as error:
        raise InputError(
            f"is no list of times: {error}", path=path, remedy="write seconds, one frame a line"
        ) from error
    return replace(found, cine=_with_times(found.cine, times, path), files=(path,))


def _with_times(cine: Cine, times: NDArray[np.float64], path: Path) -> Cine:
    if times.ndim != 1 or len(times) != len(cine):
        raise InputError(
            f"states the times of {len(times)} frames, there are {len(cine)}",
            path=path,
            remedy="give the metadata of this run, and all of its frames",
        )
    if not np.isfinite(times).all() or np.any(np.diff(times) <= 0):
        raise InputError("states times that do not increase", path=path, remedy="state them in the order of frames")
    return cine.with_times(times)
