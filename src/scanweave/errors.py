"""One exception class per exit code.

Every message says what came, why it cannot be used, and what to do about it, on one line.
"""

from __future__ import annotations

import os
from typing import ClassVar


class ScanweaveError(Exception):
    """A failure that the user can understand and mend.

    Args:
        reason: What came and what was expected, without a full stop.
        path: The file or folder concerned.
        remedy: What the user can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, reason: str, *, path: str | os.PathLike[str] | None = None, remedy: str | None = None) -> None:
        self.reason = " ".join(reason.split())
        self.path = None if path is None else os.fspath(path)
        self.remedy = None if remedy is None else " ".join(remedy.split())
        super().__init__(self.reason)

    def __str__(self) -> str:
        head = f"{self.path}: {self.reason}" if self.path else self.reason
        return f"{head} ({self.remedy})" if self.remedy else head


class UsageError(ScanweaveError):
    """The command or call contradicts itself."""

    exit_code = 2


class InputError(ScanweaveError):
    """The input is damaged, empty, or not what its job needs."""

    exit_code = 3


class UnsupportedError(ScanweaveError):
    """The input is sound, but of a kind that scanweave does not handle."""

    exit_code = 4


class OutputError(ScanweaveError):
    """The output cannot be written where or as asked."""

    exit_code = 5


class WeightsError(ScanweaveError):
    """A checkpoint is damaged, hostile, or of another network."""

    exit_code = 6


class ResourceError(ScanweaveError):
    """Memory, disk or a device gave out."""

    exit_code = 7


class Interrupted(ScanweaveError):
    """The user stopped the run."""

    exit_code = 130
