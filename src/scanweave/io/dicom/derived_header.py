"""The header of a derived object: what is kept, what goes stale, who it is, and where it comes from.

Everything comes from the source objects, with fresh identifiers, source references and an honest image type
(PS3.3 C.7.6.1, C.12.1; PS3.16 CID 7001 to 7203).
"""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, generate_uid

from ..._version import __version__
from ...cine import Cine, Source
from .derived_timing import remove
from .quiet import PYDICOM_FAILURES, quiet

SCHEME = "99SCANWEAVE"
NOTICE = "For research use only; not for diagnosis."
_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")  # always lossy
_STALE = (
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelDataProviderURL",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
    "IconImageSequence",
    "WaveformSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "DataSetTrailingPadding",
    "ActualFrameDuration",
    "InstanceCreatorUID",
    "RelatedGeneralSOPClassUID",
    "OriginalSpecializedSOPClassUID",
    "SOPInstanceStatus",
    "SOPAuthorizationDateTime",
    "SOPAuthorizationComment",
    "AuthorizationEquipmentCertificationNumber",
    "ConcatenationUID",
    "SOPInstanceUIDOfConcatenationSource",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber",
    "ImagesInAcquisition",
    "TemporalPositionIdentifier",
    "NumberOfTemporalPositions",
)
_SIZE_BOUND = ("SequenceOfUltrasoundRegions", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_SILENT = frozenset({"PixelData", "DataSetTrailingPadding"})


def dropped_private(header: Dataset) -> tuple[str, ...]:
    """List the private groups of `header`, which a derived object does not carry: one sentence each.

    Raw data, vendor tables per frame and vendor ECG would be inconsistent with the new frames.
    """
    groups: dict[int, tuple[set[str], int, int]] = {}
    nested = 0
    for tag in sorted(header.keys()):
        if not tag.is_private:
            raw = header.get_item(tag)
            if raw is not None and raw.VR == "SQ":
                nested += sum(_count_private(item) for item in header[tag].value or ())
            continue
        creators, count, size = groups.setdefault(tag.group, (set(), 0, 0))
        if tag.is_private_creator:
            creators.add(str(header[tag].value).strip())
            continue
        value = getattr(header.get_item(tag), "value", None)
        groups[tag.group] = (creators, count + 1, size + (len(value) if isinstance(value, bytes | str) else 0))
    notes = [
        f"private group ({group:04X}) of {', '.join(sorted(creators)) or 'unknown origin'} dropped: {count} elements"
        + (f", {size} bytes" if size else "")
        for group, (creators, count, size) in groups.items()
    ]
    if nested:
        notes.append(f"{nested} private elements inside sequences dropped")
    return tuple(notes)


def _count_private(dataset: Dataset) -> int:
    count = 0
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if tag.is_private:
            count += not tag.is_private_creator
        elif raw is not None and raw.VR == "SQ":
            count += sum(_count_private(item) for item in dataset[tag].value or ())
    return count


def clean_copy(header: Dataset) -> tuple[Dataset, list[str]]:
    """Copy `header` without what is private, stale, or cannot be written again.

    Returns:
        The copy, every element decoded, and a note for each thing left out.
    """
    kept, notes = Dataset(), list(dropped_private(header))
    for tag in sorted(header.keys()):
        if tag.is_private or tag.element == 0 or tag.group in (0x0000, 0x0002):
            continue
        if 0x5000 <= tag.group <= 0x50FF:
            notes.append(f"curve or audio element {tag} dropped")
        elif not _is_static_overlay(header, tag):
            notes.append(f"overlay element {tag} dropped: it belongs to single frames or lies in the pixels")
        else:
            try:
                element = _decoded(header[tag])
                probe = Dataset()
                probe.add(element)
                _check_writable(probe)
            except PYDICOM_FAILURES as error:
                notes.append(f"element {tag} dropped: it is damaged ({type(error).__name__})")
                continue
            kept.add(element)
    notes += [
        f"{name} dropped: it does not hold for the new frames" for name in remove(kept, _STALE) if name not in _SILENT
    ]
    return kept, notes


def _decoded(element: Any) -> Any:
    """Decode an element all the way down, so that it can be written in another encoding; drop private items."""
    if element.VR != "SQ":
        return copy.copy(element)  # the source's header must not change with ours
    items = []
    for item in element.value or ():
        fresh = Dataset()
        for tag in sorted(item.keys()):
            if not tag.is_private and tag.element != 0:
                fresh.add(_decoded(item[tag]))
        items.append(fresh)
    return pydicom.DataElement(element.tag, "SQ", pydicom.Sequence(items))


def _check_writable(probe: Dataset) -> None:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    probe.PixelRepresentation = probe.get("PixelRepresentation", 0)  # what ambiguous elements are resolved by
    write_dataset(stream, probe)


def _is_static_overlay(header: Dataset, tag: Any) -> bool:
    """Whether an element is no overlay, or part of one that holds for every frame and has its own data."""
    if not 0x6000 <= tag.group <= 0x60FF:
        return True
    has_data = (tag.group, 0x3000) in header
    per_frame = (tag.group, 0x0015) in header or (tag.group, 0x0051) in header
    return has_data and not per_frame


def drop_size_bound(dataset: Dataset, rows: int, columns: int) -> list[str]:
    """Remove regions and spacings that were measured on frames of another size."""
    if (dataset.get("Rows", rows), dataset.get("Columns", columns)) == (rows, columns):
        return []
    return [f"{name} dropped: it is for frames of another size" for name in remove(dataset, _SIZE_BOUND)]


def now_in(header: Dataset) -> datetime:
    """Return the present time in the zone that the header's dates are in (Timezone Offset From UTC)."""
    offset = str(header.get("TimezoneOffsetFromUTC", "") or "")
    try:
        hours, minutes = int(offset[:-2]), int(offset[-2:])
        zone = timezone(timedelta(hours=hours, minutes=minutes if hours >= 0 and offset[:1] != "-" else -minutes))
        return datetime.now(zone)
    except ValueError:  # absent or malformed: local time
        return datetime.now().astimezone()


def identify(dataset: Dataset, *, said: str, study_uid: str, series_uid: str, now: datetime) -> None:
    """Give `dataset` its own identity in a new series of the same study (a new one where the source has none).

    Args:
        dataset: The output's header.
        said: What the description of the series says after the source's.
        study_uid: For a source that has none.
        series_uid: Of the new series.
        now: Time of the processing.
    """
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.SeriesInstanceUID = series_uid
    if not dataset.get("StudyInstanceUID"):
        dataset.StudyInstanceUID = study_uid
    day, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate = dataset.ContentDate = day
    dataset.InstanceCreationTime = dataset.ContentTime = time
    for name, value in (("SeriesDate", day), ("SeriesTime", time)):
        if name in dataset:
            setattr(dataset, name, value)
    number = dataset.get("SeriesNumber")
    dataset.SeriesNumber = 1000 + int(number) if number is not None else 1000
    dataset.InstanceNumber = 1
    before = str(dataset.get("SeriesDescription", "") or "").strip()
    dataset.SeriesDescription = f"{before[: 63 - len(said)].strip()} {said}".strip()


def series_words(cine: Cine) -> str:
    """Return what the description of a series says of a run."""
    if not has_made(cine):
        return "derived"
    factor = f" x{cine.derivation.factor}" if cine.derivation is not None and cine.derivation.factor else ""
    return f"SLOMO{factor} (synthetic frames)"


def has_made(cine: Cine) -> bool:
    """Whether any frame of `cine` was computed."""
    return any(record.kind == "made" for record in cine.records or ())


def state_provenance(
    dataset: Dataset,
    *,
    description: Sequence[str],
    sources: Sequence[Dataset],
    how: Dataset | None,
    synthetic: bool,
    now: datetime,
) -> None:
    """Say what the object is: image type, derivation, sources, equipment, synthetic content.

    Args:
        dataset: The output's header.
        description: Sentences on what was done.
        sources: References to what the object was made from (`source_item`).
        how: Code of that (`code`).
        synthetic: Whether this object holds pixels that were computed.
        now: Time of the processing.
    """
    kept = dataset.get("ImageType")
    values = [] if kept is None else [kept] if isinstance(kept, str) else list(kept)
    dataset.ImageType = ["DERIVED", "SECONDARY", *values[2:]]
    before = str(dataset.get("DerivationDescription", "") or "").strip()
    text = _ascii(" ".join(description))[:1024]
    room = 1024 - len(text) - len(" Source: ")
    dataset.DerivationDescription = f"{text} Source: {before[:room]}" if before and room > 0 else text
    if synthetic:
        dataset.SyntheticData = "YES"
        dataset.ContentQualification = "RESEARCH"
    if how is not None:
        codes = list(dataset.get("DerivationCodeSequence") or ())
        dataset.DerivationCodeSequence = [*codes, how]
        if how.CodingSchemeDesignator == SCHEME:
            _describe_scheme(dataset)
    remove(dataset, ("SourceImageSequence",))
    if sources:
        dataset.SourceImageSequence = list(sources)
    equipment = list(dataset.get("ContributingEquipmentSequence") or ())
    dataset.ContributingEquipmentSequence = [*equipment, _equipment(now)]


def description(cine: Cine) -> list[str]:
    """Return the sentences that say what was done to a run."""
    derivation, records = cine.derivation, cine.records or ()
    if derivation is None and not records:
        return [f"Written by scanweave {__version__}; pixel values unchanged."]
    made = sum(record.kind == "made" for record in records)
    copied = sum(record.kind == "copied" for record in records)
    words = [] if derivation is None else [derivation.summary.strip().rstrip(".") + "."]
    words.append(
        f"scanweave {__version__}: {made} of {len(cine)} frames are synthetic"
        + (f", {copied} repeat an acquired one" if copied else "")
        + ", the others are acquired frames, unchanged."
    )
    if derivation is not None and derivation.method not in derivation.summary:
        words.append(f"Method {derivation.method}.")
    digest = derivation.weights_sha256 if derivation is not None else None
    if digest and digest[:12] not in words[0]:
        words.append(f"Weights SHA-256 {digest[:16]}.")
    return [*words, NOTICE]


def _ascii(text: str) -> str:
    """Every character set of DICOM holds ASCII; the source's may hold nothing else."""
    plain = unicodedata.normalize("NFKD", text.replace("×", "x").replace("–", "-").replace("—", "-"))
    return " ".join(plain.encode("ascii", "ignore").decode().split())


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a coded concept (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def interpolation_code() -> Dataset:
    """No standard code says "interpolated in time": ours."""
    return code("TEMPORAL_INTERP", SCHEME, "Temporal interpolation of frames")


def _describe_scheme(dataset: Dataset) -> None:
    schemes = list(dataset.get("CodingSchemeIdentificationSequence") or ())
    if all(item.get("CodingSchemeDesignator") != SCHEME for item in schemes):
        item = Dataset()
        item.CodingSchemeDesignator = SCHEME
        item.CodingSchemeName = "scanweave private codes"
        item.CodingSchemeResponsibleOrganization = "The scanweave authors"
        dataset.CodingSchemeIdentificationSequence = [*schemes, item]


def source_item(sop_class: str, instance: str, frames: Sequence[int] = ()) -> Dataset:
    """Return a reference to a source instance, or to some of its frames (1-based)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    if frames:
        item.ReferencedFrameNumber = list(frames) if len(frames) > 1 else frames[0]
    item.PurposeOfReferenceCodeSequence = [code("121322", "DCM", "Source image for image processing operation")]
    return item


def _equipment(now: datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code("109102", "DCM", "Processing Equipment")]
    item.Manufacturer = "The scanweave authors"
    item.ManufacturerModelName = "scanweave"
    item.SoftwareVersions = __version__
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S.%f%z")
    item.ContributionDescription = "Derivation or conversion of images; research use only"
    return item


def source_instances(source: Source, header: Dataset | None) -> tuple[tuple[str, str], ...]:
    """Return SOP Class and Instance UID of each source file: one, or one per frame for a folder."""
    found = []
    if source.format == "dicom" and len(source.files) > 1:
        found = [uids for uids in map(_uids_of_file, source.files) if uids is not None]
    if not found and header is not None:
        found = [(str(header.get("SOPClassUID", "")), str(header.get("SOPInstanceUID", "")))]
    return tuple((c, i) for c, i in found if UID(c).is_valid and UID(i).is_valid)


def _uids_of_file(path: Path) -> tuple[str, str] | None:
    try:
        with quiet():
            head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
            return str(head.get("SOPClassUID", "")), str(head.get("SOPInstanceUID", ""))
    except PYDICOM_FAILURES:  # it was read before, but may be gone by now
        return None


def keep_lossy_flag(dataset: Dataset, header: Dataset | None, lossy: str) -> None:
    """Once lossy, always lossy: the flag stays, and is set where only the source's coding told it.

    Args:
        dataset: The derived header.
        header: The source's header, or None.
        lossy: What a source that is no DICOM came through (`Source.lossy`).
    """
    if lossy:
        dataset.LossyImageCompression = "01"
        if lossy != "unnamed":
            dataset.LossyImageCompressionMethod = lossy
    syntax = str(getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", ""))
    if syntax in _LOSSY and dataset.get("LossyImageCompression") != "01":
        dataset.LossyImageCompression = "01"
