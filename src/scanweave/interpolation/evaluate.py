"""Scores of interpolators on runs: acquired frames are hidden, made again, and measured in three areas and over time.

An evaluation is a list of cases (runs here, samples in `evaluation_protocols`), each scored by itself: a table has one
row per hidden frame and method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, binary_opening

from ..cine import Cine
from ..errors import InputError
from ..metrics import mae, psnr, ssim_map
from ..trust.calibration import judged_region
from ..trust.core import GAPS, why_skipped
from ..trust.hidden import HiddenFrame, clean_spans, remade, thinned
from ..trust.survey import Survey, moving_region
from .methods import Method
from .regions import RegionPlan, kept_inside, plan_regions
from .timeline import surveyed

Area = NDArray[np.bool_]
Images = NDArray[np.float32]
CaseProgress = Callable[[int, int], None]

AREAS = ("moving", "imaged", "frame")
RUN_MEASURES = (
    *(f"{measure}_{area}" for measure in ("psnr", "ssim", "mae") for area in AREAS),
    "step_error",
    "flicker",
)
"""What is measured of every hidden frame of a run (`score_run`)."""

_STILL = 1e-6  # a second difference below this, of frames in [0, 1], is rounding


@dataclass(frozen=True, slots=True)
class Row:
    """One hidden frame against what one method made in its place.

    Attributes:
        run: The run, clip or sequence.
        patient: Whose it is; what is resampled together.
        method: Label of the method.
        gap: How many frames apart the shown frames are.
        phase: Which of the `gap` ways to thin the run this frame was hidden by.
        hidden: The hidden frame, from 0.
        first: The shown frame before it.
        last: The shown frame after it.
        t: Its place in time between them, 0 to 1.
        values: Measures by name; infinite where equal images have no finite value, NaN where there is none.
        batch: The batch that it was scored in, where a protocol has some.
    """

    run: str
    patient: str
    method: str
    gap: int
    phase: int
    hidden: int
    first: int
    last: int
    t: float
    values: Mapping[str, float]
    batch: int | None = None


@dataclass(frozen=True)
class CaseScores:
    """What scoring one case gave.

    Attributes:
        rows: In the order of gaps, phases, spans, methods and frames.
        notes: What a reader must know of this case, one sentence each.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


class Case(Protocol):
    """What is scored at once: a run, a sample, or a batch of samples."""

    @property
    def name(self) -> str:
        """What reports call it; no two cases of an evaluation share one."""

    @property
    def files(self) -> Sequence[Path]:
        """What it is read from."""

    def score(self, methods: Mapping[str, Method], *, progress: CaseProgress | None = None) -> CaseScores:
        """Make its hidden frames by every method, and measure them.

        Raises:
            ScanweaveError: It cannot be read, or not be scored.
        """


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How runs are scored.

    Attributes:
        gaps: Distances between the shown frames.
        max_hidden: At most about so many hidden frames per gap and run, evenly; None: all.
        regions: What is interpolated (`scanweave.interpolation.regions`); the rest is copied.
        interpolate_flow: Interpolate colour flow, spectral and M-mode too.
        duplicates: Leave out spans that touch a repeat, or take repeats off first.
    """

    gaps: tuple[int, ...] = GAPS
    max_hidden: int | None = None
    regions: Literal["auto", "tags", "data", "off"] = "auto"
    interpolate_flow: bool = False
    duplicates: Literal["report", "drop"] = "report"


@dataclass(frozen=True)
class RunCase:
    """A run, read when it is scored.

    Attributes:
        name: What reports call it.
        files: What it is read from.
        read: Gives the run, and whose it is; None where nobody tells: then it counts as a patient by itself.
        options: How it is scored.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], tuple[Cine, str | None]]
    options: RunOptions = field(default_factory=RunOptions)

    def score(self, methods: Mapping[str, Method], *, progress: CaseProgress | None = None) -> CaseScores:
        """Hide its frames at every phase of every gap, make them again, and measure them."""
        cine, patient = self.read()
        return score_run(
            cine, methods, run=self.name, patient=patient or self.name, options=self.options, progress=progress
        )


