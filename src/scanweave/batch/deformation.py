"""Deformed copies of files: images, labels and fields, with a manifest of how each was made and what was measured.

::

    OUT/<stem>_0000.nii.gz  <stem>_0000_label.nii.gz  <stem>_0000_field.nii.gz  ...  manifest.json

Of a DICOM source, images may be DICOM too, a series each: ``OUT/<stem>_0000/IM000001.dcm``.

The manifest is written anew after each copy, so that it is at any time true of what lies beside it: an interrupted run
goes on where it stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from .. import io
from ..cine import Derivation
from ..deformation import Deformed, Method, create, replay
from ..deformation.api import AT_ONCE, check_sources
from ..deformation.checks import Spread
from ..deformation.elastic import FoldingWarning
from ..deformation.labels import LabelRule
from ..deformation.learned import DrdmMethod
from ..deformation.methods import lattice
from ..deformation.warping import Beyond
from ..displacement import Displacement
from ..errors import ScanweaveError, UsageError
from ..interpolation.api import Progress
from ..io.dicom import require_source
from ..io.files import check_output, remove_leftovers
from ..io.published_drdm import stem
from ..plan import Plan, fingerprint, plain
from ..volume import Volume
from .deformation_cases import Case, Slices, cases_of, field_of, read_label, read_volume
from .deformation_manifest import CopyEntry, CopyStore, MadeFile, Manifest
from .inputs import ReadOptions, Run, distinct, strip_dataset
from .many import FINISHED, each_on_its_own

Kind = Literal["image", "label", "field"]


@dataclass(frozen=True, kw_only=True)
class DeformOptions:
    """How copies are made.

    Attributes:
        n: Copies of each image (of each slice, where slices are deformed on their own).
        method: Name of the method.
        options: Its options by name; None where its own default holds.
        seed: Of all that is random.
        slices: Numbers of the slices that are deformed on their own, within their planes; ``all``; or None: the whole.
        label_rule: How labels are warped.
        beyond: What lies beyond the image.
        format: What images are written as; labels and fields are NIfTI.
        at_once: Copies whose fields a network makes together.
    """

    n: int = 1
    method: str = "diffeomorphic"
    options: tuple[tuple[str, Any], ...] = ()
    seed: int = 0
    slices: Slices | None = None
    label_rule: LabelRule = "nearest"
    beyond: Beyond = "edge"
    format: Literal["nifti", "dicom"] = "nifti"
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        """Refuse batches that there cannot be.

        Raises:
            UsageError: Fewer than one copy at once.
        """
        if self.at_once < 1:
            raise UsageError(f"{self.at_once} copies at once", remedy="make one or more at once")

    def made(self) -> Method:
        """Return the method.

        Raises:
            UsageError: No such method, or options that it has not.
        """
        return create(self.method, **{name: value for name, value in self.options if value is not None})


@dataclass(frozen=True)
class DeformOutcome:
    """What became of one input."""

    source: str
    output: Path | None = None
    manifest: Manifest | None = None
    report: Path | None = None
    notes: tuple[str, ...] = ()
    error: ScanweaveError | None = None


class Layout:
    """How the files of copies are called and what they hold: our way.

    Args:
        root: The folder of all.
        dicom: Images are DICOM series.
    """

    manifest = "manifest.json"

    def __init__(self, root: Path, *, dicom: bool = False) -> None:
        self.root, self.dicom = root, dicom

    def name(self, case: Case, copy: int, kind: Kind, number: int = 0) -> str:
        """Return the name of a file below the root; `number` counts the maps of labels of an image."""
        if self.dicom and kind == "image":
            return f"{case.stem}_{copy:04d}".replace(".", "_")  # a folder, whose name has no suffix
        tail = {"image": "", "label": f"_label{number + 1 if number else ''}", "field": "_field"}[kind]
        return f"{case.stem}_{copy:04d}{tail}.nii.gz"

    def image(self, volume: Volume) -> Volume:
        """Return an image as it is written."""
        return volume

    def label(self, volume: Volume) -> Volume:
        """Return a map of labels as it is written."""
        return volume

    def originals(self, case: Case) -> dict[str, Volume]:
        """Return what of the image itself is written beside its copies, by name."""
        return {}

    def beside(self, case: Case, copy: Deformed, number: int) -> dict[str, tuple[str, Volume]]:
        """Return what else is written with a copy: name and content by its kind in the manifest."""
        return {}


def deform_file(
    run: Run,
    output: Path,
    *,
    labels: Sequence[Run] = (),
    options: DeformOptions | None = None,
    reading: ReadOptions | None = None,
    stream: int = 0,
    report: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> DeformOutcome:
    """Write deformed copies of one image and its labels into a folder.

    Args:
        run: The image.
        output: The folder.
        labels: Its maps of labels.
        options: How copies are made.
        reading: How image and labels are read.
        stream: Number of the image among those of one command; images of different numbers are deformed differently.
        report: Write the QC sheet ``OUTPUT.report.html`` too.
        overwrite: Replace what an earlier run left; files that are not ours stay.
        resume: Keep the copies of an interrupted run.
        progress: Told of each copy.

    Raises:
        ScanweaveError: Whatever is wrong with input, options or output.
    """
    options, reading = options or DeformOptions(), reading or ReadOptions()
    files = [strip_dataset(path) for one in (run, *labels) for path in one]
    sheet = output.with_name(f"{output.name}.report.html") if report else None
    if sheet is not None:
        check_output(sheet, files, overwrite=overwrite or resume)
    method = options.made()
    image = read_volume(run, reading)
    marked = tuple(read_label(label, reading) for label in labels)
    cases = cases_of(stem(strip_dataset(run[0])), image, marked, options.slices)
    if options.format == "dicom":
        require_source(image)
    plan = Plan(
        verb="deform",
        inputs=tuple(fingerprint(path) for path in files),
        config=plain(options) | plain(reading) | {"stream": stream, "labels": len(labels)},
        method=method.describe(),
        seed=options.seed,
    )
    done = make_copies(
        cases,
        Layout(output, dicom=options.format == "dicom"),
        method=method,
        options=options,
        plan=plan,
        stream=stream,
        inputs=files,
        overwrite=overwrite,
        resume=resume,
        progress=progress,
    )
    if sheet is not None:
        from .deformation_sheet import write_sheet

        write_sheet(sheet, cases, done, output)
    return DeformOutcome(str(run[0]), output, done, sheet, notes=done.notes)


def deform_many(
    pairs: Sequence[tuple[Run, Sequence[Run]]],
    folder: Path,
    *,
    options: DeformOptions | None = None,
    reading: ReadOptions | None = None,
    report: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[DeformOutcome]:
    """Write copies of many images, each into a folder of its own; one that cannot be deformed does not stop the others.

    Arguments are those of `deform_file`.
    """
    folders = distinct(folder / stem(strip_dataset(run[0])) for run, _ in pairs)

    def one(number: int) -> DeformOutcome:
        run, labels = pairs[number]
        return deform_file(
            run,
            folders[number],
            labels=labels,
            options=options,
            reading=reading,
            stream=number,
            report=report,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )

    return each_on_its_own([run for run, _ in pairs], one, lambda source, error: DeformOutcome(source, error=error))


def make_copies(
    cases: Sequence[Case],
    layout: Layout,
    *,
    method: Method,
    options: DeformOptions,
    plan: Plan,
    inputs: Sequence[Path],
    stream: int = 0,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Make the copies that are not there yet, and return the manifest of all.

    Raises:
        ScanweaveError: Whatever is wrong with cases, method or output.
    """
    told = progress or (lambda what, done, total: None)
    total = sum(len(case.levels or range(options.n)) for case in cases)
    _check_network(method, cases, min(options.n, options.at_once))
    for case in cases:  # all of them before the first is written, and before what an earlier run left is thrown away
        check_sources(case.image, case.labels)
    drawn = [_drawn(method, case, options, (stream, case.number)) for case in cases]
    store = CopyStore(layout.root, layout.manifest, plan, inputs=inputs, overwrite=overwrite, resume=resume)
    if store.manifest.complete:
        finished = (*store.manifest.notes, FINISHED)
        return store.manifest.model_copy(update={"notes": finished})
    for case, params in zip(cases, drawn, strict=True):
        spread = Spread()
        for entry in _kept(store, case):
            spread.add(field_of(store.path(entry, "field"), case.image.grid))
        missing = [k for k in range(len(params)) if not store.has(case.stem, k)]
        remade = _with_companions(missing, len(params), options.at_once) if method.needs_image else missing
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FoldingWarning)  # said once, in the notes
            copies = replay(
                case.image,
                [params[k] for k in remade],
                label=case.labels,
                method=method,
                label_rule=options.label_rule,
                beyond=options.beyond,
                at_once=options.at_once,
            )
            for k, copy in zip(remade, copies, strict=True):
                if k not in missing:
                    continue
                store.begin()
                store.add(_written(copy, case, k, layout))
                spread.add(copy.field)
                told("deforming", len(store.manifest.copies), total)
        if spread.count > 1:
            store.set_diversity(case.stem, spread.mm(lattice(case.image.grid)[1]))
    return store.finish(_notes(store, cases))


