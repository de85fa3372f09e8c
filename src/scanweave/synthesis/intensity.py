"""Windows of intensity: what a method sees as 0 and 1 of each contrast, recorded, and the way back to units.

MR values have no unit of their own. Methods that must not change values work over all of them (``range``); networks
that were trained so work over the published window (``percentile``: the 0.5 and 99.5 percentiles of voxels above 0,
clipped). A contrast that the subject has is written in its own stored units; one that it has not, for which there are
none, from 0 to 255, where 0 and 255 are the ends of the window that the contrast had in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..grid import Grid
from ..volume import Volume
from .methods import WindowRule

PERCENTILES = (0.5, 99.5)
MADE_UNITS = 255.0
_STEPS = 256  # of a unit, in which made contrasts are stored: a power of 2, which every format states exactly
_MADE_LEVELS = (0.0, 65535.0)


@dataclass(frozen=True)
class Window:
    """What of a contrast is 0 and 1.

    Attributes:
        low: Stored value that is 0.
        high: Stored value that is 1.
        rule: How it was found; ``made`` where the subject has no such contrast.
        over: Which voxels it was found over, in words.
    """

    low: float
    high: float
    rule: str
    over: str


MADE = Window(0.0, MADE_UNITS * _STEPS, "made", "no voxels: the subject has no such contrast, 0 to 255 are written")


def window_of(name: str, volume: Volume, rule: WindowRule, mask: NDArray[np.bool_] | None = None) -> Window:
    """Return the window of a volume in stored units.

    Args:
        name: Its contrast, for messages.
        volume: The volume.
        rule: How.
        mask: Where the organ is; by default every voxel above 0 is taken, or every voxel where some are below.

    Raises:
        InputError: The window is empty: almost all voxels are of one value.
    """
    voxels = volume.voxels
    if rule == "range":
        return Window(float(voxels.min()), float(voxels.max()), rule, "all voxels")
    real = volume.real()
    if mask is not None:
        inside, over = real[mask], "the mask"
    elif real.min() < 0:
        inside, over = real.ravel(), "all voxels"
    else:
        inside, over = real[real > 0], "voxels above 0"
    low, high = np.percentile(inside, PERCENTILES) if inside.size else (0.0, 0.0)
    if not high > low:
        raise InputError(
            f"{name} has no window: its percentiles {PERCENTILES[0]:g} and {PERCENTILES[1]:g} over {over} are"
            f" {low:g} and {high:g}",
            path=volume.source.path,
            remedy="give a mask that covers the organ",
        )
    ends = sorted((float(end) - volume.offset) / volume.scale for end in (low, high))
    return Window(ends[0], ends[1], rule, over)


def windowed(volume: Volume, window: Window) -> Volume:
    """Return a volume whose levels are a window: what methods are given."""
    return volume.with_levels(window.low, window.high)


def clipped(volume: Volume) -> Tensor:
    """Return the voxels of a volume ``(slice, row, column)`` float32 in [0, 1] over its levels, clipped."""
    return torch.from_numpy(volume.unit()[0]).clamp_(0, 1)


def in_units(frames: Tensor, grid: Grid, window: Window, *, like: Volume, known: bool) -> Volume:
    """Return made slices as a volume in stored units.

    Args:
        frames: ``(slice, 1, row, column)`` in [0, 1].
        grid: Where they lie.
        window: Stored values that are 0 and 1.
        like: The contrast itself, whose depth, scale and header are kept; or any of the subject, of which the header
            is kept alone.
        known: Which of both.
    """
    unit = frames[:, 0].numpy()[None]
    if known:
        return like.with_voxels(like.stored(unit, (window.low, window.high)), grid=grid)
    empty = _made(np.empty((1, 1, 1), np.uint16), Grid.spaced((1, 1, 1), (1, 1, 1)), like)
    return _made(empty.stored(unit, (window.low, window.high)), grid, like)


def uncertainty_in_units(uncertainty: Tensor, grid: Grid, window: Window, made: Volume) -> Volume:
    """Return a map of uncertainty ``(slice, 1, row, column)`` as float32 in the real units of what was made."""
    factor = (window.high - window.low) * abs(made.scale)
    values = (uncertainty[:, 0].double() * factor).float().numpy()
    return Volume.from_array(values, affine=grid.affine, source=made.source)


def _made(voxels: NDArray[np.uint16], grid: Grid, like: Volume) -> Volume:
    return Volume(
        lambda: voxels,
        grid=grid,
        dtype=np.uint16,
        scale=1 / _STEPS,
        levels=_MADE_LEVELS,
        space_unit=like.space_unit,
        source=like.source,
    )
