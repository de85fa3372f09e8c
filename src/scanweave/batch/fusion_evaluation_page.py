"""The Markdown page of an evaluation of fusion: means and differences, by ratio and by distance; from its summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_TITLES = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 4), "mae": ("Mean error", 5), "aad": ("AAD, grey levels", 3)}


def page_of(summary: dict[str, Any]) -> str:
    """Return the page of what `summary.json` says."""
    counts, measures = summary["counts"], summary["measures"]
    runs = f"{counts['runs']} run{'s' * (counts['runs'] != 1)}"
    ratios = list(dict.fromkeys(one["ratio"] for one in summary["means"]))
    parts = [
        "# Evaluation of fusion",
        f"Protocol {summary['protocol']}: {counts['frames']} frames of {runs}, {counts['masked']} "
        f"masked, {counts['left_out_as_known']} left out as known. Means with 95 % intervals, by frames drawn again; "
        "frames of a run are alike, so that intervals are rather too narrow.",
    ]
    for ratio in ratios:
        parts += [f"## Ratio {ratio:g}", _table(("Method", "Frames", *map(_title, measures)), _means(summary, ratio))]
        parts += ["### Against the best baseline", _differences(summary, ratio)]
        parts += [f"### {_title(measures[0])} by frames to the nearest sharp one", _by_distance(summary, ratio)]
    if summary["published"]:
        parts += ["## As published", _table(*published_of(summary))]
        parts.append("The published means hold the frames that the method was given.")
    lines = [*summary["notes"], *(one["message"] for one in summary["failures"])]
    if lines:
        parts += ["## Notes", "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join([*parts, summary["notice"], ""])


def table_of(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the first measure: for each ratio and method its mean, and the gain over baselines."""
    measure = summary["measures"][0]
    changes = {
        (one["ratio"], one["method"]): one
        for one in summary["differences"]
        if one["measure"] == measure and one["steps"] is None
    }
    rows = []
    for one in summary["means"]:
        if one["measure"] != measure or one["steps"] is not None:
            continue
        change = changes.get((one["ratio"], one["method"]))
        against = ["-", "-", "-"] if change is None else [change["baseline"], _change(change), change["outcome"]]
        rows.append([f"{one['ratio']:g}", one["method"], str(one["frames"]), _value(one), *against])
    return ["Ratio", "Method", "Frames", _title(measure), "Baseline", "Better by", "Outcome"], rows


def published_of(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the means as published, with ours of the same run in brackets."""
    rows = []
    for one in summary["published"]:
        pairs = (
            f"{_number(one[f'published_{name}'], name)} ({_number(one[name], name)})" for name in summary["measures"]
        )
        counts = (str(one[name]) for name in ("frames", "masked", "left_out_as_known"))
        rows.append([one["run"], f"{one['ratio']:g}", one["method"], *counts, *pairs])
    titles = (f"{_title(name)}: published (ours)" for name in summary["measures"])
    return ["Run", "Ratio", "Method", "Frames", "Masked", "Left out by us", *titles], rows


def _means(summary: dict[str, Any], ratio: float) -> Iterable[Sequence[str]]:
    whole = [one for one in summary["means"] if one["ratio"] == ratio and one["steps"] is None]
    for method in summary["methods"]:
        own = [one for one in whole if one["method"] == method]
        if own:
            yield method, str(own[0]["frames"]), *map(_value, own)


def _differences(summary: dict[str, Any], ratio: float) -> str:
    rows = [
        (one["method"], _title(one["measure"]), one["baseline"], _change(one), one["outcome"])
        for one in summary["differences"]
        if one["ratio"] == ratio and one["steps"] is None
    ]
    return _table(("Method", "Measure", "Baseline", "Better by", "Outcome"), rows)


def _by_distance(summary: dict[str, Any], ratio: float) -> str:
    measure = summary["measures"][0]
    there = [one for one in summary["means"] if one["ratio"] == ratio and one["measure"] == measure]
    steps = sorted({one["steps"] for one in there if one["steps"] is not None})
    cells = {(one["method"], one["steps"]): _value(one) for one in there}
    rows = [[method, *(cells.get((method, step), "-") for step in steps)] for method in summary["methods"]]
    return _table(("Method", *map(str, steps)), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _value(one: dict[str, Any]) -> str:
    name = one["measure"]
    ends = "" if one["interval"] is None else f" ({' to '.join(_number(end, name) for end in one['interval'])})"
    return _number(one["mean"], name) + ends


def _change(one: dict[str, Any]) -> str:
    name = one["measure"]
    ends = "" if one["interval"] is None else f" ({' to '.join(_number(end, name, '+') for end in one['interval'])})"
    return _number(one["difference"], name, "+") + ends


def _number(value: float | str | None, measure: str, sign: str = "") -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:{sign}.{_TITLES[measure][1]}f}"


def _title(measure: str) -> str:
    return _TITLES[measure][0]
