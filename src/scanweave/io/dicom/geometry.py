"""Whether frames lie at one place: a cine does, a volume does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    RTDoseStorage,
    SegmentationStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from ...errors import InputError, UnsupportedError
from .elements import items, numbers, text
from .timing import Timing

_OTHERWISE = "convert it to NIfTI with a program that knows its kind"
# Places closer than this (millimetres, direction cosines) are one.
_TOLERANCE = 1e-2
# What Frame Increment Pointer may name other than time (PS3.3 C.7.6.6, C.8.8.3, C.8.4.8): frames then are slices.
_SLICE_POINTERS = {0x3004000C: "Grid Frame Offset Vector", 0x00182005: "Slice Location Vector", 0x00540080: "Slice"}
_NOT_A_RUN = {
    RTDoseStorage: "a dose grid",
    SegmentationStorage: "a segmentation",
    VLWholeSlideMicroscopyImageStorage: "a tiled microscope slide",
}


Place = tuple[float, ...]
Nature = Literal["run", "volume", "both"]
_CLOCKS = frozenset(
    (
        *("Acquisition DateTime", "Acquisition Time", "Content Time"),
        *("Frame Reference DateTime", "Frame Acquisition DateTime"),
    )
)
_MOVING = frozenset({"US", "IVUS", "XA", "RF"})  # of these, a place of its own per frame means that something moved


def frame_places(header: Dataset, frames: int) -> list[Place | None]:
    """Return position and orientation of each frame of a multi-frame file; None where they are not stated."""
    groups = items(header, "PerFrameFunctionalGroupsSequence")
    if len(groups) != frames:
        return [None] * frames
    shared = items(header, "SharedFunctionalGroupsSequence")[:1]
    return [_place_of_group([group, *shared]) for group in groups]


def instance_place(header: Dataset) -> Place | None:
    """Return position and orientation of a single-frame instance, or None where they are not stated."""
    return _place(numbers(header, "ImagePositionPatient"), numbers(header, "ImageOrientationPatient"))


def check_is_run(header: Dataset, *, frames: int, path: Path) -> None:
    """Refuse multi-frame objects whose frames are something other than a run by their kind.

    Raises:
        UnsupportedError: A dose grid, a segmentation, a slide, or frames that the file numbers by slice.
    """
    kind = _NOT_A_RUN.get(UID(text(header, "SOPClassUID")))
    if kind:
        raise UnsupportedError(f"is {kind}, not a run of frames", path=path, remedy="give a cine run")
    for pointed in numbers(header, "FrameIncrementPointer"):
        name = _SLICE_POINTERS.get(int(pointed)) if math.isfinite(pointed) else None
        if name and frames > 1:
            raise UnsupportedError(
                f"is a volume of {frames} slices: its frames are told apart by {name}", path=path, remedy=_OTHERWISE
            )


def nature(places: Sequence[Place | None], timing: Timing, modality: str) -> Nature:
    """Return what frames are by what varies over them: time at one place, places at one time, or both.

    Times of day say nothing where a scanner took every slice once, one after the other: that is a volume.
    """
    if _distinct(places) < 2:
        return "run"
    once = _distinct(places) == len(places) and modality not in _MOVING
    return "volume" if not timing.per_frame or (once and timing.origin in _CLOCKS) else "both"


def refuse_both(places: Sequence[Place | None], timing: Timing, path: Path) -> NoReturn:
    """Refuse frames of which both places and times vary.

    Raises:
        InputError: The file alone does not tell what it is.
    """
    phases = ", or choose a phase with --as volume --time-index 0" if _distinct(places) < len(places) else ""
    raise InputError(
        f"both position ({_distinct(places)} different ones) and time ({timing.origin}) vary over its"
        f" {len(places)} frames",
        path=path,
        remedy=f"give frames of one position, or say --as cine if they are one run, --as volume if one volume{phases}",
    )


def places_noted(places: Sequence[Place | None]) -> list[str]:
    """Return a note on frames that a user calls one run though their places differ."""
    count = _distinct(places)
    return [f"The frames lie at {count} positions and were taken as one run, as asked for."] if count > 1 else []


def _distinct(places: Sequence[Place | None]) -> int:
    known = [place for place in places if place is not None]
    return len({tuple(round(number / _TOLERANCE) for number in place) for place in known})


def _place_of_group(groups: Sequence[Dataset]) -> Place | None:
    position: list[float] = []
    orientation: list[float] = []
    for group in groups:
        for sequence, keyword in (
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PlanePositionVolumeSequence", "ImagePositionVolume"),
        ):
            for item in items(group, sequence)[:1]:
                position = position or numbers(item, keyword)
        for item in items(group, "PlaneOrientationSequence")[:1]:
            orientation = orientation or numbers(item, "ImageOrientationPatient")
    return _place(position, orientation)


def _place(position: Sequence[float], orientation: Sequence[float]) -> Place | None:
    if len(position) != 3 or not all(math.isfinite(number) for number in position):
        return None
    sound = len(orientation) == 6 and all(math.isfinite(number) for number in orientation)
    return (*position, *(orientation if sound else ()))
