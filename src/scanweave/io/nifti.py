"""NIfTI in: one file or a ``.hdr`` and ``.img`` pair, versions 1 and 2, plain or gzipped. nibabel knows the header.

Which affine holds: the sform where its code is above zero, else the qform where its code is, else spacings alone.
Voxels are read when asked for, those of a plain file mapped from disk.
"""

from __future__ import annotations

import gzip
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from numpy.typing import NDArray

from ..cine import Cine, Display, Source
from ..errors import InputError, UnsupportedError
from ..grid import Grid
from ..volume import Volume
from .common import as_native_order, check_plausible, frame_times, reading
from .volumes import about, choose_phase

KIND = "a NIfTI file"
SPATIAL = {1: ("m", 1000.0), 2: ("mm", 1.0), 3: ("um", 1e-3)}
"""Code of a unit of length -> its name, and millimetres in it."""
_TEMPORAL = {8: 1.0, 16: 1e-3, 24: 1e-6}
_COLOUR = 128
_BLOCK = 1 << 24
_LONGEST_HEADER = 540
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_REFUSED = {1: "1-bit", 32: "complex64", 1536: "float128", 1792: "complex128", 2048: "complex256", 2304: "RGBA"}
_DISAGREE = 1e-2  # of a voxel, at a corner

# nibabel reports what it mends through logging; what matters here is told by notes and errors.
logging.getLogger("nibabel.global").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Nifti:
    """A header, understood.

    Attributes:
        path: The header's file.
        data: The file that the voxels lie in.
        header: nibabel's header.
        dtype: Of the stored values, in the file's byte order.
        size: Length of all seven axes (column, row, slice, time, channel, ...).
        colour: Stored as RGB triples.
        notes: Oddities.
    """

    path: Path
    data: Path
    header: Any
    dtype: np.dtype[Any]
    size: tuple[int, ...]
    colour: bool
    notes: list[str]

    @property
    def channels(self) -> int | None:
        """Length of the channel axis, or None."""
        return 3 if self.colour else self.size[4] if self.size[4] > 1 else None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return self.size[2], self.size[1], self.size[0]


def read_nifti(
    path: Path, *, as_: str = "auto", time_index: int | None = None, source_fps: float | None = None
) -> Volume | Cine:
    """Read a volume, one phase of several, or one slice over time as a cine.

    Args:
        path: ``.nii``, ``.nii.gz``, or the ``.hdr`` of a pair.
        as_: ``auto``, ``volume`` or ``cine``.
        time_index: Which phase of a 4-D file, 0-based.
        source_fps: Frames per second of a cine, in place of what the file says.

    Returns:
        A `Volume`; a `Cine` where only time varies, or where a cine is asked for.

    Raises:
        InputError: Damaged, without a usable affine, or both slices and phases vary.
        UnsupportedError: Complex or other voxels that are no grey values.
    """
    file = open_nifti(path)
    phases, slices = file.size[3], file.size[2]
    if as_ == "cine" or (as_ == "auto" and slices == 1 and phases > 1 and time_index is None):
        return _cine(file, source_fps)
    chosen = choose_phase(phases, slices, path, time_index=time_index)
    grid, facts = placed(file)
    scale, offset = scaling(file)
    with about(path):
        return Volume(
            lambda: load_phase(file, chosen or 0),
            grid=grid,
            dtype=file.dtype.newbyteorder("="),
            channels=file.channels,
            scale=scale,
            offset=offset,
            time_index=chosen,
            display=_display(file, scale, offset),
            source=_source(file, facts, scale, offset),
        )


def open_nifti(path: Path) -> Nifti:
    """Read and check a header.

    Raises:
        InputError: Damaged, or without its ``.img``.
        UnsupportedError: Voxels that are no grey values.
    """
    with reading(path, KIND), _opened(path) as stream:
        head = stream.read(_LONGEST_HEADER)
        two, single = head[4:6] in (b"n+", b"ni"), b"n+" in (head[4:6], head[344:346])
        _check_size(head, 540 if two else 348, path)
        stream.seek(0)
        kinds = (Nifti2Header, Nifti2PairHeader) if two else (Nifti1Header, Nifti1PairHeader)
        header = kinds[0 if single else 1].from_fileobj(stream, check=False)
    size = _size(header, path)
    dtype, colour = _dtype(header, path)
    data = path if single else _partner(path)
    start, least = float(header["vox_offset"]), {(0, 1): 352, (1, 1): 544}.get((two, single), 0)
    if not (np.isfinite(start) and start >= least):
        raise InputError(
            f"its voxels are said to start at byte {start:g}, within its header", path=path, remedy="mend its header"
        )
    check_plausible(size if not colour else (*size, 3), dtype, data)
    _check_length(data, int(start) + int(np.prod(size, dtype=object)) * dtype.itemsize * (3 if colour else 1))
    return Nifti(path, data, header, dtype, size, colour, [])


