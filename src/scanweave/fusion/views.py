"""What a camera sees on average, and which frames are no good for it; signals over time for the clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..cine import Cine
from ..errors import InputError
from .calibration import Calibration
from .rigid import Array, inverse

_SATURATED = 0.2  # of a frame's pixels at the highest level from which on it is no good
_GOOD = 0.5  # of frames that must be
_BLOCKS = 6  # signals along the shorter side


@dataclass(frozen=True, eq=False)
class View:
    """The mean of a camera's frames.

    Attributes:
        mean: ``(row, column)`` in stored units.
        used: Frames that it is the mean of.
        notes: What was left out, one sentence each.
    """

    mean: NDArray[np.float64]
    used: tuple[int, ...]
    notes: tuple[str, ...]


def mean_view(cine: Cine, frames: Sequence[int] | None = None, *, name: str = "camera") -> View:
    """Return the mean of some frames (of all by default); dead and saturated ones are left out.

    Raises:
        InputError: Colour, or most frames are dead or saturated.
    """
    chosen = list(range(len(cine))) if frames is None else [int(i) for i in frames]
    if len(cine.shape) != 2:
        raise InputError(f"the {name}'s frames have colours", path=cine.source.path, remedy="give grey frames")
    top = cine.levels[1] if cine.dtype.kind in "ui" else np.inf
    total, used, dead, saturated = np.zeros(cine.shape), [], [], []
    for i in chosen:
        frame = cine.frame(i).astype(np.float64)
        if not np.isfinite(frame).all() or np.ptp(frame) == 0:
            dead.append(i)
        elif np.mean(frame >= top) > _SATURATED:
            saturated.append(i)
        else:
            total += frame
            used.append(i)
    faults = {"dead (one value only, or none)": dead, "saturated": saturated}
    said = [f"{len(which)} of {len(chosen)} frames of the {name} are {what}: {_named(which)}"
            for what, which in faults.items() if which]  # fmt: skip
    if len(used) < max(1, _GOOD * len(chosen)):
        raise InputError("; ".join(said) or f"the {name} has no frames", path=cine.source.path,
                         remedy="record again, or give the good frames only")  # fmt: skip
    return View(total / len(used), tuple(used), tuple(f"{one}; left out." for one in said))


def onto_sharp(frame: NDArray[np.float64] | NDArray[np.float32], calibration: Calibration) -> NDArray[np.float32]:
    """Return a coarse frame where the sharp one has its pixels, by cubic interpolation; edges are repeated."""
    size = calibration.sharp_shape[::-1]
    laid = cv2.warpAffine(
        frame.astype(np.float32),
        inverse(calibration.affine)[:2],
        size,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(laid, np.float32)


def signals(cine: Cine, calibration: Calibration, *, sharp: bool) -> Array:
    """Return ``(frame, signal)``: means over blocks of what both cameras see, in frames of one of them.

    Blocks lie alike in the scene for both, so that :func:`scanweave.fusion.clocks.from_images` can compare them.
    """
    left, top, right, below = calibration.common()
    seen = np.zeros(calibration.sharp_shape, np.int32)
    side = max(min(below - top, right - left) // _BLOCKS, 1)
    rows, columns = np.arange(top, below) // side, np.arange(left, right) // side
    across = int(columns.max() - columns.min()) + 1
    seen[top:below, left:right] = 1 + (rows - rows.min())[:, None] * across + (columns - columns.min())[None]
    if not sharp:
        shape = calibration.coarse_shape[::-1]
        seen = cv2.warpAffine(
            seen.astype(np.float32), calibration.affine[:2], shape, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        ).astype(np.int32)
    count = np.bincount(seen.ravel(), minlength=int(seen.max()) + 1)[1:]
    sums = np.stack(
        [
            np.bincount(seen.ravel(), weights=cine.frame(i).ravel(), minlength=len(count) + 1)[1:]
            for i in range(len(cine))
        ]
    )
    return np.asarray(sums / np.maximum(count, 1))


def _named(frames: Sequence[int], most: int = 5) -> str:
    more = f" and {len(frames) - most} more" if len(frames) > most else ""
    return ", ".join(map(str, frames[:most])) + more
