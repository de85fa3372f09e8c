"""What scores of many subjects say together: tables, and how sure the difference to the best baseline is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics import Outcome, bootstrap, outcome

BEST_PSNR = 100.0
"""What equal volumes count as in means, in dB: infinity would hide every other."""

LEVEL = {"psnr": 0.05, "ssim": 0.0005, "dice": 0.001}
"""Differences below these (dB for PSNR) are none that matter, however sure."""

SMALLER_IS_BETTER = frozenset({"mae"})


@dataclass(frozen=True, slots=True)
class Row:
    """One made volume against the acquired one.

    Attributes:
        subject: Whose; what is resampled.
        task: What was made of what.
        method: Label of the method.
        values: Measures by name; infinite where equal images have no finite value, NaN where there is none.
    """

    subject: str
    task: str
    method: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """One method against the best baseline, at one task, by one measure.

    Attributes:
        task: What was made of what.
        measure: Which.
        method: The method.
        baseline: The best of the baselines on the same subjects.
        difference: Mean over subjects, positive where the method is better.
        interval: Where 95 % of the resampled means lie; None with a single subject.
        better: Share of the subjects on whom the method is better.
        subjects: How many both were scored on.
    """

    task: str
    measure: str
    method: str
    baseline: str
    difference: float
    interval: tuple[float, float] | None
    better: float
    subjects: int

    @property
    def outcome(self) -> Outcome:
        """What may be said of it: `scanweave.metrics.outcome`."""
        visible = LEVEL.get(self.measure.partition("_")[0], 0.0)
        return outcome(self.difference, self.interval, self.subjects, visible=visible)


def differences(
    rows: Sequence[Row],
    measures: Sequence[str],
    *,
    baselines: Sequence[str],
    resamples: int = 2000,
    seed: int = 0,
) -> list[Difference]:
    """Compare every method with the best baseline on the same subjects, which are resampled in pairs.

    Args:
        rows: Scores.
        measures: Which.
        baselines: Labels of the methods to be beaten; one of them is compared with the best of the others.
        resamples: How often subjects are drawn with replacement.
        seed: Of the draws.
    """
    found = []
    for task in dict.fromkeys(row.task for row in rows):
        members = [row for row in rows if row.task == task]
        for measure in measures:
            values = _by_method(members, measure)
            for method, mine in values.items():
                rivals = [name for name in baselines if name != method and name in values]
                if rivals:
                    best = max(rivals, key=lambda name: _mean(values[name].values()))
                    one = _compared(mine, values[best], resamples=resamples, seed=seed)
                    found += [Difference(task, measure, method, best, *one)] if one else []
    return found


def tabulated(rows: Sequence[Row], measures: Sequence[str]) -> list[dict[str, Any]]:
    """Return one entry per task and method: mean and standard deviation over subjects of every measure.

    The deviation is that of the population, as published; a measure without any value is None.
    """
    table = []
    for task, method in dict.fromkeys((row.task, row.method) for row in rows):
        members = [row for row in rows if (row.task, row.method) == (task, method)]
        entry: dict[str, Any] = {"task": task, "method": method, "subjects": len(members)}
        for measure in measures:
            told = [value for row in members if not math.isnan(value := _value(row, measure))]
            entry[measure] = {"mean": float(np.mean(told)), "std": float(np.std(told))} if told else None
        table.append(entry)
    return table


def _value(row: Row, measure: str) -> float:
    return min(row.values.get(measure, math.nan), BEST_PSNR) if "psnr" in measure else row.values.get(measure, math.nan)


def _by_method(rows: Iterable[Row], measure: str) -> dict[str, dict[str, float]]:
    """Return the values of a measure by method and subject, larger being better."""
    sign = -1.0 if measure in SMALLER_IS_BETTER else 1.0
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        value = _value(row, measure)
        if not math.isnan(value):
            found.setdefault(row.method, {})[row.subject] = sign * value
    return found


def _compared(
    mine: Mapping[str, float], theirs: Mapping[str, float], *, resamples: int, seed: int
) -> tuple[float, tuple[float, float] | None, float, int] | None:
    gained = np.array([mine[subject] - theirs[subject] for subject in sorted(mine.keys() & theirs.keys())])
    if not gained.size:
        return None
    interval = bootstrap(gained, resamples=resamples, seed=seed)
    return float(gained.mean()), interval, float((gained > 0).mean()), len(gained)


def _mean(values: Iterable[float]) -> float:
    told = list(values)
    return math.fsum(told) / len(told)
