"""Charts and pictures of the trust page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..cine import Cine
from ..plan import Plan
from ..report import Chart, Pictures
from ..report.charts import Mark, Panel, Series, chart
from ..report.pictures import box, error_map, error_scale, m_mode, outlined, picture
from .core import FrameScore, LeaveOneOut, RunMethod
from .hidden import HiddenFrame, Span, clean_spans, remade
from .survey import Survey
from .verdict import error_digits, summaries

if TYPE_CHECKING:
    from ..interpolation.regions import RegionPlan

CONFIDENCE_GAP = 2
_MOST_BARS = 200
_MOST_LINES = 900


@dataclass(frozen=True, eq=False)
class Findings:
    """All that the trust page is made from.

    Attributes:
        cine: The run that was scored.
        result: Its leave-one-out score.
        survey: What was found in it.
        regions: What was interpolated and what was copied.
        method: The method that the page is about, as it was scored.
        made: The interpolated run, or None if the page only judges.
        plan: What was run, or None.
    """

    cine: Cine
    result: LeaveOneOut
    survey: Survey
    regions: RegionPlan
    method: RunMethod
    made: Cine | None = None
    plan: Plan | None = None

    @property
    def chosen(self) -> str:
        """Name of the method that the page is about."""
        return self.method.name

    def methods(self) -> list[str]:
        """Return the methods scored, the chosen one first: their place is their colour in every chart."""
        scored = dict.fromkeys(score.method for score in self.result.scores)
        return [self.chosen, *(name for name in scored if name != self.chosen)]

    def gaps(self) -> list[int]:
        """Return the gaps scored, smallest first."""
        return sorted({score.gap for score in self.result.scores})

    def scores(self, method: str, gap: int) -> list[FrameScore]:
        """Return the scores of one method at one gap, in frame order."""
        chosen = [s for s in self.result.scores if s.method == method and s.gap == gap]
        return sorted(chosen, key=lambda s: (s.hidden, s.t))

    @property
    def shades(self) -> tuple[float, float]:
        """What pictures show as black and as white, in [0, 1] over the depth."""
        low, high = self.cine.levels
        bottom, top = ((value - low) / (high - low) for value in self.cine.shown_range)
        return bottom, top

    def picture(self, unit: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return ``(channel, row, column)`` in [0, 1] as an 8-bit picture ``(row, column, 3)``."""
        return self.cine.picture(unit)

    def shown(self, k: int) -> NDArray[np.uint8]:
        """Return acquired frame `k` as a picture."""
        return self.picture(self.cine.unit(k))


def timing_chart(findings: Findings) -> Chart:
    """Draw the step in time before every frame, with repeated and missing frames, cuts and R waves."""
    cine, found = findings.cine, findings.survey
    in_seconds = cine.time_unit == "s"
    steps = np.diff(cine.times) * (1000 if in_seconds else 1)
    style: Literal["bars", "line"] = "bars" if len(steps) <= _MOST_BARS else "line"
    series = [Series("step from the frame before", range(1, len(cine)), steps.tolist(), slot=0, style=style)]
    repeats = [k for k in found.duplicates if k >= 1]
    if repeats:
        series.append(
            Series("exact repeat", repeats, [steps[k - 1] for k in repeats], slot=1, style="points", alarm=True)
        )
    lost = [drop.after + 1 for drop in found.drops if 1 <= drop.after + 1 < len(cine)]
    if lost:
        series.append(Series("frames missing before it", lost, [steps[k - 1] for k in lost], slot=3, style="points"))
    marks = [Mark(float(cut), "cut") for cut in found.cuts]
    if in_seconds:
        shifted = cine.times - cine.times[0]
        waves = [wave for wave in cine.source.r_waves if 0 <= wave <= shifted[-1]]
        marks += [Mark(float(np.interp(wave, shifted, np.arange(len(cine)))), "R") for wave in waves]
    unit = "ms" if in_seconds else "frames"
    return chart(
        [Panel(series, marks=marks, from_zero=True)],
        x="frame",
        y=f"step, {unit}",
        alt=f"Step in time before each of {len(steps)} frames: median {np.median(steps):.4g} {unit}.",
        caption="Equal bars mean an even frame rate. Repeats and losses are marked where they were found.",
        height=2.1,
        digits=3,
    )


def frames_chart(findings: Findings) -> Chart:
    """Draw the PSNR of every hidden frame by method, one panel per gap."""
    panels = []
    for gap in findings.gaps():
        series = []
        for slot, method in enumerate(findings.methods()):
            frames, values = per_frame(findings.scores(method, gap))
            series.append(Series(method, frames, values, slot=slot, bold=slot == 0))
        panels.append(Panel(series, title=f"Gap {gap}"))
    return chart(
        panels,
        x="hidden frame",
        y="PSNR where the run moves, dB",
        alt="PSNR of each hidden frame by method, one panel per gap; the values are in the tables below it.",
        caption="Higher is better. At gaps above 2 a frame is hidden more than once, at different places in the gap; "
        "its median is drawn. Dips are the moments of fast motion.",
        across=2 if len(panels) > 1 else 1,
    )


