"""Charts as inline SVG: drawn by matplotlib, coloured by the page's style sheet, readable in light and dark.

Colours are drawn as place-holders and replaced by CSS variables, so that one drawing follows the reader's colour
scheme. Series differ in colour (a palette made after Okabe and Ito, safe for colour-blind readers), dash and marker.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .page import Chart, Column, Table, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _SOFT, _LINE = "#010101", "#020202", "#030303"
_SERIES = tuple(f"#0404{k:02d}" for k in range(6))
_VARIABLES = {_INK: "--ink", _SOFT: "--soft", _LINE: "--line", "#050505": "--alarm"} | {
    colour: f"--chart-{k}" for k, colour in enumerate(_SERIES)
}
ALARM = "#050505"
_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (1, 1)), (0, (4, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P")
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "scanweave",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.unicode_minus": True,
}
# matplotlib's settings are global while a figure is drawn
_DRAWING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Series:
    """Values against positions.

    Attributes:
        name: What the legend calls it.
        x: Positions.
        y: Values; what is not finite is left out of the drawing.
        low: Lower ends of error bars, or None.
        high: Upper ends of error bars, or None.
        slot: Which of the six colours, dashes and markers; the same thing keeps its slot across charts.
        style: How it is drawn.
        bold: Whether it is the one that the page is about.
        alarm: Whether it marks something to worry about (drawn in the alarm colour).
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    slot: int = 0
    style: Literal["line", "line+points", "points", "bars"] = "line"
    bold: bool = False
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line with a word above it."""

    x: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes.

    Attributes:
        series: What is drawn.
        title: What this panel shows.
        marks: Vertical lines.
        diagonal: Whether to draw the line on which y equals x.
        ticks: Positions of the ticks, where they are few and known.
        from_zero: Whether the values begin at zero.
    """

    series: Sequence[Series]
    title: str = ""
    marks: Sequence[Mark] = ()
    diagonal: bool = False
    ticks: Sequence[float] | None = None
    from_zero: bool = False


def chart(
    panels: Sequence[Panel],
    *,
    x: str,
    y: str,
    alt: str,
    caption: str = "",
    across: int = 1,
    height: float = 2.6,
    digits: int = 2,
) -> Chart:
    """Draw panels that share their value axis.

    Args:
        panels: One or more pairs of axes.
        x: What the positions are, with unit.
        y: What the values are, with unit.
        alt: What a reader who cannot see the drawing should know.
        caption: One sentence below it.
        across: Panels in a row.
        height: Height of a row of panels in inches (of a page 8.6 inches wide).
        digits: Decimals of the values in the folded table.

    Returns:
        The chart with the numbers drawn, one table per panel.
    """
    if not panels:
        raise ValueError("a chart needs at least one panel")
    svg = _svg(panels, x=x, y=y, across=across, height=height)
    return Chart(svg, alt, caption, tuple(_numbers(panel, x, y, digits) for panel in panels if panel.series))


def _svg(panels: Sequence[Panel], *, x: str, y: str, across: int, height: float) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = -(-len(panels) // across)
    with _DRAWING, rc_context(_STYLE):
        figure = Figure(figsize=(8.6, height * rows + 0.35), layout="constrained")
        FigureCanvasSVG(figure)
        grid = figure.subplots(rows, across, sharey=True, squeeze=False)
        for k, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
            _draw(axes, panel)
            axes.set_xlabel(x if k + across >= len(panels) else "", color=_SOFT)
            axes.set_ylabel(y if k % across == 0 else "", color=_SOFT)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        _legend(figure, grid.flat)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True)
    return _inline(buffer.getvalue())


