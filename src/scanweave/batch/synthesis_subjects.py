"""Which people a user's files and folders are: contrasts of one, folders of many, or a BIDS dataset."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import InputError, UsageError
from ..io.folders import list_folder
from ..io.kinds import VOLUMES
from ..io.published_drdm import stem
from ..volume import Volume
from .deformation_cases import read_volume
from .inputs import ReadOptions, strip_dataset
from .synthesis_contrasts import bids_suffix, canonical, contrast_in, contrast_of_file, rest_of

UNTOLD = "image"
"""What a single volume is called whose contrast nothing tells; slices between its slices can be made all the same."""

BIDS_DESCRIPTION = "dataset_description.json"
_NO_IMAGE = re.compile(r"(^|[_-])(mask|seg|label|labels|dseg|roi|gt|brainmask)$", re.IGNORECASE)
_MASK = re.compile(r"(^|[_-])(brain[_-]?mask|mask)$", re.IGNORECASE)
_OF_LESIONS = re.compile(r"(^|[_-])(label|roi|lesions?)([_-]|$)", re.IGNORECASE)
_ENTITY = re.compile(r"^(sub|ses)-[A-Za-z0-9]+$")


@dataclass(frozen=True)
class SubjectFiles:
    """The files of one person.

    Attributes:
        name: What results are called; empty for the only one.
        files: By contrast.
        folder: Below the output, where results lie.
        bids: Whether the files are of a BIDS dataset.
        notes: What was left out, or taken for a mask, one sentence each.
        mask: Where the organ is, by the name of the file.
    """

    name: str
    files: Mapping[str, Path]
    folder: Path = Path()
    bids: bool = False
    notes: tuple[str, ...] = field(default=())
    mask: Path | None = None

    def read(self, reading: ReadOptions) -> dict[str, Volume]:
        """Return the volumes by contrast.

        Raises:
            InputError: One is damaged, or no volume.
        """
        return {name: read_volume((path,), reading) for name, path in self.files.items()}

    def result(self, contrast: str) -> str:
        """Return the name of a result without suffix."""
        if not self.bids:
            return f"{self.name}_{contrast}" if self.name else contrast
        known = self.files.get(contrast)
        entities = stem(known or next(iter(self.files.values()))).split("_")[:-1]
        if known is None:  # of a contrast that was never acquired, only whose it is holds
            entities = [entity for entity in entities if _ENTITY.match(entity)]
        return "_".join([*entities, "desc-synthesized", bids_suffix(contrast)])


def subjects_of(inputs: Sequence[Path], contrasts: Sequence[str], reading: ReadOptions) -> list[SubjectFiles]:
    """Return the people that inputs are of.

    Several inputs, and a single file, are contrasts of one person. A folder is a BIDS dataset, a DICOM series, a folder
    of the volumes of one person or of several (told apart by what their names have besides contrasts), or a folder of
    such folders.

    Args:
        inputs: Files and folders.
        contrasts: What inputs show, in their order, where names and headers do not tell.
        reading: How they are read.

    Raises:
        InputError: An input does not exist, or holds no volume.
        UsageError: Unknown contrasts, or one twice.
    """
    for path in inputs:
        if not strip_dataset(path).exists():
            raise InputError("does not exist", path=path, remedy="check the name")
    if contrasts and len(contrasts) != len(inputs):
        raise UsageError(
            f"{len(contrasts)} contrasts are named for {len(inputs)} inputs", remedy="name one --contrast for each"
        )
    if len(inputs) > 1 or contrasts or not inputs[0].is_dir():
        return [_one("", list(inputs), reading, contrasts)]
    return _in_folder(inputs[0], reading)


def _one(name: str, files: Sequence[Path], reading: ReadOptions, contrasts: Sequence[str] = ()) -> SubjectFiles:
    """Return the person of whom all files are."""
    found: dict[str, Path] = {}
    for number, path in enumerate(files):
        contrast = canonical(contrasts[number]) if contrasts else contrast_in(stem(strip_dataset(path)))
        if contrast is None:
            contrast = _told(path, reading, alone=len(files) == 1)
        if contrast in found:
            raise UsageError(
                f"shows {contrast}, and so does {found[contrast]}",
                path=path,
                remedy="give one volume of each contrast, or say which they are: --contrast T1 T1c",
            )
        found[contrast] = path
    return SubjectFiles(name, found)


def _told(path: Path, reading: ReadOptions, *, alone: bool) -> str:
    """Return what the header of a file tells; of one alone it may be left open."""
    try:
        return contrast_of_file(path, read_volume((path,), reading))
    except UsageError:
        if not alone:
            raise
        return UNTOLD


def _in_folder(folder: Path, reading: ReadOptions) -> list[SubjectFiles]:
    if (folder / BIDS_DESCRIPTION).is_file():
        return _bids(folder)
    listing = list_folder(folder)
    if listing.of("dicom"):
        return [_one("", [folder], reading)]
    volumes = listing.of(*VOLUMES)
    if volumes:
        return _grouped(volumes, reading)
    series = [path for path in listing.folders if list_folder(path).of("dicom")]
    told = [contrast_in(path.name) for path in series]
    if series and len(series) == len(listing.folders) and None not in told and len(set(told)) == len(told):
        return [_one("", series, reading)]
    found = []
    for path in listing.folders:
        inside = _in_folder(path, reading)
        alone = len(inside) == 1
        for one in inside:
            name = path.name if alone else f"{path.name}_{one.name}"
            found.append(replace(one, name=name))
    if not found:
        raise InputError("holds no volume", path=folder, remedy="give a folder of NIfTI files or DICOM series")
    return found


def _grouped(volumes: Sequence[Path], reading: ReadOptions) -> list[SubjectFiles]:
    """Return the people of whom the files of one folder are, by what their names have besides contrasts."""
    images = [path for path in volumes if not _NO_IMAGE.search(stem(path))]
    if not images:
        raise InputError("holds no image, only masks", path=volumes[0].parent)
    groups: dict[str, list[Path]] = {}
    for path in images:
        groups.setdefault(rest_of(stem(path)), []).append(path)
    others: dict[str, list[Path]] = {}
    for path in volumes:
        if path not in images:
            whose = rest_of(_MASK.sub("", stem(path)))
            others.setdefault(next(iter(groups)) if len(groups) == 1 else whose, []).append(path)
    unknown = _left_out([path for whose, paths in others.items() if whose not in groups for path in paths])
    found = []
    for whose, files in sorted(groups.items()):
        name = "" if len(groups) == 1 else whose or "subject"
        mask, notes = _mask_among(others.get(whose, []))
        found.append(SubjectFiles(name, _one(name, files, reading).files, notes=(*notes, *unknown), mask=mask))
    return found


def _mask_among(files: Sequence[Path]) -> tuple[Path | None, tuple[str, ...]]:
    """Return which of a person's files is a mask of the organ, and what was decided; of several none is."""
    masks = [path for path in files if _MASK.search(stem(path)) and not _OF_LESIONS.search(stem(path))]
    of_brain = [path for path in masks if "brain" in stem(path).lower()]
    chosen = of_brain or masks
    if len(chosen) != 1:
        return None, _left_out(files)
    taken = f"{chosen[0].name} was taken for the mask by its name."
    return chosen[0], (taken, *_left_out([path for path in files if path != chosen[0]]))


