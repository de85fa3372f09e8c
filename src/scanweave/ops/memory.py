"""How the C library hands out the memory of tensors on the CPU."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_LARGEST = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Let this process keep the memory of freed tensors for the next ones; return whether that could be asked for.

    The C library of Linux returns every large block to the system when it is freed, and each new one is then handed
    over and cleared page by page: a tenth to an eighth of the time of a U-Net on large frames. Kept, the same pages
    serve again; the process holds its peak until it ends. A thread would have an arena of its own, in which no block
    above 64 MB can be kept: threads that begin later share that of the process, since frames are made in one of them.
    Only glibc has this; ``SCANWEAVE_KEEP_MEMORY=0`` forbids it, and a choice that the user made by
    ``MALLOC_MMAP_MAX_``, ``MALLOC_TRIM_THRESHOLD_`` or ``MALLOC_ARENA_MAX`` stands.

    Source: mallopt(3).
    """
    chosen = {"MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys()
    if chosen or os.environ.get("SCANWEAVE_KEEP_MEMORY") == "0" or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    if "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, 1)
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
