"""Pictures of a slowed run beside what it was made from, and its confidence as a run of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..cine import Cine, Source
from ..interpolation.interpolated import InterpolatedCine


def side_by_side(slow: InterpolatedCine) -> Iterator[NDArray[np.uint8]]:
    """Yield pictures of three panels: the original at its own speed (looping), slow motion, plain frame repetition.

    All three run for as long as the slow motion does, as published comparisons show them.
    """
    acquired = slow.acquired
    titles = ("original speed", f"slow motion: {slow.method.name}", "slow, frames repeated")
    banners = _banners(titles, columns=acquired.shape[1])
    for k, time in enumerate(slow.times):
        repeated = int(np.searchsorted(acquired.times, time + 1e-9, side="right")) - 1
        panels = [acquired.shown(k % len(acquired)), slow.shown(k), acquired.shown(max(0, repeated))]
        yield np.vstack([banners, np.hstack(panels)])


def _banners(titles: Sequence[str], *, columns: int) -> NDArray[np.uint8]:
    """Return one strip over all panels, in the largest type in which every title fits its panel."""
    size = max(8, columns // 16)
    while size > 7 and max(ImageFont.load_default(size).getlength(title) for title in titles) > columns - 8:
        size -= 1
    font = ImageFont.load_default(size)
    strip = Image.new("RGB", (columns * len(titles), size + 10), (24, 24, 24))
    for k, title in enumerate(titles):
        ImageDraw.Draw(strip).text((k * columns + 4, 3), title, fill=(235, 235, 235), font=font)
    return np.asarray(strip)


def confidence_map(slow: InterpolatedCine) -> Cine:
    """Return the half-width of the 90 % error interval per pixel in stored units; 0 where frames were acquired."""
    kinds = [record.kind for record in slow.records]

    def interval(index: int) -> NDArray[np.float32]:
        made = slow.made_frame(index).interval if kinds[index] == "made" else None
        return np.zeros(slow.shape[:2], np.float32) if made is None else made

    return Cine(
        interval,
        shape=slow.shape[:2],
        dtype=np.float32,
        times=slow.times,
        time_unit=slow.time_unit,
        levels=(0.0, slow.levels[1] - slow.levels[0]),
        source=Source(path=slow.source.path),
    )
