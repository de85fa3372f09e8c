"""Fuse files: read both cameras, make frames, write run and side-car, scores where truth is known; many cases.

::

    OUT.tif, OUT.tif.scanweave.json                    one case
    OUT.published.npz, OUT.published.csv               with `published`: as the published programs write them
    REPORT.html                                        with `trust`: the page that says how far to trust the frames
    OUT/NAME.tif ...                                   many cases

Frames are made and written one after the other, in constant memory. A run that fails leaves nothing; one that is
interrupted leaves ``<output>.partial/``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from .. import io
from ..errors import OutputError, ScanweaveError, UsageError
from ..fusion.api import Depth, Fused, Job, Match, Mode, fused_by, prepare
from ..fusion.frames import Plane
from ..fusion.scene import Scene
from ..fusion.trust import Findings
from ..fusion.virtual import VirtualOptions
from ..io.files import atomic_output, check_output
from ..metrics import mae, psnr, ssim
from ..plan import FrameEntry, Plan, SideCar, fingerprint, plain, sidecar_path
from .fusion_cases import Case, Opened, names_of, opened
from .fusion_judged import TrustOptions
from .fusion_published import Picture, Score, eight_bits, published_scores, write_arrays, write_table
from .inputs import strip_dataset
from .many import FINISHED, each_on_its_own
from .partial import PartialFolder, until_whole

Progress = Callable[[str, int, int], None]

_PIXELS = "pixels"
_BEFORE, _AFTER = "chi_square_before", "chi_square_after"

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
        workers: Processes that share the cases.
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
        return [work(cases[0], output, options=options, progress=progress)]
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
    targets = _targets(place, options)
    for path in targets:
        check_output(path, case.files, overwrite=overwrite or resume)
    runs = opened(case, options.cameras)
    job = _job(runs, options)
    plan = _plan(case, options, job)
    finished = resume and all(path.exists() for path in targets) and _states(place, plan)
    if finished:
        return FusionOutcome(case.name, tuple(targets), len(job), job.shape, job.method.name, notes=(FINISHED,))
    for path in targets:
        check_output(path, case.files, overwrite=overwrite)
    store = PartialFolder(place, plan, resume=resume, overwrite=overwrite)
    with until_whole(store):
        making = _Making(job, runs, store, options.published, options.consistent)
        # scores come first: a frame that is no truth is found before anything is written
        scores = making.scores(lambda done: report("making and scoring frames", done, len(job)))
        findings = None if options.trust is None else making.findings(options.trust, report)
        fused = fused_by(job, making.frame)
        written = io.write(
            fused.cine,
            output,
            overwrite=overwrite,
            progress=lambda done: report("making and writing frames", done, len(job)),
        )
        if options.published:
            _write_published(place, making, scores)
        notes = tuple(dict.fromkeys([*runs.notes, *job.notes, *written, *making.notes]))
        means, moved, trust = _means(scores), making.consistency, dict[str, Any]()
        if options.trust is not None and findings is not None:
            trust = options.trust.written(findings, title=place.name, plan=plan)
        elif moved is not None:
            trust = {"consistency": dict(zip(("before", "after"), moved, strict=True))}
        _write_sidecar(place, plan, fused, notes, {"scores": means} | trust if means else trust)
    seconds = time.perf_counter() - started
    told = (len(job), job.shape, job.method.name, seconds, notes)
    return FusionOutcome(case.name, tuple(targets), *told, scores=means, trust=trust)


@dataclass(frozen=True, eq=False)
class _Making:
    """Frames of a job as they are written, each kept until the output is whole."""

    job: Job
    runs: Opened
    store: PartialFolder
    published: bool = False
    consistent: bool = False

    @property
    def notes(self) -> list[str]:
        found = self.store.found
        return [f"Taken up after an interruption: {found} made frames were there already."] if found else []

    def frame(self, i: int) -> NDArray[Any]:
        """Return frame `i`, made now or by the run that was interrupted."""
        kept = self.store.read(i)
        if kept is None or _PIXELS not in kept:
            made = self.job.make(i)
            kept = {_PIXELS: made.pixels, **{name: np.asarray(values) for name, values in made.extras.items()}}
            self.store.write(i, kept)
        return kept[_PIXELS]

    def unit(self, i: int) -> Plane:
        """Return frame `i` over the window."""
        return self.job.read(self.frame(i))

    def truth(self, i: int) -> Plane | None:
        """Return what frame `i` is to equal, ``(row, column)`` over the window; None where nobody knows."""
        x0, y0, x1, y1 = self.job.box
        target = self.job.target(i)
        if target is not None:
            return self.job.sharp.unit(target)[y0:y1, x0:x1]
        if self.runs.truth is None:
            return None
        return self.runs.truth.unit(self.job.picks[i].middle)[y0:y1, x0:x1]

    def findings(self, options: TrustOptions, progress: Progress) -> Findings:
        """Judge all frames by both cameras, and by the truth where it is known."""
        for i in range(len(self.job)):
            self.frame(i)
            progress("making frames", i + 1, len(self.job))
        truth = None if self.runs.truth is None else self.truth
        return options.findings(self.job, self.unit, truth=truth, consistency=self.consistency, progress=progress)

    @property
    def consistency(self) -> tuple[float, float] | None:
        """Mean reduced chi-square before and after frames were made consistent; None where they were not."""
        kept = [self.store.read(i) or {} for i in range(len(self.job))] if self.consistent else []
        if not kept or not all(_BEFORE in one for one in kept):
            return None
        before, after = (float(np.mean([one[name][0] for one in kept])) for name in (_BEFORE, _AFTER))
        return before, after

    def held_out(self) -> Iterator[Picture]:
        """Give the sharp frames that were made again, in 8 bits."""
        for i in range(len(self.job)):
            truth = self.truth(i)
            if truth is not None:
                yield eight_bits(truth)

    def scores(self, told: Callable[[int], None]) -> list[Score]:
        """Return the scores of all frames whose truth is known; `told` of the number of frames done."""
        found = []
        for i in range(len(self.job)):
            score = self.score(i)
            if score is not None:
                found.append(score)
                told(i + 1)
        return found

    def score(self, i: int) -> Score | None:
        """Return how near frame `i` is to the truth; None where nobody knows it."""
        truth = self.truth(i)
        if truth is None:
            return None
        made, pick = self.unit(i), self.job.picks[i]
        ends = self.job.sharp.times[list(pick.sharp)]
        target = self.job.target(i)
        own = bool(np.any(np.abs(ends - pick.time) <= 1e-9 * max(float(np.ptp(ends)), 1e-30)))
        return Score(
            index=i,
            time=pick.time,
            psnr=psnr(made, truth),
            ssim=ssim(made, truth),
            mae=mae(made, truth),
            known=own or (target is not None and target in pick.sharp),
            to_nearest=float(np.abs(ends - pick.time).min()),
            published=self._published(made, truth) if self.published else None,
            shares=self._shares(i),
        )

    def _published(self, made: Plane, truth: Plane) -> tuple[float, float, float, float]:
        return published_scores(eight_bits(made), eight_bits(truth), virtual=self.runs.truth is not None)

    def _shares(self, i: int) -> tuple[float, ...]:
        return tuple((self.store.read(i) or {}).get("likeness", np.empty(0)).tolist())


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


def _write_published(place: Path, making: _Making, scores: Sequence[Score]) -> None:
    """Write the published npz, and the table where there are scores."""
    job, count = making.job, len(making.job)
    scene = Scene(job.coarse, job.sharp, job.calibration, step=4, multiple=4)
    rows, columns = job.shape
    small = rows // 4, columns // 4

    def coarse() -> Iterator[Picture]:
        frames = (scene.coarse_frame(pick.middle)[0, 0].numpy() for pick in job.picks)
        return (eight_bits(frame[: small[0], : small[1]]) for frame in frames)

    arrays = {
        "result_img": ((count, rows, columns), lambda: (eight_bits(making.unit(i)) for i in range(count))),
        "lo_img": ((count, *small), coarse),
    }
    if job.target(0) is not None:
        arrays["hi_img"] = ((count, rows, columns), making.held_out)
    write_arrays(place.with_name(f"{place.stem}.published.npz"), arrays)
    write_table(scores, place.with_name(f"{place.stem}.published.csv"))


def _means(scores: Sequence[Score]) -> dict[str, Any]:
    """Return means over frames that the method was not given itself; none without truth."""
    counted = [one for one in scores if not one.known and np.isfinite(one.psnr)]
    if not counted:
        return {}
    published = [one.published[0] for one in counted if one.published is not None]
    return {
        "frames": len(counted),
        "left_out_as_known": sum(one.known for one in scores),
        "psnr": float(np.mean([one.psnr for one in counted])),
        "ssim": float(np.mean([one.ssim for one in counted])),
        "mae": float(np.mean([one.mae for one in counted])),
        **({"published_psnr": float(np.mean(published))} if published else {}),
    }


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
