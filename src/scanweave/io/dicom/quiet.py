"""Calls into pydicom and the codecs beneath it, with what they would print collected instead."""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator

from pydicom.errors import InvalidDicomError

#: What pydicom and its decoders raise on damaged data. Wide on purpose: an element is converted by code that its
#: (possibly flipped) value representation chooses, and none of these classes is peculiar to one cause.
PYDICOM_FAILURES: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
    InvalidDicomError,
    struct.error,
    zlib.error,
)

_lock = threading.RLock()


@contextlib.contextmanager
def quiet(*, native: bool = False) -> Iterator[list[str]]:
    """Collect the warnings raised inside, and keep pydicom's log and the C codecs' messages off the terminal.

    Warning filters, log levels and file descriptors belong to the whole process, so one such block runs at a time.

    Args:
        native: Also silence what C code writes to the standard error descriptor (libjpeg inside GDCM does, even on
            sound 12-bit streams).

    Yields:
        A list that holds the warnings' texts once the block ends.
    """
    texts: list[str] = []
    logger = logging.getLogger("pydicom")
    with _lock, warnings.catch_warnings(record=True) as caught, _no_native_stderr() if native else _nothing():
        warnings.simplefilter("always")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield texts
        finally:
            logger.setLevel(level)
            texts.extend(" ".join(str(entry.message).split()) for entry in caught)


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextlib.contextmanager
def _no_native_stderr() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # no standard error at all: nothing can leak
        yield
        return
    try:
        with open(os.devnull, "wb") as sink:  # noqa: PTH123 - a device, not a path of ours
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
