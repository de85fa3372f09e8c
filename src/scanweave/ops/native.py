"""Functions in C++ that are compiled where they run, for the very processor.

A package that holds source alone installs anywhere; what gains by it compiles on demand, in a second or two of each
process, and whoever calls has another way where no compiler is. Functions are called through ctypes, which lets other
threads of Python run meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ..errors import ResourceError

_COMPILERS = ("c++", "g++", "clang++")
_OPTIONS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared", "-pthread")
_SECONDS = 300
_LEAVE = "install a C++ compiler (g++ or clang++, or name one in CXX), or do without compiling"


@cache
def library(source: Path) -> ctypes.CDLL:
    """Compile a file of C++ and return its functions.

    The compiler is what ``CXX`` names, else the first found. The result is kept in memory only: no file stays.

    Args:
        source: The file; its functions are ``extern "C"``.

    Raises:
        ResourceError: No compiler, or one that cannot compile it.
    """
    command = _compiler()
    own = "-mcpu=native" if platform.machine().lower() in ("arm64", "aarch64") else "-march=native"
    with tempfile.TemporaryDirectory(prefix="scanweave-", ignore_cleanup_errors=True) as folder:
        made = Path(folder) / f"{source.stem}.so"
        asked = [*command, *_OPTIONS, own, "-o", os.fspath(made), os.fspath(source)]
        try:
            subprocess.run(asked, check=True, capture_output=True, text=True, timeout=_SECONDS)
            return ctypes.CDLL(os.fspath(made))
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[0]
            raise ResourceError(f"{command[0]} does not compile {source.name}: {last}", remedy=_LEAVE) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ResourceError(f"{command[0]} does not compile {source.name}: {error}", remedy=_LEAVE) from error


def _compiler() -> list[str]:
    """Return how the compiler is called."""
    named = shlex.split(os.environ.get("CXX", ""))
    if named:
        return named
    found = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if found is None:
        raise ResourceError("there is no C++ compiler", remedy=_LEAVE)
    return [found]
