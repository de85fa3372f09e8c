"""Prepare a training set for synthesis: volumes of many subjects in, HDF5 files as published out, split by patient.

The set is put together beside its place and renamed, so that it is whole or absent::

    SET/train/<subject>.h5  SET/val/<subject>.h5  SET/test/<subject>.h5  SET/manifest.json

Files are the published ones, number for number. What those cannot hold (geometry, contrasts, hashes of the files that a
subject comes from) is in the manifest, where subjects are hashes unless their names are to be kept.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..io.files import atomic_output, check_output, remove_leftovers
from ..plan import fingerprint, plain
from ..synthesis.collection import SubjectFiles, find_subjects, split_subjects
from ..synthesis.data import Plane, levels_of, read_volumes
from ..synthesis.published_data import FOLDERS, read_subject, write_subject
from ..training.patients import Split, Told
from ..volume import Volume

Progress = Callable[[str, int, int], None]

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class SynthesisSetOptions:
    """All that decides a training set for synthesis."""

    contrasts: tuple[str, ...] = ("T1", "T2", "PD", "FLAIR")
    """Contrasts to take, as file names have them (capitals do not matter, and T1w counts as T1); a subject may lack
    any, not all."""

    labels: tuple[str, ...] = ()
    """Label maps to take along, as file names have them; their numbers stay."""

    mask: str | None = None
    """Where the organ is, as file names have it: all else becomes 0."""

    plane: Plane = "axial"
    """Which way slices are cut."""

    register: bool = False
    """Bring contrasts that lie on other grids onto that of the subject's first, rigidly, in place of refusing them."""

    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of the patients for train, validation and test, for example 0.8,0.1,0.1. Folders train, val and test in
    the input decide instead where there are any."""

    patients: Path | None = None
    """Table of patients, where two subjects are of one: CSV lines of subject (its name in the input) and patient."""

    names: Literal["hash", "keep"] = "hash"
    """What files are called: a hash of the subject, or its name in the input, which may name a patient."""

    salt: str = ""
    """Secret text mixed into those hashes; without one, who knows how your names look can try them all."""

    seed: int = 0
    """Decides which patients go where."""

    skip_bad: bool = False
    """Leave out subjects that cannot be read, and name them, in place of stopping at the first."""

    def __post_init__(self) -> None:
        """Refuse names that are given twice, or none.

        Raises:
            UsageError: As said.
        """
        named = [*self.contrasts, *self.labels, *([] if self.mask is None else [self.mask])]
        if not self.contrasts or len({name.casefold() for name in named}) < len(named):
            raise UsageError(f"contrasts, labels and mask are {', '.join(named) or 'nothing'}", remedy="name each once")

    def described(self) -> dict[str, Any]:
        """Return the options as plain values; of the salt and the table only whether there is one."""
        told: dict[str, Any] = plain(self)
        return told | {"salt": bool(self.salt), "patients": self.patients is not None}


@dataclass(frozen=True)
class SynthesisSetOutcome:
    """What became of a preparation.

    Attributes:
        output: The set.
        subjects: Subjects of each split.
        patients: Patients of each split.
        slices: Slices in all.
        notes: What was found, one sentence each.
    """

    output: Path
    subjects: dict[Split, int]
    patients: dict[Split, int]
    slices: int
    notes: tuple[str, ...] = ()


def prepare_synthesis_set(
    inputs: Sequence[Path],
    output: Path,
    options: SynthesisSetOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SynthesisSetOutcome:
    """Make a training set for synthesis of folders of volumes.

    Args:
        inputs: Folders, see `scanweave.synthesis.collection`.
        output: Folder to make.
        options: What is made.
        overwrite: Replace an existing set.
        progress: Called with (what, done, of how many).

    Raises:
        InputError: No subjects, one that cannot be read or whose volumes lie on different grids, or a patient in two
            splits.
        UsageError: Too few patients for the splits, or no input.
        OutputError: The output exists, is an input, or cannot be written.
    """
    options = options or SynthesisSetOptions()
    report = progress or (lambda what, done, total: None)
    if not inputs:
        raise UsageError("no input", remedy="name a folder of volumes")
    check_output(output, list(inputs), overwrite=overwrite)
    subjects = _found(inputs, options)
    _refuse_copies(subjects)
    dealt = split_subjects(subjects, shares=options.split, seed=options.seed)
    notes: list[str] = []
    entries: list[dict[str, Any]] = []
    remove_leftovers(output)
    with atomic_output(output, folder=True) as place:
        for split, members in dealt.items():
            for subject in members:
                entry = _written(subject, split, place, options, notes)
                entries += [] if entry is None else [entry]
                report("writing subjects", len(entries), len(subjects))
        if not entries:
            raise InputError(f"none of {len(subjects)} subjects can be read", path=inputs[0])
        manifest = {"verb": "prepare synthesis", "config": options.described(), "subjects": entries}
        (place / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    patients: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        patients[entry["split"]].add(entry["patient"])
    counts = {split: sum(entry["split"] == split for entry in entries) for split in FOLDERS}
    return SynthesisSetOutcome(
        output,
        counts,
        {split: len(patients[split]) for split in FOLDERS},
        sum(int(entry["shape"][0]) for entry in entries),
        tuple(notes),
    )


def _found(inputs: Sequence[Path], options: SynthesisSetOptions) -> list[SubjectFiles]:
    """Return the subjects of all inputs that have a contrast; labels and masks alone make none."""
    wanted = [*options.contrasts, *options.labels, *([] if options.mask is None else [options.mask])]
    found: list[SubjectFiles] = []
    for path in inputs:
        if not path.exists():
            raise InputError("does not exist", path=path, remedy="check the name")
        found += find_subjects(path, wanted, table=options.patients)
    names = [subject.name for subject in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two inputs hold a subject {twice}", path=inputs[-1], remedy="prepare them one by one")
    shown = [subject for subject in found if set(subject.contrasts) & set(options.contrasts)]
    if not shown:
        raise InputError(f"no subject has any of {', '.join(options.contrasts)}", path=inputs[0])
    return shown


def _refuse_copies(subjects: Sequence[SubjectFiles]) -> None:
    """Refuse one file under two patients: one of them might train and the other test."""
    homes: dict[str, tuple[str, Path]] = {}
    for subject in subjects:
        for path in set(subject.contrasts.values()):
            patient, first = homes.setdefault(fingerprint(path).sha256, (subject.patient, path))
            if patient != subject.patient:
                raise InputError(
                    f"is a copy of {first}, of another patient",
                    path=path,
                    remedy="leave one of them out, or give both one patient with --patients",
                )


def _written(
    subject: SubjectFiles, split: Split, place: Path, options: SynthesisSetOptions, notes: list[str]
) -> dict[str, Any] | None:
    """Write the file of a subject; return its entry in the manifest, or None where it is left out."""
    try:
        levels, affine = _levels(subject, options, notes)
    except InputError as error:
        if not options.skip_bad:
            raise
        notes.append(f"{error.path or subject.name}: Left out: {error.reason}.")
        return None
    name = Told(subject.name, "folder").pseudonym(options.salt)[:16]
    if options.names == "keep":
        name = subject.name.replace("/", "_")
    file = Path(FOLDERS[split][0]) / f"{name}.h5"
    write_subject(place / file, levels)
    return {
        "file": file.as_posix(),
        "split": split,
        "patient": Told(subject.patient, "folder").pseudonym(options.salt)[:16],
        "shape": list(next(iter(levels.values())).shape),
        "affine": None if affine is None else affine.tolist(),
        "contrasts": {contrast: fingerprint(path).sha256 for contrast, path in subject.contrasts.items()},
    }


def _levels(
    subject: SubjectFiles, options: SynthesisSetOptions, notes: list[str]
) -> tuple[dict[str, NDArray[np.uint8]], NDArray[np.float64] | None]:
    """Return the datasets of a subject, and where they lie if that is known."""
    if subject.layout == "published":
        return read_subject(next(iter(subject.contrasts.values())), list(subject.contrasts)), None
    volumes = read_volumes(subject, plane=options.plane, notes=notes, register=options.register)
    mask = None
    if options.mask is not None:
        if options.mask not in volumes:
            raise InputError(f"has no {options.mask}", path=next(iter(subject.contrasts.values())))
        mask = volumes.pop(options.mask).voxels != 0
    first = next(iter(volumes.values()))
    levels = {
        name: _labels(volume) if name in options.labels else levels_of(volume, mask) for name, volume in volumes.items()
    }
    return levels, first.affine if first.space_unit == "mm" else None


def _labels(volume: Volume) -> NDArray[np.uint8]:
    real = volume.real()
    if not np.array_equal(real, np.clip(np.round(real), 0, 255)):
        raise InputError("is no map of labels from 0 to 255", path=volume.source.path, remedy="leave it out")
    return real.astype(np.uint8)
