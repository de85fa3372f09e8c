"""Tables and charts of the page of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..interpolation.comparison import Difference, tabulated
from ..report import Block, Cell, Column, Details, Prose, Table, number, spread
from ..report.charts import Panel, Series, chart
from ..trust.core import Quartiles
from .evaluation_cases import BASELINES
from .evaluation_tables import COMPARED, Findings

_NAMES = {
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", ""),
    "mae": ("Error", "grey levels"),
    "ie": ("Error, root mean square", "8-bit levels"),
    "mse": ("Squared error", ""),
    "step_error": ("Error of steps", "grey levels"),
    "flicker": ("Flicker", "1 as acquired"),
    "ssim_standard": ("SSIM, standard", ""),
    "loss": ("Loss", ""),
}
_DIGITS = {"ssim": 4, "psnr": 2, "mae": 2, "ie": 2, "step_error": 2, "flicker": 3, "mse": 6, "ssim_standard": 4}
_FIDELITY = ("psnr_moving", "psnr_imaged", "psnr_frame", "ssim_moving")
_TIME = ("mae_moving", "step_error", "flicker")
_MOST_LINES = 60


def words(measure: str) -> tuple[str, str]:
    """Return name and unit of a measure."""
    if measure in _NAMES:
        return _NAMES[measure]
    base, _, area = measure.rpartition("_")
    if base in _NAMES:
        title, unit = _NAMES[base]
        return f"{title}, {'whole' if area == 'frame' else area}", unit
    return measure.capitalize(), ""


def digits_of(measure: str) -> int:
    """Return the decimals that a measure is written with."""
    return _DIGITS.get(measure, _DIGITS.get(measure.rpartition("_")[0], 4))


def difference_tables(findings: Findings) -> list[Block]:
    """Return every difference to the best baseline: by the most telling measure, and folded away by the others."""
    first, *others = (_difference_table(findings, measure) for measure in COMPARED[findings.protocol])
    return [first, Details("By other measures", others)]


def _difference_table(findings: Findings, measure: str) -> Table:
    title, unit = words(measure)
    return Table(
        f"{title}: each method less the baseline that does best at that gap, each baseline less the best of the others",
        [
            Column("Gap"),
            Column("Method", numeric=False),
            Column("Best baseline", numeric=False),
            Column("Difference", unit),
            Column("95 % interval", numeric=False),
            Column("Frames higher", "%"),
            Column("Outcome", numeric=False),
        ],
        [_difference_row(one) for one in findings.differences if one.measure == measure],
        grouped=True,
    )


def _difference_row(one: Difference) -> list[str | Cell]:
    digits = digits_of(one.measure)
    interval = "–" if one.interval is None else " to ".join(number(end, digits, signed=True) for end in one.interval)
    return [
        str(one.gap),
        Cell(one.method, strong=one.method not in BASELINES),
        one.baseline,
        number(one.difference, digits, signed=True),
        interval,
        f"{100 * one.better:.0f}",
        Cell(one.outcome, best=one.outcome == "better", bad=one.outcome == "worse"),
    ]


def as_published(findings: Findings) -> list[Block]:
    """Return the means that the protocol's authors report."""
    names = [
        name
        for name in dict.fromkeys(name for told in findings.reported.values() for name in told)
        if name not in ("indices", "samples", "batches")
    ]
    rows: list[list[str | Cell]] = [
        [
            Cell(method, strong=method not in BASELINES),
            str(told["samples"]),
            *(number(told.get(name), digits_of(name)) for name in names),
        ]
        for method, told in findings.reported.items()
    ]
    columns = [Column("Method", numeric=False), Column("Samples"), *(Column(*words(name)) for name in names)]
    how = {
        "most-dsa": "Means over frame indices of the means over samples, of float predictions.",
        "super-slomo": "Means over batches of ten, of unclamped predictions.",
        "triplets": "Means over samples, of frames rounded to 8 bits, over the whole frame.",
    }[findings.protocol]
    blocks: list[Block] = [Table(how, columns, rows)]
    if findings.protocol == "most-dsa":
        blocks.append(Details("By frame index", [_index_table(findings)]))
    return blocks


def _index_table(findings: Findings) -> Table:
    rows: list[list[str | Cell]] = [
        [
            str(entry["index"]),
            method,
            *(
                number(entry[f"{name}_{kind}"], digits_of(name))
                for name in ("psnr", "ssim")
                for kind in ("mean", "std")
            ),
        ]
        for method, told in findings.reported.items()
        for entry in told["indices"]
    ]
    rows.sort(key=lambda row: int(str(row[0])))
    columns = [Column("Index"), Column("Method", numeric=False)]
    columns += [
        Column(f"{name}, {kind}", unit)
        for name, unit in (("PSNR", "dB"), ("SSIM", ""))
        for kind in ("mean", "deviation")
    ]
    return Table("Mean and deviation over samples of each frame between the two given", columns, rows, grouped=True)