def _left_out(files: Sequence[Path]) -> tuple[str, ...]:
    return (
        (f"Left out, since they are masks by their names: {', '.join(path.name for path in files)}.",) if files else ()
    )


def _bids(root: Path) -> list[SubjectFiles]:
    """Return the people and sessions of a BIDS dataset."""
    found = []
    for folder in sorted([*root.glob("sub-*/anat"), *root.glob("sub-*/ses-*/anat")]):
        files: dict[str, Path] = {}
        masks, repeats = [], []
        for path in sorted([*folder.glob("*.nii"), *folder.glob("*.nii.gz")]):
            if _NO_IMAGE.search(stem(path)):
                masks.append(path)
                continue
            contrast = contrast_in(stem(path).split("_")[-1])
            if contrast is None:
                continue
            if contrast in files:  # another run, say
                repeats.append(f"{path.name} was left out: {files[contrast].name} shows {contrast} too.")
                continue
            files[contrast] = path
        if files:
            below = folder.relative_to(root)
            mask, notes = _mask_among(masks)
            name, notes = "_".join(below.parts[:-1]), (*notes, *repeats)
            found.append(SubjectFiles(name, files, below, bids=True, notes=notes, mask=mask))
    if not found:
        raise InputError("holds no sub-*/anat with T1w, T2w, PDw or FLAIR", path=root, remedy="give a BIDS dataset")
    return found


def stated_thickness(files: Mapping[str, Path]) -> float | None:
    """Return the slice thickness in mm that the JSON side-car of a NIfTI file states (BIDS, dcm2niix), or None."""
    for path in files.values():
        beside = path.with_name(f"{stem(path)}.json")
        try:
            told = json.loads(beside.read_text(encoding="utf-8"))
            found = float(told.get("SliceThickness") or 0)
        except (OSError, ValueError, TypeError, AttributeError):
            continue
        if found > 0:
            return found
    return None
