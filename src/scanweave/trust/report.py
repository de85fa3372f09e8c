"""The trust report of interpolation: hide acquired frames, make them again, and say on one page how wrong they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..cine import Cine
from ..errors import InputError, UsageError
from ..interpolation.methods import Cautious, Method, create, ready
from ..interpolation.regions import RegionPlan, kept_inside, plan_regions
from ..interpolation.timeline import surveyed
from ..io.files import atomic_output
from ..plan import Plan
from ..report import Page, render
from . import core
from .core import GAPS, LeaveOneOut
from .figures import Findings
from .page import build
from .survey import Survey, moving_region
from .verdict import trust_summary

__all__ = ["GAPS", "LeaveOneOut", "leave_one_out", "trust_page", "trust_summary", "write_trust_report"]

RegionMode = Literal["auto", "tags", "data", "off"]
Progress = Callable[[int, int], None]


def leave_one_out(
    cine: Cine,
    methods: str | Sequence[str | Method] | None = None,
    gaps: Sequence[int] = GAPS,
    *,
    chosen: str | Method | None = None,
    regions: RegionMode | RegionPlan = "auto",
    interpolate_flow: bool = False,
    duplicates: Literal["report", "drop"] = "report",
    survey: Survey | None = None,
    max_hidden: int | None = None,
    progress: Progress | None = None,
) -> LeaveOneOut:
    """Hide acquired frames, make them again by each method, and score them.

    Every frame is hidden at every phase of every gap: about as many frames as the sum of ``gap - 1`` times the length
    of the run, for each method. `max_hidden` bounds that for long runs.

    Args:
        cine: The run, at least three frames.
        methods: Names or method objects; None: every method that runs without weights.
        gaps: How far apart the frames are that remain; each at least 2. A gap too wide for the run is skipped, and
            the result says so.
        chosen: One more method, scored in place of any of the same name: as it was used, options and all.
        regions: What is interpolated, as in `InterpolateConfig`, or a plan made before.
        interpolate_flow: Interpolate colour flow, spectral, M-mode and palette Doppler too.
        duplicates: ``report`` leaves out hidden frames beside exact repeats; ``drop`` takes repeats off the time axis
            first: then frame numbers in the result are those of the run without them.
        survey: What was found in `cine`, if that is known.
        max_hidden: Hide at most about so many frames per gap, evenly over the run, and note it; None: all.
        progress: Called with (frames made, of how many).

    Raises:
        InputError: Fewer than three frames.
        UsageError: No such method, a gap that is not a whole number from 2, or a `max_hidden` below 1.

    Example:
        >>> import numpy as np
        >>> run = Cine.from_array(np.random.default_rng(0).integers(0, 255, (9, 24, 24), dtype=np.uint8), fps=30)
        >>> [(s.method, s.gap) for s in leave_one_out(run, ["hold", "linear"], gaps=[2]).summary()]
        [('hold', 2), ('linear', 2)]
    """
    _check(cine, gaps)
    cine, found = surveyed(cine, duplicates=duplicates, survey=survey)
    _check(cine, gaps)
    plan = regions
    if not isinstance(plan, RegionPlan):
        plan = plan_regions(cine, found, mode=plan, interpolate_flow=interpolate_flow)
    named = ready() if methods is None else (methods,) if isinstance(methods, str) else methods
    wanted = [create(method) for method in named]
    if chosen is not None:
        first = create(chosen)
        wanted = [first, *(method for method in wanted if method.name != first.name)]
    names = [method.name for method in wanted]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"methods {', '.join(names) or 'none'}", remedy="name at least one, and each once")
    result = core.leave_one_out(
        cine,
        {method.name: kept_inside(method, plan) for method in wanted},
        gaps=[int(gap) for gap in gaps],
        region=moving_region(found),
        duplicates=found.duplicates,
        cuts=found.cuts,
        max_hidden=max_hidden,
        progress=progress,
    )
    return replace(result, notes=(*result.notes, *_cautions(wanted, gaps)))


def trust_page(
    cine: Cine,
    result: LeaveOneOut,
    survey: Survey,
    regions: RegionPlan,
    *,
    chosen: str | Method,
    made: Cine | None = None,
    plan: Plan | None = None,
) -> Page:
    """Return the page that says how far to trust `chosen` on this run.

    Args:
        cine: The run that was scored.
        result: Its leave-one-out score.
        survey: What was found in it.
        regions: What was interpolated and what was copied.
        chosen: The method that the page is about: a name, or the method as it was used.
        made: The interpolated run, for its confidence and the motion along one line.
        plan: What was run, shown in full at the end.

    Raises:
        UsageError: `chosen` was not scored.
    """
    method = kept_inside(create(chosen), regions)
    return build(Findings(cine, result, survey, regions, method, made, plan))


def write_trust_report(path: Path, page: Page) -> None:
    """Write a page (`trust_page`) as one HTML file that needs nothing else; whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    html = render(page)
    with atomic_output(path) as target:
        target.write_text(html, encoding="utf-8")


def _cautions(methods: Sequence[Method], gaps: Sequence[int]) -> list[str]:
    """Return what the methods say of frames made at the times that `gaps` hide, each sentence once."""
    times = sorted({k / gap for gap in map(int, gaps) for k in range(1, gap)})
    said = [note for method in methods if isinstance(method, Cautious) for note in method.cautions(times)]
    return list(dict.fromkeys(said))


def _check(cine: Cine, gaps: Sequence[int]) -> None:
    path = cine.source.path
    if len(cine) < 3:
        reason = {
            1: "one frame: there is nothing to interpolate and nothing to score",
            2: "two frames can be interpolated, but neither can be hidden, so nothing can be scored",
        }[len(cine)]
        raise InputError(reason, path=path, remedy="give a run of at least three frames")
    if not gaps or any(gap < 2 or gap != int(gap) for gap in gaps):
        came = ", ".join(map(str, gaps)) or "none"
        raise UsageError(f"gaps {came}", path=path, remedy="give whole numbers of 2 or more: 2,3,4,8")
