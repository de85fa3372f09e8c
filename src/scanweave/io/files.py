"""Output that is whole or absent: write beside the target, sync, rename."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError


@contextlib.contextmanager
def atomic_output(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    The temporary name keeps the suffix of `path`, for writers that go by it. An existing target is replaced: whether
    it may be is decided before (`check_output`).

    Args:
        path: The target.
        folder: Yield an existing, empty folder instead of the name of a file.

    Raises:
        OutputError: The folder cannot be written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hold = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise _explained(error, path) from error
    target = hold / path.name
    try:
        if folder:
            target.mkdir()
        yield target
        _share(target)
        _sync(target)
        if path.is_dir() and not path.is_symlink():
            path.replace(hold / "replaced")
        target.replace(path)
    except OSError as error:
        raise _explained(error, path) from error
    except OutputError as error:
        error.path = error.path or os.fspath(path)  # a writer knows the temporary name only
        raise
    finally:
        shutil.rmtree(hold, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what an earlier process that was killed while it wrote `path` left beside it.

    Only for callers who know that no other process writes `path` now.
    """
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        shutil.rmtree(stale, ignore_errors=True)


def check_output(path: Path, inputs: list[Path], *, overwrite: bool = False) -> None:
    """Refuse an output that is an input, lies inside one, or exists already.

    Raises:
        OutputError: As above; an input is never overwritten, whatever `overwrite` says.
    """
    for source in inputs:
        if _same(path, source):
            raise OutputError("the output is also an input", path=path, remedy="choose another name with -o")
        if source.is_dir() and path.resolve().is_relative_to(source.resolve()):
            raise OutputError(
                f"the output lies inside the input folder {source}",
                path=path,
                remedy="choose another place with -o",
            )
        if path.is_dir() and source.resolve().is_relative_to(path.resolve()):
            raise OutputError(
                f"replacing this folder would remove the input {source}",
                path=path,
                remedy="choose another place with -o",
            )
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise OutputError("exists already", path=path, remedy="add --overwrite to replace it")


def _same(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:
        return a.resolve() == b.resolve()


def _share(path: Path) -> None:
    """Let others read a file as any new one: some writers leave it to its owner alone."""
    if path.is_file():
        usual = path.with_name("usual")
        usual.touch()
        path.chmod(usual.stat().st_mode)


def _sync(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())


def _explained(error: OSError, path: Path) -> OutputError:
    remedies = {
        errno.ENOSPC: "free some space, or write elsewhere with -o",
        errno.EDQUOT: "free some space, or write elsewhere with -o",
        errno.EACCES: "choose a folder that you may write to with -o",
        errno.EPERM: "choose a folder that you may write to with -o",
        errno.EROFS: "choose a folder that you may write to with -o",
    }
    return OutputError(
        f"cannot be written: {error.strerror or error}", path=path, remedy=remedies.get(error.errno or 0)
    )
