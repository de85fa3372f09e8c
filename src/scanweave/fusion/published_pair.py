"""Virtual experiments as published: one run in a folder, at full size and reduced, both at the full rate.

::

    dataset1_b0_0/HR/*.png      the run
    dataset1_b0_0/LR/*.png      each frame again on a coarser grid; in dataset1_b0_1 with noise

Pictures may be grey or, as ``xfusion convert`` writes them, grey in three channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..cine import Cine
from ..errors import InputError, UnsupportedError

CAMERAS = {"sharp": "HR", "fast": "LR"}
"""Folder of each camera."""


def is_published_pair(path: Path) -> bool:
    """Whether a folder holds a virtual experiment as published."""
    return all((path / name).is_dir() for name in CAMERAS.values())


def grey(run: Cine) -> Cine:
    """Return a run whose three channels are the same as a grey one; a grey run as it is.

    Raises:
        UnsupportedError: Real colours; later, of frames that have some.
    """
    if len(run.shape) != 3:
        return run
    path = run.source.path

    def first_channel(i: int) -> np.ndarray:
        frame = run.frame(i)
        if np.any(frame != frame[..., :1]):
            raise UnsupportedError(f"frame {i} has colours", path=path, remedy="run scanweave prepare fusion first")
        return np.ascontiguousarray(frame[..., 0])

    first_channel(0)
    return Cine(
        first_channel, shape=run.shape[:2], dtype=run.dtype, times=run.times, time_unit=run.time_unit, source=run.source
    )


def require_pair(sharp: Cine, coarse: Cine, scale: float) -> None:
    """Refuse two runs that are not one, at full size and reduced.

    Raises:
        InputError: Other counts, or sizes that do not go together.
    """
    if len(sharp) != len(coarse):
        raise InputError(
            f"holds {len(sharp)} frames at full size and {len(coarse)} reduced ones",
            path=sharp.source.path,
            remedy="keep the same frames in HR and LR",
        )
    sizes = [f"{run.shape[0]} x {run.shape[1]}" for run in (sharp, coarse)]
    if any(abs(small * scale - large) > 1e-6 * large for small, large in zip(coarse.shape, sharp.shape, strict=False)):
        raise InputError(
            f"frames of {sizes[0]} pixels in HR and {sizes[1]} in LR are not {scale:g} times apart",
            path=sharp.source.path,
            remedy="give the true --scale",
        )
