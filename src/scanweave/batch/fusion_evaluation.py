"""Evaluate fusion: runs in, each as virtual experiments; ``scores.csv``, ``summary.json`` and ``summary.md`` out.

Scores of frames are kept in ``OUTPUT.partial/`` until the folder is whole, so that a killed evaluation goes on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..errors import Interrupted, ScanweaveError, UsageError
from ..fusion.api import chosen_method
from ..fusion.evaluate import (
    EQUAL,
    Protocol,
    Row,
    Trial,
    compared,
    measures_of,
    published_means,
    published_trial,
    unseen_trial,
)
from ..fusion.held_out import BASELINES, spread_over
from ..fusion.methods import Method, needs_weights
from ..fusion.virtual import VirtualOptions
from ..io.files import atomic_output, check_output
from ..plan import Plan, fingerprint, plain
from .evaluation_parts import Failure
from .evaluation_tables import json_safe
from .fusion_cases import CameraFiles, Case, Opened, names_of, opened
from .fusion_evaluation_page import page_of
from .partial import PartialFolder, until_whole

ROWS, SUMMARY, PAGE = "scores.csv", "summary.json", "summary.md"
Progress = Callable[[str, int, int], None]

_STRIDE = 10**6  # scores of one experiment are numbered from a multiple of this
_VALUES = "values"


@dataclass(frozen=True, kw_only=True)
class FusionEvaluationOptions:
    """What is evaluated, and how.

    Attributes:
        protocol: ``unseen`` is ours; ``xfusion`` chooses and scores frames as published.
        ratios: Frames of a run per sharp frame; each is an experiment.
        cameras: What else the two virtual cameras are; its own ratio does not matter.
        methods: Names; the baselines are scored too where none of them is named.
        weights: Of the methods that run on some, in their order.
        network: Further options of these methods by name; None where their own default holds.
        most: Score so many frames of an experiment at most, evenly spread.
        fast_step: Protocol xfusion: ``lo_frame_sep``.
        last: Protocol xfusion: third number of ``gt_size``.
        resamples: How often frames are drawn again for intervals.
        seed: Of these draws.
    """

    protocol: Protocol = "unseen"
    ratios: tuple[float, ...] = (10.0,)
    cameras: VirtualOptions = VirtualOptions()
    methods: tuple[str, ...] = ()
    weights: tuple[Path, ...] = ()
    network: tuple[tuple[str, Any], ...] = ()
    most: int | None = None
    fast_step: int = 1
    last: int | None = None
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse options out of range, and those of another protocol.

        Raises:
            UsageError: One is, named.
        """
        if not self.ratios or len(set(self.ratios)) < len(self.ratios):
            raise UsageError(f"ratios {self.ratios}", remedy="give one --ratio or more, each once")
        if self.resamples < 100:
            raise UsageError(f"{self.resamples} resamples are too few for an interval", remedy="give 100 or more")
        if self.most is not None and self.most < 1:
            raise UsageError(f"at most {self.most} frames", remedy="give 1 or more")
        if self.protocol == "unseen" and (self.fast_step != 1 or self.last is not None):
            raise UsageError("--fast-step and --last are of the published protocol", remedy="add --protocol xfusion")
        if self.protocol == "xfusion" and (self.cameras.first or self.cameras.exposure != 1 or self.most is not None):
            raise UsageError(
                "the published protocol takes every frame, from the first on, with sharp exposures of one frame",
                remedy="leave out --first, --exposure and --most",
            )


@dataclass(frozen=True)
class FusionEvaluationOutcome:
    """What became of an evaluation.

    Attributes:
        output: The folder of the tables; None where nothing could be scored.
        summary: What `summary.json` says; empty without it.
        failures: Experiments that could not be scored.
        notes: What became of this evaluation, one sentence each.
    """

    output: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Experiment:
    """One run at one ratio."""

    case: Case
    ratio: float
    options: FusionEvaluationOptions

    @property
    def name(self) -> str:
        return f"{self.case.name}, ratio {self.ratio:g}"

    def opened(self) -> Opened:
        return opened(self.case, replace(self.options.cameras, ratio=self.ratio))

    def trial(self, runs: Opened, methods: Sequence[Method]) -> Trial:
        truth = runs.truth
        assert truth is not None, "a virtual experiment knows the truth"
        if self.options.protocol == "xfusion":
            step, last = self.options.fast_step, self.options.last
            return published_trial(runs.coarse, runs.calibration, truth, ratio=self.ratio, fast_step=step, last=last)
        exposure = self.options.cameras.exposure
        whole = unseen_trial(runs.coarse, runs.sharp, runs.calibration, truth, methods, exposure=exposure)
        some = spread_over(len(whole), self.options.most)
        return replace(whole, targets=tuple(whole.targets[i] for i in some))


