"""The trust page of an interpolated run: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..cine import Cine
from ..report import (
    Block,
    Callout,
    Cell,
    Column,
    Details,
    Facts,
    Level,
    Listing,
    Page,
    Prose,
    Section,
    Table,
    Tile,
    Tiles,
    number,
    spread,
)
from .core import RunMethod
from .figures import (
    CONFIDENCE_GAP,
    Findings,
    confidence_chart,
    frames_chart,
    gaps_chart,
    m_mode_pictures,
    made_chart,
    region_pictures,
    timing_chart,
    worst_frames,
)
from .verdict import Verdict, confidence_summary, error_digits, judge, summaries

OVERSTATED = (
    "Every number here is measured on frames that are further apart than those of the run itself: gap 2, the smallest "
    "that can be tested, overstates the error of frames made between neighbours (gap 1)."
)
_LIMITS = (
    ("Acquired frames only:", "strain, speckle tracking and time-to-peak must use acquired frames, never made ones."),
    ("Not evidence:", "a made frame shows what is plausible between two moments, not what happened between them. "
     "What happens within a gap, such as a valve's flutter, cannot come back."),
    ("Codes are not grey values:", "colour flow, spectral, M-mode and ECG displays are copied, not interpolated, "
     "unless that was asked for."),
    ("Scored on this run:", "the numbers hold for this recording; another patient, probe or frame rate needs its own."),
    ("Readability is not accuracy:", "slow motion has been reported to read more easily, without a significant gain "
     "in diagnostic accuracy."),
)  # fmt: skip
_READING = (
    ("Leave-one-out:", "acquired frames are hidden, made again from those that remain, and compared. At gap 2 every "
     "second frame remains, at gap 4 every fourth; every frame is hidden in turn, unless this page says that only a "
     "part was."),
    ("Frame numbers:", "count from 0, as in the side-car; most viewers count from 1."),
    ("PSNR (dB):", "how small the squared error is against the largest grey value. Higher is better; 3 dB more means "
     "half the squared error. It does not say whether a structure was invented: look at the worst frames."),
    ("SSIM:", "likeness of local structure, 1 for identical pictures."),
    ("Error (grey levels):", "mean absolute difference in the units that the file stores."),
    ("Where the run moves:", "pixels whose range over time exceeds 2 % of the largest value, grown by 3 pixels. The "
     "whole frame is given beside it, but still margins flatter every method."),
    ("Median [quartiles]:", "half of the hidden frames lie between the two numbers in brackets."),
    ("Baselines:", "hold repeats the nearest frame, linear blends the two neighbours. A method that does not beat "
     "them on a run should not be used on it."),
)  # fmt: skip


def build(findings: Findings) -> Page:
    """Return the trust page for `findings`.

    Raises:
        UsageError: The method was not scored.
    """
    verdict = judge(findings.result, findings.chosen)
    cine, path = findings.cine, findings.cine.source.path
    name = path.name if path is not None else "an array"
    size = " × ".join(str(n) for n in cine.shape[:2])
    rate = f", {cine.fps:.4g} frames per second" if cine.fps is not None else ""
    sections = [
        Section("Verdict", _verdict(findings, verdict)),
        Section("What was found in the file", _found(findings)),
        Section("What was done", _done(findings)),
        Section("Timing", _timing(findings)),
        Section("How wrong, by method and gap", _scores(findings)),
        Section("Confidence", _confidence(findings)),
        Section("Worst frames", _worst(findings)),
        Section("Motion along one line", [m_mode_pictures(findings)]),
        Section("How to read this, and its limits", [Listing(_READING), _limits()]),
    ]
    return Page(
        title=f"Trust report: {name}",
        subtitle=f"{findings.chosen} on {len(cine)} frames of {size} pixels{rate}",
        sections=sections,
        plan=findings.plan,
    )


def _limits() -> Callout:
    return Callout("info", "Limits", [f"{term} {text}" for term, text in _LIMITS])


def _verdict(findings: Findings, verdict: Verdict) -> list[Block]:
    blocks: list[Block] = [
        Callout(verdict.level, _headline(verdict), verdict.lines()),
        Tiles(_tiles(findings, verdict)),
        Prose(OVERSTATED),
    ]
    blocks += [Callout("warning", warning) for warning in findings.regions.warnings]
    blocks.append(Prose("Strain, speckle tracking and time-to-peak must use acquired frames. Research use only."))
    return blocks


def _headline(verdict: Verdict) -> str:
    if verdict.losses:
        rivals = " and ".join(c.rival for c in verdict.losses)
        return f"{verdict.chosen} LOSES to {rivals} on this run: do not use it here"
    if verdict.cautions:
        near = [c for c in verdict.cautions if c.gap == verdict.gap]
        if any(c.baseline for c in near):
            rivals = " or ".join(c.rival for c in near if c.baseline)
            return f"{verdict.chosen} is no better than {rivals} on this run"
        if near:
            rivals = " and ".join(c.rival for c in near)
            return f"{rivals} did better than {verdict.chosen} on this run"
        return f"{verdict.chosen} is the best at gap {verdict.gap}, but {_wider(verdict)}"
    if not verdict.comparisons:
        return f"{verdict.chosen} was scored alone: no baseline to compare with"
    return f"{verdict.chosen} beats every other method tried on this run"


def _wider(verdict: Verdict) -> str:
    """Return what falls short at gaps above the smallest, the gravest alone."""
    lost = [c for c in verdict.cautions if c.outcome == "loses"]
    short = [c for c in lost if c.baseline] or lost or verdict.cautions
    verb = "LOSES to" if any(c.baseline for c in lost) else "is behind" if lost else "no better than"
    rivals = " and ".join(dict.fromkeys(c.rival for c in short))
    gaps = " and ".join(str(gap) for gap in sorted({c.gap for c in short}))
    return f"{verb} {rivals} at gap {gaps}"


def _tiles(findings: Findings, verdict: Verdict) -> list[Tile]:
    summary = verdict.summary
    lower, median, upper = summary.psnr_region
    low, error, high = summary.mae_region
    d = verdict.digits
    tiles = [
        Tile(f"PSNR where it moves, gap {verdict.gap}", number(median), "dB",
             f"quartiles {number(lower)} to {number(upper)}"),
        Tile(f"Error where it moves, gap {verdict.gap}", number(error, d), "grey levels",
             f"quartiles {number(low, d)} to {number(high, d)}, of {findings.result.peak:g}"),
    ]  # fmt: skip
    levels: dict[str, Level] = {"wins": "good", "level": "warning", "loses": "alarm"}
    for c in verdict.at_gap(verdict.gap):
        if c.baseline:
            level = levels[c.outcome]
            context = f"{c.outcome}: better on {c.better} of {c.count} frames"
            tiles.append(Tile(f"Against {c.rival}", number(c.difference, signed=True), "dB", context, level))
    return tiles


def _found(findings: Findings) -> list[Block]:
    cine = findings.cine
    low, high = cine.levels
    facts = {key[:1].upper() + key[1:]: value for key, value in cine.source.facts.items()}
    facts = facts or {"Frames": str(len(cine)), "Size": " × ".join(map(str, cine.shape))}
    facts.setdefault("Stored as", f"{cine.dtype}, {low:g} to {high:g}")
    notes = [*cine.source.notes, *findings.survey.notes()]
    blocks: list[Block] = [Facts(facts)]
    if notes:
        blocks.append(Callout("warning" if findings.survey.cuts else "info", "Oddities", notes))
    blocks.append(region_pictures(findings))
    return blocks


def _done(findings: Findings) -> list[Block]:
    regions, result = findings.regions, findings.result
    facts = {"Method": findings.chosen} | _options(findings.method)
    facts |= {"Interpolated": f"{regions.fraction:.0%} of the frame ({regions.in_words})"}
    blocks: list[Block] = [Facts(facts | _output(findings.made))]
    if regions.copied:
        rows = [[c.what, _between(c.rows), _between(c.columns), c.reason] for c in regions.copied]
        titles = ("What", "Rows", "Columns", "Why")
        blocks.append(
            Table(
                "Copied from the nearest acquired frame, not interpolated",
                [Column(title, numeric=title in ("Rows", "Columns")) for title in titles],
                rows,
            )
        )
    said = list(dict.fromkeys([*regions.notes, *result.notes]))
    if said:
        blocks.append(Listing(said))
    return blocks


def _between(span: tuple[int, int]) -> str:
    return f"{span[0]} to {span[1] - 1}"


def _options(method: RunMethod) -> dict[str, str]:
    """Return the options of a method that describes itself, as facts."""
    describe = getattr(method, "describe", None)
    told = describe() if callable(describe) else {}
    return {
        str(key).replace("_", " ").capitalize(): str(value)
        for key, value in told.items()
        if key != "name" and isinstance(value, str | int | float)
    }


def _output(made: Cine | None) -> dict[str, str]:
    """Return what was made, as facts."""
    facts: dict[str, str] = {}
    if made is not None and made.records is not None:
        kinds = [record.kind for record in made.records]
        words = {"acquired": "acquired, bit for bit", "made": "made", "copied": "copied across cuts"}
        told = [f"{kinds.count(kind)} {what}" for kind, what in words.items() if kind in kinds]
        facts["Frames out"] = f"{len(kinds)}: {'; '.join(told)}"
    if made is not None and made.derivation is not None:
        facts["Time axis"] = made.derivation.time_axis
        if made.derivation.factor is not None:
            facts["Factor"] = str(made.derivation.factor)
        if made.derivation.playback_rate is not None:
            facts["Meant to be shown at"] = f"{made.derivation.playback_rate:.4g} frames per second"
    return facts


def _timing(findings: Findings) -> list[Block]:
    cine, found = findings.cine, findings.survey
    steps = np.diff(cine.times)
    if cine.time_unit != "s":
        return [Callout("warning", "The file states no times: frame numbers stand in for them"), timing_chart(findings)]
    facts = {
        "Measured rate": f"{cine.fps or 0:.4g} frames per second",
        "Step": f"median {np.median(steps) * 1000:.4g} ms, {steps.min() * 1000:.4g} to {steps.max() * 1000:.4g} ms",
        "Exact repeats": str(len(found.duplicates)),
        "Frames missing": str(sum(drop.missing for drop in found.drops)),
        "Cuts": str(len(found.cuts)),
        "R waves": ", ".join(f"{wave:.3g} s" for wave in cine.source.r_waves) or "none stated",
    }
    stated = {key: value for key, value in cine.source.facts.items() if _about_time(key)}
    return [Facts({**stated, **facts}), timing_chart(findings)]


def _about_time(name: str) -> bool:
    return any(word in name.lower() for word in ("rate", "time", "fps", "duration", "interval"))


def _scores(findings: Findings) -> list[Block]:
    blocks: list[Block] = [summary_table(findings), gaps_chart(findings), frames_chart(findings)]
    if findings.result.skipped:
        blocks.append(Listing([(f"Gap {gap}:", reason) for gap, reason in sorted(findings.result.skipped.items())]))
    blocks.append(Details("Every hidden frame in numbers", [score_table(findings)]))
    return blocks


def summary_table(findings: Findings) -> Table:
    """Return all methods at all gaps: median and quartiles, the best of each gap marked, losses to a baseline too."""
    table = summaries(findings.result)
    lost = {(c.gap, c.rival) for c in judge(findings.result, findings.chosen).comparisons
            if c.baseline and c.outcome == "loses"}  # fmt: skip
    rows: list[list[str | Cell]] = []
    for gap in findings.gaps():
        group = [table[name, gap] for name in findings.methods() if (name, gap) in table]
        best = {
            "psnr_region": max(s.psnr_region[1] for s in group),
            "psnr_frame": max(s.psnr_frame[1] for s in group),
            "ssim_region": max(s.ssim_region[1] for s in group),
            "mae_region": min(s.mae_region[1] for s in group),
        }
        beaten = any(g == gap for g, _ in lost)
        for s in group:
            mine = s.method == findings.chosen
            cells = [
                Cell(*spread(values, digits), best=values[1] == best[key], bad=mine and beaten and key == "psnr_region")
                for key, values, digits in (
                    ("psnr_region", s.psnr_region, 2),
                    ("psnr_frame", s.psnr_frame, 2),
                    ("ssim_region", s.ssim_region, 4),
                    ("mae_region", s.mae_region, error_digits(findings.result.peak)),
                )
            ]
            rows.append([str(gap), Cell(s.method, strong=mine), str(s.count), *cells])
    return Table(
        "Median over hidden frames, below it the quartiles. The best of each gap is green; "
        "the method of this page is red where a baseline is ahead.",
        [
            Column("Gap"),
            Column("Method", numeric=False),
            Column("Hidden frames"),
            Column("PSNR, moving", "dB"),
            Column("PSNR, whole", "dB"),
            Column("SSIM, moving", "0 to 1"),
            Column("Error, moving", "grey levels"),
        ],
        rows,
        grouped=True,
    )


def score_table(findings: Findings) -> Table:
    """Return every score of the chosen method."""
    d = error_digits(findings.result.peak)
    rows = [
        [str(gap), str(s.hidden), f"{s.pair[0]}, {s.pair[1]}", number(s.t), number(s.psnr_region), number(s.psnr_frame),
         number(s.ssim_region, 4), number(s.mae_region, d), number(s.predicted_error, d)]
        for gap in findings.gaps() for s in findings.scores(findings.chosen, gap)
    ]  # fmt: skip
    return Table(
        f"{findings.chosen}, every time that a frame was hidden",
        [
            Column("Gap"),
            Column("Hidden frame"),
            Column("Made from", numeric=False),
            Column("Place in gap", "0 to 1"),
            Column("PSNR, moving", "dB"),
            Column("PSNR, whole", "dB"),
            Column("SSIM, moving"),
            Column("Error, moving", "grey levels"),
            Column("Expected error", "grey levels"),
        ],
        rows,
    )


def _confidence(findings: Findings) -> list[Block]:
    drawn = confidence_chart(findings)
    told = confidence_summary(findings.result, findings.chosen)
    if drawn is None:
        return [Prose(f"{findings.chosen} does not say how far it trusts itself, or too few frames could be hidden.")]
    if not told:
        return [drawn]
    blocks: list[Block] = [
        Prose(
            "Where its two sources disagree about a made frame, the frame is doubtful. That doubt is turned into an "
            f"expected error on the even hidden frames of this run at gap {CONFIDENCE_GAP}, and tested on the odd ones."
        ),
        Tiles(_confidence_tiles(told)),
        drawn,
    ]
    made = made_chart(findings)
    if made is not None:
        blocks += [Prose("Confidence of the frames that were made:"), made]
    blocks.append(Prose(OVERSTATED, quiet=True))
    return blocks


def _confidence_tiles(told: Mapping[str, Any]) -> list[Tile]:
    rank, coverage, level = told.get("spearman"), told.get("coverage"), told.get("level", 0.9)
    ranked: Level = "info" if rank is None else "good" if rank >= 0.5 else "warning"
    covered: Level = "info" if coverage is None else "good" if abs(coverage - level) <= 0.05 else "warning"
    checked = f"on {told.get('checked', 0)} odd hidden frames"
    return [
        Tile("Rank correlation of expected and true error", number(rank), "Spearman",
             f"{checked}; 1 is perfect order, 0 is none", ranked),
        Tile(f"Pixels inside the {level:.0%} interval", number(None if coverage is None else 100 * coverage, 1), "%",
             f"{checked}; {level:.0%} is right", covered),
        Tile("Calibrated on", str(told.get("fitted", 0)), "even hidden frames", "of this run, at gap 2"),
    ]  # fmt: skip


def _worst(findings: Findings) -> list[Block]:
    gap = findings.gaps()[0]
    return [
        Prose(
            f"The hidden frames with the largest error of {findings.chosen} at gap {gap}, cut to where the run moves. "
            "One error scale for all."
        ),
        *worst_frames(findings),
    ]
