"""What `info` prints about a DICOM run. Nothing that names the patient goes in here."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from ...cine import Display, Region
from .elements import integer, items, number, text
from .pixels import Layout
from .timing import Timing, describe

_LOSSY = {"00": "no", "01": "yes, once or more"}
_LOSSY_SYNTAXES = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
_PLAIN = (
    ("Image type", "ImageType"),
    ("Manufacturer", "Manufacturer"),
    ("Model", "ManufacturerModelName"),
    ("Series number", "SeriesNumber"),
    ("Series description", "SeriesDescription"),
    ("Body part", "BodyPartExamined"),
    ("Burned-in annotation", "BurnedInAnnotation"),
    ("Derivation", "DerivationDescription"),
)
_HEART = (
    ("Heart rate (per minute)", "HeartRate"),
    ("Nominal interval (ms)", "NominalInterval"),
    ("R wave at frame (1-based)", "RWavePointer"),
    ("Stage", "StageName"),
    ("Stage number", "StageNumber"),
    ("View", "ViewName"),
    ("View number", "ViewNumber"),
    ("Trigger time (ms)", "TriggerTime"),
    ("Preferred playback (0 loop, 1 sweep)", "PreferredPlaybackSequencing"),
    ("Representative frame (1-based)", "RepresentativeFrameNumber"),
)
_X_RAY = (
    ("Pixel intensity relationship", "PixelIntensityRelationship"),
    ("Recommended viewing mode", "RecommendedViewingMode"),
    ("Radiation setting", "RadiationSetting"),
    ("Tube voltage (kV)", "KVP"),
    ("Tube current (mA)", "XRayTubeCurrent"),
    ("Exposure time (ms)", "ExposureTime"),
    ("Average pulse width (ms)", "AveragePulseWidth"),
    ("Dose area product (dGy cm2)", "ImageAndFluoroscopyAreaDoseProduct"),
    ("Positioner motion", "PositionerMotion"),
    ("Positioner primary angle (degrees)", "PositionerPrimaryAngle"),
    ("Positioner secondary angle (degrees)", "PositionerSecondaryAngle"),
)


def read_facts(
    header: Dataset, layout: Layout, *, timing: Timing, display: Display, regions: tuple[Region, ...], frames: int
) -> dict[str, str]:
    """Return facts in the order in which they are printed, absent ones left out."""
    facts = {
        "SOP class": UID(text(header, "SOPClassUID")).name,
        "Modality": text(header, "Modality"),
        "Transfer syntax": UID(text(header.file_meta, "TransferSyntaxUID")).name,
        "Frames": str(frames),
        "Size": f"{layout.rows} x {layout.columns}",
        "Photometric interpretation": layout.photometric,
        "Bits": _bits(layout),
        "Frame times": describe(timing),
        "Window": "" if display.window is None else "{:g} to {:g} in stored values".format(*display.window),
        "Palette": "" if display.palette is None else f"{len(display.palette)} entries of {display.palette.dtype}",
        "Lossy compression": _lossy(header),
        "Spacing (mm)": _spacing(header),
        "Regions": "; ".join(_region(region) for region in regions),
    }
    facts |= {label: text(header, keyword) for label, keyword in (*_PLAIN, *_HEART)}
    if text(header, "Modality") in ("XA", "RF", "DX"):
        facts |= {"Exposures": f"{frames} (one per frame)"}
        facts |= {label: text(header, keyword) for label, keyword in _X_RAY}
        facts["Mask"] = "; ".join(_mask(item) for item in items(header, "MaskSubtractionSequence"))
    return {label: found for label, found in facts.items() if found}


def _bits(layout: Layout) -> str:
    kind = "float" if layout.dtype.kind == "f" else "signed" if layout.signed else "unsigned"
    colour = ", 3 samples" if layout.samples == 3 else ""
    return f"{layout.stored} stored of {layout.allocated}, {kind}{colour}"


def _lossy(header: Dataset) -> str:
    flag = text(header, "LossyImageCompression") or text(header, "LossyImageCompressionRetired")
    if not flag and UID(text(header.file_meta, "TransferSyntaxUID")) in _LOSSY_SYNTAXES:
        flag = "01"
    parts = [_LOSSY.get(flag, flag), text(header, "LossyImageCompressionMethod")]
    if ratio := text(header, "LossyImageCompressionRatio"):
        parts.append(f"ratio {ratio}")
    return ", ".join(part for part in parts if part)


def _spacing(header: Dataset) -> str:
    return text(header, "PixelSpacing") or (
        f"{found} at the detector" if (found := text(header, "ImagerPixelSpacing")) else ""
    )


def _region(region: Region) -> str:
    scale = ""
    if region.spacing and region.units:
        scale = f", {region.spacing[0]:.4g} {region.units[0]} x {region.spacing[1]:.4g} {region.units[1]} per pixel"
    place = "" if region.inside else ", leaves the image"
    (top, bottom), (left, right) = region.rows, region.columns
    return f"{region.kind} rows {top} to {bottom} columns {left} to {right}{scale}{place}"


def _mask(item: Dataset) -> str:
    """Describe one mask subtraction item (PS3.3 C.7.6.10): operation, mask frames (1-based), pixel shift, range."""
    parts = [text(item, "MaskOperation") or "operation not stated"]
    frames = [count for count in text(item, "MaskFrameNumbers").split("\\") if count not in ("", "0")]
    if frames:
        parts.append(f"mask frames {', '.join(frames)}")
    if text(item, "MaskSubPixelShift"):
        parts.append(f"shift {text(item, 'MaskSubPixelShift')} pixels (row, column)")
    if text(item, "ApplicableFrameRange"):
        parts.append(f"for frames {text(item, 'ApplicableFrameRange')}")
    if integer(item, "TIDOffset") is not None:
        parts.append(f"time interval difference {integer(item, 'TIDOffset')}")
    if number(item, "ContrastFrameAveraging") is not None:
        parts.append(f"{text(item, 'ContrastFrameAveraging')} contrast frames averaged")
    return ", ".join(parts)
