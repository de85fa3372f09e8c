"""The trust page of a fusion, made with the frames or afterwards: of results that lie in files, whoever made them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from .. import io
from ..cine import Cine
from ..errors import InputError, UsageError, WeightsError
from ..fusion.api import Match, chosen_method, prepare
from ..fusion.calibration import Calibration
from ..fusion.consistency import Consistent
from ..fusion.frames import Frames, Plane
from ..fusion.held_out import Progress, shown
from ..fusion.job import Job, Mode
from ..fusion.methods import Method, State
from ..fusion.profiles import Line
from ..fusion.trust import Findings, check
from ..fusion.verdict import trust_summary
from ..fusion.virtual import VirtualOptions
from ..io.files import check_output
from ..plan import Plan, SideCar, fingerprint, plain, sidecar_path
from .fusion_cases import Case, Opened, opened
from .fusion_report import write_report
from .inputs import strip_dataset

_PAGES = (".html", ".htm")
_APART = 1e-3  # of the fast camera's interval: how far a made frame may lie from a moment


@dataclass(frozen=True, kw_only=True)
class TrustOptions:
    """How made frames are judged.

    Attributes:
        report: The page; of many cases a folder of them. None: the verdict alone.
        line: Of the profile; by default across the strongest edge that moves.
        blur: Of the fast camera, coarse pixels; by default as frames taken at once tell.
        most: Frames that are scored at most.
    """

    report: Path | None = None
    line: Line | None = None
    blur: float | None = None
    most: int = 40

    def of(self, name: str) -> TrustOptions:
        """Return those of one of many cases."""
        return self if self.report is None else replace(self, report=self.report / f"{name}.html")

    def check_page(self) -> None:
        """Refuse a page that is not called one, lest it replace something else.

        Raises:
            UsageError: The name does not end as that of a page.
        """
        if self.report is not None and self.report.suffix.lower() not in _PAGES:
            raise UsageError(
                "the report is a page, and this is not the name of one",
                path=self.report,
                remedy=f"give a name that ends in .html, such as {self.report.stem}.html",
            )

    def findings(
        self,
        job: Job,
        frame: Callable[[int], Plane],
        *,
        truth: Callable[[int], Plane | None] | None = None,
        hide: bool = True,
        consistency: tuple[float, float] | None = None,
        progress: Progress | None = None,
    ) -> Findings:
        """Judge; arguments and errors as of `scanweave.fusion.trust.check`."""
        return check(
            job,
            frame,
            truth=truth,
            blur=self.blur,
            line=self.line,
            hide=hide,
            most=self.most,
            consistency=consistency,
            progress=progress,
        )

    def written(self, findings: Findings, *, title: str, plan: Plan) -> dict[str, Any]:
        """Write the page, where one is asked for; return what was found, for machines.

        Raises:
            OutputError: The page cannot be written.
        """
        if self.report is not None:
            write_report(self.report, findings, title=title, plan=plan)
        return trust_summary(findings)


@dataclass(frozen=True)
class JudgedFusion:
    """What was found of a file."""

    source: str
    report: Path | None
    summary: dict[str, Any]


@dataclass(frozen=True)
class Maker:
    """Whatever made the frames: its name is all that is known.

    Attributes:
        name: What pages call it.
    """

    name: str

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> State:
        """Refuse: it made what it made.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{self.name} is known by its result alone", remedy="make it by scanweave fuse --report")

    def describe(self) -> dict[str, Any]:
        """Return its name."""
        return {"name": self.name}


