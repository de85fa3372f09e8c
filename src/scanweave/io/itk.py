"""MetaImage and NRRD in and out, through SimpleITK, which is imported when first needed.

ITK counts along LPS; the affine is turned to RAS+ here and back. Voxels are read when asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..cine import Source
from ..errors import InputError, OutputError, UnsupportedError
from ..grid import LPS_TO_RAS, Grid
from ..volume import Volume
from .common import as_native_order, check_plausible, reading
from .volumes import VolumeMeaning, about, choose_phase

_KINDS = {"metaimage": ("MetaImageIO", "a MetaImage file"), "nrrd": ("NrrdImageIO", "an NRRD file")}
_DTYPES = {
    "8-bit unsigned integer": "u1",
    "8-bit signed integer": "i1",
    "16-bit unsigned integer": "u2",
    "16-bit signed integer": "i2",
    "32-bit unsigned integer": "u4",
    "32-bit signed integer": "i4",
    "64-bit unsigned integer": "u8",
    "64-bit signed integer": "i8",
    "32-bit float": "f4",
    "64-bit float": "f8",
}
_VECTOR = "vector of "
_MEANING = "scanweave"
_HEAD = 1 << 16
_NO_NUMBERS = (
    rb"(?mi)^(Offset|Origin|Position|TransformMatrix|Rotation|Orientation|ElementSpacing) *=[^\n]*\b(?:nan|inf)"
)


@dataclass(frozen=True)
class ItkHeader:
    """What ITK reads of a header.

    Attributes:
        size: Columns, rows, slices, phases as far as there are.
        spacing: Of each axis, in mm.
        origin: Of the first voxel along LPS, in mm.
        direction: Row by row: column k is the direction of axis k along LPS.
        pixel: ITK's name of the type of voxels.
        channels: Components per voxel.
        metadata: All further fields.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    pixel: str
    channels: int
    metadata: dict[str, str]

    @property
    def grid(self) -> Grid:
        """Where the voxels lie; a picture of two axes is one slice, 1 mm thick."""
        axes = min(3, len(self.size))
        matrix = np.reshape(self.direction, (len(self.size),) * 2)[:axes, :axes]
        lps = np.eye(4)
        lps[:axes, :axes] = matrix * np.array(self.spacing[:axes])
        lps[:axes, 3] = self.origin[:axes]
        columns, rows, slices = (*self.size[:3], 1)[:3]
        return Grid.of_nifti((slices, rows, columns), LPS_TO_RAS @ lps)


def read_itk(path: Path, *, kind: str, time_index: int | None = None) -> Volume:
    """Read a volume, or one phase of several.

    Args:
        path: The header's file, with voxels in it or beside it.
        kind: ``metaimage`` or ``nrrd``.
        time_index: Which phase of a file of four axes, 0-based.

    Raises:
        InputError: Damaged, its voxels missing, no sound place, or several phases and none chosen.
        UnsupportedError: Complex voxels, or more than four axes.
    """
    data = _data_file(path)
    reader, header = _information(path, kind)
    vector = header.pixel.startswith(_VECTOR)
    name = header.pixel.removeprefix(_VECTOR)
    if name not in _DTYPES or not 2 <= len(header.size) <= 4:
        raise UnsupportedError(
            f"holds {header.pixel} on {len(header.size)} axes", path=path, remedy="save grey values on two to four axes"
        )
    dtype = np.dtype(_DTYPES[name])
    if data is not None:
        check_plausible((*header.size, header.channels), dtype, data)
    phases = header.size[3] if len(header.size) == 4 else 1
    phase = choose_phase(phases, header.size[2] if len(header.size) > 2 else 1, path, time_index=time_index)
    said = VolumeMeaning.parse(header.metadata.get(_MEANING)) or VolumeMeaning(kind="volume")

    def load() -> NDArray[Any]:
        with _reading(path, kind):
            if len(header.size) == 4:
                reader.SetExtractIndex([0, 0, 0, phase or 0])
                reader.SetExtractSize([*header.size[:3], 0])
            voxels = sitk.GetArrayFromImage(reader.Execute())
            return as_native_order(voxels[None] if len(header.size) == 2 else voxels)

    with about(path):
        return Volume(
            load,
            grid=header.grid,
            dtype=dtype,
            channels=header.channels if vector else None,
            scale=said.scale,
            offset=said.offset,
            levels=said.levels,
            time_index=said.time_index if phase is None else phase,
            display=said.display,
            source=_source(path, kind, header),
        )


