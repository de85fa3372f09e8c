"""What was acquired judges what was made: hide acquired frames, make them again, score them.

This module knows no job: a method is anything that speaks the protocol below (`scanweave.interpolation.methods`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..cine import Cine
from ..errors import UsageError
from ..metrics import mae, psnr, ssim_map
from .calibration import GAP, Calibration, Evidence, judged_region
from .hidden import HiddenFrame, Span, clean_spans, remade, thinned

GAPS = (2, 3, 4, 8)

# Below this share of the depth's range, scores over the whole range look better than any picture does.
LITTLE = 0.25


class MadeFrames(Protocol):
    """What a method made (`scanweave.interpolation.methods.Made`)."""

    @property
    def frames(self) -> Any:
        """``(time, channel, row, column)`` in [0, 1]."""

    @property
    def uncertainty(self) -> Any:
        """``(time, 1, row, column)``, or None."""


class State(Protocol):
    """A studied pair."""

    def at(self, times: Sequence[float]) -> MadeFrames:
        """Return the frames at `times` in [0, 1]."""


class FittedMethod(Protocol):
    """A method that has seen a run."""

    def prepare(self, i: int, j: int) -> State:
        """Study frames `i` and `j` of that run."""


class RunMethod(Protocol):
    """A method of any job that makes frames of a run."""

    @property
    def name(self) -> str:
        """What the method is called in a report."""

    def fit(self, cine: Cine) -> FittedMethod:
        """Study the whole run."""


class Quartiles(NamedTuple):
    """Median and interquartile range, in ascending order."""

    lower: float
    median: float
    upper: float


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One hidden frame against what was made in its place.

    ``_region`` is where the run moves, ``_frame`` the whole frame. Colour: PSNR and error are pooled over the three
    channels, SSIM is their mean; palette frames are compared as the colours that are shown.

    Attributes:
        method: Name of the method.
        gap: How many frames apart the shown frames are.
        hidden: The hidden frame.
        pair: The shown frames.
        t: Place of the hidden frame in true time between them, 0 to 1.
        psnr_region: dB over `LeaveOneOut.peak`; infinity where nothing differs.
        psnr_frame: The same.
        ssim_region: Mean over the region of the structural similarity around each pixel (Gaussian window).
        ssim_frame: The same over the frame.
        mae_region: Mean absolute error in stored units.
        predicted_error: What `Calibration` expects for `mae_region`, at gap 2 where it could be calibrated.
    """

    method: str
    gap: int
    hidden: int
    pair: tuple[int, int]
    t: float
    psnr_region: float
    psnr_frame: float
    ssim_region: float
    ssim_frame: float
    mae_region: float
    predicted_error: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Quartiles over the hidden frames of one method at one gap; units as in `FrameScore`."""

    method: str
    gap: int
    count: int
    psnr_region: Quartiles
    psnr_frame: Quartiles
    ssim_region: Quartiles
    ssim_frame: Quartiles
    mae_region: Quartiles


_MEASURES = ("psnr_region", "psnr_frame", "ssim_region", "ssim_frame", "mae_region")


class Loss(NamedTuple):
    """Another method that does better: by `decibels` in the median PSNR of the region at `gap`."""

    rival: str
    gap: int
    decibels: float


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """The outcome of a leave-one-out run.

    Attributes:
        scores: One entry per method, gap and hidden frame, in that order.
        region: ``(row, column)`` bool, where the run moves: temporal range above 2 % of peak, dilated 3 pixels.
        peak: 2^BitsStored - 1 in stored units, or the run's own range for floats.
        skipped: Gap -> why no frame could be hidden there.
        calibration: Method -> its calibrated intervals and frame errors (gap 2), where enough frames were hidden.
        notes: What a reader must know, one sentence each.
    """

    scores: tuple[FrameScore, ...]
    region: NDArray[np.bool_]
    peak: float
    skipped: Mapping[int, str] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that were scored, in the order given."""
        return tuple(dict.fromkeys(score.method for score in self.scores))

    @property
    def gaps(self) -> tuple[int, ...]:
        """Gaps that were scored, in the order given."""
        return tuple(dict.fromkeys(score.gap for score in self.scores))

    def summary(self) -> tuple[Summary, ...]:
        """Return quartiles over the hidden frames for every gap and method."""
        groups: dict[tuple[int, str], list[FrameScore]] = {}
        for score in self.scores:
            groups.setdefault((score.gap, score.method), []).append(score)
        return tuple(
            Summary(method, gap, len(group), *(quartiles([getattr(s, name) for s in group]) for name in _MEASURES))
            for (gap, method), group in groups.items()
        )

    def table(self) -> list[dict[str, Any]]:
        """Return one row per gap and method: the medians, and the quartiles of PSNR in the region."""
        return [
            {"gap": s.gap, "method": s.method, "count": s.count}
            | {name: getattr(s, name).median for name in _MEASURES}
            | {"psnr_region_lower": s.psnr_region.lower, "psnr_region_upper": s.psnr_region.upper}
            for s in self.summary()
        ]

    def losers(self, method: str) -> list[Loss]:
        """Return every other method that has the higher median PSNR in the region, largest difference first.

        Raises:
            UsageError: `method` was not scored.
        """
        self._check_scored(method)
        medians = {(s.method, s.gap): s.psnr_region.median for s in self.summary()}
        better = [
            Loss(rival, gap, median - medians[method, gap])
            for (rival, gap), median in medians.items()
            if rival != method and median > medians[method, gap]
        ]
        return sorted(better, key=lambda loss: -loss.decibels)

    def worst(self, method: str, gap: int, n: int) -> list[FrameScore]:
        """Return the `n` hidden frames with the largest error in the region, worst first; ties in time order.

        Raises:
            UsageError: `method` was not scored.
        """
        self._check_scored(method)
        scores = [score for score in self.scores if score.method == method and score.gap == gap]
        return sorted(scores, key=lambda score: (-score.mae_region, score.hidden))[:n]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the region's pixels, JSON-able; infinity is the string ``"inf"``."""
        return {
            "peak": self.peak,
            "region": {
                "share": float(self.region.mean()),
                "rows": _extent(self.region.any(axis=1)),
                "columns": _extent(self.region.any(axis=0)),
            },
            "summary": [_jsonable(asdict(summary)) for summary in self.summary()],
            "scores": [_jsonable(asdict(score)) for score in self.scores],
            "skipped": {str(gap): why for gap, why in self.skipped.items()},
            "calibration": {name: found.to_json() for name, found in self.calibration.items()},
            "notes": list(self.notes),
        }

    def _check_scored(self, method: str) -> None:
        if method not in self.methods:
            scored = ", ".join(self.methods) or "none"
            raise UsageError(f"method {method!r} was not scored", remedy=f"scored were: {scored}")


