"""The trust page of a made volume: what the measured slices say of it, three planes, and where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
from ..synthesis.baselines import BSpline
from ..synthesis.checks import Findings, in_real_units
from ..synthesis.intensity import PERCENTILES
from ..synthesis.scores import BASELINE, Scores, nearest_slices
from ..synthesis.verdict import AGREES, DIFFERS, detail_shares, spans, statements
from .synthesis_pictures import PLANES, Planes, differences, grey, slice_difference, slice_map, swiped

Floats = NDArray[np.float32]

_LIMIT = 5.0  # of residuals in colours, in noise
_SHOWN = 4  # slices of a map
_LABELS = {"made": "what was written", "unprojected": "before projection", "nearest": "slice repetition",
           "b-spline": "B-spline"}  # fmt: skip
_SLOTS = {"nearest": 1, "b-spline": 2, "within": 3}  # of colours: what is judged has the first
_READING = (
    ("Put back through the slice profile:", "a thick slice is a weighted sum of thin ones. The same sum over made "
     "slices must give the measured slice, to within its noise. It says nothing of detail that the sum does not see."),
    ("Noise:", "of the measured slices, from the air around the organ (magnitudes there are Rayleigh distributed), or "
     "where air was cut away from the finest detail inside. All measures are taken inside the organ: the mask, or the "
     "largest bright part."),
    ("Projection:", "moves a volume to the nearest one that gives the measured slices exactly. It always agrees; what "
     "it was before tells whether the method did."),
    ("Detail across slices:", "spectral power beyond what slices so far apart can hold, as a share of that within "
     "slices. More is sharper, not truer: only hidden slices or an acquired volume show whether it is right."),
    ("Hidden slices:", "measured slices are left out, made again from those that remain, and they alone are scored. "
     "What remains is further apart than the scan's own slices: the error is overstated."),
    ("New edges:", "places where the made volume rises by five times the noise or more (and by at least 5 % of its "
     "window) while no input, within a voxel, rises by 2.5 times its noise or by a quarter of that (less, where slices "
     "are thinner). An edge that is merely sharper is not new. Strong edges of an input hide new ones beside them: "
     "none found is no proof."),
    ("Lesion:", "its mean against the tissue 2 to 8 mm around it, over that tissue's deviation (contrast to noise). "
     "What stands out is the part of the outline beyond the value midway between both means; where the contrast was "
     "measured, the means are those of the measured slices."),
    ("Sides:", "planes are seen from the feet, the front and the left: the patient's right is on the left of the "
     "picture, as radiologists have it."),
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
    """Return the page that says how far to trust a made volume.

    Args:
        findings: What the checks found.
        title: Name of the file.
        plan: What was run, shown in full at the end.
    """
    job = findings.job
    sections = [
        Section("Verdict", _verdict(findings)),
        Section("What was made", _made(findings)),
        Section("Three planes", _planes(findings)),
    ]
    if findings.agreements:
        sections.append(Section("Against the measured slices", _agreement(findings)))
    if findings.spectra:
        sections.append(Section("Detail across slices", [_spectrum(findings)]))
    sections += [Section(_titled(scores), [_score_table(scores)]) for scores in findings.scores]
    if findings.edges is not None:
        sections.append(Section("Edges that no input has", _edges(findings, findings.edges.new)))
    if findings.lesion is not None:
        sections.append(Section("Lesion", _lesion(findings)))
    sections.append(Section("How to read this", [Listing(_READING)]))
    return Page(
        title=f"Trust report: {title}",
        subtitle=f"{job.contrast} from {', '.join(job.subject.volumes)} by {job.method.name}; every slice is synthetic",
        sections=sections,
        plan=plan,
        notice="For research use only; not for diagnosis. All slices are synthetic: none was acquired.",
    )


def _verdict(findings: Findings) -> list[Block]:
    blocks: list[Block] = [Callout(one.level, one.title, [one.text]) for one in statements(findings)]
    judged, tiles = findings.judged, list[Tile]()
    if judged is not None:
        ratio = findings.in_noise(judged)
        level: Level = (
            "info" if np.isnan(ratio) else "good" if ratio <= AGREES else "warning" if ratio <= DIFFERS else "alarm"
        )
        spline = findings.agreements.get(BASELINE)
        beside = "" if spline is None else f"; B-spline {number(findings.in_noise(spline))}"
        tiles.append(
            Tile("Residual at the measured slices", number(ratio), "× noise", f"up to {AGREES} agrees{beside}", level)
        )
    name, shares = findings.job.method.name, detail_shares(findings)
    if name in shares:
        beside = f"; B-spline {shares[BASELINE]:.0%}" if name != BASELINE else ""
        tiles.append(Tile("Detail across slices", f"{shares[name]:.0%}", "", f"of that within slices{beside}"))
    if (edges := findings.edges) is not None:
        share, of = number(edges.share * 100), f"of {edges.edges.sum()} edge voxels"
        tiles.append(Tile("Edges that no input has", share, "%", of))
    for scores in findings.scores:
        if scores.best == name:
            continue
        change = number(scores.difference, signed=True)
        tiles.append(Tile(f"PSNR on {scores.against}", change, "dB", f"against {scores.best}: {scores.outcome}"))
    blocks.append(Tiles(tiles))
    return blocks


def _made(findings: Findings) -> list[Block]:
    job, slices, grid = findings.job, findings.job.slices, findings.job.subject.grid
    beyond = [k for k, place in enumerate(slices.places) if place.extrapolated]
    facts = {
        "Contrast": job.contrast,
        "Made of": ", ".join(job.subject.volumes),
        "Method": job.method.name,
        "Measured": f"{grid.shape[0]} slices, {grid.spacing[0]:.4g} mm apart, pixels of {grid.spacing[1]:.3g} × "
        f"{grid.spacing[2]:.3g} mm",
        "Made": f"{len(slices.places)} slices, {slices.spacing:.4g} mm apart",
        "Extrapolated": f"{len(beyond)} slices: {spans(beyond)}" if beyond else "no slice",
    }
    if (acquisition := findings.acquisition) is not None:
        profile = acquisition.profile
        facts["Slice profile"] = f"{profile.shape}, {profile.thickness:.4g} mm"
        facts["Compared"] = f"{len(acquisition.given)} of {acquisition.count} measured slices"
    if findings.noise is not None:
        facts["Noise"] = f"{number(findings.noise.deviation)} by the {findings.noise.by}"
    notes = [*job.subject.notes, *findings.notes]
    return [Facts(facts), *([Listing(notes)] if notes else [])]


def _planes(findings: Findings) -> list[Block]:
    """Show the made volume over what was measured, over the baseline, and the acquired truth, where there are such."""
    job = findings.job
    there = nearest_slices(job, findings.organ)
    planes = Planes.of(findings.made, job.subject.axis, there, centre=findings.outline)
    window = _window(findings.made.real()[there])
    made = [grey(one, window) for one in planes.cut(findings.made.real())]
    name = job.contrast if findings.measured is not None else next(iter(job.subject.volumes))
    source = job.subject.volumes[name]
    shown = window if findings.measured is not None else _window(source.real()[findings.organ])
    before = planes.cut(nearest_slices(job, source.real()), smooth=False)
    blocks: list[Block] = [
        Prose("Move the pointer over a picture, tap it, or use the arrow keys: the line parts both images."),
        Swipes(swiped([grey(one, shown) for one in before], made, named=(f"measured {name}", "made")),
               title="Measured slices, and what was made", caption="Measured slices are repeated up to the next."),
    ]  # fmt: skip
    if findings.measured is not None and job.method.name != BASELINE:
        spline = planes.cut(in_real_units(job, BSpline()))
        pairs = swiped([grey(one, window) for one in spline], made, named=("B-spline", "made"))
        blocks.append(Swipes(pairs, title="A B-spline, and what was made"))
    if findings.truth is not None:
        blocks += _truth(findings, planes, made)
    return blocks


def _truth(findings: Findings, planes: Planes, made: Sequence[NDArray[np.uint8]]) -> list[Block]:
    truth = findings.truth
    if truth is None:
        return []
    there = nearest_slices(findings.job, findings.organ)
    ends, own = _window(truth.real()[there]), _window(findings.made.real()[there])
    wanted = planes.cut(truth.real())
    pairs = swiped([grey(one, ends) for one in wanted], made, named=("acquired", "made"))
    scaled = [
        (one - own[0]) / (own[1] - own[0]) - (other - ends[0]) / (ends[1] - ends[0])
        for one, other in zip(planes.cut(findings.made.real()), wanted, strict=True)
    ]
    return [
        Swipes(pairs, title="The acquired volume, and what was made"),
        Pictures(
            differences([one * 100 for one in scaled], 25.0),
            len(PLANES),
            "Made less acquired",
            caption="Each scaled to its own window: blue is too dark, red too bright.",
            scale=error_scale(25.0, "% of the window", signed=True),
        ),
    ]


def _agreement(findings: Findings) -> list[Block]:
    acquisition, judged, measured = findings.acquisition, findings.judged, findings.measured
    if acquisition is None or judged is None or measured is None:
        return []
    unit = findings.noise.deviation if findings.noise and findings.noise.deviation > 0 else max(judged.rms, 1e-12)
    name = "noise" if findings.noise and findings.noise.deviation > 0 else "residual"
    part = _part(findings)
    pictures = [
        slice_difference(
            measured,
            judged.residual[k] / np.float32(unit),
            _LIMIT,
            f"measured slice {acquisition.given[k]}: {number(judged.by_slice[k] / unit)} × {name}",
            part=part,
        )
        for k in _spread(judged.by_slice)
    ]
    return [
        _residuals(findings, unit),
        Pictures(
            pictures,
            _SHOWN,
            "Made slices put back, less measured slices",
            caption="The slice of the largest residual, and others evenly spread. Structure here is what the method "
            "got wrong; noise alone would be without form.",
            scale=error_scale(_LIMIT, f"× {name}", signed=True),
        ),
        _by_slice(findings, unit, name),
    ]  # fmt: skip


def _residuals(findings: Findings, unit: float) -> Table:
    digits = 2 if unit >= 0.5 else 4
    rows: list[list[str | Cell]] = []
    least = min(one.rms for name, one in findings.agreements.items() if name != "made" or len(findings.agreements) == 1)
    for name, one in findings.agreements.items():
        label = findings.job.method.name if name == "made" and "unprojected" not in findings.agreements else ""
        shown = label or (
            f"{findings.job.method.name}, {_LABELS[name]}" if name in ("made", "unprojected") else _LABELS[name]
        )
        best = one.rms == least
        rows.append([Cell(shown, strong=name in ("made", "unprojected")), number(one.rms, digits),
                     Cell(number(one.rms / unit), best=best), number(one.psnr)])  # fmt: skip
    columns = [Column("Made by", numeric=False), Column("Residual", "units of the volume"),
               Column("Residual", "× noise"), Column("PSNR", "dB")]  # fmt: skip
    return Table("Root mean square inside the organ; smaller is nearer to what was measured.", columns, rows)


def _by_slice(findings: Findings, unit: float, name: str) -> Chart:
    acquisition = findings.acquisition
    given = [] if acquisition is None else list(acquisition.given)
    series = []
    for key, one in findings.agreements.items():
        if key == "made" and "unprojected" in findings.agreements:
            continue
        own = key in ("made", "unprojected")
        label = findings.job.method.name if own else _LABELS[key]
        values = [value / unit for value in one.by_slice]
        slot = _SLOTS.get(findings.job.method.name if own else key, 0)
        series.append(Series(label, given, values, slot=slot, style="line+points", bold=own))
    return chart(
        [Panel(series, from_zero=True)],
        x="measured slice",
        y=f"residual, × {name}",
        alt="Residual of each measured slice by method",
        caption="Residual at each measured slice inside the organ.",
    )


def _spectrum(findings: Findings) -> Chart:
    spacing, series = findings.job.subject.grid.spacing[0], []
    top = min(float(spectrum[0][-1]) for spectrum in findings.spectra.values())
    for name, (frequencies, power) in findings.spectra.items():
        seen = (frequencies <= top) & (power > 0)
        label = "within slices" if name == "within" else f"across, {_LABELS.get(name, name)}"
        levels = 10 * np.log10(power[seen])
        bold = name == findings.job.method.name
        slot = _SLOTS.get(name, 0)
        series.append(Series(label, frequencies[seen].tolist(), levels.tolist(), slot=slot, bold=bold))
    marks = (Mark(0.5 / spacing, "all that slices hold"), Mark(1 / spacing, "one slice"))
    return chart(
        [Panel(series, marks=marks)],
        x="spatial frequency, cycles/mm",
        y="power density, dB",
        alt="Power by spatial frequency within and across slices",
        caption="Within slices the scan has detail at all these frequencies; across them, what lies right of the first "
        "line was added by the method.",
        height=3.0,
        digits=3,
    )


def _titled(scores: Scores) -> str:
    return "Hidden slices, made again" if scores.every else "Against the acquired volume"


def _score_table(scores: Scores) -> Table:
    shown = (("psnr", "PSNR", "dB", 2), ("ssim", "SSIM", "0 to 1", 4), ("mae", "Mean error", "units of the volume", 3),
             ("psnr_fitted", "PSNR, fitted", "dB", 2))  # fmt: skip
    rows: list[list[str | Cell]] = []
    for name, values in scores.by_method.items():
        cells: list[str | Cell] = [Cell(name, strong=name == next(iter(scores.by_method)))]
        for key, _, _, digits in shown:
            all_of = [one[key] for one in scores.by_method.values()]
            best = values[key] == (min(all_of) if key == "mae" else max(all_of)) and len(all_of) > 1
            cells.append(Cell(number(values[key], digits), best=best))
        rows.append(cells)
    what = "Hidden slices alone" if scores.every else "The whole volume"
    if scores.every:
        what += f": one of {scores.every} measured slices was kept"
    columns = [Column("Method", numeric=False), *(Column(title, unit) for _, title, unit, _ in shown)]
    return Table(f"{what}, inside the organ. Fitted: after the scale and offset that suit best.", columns, rows)


def _edges(findings: Findings, new: NDArray[np.bool_]) -> list[Block]:
    counts = new.reshape(len(new), -1).sum(axis=1)
    if not counts.any():
        return [Prose("None: every edge of the made volume has a trace in an input within a voxel.")]
    worst = np.sort(np.argsort(-counts, kind="stable")[:_SHOWN])
    window = _window(findings.made.real()[nearest_slices(findings.job, findings.organ)])
    part = _part(findings)
    pictures = [
        slice_map(findings.made, int(k), new[k], window, f"made slice {k}: {counts[k]} voxels", part=part)
        for k in worst
        if counts[k]
    ]
    series = [Series("new edge voxels", list(range(len(counts))), counts.tolist(), style="bars")]
    return [
        Pictures(pictures, _SHOWN, "Where they are", caption="Pink: edges that no input has a trace of."),
        chart(
            [Panel(series, from_zero=True)],
            x="made slice",
            y="voxels",
            alt="Number of new edge voxels in each made slice",
            caption="New edge voxels in each made slice.",
            digits=0,
        ),
    ]


def _lesion(findings: Findings) -> list[Block]:
    check, outline = findings.lesion, findings.outline
    if check is None or outline is None:
        return []
    images = [
        *((f"{name}, measured", one) for name, one in check.inputs.items()),
        (f"{check.contrast}, made", check.made),
    ]
    rows = [
        [name, number(one.contrast), number(one.spread), number(one.cnr), number(one.volume_ml)] for name, one in images
    ]
    columns = [Column("Image", numeric=False), Column("Contrast", "units of the image"),
               Column("Around it", "deviation"), Column("Contrast to noise"), Column("Stands out", "ml")]  # fmt: skip
    middle = int(outline.reshape(len(outline), -1).sum(axis=1).argmax())
    there, part = nearest_slices(findings.job, findings.organ), _part(findings)
    pictures = [
        slice_map(findings.made, middle, outline[middle], _window(findings.made.real()[there]), f"made slice {middle}",
                  part=part, style="outline")
    ]  # fmt: skip
    nearest = int(nearest_slices(findings.job, np.arange(len(findings.organ)))[middle])
    for name, volume in findings.job.subject.volumes.items():
        window = _window(volume.real()[findings.organ])
        caption = f"measured {name}, slice {nearest}"
        pictures.append(slice_map(volume, nearest, outline[middle], window, caption, part=part, style="outline"))
    return [Table("The outlined lesion against the tissue around it.", columns, rows), Pictures(pictures, 3)]


def _window(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return what is shown black and white."""
    low, high = (float(end) for end in np.percentile(values, PERCENTILES)) if values.size else (0.0, 1.0)
    return (min(low, 0.0) if low < 0.2 * high else low, high) if high > low else (low, low + 1.0)


def _part(findings: Findings) -> tuple[slice, slice]:
    """Return the rows and columns that hold the organ, with a margin."""
    flat = np.asarray(findings.organ.any(axis=0))
    rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(max(0, int(rows[0]) - 6), int(rows[-1]) + 7), slice(max(0, int(columns[0]) - 6), int(columns[-1]) + 7)


def _spread(values: Sequence[float]) -> list[int]:
    """Return the index of the largest value and of others evenly spread, in order."""
    told = [k for k, value in enumerate(values) if np.isfinite(value)]
    if not told:
        return []
    worst = max(told, key=lambda k: values[k])
    even = [told[round(place)] for place in np.linspace(0, len(told) - 1, _SHOWN + 1)[1:-1]]
    return sorted({worst, *even})[:_SHOWN]
