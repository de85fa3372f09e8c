"""Single pictures (PNG, JPEG, BMP, one-page TIFF): many of them in order are a run.

EXIF orientation is noted and not applied, so that pixels stay as stored. Truncated pictures are refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..cine import Cine, Source
from ..errors import InputError, OutputError, UnsupportedError, UsageError
from .common import Meaning, Progress, as_native_order, check_plausible, frame_times, reading, restored, unsigned
from .kinds import IMAGES, kind_of, require_known

_ORIENTATION = 0x0112
_TEXT_KEY = "scanweave"
_JPEG_QUALITY = 95
_NAMES = {"png": "a PNG picture", "jpeg": "a JPEG picture", "bmp": "a BMP picture", "tiff": "a TIFF file"}


@dataclass(frozen=True)
class Look:
    """What a picture's header says.

    Attributes:
        kind: ``png``, ``jpeg``, ``bmp`` or ``tiff``.
        shape: As decoded, ``(row, column)`` or ``(row, column, 3)``.
        dtype: As decoded.
        meaning: What scanweave wrote into it, or None.
        notes: Oddities, one sentence each, without the file's name.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    meaning: Meaning | None = None
    notes: tuple[str, ...] = ()


def look(path: Path) -> Look:
    """Read a picture's header.

    Raises:
        InputError: Not a picture, damaged, or several in one file.
        UnsupportedError: A colour model that is neither grey nor RGB.
    """
    kind = kind_of(path)
    require_known(kind, path)
    if kind not in IMAGES:
        raise InputError(
            f"is no single picture ({kind})", path=path, remedy="give pictures only, or this run by itself"
        )
    if kind == "tiff":
        return _look_at_tiff(path)
    with reading(path, _NAMES[kind]), Image.open(path, formats=[kind.upper()]) as image:
        if kind == "png" and getattr(image, "is_animated", False):
            raise UnsupportedError("is an animated PNG", path=path, remedy="convert it to GIF or mp4")
        channels, dtype = _layout(image, path)
        shape = (image.height, image.width, *((3,) if channels == 3 else ()))
        check_plausible(shape, dtype, path)
        return Look(kind, shape, dtype, Meaning.parse(image.info.get(_TEXT_KEY)), tuple(_oddities(image)))


def load(path: Path) -> NDArray[Any]:
    """Decode a picture as `look` announces it.

    Raises:
        InputError: Damaged or cut short.
        UnsupportedError: Transparent pixels, or a colour model that is neither grey nor RGB.
    """
    kind = kind_of(path)
    if kind == "tiff":
        from .tiff import read_tiff

        return read_tiff(path).frame(0)
    require_known(kind, path)
    with reading(path, _NAMES.get(kind, kind), native=True), Image.open(path, formats=[kind.upper()]) as image:
        channels, dtype = _layout(image, path)
        image.load()  # raises on damage, also where the pixels are then decoded by OpenCV
        deep = dtype == np.uint16
        pixels = _deep_pixels(path) if deep else _shallow_pixels(image)
        if pixels.ndim == 3:
            pixels = _opaque(pixels, path)
        return np.ascontiguousarray(pixels[..., 0] if channels == 1 and pixels.ndim == 3 else pixels)


def read_pictures(
    paths: Sequence[Path], *, folder: Path | None = None, source_fps: float | None = None, notes: Sequence[str] = ()
) -> Cine:
    """Make a run of single pictures, in the order given; each is decoded when asked for.

    Args:
        paths: One file per frame.
        folder: The folder that they come from, or None for a list.
        source_fps: Frames per second; without it, times are those that scanweave wrote into PNGs, else the index.
        notes: What was found on the way here.

    Raises:
        InputError: No pictures, or pictures of different size or depth (both named).
    """
    if not paths:
        raise InputError("holds no pictures", path=folder)
    looks = [look(path) for path in paths]
    first = looks[0]
    for path, other in zip(paths, looks, strict=True):
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"{paths[0].name} is {_described(first)}, {path.name} is {_described(other)}",
                path=folder or path,
                remedy="all frames of a run must have one size and depth",
            )
    stated = [seen.meaning.time for seen in looks if seen.meaning is not None and seen.meaning.time is not None]
    found = stated if len(stated) == len(paths) and all(a < b for a, b in pairwise(stated)) else None
    times, unit = frame_times(len(paths), found=found, source_fps=source_fps)
    meaning = first.meaning or Meaning()
    kept = tuple(paths)
    shown = np.zeros(0, first.dtype)
    return Cine(
        lambda i: restored(load(kept[i]), meaning),
        shape=first.shape,
        dtype=restored(shown, meaning).dtype,
        times=times,
        time_unit=unit,
        levels=meaning.levels,
        display=meaning.display,
        source=Source(
            path=folder if folder is not None else (kept[0] if len(kept) == 1 else None),
            files=kept,
            format=first.kind,
            facts={"pictures": f"{len(kept)} x {_described(first)}"},
            notes=(*notes, *_gathered(kept, looks)),
            lossy="ISO_10918_1" if any(look.kind == "jpeg" for look in looks) else "",
        ),
    )


def write_pictures_folder(cine: Cine, folder: Path, *, progress: Progress | None = None) -> tuple[str, ...]:
    """Write ``000000.png``, ``000001.png`` ... into an existing folder, 8 or 16 bits as stored; return notes."""
    prepared = unsigned(cine)
    for i in range(len(cine)):
        time = float(cine.times[i]) if cine.time_unit == "s" else None
        meaning = prepared.meaning.model_copy(update={"time": time})
        (folder / f"{i:06d}.png").write_bytes(_png(prepared.frame(i), meaning))
        if progress:
            progress(i + 1)
    return prepared.notes


