"""The trust page of a fusion: what both cameras say of the made frames, and how fine these are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..cine import TimeUnit
from ..fusion.frames import Frames
from ..fusion.held_out import shown
from ..fusion.trust import BICUBIC, MADE, Findings
from ..fusion.verdict import AGREES, COPIED, DIFFERS, detail_is_told, disagreeing, expected, statements
from ..io.files import atomic_output
from ..plan import Plan
from ..report import (
    Block,
    Callout,
    Cell,
    Chart,
    Column,
    Facts,
    Level,
    Listing,
    Page,
    Pictures,
    Prose,
    Section,
    Swipes,
    Table,
    Tile,
    Tiles,
    number,
    render,
)
from ..report.charts import Mark, Panel, Series, chart
from ..report.pictures import error_scale
from .fusion_pictures import coarse_pixels, difference, swiped, window_of, with_line
from .fusion_scored import SLOTS, score_blocks, unit_of

_LIMIT = 5.0  # of residuals in colours, in noise
_SHOWN = 4  # residual maps
_MOST = 8  # spots in the table
_TITLES = {"the true frames": "Against the true frames", "hidden sharp frames": "Hidden sharp frames, made again"}
_READING = (
    ("Averaged over coarse pixels:", "each pixel of the coarse camera is the mean over what it covers of the sharp "
     "frame, where the calibration puts it, after the coarse camera's own blur. That is done to a made frame, and the "
     "coarse frame of its moment is taken off."),
    ("Noise:", "of each camera, by brightness, from the differences of frames that follow one another: what stays "
     "still, a fixed pattern too, cancels."),
    ("Reduced chi-square:", "the mean of the squared residual over the variance of the coarse camera's noise. A right "
     "frame without noise gives 1; one as noisy as the sharp camera's a little more; acquired sharp frames, taken at "
     "once with coarse ones, show how well cameras and calibration can agree at all. Much less than that is no "
     "success: the frame then repeats the coarse camera's noise. It says nothing of detail finer than a coarse pixel."),
    ("Places seen otherwise:", "means over 3 × 3 coarse pixels that lie further off than five times their noise, and "
     "further than anywhere in acquired frames."),
    ("Hidden sharp frames:", "each is left out once and made again of its neighbours, which are twice as far apart as "
     "they are for frames made in earnest: the error is overstated. Frames of one run are alike, so that intervals "
     "are somewhat too narrow."),
    ("Detail:", "power by spatial frequency, all directions alike. What lies right of the line the coarse camera's "
     "pixels cannot hold: there the frames show what was taken from sharp ones. More is sharper, not truer."),
    ("Edge response:", "how much contrast an edge keeps at each frequency (MTF), by the slanted-edge method of ISO "
     "12233, along the strongest straight edge. The scene's own softness is in it: compare the curves."),
)  # fmt: skip


def write_report(path: Path, findings: Findings, *, title: str, plan: Plan | None = None) -> None:
    """Write the page as one HTML file that needs nothing else; whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    html = render(report_page(findings, title=title, plan=plan))
    with atomic_output(path) as target:
        target.write_text(html, encoding="utf-8")


def report_page(findings: Findings, *, title: str, plan: Plan | None = None) -> Page:
    """Return the page that says how far to trust fused frames.

    Args:
        findings: What the checks found.
        title: Name of the file.
        plan: What was run, shown in full at the end.
    """
    job = findings.job
    sections = [
        Section("Verdict", _verdict(findings)),
        Section("What was made", _made(findings)),
        Section("Frames", _frames(findings)),
        Section("Against the coarse camera", _agreement(findings)),
    ]
    sections += [
        Section(_TITLES[scores.against], score_blocks(scores, time_unit=job.sharp.cine.time_unit))
        for scores in (findings.known, findings.hidden)
        if scores is not None
    ]
    sections.append(Section("Across a moving edge", _profile(findings)))
    sections.append(Section("Detail", _detail(findings)))
    sections.append(Section("How to read this", [Listing(_READING)]))
    return Page(
        title=f"Trust report: {title}",
        subtitle=f"{len(job)} frames fused of two cameras by {job.method.name}; every frame is synthetic",
        sections=sections,
        plan=plan,
        notice="For research use only. All frames are synthetic: none was acquired.",
    )


