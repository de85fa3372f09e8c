"""What a derived object says of itself: identity, provenance, and what of the source's header it keeps."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.examples import get_path
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, XRayAngiographicImageStorage

from scanweave.cine import Cine, Source
from scanweave.io.dicom import read_cine
from scanweave.io.dicom.derived import write_cine
from scanweave.io.dicom.derived_header import dropped_private

XA = XRayAngiographicImageStorage
US = "1.2.840.10008.5.1.4.1.1.3.1"


@pytest.fixture(scope="module")
def echo() -> Cine:
    return read_cine(get_path("ybr_color"))


@pytest.fixture
def run() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (5, 12, 16), np.uint8)


def test_echo_four_times_slower(echo: Cine, slowed, tmp_path: Path) -> None:
    before = copy.deepcopy(echo.source.header)
    out = tmp_path / "slow.dcm"
    notes = write_cine(slowed(echo), out)
    source, derived = pydicom.dcmread(get_path("ybr_color")), pydicom.dcmread(out)
    assert echo.source.header == before, "the source's header was changed"

    assert derived.pixel_array.shape == (117, 240, 320, 3)
    np.testing.assert_array_equal(derived.pixel_array[::4], source.pixel_array)
    assert (derived.PhotometricInterpretation, derived.PlanarConfiguration) == ("RGB", 0)
    assert derived.NumberOfFrames == 117
    assert (str(derived.FrameTime), derived.FrameIncrementPointer) == ("8.33325", 0x00181063)
    assert (derived.CineRate, derived.RecommendedDisplayFrameRate) == (30, 30)
    assert derived.HeartRate == source.HeartRate

    assert derived.SOPClassUID == source.SOPClassUID == derived.file_meta.MediaStorageSOPClassUID
    assert derived.SOPInstanceUID == derived.file_meta.MediaStorageSOPInstanceUID != source.SOPInstanceUID
    assert derived.SeriesInstanceUID != source.SeriesInstanceUID
    assert derived.StudyInstanceUID == source.StudyInstanceUID
    assert (derived.PatientName, derived.PatientID) == (source.PatientName, source.PatientID)
    assert derived.SeriesDescription == "SLOMO x4 (synthetic frames)"
    assert list(derived.ImageType) == ["DERIVED", "SECONDARY", "EPICARDIAL", "0001"]
    assert (derived.LossyImageCompression, derived.LossyImageCompressionRatio) == (
        "01",
        source.LossyImageCompressionRatio,
    )
    assert derived.SequenceOfUltrasoundRegions == source.SequenceOfUltrasoundRegions

    assert (derived.SyntheticData, derived.ContentQualification) == ("YES", "RESEARCH")
    assert "87 of 117 frames are synthetic" in derived.DerivationDescription
    assert derived.DerivationDescription.endswith("Source: RGB to JPEG Baseline 1 conversion")
    assert derived.DerivationCodeSequence[0].CodingSchemeDesignator == "99SCANWEAVE"
    assert derived.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99SCANWEAVE"
    reference = derived.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert derived.ContributingEquipmentSequence[-1].PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert not any(tag.is_private for tag in derived)
    assert "private group (0019) of SonoSite Private Data dropped: 2 elements, 33558 bytes" in notes


def test_derived_file_is_read_back_with_the_same_times(echo: Cine, slowed, tmp_path: Path) -> None:
    slow = slowed(echo, 3)
    write_cine(slow, tmp_path / "slow.dcm")
    again = read_cine(tmp_path / "slow.dcm")
    np.testing.assert_allclose(again.times, slow.times, atol=1e-9)
    assert again.display == slow.display
    assert again.levels == slow.levels


def test_a_second_derivation_keeps_the_first(dicom, run: np.ndarray, slowed, tmp_path: Path) -> None:
    first, second = tmp_path / "first.dcm", tmp_path / "second.dcm"
    write_cine(slowed(read_cine(dicom(XA, run)), 2), first)
    write_cine(slowed(read_cine(first), 3), second)
    one, two = pydicom.dcmread(first), pydicom.dcmread(second)
    assert two.SourceImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert len(two.DerivationCodeSequence) == len(two.ContributingEquipmentSequence) == 2
    assert len(two.CodingSchemeIdentificationSequence) == 1
    assert one.DerivationDescription in two.DerivationDescription
    assert two.SeriesDescription == "SLOMO x2 (synthetic frames) SLOMO x3 (synthetic frames)"


def test_rewriting_makes_no_claim_of_synthesis(dicom, run: np.ndarray, tmp_path: Path) -> None:
    write_cine(read_cine(dicom(XA, run, SeriesDescription="LCA")), tmp_path / "same.dcm")
    derived = pydicom.dcmread(tmp_path / "same.dcm")
    np.testing.assert_array_equal(derived.pixel_array, run)
    assert "SyntheticData" not in derived
    assert "DerivationCodeSequence" not in derived
    assert derived.SeriesDescription == "LCA derived"
    assert derived.ImageType[0] == "DERIVED"


def test_texts_fit_their_elements(dicom, run: np.ndarray, slowed, tmp_path: Path) -> None:
    source = dicom(XA, run, SeriesDescription="x" * 64, DerivationDescription="y" * 1024)
    summary = "Temporal interpolation ×2 – naïve. " + "z" * 2000
    write_cine(slowed(read_cine(source), 2, summary=summary), tmp_path / "out.dcm")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert len(derived.SeriesDescription) == 64
    assert derived.SeriesDescription.endswith(" SLOMO x2 (synthetic frames)")
    assert len(derived.DerivationDescription) == 1024
    assert derived.DerivationDescription.startswith("Temporal interpolation x2 - naive. zzz")


def test_stale_private_and_damaged_elements_go_with_a_note(dicom, run: np.ndarray, slowed, tmp_path: Path) -> None:
    item = Dataset()
    item.CodeValue = "1"
    item.private_block(0x0011, "ACME", create=True).add_new(1, "LO", "secret")
    path = dicom(
        XA,
        run,
        SmallestImagePixelValue=3,
        IconImageSequence=[Dataset()],
        AcquisitionTime="101010",
        ActualFrameDuration="40",
        AnatomicRegionSequence=[item],
        BurnedInAnnotation="YES",
        PatientIdentityRemoved="YES",
    )
    cine = read_cine(path)
    header = cine.source.header
    header.add_new(0x60000010, "US", 4)  # an overlay in the pixels' spare bits has no data of its own
    header.add_new(0x60020010, "US", 4)
    header.add_new(0x60023000, "OW", b"\0\0")
    header.add_new(0x50000005, "US", 1)
    with pytest.warns(UserWarning, match="cannot be assigned"):
        header.add_new(0x00080104, "FD", "x")  # does not fit its value representation
    notes = write_cine(slowed(cine), tmp_path / "out.dcm")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    for name in ("SmallestImagePixelValue", "IconImageSequence", "ActualFrameDuration"):
        assert name not in derived
        assert any(note.startswith(name) for note in notes)
    assert (0x6000, 0x0010) not in derived and (0x6002, 0x3000) in derived and (0x5000, 0x0005) not in derived
    assert any("(0008,0104) dropped: it is damaged" in note for note in notes)
    assert [element.keyword for element in derived.AnatomicRegionSequence[0]] == ["CodeValue"]
    assert dropped_private(header) == ("1 private elements inside sequences dropped",)
    assert derived.AcquisitionTime == "101010"
    assert (derived.BurnedInAnnotation, derived.PatientIdentityRemoved) == ("YES", "YES")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_sources_in_other_encodings(syntax: str, dicom, run: np.ndarray, slowed, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(dicom(XA, run, MaskSubtractionSequence=[Dataset()], PixelPaddingValue=5))
    dataset.MaskSubtractionSequence[0].MaskFrameNumbers = [1, 2]
    dataset.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "other.dcm"
    pydicom.dcmwrite(
        path,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax == ImplicitVRLittleEndian,
        force_encoding=True,
    )
    write_cine(slowed(read_cine(path), 2), tmp_path / "out.dcm")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    np.testing.assert_array_equal(derived.pixel_array[::2], run)
    assert list(derived.MaskSubtractionSequence[0].MaskFrameNumbers) == [1, 3]
    assert derived.PixelPaddingValue == 5


def test_like_gives_a_header_to_frames_without(dicom, run: np.ndarray, slowed, tmp_path: Path) -> None:
    original = read_cine(dicom(XA, run, PositionerPrimaryAngle="-32"))
    frames = Cine.from_array(run, fps=25)
    for k, like in enumerate((original, original.source.header)):
        write_cine(slowed(frames, 2), tmp_path / f"{k}.dcm", like=like)
        derived = pydicom.dcmread(tmp_path / f"{k}.dcm")
        assert derived.SOPClassUID == XA
        assert derived.PositionerPrimaryAngle == -32
        assert derived.StudyInstanceUID == original.source.header.StudyInstanceUID
        assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == original.source.header.SOPInstanceUID
        np.testing.assert_array_equal(derived.pixel_array[::2], run)


def test_regions_of_another_size_are_not_kept(dicom, slowed, tmp_path: Path) -> None:
    header = read_cine(dicom(US, np.zeros((3, 8, 8), np.uint8), PixelSpacing=[1, 1])).source.header
    half = Cine.from_array(np.zeros((3, 4, 4), np.uint8), fps=25, source=Source(format="dicom", header=header))
    notes = write_cine(slowed(half), tmp_path / "out.dcm")
    assert "PixelSpacing dropped: it is for frames of another size" in notes
    assert "PixelSpacing" not in pydicom.dcmread(tmp_path / "out.dcm")
