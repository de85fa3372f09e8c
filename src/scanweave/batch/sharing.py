"""Several processes that make the parts of one output, on one machine or on many with a common folder.

Each takes stretches of consecutive parts, so that what neighbours share is computed once. A stretch is claimed by a
lock on a file in ``<output>.partial/``, which ends with its process: what one leaves undone, because it was killed,
others take over. Who starts with the same command and ``--resume`` joins in.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process

import cv2
import torch

from ..errors import ScanweaveError
from ..io.locks import FileLock
from .partial import PartialFolder

_LONGEST = 32  # parts of a stretch
_STRETCHES = 8  # at least, where there are parts enough: so many processes can share a run
_PAUSE = 0.2  # seconds between looks at what others have done


def make_parts(
    folder: PartialFolder, count: int, make: Callable[[int], object], told: Callable[[int], object] | None = None
) -> None:
    """Return once all parts are there, whoever made them, or once another process has removed the folder.

    Args:
        folder: Where they are kept.
        count: How many there are.
        make: Makes one and keeps it.
        told: Is told how many there are.
    """
    length = max(1, min(_LONGEST, count // _STRETCHES))
    spans = [range(first, min(first + length, count)) for first in range(0, count, length)]
    while lacking := [span for span in spans if not all(map(folder.has, span))]:
        try:
            ours = [_made(folder, span, make, told) for span in lacking]
        except FileNotFoundError:  # the output is whole, so that its parts are gone
            return
        if not any(ours):
            time.sleep(_PAUSE)


def _made(
    folder: PartialFolder, span: range, make: Callable[[int], object], told: Callable[[int], object] | None
) -> bool:
    """Make the parts of a stretch, unless another process does; return whether this one did.

    Raises:
        FileNotFoundError: The folder is gone.
    """
    lock = FileLock(folder.folder / f"{span.start:06d}.lock")
    if not lock.take():
        return False
    try:
        done = folder.count()
        for i in (i for i in span if not folder.has(i)):
            make(i)
            done += 1
            if told is not None:
                told(done)
    finally:
        lock.release()
    return True


def assembling(folder: PartialFolder) -> FileLock | None:
    """Return the lock of the process that puts the parts together; None once another has, or has given up.

    While another one does it, wait.
    """
    lock = FileLock(folder.folder / "assembly.lock")
    try:
        while not lock.take():
            time.sleep(_PAUSE)
    except FileNotFoundError:
        return None
    return lock


@contextmanager
def helped(count: int, work: Callable[[], object]) -> Iterator[None]:
    """Run `work` in so many further processes meanwhile; processor cores are shared out evenly.

    What goes wrong in a helper ends that helper alone: what it leaves undone meets this process, and so does the fault.

    Args:
        count: Further processes, 0 or more.
        work: Can be pickled.
    """
    if count == 0:
        yield
        return
    cores = torch.get_num_threads()
    threads = max(1, cores // (count + 1))
    context = get_context("spawn")  # a fork would copy threads that hold locks
    helpers = [context.Process(target=_help, args=(work, threads), daemon=True) for _ in range(count)]
    for helper in helpers:
        helper.start()
    _use(threads)
    try:
        yield
    finally:
        for helper in helpers:
            helper.terminate()
        for helper in helpers:
            helper.join()
        _use(cores)


def alone() -> bool:
    """Whether the process that this one helps is gone."""
    parent = parent_process()
    return parent is not None and not parent.is_alive()


def _help(work: Callable[[], object], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a keyboard's interruption reaches the whole group; one tells of it
    _use(threads)
    try:
        work()
    except ScanweaveError:
        raise SystemExit(1) from None


def _use(threads: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