def _draw(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(panel.title, loc="left", color=_INK, fontweight="bold")
    axes.grid(axis="y", color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_SOFT, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_LINE)
    for series in panel.series:
        _draw_series(axes, series)
    for mark in panel.marks:
        axes.axvline(mark.x, color=_SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0.5)
        if mark.text:
            axes.annotate(
                mark.text,
                (mark.x, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, -2),
                textcoords="offset points",
                color=_SOFT,
                fontsize=8,
                va="top",
            )
    if panel.diagonal:
        low, high = min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([low, high], [low, high], color=_SOFT, linewidth=0.9, linestyle=(0, (4, 3)), label="equal")
    if panel.ticks is not None:
        axes.set_xticks(list(panel.ticks))
    elif all(float(at).is_integer() for series in panel.series for at in series.x):
        # frames are counted, and half a frame is none
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    if panel.from_zero:
        # room for the words above the marks
        axes.set_ylim(0, axes.get_ylim()[1] * (1.15 if panel.marks else 1.0))


def _draw_series(axes: Axes, series: Series) -> None:
    xs, ys = np.asarray(series.x, dtype=float), np.asarray(series.y, dtype=float)
    ys = np.where(np.isfinite(ys), ys, np.nan)
    slot = series.slot % len(_SERIES)
    colour = ALARM if series.alarm else _SERIES[slot]
    order = 4 if series.bold or series.alarm else 3
    if series.style == "bars":
        width = 0.8 * float(np.diff(np.unique(xs)).min()) if len(np.unique(xs)) > 1 else 0.8
        axes.bar(xs, np.nan_to_num(ys), width=width, color=colour, alpha=0.55, label=series.name, zorder=1)
        return
    if series.low is not None and series.high is not None:
        spans = np.abs(np.stack([ys - np.asarray(series.low), np.asarray(series.high) - ys]))
        spans = np.where(np.isfinite(spans), spans, 0.0)
        axes.errorbar(xs, ys, yerr=spans, fmt="none", ecolor=colour, elinewidth=1.1, capsize=3, alpha=0.75)
    axes.plot(
        xs,
        ys,
        label=series.name,
        color=colour,
        zorder=order,
        linewidth=2.6 if series.bold else 1.5,
        linestyle="none" if series.style == "points" else _DASHES[slot],
        marker=None if series.style == "line" else _MARKERS[slot],
        markersize=4.5,
        alpha=0.85 if series.style == "points" else 1.0,
    )


def _legend(figure: Figure, grid: Any) -> None:
    """Name the series once for all panels, above them."""
    from matplotlib.container import BarContainer

    named: dict[str, Any] = {}
    for axes in grid:
        # matplotlib lists bars after lines; here the order of drawing counts
        found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        for name in sorted(found, key=lambda name: not isinstance(found[name], BarContainer)):
            named.setdefault(name, found[name])
    if len(named) > 1:
        figure.legend(
            list(named.values()),
            list(named),
            loc="outside upper left",
            ncols=min(len(named), 5),
            frameon=False,
            labelcolor=_INK,
            handlelength=2.6,
            borderaxespad=0.2,
        )


def _inline(text: str) -> str:
    """Make a stand-alone SVG fit to stand in a page: CSS colours, names of its own, no prolog or metadata."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = re.sub(rf"{colour}\b", f"var({variable})", text)
    prefix = "c" + hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r'<svg (.*?)width="[^"]*pt"', r"<svg \1", text, count=1, flags=re.DOTALL)
    text = re.sub(r'<svg (.*?)height="[^"]*pt"', r"<svg \1", text, count=1, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", text)


def _numbers(panel: Panel, x: str, y: str, digits: int) -> Table:
    """Return the values of a panel: one row per position, one column per series, or one row per point."""
    positions = sorted({float(v) for series in panel.series for v in series.x})
    values = [dict(zip((float(v) for v in series.x), series.y, strict=True)) for series in panel.series]
    rows = [
        [number(position, 0 if position.is_integer() else digits), *(number(at.get(position), digits) for at in values)]
        for position in positions
    ]
    caption = f"{panel.title}: {y}" if panel.title else y
    return Table(caption, [Column(x), *(Column(series.name) for series in panel.series)], rows)
