"""Slices of Enhanced objects at new places: an item of functional groups per slice, that says where it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from scanweave import io
from scanweave.cine import Derivation
from scanweave.errors import UnsupportedError
from scanweave.grid import Grid
from scanweave.io.dicom import read_cine
from scanweave.volume import Volume

FRAMES = np.random.default_rng(7).integers(0, 4095, (4, 6, 8), np.uint16)
STEP = 6.0
FINER = Derivation(source_length=10, method="linear", summary="T2 synthesized from T2 by linear")
T1 = Derivation(source_length=4, method="uni-coal", summary="T1 synthesized from T2 by uni-coal", contrast="T1")


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


@pytest.fixture
def enhanced(dicom: Callable[..., Path]) -> Callable[..., Path]:
    """Write an oblique Enhanced MR stack of 4 frames, stored from the last slice to the first."""

    def write(sop_class: uid.UID = uid.EnhancedMRImageStorage, **changes: Any) -> Path:
        across = np.array([[0.8, 0.6, 0.0], [-0.36, 0.48, 0.8]])
        normal = np.cross(*across)
        groups = [
            item(
                FrameContentSequence=[item(TemporalPositionIndex=1, FrameAcquisitionDuration=30.0)],
                PlanePositionSequence=[item(ImagePositionPatient=[float(x) for x in [10, 20, 30] + STEP * k * normal])],
                FrameVOILUTSequence=[item(WindowCenter="400", WindowWidth="800")],
            )
            for k in (3, 2, 1, 0)
        ]
        kind = item(FrameType=["ORIGINAL", "PRIMARY", "T2", "NONE"], AcquisitionContrast="T2")
        shared = item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=across.ravel().tolist())],
            PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.75], SliceThickness=5)],
            PixelValueTransformationSequence=[item(RescaleSlope="2", RescaleIntercept="-1", RescaleType="US")],
            MRImageFrameTypeSequence=[kind],
            MREchoSequence=[item(EffectiveEchoTime=83.0)],
        )
        elements = {
            "Modality": "MR",
            "ImageType": ["ORIGINAL", "PRIMARY", "T2", "NONE"],
            "AcquisitionContrast": "T2",
            "SharedFunctionalGroupsSequence": [shared],
            "PerFrameFunctionalGroupsSequence": groups,
            "BitsStored": 12,
            "FrameTime": None,
            "FrameIncrementPointer": None,
            "FrameOfReferenceUID": "1.2.3.4",
        }
        return dicom(sop_class, FRAMES[::-1], **(elements | changes))

    return write


def finer(source: Volume, spacing: float = 2.0) -> Volume:
    """Return slices between slices, from the first to the last, blended."""
    count = round((source.shape[0] - 1) * source.spacing[0] / spacing) + 1
    along = np.arange(count) * spacing / source.spacing[0]
    before = np.minimum(along.astype(int), source.shape[0] - 2)
    share = (along - before)[:, None, None]
    voxels = source.voxels[before] * (1 - share) + source.voxels[before + 1] * share
    affine = np.array(source.affine)
    affine[:3, 0] *= spacing / source.spacing[0]
    return source.with_voxels(np.rint(voxels).astype(source.dtype), grid=Grid((count, *source.shape[1:]), affine))


@pytest.mark.parametrize("sop_class", [uid.EnhancedMRImageStorage, uid.EnhancedCTImageStorage])
def test_slices_between_slices_lie_where_they_were_made(enhanced, sop_class, tmp_path: Path) -> None:
    source = io.read(enhanced(sop_class, Modality="MR" if sop_class == uid.EnhancedMRImageStorage else "CT"))
    assert isinstance(source, Volume)
    made = finer(source)
    io.write(made, tmp_path / "out.dcm", derivation=FINER)
    again = io.read(tmp_path / "out.dcm")
    assert isinstance(again, Volume)
    assert np.array_equal(again.voxels, made.voxels) and again.dtype == np.uint16
    np.testing.assert_allclose(again.affine, made.affine, atol=1e-8)
    assert (again.scale, again.offset) == (2, -1)
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert derived.SOPClassUID == sop_class and derived.NumberOfFrames == len(again.voxels) == 10
    assert derived.BitsStored == 12 and derived.FrameOfReferenceUID == "1.2.3.4"
    assert derived.SOPInstanceUID != source.source.header.SOPInstanceUID
    assert derived.SeriesInstanceUID != source.source.header.SeriesInstanceUID


def test_each_slice_says_its_place_in_the_stack_and_its_sources(enhanced, tmp_path: Path) -> None:
    file = enhanced()
    io.write(finer(io.read(file)), tmp_path / "out.dcm", derivation=FINER)
    derived, source = pydicom.dcmread(tmp_path / "out.dcm"), pydicom.dcmread(file)
    (shared,) = derived.SharedFunctionalGroupsSequence
    (measures,) = shared.PixelMeasuresSequence
    assert (measures.SliceThickness, measures.SpacingBetweenSlices, list(measures.PixelSpacing)) == (2, 2, [0.5, 0.75])
    assert derived.DimensionOrganizationType == "3D" and derived.SyntheticData == "YES"
    assert [index.DimensionIndexPointer for index in derived.DimensionIndexSequence] == [0x00209056, 0x00209057]
    (organisation,) = derived.DimensionOrganizationSequence
    assert {index.DimensionOrganizationUID for index in derived.DimensionIndexSequence} == {
        organisation.DimensionOrganizationUID
    }
    sources = []
    for k, group in enumerate(derived.PerFrameFunctionalGroupsSequence):
        (content,) = group.FrameContentSequence
        assert list(content.DimensionIndexValues) == [1, k + 1] == [int(content.StackID), content.InStackPositionNumber]
        assert "TemporalPositionIndex" not in content and content.FrameComments == "Synthetic frame"
        assert group.MRImageFrameTypeSequence[0].FrameType == ["DERIVED", "PRIMARY", "T2", "RESAMPLED"]
        (reference,) = group.DerivationImageSequence[0].SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        numbers = reference.ReferencedFrameNumber
        sources.append([numbers] if isinstance(numbers, int) else list(numbers))
    assert sources == [[4], [3, 4], [3, 4], [3], [2, 3], [2, 3], [2], [1, 2], [1, 2], [1]]


def test_slices_beyond_the_ends_and_across_name_what_they_can(enhanced, tmp_path: Path) -> None:
    source = io.read(enhanced())
    beyond = np.array(source.affine)
    beyond[:3, 3] -= beyond[:3, 0]
    turned = np.array(source.affine)[:, [1, 0, 2, 3]]
    for affine, expected in ((beyond, [4]), (turned, None)):
        volume = Volume.from_array(source.voxels, affine=affine, scale=2, offset=-1, source=source.source)
        io.write(volume, tmp_path / "out.dcm", overwrite=True)
        np.testing.assert_allclose(io.read(tmp_path / "out.dcm").reoriented("RAS").affine[:3, 3],
                                   volume.reoriented("RAS").affine[:3, 3], atol=1e-6)  # fmt: skip
        first = pydicom.dcmread(tmp_path / "out.dcm").PerFrameFunctionalGroupsSequence[0]
        (reference,) = first.DerivationImageSequence[0].SourceImageSequence
        assert ([reference.ReferencedFrameNumber] if "ReferencedFrameNumber" in reference else None) == expected


def test_another_contrast_has_its_own_scale_window_and_name(enhanced, tmp_path: Path) -> None:
    source = io.read(enhanced(PixelPaddingValue=0))
    made = Volume.from_array(
        np.full(source.shape, 256, np.uint16), affine=source.affine, scale=1 / 256, levels=(0, 65535),
        source=source.source,
    )  # fmt: skip
    io.write(made, tmp_path / "out.dcm", derivation=T1)
    again = io.read(tmp_path / "out.dcm")
    assert (again.scale, again.offset) == (1 / 256, 0) and np.all(again.real() == 1)
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert derived.AcquisitionContrast == "T1" and derived.SeriesDescription == "T1 synthetic"
    assert list(derived.ImageType) == ["DERIVED", "PRIMARY", "T1", "RESAMPLED"]
    assert derived.BitsStored == 16 and "PixelPaddingValue" not in derived
    assert "MREchoSequence" not in derived.SharedFunctionalGroupsSequence[0]
    for group in derived.PerFrameFunctionalGroupsSequence:
        assert group.MRImageFrameTypeSequence[0].FrameType[2] == "T1"
        (shown,) = group.FrameVOILUTSequence
        assert (float(shown.WindowCenter), float(shown.WindowWidth)) == pytest.approx((128, 256), rel=1e-4)


def test_what_its_class_cannot_hold_is_refused(enhanced, tmp_path: Path) -> None:
    source = io.read(enhanced())
    narrow = source.with_voxels(source.voxels.astype(np.uint8))
    with pytest.raises(UnsupportedError, match="other numbers"):
        io.write(narrow, tmp_path / "no.dcm")
    sheared = np.array(source.affine)
    sheared[:3, 2] += 0.1 * sheared[:3, 1]
    with pytest.raises(UnsupportedError, match="not perpendicular"):
        io.write(Volume.from_array(source.voxels, affine=sheared, source=source.source), tmp_path / "no.dcm")
    assert not (tmp_path / "no.dcm").exists()


def test_the_validator_finds_no_error_that_the_source_has_not(enhanced, validate, tmp_path: Path) -> None:
    file = enhanced()
    source = io.read(file)
    io.write(finer(source), tmp_path / "finer.dcm", derivation=FINER)
    io.write(source, tmp_path / "t1.dcm", derivation=T1)
    for made in ("finer.dcm", "t1.dcm"):
        assert validate(tmp_path / made) - validate(file) == set()


@pytest.mark.reference
def test_a_real_enhanced_object_at_a_finer_spacing(reference: Path, validate, tmp_path: Path) -> None:
    file = reference / "data" / "brain_mr" / "tumour_T2_axial_enhanced.dcm"
    source = io.read(file, as_="volume")
    assert isinstance(source, Volume)
    made = finer(source)
    io.write(made, tmp_path / "out.dcm", derivation=FINER)
    io.write(made, tmp_path / "t1.dcm", derivation=T1)
    again = io.read(tmp_path / "out.dcm", as_="volume")
    assert isinstance(again, Volume)
    assert np.array_equal(again.voxels, made.voxels) and again.shape[0] == 70
    np.testing.assert_allclose(again.affine, made.affine, atol=1e-6)
    for name in ("out.dcm", "t1.dcm"):
        assert validate(tmp_path / name) - validate(file) == set()
    assert len(read_cine(tmp_path / "out.dcm", as_cine=True)) == 70