def write_picture(cine: Cine, path: Path, *, format_: Literal["png", "jpeg", "bmp"]) -> tuple[str, ...]:
    """Write the only frame of `cine`; return notes. JPEG and BMP take what is shown, in 8 bits.

    Raises:
        UsageError: More than one frame.
    """
    if len(cine) != 1:
        raise UsageError(
            f"{path.name} holds one picture, the run has {len(cine)} frames",
            remedy="give a name without a suffix for a folder of PNGs, or .tif, .mp4, .mkv, .dcm ...",
        )
    if format_ == "png":
        prepared = unsigned(cine)
        path.write_bytes(_png(prepared.frame(0), prepared.meaning))
        return prepared.notes
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if format_ == "jpeg" else []
    picture = cine.shown(0)
    if not cine.is_colour:
        picture = picture[..., 0]
    path.write_bytes(_encoded(f".{format_}", picture, options))
    notes = [f"JPEG is lossy (quality {_JPEG_QUALITY})."] if format_ == "jpeg" else []
    if cine.dtype != np.uint8:
        notes.append(f"{cine.dtype} values were shown in 8 bits.")
    return tuple(notes)


def _layout(image: Image.Image, path: Path) -> tuple[int, np.dtype[Any]]:
    """Return channels (1 or 3) and dtype that `load` gives."""
    depth, colour_type = _png_header(path) if image.format == "PNG" else (8, -1)
    if depth == 16:
        return (1 if colour_type in (0, 4) else 3), np.dtype(np.uint16)
    if image.mode in ("1", "L", "LA"):
        return 1, np.dtype(np.uint8)
    if image.mode in ("P", "PA", "RGB", "RGBA"):
        return 3, np.dtype(np.uint8)
    raise UnsupportedError(f"has the colour model {image.mode}", path=path, remedy="convert it to grey or RGB first")


def _png_header(path: Path) -> tuple[int, int]:
    with path.open("rb") as stream:
        head = stream.read(26)
    return head[24], head[25]


def _shallow_pixels(image: Image.Image) -> NDArray[Any]:
    if image.mode in ("P", "PA") or "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    if image.mode == "LA":
        grey, alpha = (np.asarray(channel) for channel in image.split())
        return np.stack([grey, grey, grey, alpha], axis=-1)
    return as_native_order(np.asarray(image))


def _deep_pixels(path: Path) -> NDArray[Any]:
    # Pillow brings 16-bit RGB down to 8 bits; OpenCV keeps them.
    import cv2

    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise InputError("cannot be read as a 16-bit PNG picture", path=path, remedy="the file may be damaged")
    decoded: NDArray[Any] = pixels
    return decoded if decoded.ndim == 2 else decoded[..., [2, 1, 0, *range(3, decoded.shape[2])]]


def _opaque(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    if pixels.shape[2] == 4 and np.any(pixels[..., 3] != np.iinfo(pixels.dtype).max):
        raise UnsupportedError(
            "has transparent pixels, whose values mean nothing without a background",
            path=path,
            remedy="flatten it onto a background first",
        )
    return pixels[..., :3]


def _oddities(image: Image.Image) -> list[str]:
    notes = []
    if image.mode in ("LA", "RGBA", "PA"):
        notes.append("An opaque alpha channel was left out.")
    if image.mode in ("P", "PA"):
        notes.append("Palette colours were resolved to RGB.")
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation != 1:
        notes.append(f"EXIF orientation {orientation} was not applied: pixels are as stored.")
    return notes


def _look_at_tiff(path: Path) -> Look:
    from .tiff import read_tiff

    cine = read_tiff(path)
    if len(cine) != 1:
        raise InputError(
            f"holds {len(cine)} pages, where one picture is expected",
            path=path,
            remedy="give this file by itself",
        )
    return Look("tiff", cine.shape, cine.dtype, None, cine.source.notes)


def _described(seen: Look) -> str:
    colour = "RGB" if len(seen.shape) == 3 else "grey"
    return f"{seen.shape[0]} x {seen.shape[1]} {colour} {seen.dtype}"


def _gathered(paths: Sequence[Path], looks: Sequence[Look]) -> list[str]:
    counts: dict[str, int] = {}
    for seen in looks:
        for note in seen.notes:
            counts[note] = counts.get(note, 0) + 1
    notes = [f"{note} ({count} of {len(paths)} pictures)" for note, count in counts.items()]
    lossy = sum(seen.kind == "jpeg" for seen in looks)
    return [*notes, f"{lossy} of {len(paths)} pictures are JPEG, which is lossy."] if lossy else notes


def _png(frame: NDArray[Any], meaning: Meaning) -> bytes:
    data = _encoded(".png", frame, [])
    if meaning == Meaning():
        return data
    text = b"tEXt" + _TEXT_KEY.encode() + b"\0" + meaning.dumps().encode("latin-1")
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    after_header = 8 + 25  # signature, IHDR
    return data[:after_header] + chunk + data[after_header:]


def _encoded(suffix: str, frame: NDArray[Any], options: list[int]) -> bytes:
    import cv2

    ordered = np.ascontiguousarray(frame[..., ::-1] if frame.ndim == 3 else frame)
    try:
        good, data = cv2.imencode(suffix, ordered, options)
    except cv2.error as error:
        raise OutputError(f"a frame of {frame.shape} {frame.dtype} cannot be written as {suffix}: {error}") from error
    if not good:
        raise OutputError(f"a frame of {frame.shape} {frame.dtype} cannot be written as {suffix}")
    return bytes(data)
