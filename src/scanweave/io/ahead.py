"""Frames read before they are asked for, so that decoding, computing and encoding go on at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from ..cine import Cine


@contextmanager
def reading_ahead(cine: Cine, *, frames: int = 4) -> Iterator[Cine]:
    """Give the same run, whose next frames are loaded in a thread while the ones before are worked on.

    Only frames that follow those asked for last are loaded ahead; a jump is served as it comes. What goes wrong with
    a frame is raised when that frame is asked for. Leaving the context waits for the frame that is being loaded.

    Args:
        cine: The run; its frames may be decoded or made when asked for.
        frames: How many are loaded ahead: so many more lie in memory.
    """
    ahead: dict[int, Future[NDArray[Any]]] = {}
    last = -1

    def load(i: int) -> NDArray[Any]:
        nonlocal last
        in_order, last = i == last + 1, i
        wanted = range(i + 1, min(i + 1 + frames, len(cine))) if in_order else range(0)
        for k in [k for k in ahead if k != i and k not in wanted]:
            ahead.pop(k).cancel()
        loading = ahead.pop(i, None)
        if loading is None and wanted:
            loading = pool.submit(cine.frame, i)
        for k in wanted:
            if k not in ahead:
                ahead[k] = pool.submit(cine.frame, k)
        return cine.frame(i) if loading is None else loading.result()

    with ThreadPoolExecutor(1, thread_name_prefix="reading-ahead") as pool:
        try:
            yield cine.with_frames(load)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
