"""Functional groups of a derived Enhanced object: one item per output frame (PS3.3 C.7.6.16).

Each item is a copy of the nearest source frame's, with its own time, a place in a single dimension (time), frame type
DERIVED, and a reference to the source frames that it comes from.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from ...cine import Cine
from .derived_header import interpolation_code, source_item
from .derived_timing import FrameMap, remove

# Times and phases of frames, in whichever macro they stand: interpolated between the two source frames.
_INTERPOLATED = (
    "NominalCardiacTriggerDelayTime",
    "ActualCardiacTriggerDelayTime",
    "NominalPercentageOfCardiacPhase",
    "IntervalsAcquired",
    "NominalRespiratoryTriggerDelayTime",
    "ActualRespiratoryTriggerDelayTime",
    "NominalPercentageOfRespiratoryPhase",
    "TemporalPositionTimeOffset",
)
_DATE_TIME = "%Y%m%d%H%M%S.%f"
_DATE_TIMES = ("FrameAcquisitionDateTime", "FrameReferenceDateTime")
_NOT_ACQUIRED = ("FrameAcquisitionDuration",)
# Required of original images, and not allowed in derived ones (MR Pulse Sequence Module, PS3.3 C.8.13.4).
_ORIGINAL_ONLY = (
    "PulseSequenceName",
    "MRAcquisitionType",
    "EchoPulseSequence",
    "MultipleSpinEcho",
    "MultiPlanarExcitation",
    "PhaseContrast",
    "TimeOfFlightContrast",
    "ArterialSpinLabelingContrast",
    "SteadyStatePulseSequence",
    "EchoPlanarPulseSequence",
    "SaturationRecovery",
    "SpectrallySelectedSuppression",
    "OversamplingPhase",
    "GeometryOfKSpaceTraversal",
    "SegmentedKSpaceTraversal",
    "RectilinearPhaseEncodeReordering",
    "CoverageOfKSpace",
    "NumberOfKSpaceTrajectories",
)
_MADE_CONTRAST = "RESAMPLED"  # value 4 of Frame Type, derived pixel contrast (PS3.3 C.8.16.1.4)


def write_functional_groups(
    dataset: Dataset, cine: Cine, frames: FrameMap, source: tuple[str, str] | None
) -> list[str]:
    """Replace the per-frame functional groups of `dataset` by one item per output frame.

    Args:
        dataset: The cleaned header of an Enhanced object, with its source's functional groups.
        cine: The output frames.
        frames: Where they lie among the source frames.
        source: SOP Class and Instance UID of the source, or None if it has no sound ones.

    Returns:
        A note for each element that a derived object must not have.
    """
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    shared = dataset.SharedFunctionalGroupsSequence[0] if dataset.get("SharedFunctionalGroupsSequence") else Dataset()
    in_frames = move_frame_types(shared, groups)
    items = []
    for k in range(len(cine)):
        nearest = frames.nearest(k)
        item = copy.deepcopy(groups[nearest])
        if frames.made[k]:
            first, second = frames.pairs[k]
            _interpolate(item, groups[first], groups[second], frames.positions[k], (first, second))
        _place(item, k)
        _ensure_time(item, cine, k, start=str(dataset.get("AcquisitionDateTime") or ""))
        _describe_frame(item, frames, k, source)
        items.append(item)
    dataset.PerFrameFunctionalGroupsSequence = items
    write_image_type(dataset, made=any(frames.made), whole=all(frames.made), contrast=in_frames)
    _single_dimension(dataset)
    if source is not None:
        name_evidence(dataset, source)
    return without_originals(dataset)


def without_originals(dataset: Dataset) -> list[str]:
    """Remove what only original images may have; return a note on it."""
    dropped = remove(dataset, _ORIGINAL_ONLY) if "MR" in str(dataset.get("Modality")) else []
    return [f"{', '.join(dropped)} dropped: an Enhanced MR image that is derived must not have them"] if dropped else []


def move_frame_types(shared: Dataset, groups: Sequence[Dataset]) -> bool:
    """Frame types of made and acquired frames differ, so they move from the shared group to each frame."""
    moved = [element for element in shared if _holds_frame_type(element)]
    for element in moved:
        for group in groups:
            group.add(copy.deepcopy(element))
        del shared[element.tag]
    return any(_holds_frame_type(element) for group in groups[:1] for element in group)


def _holds_frame_type(element: Any) -> bool:
    return element.VR == "SQ" and any("FrameType" in item for item in element.value)


def _interpolate(item: Dataset, first: Dataset, second: Dataset, position: float, pair: tuple[int, int]) -> None:
    """Set times and phases in `item`, a copy of one neighbour, to what lies between both."""
    share = (position - pair[0]) / (pair[1] - pair[0]) if pair[1] != pair[0] else 0.0
    for element in item:
        inner = [group.get(element.keyword) for group in (first, second)] if element.keyword else [None, None]
        if inner[0] is None or inner[1] is None:
            continue
        if element.VR == "SQ":
            for own, before, after in zip(element.value, inner[0], inner[1], strict=False):
                _interpolate(own, before, after, position, pair)
        elif element.keyword in _INTERPOLATED:
            between = float(inner[0]) + share * (float(inner[1]) - float(inner[0]))
            element.value = between if element.VR in ("FD", "FL") else round(between)
        elif element.keyword in _DATE_TIMES:
            element.value = _between(str(inner[0]), str(inner[1]), share)


def _between(first: str, second: str, share: float) -> str:
    """Return the DICOM date-time between two; the first where either is malformed."""
    try:
        (start, zone), (end, _) = _parsed(first), _parsed(second)
    except ValueError:
        return first
    moment = start + timedelta(seconds=share * (end - start).total_seconds())
    return moment.strftime(_DATE_TIME) + zone


def _parsed(text: str) -> tuple[datetime, str]:
    sign = max(text.find("+"), text.find("-"))
    stamp, zone = (text[:sign], text[sign:]) if sign > 0 else (text, "")
    return datetime.strptime(stamp, _DATE_TIME if "." in stamp else "%Y%m%d%H%M%S"), zone


def _place(item: Dataset, k: int) -> None:
    if not item.get("FrameContentSequence"):
        item.FrameContentSequence = [Dataset()]
    content = item.FrameContentSequence[0]
    content.DimensionIndexValues = k + 1
    content.TemporalPositionIndex = k + 1


def _ensure_time(item: Dataset, cine: Cine, k: int, *, start: str) -> None:
    """Where the source gives its frames no time of their own, count from the start of the acquisition."""
    content = item.FrameContentSequence[0]
    if cine.time_unit != "s" or any(name in content for name in _DATE_TIMES):
        return
    try:
        moment, zone = _parsed(start)
    except ValueError:  # absent or malformed
        return
    content.FrameReferenceDateTime = (moment + timedelta(seconds=float(cine.times[k]))).strftime(_DATE_TIME) + zone


def _describe_frame(item: Dataset, frames: FrameMap, k: int, source: tuple[str, str] | None) -> None:
    made = frames.made[k]
    near = sorted(set(frames.pairs[k])) if made else [frames.nearest(k)]
    derive_frame(
        item,
        made=made,
        said="Synthetic: interpolated in time between the source frames"
        if made
        else "Acquired frame, pixel values unchanged",
        how=interpolation_code(),
        sources=[] if source is None else [source_item(*source, [frames.number(n) for n in near])],
    )


def derive_frame(item: Dataset, *, made: bool, said: str, how: Dataset, sources: Sequence[Dataset]) -> None:
    """Say in a frame's functional groups that it is derived, how and from what."""
    if made:
        for content in item.get("FrameContentSequence") or ():
            remove(content, _NOT_ACQUIRED)
            content.FrameComments = "Synthetic frame"
    for element in item:
        if _holds_frame_type(element):
            for group in element.value:
                values = list(group.FrameType)
                contrast = [_MADE_CONTRAST] if made and len(values) > 3 else values[3:4]
                group.FrameType = ["DERIVED", "PRIMARY", *values[2:3], *contrast, *values[4:]]
    derivation = Dataset()
    derivation.DerivationDescription = said
    derivation.DerivationCodeSequence = [how]
    if sources:
        derivation.SourceImageSequence = list(sources)
    item.DerivationImageSequence = [derivation]


