"""Folders: pictures of one run, or a collection of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, ScanweaveError
from ..plan import SUFFIX as SIDECAR_SUFFIX
from .common import natural, reading
from .kinds import IMAGES, RUNS, VOLUMES, kind_of

_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_NAMED_AT_MOST = 3


@dataclass(frozen=True)
class Listing:
    """What lies in a folder, in natural order, without hidden files, clutter and our own side-cars.

    Attributes:
        kinds: Every file and what it holds (`kind_of`).
        folders: Folders in it.
    """

    kinds: dict[Path, str]
    folders: tuple[Path, ...]

    def of(self, *kinds: str) -> list[Path]:
        """Return the files of some kinds."""
        return [path for path, kind in self.kinds.items() if kind in kinds]


def list_folder(folder: Path) -> Listing:
    """Look at every file of a folder.

    Raises:
        InputError: The folder cannot be listed.
    """
    with reading(folder, "a folder"):
        entries = sorted((entry for entry in folder.iterdir() if not _ignored(entry)), key=natural)
    kinds = {entry: kind_of(entry) for entry in entries if entry.is_file()}
    return Listing(kinds, tuple(entry for entry in entries if entry.is_dir()))


def left_out(listing: Listing, used: Sequence[Path]) -> tuple[str, ...]:
    """Return a note on what in a folder is not part of the run, if anything."""
    rest = [path.name for path in [*listing.kinds, *listing.folders] if path not in set(used)]
    if not rest:
        return ()
    more = f" and {len(rest) - _NAMED_AT_MOST} more" if len(rest) > _NAMED_AT_MOST else ""
    return (f"Left out, since they are not part of the run: {', '.join(rest[:_NAMED_AT_MOST])}{more}.",)


def inputs_in(path: Path, *, volumes: bool = False) -> list[Path]:
    """Return the runs that `path` holds, for commands that take a folder of many inputs.

    A file is a run. A folder is one run if it holds single pictures or single-frame DICOM only; otherwise every
    multi-frame DICOM, video, many-page TIFF and array file in it is a run, and so is what its sub-folders hold.

    Args:
        path: A file or a folder.
        volumes: Count NIfTI, MetaImage and NRRD files too.

    Raises:
        InputError: Missing, or nothing in it is a run.
    """
    if not path.is_dir():
        return [path]
    found = _runs(path, RUNS | VOLUMES if volumes else RUNS)
    if not found:
        raise InputError("holds no images, DICOM, video or arrays", path=path, remedy="give another folder")
    return found


def are_single_images(paths: Sequence[Path]) -> bool:
    """Return whether every path is a single picture (PNG, JPEG, BMP, one-page TIFF), so that all form one run."""
    try:
        return all(path.is_file() and _is_picture(path, kind_of(path)) for path in paths)
    except ScanweaveError:
        return False


def suffix_like(path: Path) -> str:
    """Return the suffix that an output of the same format as an input has; empty for a folder of PNGs."""
    file = path
    if path.is_dir():
        listing = list_folder(path)
        if not listing.of("dicom"):
            return ""
        return ".dcm"
    if not path.is_file():
        return ".h5"  # file.h5:/dataset
    kind = kind_of(file)
    own = file.suffix.lower()
    if kind == "video":
        return own if own in (".mp4", ".mov", ".mkv", ".avi") else ".mp4"
    if kind == "nifti":
        return ".nii.gz" if file.name.lower().endswith(".gz") else ".nii"
    named = {
        "metaimage": ".mha",
        "nrrd": ".nrrd",
        "dicom": ".dcm",
        "tiff": ".tif",
        "gif": ".gif",
        "npy": ".npy",
        "npz": ".npz",
        "hdf5": ".h5",
    }
    return named.get(kind, "")


def _ignored(path: Path) -> bool:
    name = path.name.lower()
    return name.startswith(".") or name in _CLUTTER or name.endswith(SIDECAR_SUFFIX)


def _runs(folder: Path, kinds: frozenset[str]) -> list[Path]:
    listing = list_folder(folder)
    runs = [path for path, kind in listing.kinds.items() if kind in kinds]
    single: list[Path] = []
    for path in listing.of("dicom", *IMAGES):
        alone = _is_picture(path, listing.kinds[path]) or _is_single_frame(path, listing.kinds[path])
        (single if alone else runs).append(path)
    below = [run for sub in listing.folders for run in _runs(sub, kinds)]
    if single and not runs and not below:
        return [folder]
    return [*sorted([*runs, *single], key=natural), *below]


def _is_picture(path: Path, kind: str) -> bool:
    if kind != "tiff":
        return kind in IMAGES
    from .tiff import read_tiff

    try:
        return len(read_tiff(path)) == 1
    except ScanweaveError:
        return False


def _is_single_frame(path: Path, kind: str) -> bool:
    if kind != "dicom":
        return False
    from pydicom import dcmread

    from .dicom.quiet import PYDICOM_FAILURES, quiet

    try:
        with quiet():
            header = dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"], force=True)
            return int(header.get("NumberOfFrames") or 1) == 1
    except PYDICOM_FAILURES:
        return False  # its reader explains what is wrong with it
