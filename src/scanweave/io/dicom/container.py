"""One DICOM file: its header, and where its pixel data lie."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ...errors import InputError, UnsupportedError
from .elements import text, value
from .quiet import PYDICOM_FAILURES, quiet

UNDEFINED_LENGTH = 0xFFFFFFFF
_MAGIC = b"DICM"
_PREAMBLE = 128
_PIXEL_KEYWORDS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
_PIXEL_VRS = {b"OB", b"OW", b"OF", b"OD", b"UN"}
_OFFSET_TABLES = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_BLOCK = 1 << 20
# An element's length has 32 bits, so no honest data set of uncompressed pixels inflates to much more.
_MOST_INFLATED = 5 << 30


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the value of the pixel data element lies.

    Attributes:
        path: The file.
        inflated: The inflated data set, for the deflated transfer syntax; offsets then refer to it.
        keyword: ``PixelData``, ``FloatPixelData`` or ``DoubleFloatPixelData``.
        vr: Value representation as written (``OW`` where the file does not write it).
        offset: Position of the value's first byte.
        length: Length of the value as stated, perhaps `UNDEFINED_LENGTH`.
        end: Size of the file.
        syntax: Transfer syntax of the pixels.
        extended_offsets: Extended offset table and lengths as written, or None.
    """

    path: Path
    inflated: IO[bytes] | None
    keyword: str
    vr: str
    offset: int
    length: int
    end: int
    syntax: UID
    extended_offsets: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What opening a file gives.

    Attributes:
        header: All elements before the pixel data (or those asked for), with ``file_meta``; no offset tables.
        pixels: The pixel data element, or None where the file ends before one.
        flaws: What pydicom found odd, for counting; may quote patient data, so never shown.
        notes: Oddities to tell the user.
    """

    header: Dataset
    pixels: PixelElement | None
    flaws: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def has_magic(path: Path) -> bool:
    """Return whether the file has the DICOM preamble and prefix."""
    with path.open("rb") as stream:
        return stream.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC


def open_file(path: Path, *, tags: Sequence[str] | None = None) -> Contents:
    """Read a file's header and find its pixel data, without reading them.

    Args:
        path: The file.
        tags: Keywords to read, for a quick look; None reads all.

    Raises:
        InputError: The file cannot be read, is empty, or is not (or no longer) DICOM.
    """
    try:
        if not path.stat().st_size:
            raise InputError("is empty", path=path)
        with path.open("rb") as stream, quiet() as flaws:
            contents = _contents(path, stream, tags)
    except InputError:
        raise
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "ends within its header"
        raise InputError(f"cannot be read: {reason}", path=path) from error
    except PYDICOM_FAILURES as error:
        raise InputError("is not a sound DICOM file: its header cannot be parsed", path=path) from error
    if value(contents.header, "SOPClassUID") is None and value(contents.header, "Rows") is None:
        raise InputError("is not a DICOM image: no SOP class and no image size were found", path=path)
    return replace(contents, flaws=tuple(flaws))


def _contents(path: Path, stream: IO[bytes], tags: Sequence[str] | None) -> Contents:
    meta = read_file_meta_info(path) if has_magic(path) else FileMetaDataset()
    syntax = UID(text(meta, "TransferSyntaxUID"))
    inflated = None
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = inflated = _inflate(path, offset=_PREAMBLE + 4 + 12 + int(meta.FileMetaInformationGroupLength))
        syntax = ExplicitVRLittleEndian
    asked = None if tags is None else [*tags, *_OFFSET_TABLES]
    header = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=list(asked) if asked else None)
    header.file_meta = meta
    notes = []
    if not syntax:
        syntax = _guessed_syntax(header)
        meta.TransferSyntaxUID = syntax
        notes.append(f"The file has no transfer syntax; it was read as {syntax.name}.")
    element = _pixel_element(path, stream, syntax)
    if element is not None:
        element = replace(element, inflated=inflated, extended_offsets=_take_offset_tables(header))
    return Contents(header=header, pixels=element, notes=tuple(notes))


def _guessed_syntax(header: Dataset) -> UID:
    implicit, little_endian = header.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def _pixel_element(path: Path, stream: IO[bytes], syntax: UID) -> PixelElement | None:
    """Parse the pixel data element's own header at the stream's position (DICOM PS3.5 section 7.1)."""
    endian: Literal["little", "big"] = "big" if syntax == ExplicitVRBigEndian else "little"
    head = stream.read(8)
    if len(head) < 8:
        return None
    group, element = (int.from_bytes(head[n : n + 2], endian) for n in (0, 2))
    keyword = _PIXEL_KEYWORDS.get(group << 16 | element)
    if keyword is None:
        return None
    vr, length = "OW", int.from_bytes(head[4:], endian)
    if head[4:6] in _PIXEL_VRS:  # some files are implicit in spite of their transfer syntax
        vr, length = head[4:6].decode("ascii"), int.from_bytes(stream.read(4), endian)
    offset = stream.tell()
    end = stream.seek(0, 2)
    return PixelElement(path, None, keyword, vr, offset, length, end, syntax)


def _take_offset_tables(header: Dataset) -> tuple[bytes, bytes] | None:
    """Take the extended offset tables out of the header: they describe this file's bytes, not the image."""
    tables = [value(header, keyword) for keyword in _OFFSET_TABLES]
    for keyword in _OFFSET_TABLES:
        if keyword in header:
            del header[keyword]
    offsets, lengths = tables
    return (offsets, lengths) if isinstance(offsets, bytes) and isinstance(lengths, bytes) else None


def _inflate(path: Path, *, offset: int) -> IO[bytes]:
    """Inflate the data set of a deflated file into a nameless temporary file (DICOM PS3.5 annex A.5)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    target = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the cine that reads from it
    with path.open("rb") as source:
        source.seek(offset)
        while not inflater.eof:
            block = inflater.unconsumed_tail or source.read(_BLOCK)
            if not block:
                raise InputError("is cut off within its deflated data", path=path, remedy="copy the file anew")
            target.write(inflater.decompress(block, _BLOCK))
            if target.tell() > _MOST_INFLATED:
                raise InputError("inflates to more than an image of this kind can hold", path=path)
    target.seek(0)
    return target


def require_pixels(contents: Contents, path: Path) -> PixelElement:
    """Return the pixel data element.

    Raises:
        InputError: The file describes an image, but ends before its pixels.
        UnsupportedError: The file is a DICOM object of another kind.
    """
    if contents.pixels is not None:
        return contents.pixels
    header = contents.header
    if value(header, "Rows") is not None:
        raise InputError(
            "ends before its pixel data, or its header is damaged",
            path=path,
            remedy="copy or export the file anew",
        )
    if value(header, "DirectoryRecordSequence") is not None or value(header, "FileSetID") is not None:
        raise UnsupportedError(
            "is a DICOMDIR, an index without images", path=path, remedy="give the folder or the image file itself"
        )
    kind = UID(text(header, "SOPClassUID")).name or "unknown"
    raise UnsupportedError(f"holds no image: its SOP class is {kind}", path=path, remedy="give an image file")
