"""Evaluate synthesis: volumes in, ``scores.csv``, ``summary.json``, ``report.html`` and ``plan.json`` out."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Interrupted, ScanweaveError, UsageError
from ..io.files import atomic_output, check_output
from ..metrics import FEW, TOO_FEW
from ..ops.slice_profile import Shape
from ..plan import InputFile, Plan, fingerprint, plain
from ..report import render
from ..synthesis.api import Progress
from ..synthesis.comparison import Difference, Row, differences, tabulated
from ..synthesis.held_out import baselines_of
from ..synthesis.methods import Method
from .evaluation_parts import Failure
from .evaluation_tables import json_safe
from .inputs import ReadOptions, strip_dataset
from .synthesis_evaluation_cases import (
    Failed,
    HeldOutCase,
    Measuring,
    PredictionCase,
    held_out_cases,
    held_out_of,
    methods_of,
    prediction_cases,
)
from .synthesis_evaluation_page import page_of

ROWS, SUMMARY, PAGE, PLAN = "scores.csv", "summary.json", "report.html", "plan.json"
COMPARED = ("psnr", "ssim", "mae", "psnr_fitted", "dice", "psnr3d", "ssim3d")
"""What differences are told of, the most telling first."""

_MOST_INPUTS = 64


@dataclass(frozen=True, kw_only=True)
class SynthesisEvaluationOptions:
    """What is evaluated, and how.

    Attributes:
        targets: Folder of acquired volumes: then INPUTs are folders of predictions.
        tasks: Names of published tasks: then INPUTs are acquired volumes, some of which are made again.
        sources: In place of a task, contrasts that methods are given.
        target: Contrast to make, or the contrast of the targets.
        spacing: Distance of given slices, in acquired ones.
        profile: How thick slices are made of thin ones.
        gap: Share of their distance that lies in none.
        methods: Beside the baselines.
        weights: Of the methods that run on some, in their order.
        examples: Other people, for methods that learn from some.
        masks: Folder of masks, or the mask of a single subject.
        measuring: How volumes are scored.
        resamples: How often subjects are drawn again for the intervals of differences.
        seed: Of these draws.
    """

    targets: Path | None = None
    tasks: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    target: str | None = None
    spacing: float = 1.0
    profile: Shape = "decimate"
    gap: float = 0.0
    methods: tuple[str, ...] = ()
    weights: tuple[Path, ...] = ()
    examples: tuple[Path, ...] = ()
    masks: Path | None = None
    measuring: Measuring = Measuring()
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse options that do not go together.

        Raises:
            UsageError: They do not.
        """
        making = self.tasks or self.sources or self.methods or self.weights or self.examples or self.spacing != 1
        if self.targets is not None and making:
            raise UsageError(
                "predictions are given (--targets), so that nothing is made here",
                remedy="leave out --task, --from, --every, --method, --weights and --examples",
            )
        if self.measuring.protocol == "published" and (self.masks is not None or self.measuring.segment is not None):
            raise UsageError("the published protocol knows no masks, and no labels", remedy="leave them out")
        if self.resamples < 100:
            raise UsageError(f"{self.resamples} resamples are too few for an interval", remedy="give 100 or more")


@dataclass(frozen=True)
class SynthesisFindings:
    """What an evaluation found.

    Attributes:
        rows: One per subject, task and method.
        measures: What was measured.
        table: Mean and deviation over subjects, by task and method.
        differences: Of every method to the best baseline.
        baselines: Labels of those.
        cases: How many were to be scored.
        failures: Those that could not be.
        notes: What a reader must know, one sentence each.
        plan: What was run.
        protocol: How it was scored.
    """

    rows: tuple[Row, ...]
    measures: tuple[str, ...]
    table: tuple[dict[str, Any], ...]
    differences: tuple[Difference, ...]
    baselines: tuple[str, ...]
    cases: int
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    plan: Plan
    protocol: str


@dataclass(frozen=True)
class SynthesisEvaluationOutcome:
    """What became of an evaluation.

    Attributes:
        output: The folder of the tables; None where nothing could be scored.
        summary: What `summary.json` says; empty without it.
        failures: Cases that could not be scored.
    """

    output: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()


