"""Charts: what is drawn is what was given, in colours that the page decides."""

import re
import threading
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from scanweave.report.charts import Mark, Panel, Series, chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn_points(svg: str) -> list[list[tuple[float, float]]]:
    """Return the vertices of every polyline of two or more points that is drawn in a series' colour."""
    lines = []
    for path in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        if "var(--chart-" in path.get("style", "") and "fill: none" in path.get("style", ""):
            numbers = re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path.get("d", ""))
            lines.append([(float(x), float(y)) for x, y in numbers])
    return [line for line in lines if len(line) > 1]


def test_the_line_drawn_is_the_line_given() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0]
    made = chart([Panel([Series("pi", range(7), values)])], x="k", y="digit", alt="digits")
    (line,) = drawn_points(made.svg)
    xs, ys = np.array(line).T
    assert np.allclose(np.diff(xs), np.diff(xs)[0])
    # The page's y axis points down: the drawing is a falling straight function of the values.
    slope, offset = np.polyfit(values, ys, 1)
    assert slope < 0
    assert np.allclose(slope * np.array(values) + offset, ys, atol=1e-3)


def test_the_numbers_stand_in_a_table() -> None:
    panels = [Panel([Series("a", [0, 1], [1.5, np.nan]), Series("b", [1, 2.5], [2.25, -3])], title="Gap 2")]
    (table,) = chart(panels, x="frame", y="PSNR, dB", alt="-").numbers
    assert table.caption == "Gap 2: PSNR, dB"
    assert [column.title for column in table.columns] == ["frame", "a", "b"]
    assert [list(row) for row in table.rows] == [["0", "1.50", "–"], ["1", "–", "2.25"], ["2.50", "–", "−3.00"]]


def test_colours_come_from_the_page_and_names_are_its_own() -> None:
    series = [Series(f"s{k}", [0, 1, 2], [k, k + 1, k], slot=k, style="line+points") for k in range(6)]
    one = chart([Panel(series, marks=[Mark(1, "R")], diagonal=True)], x="x", y="y", alt="-").svg
    other = chart([Panel(series[:2], ticks=[0, 2], from_zero=True)], x="x", y="y", alt="-").svg
    for svg in (one, other):
        used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]+)", svg))
        assert not used, "a fixed colour would not follow the reader's colour scheme"
        identities = set(re.findall(r'\bid="([^"]+)"', svg))
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= identities
    assert not set(re.findall(r'\bid="([^"]+)"', one)) & set(re.findall(r'\bid="([^"]+)"', other))
    for k in range(6):
        assert f"var(--chart-{k})" in one


@pytest.mark.parametrize("style", ["line", "line+points", "points", "bars"])
def test_every_style_survives_what_is_not_finite(style: str) -> None:
    series = Series("a", [1, 2, 3], [np.inf, 1.0, np.nan], low=[0, 0, 0], high=[2, np.inf, 2], style=style)
    assert "<svg" in chart([Panel([series])], x="x", y="y", alt="-").svg


def test_one_point_and_no_point() -> None:
    assert "<svg" in chart([Panel([Series("a", [3], [1.0], style="bars")])], x="x", y="y", alt="-").svg
    assert "<svg" in chart([Panel([Series("a", [], [])])], x="x", y="y", alt="-").svg
    with pytest.raises(ValueError, match="at least one panel"):
        chart([], x="x", y="y", alt="-")


def test_drawing_is_repeatable_and_leaves_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    drawn: list[str] = []

    def draw() -> None:
        drawn.append(chart([Panel([Series("a", [0, 1], [0, 1])])], x="x", y="y", alt="-").svg)

    threads = [threading.Thread(target=draw) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 1
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("positions", "whole"), [([21, 22, 23], True), ([0.0, 0.25, 0.5], False)])
def test_whole_positions_get_whole_ticks(positions: list[float], whole: bool) -> None:
    svg = chart([Panel([Series("a", positions, [1.0, 3.0, 2.0])])], x="frame", y="dB", alt="-").svg
    axis = next(
        group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if "matplotlib.axis_1" in group.get("id", "")
    )
    ticks = ["".join(text.itertext()).strip() for text in axis.iter(f"{SVG}text")]
    numbers = [float(tick.replace("\N{MINUS SIGN}", "-")) for tick in ticks if tick[-1].isdigit()]
    assert len(numbers) >= 2
    assert all(number.is_integer() for number in numbers) == whole
