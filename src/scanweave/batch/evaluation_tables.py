"""The tables of an evaluation: every row as CSV, and what they say together as JSON."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..interpolation.comparison import (
    Difference,
    differences,
    most_dsa_report,
    super_slomo_report,
    tabulated,
    triplet_report,
)
from ..interpolation.evaluate import RUN_MEASURES, Row
from ..metrics import FEW, TOO_FEW
from ..plan import Plan, plain
from .evaluation_cases import BASELINES
from .evaluation_options import EvaluationOptions, ProtocolName
from .evaluation_parts import Failure, Part

PLACES = ("run", "patient", "method", "gap", "phase", "hidden", "first", "last", "t", "batch")
COMPARED: dict[ProtocolName, tuple[str, ...]] = {
    "leave-one-out": ("psnr_moving", "ssim_moving", "psnr_imaged", "psnr_frame"),
    "most-dsa": ("psnr", "ssim", "ssim_standard"),
    "super-slomo": ("psnr", "ssim"),
    "triplets": ("psnr", "ssim"),
}
"""What differences are told of, the most telling first."""
_REPORTS = {"most-dsa": most_dsa_report, "super-slomo": super_slomo_report, "triplets": triplet_report}


@dataclass(frozen=True)
class Findings:
    """What an evaluation found.

    Attributes:
        protocol: How it was scored.
        rows: One per hidden frame and method, patients numbered.
        measures: What was measured.
        differences: Of every method to the best baseline.
        reported: The means that the protocol's authors report, by method; empty for leave-one-out.
        cases: How many were to be scored.
        failures: Those that could not be.
        notes: What a reader must know, one sentence each.
        plan: What was run.
    """

    protocol: ProtocolName
    rows: tuple[Row, ...]
    measures: tuple[str, ...]
    differences: tuple[Difference, ...]
    reported: dict[str, Any]
    cases: int
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    plan: Plan

    @property
    def methods(self) -> list[str]:
        """Labels of the methods, those that the user named first."""
        return list(dict.fromkeys(row.method for row in self.rows))

    @property
    def gaps(self) -> list[int]:
        """Gaps that were scored, in ascending order."""
        return sorted({row.gap for row in self.rows})

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return len({row.patient for row in self.rows})

    @property
    def named(self) -> list[str]:
        """Labels of the methods that are no baselines."""
        return [name for name in self.methods if name not in BASELINES]


def findings_of(
    parts: Sequence[Part], options: EvaluationOptions, plan: Plan, *, notes: Sequence[str] = ()
) -> Findings:
    """Put the scores of all cases together, in the order of the cases; patients get numbers in place of hashes."""
    numbers: dict[str, str] = {}
    rows = []
    for part in parts:
        for row in part.scores.rows if part.scores else ():
            number = numbers.setdefault(row.patient, f"patient_{len(numbers) + 1:04d}")
            rows.append(replace(row, patient=number))
    compared = differences(
        rows, COMPARED[options.protocol], baselines=BASELINES, resamples=options.resamples, seed=options.seed
    )
    report = _REPORTS.get(options.protocol)
    told = [note for part in parts if part.scores for note in part.scores.notes]
    return Findings(
        protocol=options.protocol,
        rows=tuple(rows),
        measures=_measures(rows, options.protocol),
        differences=tuple(compared),
        reported={} if report is None or not rows else report(rows),
        cases=len(parts),
        failures=tuple(part.failure for part in parts if part.failure),
        notes=tuple(dict.fromkeys([*notes, *_cautions(rows, options.protocol), *told])),
        plan=plan,
    )


def write_rows(findings: Findings, path: Path) -> None:
    """Write one line per row; infinity is ``inf``, and what has no value is empty."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*PLACES, *findings.measures])
        for row in findings.rows:
            places = [getattr(row, name) for name in PLACES]
            values = [row.values.get(name, math.nan) for name in findings.measures]
            writer.writerow(["" if _is_missing(value) else value for value in (*places, *values)])


def summary_of(findings: Findings) -> dict[str, Any]:
    """Return what the rows say together, JSON-able: no NaN (null), and infinity is the string ``"inf"``."""
    measures = findings.measures
    told = {
        "protocol": findings.protocol,
        "counts": {
            "cases": findings.cases,
            "failed": len(findings.failures),
            "runs": len({row.run for row in findings.rows}),
            "patients": findings.patients,
            "rows": len(findings.rows),
        },
        "methods": findings.methods,
        "baselines": [name for name in findings.methods if name in BASELINES],
        "measures": list(measures),
        "reported": findings.reported,
        "table": tabulated(findings.rows, ("gap", "method"), measures),
        "per_phase": tabulated(findings.rows, ("gap", "phase", "method"), measures),
        "per_place": tabulated(findings.rows, ("gap", "place", "method"), measures),
        "per_run": tabulated(findings.rows, ("run", "patient", "gap", "method"), measures),
        "differences": [plain(one) | {"outcome": one.outcome} for one in findings.differences],
        "failures": plain(findings.failures),
        "notes": list(findings.notes),
        "plan": findings.plan.model_dump(mode="json"),
        "notice": "Made frames are synthetic. For research use only; not for diagnosis.",
    }
    safe: dict[str, Any] = json_safe(told)
    return safe


def json_safe(value: Any) -> Any:
    """Return JSON types without what JSON has not: NaN becomes null, infinity the string that `float` reads back."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _measures(rows: Sequence[Row], protocol: ProtocolName) -> tuple[str, ...]:
    if protocol == "leave-one-out":
        return RUN_MEASURES
    return tuple(dict.fromkeys(name for row in rows for name in row.values))


def _cautions(rows: Sequence[Row], protocol: ProtocolName) -> list[str]:
    patients = len({row.patient for row in rows})
    notes = []
    if patients == 1:
        notes.append("A single patient: nothing can be said of others, so differences have no interval.")
    elif 1 < patients < TOO_FEW:
        notes.append(f"{patients} patients are too few to tell methods apart: {TOO_FEW} at least are needed.")
    elif TOO_FEW <= patients < FEW:
        notes.append(
            f"{patients} patients are few: intervals of differences are rough, rather too narrow than too wide."
        )
    if protocol in ("most-dsa", "super-slomo", "triplets"):
        notes.append("Where a set tells no patients apart, each of its clips counts as one.")
    if protocol == "leave-one-out":
        notes.append(
            "Frames made between neighbours are nearer to their sources than any hidden frame is: gap 2 overstates "
            "their error."
        )
    if protocol == "super-slomo":
        notes.append("SSIM is that of the published program, which no other paper's can be compared with.")
    return notes
