"""scanweave makes the images that a scanner did not acquire, from those it did, and says how far to trust each.

Example:
    >>> import scanweave
    >>> slow = scanweave.interpolate(scanweave.read("echo.dcm"), factor=4)  # doctest: +SKIP
    >>> scanweave.write(slow, "slow.dcm")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import trust
    from .cine import Cine
    from .deformation.api import deform
    from .displacement import Displacement
    from .fusion.api import fuse
    from .grid import Grid
    from .interpolation.api import interpolate
    from .io import read, read_displacement, write
    from .synthesis.api import synthesize
    from .volume import Volume

__all__ = [
    "Cine",
    "Displacement",
    "Grid",
    "Volume",
    "__version__",
    "deform",
    "fuse",
    "interpolate",
    "read",
    "read_displacement",
    "synthesize",
    "trust",
    "write",
]

# Name -> module: nothing is imported before it is asked for, so that `import scanweave` costs nothing.
_HOMES = {
    "Cine": ".cine",
    "Displacement": ".displacement",
    "Grid": ".grid",
    "Volume": ".volume",
    "deform": ".deformation.api",
    "fuse": ".fusion.api",
    "interpolate": ".interpolation.api",
    "read": ".io",
    "read_displacement": ".io",
    "synthesize": ".synthesis.api",
    "write": ".io",
}


def __getattr__(name: str) -> Any:
    if name == "trust":
        return importlib.import_module(".trust", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
