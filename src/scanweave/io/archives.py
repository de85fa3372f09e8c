"""Zip archives from elsewhere, taken apart without trusting them.

Names that lead out of the folder, links, two files of one name, encrypted or damaged entries, and archives that unpack
to far more than they weigh are refused before or while they are unpacked; what was unpacked then is for the caller to
throw away.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import InputError, OutputError, ResourceError, UnsupportedError

Progress = Callable[[int, int], None]

RATIO = 200
"""How many times its own size an archive may unpack to; pictures of one grey value shrink about a hundred times."""

_SMALL = 1 << 26  # archives that unpack to less are harmless whatever their ratio
_MOST_FILES = 1_000_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
# OSError is bz2's
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OSError)


def unzip(path: Path, folder: Path, *, progress: Progress | None = None) -> list[Path]:
    """Unpack a zip archive into a folder, which must be empty.

    Args:
        path: The archive.
        folder: Exists already.
        progress: Told bytes so far, and in all.

    Returns:
        The files, in the order of the archive.

    Raises:
        InputError: Damaged, or with names, links or sizes that it should not have.
        UnsupportedError: Encrypted, or packed in a way that cannot be read here.
        ResourceError: The disk has no room for it.
        OutputError: It cannot be written.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise InputError(f"is no readable zip archive: {error}", path=path, remedy="fetch it again") from error
    with archive:
        entries = archive.infolist()
        _refuse(entries, path)
        total = sum(entry.file_size for entry in entries)
        free = shutil.disk_usage(folder).free
        if total > free:
            raise ResourceError(
                f"unpacks to {total / 1e6:.0f} MB, the disk has {free / 1e6:.0f} MB left",
                path=path,
                remedy="free some space, or write elsewhere with -o",
            )
        written, done = [], 0
        for entry in entries:
            place = folder / entry.filename
            if entry.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            _unpack(archive, entry, place, path)
            written.append(place)
            done += entry.file_size
            if progress is not None:
                progress(done, total)
    return written


def _refuse(entries: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Refuse an archive for what its table of contents says."""
    # disks of Windows and macOS do not tell cases apart
    keys = [PurePosixPath(entry.filename.casefold()) for entry in entries]
    files = {key for key, entry in zip(keys, entries, strict=True) if not entry.is_dir()}
    seen: set[PurePosixPath] = set()
    for key, entry in zip(keys, entries, strict=True):
        name = entry.filename
        if _leads_out(name):
            raise InputError(f"holds a file whose name leads elsewhere: {name!r}", path=path, remedy="do not trust it")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise InputError(f"holds a link: {name!r}", path=path, remedy="do not trust it")
        if entry.flag_bits & 1:
            raise UnsupportedError(f"is encrypted: {name!r}", path=path, remedy="unpack it by hand with its password")
        if entry.compress_type not in _METHODS:
            raise UnsupportedError(
                f"is packed in a way that cannot be read: {name!r}", path=path, remedy="unpack it by hand"
            )
        if key in seen or files.intersection(key.parents):
            raise InputError(f"holds two files of one name: {name!r}", path=path, remedy="do not trust it")
        seen.add(key)
    total, weight = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > max(_SMALL, RATIO * weight) or len(entries) > _MOST_FILES:
        raise InputError(
            f"of {weight / 1e6:.1f} MB unpacks to {total / 1e6:.0f} MB in {len(entries)} files, which no run of frames"
            " does",
            path=path,
            remedy="unpack it by hand if you trust it",
        )


def _leads_out(name: str) -> bool:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    odd = "\\" in name or any(ord(letter) < 32 for letter in name)
    return odd or not posix.parts or posix.is_absolute() or bool(windows.anchor) or ".." in posix.parts


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path, path: Path) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as stream:
            for block in _blocks(archive, entry, path):
                stream.write(block)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}", path=place, remedy="free some space, or write elsewhere"
        ) from error


def _blocks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    left = entry.file_size
    try:
        with archive.open(entry) as packed:
            while block := packed.read(1 << 20):
                yield block
                left -= len(block)
        if left:
            raise EOFError(f"{left} bytes are missing")
    except _DAMAGE as error:
        raise InputError(f"is damaged at {entry.filename!r}: {error}", path=path, remedy="fetch it again") from error
