"""A lock on a file, between processes: one of them has it at a time."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path


class FileLock:
    """A lock that ends with this process, however it ends.

    It belongs to the process and not to those forked from it. File systems without locks let everyone pass.

    Args:
        path: The file, which is made if need be; its folder must exist when the lock is taken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> bool:
        """Take the lock if no other process has it; return whether it is ours.

        Raises:
            OSError: The file cannot be opened.
        """
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(self._file)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                self.release()
                return False
        return True

    def release(self) -> None:
        """Give the lock back, if this process has it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock(file: int) -> None:
    """Lock `file` for this process.

    Raises:
        OSError: Another process has locked it, or it cannot be locked.
    """
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
