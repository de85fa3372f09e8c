"""Scores of fused frames on a trust page: a table of methods, and a chart over time or distance."""

from __future__ import annotations

import numpy as np

from ..cine import TimeUnit
from ..fusion.held_out import Scores
from ..fusion.trust import BICUBIC, SHARP, TRUTH
from ..report import Block, Cell, Chart, Column, Prose, Table, number
from ..report.charts import Panel, Series, chart

SLOTS = {"hold": 1, "bicubic": 2, "temporal-linear": 3, "flow": 4, SHARP: 1, BICUBIC: 2, TRUTH: 3}
"""Of colours: what is judged has the first."""


def score_blocks(scores: Scores, *, time_unit: TimeUnit = "s") -> list[Block]:
    """Return the table and the chart of what was scored.

    Args:
        scores: Of several methods.
        time_unit: Of their times.
    """
    shown = (("psnr", "PSNR", "dB", 2), ("ssim", "SSIM", "0 to 1", 4), ("mae", "Mean error", "% of the window", 3))
    rows: list[list[str | Cell]] = []
    for name in scores.by_method:
        cells: list[str | Cell] = [Cell(name, strong=name == scores.method)]
        for key, _, _, digits in shown:
            values = {other: scores.mean(other, key) for other in scores.by_method}
            best = values[name] == (min if key == "mae" else max)(values.values()) and len(values) > 1
            cells.append(Cell(number(values[name] * (100 if key == "mae" else 1), digits), best=best))
        rows.append(cells)
    columns = [Column("Method", numeric=False), *(Column(title, unit) for _, title, unit, _ in shown)]
    blocks: list[Block] = [
        Table(f"Mean over {scores.frames} frames.", columns, rows),
        _by_distance(scores, time_unit) if _distances(scores) > 1 else _over_time(scores, time_unit),
    ]
    if scores.against.startswith("hidden"):
        text = "Hiding a frame doubles the distance that has to be bridged: these numbers overstate the error."
        return [Prose(text), *blocks]
    return blocks


def _distances(scores: Scores) -> int:
    return len({float(f"{one.apart:.3g}") for one in scores.by_method[scores.method]})


def _by_distance(scores: Scores, time_unit: TimeUnit) -> Chart:
    """Draw the mean PSNR by the time to the nearest sharp frame."""
    series = []
    times, unit = unit_of(max(one.apart for one in scores.by_method[scores.method]), time_unit)
    for name, frames in scores.by_method.items():
        apart = np.array([float(f"{one.apart:.3g}") for one in frames])
        quality = np.array([one.psnr for one in frames])
        places = np.unique(apart)
        means = [float(quality[apart == place].mean()) for place in places]
        series.append(Series(name, (places * times).tolist(), means, slot=_slot(name, scores), style="line+points",
                             bold=name == scores.method))  # fmt: skip
    return chart(
        [Panel(series)],
        x=f"time to the nearest sharp frame, {unit}",
        y="PSNR, dB",
        alt="PSNR by the time to the nearest sharp frame, by method",
        caption="Mean over the frames that are so far from a sharp one.",
        digits=3,
    )


def _over_time(scores: Scores, time_unit: TimeUnit) -> Chart:
    times, unit = unit_of(max(abs(one.time) for one in scores.by_method[scores.method]), time_unit)
    series = [
        Series(name, [one.time * times for one in frames], [one.psnr for one in frames], slot=_slot(name, scores),
               style="line+points", bold=name == scores.method)
        for name, frames in scores.by_method.items()
    ]  # fmt: skip
    return chart([Panel(series)], x=f"time, {unit}", y="PSNR, dB", alt="PSNR of each frame by method",
                 caption="Each frame that was scored.", digits=3)  # fmt: skip


def _slot(name: str, scores: Scores) -> int:
    return 0 if name == scores.method else SLOTS.get(name, 5)


def unit_of(time: float, time_unit: TimeUnit = "s") -> tuple[float, str]:
    """Return by what a time is multiplied to be well read, and the unit that it then has; frames stay frames."""
    if time_unit != "s":
        return 1.0, "frames"
    return next(((n, name) for n, name in ((1.0, "s"), (1e3, "ms")) if time * n >= 1), (1e6, "µs"))
