"""The page of an evaluation of synthesis: what beats the best baseline, then the tables that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..report import Block, Callout, Cell, Column, Listing, Page, Section, Table, number
from ..synthesis.comparison import SMALLER_IS_BETTER, Difference

if TYPE_CHECKING:
    from .synthesis_evaluation import SynthesisFindings

_WORDS = {
    "psnr": ("PSNR", "dB", 2),
    "ssim": ("SSIM", "", 4),
    "mae": ("Mean error", "", 3),
    "psnr_fitted": ("PSNR, fitted", "dB", 2),
    "ssim_axial": ("SSIM, axial", "", 4),
    "ssim_coronal": ("SSIM, coronal", "", 4),
    "ssim_sagittal": ("SSIM, sagittal", "", 4),
    "psnr_whole": ("PSNR, whole", "dB", 2),
    "psnr3d": ("PSNR 3D", "dB", 2),
    "ssim3d": ("SSIM 3D", "", 4),
    "psnr_slice": ("PSNR of slices", "dB", 2),
    "ssim_slice": ("SSIM of slices", "", 4),
}
_READING = (
    ("Judged:", "the mask, or where none was given the largest bright part of the target; 0 and 1 are percentiles 0.5 "
     "and 99.5 of the target there, and nothing is clipped."),
    ("PSNR, fitted:", "after the one scale and offset of intensity that suit the prediction best: what is left is "
     "structure."),
    ("SSIM in a plane:", "likeness of local structure in that plane alone; slices that do not fit together show in the "
     "two planes across them."),
    ("Mean error:", "mean absolute, in units of the target; less is better."),
    ("Differences:", "paired by subject, positive where the method is better. The interval is where 95 % of their "
     "means lie when subjects are drawn again with replacement. The baseline is the best on these very data, which "
     "favours it."),
)  # fmt: skip


def page_of(findings: SynthesisFindings) -> Page:
    """Return the page of an evaluation of at least one row."""
    sections = [Section("Result", _result(findings))]
    if findings.differences:
        sections.append(Section("Against the best baseline", [_differences(findings)]))
    sections += [
        Section("By task and method", [_means(findings)]),
        Section("By subject", [_subjects(findings)]),
        Section("How to read this", [Listing([*_READING, *findings.notes])]),
    ]
    subjects = len({row.subject for row in findings.rows})
    methods = len({row.method for row in findings.rows})
    protocol = "as published" if findings.protocol == "published" else "in a mask, over the target's range"
    return Page(
        title="Evaluation of synthesis",
        subtitle=f"{subjects} subjects, {methods} methods, scored {protocol}",
        sections=sections,
        plan=findings.plan,
    )


def _result(findings: SynthesisFindings) -> list[Block]:
    blocks: list[Block] = []
    if findings.differences:
        measure = findings.differences[0].measure
        told = [one for one in findings.differences if one.measure == measure]
        named = [one for one in told if one.method not in findings.baselines]
        for one in named or told:
            level = {"better": "good", "worse": "alarm"}.get(one.outcome, "warning")
            title = f"{one.task}: {one.method} against {one.baseline}"
            blocks.append(Callout(level, title, [_sentence(one)]))  # type: ignore[arg-type]
    if findings.failures:
        lines = [f"{one.case}: {one.message}" for one in findings.failures]
        blocks.append(Callout("alarm", f"{len(lines)} of {findings.cases} could not be scored", lines))
    return blocks or [Callout("info", "Nothing to compare with", ["No baseline was scored: see the tables."])]


def _sentence(one: Difference) -> str:
    title, unit, digits = words(one.measure)
    difference = number(one.difference, digits, signed=True)
    return f"{difference} {unit} {title}, {one.outcome}: {_interval(one, digits)}, {one.subjects} subjects.".replace(
        "  ", " "
    )


def _interval(one: Difference, digits: int) -> str:
    if one.interval is None:
        return "no interval of one subject"
    low, high = (number(end, digits, signed=True) for end in one.interval)
    return f"95 % interval {low} to {high}"


def _differences(findings: SynthesisFindings) -> Table:
    columns = [
        *(Column(name, numeric=False) for name in ("Task", "Measure", "Method", "Baseline")),
        Column("Difference"),
        *(Column(name, numeric=False) for name in ("95 % interval", "Outcome")),
    ]
    rows = []
    for one in findings.differences:
        title, unit, digits = words(one.measure)
        shown = f"{title} ({unit})" if unit else title
        difference, interval = number(one.difference, digits, signed=True), _interval(one, digits)
        rows.append([one.task, shown, one.method, one.baseline, difference, interval, one.outcome])
    return Table("Paired differences; larger is better for the method.", columns, rows, grouped=True)


def _means(findings: SynthesisFindings) -> Table:
    rows = []
    for entry in findings.table:
        cells: list[str | Cell] = [entry["task"], entry["method"], str(entry["subjects"])]
        rivals = [other for other in findings.table if other["task"] == entry["task"]]
        for measure in findings.measures:
            told = entry[measure]
            if told is None:
                cells.append("–")
                continue
            _, _, digits = words(measure)
            means = [other[measure]["mean"] for other in rivals if other[measure] is not None]
            best = min(means) if measure in SMALLER_IS_BETTER else max(means)
            detail = f"± {number(told['std'], digits)}"
            cells.append(Cell(number(told["mean"], digits), detail, best=told["mean"] == best and len(means) > 1))
        rows.append(cells)
    columns = [Column("Task", numeric=False), Column("Method", numeric=False), Column("Subjects")]
    return Table(
        "Mean and standard deviation over subjects.", [*columns, *_columns(findings.measures)], rows, grouped=True
    )


def _subjects(findings: SynthesisFindings) -> Table:
    columns = [Column(name, numeric=False) for name in ("Subject", "Task", "Method")]
    rows = [
        [
            row.subject,
            row.task,
            row.method,
            *(number(row.values.get(name), words(name)[2]) for name in findings.measures),
        ]
        for row in findings.rows
    ]
    return Table("Every subject.", [*columns, *_columns(findings.measures)], rows, grouped=True)


def _columns(measures: Sequence[str]) -> list[Column]:
    return [Column(title, unit) for title, unit, _ in map(words, measures)]


def words(measure: str) -> tuple[str, str, int]:
    """Return title, unit and decimals of a measure."""
    if measure.startswith("dice"):
        label = measure.partition("_")[2]
        return (f"Dice, label {label}" if label else "Dice", "", 3)
    return _WORDS.get(measure, (measure, "", 4))