def by_gap(findings: Findings) -> list[Block]:
    """Return quartiles of every measure by gap and method, and on runs how the error grows with the gap."""
    if findings.protocol != "leave-one-out":
        return [_median_table(findings, findings.measures, "Median over hidden frames, below it the quartiles.")]
    blocks: list[Block] = [
        _median_table(findings, _FIDELITY, "Likeness: median over hidden frames, below it the quartiles."),
        _median_table(
            findings, _TIME, "Error and consistency in time: median over hidden frames, below it the quartiles."
        ),
    ]
    return [*blocks, _gap_chart(findings)] if len(findings.gaps) > 1 else blocks


def _gap_chart(findings: Findings) -> Block:
    table = tabulated(findings.rows, ("gap", "method"), ("mae_moving",))
    series = []
    for slot, method in enumerate(findings.methods):
        told = {entry["gap"]: entry["mae_moving"].median for entry in table if entry["method"] == method}
        gaps = sorted(told)
        values = [told[gap] for gap in gaps]
        bold = method in findings.named
        series.append(Series(method, gaps, values, slot=slot, style="line+points", bold=bold))
    return chart(
        [Panel(series, ticks=findings.gaps, from_zero=True)],
        x="gap (frames from one shown frame to the next)",
        y="median error where runs move, grey levels",
        alt="Median absolute error by gap and method; the values are in the table.",
        caption="Lower is better. Interpolation of the runs themselves works at gap 1, to the left of this chart.",
        height=2.8,
    )


def by_place(findings: Findings) -> list[Block]:
    """Return medians by the hidden frame's place in its gap, and by phase where there are several."""
    place = _crossed(
        findings,
        ("gap", "place"),
        [Column("Gap"), Column("Place")],
        "By the hidden frame's place in its gap, counted from the shown frame.",
    )
    if not any(row.phase for row in findings.rows):
        return [place]
    phase = _crossed(
        findings,
        ("gap", "phase"),
        [Column("Gap"), Column("Phase")],
        "By phase: which of the ways to thin the run hid the frame.",
    )
    return [place, phase]


def by_run(findings: Findings) -> list[Block]:
    """Return medians of each run, of the first ones where they are many."""
    columns = [Column("Run", numeric=False), Column("Patient", numeric=False), Column("Gap")]
    table = _crossed(findings, ("run", "patient", "gap"), columns, "By run.")
    if len(table.rows) <= _MOST_LINES:
        return [table]
    shown = replace(table, rows=table.rows[:_MOST_LINES])
    rest = f"The first {_MOST_LINES} of {len(table.rows)} lines; summary.json has all."
    return [shown, Prose(rest, quiet=True)]


def _crossed(findings: Findings, by: Sequence[str], columns: Sequence[Column], caption: str) -> Table:
    """Return medians of the most telling measure with a row per group and a column per method."""
    measure = COMPARED[findings.protocol][0]
    title, unit = words(measure)
    groups: dict[tuple[Any, ...], dict[str, float]] = {}
    for entry in tabulated(findings.rows, (*by, "method"), (measure,)):
        if entry[measure] is not None:
            groups.setdefault(tuple(entry[name] for name in by), {})[entry["method"]] = entry[measure].median
    ordered = groups if by[0] == "run" else dict(sorted(groups.items()))
    rows: list[list[str | Cell]] = []
    for group, told in ordered.items():
        best = max(told.values())
        cells = [Cell(number(told.get(m), digits_of(measure)), best=told.get(m) == best) for m in findings.methods]
        rows.append([*map(str, group), *cells])
    methods = [Column(method, unit) for method in findings.methods]
    return Table(f"{caption} Median {title}; the best is green.", [*columns, *methods], rows, grouped=True)


def _median_table(findings: Findings, wanted: Sequence[str], caption: str) -> Table:
    table = tabulated(findings.rows, ("gap", "method"), wanted)
    measures = [name for name in wanted if any(entry[name] is not None for entry in table)]
    rows: list[list[str | Cell]] = []
    for gap in findings.gaps:
        group = [entry for entry in table if entry["gap"] == gap]
        for entry in group:
            cells = [_median(entry[name], [other[name] for other in group], name) for name in measures]
            method = Cell(entry["method"], strong=entry["method"] not in BASELINES)
            rows.append([str(gap), method, str(entry["count"]), *cells])
    columns = [Column("Gap"), Column("Method", numeric=False), Column("Hidden frames")]
    columns += [Column(*words(name)) for name in measures]
    return Table(f"{caption} The best of each gap is green.", columns, rows, grouped=True)


def _median(told: Quartiles | None, others: Sequence[Quartiles | None], name: str) -> Cell:
    """Return a cell; the best is marked, but of flicker none, since a blend is smooth and noise is not."""
    if told is None:
        return Cell("–")
    medians = [other.median for other in others if other is not None]
    wanted = max(medians) if name.startswith(("psnr", "ssim")) else min(medians)
    return Cell(*spread(told, digits_of(name)), best=name != "flicker" and told.median == wanted)