def per_frame(scores: Sequence[FrameScore]) -> tuple[list[int], list[float]]:
    """Return hidden frames and the median PSNR (moving region) of each over the times that it was hidden."""
    found: dict[int, list[float]] = {}
    for score in scores:
        found.setdefault(score.hidden, []).append(score.psnr_region)
    return list(found), [float(np.median(values)) for values in found.values()]


def gaps_chart(findings: Findings) -> Chart:
    """Draw the median error against the gap, by method; quartiles for the chosen one."""
    table = summaries(findings.result)
    series = []
    for slot, method in enumerate(findings.methods()):
        gaps = [gap for gap in findings.gaps() if (method, gap) in table]
        low, middle, high = zip(*(table[method, gap].mae_region for gap in gaps), strict=True)
        line = Series(method, gaps, middle, slot=slot, bold=slot == 0, style="line+points")
        series.append(replace(line, low=low, high=high) if slot == 0 else line)
    return chart(
        [Panel(series, ticks=findings.gaps(), from_zero=True)],
        x="gap (frames from one kept frame to the next)",
        y="median error, grey levels",
        alt="Median absolute error by gap and method; the values are in the table below it.",
        caption="Lower is better. Slow motion of the run itself works at gap 1, to the left of this chart, where the "
        f"error is expected to be smaller than at any gap that can be tested. Bars: quartiles of {findings.chosen}.",
        height=2.8,
        digits=error_digits(findings.result.peak),
    )


def confidence_chart(findings: Findings) -> Chart | None:
    """Draw predicted against true error of hidden frames (gap 2), or None where the method has no doubt to show."""
    scores = [s for s in findings.scores(findings.chosen, CONFIDENCE_GAP) if s.predicted_error is not None]
    if not scores:
        return None
    halves = [
        Series(name, [s.predicted_error or 0.0 for s in half], [s.mae_region for s in half], slot=slot, style="points")
        for slot, (name, half) in enumerate(
            (
                ("odd hidden frames: the test", [s for s in scores if s.hidden % 2]),
                ("even hidden frames: calibrated on", [s for s in scores if s.hidden % 2 == 0]),
            )
        )
        if half
    ]
    return chart(
        [Panel(halves, diagonal=True)],
        x="expected error, grey levels",
        y="true error, grey levels",
        alt=f"Expected against true error of {len(scores)} hidden frames at gap 2.",
        caption="One point per hidden frame. On the dashed line the expected error is right; what counts for finding "
        "doubtful frames is that points further right lie higher.",
        height=3.4,
        digits=error_digits(findings.result.peak),
    )


def made_chart(findings: Findings) -> Chart | None:
    """Draw the confidence of every made frame over time, or None where there is none."""
    records = findings.made.records if findings.made is not None else None
    known = [r for r in records or () if r.kind == "made" and r.confidence is not None]
    if findings.made is None or not known:
        return None
    unit = findings.made.time_unit
    acquired = [r.time for r in records or () if r.kind == "acquired"]
    levels = [r.confidence or 0.0 for r in known]
    return chart(
        [
            Panel(
                [
                    Series("made frame", [r.time for r in known], levels, slot=0, style="points"),
                    Series("acquired frame", acquired, [1.0] * len(acquired), slot=2, style="points"),
                ],
                from_zero=True,
            )
        ],
        x=f"time, {'s' if unit == 's' else 'frames'}",
        y="confidence",
        alt=f"Confidence of {len(known)} made frames: median {np.median(levels):.2f}, lowest {min(levels):.2f}.",
        caption="At 0.5 the expected error is that of the typical frame that was hidden at gap 2 and made again; above "
        "it is smaller. No probability of being right. Acquired frames are drawn at 1: they are what the scanner gave.",
        height=2.1,
        digits=3,
    )


