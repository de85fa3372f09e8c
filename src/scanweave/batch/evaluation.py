"""Evaluate interpolators: files in, tables and a page out; resumable, and shared among processes without repeats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import InputError, Interrupted, ScanweaveError
from ..interpolation.api import Progress
from ..interpolation.comparison import most_dsa_file
from ..interpolation.evaluate import Case
from ..interpolation.methods import Cautious, Method
from ..io.files import atomic_output, check_output
from ..plan import InputFile, Plan, fingerprint
from ..report import render
from .evaluation_cases import Share, cases_of, methods_of, trained_here
from .evaluation_options import EvaluationOptions
from .evaluation_page import page_of
from .evaluation_parts import Failure, Part, Parts, failed, hash_of
from .evaluation_tables import Findings, findings_of, summary_of, write_rows
from .inputs import ReadOptions, strip_dataset

ROWS, SUMMARY, PAGE, PLAN = "scores.csv", "summary.json", "report.html", "plan.json"
CASES = "scoring runs or samples"
_MOST_INPUTS = 64


@dataclass(frozen=True)
class EvaluationOutcome:
    """What became of an evaluation.

    Attributes:
        output: The folder of the tables; None where nothing could be scored, or others are still at work.
        summary: What `summary.json` says; empty without it.
        failures: Cases that could not be scored, of all processes where `output` is there, else of this one.
        notes: What became of this process, one sentence each.
    """

    output: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


def evaluate(
    inputs: Sequence[Path],
    output: Path,
    options: EvaluationOptions | None = None,
    *,
    reading: ReadOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> EvaluationOutcome:
    """Score methods on runs or samples, and write ``scores.csv``, ``summary.json``, ``report.html``, ``plan.json``.

    Under `torchrun` (RANK and WORLD_SIZE) each process scores its share, every case exactly once; the last to finish
    puts all together. The folder appears whole, under its name, at the end.

    Args:
        inputs: Runs, folders of runs, or prepared sets; for a published protocol the folder of one set.
        output: Folder to write.
        options: What is scored.
        reading: How runs are read.
        overwrite: Replace an existing folder.
        resume: Go on with an interrupted evaluation; leave a finished one as it is.
        progress: Called with (what is being done, how many done, of how many).

    Raises:
        ScanweaveError: Whatever is wrong with options or output, and in a published protocol with a sample, unless
            it is to keep going.
    """
    options, reading = options or EvaluationOptions(), reading or ReadOptions()
    share = Share.of_environment()
    methods = methods_of(options.methods, share)
    given = [*inputs, *([options.samples.data_path] if options.samples.data_path else [])]
    cases = cases_of(given, options, reading)
    plan = _plan(given, methods, options, reading)
    finished = _finished(output, plan, cases) if resume else None
    if finished is not None:
        earlier = tuple(Failure(**one) for one in finished["failures"])
        return EvaluationOutcome(output, finished, earlier, ("Finished by an earlier evaluation; left as it is.",))
    mine = range(share.rank, len(cases), share.count)
    parts = Parts(output, plan.digest(), len(cases))
    if mine:
        # A process without a share may come when the others are writing the output, or have written it.
        check_output(output, [strip_dataset(path) for path in given], overwrite=overwrite)
        parts.take_up(mine, resume=resume, overwrite=overwrite)
    own = _score(cases, mine, methods, parts, options, progress or (lambda what, done, total: None))
    found = parts.gathered(cases)
    if found is None or not parts.claim():
        note = f"Process {share.rank} of {share.count} scored its share; the last to finish writes the tables."
        return EvaluationOutcome(failures=own, notes=(note,))
    try:
        whole = plan.model_copy(update={"inputs": _inputs(cases, found)})
        notes = [*trained_here(methods, given, options), *_untrained(methods, found)]
        findings = findings_of(found, options, whole, notes=notes)
        summary = _write(findings, output) if findings.rows else {}
    except BaseException:
        parts.give_back()
        raise
    parts.discard()
    return EvaluationOutcome(output if findings.rows else None, summary, findings.failures)


def _score(
    cases: Sequence[Case],
    mine: Sequence[int],
    methods: Mapping[str, Method],
    parts: Parts,
    options: EvaluationOptions,
    report: Progress,
) -> tuple[Failure, ...]:
    """Score the cases of one process, but for those that are there; return those that fail."""
    tolerant = options.keep_going or options.protocol == "leave-one-out"
    failures = []
    try:
        todo = [index for index in mine if not _is_finished(parts, index, cases[index])]
        for number, index in enumerate(todo):
            part = _scored(cases[index], methods, tolerant=tolerant, report=report)
            parts.save(index, part)
            if part.failure is not None:
                failures.append(part.failure)
            report(CASES, len(mine) - len(todo) + number + 1, len(mine))
    except KeyboardInterrupt as stop:
        raise _interrupted(parts, len(cases)) from stop
    finally:
        parts.tidy()
    return tuple(failures)


def _interrupted(parts: Parts, count: int) -> Interrupted:
    if not parts.count():
        return Interrupted("interrupted before anything was scored")
    kept = f"interrupted; the scores of {parts.count()} of {count} are kept"
    return Interrupted(kept, path=parts.folder, remedy="run again with --resume")


def _is_finished(parts: Parts, index: int, case: Case) -> bool:
    try:
        return parts.finished(index, case)
    except InputError:
        return False


def _scored(case: Case, methods: Mapping[str, Method], *, tolerant: bool, report: Progress) -> Part:
    try:
        sha256, size = hash_of(case.files)
        scores = case.score(methods, progress=lambda done, total: report("making hidden frames", done, total))
        return Part(case.name, scores, None, sha256, size)
    except ScanweaveError as error:
        error.path = error.path or case.name
        if not tolerant or isinstance(error, Interrupted):
            raise
        return failed(case, error)


def _plan(
    given: Sequence[Path], methods: Mapping[str, Method], options: EvaluationOptions, reading: ReadOptions
) -> Plan:
    """Return the plan, as yet without hashes of what is read: each case is hashed when it is scored."""
    config = options.described() | {
        "input": [str(path) for path in given],
        "as": reading.as_,
        "series": reading.series,
        "source_fps": reading.source_fps,
    }
    if options.samples.vgg is not None:
        config["vgg_sha256"] = fingerprint(options.samples.vgg).sha256
    told = {label: method.describe() for label, method in methods.items()}
    return Plan(verb="evaluate interpolation", inputs=(), config=config, method=told, seed=options.seed)


def _inputs(cases: Sequence[Case], parts: Sequence[Part]) -> tuple[InputFile, ...]:
    """Return what was read: each case, or of many all as one."""
    told = [(case, part) for case, part in zip(cases, parts, strict=True) if part.sha256]
    if len(told) <= _MOST_INPUTS:
        return tuple(
            InputFile(path=str(case.files[0].resolve()), sha256=part.sha256, bytes=part.bytes) for case, part in told
        )
    joined = hashlib.sha256("".join(part.sha256 for _, part in told).encode()).hexdigest()
    return (InputFile(path=f"{len(told)} cases", sha256=joined, bytes=sum(part.bytes for _, part in told)),)


def _untrained(methods: Mapping[str, Method], parts: Sequence[Part]) -> list[str]:
    """Return what methods say of the times that they were asked for: above all, those that they were not trained on.

    Of frames that are not quite evenly spaced, the even times are meant, so that notes stay short.
    """
    rows = [row for part in parts if part.scores for row in part.scores.rows]
    times = sorted({(row.hidden - row.first) / row.gap for row in rows})
    return [
        f"{label}: {note}"
        for label, method in methods.items()
        if isinstance(method, Cautious)
        for note in method.cautions(times)
    ]


def _finished(output: Path, plan: Plan, cases: Sequence[Case]) -> dict[str, Any] | None:
    """Return the summary of an output that states this plan, of what the cases hold now; None where there is none."""
    try:
        stated = Plan.model_validate_json((output / PLAN).read_bytes())
        summary: dict[str, Any] = json.loads((output / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValidationError, ValueError):
        return None
    if stated.model_copy(update={"inputs": ()}).digest() != plan.digest() or summary["counts"]["cases"] != len(cases):
        return None
    failures = {failure["case"] for failure in summary["failures"]}
    try:
        now = [Part(case.name) if case.name in failures else _unscored(case) for case in cases]
    except InputError:
        return None
    same = [one.sha256 for one in stated.inputs] == [one.sha256 for one in _inputs(cases, now)]
    return summary if same else None


def _unscored(case: Case) -> Part:
    sha256, size = hash_of(case.files)
    return Part(case.name, sha256=sha256, bytes=size)


def _write(findings: Findings, output: Path) -> dict[str, Any]:
    summary = summary_of(findings)
    page = render(page_of(findings))
    with atomic_output(output, folder=True) as folder:
        write_rows(findings, folder / ROWS)
        (folder / SUMMARY).write_text(json.dumps(summary, indent=1, allow_nan=False), encoding="utf-8")
        (folder / PAGE).write_text(page, encoding="utf-8")
        (folder / PLAN).write_text(findings.plan.model_dump_json(indent=1), encoding="utf-8")
        if findings.protocol == "most-dsa":
            _write_as_published(findings, folder)
    return summary


def _write_as_published(findings: Findings, folder: Path) -> None:
    """Write the file that the published evaluation leaves, of each method that is no baseline."""
    for label in findings.named or findings.methods:
        name, content = most_dsa_file(findings.reported[label])
        home = folder / "published" / label.replace(" ", "_")
        home.mkdir(parents=True)
        (home / name).write_text(content, encoding="utf-8")
