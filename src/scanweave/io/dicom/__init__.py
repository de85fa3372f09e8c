"""DICOM in: multi-frame files and folders of single-frame instances. pydicom is imported when first needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ScanweaveError

if TYPE_CHECKING:
    from ...cine import Cine
    from ...volume import Volume

__all__ = ["read", "read_cine", "require_source", "sniff"]

_PREAMBLE = 128
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def sniff(path: Path) -> bool:
    """Return whether a file is DICOM by its content: the prefix, or a data set without one that parses sanely."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_PREAMBLE + 4)
    except OSError:
        return False
    if head[_PREAMBLE:] == b"DICM":
        return True
    # Without the prefix: a first tag of group 2 or 8, then a written VR or a short length. Only then is it parsed.
    written_vr = head[4:6].isalpha() and head[4:6].isupper()
    if head[:2] not in _FIRST_GROUPS or not (written_vr or int.from_bytes(head[4:8], "little") < 1024):
        return False
    from .container import open_file

    try:
        open_file(path)
    except ScanweaveError:
        return False
    return True


def read(
    path: Path,
    *,
    as_: str = "auto",
    series: str | None = None,
    source_fps: float | None = None,
    time_index: int | None = None,
) -> Cine | Volume:
    """Read a DICOM file or folder as a lazy `Cine` or `Volume`; see `scanweave.io.dicom.reading.read`."""
    from .reading import read as read_any

    return read_any(path, as_=as_, series=series, source_fps=source_fps, time_index=time_index)


def read_cine(path: Path, *, series: str | None = None, source_fps: float | None = None, as_cine: bool = False) -> Cine:
    """Read a DICOM file or folder as a lazy `Cine`; see `scanweave.io.dicom.reading.read_cine`."""
    from .reading import read_cine as read

    return read(path, series=series, source_fps=source_fps, as_cine=as_cine)


def require_source(volume: Volume) -> None:
    """Refuse a volume that no DICOM can be derived from; see `scanweave.io.dicom.derived_volume.require_source`."""
    from .derived_volume import require_source as require

    require(volume)