def region_pictures(findings: Findings) -> Pictures:
    """Show what was interpolated, and what moves, outlined on the middle frame and on the range over time."""
    middle = findings.shown(len(findings.cine) // 2)
    mask = findings.regions.mask
    low, high = findings.cine.levels
    spread, scale = findings.survey.temporal_range, high - low
    most = float(spread.max()) * scale or 1.0
    moving = findings.result.region
    return Pictures(
        [
            picture(outlined(middle, mask), f"Interpolated inside the line ({mask.mean():.0%} of the frame)"),
            picture(outlined(middle, moving), f"Scored where the run moves ({moving.mean():.0%} of the frame)"),
            picture(error_map(spread * scale, most), "Range of each pixel over the run"),
        ],
        across=3,
        scale=error_scale(most, "Range over the run (third picture), grey levels", digits=_scale_digits(most)),
        caption="Outside the yellow line of the first picture every pixel is copied from an acquired frame."
        + _brightened(findings),
    )


def _brightened(findings: Findings) -> str:
    """Say between which stored values pictures are stretched, if they are."""
    if findings.shades == (0.0, 1.0):
        return ""
    low, high = findings.cine.levels
    black, white = (low + shade * (high - low) for shade in findings.shades)
    return (
        f" All pictures on this page are brightened: black is {black:.4g} and white {white:.4g}, because the run uses "
        f"little of its depth, {low:g} to {high:g}."
    )


def worst_frames(findings: Findings, *, count: int = 3) -> list[Pictures]:
    """Show the hidden frames with the largest error beside the truth and the error, worst first."""
    gap = findings.gaps()[0]
    scores = findings.result.worst(findings.chosen, gap, count)
    rows, columns = box(findings.result.region)
    low, high = findings.cine.levels
    cases = []
    for score in scores:
        frame = _made_again(findings, score)
        error = np.abs(frame.made - frame.truth).mean(axis=0) * (high - low)
        cases.append((score, frame.made, error[rows, columns]))
    limit = max((float(np.quantile(error, 0.995)) for _, _, error in cases), default=0.0) or 1.0
    strips, digits = [], error_digits(findings.result.peak)
    for score, made, error in cases:
        views = [
            (findings.picture(made)[rows, columns], "Made"),
            (findings.shown(score.hidden)[rows, columns], "Acquired (the truth)"),
            (error_map(error, limit), "Error"),
        ]
        strips.append(
            Pictures(
                [picture(view, name, max_side=480) for view, name in views],
                title=f"Frame {score.hidden}, made from frames {score.pair[0]} and {score.pair[1]}: "
                f"{score.psnr_region:.2f} dB, mean error {score.mae_region:.{digits}f} grey levels",
                scale=error_scale(limit, "Absolute error, grey levels", digits=_scale_digits(limit)),
            )
        )
    return strips


def _scale_digits(limit: float) -> int:
    return 0 if limit >= 10 else error_digits(limit) - 2


def _made_again(findings: Findings, score: FrameScore) -> HiddenFrame:
    span = Span(*score.pair)
    frames = remade(findings.cine, {findings.chosen: findings.method}, [span])
    return next(frame for frame in frames if frame.index == score.hidden)


def m_mode_pictures(findings: Findings) -> Pictures:
    """Show one column of the picture over time, as acquired and made.

    Made are the frames of the interpolated run; without one, every second frame is hidden and made again.
    """
    made, column = findings.made, moving_column(findings)
    rows, _ = box(findings.result.region, margin=4)
    shown = findings.cine if made is not None else findings.cine.select(range(min(len(findings.cine), _MOST_LINES)))
    before = [(float(shown.times[k]), findings.shown(k)[rows, column]) for k in _spread_over(len(shown))]
    if made is not None:
        after = [(float(made.times[k]), findings.picture(made.unit(k))[rows, column]) for k in _spread_over(len(made))]
        title = f"With made frames: {len(made)} frames"
    else:
        again = _every_second_made_again(findings, shown, (rows, column))
        after = [(time, again.get(k, line)) for k, (time, line) in enumerate(before)]
        title = f"The same moments, {len(again)} of these frames hidden and made again"
    span = (float(shown.times[0]), float(shown.times[-1]))
    images = [m_mode([line for _, line in lines], [time for time, _ in lines], span=span) for lines in (before, after)]
    unit = "s" if shown.time_unit == "s" else "frames"
    return Pictures(
        [
            picture(image, name, max_side=_MOST_LINES, enlarge=False)
            for image, name in zip(images, (f"As acquired: {len(shown)} frames", title), strict=True)
        ],
        across=1,
        stretch=True,
        caption=f"Column {column} of the picture over {span[1] - span[0]:.3g} {unit}, left to right. What moves "
        "smoothly should stay one line in the lower image; a border that tears, doubles or fades there was not made "
        "well.",
    )


def _spread_over(length: int) -> list[int]:
    """Return at most as many frames as the image is wide, evenly."""
    return sorted({int(k) for k in np.linspace(0, length - 1, min(length, _MOST_LINES)).round()})


def _every_second_made_again(findings: Findings, shown: Cine, line: tuple[slice, int]) -> dict[int, NDArray[np.uint8]]:
    breaks = [*findings.survey.duplicates, *findings.survey.cuts]
    spans = [span for span in clean_spans(len(shown), CONFIDENCE_GAP, breaks=breaks) if span.phase == 0]
    frames = remade(shown, {findings.chosen: findings.method}, spans)
    return {frame.index: findings.picture(frame.made)[line] for frame in frames}


def moving_column(findings: Findings) -> int:
    """Return the column of the picture in which most moves, inside what was interpolated."""
    spread = np.where(findings.regions.mask & findings.result.region, findings.survey.temporal_range, 0.0)
    return int(np.argmax(spread.sum(axis=0)))
