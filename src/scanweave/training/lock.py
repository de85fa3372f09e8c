"""One training at a time may write into a folder."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError
from ..io.locks import FileLock

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
        self._lock = FileLock(folder / NAME)

    def take(self) -> None:
        """Take the lock.

        Raises:
            OutputError: Another process has it, or the folder cannot be written to.
        """
        try:
            taken = self._lock.take()
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror or error}", path=self._folder / NAME) from error
        if not taken:
            remedy = "wait for it or stop it, or choose another folder with -o"
            raise OutputError("another training writes here now", path=self._folder, remedy=remedy)

    def release(self) -> None:
        """Give the lock back, if this process has it."""
        self._lock.release()
