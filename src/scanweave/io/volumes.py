"""What the readers and writers of volumes share: what stored voxels mean, arrays and frames as volumes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..cine import Cine, Display, Source
from ..errors import InputError, ScanweaveError, UsageError
from ..grid import Grid
from ..volume import Volume
from .common import as_native_order, check_plausible, reading

NO_GEOMETRY = "The file states no spacing and no orientation; voxels are counted instead of millimetres."
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Affine = Annotated[tuple[_Finite, ...], Field(min_length=16, max_length=16)]


class VolumeMeaning(BaseModel):
    """What stored voxels mean beyond their dtype, written as JSON into containers that have no field for it.

    Attributes:
        kind: Tells a volume from a run of frames (`common.Meaning`).
        affine: From ``(slice, row, column, 1)`` to mm in RAS+, row by row; absent where voxels are counted.
        scale: ``stored * scale + offset`` is the real value.
        offset: See `scale`.
        levels: Range that the stored depth means.
        inverted: The smallest stored value is white.
        window: Stored values shown as black and white.
        time_index: Which phase of a run of volumes this is.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    scanweave: int = 1
    kind: Literal["volume"]
    affine: _Affine | None = None
    scale: _Finite = 1.0
    offset: _Finite = 0.0
    levels: tuple[_Finite, _Finite] | None = None
    inverted: bool = False
    window: tuple[_Finite, _Finite] | None = None
    time_index: int | None = None

    @classmethod
    def of(cls, volume: Volume) -> VolumeMeaning:
        """Return the meaning of a volume's voxels."""
        return cls(
            kind="volume",
            affine=tuple(volume.affine.ravel().tolist()) if volume.space_unit == "mm" else None,
            scale=volume.scale,
            offset=volume.offset,
            levels=volume.stated_levels,
            inverted=volume.display.inverted,
            window=volume.display.window,
            time_index=volume.time_index,
        )

    @classmethod
    def parse(cls, text: object) -> VolumeMeaning | None:
        """Return the meaning that `text` states, or None if `text` is anything else."""
        if not isinstance(text, str) or '"scanweave"' not in text or '"volume"' not in text:
            return None
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    def dumps(self) -> str:
        """Return the JSON, without what is not stated."""
        said = self.model_dump(exclude_defaults=True)
        return json.dumps({"scanweave": self.scanweave, "kind": self.kind} | said)

    @property
    def display(self) -> Display:
        """How the values are meant to be shown."""
        return Display(inverted=self.inverted, window=self.window)


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Name the file in errors of `Grid` and `Volume`, which know none."""
    try:
        yield
    except ScanweaveError as error:
        error.path = error.path or str(path)
        raise


def volume_of(
    array: Any,
    path: Path,
    *,
    format_: str,
    affine: NDArray[Any] | None = None,
    meaning: VolumeMeaning | None = None,
    name: str | None = None,
) -> Volume:
    """Make a volume of an array-like that is read when its voxels are asked for (``array[...]``).

    Args:
        array: ``(slice, row, column[, channel])`` or ``(row, column)``; anything with ``shape``, ``dtype`` and
            indexing.
        path: The file.
        format_: For `Source.format`.
        affine: From ``(slice, row, column, 1)`` to mm in RAS+, as a file of others may state it.
        meaning: What scanweave stated.
        name: The array's name in the file.

    Raises:
        InputError: A shape, dtype or affine that is none of a volume.
    """
    dtype, shape = np.dtype(array.dtype), tuple(array.shape)
    where = f"the array {name}" if name else "an array"
    flat = len(shape) == 2
    if dtype.kind not in "buif" or 0 in shape or not (flat or len(shape) in (3, 4)):
        raise InputError(
            f"{where} of {dtype} and shape {shape} is no volume",
            path=path,
            remedy="save numbers as (slice, row, column) or (slice, row, column, channel)",
        )
    check_plausible(shape, dtype, path)
    if meaning is not None and meaning.affine is not None:
        affine = np.reshape(meaning.affine, (4, 4))
    said = meaning or VolumeMeaning(kind="volume")
    whole = (1, *shape) if flat else shape

    def load() -> NDArray[Any]:
        with reading(path, where):
            voxels = np.asarray(array[...]).reshape(whole)
            return voxels.astype(np.uint8) if dtype.kind == "b" else as_native_order(voxels)

    facts = {"array": f"{name or path.name}: {' x '.join(map(str, shape))} {dtype}"}
    notes = (NO_GEOMETRY,) if affine is None else ()
    with about(path):
        return Volume(
            load,
            grid=Grid.spaced(whole[:3], (1, 1, 1)) if affine is None else Grid(whole[:3], affine),
            dtype=np.uint8 if dtype.kind == "b" else dtype.newbyteorder("="),
            channels=whole[3] if len(whole) == 4 else None,
            scale=said.scale,
            offset=said.offset,
            levels=said.levels,
            space_unit="voxel" if affine is None else "mm",
            time_index=said.time_index,
            display=said.display,
            source=Source(path=path, files=(path,), format=format_, facts=facts, notes=notes),
        )


def volume_of_cine(cine: Cine) -> Volume:
    """Return the frames of a run as slices, for pages and pictures that a user calls a volume."""
    channels = cine.shape[2] if len(cine.shape) == 3 else None
    note = f"The {len(cine)} frames were taken as slices, as asked for. {NO_GEOMETRY}"

    def load() -> NDArray[Any]:
        return np.stack([cine.frame(k) for k in range(len(cine))])

    return Volume(
        load,
        grid=Grid.spaced((len(cine), *cine.shape[:2]), (1, 1, 1)),
        dtype=cine.dtype,
        channels=channels,
        levels=cine.levels if cine.dtype.kind in "ui" and cine.dtype.itemsize <= 2 else None,
        space_unit="voxel",
        display=cine.display,
        source=cine.with_source(notes=(*cine.source.notes, note)).source,
    )


def choose_phase(phases: int, slices: int, path: Path, *, time_index: int | None) -> int | None:
    """Return which of several volumes over time to read; None where there is but one.

    Raises:
        InputError: Several, and none chosen.
        UsageError: There is no such phase.
    """
    if phases == 1 and time_index in (None, 0):
        return None
    if time_index is None:
        raise InputError(
            f"both position ({slices} slices) and time ({phases} phases) vary",
            path=path,
            remedy=f"choose one phase with --as volume --time-index 0 to {phases - 1}",
        )
    if not 0 <= time_index < phases:
        raise UsageError(f"phase {time_index} of {phases}", path=path, remedy=f"count from 0 to {phases - 1}")
    return time_index
