"""Keeps what C libraries print about damaged data off the user's screen."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_lock = threading.RLock()  # the descriptor belongs to the whole process


@contextlib.contextmanager
def no_native_stderr() -> Iterator[None]:
    """Send the standard error descriptor to nowhere; Python's own messages were written out before."""
    with _lock:
        try:
            kept = os.dup(2)
        except OSError:  # no standard error at all: nothing can leak
            yield
            return
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, not a path of ours
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
