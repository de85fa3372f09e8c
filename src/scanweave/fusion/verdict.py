"""What the checks of made frames say, in plain words and for machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..report import OUTCOMES, Level, Statement, gravest_first, number
from .agreement import runs_of
from .held_out import Scores
from .trust import BICUBIC, MADE, Findings

AGREES, DIFFERS = 1.5, 3.0
"""Of the chi-square that may be expected at most: up to the first frames agree with the coarse camera, beyond the
second they do not."""
COPIED = 0.5
"""Of the least that may be expected: frames below repeat the noise of the coarse camera."""

_CHANCE = 5.0  # spreads of the chi-square of a frame
_STRONG = 2.0  # of the limit of spots
_SOFT = 0.7  # of the sharp camera's detail


def statements(findings: Findings) -> list[Statement]:
    """Return what the checks say, the gravest first."""
    told = [
        *_leaks(findings),
        *_cameras(findings),
        _agreement(findings),
        *_spots(findings),
        *(_scores(scores) for scores in (findings.known, findings.hidden) if scores is not None),
        *_detail(findings),
        *_consistency(findings),
    ]
    return gravest_first(told)


def disagreeing(findings: Findings) -> list[int]:
    """Return the frames that differ from the coarse camera's by more than noise explains."""
    return [
        i for i, one in enumerate(findings.frames) if one.chi_square > AGREES * one.highest + _CHANCE * findings.spread
    ]


def expected(findings: Findings) -> str:
    """Return what chi-square a right frame gives, and, where the value is not such a one, what is taken for agreement.

    The latter is wider, since noise and blur of a camera are known only roughly.
    """
    value, low, high = findings.chi_square, findings.lowest, findings.highest
    told = f"{number(low)} to {number(high)}"
    if low <= value <= high:
        return told
    return f"{told}; noise is known roughly, and {number(COPIED * low)} to {number(AGREES * high)} counts as agreement"


def detail_is_told(findings: Findings) -> bool:
    """Whether the sharp camera's frames hold detail, beyond what enlarging a coarse frame leaves there, to judge by."""
    shares = findings.detail
    return MADE in shares and not shares.get(BICUBIC, 0.0) >= 1


def named_runs(findings: Findings, numbers: list[int], *, most: int = 4) -> str:
    """Return frames by their numbers, neighbours joined."""
    runs = [f"{first}" if first == last else f"{first} to {last}" for first, last in runs_of(numbers)]
    return ", ".join(runs[:most]) + (f" and {len(runs) - most} more runs" if len(runs) > most else "")


def trust_summary(findings: Findings) -> dict[str, Any]:
    """Return the checks for machines: JSON types only, no NaN or infinity (null instead).

    Keys: ``level`` (of the gravest statement), ``verdict`` (sentences), ``method``, ``chi_square`` (re-degraded frames
    against the coarse camera's), ``camera`` (what is known of it), ``spots``, ``held_out`` and ``truth`` (by method),
    ``detail`` (power that the coarse camera cannot hold, as a share of the sharp camera's), ``mtf50`` (cycles per sharp
    pixel; null without a straight edge), ``leaking``, ``consistency``, ``notes``.
    """
    told, model = statements(findings), findings.model
    summary = {
        "method": findings.job.method.name,
        "level": told[0].level,
        "verdict": [f"{one.title}: {one.text}" for one in told],
        "chi_square": {
            "median": findings.chi_square,
            "expected": [findings.lowest, findings.highest],
            "spread": findings.spread,
            "acquired": model.at_once,
            "others": dict(findings.others),
            "frames": [{"time": one.time, "value": one.chi_square} for one in findings.frames],
            "disagreeing": disagreeing(findings),
        },
        "camera": {
            "blur": model.blur,
            "noise": {
                name: {"slope": noise.slope, "base": noise.base, "unit": noise.unit}
                for name, noise in (("coarse", model.coarse), ("sharp", model.sharp))
            },
        },
        "spots": [
            {"frame": i, "time": one.time, "x": s.x, "y": s.y, "pixels": s.pixels, "strength": s.strength}
            for i, one in enumerate(findings.frames)
            for s in one.spots[:3]
        ],
        "held_out": _for_machines(findings.hidden),
        "truth": _for_machines(findings.known),
        "detail": findings.detail,
        "mtf50": {name: one.half for name, one in findings.edges.items()} or None,
        "leaking": list(findings.leaking),
        "consistency": None
        if findings.consistency is None
        else dict(zip(("before", "after"), findings.consistency, strict=True)),
        "notes": list(findings.notes),
    }
    finite: dict[str, Any] = _finite(summary)
    return finite


def _leaks(findings: Findings) -> list[Statement]:
    told = []
    if findings.leaking:
        text = f"Frames {named_runs(findings, list(findings.leaking))} are made of the very sharp frame that they are "
        told.append(Statement("alarm", "Truth leaks into what is scored", f"{text}compared with; leave them out."))
    for scores in (findings.hidden, findings.known):
        if scores is not None and scores.leaked:
            text = (
                f"{len(scores.leaked)} of {scores.frames} frames come nearer to {scores.against} than the noise of "
                "these allows. Nothing that had not seen them could."
            )
            told.append(Statement("alarm", "The method has seen what was hidden from it", text))
    return told


def _cameras(findings: Findings) -> list[Statement]:
    """Tell whether what is taken to be known of both cameras holds for acquired frames."""
    if findings.level <= AGREES:
        return []
    text = (
        f"Sharp frames as acquired differ from coarse ones taken at once by {number(findings.level)} times what noise "
        "explains. Made frames are only asked to agree as well as that: smaller errors are not seen. Calibrate anew, "
        "or check exposures, fields and clocks."
    )
    return [Statement("warning", "The calibration does not quite hold", text)]


