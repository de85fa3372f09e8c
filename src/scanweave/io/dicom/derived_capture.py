"""What the Secondary Capture classes demand beyond the source's header (PS3.3 A.8, C.8.6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from ...cine import Cine
from .derived_target import Target
from .derived_timing import decimal, remove

_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "PatientOrientation",
)
_WINDOW = ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction", "VOILUTSequence")


def as_capture(dataset: Dataset, cine: Cine, target: Target) -> list[str]:
    """Complete `dataset` for its Secondary Capture class; return what a user should know."""
    if not len(dataset.group_dataset(0x0010)):  # nothing of a DICOM source
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.Laterality = ""
    for name in _TYPE_2:
        if name not in dataset:
            setattr(dataset, name, "")
    if not dataset.get("Modality"):
        dataset.Modality = cine.source.modality or "OT"
    dataset.ConversionType = "WSD"
    if target.sop_class == uid.SecondaryCaptureImageStorage:
        return []
    notes = []
    if dataset.get("BurnedInAnnotation") not in ("YES", "NO"):
        dataset.BurnedInAnnotation = "YES"
        notes.append("the source does not say whether text is burned in: BurnedInAnnotation is YES, to be safe")
    if target.layout.samples == 3:
        remove(dataset, (*_WINDOW, "RescaleIntercept", "RescaleSlope", "RescaleType", "PresentationLUTShape"))
        return notes
    return notes + _identity_greys(dataset, cine, target)


def _identity_greys(dataset: Dataset, cine: Cine, target: Target) -> list[str]:
    """Make the modality transformation the identity, and let the window or a look-up table show what it showed."""
    notes = []
    slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
    if (slope, intercept) != (1.0, 0.0):
        notes.append(
            f"the rescaling of stored values (slope {slope:g}, intercept {intercept:g}) cannot be kept in a secondary "
            "capture: values are stored ones, and the window was brought to them"
        )
        _unscale_window(dataset, slope, intercept)
    notes += [f"{name} dropped: secondary capture has none" for name in remove(dataset, ("ModalityLUTSequence",))]
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "IDENTITY"
    low, high = cine.levels
    if target.inverted:
        remove(dataset, _WINDOW)
        dataset.VOILUTSequence = [_inverting_table(cine, target.layout.bits_stored)]
    elif "WindowCenter" not in dataset and "VOILUTSequence" not in dataset and high < 2**target.layout.bits_stored - 1:
        dataset.WindowCenter, dataset.WindowWidth = decimal((low + high + 1) / 2), decimal(high - low + 1)
    return notes


def _unscale_window(dataset: Dataset, slope: float, intercept: float) -> None:
    def each(name: str, change: Any) -> None:
        if dataset.get(name) is not None:
            values = dataset[name].value
            many = values if not isinstance(values, str | int | float) else [values]
            changed = [decimal(change(float(value))) for value in many]
            setattr(dataset, name, changed if len(changed) > 1 else changed[0])

    each("WindowCenter", lambda value: (value - intercept) / slope)
    each("WindowWidth", lambda value: max(value / abs(slope), 1.0))
    remove(dataset, ("VOILUTSequence",))


def _inverting_table(cine: Cine, bits: int) -> Dataset:
    """Return a VOI look-up table that shows the smallest value white, within the window (PS3.3 C.11.2.1)."""
    low, high = cine.display.window or cine.levels
    share = np.clip((np.arange(2**bits) - low) / max(high - low, 1e-12), 0.0, 1.0)
    table = np.rint(65535 * (1 - share)).astype("<u2")
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [2**bits % 65536, 0, 16])
    item.LUTExplanation = "Smallest value white, as in the source"
    item.add_new("LUTData", "OW", table.tobytes())
    return item