def placed(file: Nifti) -> tuple[Grid, dict[str, str]]:
    """Return where the voxels lie, and facts on how the file says it.

    Raises:
        InputError: The affine that holds is none.
    """
    header = file.header
    q, s = int(header["qform_code"]), int(header["sform_code"])
    with reading(file.path, KIND):
        sform = header.get_sform() if s > 0 else None
        qform = _qform(file) if q > 0 else None
    if sform is not None:
        affine, origin = sform, f"sform, code {s}"
    elif qform is not None:
        affine, origin = qform, f"qform, code {q}"
    else:
        affine, origin = spacing_only(_spacings(file), file.shape), "spacings alone"
        file.notes.append(
            "The file states no orientation (qform and sform codes are 0); columns were taken to go to the left, rows"
            " to the front, slices to the head."
        )
    steps = [float(step) for step in header["pixdim"][1:4]]
    if min(steps) < 0:
        stated = f"its header states a negative spacing, {' x '.join(f'{step:g}' for step in steps)}"
        if sform is None:
            raise InputError(stated, path=file.path, remedy="mend its header: which way axes run is said by a form")
        file.notes.append(f"{stated[0].upper()}{stated[1:]}; the sform places the voxels.")
    with about(file.path):
        grid = Grid.of_nifti(file.shape, _in_mm(file, affine))
        _compare_forms(file, sform, qform)
    facts = {"Orientation": f"{grid.codes} (columns, rows, slices), by the {origin}"}
    return grid, facts


def scaling(file: Nifti) -> tuple[float, float]:
    """Return slope and intercept; a slope of zero or NaN means that there is none (NIfTI-1, scl_slope)."""
    slope, offset = float(file.header["scl_slope"]), float(file.header["scl_inter"])
    if file.colour or slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite(slope) or np.isinf(offset):
        raise InputError(f"its slope is {slope:g} with intercept {offset:g}", path=file.path, remedy="mend its header")
    return slope, 0.0 if np.isnan(offset) else offset


def load_phase(file: Nifti, phase: int) -> NDArray[Any]:
    """Return one phase ``(slice, row, column[, channel])`` in stored units, native byte order."""
    shape = file.size[:3] if file.colour or file.channels is None else (*file.size[:3], file.size[4])
    dtype = np.dtype([("rgb", "u1", (3,))]) if file.colour else file.dtype
    length = int(np.prod(shape, dtype=object)) * dtype.itemsize
    start = int(file.header["vox_offset"]) + phase * length
    with reading(file.data, KIND):
        if _is_zipped(file.data):
            with gzip.open(file.data, "rb") as stream:
                stream.seek(start)
                array = np.frombuffer(_exactly(stream, length), dtype).reshape(shape, order="F")
        else:
            array = np.memmap(file.data, dtype, "r", start, shape, "F")
        colours = array["rgb"] if file.colour else array
        return as_native_order(np.transpose(colours, (2, 1, 0, *range(3, colours.ndim))))


