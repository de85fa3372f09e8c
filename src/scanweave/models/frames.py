"""What every network of frame pairs asks of its input."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn


def check_pair(frame0: Tensor, frame1: Tensor, *, multiple: int) -> None:
    """Refuse what a network of frame pairs cannot take.

    Args:
        frame0: The first frame, ``(B, 3, H, W)``.
        frame1: The second frame, alike.
        multiple: What both sides must be a multiple of.

    Raises:
        ValueError: Anything but two floating colour batches of one shape and legal sides. A method pads and crops;
            a network never does.
    """
    if frame0.ndim != 4 or frame0.shape[1] != 3 or frame0.shape != frame1.shape:
        came = f"{tuple(frame0.shape)} and {tuple(frame1.shape)}"
        raise ValueError(f"two frames of one shape (batch, 3, rows, columns) were expected, not {came}")
    if not frame0.is_floating_point() or frame0.dtype != frame1.dtype:
        raise ValueError(f"two floating frames of one dtype were expected, not {frame0.dtype} and {frame1.dtype}")
    rows, columns = frame0.shape[2:]
    if rows < multiple or columns < multiple or rows % multiple or columns % multiple:
        raise ValueError(f"rows and columns must be multiples of {multiple}, not {rows} x {columns}: pad, then crop")


def times_like(times: Sequence[float] | Tensor, frame: Tensor) -> Tensor:
    """Return `times` as one vector of the dtype and on the device of `frame`.

    Raises:
        ValueError: No time, or not one row of them.
    """
    vector = torch.as_tensor(times, dtype=frame.dtype, device=frame.device)
    if vector.ndim != 1 or vector.shape[0] == 0:
        raise ValueError(f"a list of at least one time was expected, not an array of shape {tuple(vector.shape)}")
    return vector


def times_of_pairs(times: Sequence[float] | Tensor, frame: Tensor) -> Tensor:
    """Return `times` as :func:`times_like` does, or as one row for each pair where they come so, ``(B, N)``.

    Raises:
        ValueError: No time, neither one row of them nor one for each pair.
    """
    table = torch.as_tensor(times, dtype=frame.dtype, device=frame.device)
    if table.ndim != 2:
        return times_like(table, frame)
    if table.shape[0] != frame.shape[0] or table.shape[1] == 0:
        raise ValueError(f"times {tuple(table.shape)} are not one row for each of {frame.shape[0]} pairs")
    return table


def each_time(once: Tensor, count: int) -> Tensor:
    """Repeat what was computed once per pair for each of `count` times: ``(B, ...)`` to ``(B * count, ...)``.

    Of a single pair it is a view: no copy is made.
    """
    return once.unsqueeze(1).expand(-1, count, *once.shape[1:]).flatten(0, 1)


def by_pair(folded: Tensor, count: int) -> Tensor:
    """Undo the fold of :func:`each_time`: ``(B * count, ...)`` to ``(B, count, ...)``."""
    return folded.reshape(-1, count, *folded.shape[1:])


def in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """Run a layer that gives a flow or a residual in float32, also where autocast runs the rest in 16 bits.

    Of a displacement of 20 pixels bfloat16 keeps steps of an eighth of a pixel.
    """
    lowered = torch.is_autocast_enabled(x.device.type)
    with torch.autocast(x.device.type, enabled=False) if lowered else nullcontext():
        out: Tensor = layer(x.float() if lowered else x)
    return out
