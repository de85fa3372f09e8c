"""Functional groups of derived Enhanced objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from scanweave.io.dicom import read_cine
from scanweave.io.dicom.derived import write_cine

FRAMES = np.random.default_rng(4).integers(0, 4095, (3, 6, 8), np.uint16)


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def enhanced(times: list[str], delays: list[float]) -> dict[str, Any]:
    """Elements of an Enhanced MR run: one phase per frame at one position."""
    place = item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 5])])
    kind = item(FrameType=["ORIGINAL", "PRIMARY", "OTHER", "NONE"], PixelPresentation="MONOCHROME")
    shared = item(PlanePositionSequence=place.PlanePositionSequence, MRImageFrameTypeSequence=[kind])
    groups = [
        item(
            FrameContentSequence=[
                item(
                    FrameReferenceDateTime=time,
                    FrameAcquisitionDateTime=time,
                    FrameAcquisitionDuration=30.0,
                    StackID="1",
                    InStackPositionNumber=1,
                    DimensionIndexValues=[1, k + 1],
                )
            ],
            CardiacSynchronizationSequence=[item(NominalCardiacTriggerDelayTime=delay)],
        )
        for k, (time, delay) in enumerate(zip(times, delays, strict=True))
    ]
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER", "NONE"],
        "PulseSequenceName": "cine",
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": groups,
        "DimensionOrganizationSequence": [item(DimensionOrganizationUID="1.2.3.4")],
        "FrameTime": None,
        "FrameIncrementPointer": None,
        "BitsStored": 12,
        "Modality": "MR",
    }


TIMES = ["20240101235959.900000+0100", "20240102000000.000000+0100", "20240102000000.100000+0100"]


@pytest.fixture
def derive(
    dicom, slowed: Callable[..., Any], tmp_path: Path
) -> Callable[..., tuple[Dataset, Dataset, tuple[str, ...]]]:
    def run(factor: int = 2, **changes: Any) -> tuple[Dataset, Dataset, tuple[str, ...]]:
        elements = enhanced(TIMES, [0.0, 100.0, 200.0]) | changes
        source = dicom(uid.EnhancedMRImageStorage, FRAMES, **elements)
        cine = read_cine(source)
        notes = write_cine(slowed(cine, factor), tmp_path / "out.dcm")
        return pydicom.dcmread(source), pydicom.dcmread(tmp_path / "out.dcm"), notes

    return run


def test_one_item_per_frame_with_its_time(derive, tmp_path: Path) -> None:
    source, derived, _ = derive(2)
    np.testing.assert_array_equal(derived.pixel_array[::2], FRAMES)
    groups = derived.PerFrameFunctionalGroupsSequence
    assert derived.SOPClassUID == source.SOPClassUID
    assert len(groups) == derived.NumberOfFrames == 5
    content = [group.FrameContentSequence[0] for group in groups]
    assert [str(one.FrameReferenceDateTime) for one in content][:3] == [
        TIMES[0],
        "20240101235959.950000+0100",
        TIMES[1],
    ]
    delays = [group.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime for group in groups]
    np.testing.assert_allclose(delays, [0, 50, 100, 150, 200])
    assert ["FrameAcquisitionDuration" in one for one in content] == [True, False, True, False, True]
    assert [one.get("FrameComments") for one in content] == [None, "Synthetic frame"] * 2 + [None]
    np.testing.assert_allclose(read_cine(tmp_path / "out.dcm").times, np.arange(5) * 0.05, atol=1e-6)
    assert "FrameTime" not in derived and "FrameTimeVector" not in derived


def test_frame_types_sources_and_dimensions_agree(derive) -> None:
    source, derived, notes = derive(2)
    groups = derived.PerFrameFunctionalGroupsSequence
    types = [list(group.MRImageFrameTypeSequence[0].FrameType) for group in groups]
    assert types[:2] == [["DERIVED", "PRIMARY", "OTHER", "NONE"], ["DERIVED", "PRIMARY", "OTHER", "RESAMPLED"]]
    assert list(derived.ImageType) == ["DERIVED", "PRIMARY", "OTHER", "MIXED"]
    assert "MRImageFrameTypeSequence" not in derived.SharedFunctionalGroupsSequence[0]
    references = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in groups]
    assert {one.ReferencedSOPInstanceUID for one in references} == {source.SOPInstanceUID}
    assert [one.ReferencedFrameNumber for one in references] == [1, [1, 2], 2, [2, 3], 3]
    evidence = derived.SourceImageEvidenceSequence[0]
    assert evidence.StudyInstanceUID == source.StudyInstanceUID
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert [group.FrameContentSequence[0].DimensionIndexValues for group in groups] == [1, 2, 3, 4, 5]
    organisation = derived.DimensionOrganizationSequence[0].DimensionOrganizationUID
    assert organisation != "1.2.3.4"
    assert derived.DimensionIndexSequence[0].DimensionOrganizationUID == organisation
    assert "PulseSequenceName" not in derived
    assert any(note.startswith("PulseSequenceName dropped") for note in notes)


def test_frames_that_are_stored_in_another_order(derive) -> None:
    times = [TIMES[2], TIMES[0], TIMES[1]]
    elements = enhanced(times, [200.0, 0.0, 100.0])
    _, derived, _ = derive(
        2, PerFrameFunctionalGroupsSequence=elements["PerFrameFunctionalGroupsSequence"], StartTrim=2
    )
    np.testing.assert_array_equal(derived.pixel_array[::2], FRAMES[[1, 2, 0]])
    groups = derived.PerFrameFunctionalGroupsSequence
    references = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in groups]
    assert [one.ReferencedFrameNumber for one in references] == [2, [2, 3], 3, [3, 1], 1]
    assert derived.StartTrim == 1, "the file's second frame is the first in time"


def test_groups_that_do_not_cover_the_run_make_a_secondary_capture(derive) -> None:
    groups = enhanced(TIMES, [0.0, 100.0, 200.0])["PerFrameFunctionalGroupsSequence"][:2]
    _, derived, notes = derive(
        2, PerFrameFunctionalGroupsSequence=groups, FrameTime="40", FrameIncrementPointer=0x00181063
    )
    assert derived.SOPClassUID == uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    assert "PerFrameFunctionalGroupsSequence" not in derived
    assert derived.FrameTime == 20
    assert any("functional groups do not describe every frame" in note for note in notes)
