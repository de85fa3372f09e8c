"""Which files of a folder are whose, and of what contrast: subjects to train, validate and test on.

A folder holds a subject in each folder below it, or files of several that differ in all but the contrast in their
names: ``0001-T1.nii.gz``, ``sub-01_ses-2_T1w.nii.gz``; or it is of the published layout (`published_data`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import io
from ..errors import InputError, UsageError
from ..training.patients import Split, read_table, refuse_two_splits, split_patients
from .published_data import SUFFIXES, contrasts_in, stated_splits, subject_files

Layout = Literal["folder", "published"]
"""Any folder of volumes, one file each; or HDF5 files of one subject each."""

_PARTS = re.compile(r"[-_. ]+")
_BIDS = re.compile(r"sub-([A-Za-z0-9]+)")


@dataclass(frozen=True)
class SubjectFiles:
    """One subject, before any voxels are read.

    Attributes:
        name: Tells it from others of the collection; may name a patient, and is never written.
        patient: Whom it belongs to: a patient may be a subject at each of several sessions.
        contrasts: Its file of each contrast; of the published layout all are one.
        layout: Which.
        stated: The split that its folder or list states, if any.
    """

    name: str
    patient: str
    contrasts: Mapping[str, Path]
    layout: Layout
    stated: Split | None = None


def find_subjects(
    root: Path,
    wanted: Sequence[str],
    *,
    layout: Literal["auto", "folder", "published"] = "auto",
    table: Path | None = None,
) -> list[SubjectFiles]:
    """Return the subjects of a folder, in the order of their names, with those of `wanted` contrasts that they have.

    Args:
        root: The folder; folders or lists train, val and test below it state who is what.
        wanted: Contrasts, as file names or datasets have them; capitals do not matter, and T1w counts as T1.
        layout: How it lies there; auto looks.
        table: CSV lines of subject and patient, where two subjects are of one patient.

    Raises:
        InputError: Nothing there, a file of two contrasts, two of one contrast, or a patient in two splits.
    """
    stated = stated_splits(root) if root.is_dir() else {}
    places: list[tuple[Path, Split | None]] = [(place, split) for split, place in stated.items()] or [(root, None)]
    patients = {} if table is None else read_table(table)
    found: list[SubjectFiles] = []
    for place, split in places:
        if layout == "published" or (layout == "auto" and _is_published(place)):
            found += _published(place, wanted, patients, split)
        else:
            found += _volumes(place, wanted, patients, split)
    found = [subject for subject in found if subject.contrasts]
    if not found:
        raise InputError(
            f"holds no subject with any of {', '.join(wanted)}",
            path=root,
            remedy="name contrasts as its files or datasets do: recipe.task.sources and recipe.task.targets",
        )
    refuse_two_splits([
        (one.patient, one.stated, next(iter(one.contrasts.values()))) for one in found if one.stated is not None
    ])  # fmt: skip
    return sorted(found, key=lambda one: one.name)


def split_subjects(
    subjects: Sequence[SubjectFiles], *, shares: tuple[float, float, float], seed: int
) -> dict[Split, list[SubjectFiles]]:
    """Give every subject a split by its patient: the one that is stated, else one that `seed` decides.

    Where folders state who trains and who tests, validation patients that they leave out are taken from those who
    train; those who test never decide anything.

    Raises:
        UsageError: Too few patients.
        InputError: Some subjects state a split, and others do not.
    """
    stated = [(one.patient, one.stated, next(iter(one.contrasts.values()))) for one in subjects if one.stated]
    if stated and len(stated) < len(subjects):
        raise InputError("some subjects lie in folders train, val or test, and others do not", remedy="move them")
    fixed = refuse_two_splits(stated) if stated else None
    if fixed is not None and set(fixed.values()) == {"train"} and shares[1] == 0:
        splits: Mapping[str, Split] = fixed
    else:
        try:
            splits = split_patients([one.patient for one in subjects], shares=shares, seed=seed, stated=fixed)
        except UsageError as error:
            remedy = "give more subjects, or other shares: split 1,0,0 trains on all, and validates and tests on none"
            raise UsageError(error.reason, remedy=remedy) from error
    dealt: dict[Split, list[SubjectFiles]] = {"train": [], "validation": [], "test": []}
    for subject in subjects:
        dealt[splits[subject.patient]].append(subject)
    return dealt


def contrast_of(name: str, wanted: Iterable[str]) -> str | None:
    """Return which contrast a file's name says it is, or None.

    Raises:
        UsageError: It says two.

    Example:
        >>> contrast_of("sub-01_T1w.nii.gz", ["T1", "T2"]), contrast_of("0001-seg.nii.gz", ["T1"])
        ('T1', None)
    """
    parts = {part.casefold() for part in _PARTS.split(name)}
    found = [contrast for contrast in wanted if {contrast.casefold(), f"{contrast.casefold()}w"} & parts]
    if not found:
        joined = "_".join(_PARTS.split(name.casefold()))
        found = [contrast for contrast in wanted if _PARTS.search(contrast) and contrast.casefold() in joined]
    if len(found) > 1:
        raise UsageError(f"its name says both {' and '.join(found)}", path=name, remedy="rename it")
    return found[0] if found else None


def _is_published(place: Path) -> bool:
    if place.is_file():
        return place.suffix.lower() not in (".csv", ".nii", ".gz")
    return place.is_dir() and any(path.suffix.lower() in SUFFIXES for path in place.iterdir())


def _published(
    place: Path, wanted: Sequence[str], patients: Mapping[str, str], split: Split | None
) -> list[SubjectFiles]:
    found = []
    for path in subject_files(place):
        there = contrasts_in(path)
        has = {name: path for name in wanted if name in there}
        name = path.name.partition(".")[0]
        found.append(SubjectFiles(name, patients.get(name, name), has, "published", split))
    return found


def _volumes(
    place: Path, wanted: Sequence[str], patients: Mapping[str, str], split: Split | None
) -> list[SubjectFiles]:
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in io.inputs_in(place, volumes=True):
        contrast = contrast_of(path.name, wanted)
        if contrast is None:
            continue
        name = _subject_of(path, place, contrast)
        if contrast in files[name]:
            raise InputError(
                f"is {contrast} of {name}, and so is {files[name][contrast]}",
                path=path,
                remedy="keep one of them there, or put each session into a folder of its own",
            )
        files[name][contrast] = path
    return [
        SubjectFiles(name, patients.get(name, _patient_of(name)), contrasts, "folder", split)
        for name, contrasts in files.items()
    ]


def _subject_of(path: Path, place: Path, contrast: str) -> str:
    """Return what tells a subject apart: folders, and the name without its contrast."""
    within = path.relative_to(place)
    said = {contrast.casefold(), f"{contrast.casefold()}w", "nii", "gz", "mha", "mhd", "nrrd", "dcm"}
    rest = "_".join(part for part in _PARTS.split(within.name) if part.casefold() not in said)
    parents = [part for part in within.parts[:-1] if contrast_of(part, [contrast]) is None and part != "anat"]
    spelled = {"_".join(_PARTS.split(text)).casefold() for text in ("_".join(parents), *parents[-1:])}
    if parents and (not rest or rest.casefold() in spelled):
        return "/".join(parents)
    return "/".join([*parents, rest]) if rest else within.name


def _patient_of(name: str) -> str:
    """Return the patient of a subject: the one that BIDS names, else the first folder."""
    bids = _BIDS.search(name)
    return bids[0] if bids else name.partition("/")[0]
