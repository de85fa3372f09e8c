"""NumPy files: ``.npy`` mapped from disk, ``.npz`` by the name of its array; runs of frames and volumes."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cine import Cine, Source
from ..errors import InputError
from ..volume import Volume
from .common import Meaning, Progress, as_native_order, check_plausible, frame_times, native, reading
from .volumes import VolumeMeaning, volume_of

_BLOCK = 1 << 20
_NO_TIMES = "A npy file keeps neither times nor levels; npz, HDF5 and TIFF do."


def read_npy(path: Path, *, source_fps: float | None = None) -> Cine:
    """Read ``(frame, row, column[, 3])``, or one frame ``(row, column)``, mapped from disk.

    Raises:
        InputError: Damaged, pickled, or of another shape.
    """
    with reading(path, "a NumPy array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return cine_of(array, path, format_="npy", source_fps=source_fps)


def read_npy_volume(path: Path) -> Volume:
    """Read ``(slice, row, column[, channel])``, or one slice, mapped from disk; the file states no geometry.

    Raises:
        InputError: Damaged, pickled, or of another shape.
    """
    with reading(path, "a NumPy array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return volume_of(array, path, format_="npy")


def read_npz(
    path: Path, *, name: str | None = None, as_: str = "auto", source_fps: float | None = None
) -> Cine | Volume:
    """Read one array of an archive: a run, or a volume where scanweave says so or an array ``affine`` lies beside it.

    Args:
        path: The archive.
        name: The array, where there are several and none is called ``frames`` or ``voxels``.
        as_: ``auto``, ``cine`` or ``volume``.
        source_fps: Frames per second, in place of the array ``times`` (seconds).

    Raises:
        InputError: Damaged, or the array cannot be chosen.
    """
    with reading(path, "a NumPy archive"), np.load(path, allow_pickle=False) as archive:
        chosen = _choose(list(archive.files), name, path)
        with zipfile.ZipFile(path) as container:
            array = _member(container, chosen, path)
        times = archive["times"] if "times" in archive.files and chosen != "times" else None
        said = str(archive["meaning"]) if "meaning" in archive.files else None
        affine = archive["affine"] if "affine" in archive.files and chosen != "affine" else None
    spatial = VolumeMeaning.parse(said)
    if as_ == "volume" or (as_ == "auto" and times is None and not (spatial is None and affine is None)):
        return volume_of(array, path, format_="npz", affine=affine, meaning=spatial, name=chosen)
    meaning = Meaning.parse(said)
    if times is not None and times.shape != array.shape[:1]:
        times = None
    return cine_of(array, path, format_="npz", source_fps=source_fps, times=times, meaning=meaning, name=chosen)


def write_npy_volume(volume: Volume, path: Path) -> tuple[str, ...]:
    """Write ``(slice, row, column[, channel])`` in the stored dtype; return notes."""
    with path.open("wb") as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(volume.voxels), allow_pickle=False)
    return ("A npy file keeps neither geometry nor scale; npz, HDF5 and NIfTI do.",)


def write_npz_volume(volume: Volume, path: Path) -> tuple[str, ...]:
    """Write ``voxels``, what they mean, and ``affine`` (``(slice, row, column, 1)`` to mm in RAS+) where known."""
    arrays: dict[str, Any] = {"voxels": volume.voxels, "meaning": np.array(VolumeMeaning.of(volume).dumps())}
    if volume.space_unit == "mm":
        arrays["affine"] = volume.affine
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
    return ()


def cine_of(
    array: Any,
    path: Path,
    *,
    format_: str,
    source_fps: float | None = None,
    times: NDArray[Any] | None = None,
    meaning: Meaning | None = None,
    name: str | None = None,
) -> Cine:
    """Make a cine of an array-like whose frames are read when asked for (``array[i]``).

    Args:
        array: ``(frame, row, column[, 3])`` or ``(row, column)``; anything with ``shape``, ``dtype`` and indexing.
        path: The file.
        format_: For `Source.format`.
        source_fps: Frames per second that the user states.
        times: Seconds that the file states.
        meaning: What the file states about stored values.
        name: The array's name in the file.

    Raises:
        InputError: A shape or dtype that is no run of frames.
    """
    dtype, shape = np.dtype(array.dtype), tuple(array.shape)
    where = f"the array {name}" if name else "an array"
    if dtype.kind not in "buif":
        raise InputError(f"{where} of {dtype} holds no grey values", path=path)
    if len(shape) == 3 and shape[-1] in (3, 4):
        raise InputError(
            f"{where} of shape {shape} may be one colour picture or frames {shape[-1]} columns wide",
            path=path,
            remedy="save it as (frame, row, column) or (frame, row, column, 3)",
        )
    single = len(shape) == 2
    if not (single or len(shape) == 3 or (len(shape) == 4 and shape[-1] == 3)):
        raise InputError(f"{where} of shape {shape} is not (frame, row, column[, 3])", path=path)
    count, frame_shape = (1, shape) if single else (shape[0], shape[1:])
    check_plausible(frame_shape, dtype, path)
    seconds, unit = frame_times(count, found=times, source_fps=source_fps)
    meaning = meaning or Meaning()

    def load(i: int) -> NDArray[Any]:
        with reading(path, where):
            return as_native_order(np.asarray(array[:] if single else array[i]))

    return Cine(
        load,
        shape=frame_shape,
        dtype=np.uint8 if dtype.kind == "b" else dtype.newbyteorder("="),
        times=seconds,
        time_unit=unit,
        levels=meaning.levels,
        display=meaning.display,
        source=Source(
            path=path,
            files=(path,),
            format=format_,
            facts={"array": f"{name or path.name}: {' x '.join(map(str, shape))} {dtype}"},
        ),
    )


def write_npy(cine: Cine, path: Path, *, progress: Progress | None = None) -> tuple[str, ...]:
    """Write ``(frame, row, column[, 3])`` in the stored dtype, frame by frame; return notes."""
    with path.open("wb") as stream:
        notes = _stream(cine, stream, progress)
    told = cine.time_unit == "s" or Meaning.of(cine) != Meaning()
    return (*notes, _NO_TIMES) if told else notes


def write_npz(cine: Cine, path: Path, *, progress: Progress | None = None) -> tuple[str, ...]:
    """Write ``frames``, ``times`` in seconds where known, and what the values mean; return notes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("frames.npy", "w", force_zip64=True) as stream:
            notes = _stream(cine, stream, progress)
        extras: dict[str, Any] = {"meaning": np.array(native(cine).meaning.dumps())}
        if cine.time_unit == "s":
            extras["times"] = cine.times
        for name, array in extras.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
    return notes