def write_itk(volume: Volume, path: Path) -> tuple[str, ...]:
    """Write the stored voxels, compressed without loss; scale and offset go into a field of scanweave's; return notes.

    Raises:
        UnsupportedError: A dtype that ITK has none for.
        OutputError: It cannot be written.
    """
    if f"{volume.dtype.kind}{volume.dtype.itemsize}" not in _DTYPES.values():
        raise UnsupportedError(f"this format has no {volume.dtype} voxels", remedy="convert them, or write .npz or .h5")
    image = sitk.GetImageFromArray(volume.voxels, isVector=volume.channels is not None)
    spacing, origin, direction = _place(volume)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    meaning = VolumeMeaning.of(volume).model_copy(update={"affine": None})  # the format says it itself
    if meaning != VolumeMeaning(kind="volume"):
        image.SetMetaData(_MEANING, meaning.dumps())
    try:
        with _reading(path, "metaimage" if path.suffix == ".mha" else "nrrd"):
            sitk.WriteImage(image, str(path), useCompression=True)
    except InputError as error:
        raise OutputError(error.reason, path=path) from error
    if (volume.scale, volume.offset) == (1.0, 0.0):
        return ()
    return ("Scale and offset are kept in a field that scanweave reads; other programs show stored values.",)


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """As `common.reading`, with the one telling sentence of an ITK error, which comes last and names source files."""
    with reading(path, _KINDS[kind][1], native=True):
        try:
            yield
        except RuntimeError as error:
            said = [line for line in str(error).strip().split("\n") if not line.startswith("Reason:")][-1]
            raise ValueError(re.sub(r"^.*ITK ERROR: (?:\w+\(\w+\): )?", "", said)) from error


def _data_file(path: Path) -> Path | None:
    """Look through the header's text: return the file that the voxels lie in, None for a list or pattern of several.

    Raises:
        InputError: That file is missing, or the place holds NaN.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    wrong = re.search(_NO_NUMBERS, head)
    if wrong:  # ITK would take zeros
        raise InputError(f"its {wrong[1].decode()} holds values that are not numbers", path=path, remedy="mend it")
    found = re.search(rb"(?mi)^(?:ElementDataFile *=|data ?file:) *([^\r\n]+?) *$", head)
    name = found[1].decode("utf-8", "replace") if found else "LOCAL"
    if name == "LOCAL":
        return path
    if name.startswith("LIST") or "%" in name or " " in name:
        return None
    data = path.parent / name
    if not data.is_file():
        raise InputError(f"is a header whose voxels are missing: {name}", path=path, remedy="put both files together")
    return data


def _information(path: Path, kind: str) -> tuple[Any, ItkHeader]:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_KINDS[kind][0])
    reader.SetFileName(str(path))
    with _reading(path, kind):
        reader.ReadImageInformation()
        header = ItkHeader(
            size=tuple(int(n) for n in reader.GetSize()),
            spacing=tuple(reader.GetSpacing()),
            origin=tuple(reader.GetOrigin()),
            direction=tuple(reader.GetDirection()),
            pixel=str(sitk.GetPixelIDValueAsString(reader.GetPixelID())),
            channels=int(reader.GetNumberOfComponents()),
            metadata={key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()},
        )
    if not header.size or min(header.size) < 1:
        raise InputError(f"states the size {header.size}", path=path, remedy="the file may be damaged")
    return reader, header


def _source(path: Path, kind: str, header: ItkHeader) -> Source:
    notes = []
    if kind == "nrrd" and not header.metadata.get("NRRD_space"):
        notes.append("The file names no anatomical space; its axes were taken as LPS.")
    facts = {
        "Axes": " x ".join(map(str, header.size)),
        "Stored as": header.pixel,
        "Orientation": f"{header.grid.codes} (columns, rows, slices)",
    }
    return Source(path=path, files=(path,), format=kind, header=header, facts=facts, notes=tuple(notes))


def _place(volume: Volume) -> tuple[list[float], list[float], list[float]]:
    """Return spacing, origin and direction: those of an ITK source to the last bit, where they still hold."""
    header = volume.source.header
    if isinstance(header, ItkHeader) and len(header.size) == 3 and np.array_equal(header.grid.affine, volume.affine):
        return list(header.spacing), list(header.origin), list(header.direction)
    lps = LPS_TO_RAS @ volume.grid.nifti_affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return spacing.tolist(), lps[:3, 3].tolist(), (lps[:3, :3] / spacing).ravel().tolist()
