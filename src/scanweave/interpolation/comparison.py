"""What rows of scores say together: tables, the means that publications report, and how sure differences are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics import bootstrap, outcome
from ..trust.core import quartiles
from .evaluate import Row
from .pair_recipe import BEST_PSNR

Key = tuple[Any, ...]
LEVEL = {"psnr": 0.05, "ssim": 0.0005}
"""Differences below these (dB for PSNR) are none that anyone sees, however sure."""

_REPORTED = ("psnr", "ssim", "ssim_standard")


@dataclass(frozen=True, slots=True)
class Difference:
    """One method against the best baseline, at one gap, by one measure.

    Attributes:
        method: The method.
        baseline: The baseline of the highest mean.
        gap: Distance of the shown frames.
        measure: Which; larger is better.
        difference: Mean over patients of the mean over their hidden frames, method less baseline.
        interval: Where 95 % of the resampled differences lie; None with a single patient.
        better: Share of hidden frames on which the method has the higher value.
        patients: How many were resampled.
        frames: Hidden frames that both were scored on.
    """

    method: str
    baseline: str
    gap: int
    measure: str
    difference: float
    interval: tuple[float, float] | None
    better: float
    patients: int
    frames: int

    @property
    def outcome(self) -> str:
        """``better`` or ``worse`` where the interval says so, else ``unclear``; ``level``; or ``too few`` patients."""
        visible = LEVEL.get(self.measure.partition("_")[0], 0.0)
        return outcome(self.difference, self.interval, self.patients, visible=visible)


def differences(
    rows: Sequence[Row],
    measures: Sequence[str],
    *,
    baselines: Sequence[str],
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Difference]:
    """Compare every method with the best baseline on the same hidden frames.

    Patients are resampled, not frames: frames of one run are alike, and an interval over them would be far too narrow.
    Infinite PSNR counts as 100 dB.

    Args:
        rows: Scores.
        measures: Larger is better.
        baselines: Labels of the methods to be beaten; one is compared with the best of the others.
        resamples: How often patients are drawn with replacement.
        level: Share of the resampled differences inside the interval.
        seed: Of the draws.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993: percentile interval of paired differences.
    """
    found = []
    for gap, members in _grouped(rows, lambda row: (row.gap,)).items():
        by_method = _grouped(members, lambda row: (row.method,))
        for measure in measures:
            values = {key[0]: _paired(group, measure) for key, group in by_method.items()}
            means = {name: _mean([_mean(frames.values()) for frames in each.values()]) for name, each in values.items()}
            for method in values:
                rivals = [name for name in baselines if values.get(name) and name != method]
                if not rivals or not values[method]:
                    continue
                best = max(rivals, key=lambda name: means[name])
                compared = _compare(values[method], values[best], resamples=resamples, level=level, seed=seed)
                if compared is not None:
                    found.append(Difference(method, best, gap[0], measure, *compared))
    return found


Paired = dict[str, dict[Key, float]]


def _paired(rows: Iterable[Row], measure: str) -> Paired:
    """Return the values of a measure by patient and hidden frame."""
    paired: Paired = {}
    for row in rows:
        value = row.values.get(measure, math.nan)
        if not math.isnan(value):
            paired.setdefault(row.patient, {})[row.run, row.first, row.hidden] = min(value, BEST_PSNR)
    return paired


def _compare(
    mine: Paired, theirs: Paired, *, resamples: int, level: float, seed: int
) -> tuple[float, tuple[float, float] | None, float, int, int] | None:
    means: list[float] = []
    better = frames = 0
    for patient in sorted(mine.keys() & theirs.keys()):
        ours, other = mine[patient], theirs[patient]
        gained = [ours[key] - other[key] for key in sorted(ours.keys() & other.keys())]
        if gained:
            means.append(_mean(gained))
            better += sum(value > 0 for value in gained)
            frames += len(gained)
    if not frames:
        return None
    interval = bootstrap(np.array(means), resamples=resamples, level=level, seed=seed)
    return _mean(means), interval, better / frames, len(means), frames


def tabulated(rows: Sequence[Row], by: Sequence[str], measures: Sequence[str]) -> list[dict[str, Any]]:
    """Return one entry per group of rows: how many, and lower quartile, median and upper quartile of every measure.

    Args:
        rows: Scores.
        by: Fields of `Row` that rows of one group share; ``place`` is the hidden frame's place in its gap, from 1.
        measures: Which; those that a group has no value of are None.
    """

    def key(row: Row) -> Key:
        return tuple(row.hidden - row.first if name == "place" else getattr(row, name) for name in by)

    table = []
    for group, members in _grouped(rows, key).items():
        entry: dict[str, Any] = dict(zip(by, group, strict=True)) | {"count": len(members)}
        for measure in measures:
            told = [value for row in members if not math.isnan(value := row.values.get(measure, math.nan))]
            entry[measure] = quartiles(told) if told else None
        table.append(entry)
    return table


# --- the means that publications report -------------------------------------------------------------------------------


def most_dsa_report(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what MoSt-DSA reports of each method: the mean over frame indices of the means over samples.

    Per index also the standard deviation over samples, of the population.
    """
    report = {}
    for (method,), members in _grouped(rows, lambda row: (row.method,)).items():
        indices = []
        for (place,), group in sorted(_grouped(members, lambda row: (row.hidden,)).items()):
            entry: dict[str, Any] = {"index": place, "count": len(group)}
            for measure in _REPORTED:
                values = [row.values[measure] for row in group]
                entry |= {f"{measure}_mean": _mean(values), f"{measure}_std": _deviation(values)}
            indices.append(entry)
        means = {
            name: _mean([entry[f"{name}_mean"] for entry in indices]) for name in ("psnr", "ssim", "ssim_standard")
        }
        report[method] = {**means, "samples": indices[0]["count"], "indices": indices}
    return report


def most_dsa_file(reported: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and content of the file that the published evaluation leaves of one method."""
    similarity, decibels = reported["ssim"], reported["psnr"]
    name = f"Eval_SSIM-{similarity:.4f},PSNR-{decibels:.4f}.txt"
    return name, f"Average SSIM: {similarity}\nAverage PSNR: {decibels}\n"


def super_slomo_report(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what Super-SloMo's program reports of each method: means over batches, the last of which may be short.

    PSNR is that of a batch's pooled error; every other value is a mean over its samples.
    """
    report = {}
    for (method,), members in _grouped(rows, lambda row: (row.method,)).items():
        batches = list(_grouped(members, lambda row: (row.batch,)).values())
        errors = [_mean([row.values["mse"] for row in batch]) for batch in batches]
        told: dict[str, Any] = {"psnr": _mean([_decibels(error) for error in errors])}
        for measure in members[0].values:
            if measure not in ("mse", "psnr"):
                told[measure] = _mean([_mean([row.values[measure] for row in batch]) for batch in batches])
        report[method] = {**told, "batches": len(batches), "samples": len(members)}
    return report


def triplet_report(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the mean over samples of every measure, by method."""
    return {
        method: {name: _mean([row.values[name] for row in members]) for name in members[0].values}
        | {"samples": len(members)}
        for (method,), members in _grouped(rows, lambda row: (row.method,)).items()
    }


def _decibels(error: float) -> float:
    return math.inf if error == 0 else -10 * math.log10(error)


def _mean(values: Iterable[float]) -> float:
    told = list(values)
    return math.fsum(told) / len(told) if told else math.nan


def _deviation(values: Sequence[float]) -> float:
    centre = _mean(values)
    return math.sqrt(_mean([(value - centre) ** 2 for value in values])) if math.isfinite(centre) else math.nan


def _grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
