"""Score files: how wrong each method is on the user's own runs, as numbers and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import ScanweaveError
from ..interpolation.api import Progress, named_method
from ..interpolation.config import NetworkOptions
from ..interpolation.methods import DEFAULT_METHOD, Method, runs_without_network
from ..interpolation.regions import plan_regions
from ..interpolation.timeline import surveyed
from ..io.files import check_output
from ..trust.report import GAPS, leave_one_out, trust_page, trust_summary, write_trust_report
from .inputs import ReadOptions, Run, distinct, strip_dataset
from .many import FINISHED, each_on_its_own


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """What is scored.

    Attributes:
        methods: Names of the methods; empty for all that run without weights.
        chosen: The method that the verdict is about.
        network: How those of them run that are networks.
        gaps: Distances between kept frames.
        max_hidden: At most about so many hidden frames per gap; None: all.
        regions: What is interpolated (`scanweave.interpolation.regions`).
        interpolate_flow: Interpolate colour flow, spectral and M-mode too.
        duplicates: Leave out spans that touch a repeat, or take repeats off first.
    """

    methods: tuple[str, ...] = ()
    chosen: str = DEFAULT_METHOD
    network: NetworkOptions = NetworkOptions()
    gaps: tuple[int, ...] = GAPS
    max_hidden: int | None = None
    regions: Literal["auto", "tags", "data", "off"] = "auto"
    interpolate_flow: bool = False
    duplicates: Literal["report", "drop"] = "report"


@dataclass(frozen=True)
class TrustOutcome:
    """The scores of one input."""

    source: str
    report: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: ScanweaveError | None = None


def trust_file(
    run: Run,
    output: Path | None,
    *,
    scoring: ScoreOptions | None = None,
    reading: ReadOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> TrustOutcome:
    """Score one run and, if `output` is given, write the page.

    Raises:
        ScanweaveError: Whatever is wrong with input, options or output.
    """
    scoring, reading = scoring or ScoreOptions(), reading or ReadOptions()
    report = progress or (lambda what, done, total: None)
    if output is not None and output.exists() and resume:
        return TrustOutcome(str(run[0]), output, notes=(FINISHED,))
    if output is not None:
        check_output(output, [strip_dataset(path) for path in run], overwrite=overwrite)
    chosen, methods = _named(scoring)
    cine = reading.read(run)
    scored, found = surveyed(
        cine,
        duplicates=scoring.duplicates,
        progress=lambda done, total: report("looking at the run", done, total),
    )
    regions = plan_regions(scored, found, mode=scoring.regions, interpolate_flow=scoring.interpolate_flow)
    result = leave_one_out(
        scored,
        methods=methods or None,
        chosen=chosen,
        gaps=scoring.gaps,
        max_hidden=scoring.max_hidden,
        survey=found,
        regions=regions,
        progress=lambda done, total: report("scoring on hidden frames", done, total),
    )
    if output is not None:
        write_trust_report(output, trust_page(scored, result, found, regions, chosen=chosen))
    return TrustOutcome(str(run[0]), output, trust_summary(result, scoring.chosen))


def _named(scoring: ScoreOptions) -> tuple[Method, list[Method]]:
    """Return the chosen method and all others; weights and the like go to those that are networks."""
    names = dict.fromkeys((scoring.chosen, *scoring.methods))
    anyone = all(runs_without_network(name) for name in names)

    def method(name: str) -> Method:
        heeded = anyone or not runs_without_network(name)
        return named_method(name, scoring.network if heeded else NetworkOptions())

    chosen = method(scoring.chosen)
    return chosen, [chosen if name == scoring.chosen else method(name) for name in scoring.methods]


def trust_many(
    runs: Sequence[Run],
    folder: Path | None,
    *,
    scoring: ScoreOptions | None = None,
    reading: ReadOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[TrustOutcome]:
    """Score many runs; one that cannot be scored does not stop the others."""
    pages: Sequence[Path | None] = [None] * len(runs)
    if folder is not None:
        pages = distinct(folder / f"{run[0].stem}.trust.html" for run in runs)

    def one(number: int) -> TrustOutcome:
        return trust_file(
            runs[number],
            pages[number],
            scoring=scoring,
            reading=reading,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )

    return each_on_its_own(runs, one, lambda source, error: TrustOutcome(source, error=error))