def _verdict(findings: Findings) -> list[Block]:
    blocks: list[Block] = [Callout(one.level, one.title, [one.text]) for one in statements(findings)]
    value, high, low = findings.chi_square, findings.highest, findings.lowest
    level: Level = (
        "warning" if value < COPIED * low else "good" if value <= AGREES * high
        else "warning" if value <= DIFFERS * high else "alarm"
    )  # fmt: skip
    told = f"a right frame gives {expected(findings)}"
    tiles = [Tile("Residual at the coarse camera (chi-square)", number(value), "", told, level)]
    for scores in (findings.known, findings.hidden):
        if scores is not None and scores.best is not None:
            change = number(float(np.mean(scores.differences)), signed=True)
            tiles.append(Tile(f"PSNR on {scores.against}", change, "dB", f"against {scores.best}: {scores.outcome}"))
    if detail_is_told(findings):
        coarse = findings.detail.get(BICUBIC)
        beside = "" if coarse is None else f"; enlarged coarse frame {coarse:.0%}"
        share = number(findings.detail[MADE] * 100, 0)
        tiles.append(Tile("Detail finer than coarse pixels", share, "%", f"of the sharp camera's{beside}"))
    return [*blocks, Tiles(tiles)]


def _made(findings: Findings) -> list[Block]:
    job, model = findings.job, findings.model
    x0, y0, x1, y1 = job.box
    facts = {
        "Method": job.method.name,
        "Fast camera": _camera(job.coarse, job.sharp.cine.time_unit),
        "Sharp camera": _camera(job.sharp, job.sharp.cine.time_unit),
        "Made": f"{len(job)} frames of {job.shape[0]} × {job.shape[1]}, the sharp frames' part x {x0} to {x1 - 1}, "
        f"y {y0} to {y1 - 1}",
        "Left out": f"{len(job.left_out)} moments" if job.left_out else "no moment",
        "Scale": f"{job.calibration.scale:.4g} sharp pixels in the side of a coarse one",
        "Calibration": _calibration(findings),
        "Blur of the fast camera": f"{model.blur:.2f} coarse pixels" if model.blur else "none beyond its pixels",
        "Noise, fast camera": f"{number(model.coarse.unit * 100, 3)} % of the window",
        "Noise, sharp camera": f"{number(model.sharp.unit * 100, 3)} % of the window",
    }
    notes = [*job.notes, *findings.notes]
    return [Facts(facts), *([Listing(notes)] if notes else [])]


def _camera(run: Frames, time_unit: TimeUnit) -> str:
    told = f"{len(run)} frames of {run.shape[0]} × {run.shape[1]}"
    if len(run) < 2:
        return told
    every = float(np.median(np.diff(run.times)))
    if time_unit != "s":
        return f"{told}, one every {every:.4g} frames of the run"
    return f"{told}, one every {every:.4g} s"


def _calibration(findings: Findings) -> str:
    found = findings.job.calibration
    if found.residuals is None:
        return f"{found.method}; no points to judge it by"
    one = found.residuals
    return (
        f"{found.method}: {one.count} points, {one.mean:.2f} sharp pixels off in the mean, {one.largest:.2f} at most, "
        f"{one.held_out:.2f} held out"
    )


def _frames(findings: Findings) -> list[Block]:
    """Show what was made over what the fast camera recorded, and over the truth or the sharp frame before."""
    job, middle = findings.job, findings.profile.number
    chosen = list(dict.fromkeys([middle, _worst(findings)]))
    window = window_of(findings.frame(middle))
    coarse = [
        swiped(coarse_pixels(job, i), findings.frame(i), ("fast camera", "made"), window, _named(findings, i))
        for i in chosen
    ]
    blocks: list[Block] = [
        Prose("Move the pointer over a picture, tap it, or use the arrow keys: the line parts both images."),
        Swipes(coarse, len(coarse), "What the fast camera recorded, and what was made"),
    ]
    made, truth = findings.frame(middle), findings.truth(middle)
    if truth is None:
        before = shown(job, job.sharp, job.picks[middle].sharp[0])
        pair = swiped(before, made, ("sharp frame before", "made"), window, _named(findings, middle))
        return [*blocks, Swipes([pair], 1, "The sharp frame before, and what was made")]
    limit = max(float(np.percentile(np.abs(made - truth), 99.5)) * 100, 0.01)
    return [
        *blocks,
        Swipes([swiped(truth, made, ("truth", "made"), window, _named(findings, middle))], 1, "The truth"),
        Pictures(
            [difference((made - truth) * 100, limit, _named(findings, middle))],
            1,
            "Made less true",
            caption="Blue is too dark, red too bright.",
            scale=error_scale(limit, "% of the window", signed=True, digits=2),
        ),
    ]