def evaluate_fusion(
    inputs: Sequence[CameraFiles],
    output: Path,
    options: FusionEvaluationOptions,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> FusionEvaluationOutcome:
    """Score methods on runs that stand for both cameras, and write the tables; the folder appears whole, at the end.

    Args:
        inputs: Runs, or published folders of one at full size and reduced (HR and LR).
        output: Folder to write.
        options: What is evaluated, and how.
        overwrite: Replace an existing folder.
        resume: Go on with an interrupted evaluation; leave a finished one as it is.
        progress: Called with (what is being done, how many done, of how many).

    Raises:
        ScanweaveError: Whatever is wrong with options or output. An experiment that fails stops no other.
    """
    if not inputs:
        raise UsageError("no input", remedy="name a run, or a published folder that holds HR and LR")
    cases = _named([Case(name=files.path.stem, fast=files) for files in inputs])
    files = list(dict.fromkeys(path for case in cases for path in case.files))
    check_output(output, files, overwrite=overwrite or resume)
    methods = methods_of(options.methods, options.weights, options.network)
    plan = _plan(files, cases, methods, options)
    finished = _finished(output, plan) if resume else None
    if finished is not None:
        earlier = tuple(Failure(**one) for one in finished["failures"])
        return FusionEvaluationOutcome(
            output, finished, earlier, ("Finished by an earlier evaluation; left as it is.",)
        )
    check_output(output, files, overwrite=overwrite)
    experiments = [_Experiment(case, ratio, options) for case in cases for ratio in options.ratios]
    store = PartialFolder(output, plan, resume=resume, overwrite=overwrite)
    with until_whole(store):
        rows, failures, notes = _scored(experiments, methods, store, progress or (lambda what, done, total: None))
        if not rows:
            return FusionEvaluationOutcome(failures=failures)
        summary = _summary(rows, failures, notes, plan, options)
        with atomic_output(output, folder=True) as folder:
            _write_rows(rows, options.protocol, folder / ROWS)
            (folder / SUMMARY).write_text(json.dumps(summary, indent=1, allow_nan=False), encoding="utf-8")
            (folder / PAGE).write_text(page_of(summary), encoding="utf-8")
    return FusionEvaluationOutcome(output, summary, failures)


def methods_of(
    names: Sequence[str], weights: Sequence[Path], network: Sequence[tuple[str, Any]] = ()
) -> dict[str, Method]:
    """Return the methods to score by label; those that run on weights take them in order.

    Args:
        names: By default, with weights ``edvr-stf``. The baselines come first where none of them is named.
        weights: As many as methods that run on some; ``block-fusion`` takes its own where there are fewer.
        network: Further options of methods that run on weights.

    Raises:
        UsageError: No such method, or another number of weights than methods that run on some.
        WeightsError: They cannot be used.
    """
    chosen = list(names) or (["edvr-stf"] if weights else [])
    if len(chosen) == 1 and len(weights) > 1:
        chosen *= len(weights)
    if not set(chosen) & set(BASELINES):
        chosen = [*BASELINES, *chosen]
    takers = [i for i, name in enumerate(chosen) if needs_weights(name)]
    if len(takers) != len(weights):
        takers = [i for i in takers if chosen[i] != "block-fusion"]
    if len(takers) != len(weights):
        raise UsageError(
            f"{len(weights)} weights for {len(takers)} methods that run on some",
            remedy="name a --method for each of the --weights, in their order",
        )
    files = dict(zip(takers, weights, strict=True))
    found: dict[str, Method] = {}
    for i, name in enumerate(chosen):
        own = dict(network) if needs_weights(name) else {}
        if i in files:
            own["weights"] = str(files[i])
        label = f"{name} {files[i].stem}" if i in files and chosen.count(name) > 1 else name
        if label in found:
            raise UsageError(f"{label} is named twice")
        found[label] = chosen_method(name, own)
    return found


def _named(cases: Sequence[Case]) -> list[Case]:
    return [replace(case, name=name) for case, name in zip(cases, names_of(cases), strict=True)]


def _plan(
    files: Sequence[Path], cases: Sequence[Case], methods: Mapping[str, Method], options: FusionEvaluationOptions
) -> Plan:
    return Plan(
        verb="evaluate fusion",
        inputs=tuple(fingerprint(path) for path in files),
        config=plain(options) | {"cases": plain(cases)},
        method={label: method.describe() for label, method in methods.items()},
        seed=options.seed,
    )


def _finished(output: Path, plan: Plan) -> dict[str, Any] | None:
    """Return the summary of an output that states this plan; None where there is none."""
    try:
        told: dict[str, Any] = json.loads((output / SUMMARY).read_text(encoding="utf-8"))
        stated = Plan.model_validate(told["plan"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
    return told if stated.digest() == plan.digest() else None


def _scored(
    experiments: Sequence[_Experiment], methods: Mapping[str, Method], store: PartialFolder, report: Progress
) -> tuple[list[Row], tuple[Failure, ...], tuple[str, ...]]:
    """Return the rows of all experiments, those that could not be scored, and what was odd."""
    rows: list[Row] = []
    failures: list[Failure] = []
    notes: dict[str, None] = {}
    for number, experiment in enumerate(experiments):
        try:
            runs = experiment.opened()
            trial = experiment.trial(runs, list(methods.values()))
            found = list(_rows(experiment, trial, methods, store, number * _STRIDE, report))
        except Interrupted:
            raise
        except ScanweaveError as error:
            failures.append(Failure(experiment.name, f"{experiment.name}: {error}", error.exit_code))
            continue
        rows += found
        notes |= dict.fromkeys(_notes(experiment, runs, trial))
    return rows, tuple(failures), tuple(notes)


def _rows(
    experiment: _Experiment,
    trial: Trial,
    methods: Mapping[str, Method],
    store: PartialFolder,
    first: int,
    report: Progress,
) -> Iterator[Row]:
    """Give the rows of an experiment; scores that an interrupted evaluation kept are taken up."""
    states = [trial.state(method) for method in methods.values()]
    for i, target in enumerate(trial.targets):
        kept = store.read(first + i)
        if kept is None or kept.get(_VALUES, np.empty(0)).shape != (len(methods), len(trial.measures)):
            kept = {_VALUES: np.array(trial.score(i, states), np.float64)}
            store.write(first + i, kept)
        for label, values in zip(methods, kept[_VALUES].tolist(), strict=True):
            yield Row(
                run=experiment.case.name,
                ratio=experiment.ratio,
                frame=target.frame,
                time=target.pick.time,
                apart=target.apart,
                steps=target.steps,
                method=label,
                values=dict(zip(trial.measures, values, strict=True)),
                mask=target.mask,
                known=target.known,
            )
        report(f"scoring {experiment.name}", i + 1, len(trial))


def _notes(experiment: _Experiment, runs: Opened, trial: Trial) -> Iterator[str]:
    run, name = trial.truth.cine, experiment.case.name
    yield from runs.notes
    if run.time_unit != "s":
        yield f"Nothing states the times of {name}: they are counted in frames."
    if trial.impossible:
        yield (
            f"{experiment.name}: {trial.impossible} frames have no second sharp frame, on which the published program "
            "fails; they were left out."
        )
    if trial.protocol == "xfusion" and run.dtype != np.uint8:
        yield (
            f"{name} has more than 8 bits: its window {trial.truth.window[0]:g} to {trial.truth.window[1]:g} was"
            " brought to 8; the published program takes the upper 8 of 16."
        )


def _summary(
    rows: Sequence[Row],
    failures: tuple[Failure, ...],
    notes: Sequence[str],
    plan: Plan,
    options: FusionEvaluationOptions,
) -> dict[str, Any]:
    """Return what the rows say together, JSON-able: NaN is null, and infinity the string ``"inf"``."""
    measures = measures_of(options.protocol)
    means, changes = compared(rows, measures, resamples=options.resamples, seed=options.seed)
    frames = {(row.run, row.ratio, row.frame): row for row in rows}.values()
    equal = sum(row.values["psnr"] > EQUAL for row in rows if not row.known)
    told = {
        "protocol": options.protocol,
        "counts": {
            "runs": len({row.run for row in rows}),
            "frames": len(frames),
            "masked": sum(row.mask for row in frames),
            "left_out_as_known": sum(row.known for row in frames),
            "rows": len(rows),
            "failed": len(failures),
        },
        "methods": list(dict.fromkeys(row.method for row in rows)),
        "measures": list(measures),
        "means": plain(means),
        "differences": plain(changes),
        "published": published_means(rows, measures) if options.protocol == "xfusion" else [],
        "failures": plain(failures),
        "notes": [*notes, *([f"{equal} made frames have no error; they count as {EQUAL:g} dB."] if equal else [])],
        "plan": plan.model_dump(mode="json"),
        "notice": "Made frames are synthetic. For research use only.",
    }
    safe: dict[str, Any] = json_safe(told)
    return safe


def _write_rows(rows: Sequence[Row], protocol: Protocol, path: Path) -> None:
    """Write one line per frame and method; the PSNR of equal frames is ``inf``."""
    measures = measures_of(protocol)
    flags = ("mask", "known") if protocol == "xfusion" else ()
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["run", "ratio", "frame", "time", "apart", "steps", "method", *measures, *flags])
        for row in rows:
            told = (row.run, row.ratio, row.frame, row.time, row.apart, row.steps, row.method)
            table.writerow([*told, *(row.values[name] for name in measures), *(int(getattr(row, n)) for n in flags)])
