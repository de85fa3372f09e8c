"""Shimadzu HPV-X: the INI file beside a recording."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import numpy as np

from ...errors import InputError, UnsupportedError
from .record import CameraRecord

_IN_NS = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6}


def read_shimadzu(path: Path) -> CameraRecord:
    """Read the times of all frames, to 1 ns.

    Raises:
        InputError: No INI file, or an entry that cannot be understood.
        UnsupportedError: An INI file of another kind or version.
    """
    # strict=False: makers repeat sections now and then; interpolation would stumble over every %.
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig", errors="replace"))
    except configparser.Error as error:
        raise InputError(f"is no INI file: {error}", path=path, remedy="fetch the file again") from error
    if not parser.has_option("REC_INFO", "RecFrame") or not parser.has_option("REC_INFO", "RecSpeed"):
        raise UnsupportedError(
            "has no RecFrame and RecSpeed in a section REC_INFO: not Shimadzu metadata of a known version",
            path=path,
            remedy="state times with the frames",
        )
    count = _whole(parser.get("REC_INFO", "RecFrame"), "RecFrame", path)
    times = []
    for i in range(1, count + 1):
        stated = parser.get(f"IMAGE_INFO_{i}", "ImageRelative", fallback=None)
        if stated is None:
            raise InputError(f"RecFrame is {count}, but there is no ImageRelative of image {i}", path=path)
        times.append(_whole(stated, f"ImageRelative of image {i}", path))
    return CameraRecord(
        camera="shimadzu",
        times_ns=np.asarray(times, dtype=np.int64),
        interval_ns=_interval(parser.get("REC_INFO", "RecSpeed"), path),
        path=path,
    )


def _interval(text: str, path: Path) -> float:
    found = re.fullmatch(r"\s*([\d,]+(?:\.\d+)?)\s*(\S+)\s*", text)
    if found is None or found[2] not in _IN_NS:
        raise UnsupportedError(f"RecSpeed is {text!r}, expected like '1,000ns'", path=path)
    return float(found[1].replace(",", "")) * _IN_NS[found[2]]


def _whole(text: str, name: str, path: Path) -> int:
    try:
        return int(text.replace(",", ""))
    except ValueError as error:
        raise InputError(f"{name} is {text!r}, not a whole number", path=path, remedy="fetch the file again") from error