def _cine(file: Nifti, source_fps: float | None) -> Cine:
    slices, phases = file.size[2], file.size[3]
    if slices > 1 and phases > 1:
        raise InputError(
            f"both position ({slices} slices) and time ({phases} phases) vary, and a run has one position",
            path=file.path,
            remedy=f"save one slice over time, or choose a phase with --as volume --time-index 0 to {phases - 1}",
        )
    if file.channels not in (None, 3):
        raise UnsupportedError(f"has {file.channels} channels per voxel, neither grey nor colour", path=file.path)
    scale, offset = scaling(file)
    step = float(file.header["pixdim"][4]) * _TEMPORAL.get(int(file.header["xyzt_units"]) & 0x38, np.nan)
    known = phases > 1 and np.isfinite(step) and step > 0
    times, unit = frame_times(
        max(phases, slices), found=np.arange(phases) * step if known else None, source_fps=source_fps
    )
    if slices > 1:
        file.notes.append(f"The {slices} slices were taken as one run, as asked for.")
    whole: list[NDArray[Any]] = []

    def load(i: int) -> NDArray[Any]:
        if not whole:  # once: a gzipped file would be inflated anew for every frame
            whole.append(
                load_phase(file, 0) if slices > 1 else np.concatenate([load_phase(file, t) for t in range(phases)])
            )
        return np.asarray(whole[0][i])

    return Cine(
        load,
        shape=(*file.shape[1:], *((3,) if file.channels else ())),
        dtype=file.dtype.newbyteorder("="),
        times=times,
        time_unit=unit,
        display=_display(file, scale, offset),
        source=_source(file, {}, scale, offset),
    )


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if _is_zipped(path) else path.open("rb")


def _exactly(stream: gzip.GzipFile, length: int) -> bytearray:
    whole = bytearray(length)
    rest = memoryview(whole)
    while len(rest):
        count = stream.readinto(rest[:_BLOCK])
        if not count:
            raise EOFError(f"{length - len(rest)} of {length} bytes of voxels are there")
        rest = rest[count:]
    return whole


def _check_size(head: bytes, expected: int, path: Path) -> None:
    stated = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if expected not in stated or len(head) < expected:
        raise InputError(
            f"has a header of {min(len(head), min(stated))} bytes where NIfTI has {expected}",
            path=path,
            remedy="it is damaged or cut short; fetch the file again",
        )


def _size(header: Any, path: Path) -> tuple[int, ...]:
    """Return the length of seven axes."""
    dim = [int(n) for n in header["dim"]]
    if not 1 <= dim[0] <= 7 or any(n < 1 for n in dim[1 : dim[0] + 1]):
        raise InputError(f"its header states the axes {dim[: 1 + max(1, min(dim[0], 7))]}", path=path, remedy="mend it")
    size = tuple((dim[1 : dim[0] + 1] + [1] * 7)[:7])
    if max(size[5:]) > 1 or (size[3] > 1 and size[4] > 1):
        stated = " x ".join(str(n) for n in size)
        raise UnsupportedError(
            f"has the axes {stated}: more than slices over time, or slices with channels",
            path=path,
            remedy="save one of them apart",
        )
    return size


def _dtype(header: Any, path: Path) -> tuple[np.dtype[Any], bool]:
    code = int(header["datatype"])
    if code in _REFUSED:
        raise UnsupportedError(
            f"holds {_REFUSED[code]} voxels, which are no grey values", path=path, remedy="save magnitudes or RGB"
        )
    if code == _COLOUR:
        return np.dtype(np.uint8), True
    if code not in _TYPES:
        raise InputError(f"states voxels of the unknown type {code}", path=path, remedy="the file may be damaged")
    return np.dtype(_TYPES[code]).newbyteorder(header.endianness), False


def _partner(path: Path) -> Path:
    name = path.name[: -len(".gz")] if path.name.lower().endswith(".gz") else path.name
    stem = name[: -len(".hdr")] if name.lower().endswith(".hdr") else name
    for suffix in (".img", ".img.gz", ".IMG"):
        if (found := path.with_name(stem + suffix)).is_file():
            return found
    raise InputError(f"is a header whose voxels are missing: {stem}.img", path=path, remedy="put both files together")


def _check_length(data: Path, needed: int) -> None:
    """Refuse a plain file that is too short; a gzipped one shows it when it is inflated."""
    there = data.stat().st_size
    if there < needed and not _is_zipped(data):
        raise InputError(f"holds {there} of {needed} bytes", path=data, remedy="it was cut short; fetch the file again")


def _qform(file: Nifti) -> NDArray[np.float64]:
    spacing = _spacings(file)
    quaternion = np.array([float(file.header[f"quatern_{axis}"]) for axis in "bcd"])
    if not np.all(np.isfinite(quaternion)):
        raise InputError("its qform holds values that are not numbers", path=file.path, remedy="mend its header")
    mended = file.header.copy()
    mended["pixdim"][1:4] = spacing
    if float(mended["pixdim"][0]) not in (-1.0, 1.0):
        mended["pixdim"][0] = 1
    return np.asarray(mended.get_qform(), dtype=np.float64)