def _agreement(findings: Findings) -> Statement:
    value, high, low = findings.chi_square, findings.highest, findings.lowest
    worse, count = disagreeing(findings), len(findings.frames)
    acquired = findings.model.at_once
    beside = (
        "" if acquired is None else f" Acquired sharp frames, taken at once with coarse ones, give {number(acquired)}."
    )
    text = (
        f"Averaged over the coarse camera's pixels, made frames differ from what it recorded by {number(value)} times "
        f"the variance of its noise (reduced chi-square, median of {count} frames). A right frame gives "
        f"{expected(findings)}.{beside}"
    )
    if value < COPIED * low:
        share = 1 - math.sqrt(value / low)
        more = f" About {share:.0%} of the coarse camera's noise is in the made frames; that they agree says nothing."
        return Statement("warning", "Frames repeat the coarse camera's noise", text + more)
    level: Level = "good" if value <= AGREES * high else "warning" if value <= DIFFERS * high else "alarm"
    title = {
        "good": "Agrees with the coarse camera",
        "warning": "Differs from the coarse camera by more than noise",
        "alarm": "Does not agree with the coarse camera",
    }[level]
    if worse and len(worse) < count:
        text += f" {len(worse)} frames differ by more than noise: {named_runs(findings, worse)}."
        if level == "good":
            level, title = "warning", "Agrees with the coarse camera, but for some frames"
    return Statement(level, title, text)


def _spots(findings: Findings) -> list[Statement]:
    """Tell of places; chance finds none, since the limit holds for acquired frames too."""
    marked = [(i, one) for i, one in enumerate(findings.frames) if one.spots]
    if not marked:
        return []
    i, worst = max(marked, key=lambda pair: abs(pair[1].spots[0].strength))
    spot = worst.spots[0]
    level: Level = "alarm" if abs(spot.strength) > _STRONG * findings.model.limit else "warning"
    what = "brighter" if spot.strength > 0 else "darker"
    text = (
        f"{len(marked)} of {len(findings.frames)} frames have places that the coarse camera saw otherwise. The "
        f"clearest is in frame {i} at x {spot.x:.0f}, y {spot.y:.0f}: {what} than recorded by "
        f"{number(abs(spot.deviation) * 100, 1)} % of the window, {number(abs(spot.strength), 1)} times the noise."
    )
    return [Statement(level, "Something was invented, erased or misplaced", text)]


def _scores(scores: Scores) -> Statement:
    name, best = scores.method, scores.best
    quality = f"PSNR {number(scores.mean(name, 'psnr'))} dB, SSIM {number(scores.mean(name, 'ssim'), 4)}"
    overstated = ""
    if scores.against.startswith("hidden"):
        overstated = " Hiding frames doubles the distance to bridge: the error is overstated."
    if best is None:
        return Statement("info", f"Compared with {scores.against}", f"{quality}.{overstated}")
    title = {
        "better": f"{name} beats {best} on {scores.against}",
        "worse": f"{name} is WORSE than {best} on {scores.against}: do not use it here",
        "level": f"{name} is no better than {best} on {scores.against}",
        "unclear": f"{name} is no better than {best} on {scores.against}, as far as can be told",
        "too few": f"Too few frames to tell {name} from {best} on {scores.against}",
    }[scores.outcome]
    change = number(float(np.mean(scores.differences)), signed=True)
    text = f"{change} dB PSNR ({quality}), mean over {scores.frames} frames"
    if scores.interval is not None:
        low, high = (number(end, signed=True) for end in scores.interval)
        text += f", 95 % interval {low} to {high}"
    return Statement(OUTCOMES.get(scores.outcome, "info"), title, f"{text}.{overstated}")


def _detail(findings: Findings) -> list[Statement]:
    shares = findings.detail
    if MADE not in shares:
        return []
    if not detail_is_told(findings):
        text = (
            "Finer than the coarse camera's pixels, the sharp camera's frames have no more power than an enlarged "
            "coarse frame, which holds no such detail: there is next to none to compare made frames with."
        )
        return [Statement("info", "How fine the frames are cannot be told", text)]
    own, coarse = shares[MADE], shares.get(BICUBIC, math.nan)
    text = (
        f"Of the power finer than the coarse camera's pixels, made frames have {own:.0%} of what the sharp camera's "
        f"have, its noise included; the enlarged coarse frame has {coarse:.0%}. Fine detail is not thereby true."
    )
    soft = own < _SOFT
    return [Statement("info", "Softer than the sharp camera" if soft else "As fine as the sharp camera", text)]


def _consistency(findings: Findings) -> list[Statement]:
    if findings.consistency is None:
        return []
    before, after = findings.consistency
    text = f"The mean reduced chi-square was {number(before)} as the method made them, and is {number(after)} since."
    return [Statement("info", "Frames were moved until they agree", text)]


def _for_machines(scores: Scores | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    measures = ("psnr", "ssim", "mae", "apart", "in_noise")
    return {
        "frames": scores.frames,
        "best_baseline": scores.best,
        "difference": float(np.mean(scores.differences)) if scores.differences else None,
        "interval": scores.interval,
        "outcome": scores.outcome,
        "methods": {name: {key: scores.mean(name, key) for key in measures} for name in scores.by_method},
    }


def _finite(value: Any) -> Any:
    """Return JSON types with null for numbers that JSON has not."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value
