"""HDF5: one dataset of frames, read frame by frame, or of the voxels of a volume."""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..cine import Cine
from ..errors import InputError, UnsupportedError, UsageError
from ..volume import Volume
from .arrays import cine_of
from .common import Meaning, Progress, native, reading
from .volumes import VolumeMeaning, volume_of

_KIND = "an HDF5 file"
_MEANING = "scanweave"


def read_hdf5(
    path: Path, *, dataset: str | None = None, as_: str = "auto", source_fps: float | None = None
) -> Cine | Volume:
    """Read a dataset ``(frame, row, column[, 3])``; the file stays open as long as the result lives.

    Times are taken from a dataset ``times`` (seconds) in the same group, if there is one of fitting length. It is a
    volume ``(slice, row, column[, channel])`` where scanweave says so, or where it has an attribute ``affine`` (from
    ``(slice, row, column, 1)`` to mm in RAS+) and no times.

    Args:
        path: The file.
        dataset: Name of the dataset; without it the file must hold exactly one that can be a run or a volume.
        as_: ``auto``, ``cine`` or ``volume``.
        source_fps: Frames per second, in place of times in the file.

    Raises:
        InputError: Damaged, or the dataset cannot be chosen.
        UnsupportedError: A tomography scan, whose projections differ in angle, not in time.
    """
    with reading(path, _KIND):
        file = h5py.File(path, "r")
        _refuse_tomography(file, path, dataset)
        chosen = file[_choose(file, dataset, path)]
        if not isinstance(chosen, h5py.Dataset):
            raise InputError(f"{chosen.name} is no dataset", path=path, remedy=_candidates_remedy(file, path))
        times = _times_beside(chosen)
        said = chosen.attrs.get(_MEANING)
        affine = np.asarray(chosen.attrs["affine"]) if "affine" in chosen.attrs else None
    frames, name, spatial = _Frames(file, chosen), str(chosen.name), VolumeMeaning.parse(said)
    if as_ == "volume" or (as_ == "auto" and times is None and not (spatial is None and affine is None)):
        return volume_of(frames, path, format_="hdf5", affine=affine, meaning=spatial, name=name)
    return cine_of(
        frames, path, format_="hdf5", source_fps=source_fps, times=times, meaning=Meaning.parse(said), name=name
    )


def write_hdf5(
    cine: Cine, path: Path, *, dataset: str = "/frames", progress: Progress | None = None
) -> tuple[str, ...]:
    """Write a dataset in the stored dtype, one chunk per frame, with ``times`` (seconds) beside it; return notes."""
    if dataset.strip("/").rpartition("/")[2] == "times":
        raise UsageError(f"the dataset {dataset} would be in the place of the times", remedy="name it otherwise")
    prepared = native(cine)
    shape = (len(cine), *cine.shape[:2], *((3,) if prepared.colour else ()))
    with _Disk(path) as disk:
        with h5py.File(disk, "w") as file:
            frames = file.create_dataset(dataset, shape, prepared.dtype, chunks=(1, *shape[1:]))
            frames.attrs[_MEANING] = prepared.meaning.dumps()
            for i in range(len(cine)):
                frames[i] = prepared.frame(i)
                disk.check()
                if progress:
                    progress(i + 1)
            if cine.time_unit == "s":
                times = frames.parent.create_dataset("times", data=cine.times)
                times.attrs["units"] = "s"
        disk.check()  # what closing wrote
    return prepared.notes


def write_hdf5_volume(volume: Volume, path: Path, *, dataset: str = "/voxels") -> tuple[str, ...]:
    """Write a dataset in the stored dtype, one chunk per slice, with its place and meaning as attributes."""
    with _Disk(path) as disk:
        with h5py.File(disk, "w") as file:
            voxels = file.create_dataset(dataset, volume.shape, volume.dtype, chunks=(1, *volume.shape[1:]))
            voxels.attrs[_MEANING] = VolumeMeaning.of(volume).dumps()
            if volume.space_unit == "mm":
                voxels.attrs["affine"] = volume.affine
            for k, plane in enumerate(volume.voxels):
                voxels[k] = plane
                disk.check()
        disk.check()  # what closing wrote
    return ()


class _Disk(FileIO):
    """A new file whose failed writes reach our caller and not the HDF5 library, which crashes on a full disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the failure that a write met, if any."""
        if self._failure is not None:
            raise self._failure

    def write(self, data: Any) -> int:
        """Write all of `data`, or remember why not; nothing more is written after a failure."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self._failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._failure = error
        return size

    def readinto(self, buffer: Any) -> int:
        """Read; what could not be written reads as zeros."""
        whole = memoryview(buffer).cast("B")
        count = super().readinto(whole) or 0
        whole[count:] = bytes(len(whole) - count)
        return len(whole)

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size or 0


class _Frames:
    """A dataset that keeps its file open."""

    def __init__(self, file: h5py.File, dataset: h5py.Dataset) -> None:
        self._file = file
        self._dataset = dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(self._dataset[key])


def _refuse_tomography(file: h5py.File, path: Path, dataset: str | None) -> None:
    """Refuse the Data Exchange layout of synchrotrons: projections with an angle each."""
    if dataset is not None and dataset.strip("/") != "exchange/data":
        return
    group = file.get("exchange")
    if isinstance(group, h5py.Group) and "data" in group and "theta" in group:
        raise UnsupportedError(
            f"is a tomography scan (exchange/data with {len(group['theta'])} angles in exchange/theta): "
            "its projections differ in angle, not in time",
            path=path,
            remedy="reconstruct it with a tomography program; a run of frames at one angle can be read",
        )


def _candidates(file: h5py.File) -> list[str]:
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "buif":
            grey, colour = item.ndim == 3, item.ndim == 4 and item.shape[-1] == 3
            volume = item.ndim == 4 and VolumeMeaning.parse(item.attrs.get(_MEANING)) is not None
            if (grey or colour or volume) and min(item.shape) > 0:
                found.append(f"/{name}")

    file.visititems(visit)
    return found


def _candidates_remedy(file: h5py.File, path: Path) -> str:
    names = _candidates(file)
    if not names:
        return "it holds no dataset of the shape (frame, row, column[, 3])"
    return f"name one of its datasets: {', '.join(f'{path.name}:{name}' for name in names[:8])}"


def _choose(file: h5py.File, dataset: str | None, path: Path) -> str:
    if dataset is not None:
        if dataset not in file:
            raise InputError(f"holds no dataset {dataset}", path=path, remedy=_candidates_remedy(file, path))
        return dataset
    names = _candidates(file)
    if len(names) != 1:
        raise InputError(
            f"holds {len(names)} datasets that could be runs of frames",
            path=path,
            remedy=_candidates_remedy(file, path),
        )
    return names[0]


def _times_beside(frames: h5py.Dataset) -> NDArray[np.float64] | None:
    beside = frames.parent.get("times")
    if not isinstance(beside, h5py.Dataset) or beside.dtype.kind not in "uif" or beside.shape != frames.shape[:1]:
        return None
    return np.asarray(beside[()], dtype=np.float64)
