"""What cameras write beside their frames: times, exposure, flags. One small file per make; a further make is one more.

Example:
    >>> from pathlib import Path
    >>> record = read_record(Path("run.ini"))  # doctest: +SKIP
    >>> record.times_ns[:3]  # doctest: +SKIP
    array([   0, 1000, 2000])
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import InputError, UnsupportedError
from . import phantom, shimadzu
from .record import CameraRecord

__all__ = ["READERS", "CameraRecord", "read_record"]

READERS: dict[str, Callable[[Path], CameraRecord]] = {
    ".xml": phantom.read_phantom,
    ".ini": shimadzu.read_shimadzu,
}


def read_record(path: Path) -> CameraRecord:
    """Read the metadata file of a camera; its suffix tells whose it is.

    Raises:
        InputError: Missing, or damaged.
        UnsupportedError: Of no camera that is known, or of a version that is not.
    """
    if not path.is_file():
        raise InputError("there is no such file", path=path, remedy="name the camera's own metadata file")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(READERS))
        raise UnsupportedError(f"is no camera's metadata: known are {known}", path=path)
    return reader(path)
