"""Vision Research Phantom: the XML file beside a recording."""

from __future__ import annotations

import codecs
import re
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ...errors import InputError, UnsupportedError
from .record import CameraRecord

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = re.compile(r"\s*(\d{1,2}):(\d{1,2}):(\d{1,2})\.(\d{3})\s+(\d{1,3})\.(\d{2})\s*(\S*)\s*")
_DATE = re.compile(r"\s*\w{3}\s+(\w{3})\s+(\d{1,2})\s+(\d{4})\s*")
_DAY_NS = 86_400 * 10**9
_EPOCH = date(1970, 1, 1)  # days since year 1 would not fit into 64 bits of nanoseconds


def read_phantom(path: Path) -> CameraRecord:
    """Read the times of all frames, to 10 ns, and which were taken while the external event lasted (``E``).

    Raises:
        InputError: No XML, or an entry that cannot be understood.
        UnsupportedError: XML of another kind or version.
    """
    root = _parsed(path)
    setup, block = root.find("CameraSetup"), root.find("TIMEBLOCK")
    if setup is None or block is None:
        absent = "CameraSetup" if setup is None else "TIMEBLOCK"
        raise UnsupportedError(
            f"is XML <{root.tag}> without {absent}, not Phantom metadata of a known version",
            path=path,
            remedy="export it again with the times of all frames, or state times with the frames",
        )
    stamps, dates = block.findall("Time"), block.findall("Date")
    if len(stamps) != len(dates):
        raise InputError(f"has {len(stamps)} times and {len(dates)} dates", path=path, remedy="export it again")
    times, flags = [], []
    for stamp, day in zip(stamps, dates, strict=True):
        nanoseconds, flag = _time(stamp.text or "", path)
        times.append(_day(day.text or "", path) * _DAY_NS + nanoseconds)
        flags.append(flag == "E")
    rate, shutter, gamma = (_number(setup, name, path) for name in ("FrameRateDouble", "ShutterNs", "Gamma"))
    if rate is None:
        raise UnsupportedError("states no FrameRateDouble: not Phantom metadata of a known version", path=path)
    if rate <= 0:
        raise InputError(f"FrameRateDouble is {rate:g}", path=path, remedy="export it again")
    return CameraRecord(
        camera="phantom",
        times_ns=np.asarray(times, dtype=np.int64),
        interval_ns=1e9 / rate,
        exposure_ns=shutter,
        flagged=np.asarray(flags) if any(flags) else None,
        gamma=gamma,
        path=path,
    )


def _parsed(path: Path) -> ElementTree.Element:
    data = path.read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
        # Entities could expand without end; no camera declares any.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise UnsupportedError("declares a document type, which Phantom metadata never does", path=path)
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"is no XML: {error}", path=path, remedy="export it again") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _time(text: str, path: Path) -> tuple[int, str]:
    """Return nanoseconds since midnight, and the flag, of ``HH:MM:SS.mmm uuu.nn [E]``."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise InputError(f"has the time {text!r}, expected like '14:23:07.123 456.78 E'", path=path)
    hours, minutes, seconds, milli, micro, hundredths = map(int, found.groups()[:6])
    whole = (hours * 60 + minutes) * 60 + seconds
    return whole * 10**9 + milli * 10**6 + micro * 1000 + hundredths * 10, found[7]


def _day(text: str, path: Path) -> int:
    """Return the day of ``Ddd Mon DD YYYY`` as a number; month names do not depend on the locale."""
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        return (date(int(found[3]), _MONTHS.index(found[1]) + 1, int(found[2])) - _EPOCH).days
    except ValueError as error:
        raise InputError(f"has the date {text!r}, expected like 'Tue Nov 19 2024'", path=path) from error


def _number(setup: ElementTree.Element, name: str, path: Path) -> float | None:
    text = setup.findtext(name)
    if text is None or not text.strip():
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{name} is {text!r}, not a number", path=path, remedy="export it again") from error
