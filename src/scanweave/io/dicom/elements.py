"""Header values that may be absent, empty, of the wrong kind, or damaged: absent for all of these."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DT

from .quiet import PYDICOM_FAILURES


def value(header: Dataset, keyword: str) -> Any:
    """Return the value of an attribute, or None where it is absent, empty or cannot be understood."""
    try:
        found = header.get(keyword)
        empty = found is None or (hasattr(found, "__len__") and len(found) == 0)
    except PYDICOM_FAILURES:
        return None
    return None if empty else found


def values(header: Dataset, keyword: str) -> list[Any]:
    """Return the values of an attribute of any multiplicity; absent ones give an empty list."""
    found = value(header, keyword)
    if found is None:
        return []
    return list(found) if isinstance(found, MultiValue | list | tuple) else [found]


def numbers(header: Dataset, keyword: str) -> list[float]:
    """Return the values of a numeric attribute; NaN stands for what is not a number."""
    return [_number(item) for item in values(header, keyword)]


def number(header: Dataset, keyword: str) -> float | None:
    """Return the first value of a numeric attribute, or None where there is no finite one."""
    found = numbers(header, keyword)
    return found[0] if found and math.isfinite(found[0]) else None


def integer(header: Dataset, keyword: str) -> int | None:
    """Return the first value of a numeric attribute as a whole number, or None."""
    found = number(header, keyword)
    return None if found is None or found != int(found) else int(found)


def text(header: Dataset, keyword: str) -> str:
    r"""Return an attribute as one line of text, values parted by ``\``; absent ones give an empty text."""
    return " ".join("\\".join(str(item) for item in values(header, keyword)).split())


def items(header: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; absent ones give an empty list."""
    return [item for item in sequence(value(header, keyword)) if isinstance(item, Dataset)]


def sequence(found: Any) -> Iterable[Any]:
    """Return `found` if it can be walked as a sequence of items, else nothing."""
    return found if isinstance(found, Iterable) and not isinstance(found, str | bytes) else ()


def moment(header: Dataset, keyword: str) -> float | None:
    """Return a date-time attribute (VR DT) in seconds from some fixed moment, or None."""
    return _seconds(text(header, keyword))


def moment_of_day(header: Dataset, date_keyword: str, time_keyword: str) -> float | None:
    """Return a time attribute (VR TM) with its date, where there is one, in seconds from some fixed moment."""
    clock = text(header, time_keyword)
    if not clock:
        return None
    date = text(header, date_keyword)
    if date:
        return _seconds(date + clock)
    # Any day will do: only differences count.
    return _seconds("19700101" + clock)


def _number(item: Any) -> float:
    try:
        return float(item)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _seconds(written: str) -> float | None:
    try:
        found = DT(written) if written else None
    except PYDICOM_FAILURES:
        return None
    if not isinstance(found, datetime):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
