"""Calls into pydicom, with what they would print collected instead."""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator

from pydicom.errors import BytesLengthException, InvalidDicomError

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
    BytesLengthException,
    InvalidDicomError,
    struct.error,
    zlib.error,
)

_lock = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Collect the warnings raised inside, and keep pydicom's log off the terminal.

    Warning filters and log levels belong to the whole process, so one such block runs at a time.

    Yields:
        A list that holds the warnings' texts once the block ends.
    """
    texts: list[str] = []
    logger = logging.getLogger("pydicom")
    with _lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield texts
        finally:
            logger.setLevel(level)
            texts.extend(" ".join(str(entry.message).split()) for entry in caught)