def _agreement(findings: Findings) -> list[Block]:
    chosen = _spread(findings)
    maps = [
        difference(findings.agreement(i).picture, _LIMIT,
                   f"{_named(findings, i)}: chi-square {number(findings.frames[i].chi_square)}")
        for i in chosen
    ]  # fmt: skip
    blocks: list[Block] = [
        _by_frame(findings),
        _by_method(findings),
        Pictures(
            maps,
            2,
            "Made frames averaged over coarse pixels, less coarse frames",
            caption="The frame of the largest residual, and others evenly spread. Structure here is what the method "
            "got wrong; noise alone is without form. Grey: not seen whole.",
            scale=error_scale(_LIMIT, "× noise", signed=True),
        ),
        Pictures(
            [difference(findings.rest, 1.0, "mean over all frames")],
            2,
            "What stays over the whole run",
            caption="Noise averages out; a fixed pattern, a misfit of the calibration or a lasting error of the method "
            "does not.",
            scale=error_scale(1.0, "× noise", signed=True),
        ),
    ]
    spots = sorted(
        ((i, s) for i, one in enumerate(findings.frames) for s in one.spots), key=lambda p: -abs(p[1].strength)
    )
    if spots:
        rows = [
            [str(i), number(s.x, 0), number(s.y, 0), str(s.pixels), number(s.strength, 1, signed=True),
             number(s.deviation * 100, 2, signed=True)]
            for i, s in spots[:_MOST]
        ]  # fmt: skip
        columns = [Column("Frame"), Column("x", "sharp pixels"), Column("y", "sharp pixels"),
                   Column("Size", "coarse pixels"), Column("Strength", "× noise of 3 × 3 pixels"),
                   Column("Too bright by", "% of the window")]  # fmt: skip
        said = f"Places that the coarse camera saw otherwise: the {len(rows)} clearest of {len(spots)}."
        blocks.append(Table(said, columns, rows))
    return blocks


def _by_frame(findings: Findings) -> Chart:
    numbers = list(range(len(findings.frames)))
    series = [
        Series("made frames", numbers, [one.chi_square for one in findings.frames], style="line+points", bold=True),
        Series("expected at most", numbers, [one.highest for one in findings.frames], slot=2),
        Series("expected at least", numbers, [findings.lowest] * len(numbers), slot=3),
    ]
    worse = disagreeing(findings)
    if worse:
        values = [findings.frames[i].chi_square for i in worse]
        series.append(Series("more than noise explains", worse, values, slot=1, style="points", alarm=True))
    return chart(
        [Panel(series, from_zero=True)],
        x="made frame",
        y="reduced chi-square",
        alt="Reduced chi-square of each made frame against the coarse camera",
        caption="Each made frame against the coarse one of its moment.",
    )


def _by_method(findings: Findings) -> Table:
    mean = float(np.mean([one.chi_square for one in findings.frames]))
    rows: list[list[str | Cell]] = [[Cell(findings.job.method.name, strong=True), number(mean)]]
    if findings.consistency is not None:
        rows.append(["the same before frames were moved", number(findings.consistency[0])])
    rows += [[name, number(value)] for name, value in findings.others.items()]
    if findings.model.at_once is not None:
        rows.append(["acquired sharp frames at once with coarse ones", number(findings.model.at_once)])
    columns = [Column("Made by", numeric=False), Column("Reduced chi-square", "mean")]
    return Table("Near what acquired frames give is right; much less repeats the coarse camera's noise.", columns, rows)