def spacing_only(spacing: Any, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return NIfTI's method 1 as nibabel reads it: the middle voxel at the origin, columns to the left.

    Args:
        spacing: Of columns, rows, slices.
        shape: Slices, rows, columns.
    """
    steps = np.abs(np.asarray(spacing, dtype=np.float64)) * (-1, 1, 1)
    middle = (np.array(shape[::-1]) - 1) / 2
    return np.vstack([np.column_stack([np.diag(steps), -middle * steps]), [0, 0, 0, 1]])


def _spacings(file: Nifti) -> list[float]:
    stated = [abs(float(step)) for step in file.header["pixdim"][1:4]]
    if file.size[2] == 1 and not stated[2] > 0:
        file.notes.append("The file states no thickness of its one slice; 1 was taken.")
        stated[2] = 1.0
    return stated


def _in_mm(file: Nifti, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    name, factor = SPATIAL.get(int(file.header["xyzt_units"]) & 0x07, ("mm", 1.0))
    if factor != 1.0:
        file.notes.append(f"The file counts in {name}; positions were converted to mm.")
    in_mm: NDArray[np.float64] = np.diag([factor, factor, factor, 1.0]) @ affine if factor != 1.0 else affine
    return np.asarray(in_mm, dtype=np.float64)


def _compare_forms(file: Nifti, sform: NDArray[Any] | None, qform: NDArray[Any] | None) -> None:
    """Note where the file contradicts the sform that was used: its qform, or (as in ACDC's files) its spacings."""
    if sform is None:
        return
    if qform is not None and np.all(np.isfinite(qform)):
        corner = np.array([*(n - 1 for n in file.size[:3]), 1.0])
        gaps = [np.linalg.norm((sform - qform) @ point) for point in (corner, np.array([0, 0, 0, 1.0]))]
        if max(gaps) > _DISAGREE * min(np.linalg.norm(sform[:3, :3], axis=0)):
            file.notes.append(f"sform and qform disagree by up to {max(gaps):.3g} mm; the sform was used.")
    said = np.linalg.norm(sform[:3, :3], axis=0)
    stated = np.abs(np.asarray(file.header["pixdim"][1:4], dtype=np.float64))
    axes = slice(0, 3 if file.size[2] > 1 else 2)
    if np.all(stated[axes] > 0) and not np.allclose(said[axes], stated[axes], rtol=_DISAGREE):
        by_sform, by_pixdim = (" x ".join(f"{step:g}" for step in steps) for steps in (said, stated))
        file.notes.append(
            f"The sform says a spacing of {by_sform} mm (columns, rows, slices), pixdim (which ITK takes) {by_pixdim};"
            " the sform was used (override with --spacing SLICE ROW COLUMN)."
        )


def _display(file: Nifti, scale: float, offset: float) -> Display:
    low, high = float(file.header["cal_min"]), float(file.header["cal_max"])
    if not (np.isfinite(low) and np.isfinite(high) and high > low) or file.colour:
        return Display()
    bottom, top = sorted((bound - offset) / scale for bound in (low, high))
    return Display(window=(bottom, top))


def _source(file: Nifti, facts: dict[str, str], scale: float, offset: float) -> Source:
    header = file.header
    unit = SPATIAL.get(int(header["xyzt_units"]) & 0x07, ("not stated", 1.0))[0]
    plain = (scale, offset) == (1.0, 0.0)
    return Source(
        path=file.path,
        files=tuple(dict.fromkeys((file.path, file.data))),
        format="nifti",
        header=header,
        facts={
            "Version": "NIfTI-2" if isinstance(header, Nifti2Header) else "NIfTI-1",
            "Axes": " x ".join(str(n) for n in header["dim"][1 : 1 + int(header["dim"][0])]),
            "Stored as": f"{'RGB of ' if file.colour else ''}{file.dtype.name}",
            "Unit of length": unit,
            **facts,
            **({} if plain else {"Real value": f"stored x {scale:g} + {offset:g}"}),
        },
        notes=tuple(dict.fromkeys(file.notes)),
    )