def judge_fusion(
    made: Path,
    case: Case,
    options: TrustOptions,
    *,
    cameras: VirtualOptions | None = None,
    match: Match | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> JudgedFusion:
    """Judge fused frames that lie in a file by both cameras' runs; write the page where one is asked for.

    What the side-car of the result says needs not be said again: method, mode, the moments of its frames, the two
    cameras of a virtual experiment.

    Args:
        made: The result.
        case: What it was made of.
        options: How.
        cameras: Of a virtual experiment whose result has no side-car.
        match: Whether intensities were matched; by default as `scanweave fuse` does it.
        overwrite: Replace a page that exists.
        progress: Told of each step.

    Raises:
        ScanweaveError: Whatever is wrong with input, options or output.
    """
    options.check_page()
    sources = [strip_dataset(made), *case.files]
    if options.report is not None:
        check_output(options.report, sources, overwrite=overwrite)
    told = _sidecar(made)
    cameras = _cameras(told, cameras, made)
    runs, run = opened(case, cameras), io.read(made, as_="cine")
    job, hide = _job(runs, run, told, match)
    truth = runs.truth
    findings = options.findings(
        job,
        _Read(job, run),
        truth=None if truth is None else lambda i: shown(job, truth, job.picks[i].middle),
        hide=hide,
        consistency=_moved(told),
        progress=progress,
    )
    plan = Plan(
        verb="trust fusion",
        inputs=tuple(fingerprint(path) for path in sources),
        config=plain(options) | {"case": plain(case), "cameras": plain(cameras)},
        method=job.method.describe(),
    )
    return JudgedFusion(str(made), options.report, options.written(findings, title=made.name, plan=plan))


@dataclass(frozen=True, eq=False)
class _Read:
    """Frames of a file over the window, as far as both cameras see."""

    job: Job
    run: Cine

    def __call__(self, number: int) -> Plane:
        frame = self.run.frame(number)
        if frame.shape != self.job.shape:
            x0, y0, x1, y1 = self.job.box
            frame = frame[y0:y1, x0:x1]
        return self.job.read(frame)


def _job(runs: Opened, run: Cine, told: SideCar | None, match: Match | None) -> tuple[Job, bool]:
    """Return the job that would have made a run, and whether its method is at hand.

    Raises:
        InputError: The run was not made of these two.
    """
    method = None if told is None else _method(told.plan.method)
    name = "the method" if told is None else str(told.plan.method.get("name", "the method"))
    mode: Mode = "continuous" if told is None else told.plan.config.get("mode", "continuous")
    job = prepare(
        runs.coarse,
        runs.sharp,
        runs.calibration,
        method=method or Maker(name),
        mode=mode,
        match=match or ("none" if runs.truth is not None else "linear"),
        depth="stored" if run.dtype.kind in "ui" else "float32",
        records=runs.records,
        like=runs.truth,
    )
    if run.shape not in (job.shape, job.sharp.shape):
        raise InputError(
            f"its frames have {run.shape} pixels; what both see has {job.shape}, a sharp frame {job.sharp.shape}",
            path=run.source.path,
            remedy="give the runs and the calibration that it was made of",
        )
    return _at_its_moments(job, run, told), method is not None


def _cameras(told: SideCar | None, given: VirtualOptions | None, made: Path) -> VirtualOptions | None:
    """Return the cameras that a virtual experiment had, as its result's side-car tells them.

    Raises:
        UsageError: Others were stated.
    """
    found = None if told is None or given is None else told.plan.config.get("cameras")
    if found is None:
        return given
    had = VirtualOptions(**(found | {"offset": tuple(found["offset"])}))
    if given not in (VirtualOptions(), had):
        raise UsageError(
            f"{made.name} was made with other cameras than are stated, as its side-car says",
            remedy="leave out their options; it knows them",
        )
    return had


def _method(told: dict[str, Any]) -> Method | None:
    """Return a method as a plan tells it; None of what is unknown, or whose weights are not at hand."""
    options = {key: value for key, value in told.items() if key not in ("name", "consistent", "sha256")}
    try:
        method = chosen_method(str(told.get("name")), options)
        same = method.describe().get("sha256") == told.get("sha256")
    except (UsageError, WeightsError):
        return None
    if not same:
        return None
    return Consistent(method) if told.get("consistent") else method


def _at_its_moments(job: Job, run: Cine, told: SideCar | None) -> Job:
    """Return the job of just the frames that a run has.

    Raises:
        InputError: It has frames of other moments.
    """
    if told is not None and len(told.frames) == len(run):
        times = np.array([entry.time for entry in told.frames])
    elif len(run) == len(job):
        return job
    elif run.time_unit == "s":
        times = np.asarray(run.times)
    else:
        raise InputError(
            f"has {len(run)} frames without times; {len(job)} moments can be made of these runs",
            path=run.source.path,
            remedy="keep its side-car beside it, or give all frames",
        )
    known = np.array([pick.time for pick in job.picks])
    nearest = np.abs(known[None] - times[:, None]).argmin(axis=1)
    interval = float(np.median(np.diff(job.coarse.times))) if len(job.coarse) > 1 else 1.0
    off = np.abs(known[nearest] - times)
    if off.max() > _APART * interval:
        raise InputError(
            f"frame {int(off.argmax())} is of {times[off.argmax()]:.9g} s, which is no moment of the fast camera",
            path=run.source.path,
            remedy="give the runs that it was made of",
        )
    return replace(job, picks=tuple(job.picks[int(i)] for i in nearest))


def _moved(told: SideCar | None) -> tuple[float, float] | None:
    """Return the chi-square before and after a step of data consistency, as a side-car tells them."""
    found = None if told is None else told.trust.get("consistency")
    return (float(found["before"]), float(found["after"])) if found else None


def _sidecar(path: Path) -> SideCar | None:
    try:
        return SideCar.model_validate_json(sidecar_path(strip_dataset(path)).read_bytes())
    except (OSError, ValidationError):
        return None