def write_image_type(dataset: Dataset, *, made: bool, whole: bool, contrast: bool) -> None:
    """Image Type sums up the frame types: value 2 is always PRIMARY in Enhanced objects."""
    values = list(dataset.get("ImageType") or ())
    fourth = values[3:4]
    if made and contrast and fourth:
        fourth = [_MADE_CONTRAST if whole else "MIXED"]
    dataset.ImageType = ["DERIVED", "PRIMARY", *values[2:3], *fourth, *values[4:]]


def _single_dimension(dataset: Dataset) -> None:
    """Frames of a cine differ in time only: one dimension, their temporal position."""
    remove(dataset, ("DimensionOrganizationType",))
    organisation = Dataset()
    organisation.DimensionOrganizationUID = generate_uid(prefix=None)
    index = Dataset()
    index.DimensionOrganizationUID = organisation.DimensionOrganizationUID
    index.DimensionIndexPointer = Tag("TemporalPositionIndex")
    index.FunctionalGroupPointer = Tag("FrameContentSequence")
    index.DimensionDescriptionLabel = "Time"
    dataset.DimensionOrganizationSequence = [organisation]
    dataset.DimensionIndexSequence = [index]


def name_evidence(dataset: Dataset, source: tuple[str, str]) -> None:
    """List every source instance of the functional groups once more (Common Instance Reference at the image)."""
    instance = Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source
    series = Dataset()
    series.SeriesInstanceUID = dataset.SeriesInstanceUID  # still the source's: identity is given afterwards
    series.ReferencedSOPSequence = [instance]
    study = Dataset()
    study.StudyInstanceUID = dataset.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    dataset.SourceImageEvidenceSequence = [study]
