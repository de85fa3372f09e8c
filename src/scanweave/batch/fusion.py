"""Fuse files: read both cameras, make frames, write run and side-car, scores where truth is known; many cases.

::

    OUT.tif, OUT.tif.scanweave.json                    one case
    OUT.published.npz, OUT.published.csv               with `published`: as the published programs write them
    REPORT.html                                        with `trust`: the page that says how far to trust the frames
    OUT/NAME.tif ...                                   many cases

Frames are made one after the other, in constant memory, and kept until all are there; several processes share them
(`scanweave.batch.sharing`). A run that fails leaves nothing; one that is interrupted leaves ``<output>.partial/``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from .. import io
from ..errors import OutputError, ScanweaveError, UsageError
from ..fusion.api import Fused, Match, fused_by, prepare
from ..fusion.job import Depth, Job, Mode
from ..fusion.virtual import VirtualOptions
from ..io.files import atomic_output, check_output, remove_leftovers
from ..plan import FrameEntry, Plan, SideCar, fingerprint, plain, sidecar_path
from .fusion_cases import Case, Opened, names_of, opened
from .fusion_judged import TrustOptions
from .fusion_making import Making, Progress, means_of, write_published
from .inputs import strip_dataset
from .many import FINISHED, each_on_its_own
from .partial import PartialFolder, until_whole
from .sharing import alone, assembling, helped, make_parts

NOTICE = "All frames are synthetic: made of two cameras' frames. For research use only."


@dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """What is made, and how.

    Attributes:
        method: Name of the method; None takes the rule's.
        options: Its options by name; None where its own default holds.
        mode: Which frames are made.
        match: Whether the fast camera's intensities are brought to the sharp one's.
        depth: Of what is written.
        cameras: Of virtual experiments: what the two cameras are.
        published: Write the published npz and table too.
        format: Suffix of the results of many cases.
        consistent: Move each frame until it agrees with the coarse one within its noise.
        trust: How frames are judged, and where the page goes; None: they are not.
    """

    method: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    mode: Mode = "continuous"
    match: Match | None = None
    depth: Depth = "stored"
    cameras: VirtualOptions | None = None
    published: bool = False
    format: str = ".tif"
    consistent: bool = False
    trust: TrustOptions | None = None

    def of(self, name: str) -> FusionOptions:
        """Return those of one of many cases."""
        return self if self.trust is None else replace(self, trust=self.trust.of(name))


@dataclass(frozen=True)
class FusionOutcome:
    """What became of one case."""

    source: str
    outputs: tuple[Path, ...] = ()
    frames: int = 0
    shape: tuple[int, int] = (0, 0)
    method: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    scores: dict[str, Any] = field(default_factory=dict)
    trust: dict[str, Any] = field(default_factory=dict)
    error: ScanweaveError | None = None


def fuse_cases(
    cases: Sequence[Case],
    output: Path,
    options: FusionOptions,
    *,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[FusionOutcome]:
    """Fuse one case into a file, or many into a folder; of many, one that fails does not stop the others.

    Args:
        cases: The pairs of runs.
        output: A file, or of many a folder.
        options: What is made, and how.
        workers: Processes that share the cases, or the frames of one.
        overwrite: Replace results that exist.
        resume: Go on with interrupted runs; leave finished results of the same plan as they are.
        progress: Told of each step; not by workers.

    Raises:
        ScanweaveError: Whatever is wrong with input, options or output, of one case.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers", remedy="give 1 or more")
    work = partial(fuse_case, overwrite=overwrite, resume=resume)
    if len(cases) == 1:
        return [work(cases[0], output, options=options, workers=workers, progress=progress)]
    if output.exists() and not output.is_dir():
        raise OutputError("is a file; many results need a folder", path=output, remedy="give another name with -o")
    suffix = "." + options.format.lstrip(".") if options.format else ""
    names = names_of(cases)
    targets, own = [output / f"{name}{suffix}" for name in names], [options.of(name) for name in names]
    runs = [(Path(case.name),) for case in cases]
    if workers == 1:
        return each_on_its_own(runs, lambda i: work(cases[i], targets[i], options=own[i], progress=progress), _failed)
    threads = max(1, torch.get_num_threads() // workers)
    context = get_context("spawn")  # a fork would copy threads that hold locks
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        futures = [
            pool.submit(work, case, target, options=one) for case, target, one in zip(cases, targets, own, strict=True)
        ]
        return each_on_its_own(runs, lambda i: futures[i].result(), _failed)


def fuse_case(
    case: Case,
    output: Path,
    *,
    options: FusionOptions,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> FusionOutcome:
    """Fuse one case; arguments are those of :func:`fuse_cases`.

    Raises:
        ScanweaveError: Whatever is wrong with input, options or output. Nothing half-written is left.
    """
    report = progress or (lambda what, done, total: None)
    started, place = time.perf_counter(), strip_dataset(output)
    if options.trust is not None:
        options.trust.check_page()
    targets = _targets(place, options)
    for path in targets:
        check_output(path, case.files, overwrite=overwrite or resume)
    runs = opened(case, options.cameras)
    job = _job(runs, options)
    plan = _plan(case, options, job)
    if resume and _finished(targets, plan):
        return _made_elsewhere(case, targets, job, plan)
    for path in targets:
        check_output(path, case.files, overwrite=overwrite)
    store = PartialFolder(place, plan, resume=resume, overwrite=overwrite, shared=True)
    with until_whole(store):
        making = Making(job, runs, store, options.published, options.consistent)
        with helped(workers - 1, partial(_help, case, output, options)):
            make_parts(store, len(job), making.frame, lambda done: report("making frames", done, len(job)))
        lock = assembling(store)
        if lock is None or (resume and _finished(targets, plan)):
            return _made_elsewhere(case, targets, job, plan)
        try:
            remove_leftovers(place)
            notes, means, trust = _assembled(making, output, plan, options, overwrite=overwrite, report=report)
        finally:
            lock.release()
    seconds = time.perf_counter() - started
    told = (len(job), job.shape, job.method.name, seconds, notes)
    return FusionOutcome(case.name, tuple(targets), *told, scores=means, trust=trust)


def _help(case: Case, output: Path, options: FusionOptions) -> None:
    """Make frames of a case that another process has begun and will finish, while that one lives."""
    runs = opened(case, options.cameras)
    job = _job(runs, options)
    store = PartialFolder(strip_dataset(output), _plan(case, options, job), resume=True, shared=True)

    def told(done: int) -> None:
        if alone():
            raise SystemExit(1)

    make_parts(store, len(job), Making(job, runs, store).frame, told)


def _assembled(
    making: Making, output: Path, plan: Plan, options: FusionOptions, *, overwrite: bool, report: Progress
) -> tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]:
    """Write all that is written of frames that are made; return notes, mean scores, and what judges found."""
    job, place = making.job, strip_dataset(output)
    # scores come first: a frame that is no truth is found before anything is written
    scores = making.scores(lambda done: report("scoring frames", done, len(job)))
    findings = None if options.trust is None else making.findings(options.trust, report)
    fused = fused_by(job, making.frame)
    written = io.write(
        fused.cine,
        output,
        overwrite=overwrite,
        progress=lambda done: report("writing frames", done, len(job)),
    )
    if options.published:
        write_published(place, making, scores)
    notes = tuple(dict.fromkeys([*making.runs.notes, *job.notes, *written, *making.notes]))
    means, moved, trust = means_of(scores), making.consistency, dict[str, Any]()
    if options.trust is not None and findings is not None:
        trust = options.trust.written(findings, title=place.name, plan=plan)
    elif moved is not None:
        trust = {"consistency": dict(zip(("before", "after"), moved, strict=True))}
    _write_sidecar(place, plan, fused, notes, {"scores": means} | trust if means else trust)
    return notes, means, trust


def _finished(targets: Sequence[Path], plan: Plan) -> bool:
    """Whether all that is written is there, by this plan."""
    return all(path.exists() for path in targets) and _states(targets[0], plan)


def _made_elsewhere(case: Case, targets: Sequence[Path], job: Job, plan: Plan) -> FusionOutcome:
    """Return the outcome of a case that another process has finished.

    Raises:
        OutputError: It has not.
    """
    if not _finished(targets, plan):
        raise OutputError(
            "the process that put the frames together gave up", path=targets[0], remedy="run again; it will say why"
        )
    return FusionOutcome(case.name, tuple(targets), len(job), job.shape, job.method.name, notes=(FINISHED,))


def _job(runs: Opened, options: FusionOptions) -> Job:
    virtual = runs.truth is not None
    return prepare(
        runs.coarse,
        runs.sharp,
        runs.calibration,
        method=options.method,
        options=dict(options.options),
        mode=options.mode,
        match=options.match or ("none" if virtual else "linear"),
        depth=options.depth,
        consistent=options.consistent,
        records=runs.records,
        like=runs.truth,
    )


def _plan(case: Case, options: FusionOptions, job: Job) -> Plan:
    told = plain(replace(options, trust=None)) | {
        "case": plain(case),
        "match": {"scale": job.coarse.scale, "shift": job.coarse.shift},
    }
    told |= {
        "box": list(job.box),
        "calibration": job.calibration.model_dump(mode="json", exclude={"coarse_points", "sharp_points"}),
    }
    return Plan(
        verb="fuse",
        inputs=tuple(fingerprint(path) for path in case.files),
        config=told,
        method=job.method.describe(),
        seed=None if options.cameras is None else options.cameras.seed,
    )


def _targets(place: Path, options: FusionOptions) -> list[Path]:
    """Return all that is written, the run first."""
    extra = [place.with_name(f"{place.stem}.published{suffix}") for suffix in (".npz", ".csv")]
    page = [] if options.trust is None or options.trust.report is None else [options.trust.report]
    return [place, sidecar_path(place), *(extra if options.published else ()), *page]


def _states(place: Path, plan: Plan) -> bool:
    """Whether the side-car of a result says that it was made by this plan."""
    try:
        told = SideCar.model_validate_json(sidecar_path(place).read_bytes())
    except (OSError, ValidationError):
        return False
    return told.plan.digest() == plan.digest()


def _write_sidecar(place: Path, plan: Plan, fused: Fused, notes: Sequence[str], trust: dict[str, Any]) -> None:
    job, records = fused.job, fused.cine.records or ()
    seen = {
        one.camera: {"window": one.window, "scale": one.scale, "shift": one.shift} for one in (job.coarse, job.sharp)
    }
    car = SideCar(
        output=place.name,
        plan=plan,
        time_unit=fused.cine.time_unit,
        frames=tuple(FrameEntry(**plain(record)) for record in records),
        intensity=plain(seen),
        notes=tuple(notes),
        trust=trust,
        notice=NOTICE,
    )
    with atomic_output(sidecar_path(place)) as target:
        target.write_text(car.model_dump_json(indent=1), encoding="utf-8")


def _failed(source: str, error: ScanweaveError) -> FusionOutcome:
    return FusionOutcome(source, error=error)


def summary(outcome: FusionOutcome) -> dict[str, Any]:
    """Return an outcome as JSON types."""
    error = outcome.error
    return {
        "input": outcome.source,
        "outputs": [str(path) for path in outcome.outputs],
        "frames": outcome.frames,
        "shape": list(outcome.shape),
        "method": outcome.method,
        "seconds": outcome.seconds,
        "notes": list(outcome.notes),
        "scores": outcome.scores,
        "trust": outcome.trust,
        "error": None if error is None else {"message": str(error), "exit_code": error.exit_code},
    }
