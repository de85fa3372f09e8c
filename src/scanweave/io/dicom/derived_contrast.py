"""Headers of a contrast that was never acquired: what it is called, and without how the source was acquired."""

from __future__ import annotations

from pydicom.dataset import Dataset

from ...volume import Volume
from .derived_timing import decimal, remove
from .elements import items

# How the source was acquired, which does not hold of another contrast (PS3.3 C.8.3.1); those of type 2 stay, empty.
_SEQUENCE_EMPTY = ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength")
_SEQUENCE_ABSENT = ("InversionTime", "FlipAngle", "SequenceName", "ProtocolName", "NumberOfAverages", "EchoNumbers")
# The same in functional groups, which are required of original frames only (PS3.3 A.36.2.4).
_GROUPS_ABSENT = (
    "MRTimingAndRelatedParametersSequence",
    "MREchoSequence",
    "MRModifierSequence",
    "MRImagingModifierSequence",
    "MRSpatialSaturationSequence",
    "MRAveragesSequence",
    "MRDiffusionSequence",
    "MRVelocityEncodingSequence",
    "MRArterialSpinLabelingSequence",
)
# Acquisition Contrast and value 3 of Image Type (PS3.3 C.8.13.3.1).
_TERMS = {
    "T1": "T1",
    "T1c": "T1",
    "T2": "T2",
    "T2star": "T2_STAR",
    "PD": "PROTON_DENSITY",
    "FLAIR": "FLUID_ATTENUATED",
    "DWI": "DIFFUSION",
}
_FLAVOURS = frozenset((*_TERMS.values(), "STIR", "TOF", "PERFUSION", "FLOW_ENCODED"))


def call_contrast(dataset: Dataset, contrast: str, volume: Volume) -> None:
    """Name a contrast, take out how that of the source was acquired, and show all of its values.

    Args:
        dataset: The derived header, its functional groups included where it has some.
        contrast: What it is.
        volume: Its voxels: their levels are what is shown.
    """
    dataset.SeriesDescription = f"{contrast} synthetic"
    remove(dataset, ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    groups = [
        *items(dataset, "SharedFunctionalGroupsSequence"),
        *items(dataset, "PerFrameFunctionalGroupsSequence"),
    ]
    if not groups:
        _show_all(dataset, volume)
    for group in groups:
        for shown in items(group, "FrameVOILUTSequence"):
            _show_all(shown, volume)
    if dataset.get("Modality") != "MR":
        return
    if not groups:
        remove(dataset, _SEQUENCE_ABSENT)
        for keyword in _SEQUENCE_EMPTY:
            setattr(dataset, keyword, None)
        dataset.ScanningSequence, dataset.SequenceVariant = "RM", "NONE"  # research mode: these may not be empty
        return
    term = _TERMS.get(contrast, "UNKNOWN")
    _name_flavour(dataset, "ImageType", term)
    for group in groups:
        remove(group, _GROUPS_ABSENT)
        for kind in items(group, "MRImageFrameTypeSequence"):
            _name_flavour(kind, "FrameType", term)


def _name_flavour(dataset: Dataset, keyword: str, term: str) -> None:
    """Replace a contrast as value 3 of a type, and as Acquisition Contrast."""
    values = list(dataset.get(keyword) or ())
    if len(values) > 2 and values[2] in _FLAVOURS:
        values[2] = "OTHER" if term == "UNKNOWN" else term
        setattr(dataset, keyword, values)
    if "AcquisitionContrast" in dataset:
        dataset.AcquisitionContrast = term


def _show_all(dataset: Dataset, volume: Volume) -> None:
    """Replace a window that was chosen for another contrast, where there is one, by the levels of this one."""
    if not remove(dataset, ("WindowCenter", "WindowWidth", "VOILUTSequence", "WindowCenterWidthExplanation")):
        return
    low, high = sorted(level * volume.scale + volume.offset for level in volume.levels)
    dataset.WindowCenter, dataset.WindowWidth = decimal((low + high) / 2), decimal(high - low)
