"""NIfTI out: volumes as they are stored, and displacement fields that ITK reads.

Voxels are written byte for byte, with their slope; the header of a NIfTI source is kept as far as it still holds. A
displacement field has five axes, intent VECTOR (1007) and components in mm along **LPS**: ITK, SimpleITK and ANTs take
such a file as it is (intent DISPVECT, 1006, is along RAS, and ITK turns it round on reading). Both are read back.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO, Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from ..cine import Source
from ..displacement import Displacement
from ..errors import InputError, UnsupportedError, UsageError
from ..grid import Grid
from ..volume import Volume
from .common import reading
from .nifti import KIND, SPATIAL, load_phase, open_nifti, placed, scaling, spacing_only

_VECTOR, _DISPLACEMENT = 1007, 1006
_LPS = np.array([-1, -1, 1], dtype=np.float32)
_LONGEST = 32767  # an axis of NIfTI-1
_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
_COLOUR = 128
_SCANNER, _ALIGNED = 1, 2
_MM, _SECONDS = 2, 8
_LEVEL = 1  # of gzip: as nibabel has it; higher ones cost much time for little


def write_nifti(volume: Volume, path: Path, *, like: Volume | None = None) -> tuple[str, ...]:
    """Write the stored voxels, their slope and their place; gzipped where the name ends in ``.gz``; return notes.

    Args:
        volume: The volume.
        path: ``.nii`` or ``.nii.gz``.
        like: A volume whose NIfTI header is kept instead of the own source's.

    Raises:
        UnsupportedError: A dtype or number of channels that NIfTI has none for.
    """
    notes: list[str] = []
    voxels = volume.voxels
    colour = volume.channels == 3 and volume.dtype == np.uint8
    source = (like or volume).source.header
    kept = source if isinstance(source, Nifti1Header) else None
    header = _header(kept, max(volume.shape))
    _set_type(header, volume.dtype, colour=colour)
    if kept is None or not _has_place(header, volume.grid):
        _set_place(header, volume, notes)
    _set_shape(header, volume, colour=colour)
    plain = colour or (volume.scale, volume.offset) == (1.0, 0.0)
    header["scl_slope"], header["scl_inter"] = (1, 0) if plain else (volume.scale, volume.offset)
    if not plain and (float(header["scl_slope"]), float(header["scl_inter"])) != (volume.scale, volume.offset):
        notes.append(
            f"NIfTI keeps slopes as 32-bit numbers: {volume.scale!r} and {volume.offset!r} were rounded to"
            f" {float(header['scl_slope'])!r} and {float(header['scl_inter'])!r}."
        )
    _write(header, voxels, path, colour=colour)
    return tuple(notes)


def write_displacement(field: Displacement, path: Path, *, like: Volume | None = None) -> tuple[str, ...]:
    """Write a field as ITK reads it: five axes, intent VECTOR, float32 components in mm along LPS.

    Where the file of the volume that it deforms states no orientation, neither does the field's, and its components
    are along columns, rows and slices: programs that guess an orientation guess the same for both, and ITK, to which
    such axes are L, P and S, moves the volume as is meant.

    Args:
        field: The field.
        path: ``.nii`` or ``.nii.gz``.
        like: The volume that it deforms, on its grid.

    Raises:
        UsageError: That one has another number of voxels.
    """
    if like is not None and like.grid.shape != field.grid.shape:
        raise UsageError(f"a field of {field.grid.shape} voxels does not go with a volume of {like.grid.shape}")
    header = _header(None, max(field.grid.shape))
    _set_type(header, np.dtype(np.float32), colour=False)
    components = field.vectors.astype(np.float32)
    if like is None or _states_place(like):
        _set_affine(header, field.grid, _ALIGNED)
        components, along = components * _LPS, b"LPS"
    else:
        header["pixdim"][1:4] = field.grid.spacing[::-1]
        components, along = components @ _axes(field.grid), b"its axes"
    header["dim"] = [5, *field.grid.shape[::-1], 1, 3, 1, 1]
    header["intent_code"], header["intent_name"] = _VECTOR, b"displacement"
    header["descrip"] = b"Displacement in mm along " + along + b"; made at p = source at p + d(p)"
    header["scl_slope"], header["scl_inter"] = 1, 0
    _write(header, components, path, colour=False)
    return ()


def read_displacement(path: Path) -> Displacement:
    """Read a field that scanweave, ITK or ANTs wrote: intent VECTOR is along LPS, DISPVECT along RAS, in mm.

    Of a file that states no orientation, intent VECTOR is along columns, rows and slices, as ITK takes it.

    Raises:
        InputError: Damaged, or no field of three components.
    """
    file = open_nifti(path)
    intent = int(file.header["intent_code"])
    if file.channels != 3 or file.colour or intent not in (_VECTOR, _DISPLACEMENT):
        raise InputError(
            f"is no displacement field: {file.channels or 1} components and intent {intent}",
            path=path,
            remedy="give a NIfTI file of five axes, the last of 3, with intent 1007 (LPS) or 1006 (RAS)",
        )
    grid, facts = placed(file)
    scale, offset = scaling(file)
    stored = load_phase(file, 0)
    placeless = int(file.header["sform_code"]) <= 0 and int(file.header["qform_code"]) <= 0
    with reading(path, KIND):
        components = stored.astype(np.float64) * scale + offset
    if intent == _DISPLACEMENT:
        turned, along = components, "RAS"
    elif placeless:
        turned, along = components @ _axes(grid).T, "columns, rows and slices"
    else:
        turned, along = components * _LPS, "LPS"
    vectors: NDArray[np.floating] = turned if stored.dtype.itemsize > 4 else turned.astype(np.float32)
    facts |= {"Components": f"mm along {along}"}
    source = Source(path=path, files=(path,), format="nifti", header=file.header, facts=facts, notes=tuple(file.notes))
    return Displacement(vectors, grid, source)


def _axes(grid: Grid) -> NDArray[np.float32]:
    """Return the RAS+ unit vectors along columns, rows and slices, as the columns of ``(3, 3)``."""
    return grid.directions[:, ::-1].astype(np.float32)


def _states_place(volume: Volume) -> bool:
    """Return whether a volume, written as NIfTI, says how it is oriented."""
    kept = volume.source.header
    if isinstance(kept, Nifti1Header) and _has_place(kept, volume.grid):
        return int(kept["sform_code"]) > 0 or int(kept["qform_code"]) > 0
    return volume.space_unit == "mm"


def _header(kept: Any, longest: int) -> Any:
    """Return a header for one file, little-endian, with what `kept` says beyond the voxels themselves."""
    large = longest > _LONGEST or isinstance(kept, Nifti2Header)
    header: Any = (Nifti2Header if large else Nifti1Header)(endianness="<")  # type: ignore[no-untyped-call]
    if kept is None:
        header["xyzt_units"] = _MM | _SECONDS
        return header
    for name in header.structarr.dtype.names:
        if name in kept.structarr.dtype.names and name not in ("sizeof_hdr", "magic", "vox_offset"):
            header[name] = kept[name]
    if int(kept["xyzt_units"]) & 0x07 in SPATIAL:
        header["xyzt_units"] = _MM | int(kept["xyzt_units"]) & 0x38  # positions were converted
    return header


def _set_type(header: Any, dtype: np.dtype[Any], *, colour: bool) -> None:
    code = _COLOUR if colour else _CODES.get(f"{dtype.kind}{dtype.itemsize}")
    if code is None:
        raise UnsupportedError(f"NIfTI has no {dtype} voxels", remedy="convert them, or write .npz or .h5")
    header["datatype"], header["bitpix"] = code, 24 if colour else 8 * dtype.itemsize


def _set_shape(header: Any, volume: Volume, *, colour: bool) -> None:
    columns_first = volume.grid.shape[::-1]
    if volume.channels is not None and not colour:
        shape: tuple[int, ...] = (*columns_first, 1, volume.channels)
        intent = _VECTOR
    else:
        flat = int(header["dim"][0]) == 2 and volume.grid.shape[0] == 1  # as its source was
        shape = columns_first[:2] if flat else columns_first
        intent = 0 if header["intent_code"] in (_VECTOR, _DISPLACEMENT) else int(header["intent_code"])
    header["dim"] = [len(shape), *shape, *[1] * (7 - len(shape))]
    header["intent_code"] = intent


def _has_place(header: Any, grid: Grid) -> bool:
    """Return whether a header that was kept already says where the voxels lie, to the last bit."""
    if int(header["sform_code"]) > 0:
        stated = header.get_sform()
    elif int(header["qform_code"]) > 0:
        stated = header.get_qform()
    else:
        stated = spacing_only(header["pixdim"][1:4], grid.shape)
    return bool(np.array_equal(np.asarray(stated, dtype=np.float64), grid.nifti_affine))


def _set_place(header: Any, volume: Volume, notes: list[str]) -> None:
    if volume.space_unit == "mm":
        _set_affine(header, volume.grid, int(header["sform_code"]) or int(header["qform_code"]) or _SCANNER)
        return
    header["qform_code"] = header["sform_code"] = 0
    header["pixdim"][1:4] = volume.spacing[::-1]
    notes.append("No geometry is known, so none was written: qform and sform codes are 0, every spacing is 1.")


def _set_affine(header: Any, grid: Grid, code: int) -> None:
    header.set_sform(grid.nifti_affine, code)
    header["pixdim"][1:4] = grid.spacing[::-1]
    # A qform has no shear; one that would say something else than the sform is left out.
    header.set_qform(grid.nifti_affine, code, strip_shears=True)
    if not np.allclose(header.get_qform(), grid.nifti_affine, atol=1e-3 * min(grid.spacing)):
        header["qform_code"] = 0


def _write(header: Any, voxels: NDArray[Any], path: Path, *, colour: bool) -> None:
    header["vox_offset"] = 0  # nibabel puts the least
    columns_first = voxels if colour else np.moveaxis(voxels, 3, 0) if voxels.ndim == 4 else voxels
    little = columns_first.dtype.newbyteorder("<")
    with path.open("wb") as file:
        stream: IO[bytes] | gzip.GzipFile = file
        if path.name.lower().endswith(".gz"):
            # Neither name nor time in it, so that equal volumes give equal files.
            stream = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0)
        header.write_to(stream)
        stream.write(bytes(int(header["vox_offset"]) - stream.tell()))
        for plane in columns_first:
            stream.write(np.ascontiguousarray(plane, dtype=little).tobytes())
        if stream is not file:
            stream.close()