def _stream(cine: Cine, stream: Any, progress: Progress | None) -> tuple[str, ...]:
    # Plain writes, not a mapped file: a full disk then raises an error instead of killing the process.
    prepared = native(cine)
    shape = (len(cine), *cine.shape[:2], *((3,) if prepared.colour else ()))
    header = {"descr": np.lib.format.dtype_to_descr(prepared.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for i in range(len(cine)):
        stream.write(np.ascontiguousarray(prepared.frame(i)).tobytes())
        if progress:
            progress(i + 1)
    return prepared.notes


def _choose(names: list[str], name: str | None, path: Path) -> str:
    if name is not None:
        if name in names:
            return name
        raise InputError(f"holds no array {name}", path=path, remedy=f"choose one of {', '.join(sorted(names))}")
    for usual in ("frames", "voxels"):
        if usual in names:
            return usual
    if len(names) == 1:
        return names[0]
    raise InputError(
        f"holds {len(names)} arrays: {', '.join(sorted(names))}",
        path=path,
        remedy=f"name one: {path.name}:/NAME" if names else None,
    )


def _member(container: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    """Return an array of an archive: mapped from disk where it is stored plainly, else in memory; checksum tested."""
    info = container.getinfo(f"{name}.npy" if f"{name}.npy" in container.namelist() else name)
    with container.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        check_plausible(shape, dtype, path)
        start = stream.tell()
        if info.compress_type == zipfile.ZIP_STORED and not dtype.hasobject:
            while stream.read(_BLOCK):
                pass  # at its end, zipfile compares the checksum
            offset = _data_offset(path, info) + start
            return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
    with container.open(info) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    # The local header repeats the name, and may have other extra fields than the directory at the end says.
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + int(name) + int(extra)
