"""DICOM files of a folder, put together into runs; one of them is chosen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from ...errors import InputError, ScanweaveError, UsageError
from .container import Contents, has_magic, open_file
from .elements import integer, text

# All that ordering, timing, places and the list of series need; the chosen series' first file is read in full.
_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality"),
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("TriggerTime", "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime"),
    *("TemporalPositionIdentifier", "TemporalResolution", "InstanceNumber", "AcquisitionNumber"),
    *("FrameTime", "CineRate", "RecommendedDisplayFrameRate", "EffectiveDuration", "ActualFrameDuration"),
    *("ImagePositionPatient", "ImageOrientationPatient", "DirectoryRecordSequence"),
    *("RescaleSlope", "RescaleIntercept", "PixelSpacing"),
)
_LISTED = 20


@dataclass(slots=True)
class Series:
    """One run of a folder: a multi-frame file, or the single-frame files of one series.

    Attributes:
        header: Header of its first file, as far as it was read.
        frames: Number of frames.
        files: Its files, in natural order of their names.
        contents: What was read of each file.
    """

    header: Dataset
    frames: int
    files: list[Path] = field(default_factory=list)
    contents: list[Contents] = field(default_factory=list)

    def names(self) -> set[str]:
        """Return what a user may call it, in lower case."""
        header = self.header
        keywords = ("SeriesNumber", "SeriesInstanceUID", "SeriesDescription", "SOPInstanceUID")
        called = {text(header, keyword) for keyword in keywords}
        if len(self.files) == 1:
            called |= {self.files[0].name, self.files[0].stem}
        return {name.casefold() for name in called if name}

    def describe(self) -> str:
        """Return one item of the list that a user chooses from."""
        number, description = text(self.header, "SeriesNumber"), text(self.header, "SeriesDescription")
        modality = text(self.header, "Modality") or "modality not stated"
        place = self.files[0].name if len(self.files) == 1 else f"{len(self.files)} files"
        title = f"'{description}'" if description else "without description"
        return f"series {number or '-'} {title} {modality} {self.frames} frames ({place})"


def find_series(folder: Path, *, notes: list[str]) -> list[Series]:
    """Put the DICOM files under `folder` together into runs.

    Args:
        folder: Searched with all its folders; hidden files are passed over.
        notes: Receives a sentence on files that were left out.

    Raises:
        InputError: No DICOM image lies there.
    """
    found: dict[tuple[object, ...], Series] = {}
    seen: set[str] = set()
    damaged: list[ScanweaveError] = []
    for path in _files(folder):
        try:
            if not has_magic(path):
                continue
            contents = open_file(path, tags=_TAGS)
        except (ScanweaveError, OSError) as error:
            damaged.append(error if isinstance(error, ScanweaveError) else InputError(str(error), path=path))
            continue
        if contents.pixels is None and integer(contents.header, "Rows") is None:
            continue  # a report, a DICOMDIR or the like beside the images
        identity = text(contents.header, "SOPInstanceUID")
        if identity and identity in seen:
            notes.append(f"{path.name} is a copy of another file of the folder and was left out.")
            continue
        seen.add(identity)
        frames = integer(contents.header, "NumberOfFrames") or 1
        key = (text(contents.header, "SeriesInstanceUID"), path if frames > 1 else None)
        series = found.setdefault(key, Series(contents.header, 0))
        series.frames += frames
        series.files.append(path)
        series.contents.append(contents)
    if damaged and not found:
        raise damaged[0]
    if damaged:
        notes.append(f"{len(damaged)} DICOM files could not be read and were left out, the first: {damaged[0]}")
    if not found:
        raise InputError("holds no DICOM image", path=folder)
    return list(found.values())


def choose_series(found: Sequence[Series], folder: Path, wanted: str | None) -> Series:
    """Return the one series, or the one that the user means.

    Args:
        found: As from `find_series`.
        folder: Named in errors.
        wanted: Series number, UID or description, or the name of a multi-frame file; or ``#2`` for the second of
            the list.

    Raises:
        InputError: Several series, and none chosen.
        UsageError: No series, or several, go by `wanted`.
    """
    if wanted is None:
        if len(found) == 1:
            return found[0]
        raise InputError(f"holds {len(found)} series: {_list(found)}", path=folder, remedy="choose one with --series")
    place = re.fullmatch(r"#(\d+)", wanted.strip())
    if place and 1 <= int(place[1]) <= len(found):
        return found[int(place[1]) - 1]
    chosen = [series for series in found if wanted.strip().casefold() in series.names()]
    if len(chosen) == 1:
        return chosen[0]
    many = f"{len(chosen)} series go" if chosen else "no series goes"
    raise UsageError(
        f"{many} by the name {wanted!r} among {len(found)}: {_list(found)}",
        path=folder,
        remedy="give --series a number, UID, description or file name from this list, or #1, #2, ...",
    )


def _list(found: Sequence[Series]) -> str:
    listed = [f"#{count} {series.describe()}" for count, series in enumerate(found[:_LISTED], start=1)]
    rest = [f"and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
    return "; ".join([*listed, *rest])


def _files(folder: Path) -> list[Path]:
    try:
        paths = [
            path
            for path in folder.rglob("*")
            if not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file()
        ]
    except OSError as error:
        raise InputError(f"cannot be searched: {error.strerror or error}", path=folder) from error
    return sorted(paths, key=lambda path: _natural(path.relative_to(folder).as_posix()))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts ``im9`` before ``im10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
