"""What the readers and writers of every format share: guarded decoding, frame times, and what stored values mean."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..cine import Cine, Display, TimeUnit
from ..errors import InputError, ResourceError, ScanweaveError
from .silence import no_native_stderr

Progress = Callable[[int], None]
"""Called with the number of frames done so far."""

_MAX_EXPANSION = 1100  # no compression in use here makes a file more than this many times smaller (deflate: 1032)
_SMALL = 1 << 26  # a frame of up to 64 MiB is never refused for its size

_Finite = Annotated[float, Field(allow_inf_nan=False)]


@contextmanager
def reading(path: Path | None, what: str, *, native: bool = False) -> Iterator[None]:
    """Turn whatever a third-party decoder throws at damaged bytes into one explained error.

    Args:
        path: The file being decoded.
        what: Its kind with an article, ``"a TIFF file"``.
        native: Also silence what C code prints (libtiff and libpng do, on damage).

    Raises:
        InputError: The decoder failed.
        ResourceError: Memory gave out.
    """
    from .dicom.quiet import quiet  # brings pydicom, which a program that reads nothing does without

    try:
        with (
            no_native_stderr() if native else nullcontext(),
            quiet(),
        ):  # hints on damage: the decoder either fails, or the frame is whole
            yield
    except ScanweaveError:
        raise
    except MemoryError as error:
        raise ResourceError("does not fit into memory", path=path) from error
    except Exception as error:  # decoders of damaged bytes raise anything at all; every case means the same here
        detail = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise InputError(
            f"cannot be read as {what}: {detail}", path=path, remedy="the file may be damaged or cut short"
        ) from error


def check_plausible(shape: Sequence[int], dtype: np.dtype[Any], path: Path) -> None:
    """Refuse a frame that its file cannot hold however well compressed, before memory is asked for.

    Raises:
        InputError: The header states an impossible size.
    """
    size = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
    if size > _SMALL and size > path.stat().st_size * _MAX_EXPANSION:
        raise InputError(
            f"states frames of {'x'.join(map(str, shape))} {dtype}, which {path.stat().st_size} bytes cannot hold",
            path=path,
            remedy="the file may be damaged or cut short",
        )


def frame_times(
    count: int, *, found: ArrayLike | None = None, source_fps: float | None = None
) -> tuple[NDArray[np.float64], TimeUnit]:
    """Return the time of every frame and its unit.

    Args:
        count: Number of frames.
        found: Seconds per frame that the file states.
        source_fps: What the user states; it wins.
    """
    if source_fps is not None:
        return np.arange(count) / source_fps, "s"
    if found is not None:
        return np.asarray(found, dtype=np.float64), "s"
    return np.arange(count, dtype=np.float64), "frame"


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a sorting key by which ``f2.png`` comes before ``f10.png``."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


class Meaning(BaseModel):
    """What stored values mean beyond their dtype, written as JSON into containers that have no field for it.

    Attributes:
        levels: Range that the stored depth means.
        inverted: The smallest stored value is white.
        window: Stored values shown as black and white.
        signed: The container holds the stored signed integers plus half of its range.
        time: Seconds of this frame (one frame per file).
        times: Seconds of every frame (one file per run).
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    scanweave: int = 1
    levels: tuple[_Finite, _Finite] | None = None
    inverted: bool = False
    window: tuple[_Finite, _Finite] | None = None
    signed: bool = False
    time: _Finite | None = None
    times: tuple[_Finite, ...] | None = None

    @classmethod
    def of(cls, cine: Cine, *, times: bool = False) -> Meaning:
        """Return the meaning of the stored values of `cine`, with its times in seconds if asked for and known."""
        shallow = cine.dtype.kind in "ui" and cine.dtype.itemsize <= 2  # deeper levels are found again from the data
        full = (float(np.iinfo(cine.dtype).min), float(np.iinfo(cine.dtype).max)) if shallow else None
        return cls(
            levels=cine.levels if shallow and cine.levels != full else None,
            inverted=cine.display.inverted,
            window=cine.display.window,
            times=tuple(cine.times.tolist()) if times and cine.time_unit == "s" else None,
        )

    @classmethod
    def parse(cls, text: object) -> Meaning | None:
        """Return the meaning that `text` states, or None if `text` is anything else."""
        if not isinstance(text, str) or '"scanweave"' not in text:
            return None
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    def dumps(self) -> str:
        """Return the JSON, without what is not stated."""
        return json.dumps({"scanweave": self.scanweave} | self.model_dump(exclude_defaults=True))

    @property
    def display(self) -> Display:
        """How the values are meant to be shown."""
        return Display(inverted=self.inverted, window=self.window)