def _with_companions(missing: Sequence[int], count: int, at_once: int) -> list[int]:
    """Return the copies that a network makes again for those that are missing: all of their batches.

    How many images a network sees at once decides the last bits of what it says of each, and within a few of DRDM's
    steps last bits become pixels. A run that is taken up makes the batches that one without interruption makes.
    """
    wanted = {k // at_once for k in missing}
    return [k for k in range(count) if k // at_once in wanted]


def _kept(store: CopyStore, case: Case) -> list[CopyEntry]:
    return [entry for entry in store.manifest.copies if entry.stem == case.stem]


def _drawn(method: Method, case: Case, options: DeformOptions, key: tuple[int, int]) -> list[dict[str, Any]]:
    """Return what decides each copy of a case; the key keeps images and slices from sharing their randomness."""
    state = np.random.SeedSequence(options.seed, spawn_key=key).generate_state(2, np.uint32)
    generator = torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)
    count = options.n if case.levels is None else len(case.levels)
    params = method.sample(case.image.grid, count, generator)
    if case.levels is None:
        return params
    return [{**drawn, "level": level} for drawn, level in zip(params, case.levels, strict=True)]


def _written(copy: Deformed, case: Case, number: int, layout: Layout) -> CopyEntry:
    """Write the files of a copy and return its entry."""
    if number == 0:
        for name, volume in layout.originals(case).items():
            io.write(volume, layout.root / name, overwrite=True)
    files: dict[str, MadeFile] = {}

    def keep(kind: str, name: str, item: Volume | Displacement) -> None:
        path = layout.root / name
        remove_leftovers(path)  # of a run that was killed while it wrote this file
        like = case.image if isinstance(item, Displacement) else None  # a place that its file does not state
        io.write(item, path, like=like, overwrite=True, derivation=_derivation(copy, number))
        files[kind] = MadeFile(name=name, sha256=fingerprint(path).sha256)

    keep("image", layout.name(case, number, "image"), layout.image(copy.image))
    for which, label in enumerate(copy.labels):
        key = f"label{which + 1 if which else ''}"
        keep(key, layout.name(case, number, "label", which), layout.label(label))
    keep("field", layout.name(case, number, "field"), copy.displacement)
    for kind, (name, volume) in layout.beside(case, copy, number).items():
        keep(kind, name, volume)
    return CopyEntry(
        stem=case.stem,
        copy=number,
        params=copy.params,
        files=files,
        checks=_plain_checks(copy.checks),
        label_checks=tuple(tuple(_plain_checks(one) for one in found) for found in copy.label_checks),
    )


def _derivation(copy: Deformed, number: int) -> Derivation:
    """Return what headers say of a copy."""
    name, seed = copy.method["name"], copy.params.get("seed")
    return Derivation(
        source_length=copy.grid.shape[0],
        method=name,
        summary=f"Deformed copy {number} by {name}, seed {seed}: displaced by {copy.checks.largest_mm:.3g} mm at most",
        weights_sha256=copy.method.get("sha256"),
    )


def _plain_checks(found: Any) -> dict[str, Any]:
    return {name: plain(getattr(found, name)) for name in found.__dataclass_fields__}


def _check_network(method: Method, cases: Iterable[Case], count: int) -> None:
    """Refuse weights for images of other dimensions, and fields that memory is too small for, before all is written."""
    if not isinstance(method, DrdmMethod):
        return
    wanted = method.network.config.ndims
    for case in cases:
        found = len(lattice(case.image.grid)[0])
        if found != wanted:
            remedy = "deform its slices on their own: --slices all" if wanted == 2 else "give a volume"
            raise UsageError(
                f"weights for {wanted}D images cannot deform {case.stem}, which is {found}D", remedy=remedy
            )
        method.require_memory(case.image.grid, count)


def _notes(store: CopyStore, cases: Sequence[Case]) -> tuple[str, ...]:
    copies = store.manifest.copies
    folded = [entry for entry in copies if entry.checks["folded"] > 0]
    sources = (case.image.source for case in cases)  # a spacing or orientation that was guessed decides every mm below
    notes = [f"{Path(source.path or 'the image').name}: {note}" for source in sources for note in source.notes]
    if folded:
        worst = max(entry.checks["folded"] for entry in folded)
        notes.append(
            f"{len(folded)} of {len(copies)} copies fold, at up to {worst:.2%} of their voxels; the method "
            "diffeomorphic never does, nor does drdm with its preset safe."
        )
    if store.found:
        notes.append(f"Taken up after an interruption: {store.found} copies were there already.")
    return tuple(dict.fromkeys(notes))