def _profile(findings: Findings) -> list[Block]:
    found = findings.profile
    at = found.line.places
    along = (np.hypot(*(at - at[0]).T) - found.line.length / 2).tolist()
    slots = {"made": 0, "sharp before": 1, "sharp after": 4, "coarse": 2, "truth": 3}
    series = [
        Series(name, along, (values * 100).tolist(), slot=slots[name], bold=name == "made")
        for name, values in found.values.items()
    ]
    ends = f"from x {found.line.x0:.0f}, y {found.line.y0:.0f} to x {found.line.x1:.0f}, y {found.line.y1:.0f}"
    return [
        chart(
            [Panel(series)],
            x="along the line, sharp pixels",
            y="brightness, % of the window",
            alt="Brightness along a line across a moving edge",
            caption=f"Frame {found.number} and those about it along the line {ends}: the made edge belongs between "
            "those of the sharp frames before and after, where the coarse frame has its own, and as steep.",
            height=3.0,
        ),
        Pictures([with_line(findings, found.line, found.number, f"The line in made frame {found.number}")], 2),
    ]


def _detail(findings: Findings) -> list[Block]:
    if not findings.power:
        return [Prose("The frames are too small to tell power by frequency.")]
    nyquist = 0.5 / findings.job.calibration.scale
    series = [
        Series(name, frequencies.tolist(), (10 * np.log10(np.maximum(power, 1e-30))).tolist(),
               slot=SLOTS.get(name, 0), bold=name == MADE)
        for name, (frequencies, power) in findings.power.items()
    ]  # fmt: skip
    blocks: list[Block] = [
        chart(
            [Panel(series, marks=[Mark(nyquist, "coarse pixels hold no more")])],
            x="spatial frequency, cycles per sharp pixel",
            y="power density, dB",
            alt="Power by spatial frequency",
            caption="Mean over some frames, all directions alike.",
            height=3.0,
            digits=3,
        )
    ]
    if findings.window is None:
        return [*blocks, Prose("Edge response: no edge. No straight edge stands out clearly enough in these frames.")]
    return [*blocks, *_edges(findings, nyquist)]


def _edges(findings: Findings, nyquist: float) -> list[Block]:
    series = [
        Series(
            name, one.frequencies[::4].tolist(), one.transfer[::4].tolist(), slot=SLOTS.get(name, 0), bold=name == MADE
        )
        for name, one in findings.edges.items()
    ]
    columns = [Column("Frames", numeric=False), Column("MTF 50 %", "cycles per sharp pixel")]
    rows = [[name, number(one.half, 3)] for name, one in findings.edges.items()]
    x0, y0, _, _ = findings.job.box
    where = findings.window
    place = (
        "" if where is None else f" near x {x0 + where.column + where.side // 2}, y {y0 + where.row + where.side // 2}"
    )
    return [
        chart(
            [Panel(series, marks=[Mark(nyquist, "coarse pixels hold no more")], from_zero=True)],
            x="spatial frequency, cycles per sharp pixel",
            y="contrast kept (MTF)",
            alt="Edge response by spatial frequency",
            caption=f"The strongest straight edge{place}.",
            digits=3,
        ),
        Table("Frequency at which half of the contrast is left.", columns, rows),
    ]


def _worst(findings: Findings) -> int:
    return int(np.argmax([one.chi_square / one.highest for one in findings.frames]))


def _spread(findings: Findings) -> list[int]:
    """Return the frame of the largest residual and others evenly spread, in order."""
    even = np.rint(np.linspace(0, len(findings.frames) - 1, _SHOWN + 1)[1:-1]).astype(int).tolist()
    return sorted({_worst(findings), *even})[:_SHOWN]


def _named(findings: Findings, i: int) -> str:
    time_unit = findings.job.sharp.cine.time_unit
    if time_unit != "s":
        return f"frame {i}, at frame {findings.frames[i].time:.5g} of the run"
    times, unit = unit_of(max(abs(one.time) for one in findings.frames))
    return f"frame {i}, {findings.frames[i].time * times:.5g} {unit}"