def score_run(
    cine: Cine,
    methods: Mapping[str, Method],
    *,
    run: str,
    patient: str,
    options: RunOptions | None = None,
    progress: CaseProgress | None = None,
) -> CaseScores:
    """Hide the frames of a run, make them again by every method, and measure them in its own range and three areas.

    ``moving`` is where the run moves, ``imaged`` where anything changes at all (`imaged_area`), ``frame`` all of it.
    Frames are rounded to the stored depth first: that is what a user would get. PSNR (dB) and SSIM (Gaussian window)
    are over the depth's range, ``mae`` in stored units. Two measures look along time, where the run moves:

    - ``step_error``: how wrong the changes to and from the frame's neighbours in the made sequence are, mean absolute,
      in stored units. At gap 2 both neighbours are acquired and it is ``mae_moving``.
    - ``flicker``: mean absolute second difference of the made sequence over that of the acquired one: 1 as the run
      itself, below 1 smoother, above 1 restless.

    Args:
        cine: The run.
        methods: By the labels to report.
        run: What the rows call it.
        patient: Whose it is.
        options: What is hidden, and where it is interpolated.
        progress: Called with (frames made, of how many).

    Raises:
        InputError: Fewer than three frames, no frame that could be hidden, or one that cannot be read.

    Example:
        >>> from scanweave.interpolation.methods import create
        >>> clip = Cine.from_array(np.arange(9, dtype=np.uint8)[:, None, None] * np.full((16, 16), 10, np.uint8))
        >>> scored = score_run(clip, {"hold": create("hold")}, run="a", patient="a", options=RunOptions(gaps=(2,)))
        >>> len(scored.rows), round(scored.rows[0].values["mae_frame"], 3)
        (7, 10.0)
    """
    options = options or RunOptions()
    if len(cine) < 3:
        raise InputError(
            f"{len(cine)} frames: none can be hidden and made again",
            path=cine.source.path,
            remedy="give a run of at least three frames",
        )
    cine, found = surveyed(cine, duplicates=options.duplicates)
    plan = plan_regions(cine, found, mode=options.regions, interpolate_flow=options.interpolate_flow)
    inside = {name: kept_inside(method, plan) for name, method in methods.items()}
    areas = areas_of(cine, found, plan)
    spans = {gap: clean_spans(len(cine), gap, breaks=[*found.duplicates, *found.cuts]) for gap in options.gaps}
    skipped = {gap: why_skipped(len(cine), gap) for gap, members in spans.items() if not members}
    kept = {gap: thinned(members, options.max_hidden) for gap, members in spans.items() if members}
    if not kept:
        reasons = "; ".join(f"gap {gap}: {why}" for gap, why in skipped.items())
        raise InputError(f"no frame can be hidden and made again ({reasons})", path=cine.source.path)
    low, high = cine.levels
    total = len(inside) * sum(len(span.hidden) for members in kept.values() for span in members)
    rows: list[Row] = []
    for members in kept.values():
        for sequence in _sequences(remade(cine, inside, members)):
            span = sequence[0].span
            ends = cine.unit(span.first), cine.unit(span.last)
            for frame, values in zip(sequence, measured(sequence, ends, areas, peak=high - low), strict=True):
                where = (span.gap, span.phase, frame.index, span.first, span.last, frame.t)
                rows.append(Row(run, patient, frame.method, *where, values))
            if progress:
                progress(len(rows), total)
    return CaseScores(tuple(rows), _notes(run, found, plan, skipped, spans, kept))


def areas_of(cine: Cine, found: Survey, plan: RegionPlan) -> dict[str, Area]:
    """Return the areas that a run is measured in, by name; none is empty."""
    imaged = imaged_area(found) & plan.mask
    return {
        "moving": judged_region(cine, moving_region(found)),
        "imaged": imaged if imaged.any() else judged_region(cine, plan.mask),
        "frame": np.ones(cine.shape[:2], dtype=np.bool_),
    }


def imaged_area(found: Survey) -> Area:
    """Return where a run shows an image ``(row, column)``: what changes at all over time, specks off, holes filled.

    Letterbox, shutters and what lies outside a sector stay the same in every frame; they flatter every method.
    """
    changing = binary_opening(found.temporal_range > 0, np.ones((3, 3), dtype=np.bool_))
    return np.asarray(binary_fill_holes(changing), dtype=np.bool_)


def measured(
    sequence: Sequence[HiddenFrame], ends: tuple[Images, Images], areas: Mapping[str, Area], *, peak: float
) -> list[dict[str, float]]:
    """Return the measures of all frames that one method made in one span, in time order.

    Args:
        sequence: The frames.
        ends: The shown frames before and after them, ``(channel, row, column)`` in [0, 1].
        areas: ``(row, column)`` each, by name; ``moving`` is where time is looked along.
        peak: What 1 means in stored units.
    """
    moving = areas["moving"]
    made = [image[:, moving] for image in (ends[0], *(frame.made for frame in sequence), ends[1])]
    truth = [image[:, moving] for image in (ends[0], *(frame.truth for frame in sequence), ends[1])]
    errors = [one - other for one, other in zip(made, truth, strict=True)]
    steps = [float(np.abs(after - before).mean()) for before, after in pairwise(errors)]
    told = []
    for k, frame in enumerate(sequence):
        values = _over_areas(frame, areas, peak=peak)
        values["step_error"] = (steps[k] + steps[k + 1]) / 2 * peak
        values["flicker"] = _ratio(_bend(made, k + 1), _bend(truth, k + 1))
        told.append(values)
    return told


def _over_areas(frame: HiddenFrame, areas: Mapping[str, Area], *, peak: float) -> dict[str, float]:
    similarity = ssim_map(frame.made, frame.truth)
    values = {f"psnr_{name}": psnr(frame.made, frame.truth, mask=area) for name, area in areas.items()}
    values |= {f"ssim_{name}": float(similarity[:, area].mean()) for name, area in areas.items()}
    return values | {f"mae_{name}": mae(frame.made, frame.truth, mask=area) * peak for name, area in areas.items()}


def _bend(sequence: Sequence[NDArray[Any]], k: int) -> float:
    """Return the mean absolute second difference at frame `k`."""
    return float(np.abs(sequence[k - 1] - 2 * sequence[k] + sequence[k + 1]).mean())


def _ratio(made: float, truth: float) -> float:
    if truth < _STILL:
        return 1.0 if made < _STILL else float("inf")
    return made / truth


def _sequences(frames: Iterator[HiddenFrame]) -> Iterator[list[HiddenFrame]]:
    """Return the frames of each span and method together."""
    return (list(members) for _, members in groupby(frames, key=lambda frame: (frame.span, frame.method)))


def _notes(
    run: str,
    found: Survey,
    plan: RegionPlan,
    skipped: Mapping[int, str],
    spans: Mapping[int, Sequence[Any]],
    kept: Mapping[int, Sequence[Any]],
) -> tuple[str, ...]:
    notes = [*found.notes(), *plan.warnings]
    notes += [f"Gap {gap} was left out: {why}." for gap, why in skipped.items()]
    thin = [str(gap) for gap, members in kept.items() if len(members) < len(spans[gap])]
    if thin:
        notes.append(f"Only a part of the frames was hidden, evenly over the run, at gap {', '.join(thin)}.")
    return tuple(f"{run}: {note}" for note in notes)