def leave_one_out(
    cine: Cine,
    methods: Mapping[str, RunMethod],
    *,
    gaps: Sequence[int] = GAPS,
    region: NDArray[np.bool_] | None = None,
    duplicates: Sequence[int] = (),
    cuts: Sequence[int] = (),
    max_hidden: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LeaveOneOut:
    """Hide acquired frames, make them again by every method, and score them.

    At gap ``g`` every frame pair ``g`` apart is shown once and all frames strictly between it are hidden: every phase
    of the gap. A method is fitted to the shown frames of a phase alone and asked at the true times of the hidden ones.
    What is scored is what a user would get: rounded and clamped to the stored depth.

    Args:
        cine: The run.
        methods: The methods by the names to report; all are given the same frames.
        gaps: How many frames apart the shown frames are, each 2 or more.
        region: ``(row, column)`` bool, where the scores called ``_region`` are taken. None: where the run moves. True
            nowhere (a still run): the whole frame.
        duplicates: Frames equal to the one before; spans that hold such a pair are left out.
        cuts: First frames after a cut; spans across it are left out.
        max_hidden: Hide at most about so many frames per gap: whole spans, evenly over each phase.
        progress: Called with (frames made, of how many), counted over gaps and methods.

    Returns:
        The scores. A run too short for a gap, or for all, is no error: `LeaveOneOut.skipped` says why.

    Raises:
        UsageError: No methods, no gaps, or a gap that hides nothing.
        InputError: A frame cannot be read.
        ValueError: A region that does not fit, or a method that gives frames of another shape or not finite.

    Example:
        >>> from scanweave.interpolation.methods import create
        >>> run = Cine.from_array(np.arange(9, dtype=np.uint8)[:, None, None] * np.full((16, 16), 10, np.uint8))
        >>> result = leave_one_out(run, {"linear": create("linear"), "hold": create("hold")}, gaps=(2,))
        >>> [(loss.rival, loss.gap) for loss in result.losers("hold")]
        [('linear', 2)]
    """
    if not methods or not gaps:
        raise UsageError("no method or no gap to score", remedy="name at least one of each")
    if max_hidden is not None and max_hidden < 1:
        raise UsageError(f"at most {max_hidden} hidden frames asked for", remedy="hide one or more, or leave it out")
    wanted = tuple(dict.fromkeys(gaps))
    found = {gap: clean_spans(len(cine), gap, breaks=[*duplicates, *cuts]) for gap in wanted}
    skipped = {gap: why_skipped(len(cine), gap) for gap, spans in found.items() if not spans}
    plan = {gap: thinned(spans, max_hidden) for gap, spans in found.items() if spans}
    area = judged_region(cine, region)
    low, high = cine.levels
    total = len(methods) * sum(len(span.hidden) for spans in plan.values() for span in spans)

    scores: list[FrameScore] = []
    lowest, highest = 1.0, 0.0
    evidence = {name: Evidence(area, len(plan.get(GAP, ()))) for name in methods}
    for gap, spans in plan.items():
        for frame in remade(cine, methods, spans):
            scores.append(score_frame(frame, area, peak=high - low))
            lowest, highest = min(lowest, float(frame.truth.min())), max(highest, float(frame.truth.max()))
            if gap == GAP:
                evidence[frame.method].add(frame)
            if progress:
                progress(len(scores), total)
    calibration = {name: fitted for name, seen in evidence.items() if (fitted := seen.calibration()) is not None}
    scores = _with_predictions(scores, evidence, calibration, peak=high - low)
    place = {name: k for k, name in enumerate(methods)}
    return LeaveOneOut(
        scores=tuple(sorted(scores, key=lambda s: (wanted.index(s.gap), place[s.method], s.hidden, s.pair))),
        region=area,
        peak=high - low,
        skipped=skipped,
        calibration=calibration,
        notes=_notes(plan, found, area, used=highest - lowest),
    )


def score_frame(frame: HiddenFrame, region: NDArray[np.bool_], *, peak: float) -> FrameScore:
    """Score one frame that was made in place of a hidden one.

    Args:
        frame: The two, in [0, 1].
        region: ``(row, column)`` bool, not empty.
        peak: What 1 means in stored units.
    """
    similarity = ssim_map(frame.made, frame.truth)
    return FrameScore(
        method=frame.method,
        gap=frame.span.gap,
        hidden=frame.index,
        pair=(frame.span.first, frame.span.last),
        t=frame.t,
        psnr_region=psnr(frame.made, frame.truth, mask=region),
        psnr_frame=psnr(frame.made, frame.truth),
        ssim_region=float(similarity[:, region].mean()),
        ssim_frame=float(similarity.mean()),
        mae_region=mae(frame.made, frame.truth, mask=region) * peak,
    )


def quartiles(values: Sequence[float]) -> Quartiles:
    """Return lower quartile, median and upper quartile, linear between neighbours; infinities are allowed."""
    ranked = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ranked) - 1)
        below, above = ranked[math.floor(place)], ranked[math.ceil(place)]
        # Equal neighbours may both be infinite: their difference is no number.
        return below if below == above else below + (above - below) * (place - math.floor(place))

    return Quartiles(at(0.25), at(0.5), at(0.75))


