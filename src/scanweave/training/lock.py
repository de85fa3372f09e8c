"""One training at a time may write into a folder."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from ..errors import OutputError

NAME = ".lock"


class FolderLock:
    """A lock on a folder that ends with this process, however it ends.

    It belongs to the process and not to those forked from it: workers that outlive a killed training for some seconds
    do not keep a resumed one out. File systems without locks let everyone pass.

    Args:
        folder: What to lock; it must exist when the lock is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            OutputError: Another process has it, or the folder cannot be written to.
        """
        path = self._folder / NAME
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror or error}", path=path) from error
        try:
            _lock(self._file)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                return
            self.release()
            remedy = "wait for it or stop it, or choose another folder with -o"
            raise OutputError("another training writes here now", path=self._folder, remedy=remedy) from error

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
