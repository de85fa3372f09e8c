"""Memory that a job will need, against what there is: said before, not after."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from .errors import ResourceError

_GIB = 1 << 30


def available() -> int | None:
    """Return the bytes of memory that can still be had, or None where the system does not say (all but Linux)."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def require(needed: int, what: str, *, remedy: str, free: int | None = None) -> None:
    """Refuse a job that needs more memory than there is.

    Args:
        needed: Bytes.
        what: What needs them, as a message begins.
        remedy: What to do instead.
        free: Bytes that there are; by default what the system says.

    Raises:
        ResourceError: There are fewer.
    """
    free = available() if free is None else free
    if free is not None and needed > free:
        raise ResourceError(f"{what} need {needed / _GIB:.3g} GiB of memory, {free / _GIB:.3g} are free", remedy=remedy)


@contextmanager
def refusals_named(what: str, *, remedy: str) -> Iterator[None]:
    """Turn the refusal of memory, on whichever device, into an error that says what to do.

    Raises:
        ResourceError: Memory gave out.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ResourceError(f"{what} do not fit into memory", remedy=remedy) from error
    except RuntimeError as error:  # the allocator of the CPU has no class of its own
        asked = re.search(r"tr(?:ied|y) to allocate (\d+) bytes", str(error))
        if asked is None:
            raise
        size = int(asked[1]) / _GIB
        raise ResourceError(
            f"{what} do not fit into memory: {size:.3g} GiB more were asked for", remedy=remedy
        ) from error