def _with_predictions(
    scores: Sequence[FrameScore],
    evidence: Mapping[str, Evidence],
    calibration: Mapping[str, Calibration],
    *,
    peak: float,
) -> list[FrameScore]:
    predicted = {
        (GAP, name, index): error * peak
        for name, fitted in calibration.items()
        for index, error in evidence[name].expected_errors(fitted).items()
    }
    return [replace(s, predicted_error=predicted.get((s.gap, s.method, s.hidden))) for s in scores]


def why_skipped(length: int, gap: int) -> str:
    """Say why a run of `length` frames has no span of `gap` that could be hidden."""
    if length <= gap:
        frames = f"{length} frame" if length == 1 else f"{length} frames"
        return f"{frames}: nothing can be hidden" if length < 3 else f"{frames}: too short to hide {gap - 1} in a row"
    return f"every stretch of {gap + 1} frames holds a duplicate frame or a cut"


def _notes(
    plan: Mapping[int, Sequence[Span]],
    found: Mapping[int, Sequence[Span]],
    area: NDArray[np.bool_],
    *,
    used: float,
) -> tuple[str, ...]:
    notes = []
    if plan:
        notes.append(
            "Frames made between neighbours are nearer to their sources than any hidden frame is: gap 2 overstates "
            "their error."
        )
    if area.all():
        notes.append("No part of the run is set apart by its motion: the region is the whole frame.")
    if plan and used < LITTLE:
        notes.append(
            f"The frames use {used:.1%} of the range of their depth: PSNR and SSIM, taken over all of it, flatter "
            "every method alike."
        )
    thin = [gap for gap, spans in plan.items() if len(spans) < len(found[gap])]
    if thin:
        notes.append(f"Only a part of the frames was hidden, evenly over the run, at gap {', '.join(map(str, thin))}.")
    return tuple(notes)


def _extent(line: Any) -> list[int] | None:
    """First true place and one past the last."""
    places = np.flatnonzero(line)
    return [int(places[0]), int(places[-1]) + 1] if len(places) else None


def _jsonable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples become lists, infinity the string that `float` reads back: JSON knows none."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, float) and math.isinf(value) else value

    return {name: plain(value) for name, value in fields.items()}
