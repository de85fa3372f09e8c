"""What a leave-one-out run says of one method, in numbers and in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import InputError, UsageError
from .core import LeaveOneOut, Summary

# Every method must beat these, and every built-in one that is simpler than itself, to be worth its time.
BASELINES = ("hold", "linear")
SIMPLEST_FIRST = ("hold", "linear", "minterpolate", "optical-flow")
# Differences of the median below this are no difference: they change from run to run.
LEVEL_DB = 0.05

Outcome = Literal["wins", "level", "loses"]

NAMES = {"hold": "plain frame repetition", "linear": "linear blending", "minterpolate": "FFmpeg's minterpolate"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One method against another on the same hidden frames of one gap.

    Attributes:
        rival: The other method.
        gap: Distance of the frames that remain.
        difference: Median PSNR in the moving region, chosen minus rival, in dB.
        better: Hidden frames on which the chosen method has the higher PSNR.
        count: Hidden frames that both were scored on.
        baseline: Whether the chosen method must beat the rival (`is_baseline`).
    """

    rival: str
    gap: int
    difference: float
    better: int
    count: int
    baseline: bool

    @property
    def outcome(self) -> Outcome:
        """Whether the chosen method wins, loses, or does neither by more than 0.05 dB."""
        if math.isnan(self.difference) or abs(self.difference) < LEVEL_DB:
            return "level"
        return "wins" if self.difference > 0 else "loses"

    def sentence(self, chosen: str) -> str:
        """Return the comparison in words."""
        rival = NAMES.get(self.rival, self.rival)
        share = f"better on {self.better} of {self.count} hidden frames"
        if self.outcome == "level":
            # No minus sign before a difference that rounds to nothing.
            signed = f"{round(self.difference, 2) + 0.0:+.2f}"
            return f"{chosen} is no better than {rival} at gap {self.gap} ({signed} dB, {share})."
        verb = "beats" if self.outcome == "wins" else "LOSES to"
        return f"{chosen} {verb} {rival} at gap {self.gap} by {abs(self.difference):.2f} dB ({share})."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said first of a method on a run.

    Attributes:
        chosen: The method judged.
        summary: Its summary at the smallest gap that could be scored.
        comparisons: Against every other method at every gap.
        digits: Decimals that errors are written with (`error_digits`).
    """

    chosen: str
    summary: Summary
    comparisons: tuple[Comparison, ...]
    digits: int = 2

    @property
    def gap(self) -> int:
        """The smallest gap that could be scored."""
        return self.summary.gap

    def at_gap(self, gap: int) -> list[Comparison]:
        """Return the comparisons at one gap."""
        return [c for c in self.comparisons if c.gap == gap]

    @property
    def losses(self) -> list[Comparison]:
        """Baselines that do better at the smallest gap."""
        return [c for c in self.at_gap(self.gap) if c.baseline and c.outcome == "loses"]

    @property
    def cautions(self) -> list[Comparison]:
        """What falls short of a loss: level with a baseline, behind a rival, or behind at larger gaps."""
        return [
            c
            for c in self.comparisons
            if c not in self.losses and (c.outcome == "loses" or (c.outcome == "level" and c.baseline))
        ]

    @property
    def level(self) -> Literal["good", "warning", "alarm"]:
        """How loudly to say it."""
        return "alarm" if self.losses else "warning" if self.cautions else "good"

    def lines(self) -> list[str]:
        """Return the verdict in sentences, losses first."""
        decibels, error, d = self.summary.psnr_region, self.summary.mae_region, self.digits
        told = [
            f"At gap {self.gap}, {self.chosen} makes {self.summary.count} hidden frames again with a median PSNR of "
            f"{decibels.median:.2f} dB [{decibels.lower:.2f}, {decibels.upper:.2f}] and a median error of "
            f"{error.median:.{d}f} grey levels [{error.lower:.{d}f}, {error.upper:.{d}f}] where the run moves."
        ]
        near = sorted(self.at_gap(self.gap), key=lambda c: ("loses", "level", "wins").index(c.outcome))
        told += [c.sentence(self.chosen) for c in near]
        told += [c.sentence(self.chosen) for c in self.cautions if c.gap != self.gap and c.baseline]
        return told


def error_digits(peak: float) -> int:
    """Return the decimals that an error in stored units needs: 2 for whole numbers, more where the range is small."""
    return max(2, 4 - math.floor(math.log10(peak))) if peak > 0 else 2


def summaries(result: LeaveOneOut) -> dict[tuple[str, int], Summary]:
    """Return the summaries of `result` by (method, gap)."""
    return {(s.method, s.gap): s for s in result.summary()}


def judge(result: LeaveOneOut, chosen: str) -> Verdict:
    """Return what `result` says of the method called `chosen`.

    Raises:
        InputError: No frame could be hidden.
        UsageError: That method was not scored.
    """
    if not result.scores:
        reasons = "; ".join(f"gap {gap}: {reason}" for gap, reason in sorted(result.skipped.items()))
        raise InputError(f"no frame could be hidden, so nothing can be scored ({reasons})")
    table = summaries(result)
    gaps = sorted(gap for method, gap in table if method == chosen)
    if not gaps:
        scored = ", ".join(dict.fromkeys(method for method, _ in table)) or "none"
        raise UsageError(f"method {chosen!r} was not scored", remedy=f"choose one of those scored: {scored}")
    comparisons = [
        _compare(result, table, chosen, rival, gap)
        for gap in gaps
        for rival, g in table
        if g == gap and rival != chosen
    ]
    return Verdict(chosen, table[chosen, gaps[0]], tuple(comparisons), error_digits(result.peak))


def _compare(
    result: LeaveOneOut, table: dict[tuple[str, int], Summary], chosen: str, rival: str, gap: int
) -> Comparison:
    mine, theirs = (
        {(s.hidden, s.pair): s.psnr_region for s in result.scores if s.method == method and s.gap == gap}
        for method in (chosen, rival)
    )
    both = mine.keys() & theirs.keys()
    ours, other = table[chosen, gap].psnr_region[1], table[rival, gap].psnr_region[1]
    return Comparison(
        rival=rival,
        gap=gap,
        difference=0.0 if ours == other else ours - other,
        better=sum(mine[key] > theirs[key] for key in both),
        count=len(both),
        baseline=is_baseline(rival, chosen),
    )


def is_baseline(rival: str, chosen: str) -> bool:
    """Whether `chosen` must beat `rival`: repetition, blending, and every simpler built-in method without training."""
    if rival not in SIMPLEST_FIRST:
        return False
    if rival in BASELINES or chosen not in SIMPLEST_FIRST:
        return True
    return SIMPLEST_FIRST.index(rival) < SIMPLEST_FIRST.index(chosen)


def trust_summary(result: LeaveOneOut, chosen: str) -> dict[str, Any]:
    """Return the trust report for machines: JSON types only, no NaN or infinity (null instead).

    Keys: ``method``, ``level`` (good, warning, alarm), ``verdict`` (sentences), ``gap``, ``peak``, ``summaries`` (one
    entry per method and gap; triples are lower quartile, median, upper quartile), ``comparisons``, ``confidence``,
    ``skipped``, ``notes``.
    """
    verdict = judge(result, chosen)
    quartiles = ("psnr_region", "psnr_frame", "ssim_region", "ssim_frame", "mae_region")
    return {
        "method": chosen,
        "level": verdict.level,
        "verdict": verdict.lines(),
        "gap": verdict.gap,
        "peak": finite(result.peak),
        "region_share": float(np.mean(result.region)),
        "summaries": [
            {"method": s.method, "gap": s.gap, "count": s.count}
            | {name: [finite(v) for v in getattr(s, name)] for name in quartiles}
            for s in result.summary()
        ],
        "comparisons": [
            {
                "rival": c.rival,
                "gap": c.gap,
                "outcome": c.outcome,
                "difference_db": finite(c.difference),
                "better": c.better,
                "count": c.count,
                "baseline": c.baseline,
            }
            for c in verdict.comparisons
        ],
        "confidence": confidence_summary(result, chosen),
        "skipped": {str(gap): reason for gap, reason in result.skipped.items()},
        "notes": list(result.notes),
    }


def confidence_summary(result: LeaveOneOut, method: str) -> dict[str, Any]:
    """Return how well the method's doubt predicted its error (`Calibration.to_json`, finite), or {} if unknown."""
    found = result.calibration.get(method)
    if found is None:
        return {}
    told: dict[str, Any] = found.to_json()
    return {key: finite(value) if isinstance(value, float) else value for key, value in told.items()}


def finite(value: float | None) -> float | None:
    """Return `value` as JSON can hold it."""
    return None if value is None or not math.isfinite(value) else float(value)
