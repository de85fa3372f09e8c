"""Running a convolutional network over a large frame piece by piece, with the numbers of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Tile(NamedTuple):
    """One stretch of an axis: what is kept of it, and what is looked at for that. Ends are exclusive."""

    start: int
    stop: int
    seen_start: int
    seen_stop: int


def tiles_of(length: int, *, core: int, margin: int, multiple: int) -> list[Tile]:
    """Divide an axis into as few stretches as cores allow, about equal, each seen with a margin cut at the ends.

    Args:
        length: Of the axis, a multiple of `multiple`.
        core: How long a stretch may be; rounded down to a multiple.
        margin: How far is looked on either side; rounded up to a multiple.
        multiple: Where stretches may begin, so that pooling and strides fall as on the whole.

    Raises:
        ValueError: A length that is no multiple, or a core below one.

    Example:
        >>> tiles_of(96, core=64, margin=10, multiple=16)
        [Tile(start=0, stop=48, seen_start=0, seen_stop=64), Tile(start=48, stop=96, seen_start=32, seen_stop=96)]
    """
    if length < 1 or length % multiple or core < multiple or margin < 0:
        raise ValueError(f"{length} pixels cannot be divided in cores of {core}, margins of {margin}, by {multiple}")
    units, allowed = length // multiple, core // multiple
    count = -(-units // allowed)
    edges = [multiple * (units * k // count) for k in range(count + 1)]
    margin = -(-margin // multiple) * multiple
    return [Tile(start, stop, max(0, start - margin), min(length, stop + margin)) for start, stop in pairwise(edges)]


def in_tiles(
    run: Callable[..., Tensor],
    maps: Sequence[Tensor],
    *,
    core: int,
    margin: int,
    multiple: int,
) -> Tensor:
    """Return what ``run(*maps)`` gives, computed tile by tile.

    The same numbers, if `run` sees no further than `margin` and its strides divide `multiple`: a tile that ends where
    the frame ends meets the same padding there as the whole would.

    Args:
        run: From maps to one map of the size of the first: ``(B, C, H, W)`` to ``(B, C', H, W)``.
        maps: What it works on. The first gives the size; the others may be smaller by whole factors that divide
            `multiple` (features at 1/2, 1/4, ...).
        core: Side of what one tile contributes, at most.
        margin: How far a tile is seen beyond that.
        multiple: What tiles' sides and places must be multiples of.

    Raises:
        ValueError: Sides that are no multiples, or maps whose sizes do not go together.
    """
    rows, columns = maps[0].shape[-2:]
    scales = [_scale(item, rows, columns, multiple) for item in maps]
    whole: Tensor | None = None
    for down, across in _grid(rows, columns, core=core, margin=margin, multiple=multiple):
        seen = [_seen(item, down, across, scale) for item, scale in zip(maps, scales, strict=True)]
        part = run(*seen)
        if (down.start, across.start, down.stop, across.stop) == (0, 0, rows, columns):
            return part
        if whole is None:
            whole = torch.empty((*part.shape[:-2], rows, columns), dtype=part.dtype, device=part.device)
        top, left = down.start - down.seen_start, across.start - across.seen_start
        height, width = down.stop - down.start, across.stop - across.start
        centre = part[..., top : top + height, left : left + width]
        whole[..., down.start : down.stop, across.start : across.stop] = centre
    assert whole is not None
    return whole


def _grid(rows: int, columns: int, *, core: int, margin: int, multiple: int) -> Iterator[tuple[Tile, Tile]]:
    across = tiles_of(columns, core=core, margin=margin, multiple=multiple)
    for row in tiles_of(rows, core=core, margin=margin, multiple=multiple):
        for column in across:
            yield row, column


def _scale(item: Tensor, rows: int, columns: int, multiple: int) -> int:
    height, width = item.shape[-2:]
    scale = rows // height if height else 0
    if scale < 1 or multiple % scale or (height * scale, width * scale) != (rows, columns):
        raise ValueError(f"a map of {height} x {width} is no fraction of {rows} x {columns} that divides {multiple}")
    return scale


def _seen(item: Tensor, down: Tile, across: Tile, scale: int) -> Tensor:
    return item[
        ...,
        down.seen_start // scale : down.seen_stop // scale,
        across.seen_start // scale : across.seen_stop // scale,
    ]