@dataclass(frozen=True)
class Prepared:
    """A cine as a container can hold it.

    Attributes:
        frame: Gives frame ``i`` as ``(row, column[, 3])``.
        dtype: Of every frame.
        colour: Three channels rather than none.
        meaning: What a reader needs to undo the preparation.
        notes: What was changed.
    """

    frame: Callable[[int], NDArray[Any]]
    dtype: np.dtype[Any]
    colour: bool
    meaning: Meaning
    notes: tuple[str, ...] = ()


def native(cine: Cine, *, times: bool = False) -> Prepared:
    """Prepare for a container of any dtype: stored values as they are, palettes resolved to RGB."""
    meaning = Meaning.of(cine, times=times)
    palette = cine.display.palette
    if palette is None:
        return Prepared(cine.frame, cine.dtype, len(cine.shape) == 3, meaning)
    first, last = cine.display.palette_first, len(palette) - 1

    def resolved(i: int) -> NDArray[Any]:
        return palette[np.clip(cine.frame(i).astype(np.int64) - first, 0, last)]

    note = "Palette indices were resolved to RGB, since this container keeps no palette."
    plain_meaning = meaning.model_copy(update={"levels": None, "window": None, "inverted": False})
    return Prepared(resolved, palette.dtype, True, plain_meaning, (note,))


def unsigned(cine: Cine) -> Prepared:
    """Prepare for a container of unsigned 8- and 16-bit integers, without loss wherever 16 bits suffice."""
    stored = native(cine)
    if stored.dtype in (np.uint8, np.uint16):
        return stored
    if stored.dtype in (np.int8, np.int16):
        wide: np.dtype[Any] = np.dtype(f"u{stored.dtype.itemsize}")
        half = 1 << (8 * stored.dtype.itemsize - 1)
        return replace(
            stored,
            frame=lambda i: (stored.frame(i).astype(np.int32) + half).astype(wide),
            dtype=wide,
            meaning=stored.meaning.model_copy(update={"signed": True}),
            notes=(*stored.notes, f"Signed values are kept with {half} added; scanweave takes it off on reading."),
        )
    low, high = cine.levels

    def quantised(i: int) -> NDArray[Any]:
        share = (stored.frame(i).astype(np.float64) - low) / (high - low)
        return np.rint(np.clip(np.nan_to_num(share), 0, 1) * 65535).astype(np.uint16)

    note = f"{stored.dtype} values from {low:g} to {high:g} were rounded to 16 bits; TIFF, npy or HDF5 keep them whole."
    kept = Meaning(inverted=cine.display.inverted)
    return replace(stored, frame=quantised, dtype=np.dtype(np.uint16), meaning=kept, notes=(*stored.notes, note))


def restored(frame: NDArray[Any], meaning: Meaning | None) -> NDArray[Any]:
    """Undo `unsigned` for a frame that was read."""
    if meaning is None or not meaning.signed or frame.dtype not in (np.uint8, np.uint16):
        return frame
    half = 1 << (8 * frame.dtype.itemsize - 1)
    return (frame.astype(np.int32) - half).astype(f"i{frame.dtype.itemsize}")


def as_native_order(frame: NDArray[Any]) -> NDArray[Any]:
    """Return `frame` in this machine's byte order; booleans as 0 and 255."""
    if frame.dtype == bool:
        return frame.astype(np.uint8) * np.uint8(255)
    return frame.astype(frame.dtype.newbyteorder("="), copy=False)
