"""What a file is, found from its first bytes, never from its suffix."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import Path

from ..errors import InputError, UnsupportedError

IMAGES = frozenset({"png", "jpeg", "bmp", "tiff"})
RUNS = frozenset({"npy", "npz", "hdf5", "gif", "video"})
VOLUMES = frozenset({"nifti", "metaimage", "nrrd"})

_FOREIGN = {
    "analyze": "an Analyze 7.5 volume (which states no orientation)",
    "jpeg2000": "a bare JPEG 2000 picture",
    "webp": "a WebP picture",
    "heif": "an AVIF or HEIC picture",
    "pdf": "a PDF document",
    "zip": "a ZIP archive without arrays",
    "gzip": "a gzip archive",
}

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "dicom"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "tiff"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"FLV\x01", "video"),
    (0, b"OggS", "video"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video"),
    (0, b"\0\0\x01\xba", "video"),
    (4, b"moov", "video"),
    (4, b"mdat", "video"),
    (4, b"wide", "video"),
    (0, b"NRRD000", "nrrd"),
    (4, b"jP  \r\n\x87\n", "jpeg2000"),
    (0, b"\xff\x4f\xff\x51", "jpeg2000"),
    (0, b"%PDF", "pdf"),
)
_HDF5_OFFSETS = (0, 512, 1024, 2048)
_HEAD = 4096


def kind_of(path: Path) -> str:
    """Return the short name of what a file holds, ``"empty"``, or ``"unknown"``.

    Raises:
        InputError: The file cannot be opened, or is no regular file.
    """
    if not path.is_file():
        raise InputError(_absence(path), path=path, remedy="check the name")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path) from error
    return _by_bytes(head, path)


def require_known(kind: str, path: Path) -> None:
    """Refuse what no reader takes.

    Raises:
        InputError: Empty, or of no known kind.
        UnsupportedError: Sound, but not for scanweave.
    """
    if kind == "empty":
        raise InputError("is empty", path=path, remedy="fetch the file again")
    if kind in _FOREIGN:
        raise UnsupportedError(f"is {_FOREIGN[kind]}, which is not handled", path=path, remedy="convert it first")
    if kind == "unknown":
        raise InputError(
            "is neither DICOM, an image, a video, a volume, nor an array file",
            path=path,
            remedy="give DICOM, NIfTI, MetaImage, NRRD, PNG, JPEG, BMP, TIFF, GIF, npy, npz, HDF5 or a video",
        )


def _absence(path: Path) -> str:
    if path.is_dir():
        return "is a folder where a file is needed"
    return "is no regular file" if path.exists() else "no such file or folder"


def _by_bytes(head: bytes, path: Path) -> str:
    if not head:
        return "empty"
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[4:8] == b"ftyp":
        return "heif" if head[8:12] in (b"avif", b"heic", b"mif1") else "video"
    if head[:4] == b"RIFF":
        return {b"AVI ": "video", b"WEBP": "webp"}.get(head[8:12], "unknown")
    if (
        head[:2] == b"BM"
        and len(head) >= 18
        and struct.unpack_from("<I", head, 14)[0] in (12, 40, 52, 56, 64, 108, 124)
    ):
        return "bmp"
    if any(head[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in _HDF5_OFFSETS):
        return "hdf5"
    if head[:4] == b"PK\x03\x04":
        return _zip_kind(path)
    if head[:2] == b"\x1f\x8b":
        return "nifti" if _is_nifti(_inflated(head)) else "gzip"
    if _is_nifti(head):
        return "nifti"
    if head[:4] in (struct.pack("<i", 348), struct.pack(">i", 348)) and len(head) >= 348:
        return "analyze"
    if re.match(rb"(?s)\s*(?:[A-Za-z]+ *=[^\n]*\n)*?(?:NDims|ObjectType) *=", head[:1024]):
        return "metaimage"
    from . import dicom

    return "dicom" if dicom.sniff(path) else "unknown"


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return "npz"  # the reader of npz explains what is broken
    return "npz" if any(name.endswith(".npy") for name in names) else "zip"


def _inflated(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 544)
    except zlib.error:
        return b""


def _is_nifti(head: bytes) -> bool:
    """By its magic alone: its reader says what is wrong with the size before it."""
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")