def evaluate_synthesis(
    inputs: Sequence[Path],
    output: Path,
    options: SynthesisEvaluationOptions,
    *,
    reading: ReadOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SynthesisEvaluationOutcome:
    """Score predictions against targets, or methods on acquired volumes, and write the tables.

    The folder appears whole, at the end. A subject that cannot be scored stops no other.

    Args:
        inputs: Folders of predictions, each a method by its name; or acquired volumes as `scanweave synthesize` takes
            them.
        output: Folder to write.
        options: What is evaluated.
        reading: How volumes are read.
        overwrite: Replace an existing folder.
        progress: Called with (what is being done, how many done, of how many).

    Raises:
        ScanweaveError: Whatever is wrong with options, inputs as a whole, or the output.
    """
    reading = reading or ReadOptions(as_="volume")
    others = [path for path in (options.targets, options.masks, *options.examples) if path is not None]
    check_output(output, [strip_dataset(path) for path in (*inputs, *others)], overwrite=overwrite)
    methods = methods_of(options.methods, options.weights)
    cases = _cases(inputs, options, methods, reading)
    rows, failures = _scored(cases, progress or (lambda what, done, total: None))
    if not rows:
        return SynthesisEvaluationOutcome(failures=failures)
    baselines = tuple(
        dict.fromkeys(name for case in cases if isinstance(case, HeldOutCase) for name in baselines_of(case.held))
    )
    if options.examples and "histogram-matched" in baselines:
        baselines = (*baselines, "regression")
    findings = _findings(rows, failures, cases, _plan(inputs, cases, methods, options, reading), baselines, options)
    summary = _write(findings, output)
    return SynthesisEvaluationOutcome(output, summary, failures)


Case = PredictionCase | HeldOutCase


def _cases(
    inputs: Sequence[Path],
    options: SynthesisEvaluationOptions,
    methods: Mapping[str, Method],
    reading: ReadOptions,
) -> Sequence[Case]:
    if not inputs:
        raise UsageError("no input", remedy="name folders of predictions with --targets, or acquired volumes")
    if options.targets is not None:
        return prediction_cases(
            inputs,
            options.targets,
            masks=options.masks,
            contrast=options.target,
            measuring=options.measuring,
            reading=reading,
        )
    held = held_out_of(
        options.tasks,
        sources=options.sources,
        target=options.target,
        spacing=options.spacing,
        profile=options.profile,
        gap=options.gap,
    )
    return held_out_cases(
        inputs,
        held,
        methods,
        masks=options.masks,
        examples=options.examples,
        measuring=options.measuring,
        reading=reading,
    )


def _scored(cases: Sequence[Case], report: Progress) -> tuple[list[Row], tuple[Failure, ...]]:
    rows: list[Row] = []
    failures: list[Failure] = []

    def note(name: str, error: ScanweaveError) -> None:
        failures.append(Failure(name, f"{name}: {error}", error.exit_code))

    def noting(case: Case) -> Failed:
        return lambda label, error: note(f"{case.name}, {label}", error)

    for number, case in enumerate(cases):
        report("scoring subjects", number, len(cases))
        try:
            rows += case.rows(noting(case))
        except Interrupted:
            raise
        except ScanweaveError as error:
            note(case.name, error)
    report("scoring subjects", len(cases), len(cases))
    return rows, tuple(failures)


def _plan(
    inputs: Sequence[Path],
    cases: Sequence[Case],
    methods: Mapping[str, Method],
    options: SynthesisEvaluationOptions,
    reading: ReadOptions,
) -> Plan:
    files = list(dict.fromkeys(strip_dataset(path) for case in cases for path in case.files))
    read: tuple[InputFile, ...] = ()
    if len(files) <= _MOST_INPUTS:
        read = tuple(fingerprint(path) for path in files if path.exists())
    measuring = {"protocol": options.measuring.protocol, "units": options.measuring.units}
    told = {
        name: plain(value) for name in options.__dataclass_fields__ if (value := getattr(options, name)) is not None
    }
    config = told | {"measuring": measuring, "input": [str(path) for path in inputs]} | plain(reading)
    described = {label: method.describe() for label, method in methods.items()}
    return Plan(verb="evaluate synthesis", inputs=read, config=config, method=described, seed=options.seed)


def _findings(
    rows: Sequence[Row],
    failures: tuple[Failure, ...],
    cases: Sequence[Case],
    plan: Plan,
    baselines: tuple[str, ...],
    options: SynthesisEvaluationOptions,
) -> SynthesisFindings:
    measures = tuple(dict.fromkeys(name for row in rows for name in row.values))
    compared = [name for name in COMPARED if name in measures]
    return SynthesisFindings(
        rows=tuple(rows),
        measures=measures,
        table=tuple(tabulated(rows, measures)),
        differences=tuple(
            differences(rows, compared, baselines=baselines, resamples=options.resamples, seed=options.seed)
        ),
        baselines=baselines,
        cases=len(cases),
        failures=failures,
        notes=_notes(rows, options),
        plan=plan,
        protocol=options.measuring.protocol,
    )


def _notes(rows: Sequence[Row], options: SynthesisEvaluationOptions) -> tuple[str, ...]:
    subjects = len({row.subject for row in rows})
    notes = []
    if options.measuring.protocol == "published":
        notes.append(
            "As published: predictions are scaled by their own percentiles, which hides errors of intensity, and the "
            "background counts. For comparing with published numbers only."
        )
    elif options.masks is None:
        notes.append("No masks were given: judged is the largest bright part of each target, skull and skin included.")
    if options.targets is None and options.profile == "decimate" and any(task.spacing > 1 for task in _held(options)):
        notes.append("Thick slices were made by leaving slices out, as published; scanners average over them.")
    if subjects < TOO_FEW:
        notes.append(f"Too few subjects to tell methods apart: {subjects}, of {TOO_FEW} that are needed at least.")
    elif subjects < FEW:
        notes.append(f"Subjects are few, {subjects}: intervals are rough, rather too narrow than too wide.")
    return tuple(notes)


def _held(options: SynthesisEvaluationOptions) -> Sequence[Any]:
    return held_out_of(options.tasks, sources=options.sources, target=options.target, spacing=options.spacing)


def summary_of(findings: SynthesisFindings) -> dict[str, Any]:
    """Return what the rows say together, JSON-able: NaN is null, and infinity the string ``"inf"``."""
    told = {
        "protocol": findings.protocol,
        "counts": {
            "cases": findings.cases,
            "failed": len(findings.failures),
            "subjects": len({row.subject for row in findings.rows}),
            "rows": len(findings.rows),
        },
        "methods": list(dict.fromkeys(row.method for row in findings.rows)),
        "baselines": list(findings.baselines),
        "measures": list(findings.measures),
        "table": list(findings.table),
        "differences": [plain(one) | {"outcome": one.outcome} for one in findings.differences],
        "failures": plain(findings.failures),
        "notes": list(findings.notes),
        "plan": findings.plan.model_dump(mode="json"),
        "notice": "Made volumes are synthetic. For research use only; not for diagnosis.",
    }
    safe: dict[str, Any] = json_safe(told)
    return safe


def _write(findings: SynthesisFindings, output: Path) -> dict[str, Any]:
    summary, page = summary_of(findings), render(page_of(findings))
    with atomic_output(output, folder=True) as folder:
        _write_rows(findings, folder / ROWS)
        (folder / SUMMARY).write_text(json.dumps(summary, indent=1, allow_nan=False), encoding="utf-8")
        (folder / PAGE).write_text(page, encoding="utf-8")
        (folder / PLAN).write_text(findings.plan.model_dump_json(indent=1), encoding="utf-8")
    return summary


def _write_rows(findings: SynthesisFindings, path: Path) -> None:
    """Write one line per row; infinity is ``inf``, and what has no value is empty."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["subject", "task", "method", *findings.measures])
        for row in findings.rows:
            values = [row.values.get(name, math.nan) for name in findings.measures]
            writer.writerow(
                [row.subject, row.task, row.method, *("" if math.isnan(value) else value for value in values)]
            )
