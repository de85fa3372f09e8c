"""The page of an evaluation: what beats the best baseline and how surely, then the tables that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..interpolation.comparison import Difference
from ..report import (
    Block,
    Callout,
    Details,
    Facts,
    Level,
    Listing,
    Page,
    Section,
    Tile,
    Tiles,
    number,
)
from .evaluation_figures import as_published, by_gap, by_place, by_run, difference_tables, digits_of, words
from .evaluation_options import ProtocolName
from .evaluation_tables import COMPARED, Findings

_TITLES: dict[ProtocolName, str] = {
    "leave-one-out": "frames of whole runs hidden and made again",
    "most-dsa": "the published protocol of MoSt-DSA",
    "super-slomo": "the published validation of Super-SloMo",
    "triplets": "triplets of frames, as of UCF101",
}
_READING = (
    ("Differences:", "of the same hidden frames, mean over patients of each one's mean, the method less the baseline "
     "that does best. The interval is where 95 % of them lie when patients are drawn again with replacement: unclear "
     "where it holds 0. Below 0.05 dB or 0.0005 of SSIM methods are level. The baseline is the best on these very "
     "data, which favours it."),
    ("PSNR (dB):", "how small the squared error is against the largest value of the depth. Higher is better; equal "
     "frames have none, and count as 100 dB in differences."),
    ("SSIM:", "likeness of local structure under a Gaussian window, 1 for identical pictures."),
    ("Moving, imaged, whole:", "where the run moves by more than 2 % of its depth; where anything changes at all, so "
     "without letterbox and what lies outside a sector; and the whole frame, which still margins flatter."),
    ("Error of steps:", "how wrong the changes from frame to frame are, mean absolute, where the run moves. At gap 2 "
     "it is the error itself, since both neighbours are acquired."),
    ("Flicker:", "mean absolute second difference in time of the made sequence over that of the acquired one: below 1 "
     "smoother than the run, noise included; above 1 restless."),
    ("Median [quartiles]:", "half of the hidden frames lie between the two numbers in brackets."),
    ("Baselines:", "hold repeats the nearest frame, linear blends both, minterpolate and optical-flow follow the "
     "motion without training. A network that does not beat them is not worth its time."),
)  # fmt: skip


def page_of(findings: Findings) -> Page:
    """Return the page of an evaluation of at least one row."""
    sections = [Section("Result", _result(findings))]
    if findings.reported:
        sections.append(Section("As published", as_published(findings)))
    sections += [
        Section("Against the best baseline", difference_tables(findings)),
        Section("By method and gap", by_gap(findings)),
        Section("By phase and place", by_place(findings)),
        Section("By run", by_run(findings)),
        Section("What was evaluated", _evaluated(findings)),
        Section("How to read this, and its limits", [Listing(_READING), _limits()]),
    ]
    frames = len({(row.run, row.gap, row.first, row.hidden) for row in findings.rows})
    return Page(
        title="Evaluation of interpolation",
        subtitle=f"{_TITLES[findings.protocol]}: {frames} hidden frames of {findings.patients} patients, "
        f"{len(findings.methods)} methods",
        sections=sections,
        plan=findings.plan,
    )


# --- the result first -------------------------------------------------------------------------------------------------


def _result(findings: Findings) -> list[Block]:
    measure = COMPARED[findings.protocol][0]
    told = [one for one in findings.differences if one.measure == measure]
    blocks: list[Block] = []
    for name in findings.named:
        mine = [one for one in told if one.method == name]
        if mine:
            blocks.append(Callout(_level(mine), _headline(name, mine), [_sentence(one) for one in mine]))
    if findings.named:
        first = [one for one in told if one.method in findings.named and one.gap == findings.gaps[0]]
        blocks.append(Tiles([_tile(one) for one in first]))
    else:
        lines = [f"{one.method}: {_sentence(one)}" for one in told if one.difference > 0]
        blocks.append(Callout("info", "Only baselines were scored: which of them does best", lines))
    if findings.failures:
        lines = [f"{one.case}: {one.message}" for one in findings.failures]
        blocks.append(Callout("alarm", f"{len(lines)} of {findings.cases} could not be scored", lines))
    return blocks


def _level(told: Sequence[Difference]) -> Level:
    outcomes = {one.outcome for one in told}
    return "alarm" if "worse" in outcomes else "good" if outcomes == {"better"} else "warning"


def _headline(name: str, told: Sequence[Difference]) -> str:
    gaps = {
        outcome: [str(one.gap) for one in told if one.outcome == outcome] for outcome in ("worse", "better", "too few")
    }
    if gaps["worse"]:
        return f"{name} is WORSE than the best baseline at gap {', '.join(gaps['worse'])}"
    if len(gaps["better"]) == len(told):
        return f"{name} beats the best baseline"
    if gaps["better"]:
        return f"{name} beats the best baseline at gap {', '.join(gaps['better'])} only"
    if gaps["too few"]:
        return f"{name}: too few patients to tell it apart from the best baseline"
    return f"{name} is no better than the best baseline"


def _sentence(one: Difference) -> str:
    title, unit = words(one.measure)
    digits = digits_of(one.measure)
    between = "no interval: one patient" if one.interval is None else _between(one, digits)
    difference = number(one.difference, digits, signed=True)
    return (
        f"Gap {one.gap}: {difference} {unit} {title} against {one.baseline} ({between}; higher on {one.better:.0%} of "
        f"{one.frames} frames of {one.patients} patients)."
    ).replace("  ", " ")


def _between(one: Difference, digits: int) -> str:
    assert one.interval is not None
    low, high = (number(end, digits, signed=True) for end in one.interval)
    return f"95 % interval {low} to {high}"


def _tile(one: Difference) -> Tile:
    levels: dict[str, Level] = {"better": "good", "worse": "alarm"}
    title, unit = words(one.measure)
    digits = digits_of(one.measure)
    context = "one patient: no interval" if one.interval is None else f"{one.outcome}: {_between(one, digits)}"
    value = number(one.difference, digits, signed=True)
    name = f"{one.method} against {one.baseline}, gap {one.gap}, {title}"
    return Tile(name, value, unit, context, levels.get(one.outcome, "warning"))


# --- the rest ---------------------------------------------------------------------------------------------------------


def _evaluated(findings: Findings) -> list[Block]:
    facts = {
        "Protocol": f"{findings.protocol}: {_TITLES[findings.protocol]}",
        "Cases": f"{findings.cases}, {len(findings.failures)} of which could not be scored",
        "Runs": str(len({row.run for row in findings.rows})),
        "Patients": str(findings.patients),
        "Rows": f"{len(findings.rows)}, in scores.csv",
    }
    blocks: list[Block] = [Facts(facts), Facts({label: _described(told) for label, told in _methods(findings)})]
    if findings.notes:
        blocks.append(Details(f"Notes: {len(findings.notes)}", [Listing(findings.notes)]))
    return blocks


def _methods(findings: Findings) -> list[tuple[str, dict[str, Any]]]:
    return [(label, findings.plan.method[label]) for label in findings.methods]


def _described(told: dict[str, Any]) -> str:
    kept = {key: value for key, value in told.items() if key not in ("name", "config") and value is not None}
    if "weights_sha256" in kept:
        kept["weights_sha256"] = f"{str(kept['weights_sha256'])[:12]}…"
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in kept.items()) or "no options"


def _limits() -> Callout:
    return Callout(
        "info",
        "Limits",
        [
            "Scores hold for recordings like these; another scanner, organ or frame rate needs its own.",
            "A network's numbers mean nothing on patients that it was trained on.",
            "PSNR and SSIM do not say whether a vessel was invented or erased: see the frames with `scanweave trust`.",
            "Strain, speckle tracking and time-to-peak must use acquired frames, never made ones.",
        ],
    )
