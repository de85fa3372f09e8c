"""Functional groups of a derived Enhanced volume: one item per slice, wherever it lies (PS3.3 C.7.6.16).

Each item is a copy of the nearest source frame's. Slices that lie elsewhere than any frame of the source have places,
thickness and dimensions of their own: one stack, counted along its normal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from .derived_header import source_item
from .derived_seat import Seat
from .derived_timing import decimal, remove
from .elements import items
from .enhanced import derive_frame, move_frame_types, name_evidence, without_originals, write_image_type

_PLACED = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PlanePositionVolumeSequence",
    "PlaneOrientationVolumeSequence",
    "CTPositionSequence",  # of the table, which never was at a slice between two
)
_SCALED = ("PixelValueTransformationSequence", "RealWorldValueMappingSequence")
_STACK = "1"


def write_slice_groups(
    dataset: Dataset,
    near: Sequence[Sequence[int]],
    source: tuple[str, str] | None,
    *,
    said: str,
    how: Dataset,
    made: bool,
) -> list[str]:
    """Give `dataset` one item of functional groups per slice, and say that they are derived.

    Args:
        dataset: The cleaned header of an Enhanced object, with its source's functional groups.
        near: Source frames that each slice lies on or between, the nearest first; its item is a copy of that one's, or
            of the first frame's where there is none.
        source: SOP Class and Instance UID of the source, or None if it has no sound ones.
        said: What was done to a frame.
        how: Code of that.
        made: Whether pixels were computed, not only written again.

    Returns:
        A note for each element that a derived object must not have.
    """
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    in_frames = move_frame_types(_shared(dataset), groups)
    kept = [copy.deepcopy(groups[frames[0] if frames else 0]) for frames in near]
    for item, frames in zip(kept, near, strict=True):
        references = [] if source is None else [source_item(*source, sorted(frame + 1 for frame in frames))]
        derive_frame(item, made=made, said=said, how=how, sources=references)
    dataset.PerFrameFunctionalGroupsSequence = kept
    dataset.NumberOfFrames = len(kept)
    write_image_type(dataset, made=made, whole=made, contrast=in_frames)
    if source is not None:
        name_evidence(dataset, source)
    return without_originals(dataset)


def place_slices(dataset: Dataset, seats: Sequence[Seat]) -> None:
    """Write where slices lie in place of where the source's frames lay (PS3.3 C.7.6.16.2.1 to 2.4, C.7.6.17).

    Args:
        dataset: The derived header, with an item per slice.
        seats: Of slices, evenly spaced along one normal.
    """
    for group in _groups(dataset):
        remove(group, _PLACED)
    shared, first = _shared(dataset), seats[0]
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = first.image_orientation
    measures.PixelSpacing = [decimal(first.steps[0]), decimal(first.steps[1])]
    measures.SliceThickness = measures.SpacingBetweenSlices = decimal(first.steps[2])
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    for k, (item, seat) in enumerate(zip(dataset.PerFrameFunctionalGroupsSequence, seats, strict=True)):
        position = Dataset()
        position.ImagePositionPatient = seat.image_position
        item.PlanePositionSequence = [position]
        if not item.get("FrameContentSequence"):
            item.FrameContentSequence = [Dataset()]
        content = item.FrameContentSequence[0]
        remove(content, ("TemporalPositionIndex",))
        content.StackID, content.InStackPositionNumber = _STACK, k + 1
        content.DimensionIndexValues = [1, k + 1]
    _number_stack(dataset)


def _number_stack(dataset: Dataset) -> None:
    """Frames differ in their place only: two dimensions, the stack and the position in it."""
    organisation = Dataset()
    organisation.DimensionOrganizationUID = generate_uid(prefix=None)
    indices = []
    for keyword, label in (("StackID", "Stack"), ("InStackPositionNumber", "Position in stack")):
        index = Dataset()
        index.DimensionOrganizationUID = organisation.DimensionOrganizationUID
        index.DimensionIndexPointer = Tag(keyword)
        index.FunctionalGroupPointer = Tag("FrameContentSequence")
        index.DimensionDescriptionLabel = label
        indices.append(index)
    dataset.DimensionOrganizationType = "3D"
    dataset.DimensionOrganizationSequence, dataset.DimensionIndexSequence = [organisation], indices


def scale_slices(dataset: Dataset, scale: float, offset: float) -> None:
    """Write how all voxels mean real values, in place of how those of the source did (PS3.3 C.7.6.16.2.9)."""
    stated = [item for group in _groups(dataset) for item in items(group, _SCALED[0])]
    kind = str(stated[0].get("RescaleType") or "US") if stated else "US"
    for group in _groups(dataset):
        remove(group, _SCALED)
    transformation = Dataset()
    transformation.RescaleIntercept, transformation.RescaleSlope = decimal(offset), decimal(scale)
    transformation.RescaleType = kind
    _shared(dataset).PixelValueTransformationSequence = [transformation]


def _shared(dataset: Dataset) -> Dataset:
    if not dataset.get("SharedFunctionalGroupsSequence"):
        dataset.SharedFunctionalGroupsSequence = [Dataset()]
    shared: Dataset = dataset.SharedFunctionalGroupsSequence[0]
    return shared


def _groups(dataset: Dataset) -> Iterator[Dataset]:
    yield _shared(dataset)
    yield from dataset.PerFrameFunctionalGroupsSequence
