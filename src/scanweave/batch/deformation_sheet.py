"""The QC sheet of a folder of deformed copies: what was measured of all, and pictures of some."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import io
from ..deformation.fields import Field, determinants
from ..deformation.methods import lattice
from ..io.files import atomic_output
from ..report import (
    Block,
    Callout,
    Cell,
    Chart,
    Column,
    Level,
    Listing,
    Page,
    Pictures,
    Section,
    Table,
    Tile,
    Tiles,
    number,
    render,
)
from ..report.charts import Mark, Panel, Series, chart
from ..report.pictures import error_scale, picture
from ..volume import Volume
from .deformation_cases import Case, field_of
from .deformation_manifest import CopyEntry, Manifest
from .deformation_planes import Plane
from .deformation_summary import labels_kept, numbers

_SHOWN = 4  # copies with pictures
_LIMIT = 2.0  # of log2 of the determinant, in colours
_BINS = np.linspace(-0.5, 3.0, 36)

_READING = (
    ("Jacobian determinant:", "by which factor a voxel of the copy was compressed: the volume of the source that one "
     "voxel of the copy shows. Below 0 the copy shows a place mirrored: it folds there."),
    ("Displacement:", "how far from its own place a voxel of the copy shows the source, in mm."),
    ("Diversity:", "how much the fields of one image differ: the mean over voxels of their standard deviation, mm."),
    ("Parts:", "connected pieces of a label, neighbours by faces. A copy that tears a label apart, or loses a thin "
     "part of it between voxels, has another count."),
    ("Deformed grid:", "what would be a square grid on the source; of a volume, its motion within the slice only."),
    ("Seeds:", "a copy's number, its seed and the plan below make the same copy again."),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Shown:
    """A copy as its files have it."""

    entry: CopyEntry
    image: Volume
    labels: tuple[Volume, ...]
    field: Field


def write_sheet(path: Path, cases: Sequence[Case], manifest: Manifest, root: Path) -> None:
    """Write the QC sheet of the copies in a folder as one HTML file; whole or not at all.

    Args:
        path: The file.
        cases: What was deformed.
        manifest: Of the folder.
        root: The folder, in which the manifest's files lie.

    Raises:
        OutputError: The file cannot be written.
    """
    html = render(sheet(cases, manifest, root))
    with atomic_output(path) as target:
        target.write_text(html, encoding="utf-8")


def sheet(cases: Sequence[Case], manifest: Manifest, root: Path) -> Page:
    """Return the QC sheet of the copies in a folder."""
    case = max(cases, key=_labelled)
    copies = [entry for entry in manifest.copies if entry.stem == case.stem]
    shown = [_read(entry, case, root) for entry in copies[:_SHOWN]]
    sections = [
        Section("Verdict", _verdict(manifest)),
        Section("Before and after", _pictures(case, shown)),
        Section("Volume change and displacement", _fields(manifest, case, copies, root)),
    ]
    if any(case.labels for case in cases):
        sections.append(Section("Labels", [_label_table(manifest.copies)]))
    sections += [
        Section("Copies and seeds", [_copy_table(manifest)]),
        Section("How to read this", [Listing(_READING)]),
    ]
    method = manifest.plan.method["name"]
    return Page(
        title=f"Deformed copies: {root.name}",
        subtitle=f"{len(manifest.copies)} copies by {method}, seed {manifest.plan.seed}",
        sections=sections,
        plan=manifest.plan,
        notice=manifest.notice,
    )


def _labelled(case: Case) -> int:
    return sum(int(np.count_nonzero(label.voxels)) for label in case.labels)


def _read(entry: CopyEntry, case: Case, root: Path) -> _Shown:
    def volume(kind: str, grid_of: Volume) -> Volume:
        found = io.read(root / entry.files[kind].name, as_="volume")
        return grid_of.with_voxels(found.voxels)

    labels = [kind for kind in entry.files if kind.startswith("label")]
    return _Shown(
        entry,
        volume("image", case.image),
        tuple(volume(kind, label) for kind, label in zip(labels, case.labels, strict=True)),
        _field(entry, case, root),
    )


def _field(entry: CopyEntry, case: Case, root: Path) -> Field:
    return field_of(root / entry.files["field"].name, case.image.grid)


def _verdict(manifest: Manifest) -> list[Block]:
    told = numbers(manifest)
    worst = max(entry.checks["folded"] for entry in manifest.copies)
    least = min(entry.checks["smallest_determinant"] for entry in manifest.copies)
    kept, labels = labels_kept(manifest.copies)
    diversity = list(manifest.diversity_mm.values())
    folded = told["folded"]
    tiles = [
        Tile("Copies that fold", f"{folded} of {told['copies']}", "", f"smallest determinant {number(least, 3)}",
             "alarm" if folded else "good"),
        Tile("Displacement", number(told["mean_mm"]), "mm", f"mean; the largest is {number(told['largest_mm'])} mm"),
        Tile("Diversity", number(float(np.mean(diversity)) if diversity else None), "mm", "how much copies differ"),
    ]  # fmt: skip
    if labels:
        level: Level = "good" if kept == labels else "warning"
        tiles.append(Tile("Labels in as many parts as before", f"{kept} of {labels}", "", "over all copies", level))
    title = "No copy folds" if not folded else f"{folded} copies fold, the worst at {worst:.2%} of its voxels"
    return [Callout("alarm" if folded else "good", title, list(manifest.notes)), Tiles(tiles)]


def _pictures(case: Case, shown: Sequence[_Shown]) -> list[Block]:
    plane, spacing = Plane.of(case.image, case.labels), lattice(case.image.grid)[1]
    window = _window(case.image)
    before = plane.marked(plane.grey(case.image, window), case.labels)
    where = f"slice {plane.index} of {case.stem}" if case.image.grid.shape[0] > 1 else case.stem
    strip = [picture(before, f"before: {where}")]
    strip += [
        picture(plane.marked(plane.grey(one.image, window), one.labels), f"copy {one.entry.copy_}") for one in shown
    ]
    longest = max(one.entry.checks["largest_mm"] for one in shown) or 1.0
    grids = [
        picture(plane.gridded(plane.grey(one.image, window) // 2, one.field), f"copy {one.entry.copy_}")
        for one in shown
    ]
    changes = [picture(plane.volume_change(one.field, _LIMIT), f"copy {one.entry.copy_}") for one in shown]
    lengths = [picture(plane.lengths(one.field, spacing, longest), f"copy {one.entry.copy_}") for one in shown]
    across = len(shown)
    return [
        Pictures(strip, across + 1, "Images, with the outlines of their labels"),
        Pictures(grids, across, "Deformed grid"),
        Pictures(
            changes,
            across,
            "Jacobian determinant",
            caption="Blue: stretched, the copy shows less of the source there. Red: compressed. Magenta: folded.",
            scale=error_scale(_LIMIT, "log2 of the determinant", signed=True),
        ),
        Pictures(lengths, across, "Displacement", scale=error_scale(longest, "mm", digits=1)),
    ]


def _window(image: Volume) -> tuple[float, float]:
    low, high = (float(value) for value in np.quantile(image.voxels, (0.005, 0.995)))
    return (low, high) if high > low else image.levels


def _fields(manifest: Manifest, case: Case, copies: Sequence[CopyEntry], root: Path) -> list[Block]:
    counts = np.zeros(len(_BINS) - 1)
    for entry in copies:
        for slab in determinants(_field(entry, case, root)):
            counts += np.histogram(np.clip(slab.numpy(), _BINS[0], _BINS[-1]), _BINS)[0]
    return [_histogram(counts, case.stem), _displacements(manifest.copies)]


def _histogram(counts: NDArray[np.float64], stem: str) -> Chart:
    centres = ((_BINS[1:] + _BINS[:-1]) / 2).tolist()
    shares = (counts / counts.sum() * 100).tolist()
    marks = (Mark(0.0, "folds below 0"), Mark(1.0, "as it was"))
    panel = Panel([Series("voxels", centres, shares, style="bars")], marks=marks, from_zero=True)
    return chart(
        [panel],
        x="Jacobian determinant (what is beyond the ends is in the outermost bars)",
        y="voxels, %",
        alt=f"Histogram of the Jacobian determinants of all copies of {stem}",
        caption=f"Jacobian determinants of all copies of {stem}.",
    )


def _displacements(copies: Sequence[CopyEntry]) -> Chart:
    order = list(range(len(copies)))
    mean = [entry.checks["mean_mm"] for entry in copies]
    largest = [entry.checks["largest_mm"] for entry in copies]
    series = [
        Series("mean", order, mean, style="points"),
        Series("largest", order, largest, slot=1, style="points"),
    ]
    return chart(
        [Panel(series, from_zero=True)],
        x="copy, in the order of the table below",
        y="displacement, mm",
        alt="Mean and largest displacement of each copy",
        caption="How far voxels of each copy are displaced.",
    )


def _label_table(copies: Sequence[CopyEntry]) -> Table:
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for entry in copies:
        for which, of_map in enumerate(entry.label_checks):
            for one in of_map:
                found.setdefault((which, one["label"]), []).append(one)
    several = len({which for which, _ in found}) > 1
    rows: list[list[str | Cell]] = []
    for (which, label), ones in sorted(found.items()):
        changes = [(one["after_ml"] / one["before_ml"] - 1) * 100 for one in ones]
        kept = sum(one["components_after"] == one["components_before"] for one in ones)
        rows.append(
            [
                f"map {which + 1}, label {label}" if several else str(label),
                number(float(np.mean([one["before_ml"] for one in ones]))),
                number(float(np.mean([one["after_ml"] for one in ones]))),
                number(float(np.median(changes)), 1, signed=True),
                f"{number(min(changes), 1, signed=True)} to {number(max(changes), 1, signed=True)}",
                Cell(f"{kept} of {len(ones)}", bad=kept < len(ones)),
            ]
        )
    columns = (
        Column("Label", numeric=False), Column("Volume before", "ml"), Column("after, mean", "ml"),
        Column("Change, median", "%"), Column("from, to", "%"), Column("In as many parts as before"),
    )  # fmt: skip
    return Table("What became of the labels, over all copies", columns, rows)


def _copy_table(manifest: Manifest) -> Table:
    rows: list[list[str | Cell]] = []
    for entry in manifest.copies:
        checks = entry.checks
        kept, labels = labels_kept([entry])
        drawn = {name: value for name, value in entry.params.items() if name != "seed"}
        rows.append(
            [
                f"{entry.stem} {entry.copy_}",
                str(entry.params.get("seed", "–")),
                ", ".join(f"{name} {_told(value)}" for name, value in drawn.items()),
                Cell(number(checks["folded"] * 100, 3), bad=checks["folded"] > 0),
                number(checks["smallest_determinant"], 3),
                number(checks["mean_mm"]),
                number(checks["largest_mm"]),
                Cell(f"{kept} of {labels}" if labels else "–", bad=kept < labels),
            ]
        )
    columns = (
        Column("Copy", numeric=False), Column("Seed"), Column("Drawn", numeric=False), Column("Folded", "%"),
        Column("Smallest determinant"), Column("Mean", "mm"), Column("Largest", "mm"), Column("Labels kept"),
    )  # fmt: skip
    return Table("Every copy", columns, rows)


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
