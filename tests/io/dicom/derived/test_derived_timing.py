"""Times, rates and frame numbers of derived objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UltrasoundMultiFrameImageStorage, XRayAngiographicImageStorage

from scanweave.cine import Cine, Derivation, FrameRecord
from scanweave.io.dicom import read_cine
from scanweave.io.dicom.derived import write_cine
from scanweave.io.dicom.derived_timing import decimal, write_frame_times

US, XA = UltrasoundMultiFrameImageStorage, XRayAngiographicImageStorage
FRAMES = np.arange(5 * 6 * 8, dtype=np.uint8).reshape(5, 6, 8)


@pytest.fixture
def derive(dicom, slowed: Callable[..., Cine], tmp_path: Path) -> Callable[..., tuple[Dataset, tuple[str, ...]]]:
    """Write a file, slow it down, derive; return the derived header and the notes."""

    def run(sop_class: str, factor: int = 4, *, derived: dict[str, Any] | None = None, **elements: Any):
        cine = read_cine(dicom(sop_class, FRAMES, **elements))
        notes = write_cine(slowed(cine, factor, **(derived or {})), tmp_path / "out.dcm")
        return pydicom.dcmread(tmp_path / "out.dcm"), notes

    return run


def test_decimal_strings_have_no_float_noise() -> None:
    assert decimal(33.333 / 4) == "8.33325"
    assert decimal(0.1 + 0.2) == "0.3"
    assert len(decimal(1e-7 / 3)) <= 16


def test_uneven_times_become_a_vector_of_the_same_sum(derive) -> None:
    vector = ["0", "33.333", "50", "33.333", "38.333"]
    derived, _ = derive(US, 3, FrameTimeVector=vector, FrameTime=None, FrameIncrementPointer=0x00181065)
    steps = [float(step) for step in derived.FrameTimeVector]
    assert len(steps) == derived.NumberOfFrames == 13
    assert steps[0] == 0
    assert sum(steps) == pytest.approx(sum(map(float, vector)), abs=1e-9)
    assert sum(steps[4:7]) == pytest.approx(50, abs=2e-6)
    assert derived.FrameIncrementPointer == 0x00181065
    assert "FrameTime" not in derived


def test_even_times_of_a_vector_become_a_frame_time(derive) -> None:
    derived, _ = derive(US, 4, FrameTimeVector=["0"] + ["20"] * 4, FrameTime=None, FrameIncrementPointer=0x00181065)
    assert derived.FrameTime == 5
    assert "FrameTimeVector" not in derived


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 500), min_size=1, max_size=40))
def test_no_rounding_accumulates(steps: list[float]) -> None:
    dataset = Dataset()
    write_frame_times(dataset, np.array(steps))
    if "FrameTimeVector" in dataset:
        written = [float(step) for step in dataset.FrameTimeVector]
        np.testing.assert_allclose(np.cumsum(written), [0, *np.cumsum(steps)], atol=1e-5)
    else:
        assert float(dataset.FrameTime) * len(steps) == pytest.approx(sum(steps), rel=1e-8)


def test_display_axis_keeps_the_frame_time_and_says_so(derive) -> None:
    derived, notes = derive(US, 4, derived={"time_axis": "display"})
    assert derived.FrameTime == 40
    assert "all times measured by them, are 4 times too long" in derived.DerivationDescription
    assert any("4 times too long" in note for note in notes)


def test_unknown_times_are_said_to_be_unknown(derive) -> None:
    derived, _ = derive(US, 2, FrameTime=None, FrameIncrementPointer=None, derived={"playback_rate": 10.0})
    assert derived.FrameTime == 100
    assert "True frame times are unknown" in derived.DerivationDescription
    assert derived.CineRate == 10


@pytest.mark.parametrize(
    ("stated", "asked", "written"), [(12.4, None, 12), (None, None, 25), (12.4, 60.0, 60), (0.2, None, 1)]
)
def test_rates_are_integers(
    dicom, slowed, tmp_path: Path, stated: float | None, asked: float | None, written: int
) -> None:
    cine = slowed(read_cine(dicom(US, FRAMES)), 4, playback_rate=stated)
    write_cine(cine, tmp_path / "out.dcm", playback_fps=asked)
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert (derived.CineRate, derived.RecommendedDisplayFrameRate) == (written, written)


def test_physiological_time_is_unchanged(derive) -> None:
    kept = {
        "EffectiveDuration": "0.2",
        "RWaveTimeVector": [12.5, 130.0],
        "HeartRate": 61,
        "TriggerTime": "7",
        "FrameDelay": "3",
    }
    derived, _ = derive(US, **kept)
    for name, value in kept.items():
        assert derived[name].value == (value if name != "EffectiveDuration" else float(value)), name


def test_frame_numbers_follow_the_frames(derive) -> None:
    mask, by_offset, empty = Dataset(), Dataset(), Dataset()
    mask.MaskOperation, mask.MaskFrameNumbers, mask.ApplicableFrameRange = "AVG_SUB", [1, 2], [3, 5]
    by_offset.MaskOperation, by_offset.TIDOffset = "TID", 2
    empty.MaskOperation, empty.MaskFrameNumbers = "NONE", 0
    elsewhere, here = Dataset(), Dataset()
    elsewhere.ReferencedSOPClassUID, elsewhere.ReferencedSOPInstanceUID, elsewhere.ReferencedFrameNumber = (
        XA,
        "1.2.3",
        4,
    )
    here.ReferencedFrameNumber = 4
    derived, notes = derive(
        XA,
        MaskSubtractionSequence=[mask, by_offset, empty],
        StartTrim=2,
        StopTrim=5,
        RepresentativeFrameNumber=3,
        RWavePointer=[1, 4],
        FrameNumbersOfInterest=9,
        ReferencedImageSequence=[elsewhere],
        RelatedSeriesSequence=[here],
    )
    assert (derived.StartTrim, derived.StopTrim, derived.RepresentativeFrameNumber) == (5, 17, 9)
    assert list(derived.RWavePointer) == [1, 13]
    first, second, third = derived.MaskSubtractionSequence
    assert list(first.MaskFrameNumbers) == [1, 5]
    assert list(first.ApplicableFrameRange) == [9, 17]
    assert second.TIDOffset == 8
    assert third.MaskFrameNumbers == 0
    assert derived.ReferencedImageSequence[0].ReferencedFrameNumber == 4, "a frame of another instance"
    assert derived.RelatedSeriesSequence[0].ReferencedFrameNumber == 13, "a frame of this one"
    assert "FrameNumbersOfInterest" not in derived
    assert "FrameNumbersOfInterest dropped: it names no frame of the output" in notes


def test_values_per_frame_are_interpolated(derive) -> None:
    derived, notes = derive(
        XA,
        2,
        PositionerPrimaryAngleIncrement=[0, 1, 2, 4, 8],
        PositionerSecondaryAngleIncrement=3,
        TableVerticalIncrement=[1, 2],
        FrameLabelVector=["a", "b", "c", "d", "e"],
        SliceLocationVector=[0, 0, 0, 10, 10],
    )
    np.testing.assert_allclose(derived.PositionerPrimaryAngleIncrement, [0, 0.5, 1, 1.5, 2, 3, 4, 6, 8])
    assert derived.PositionerSecondaryAngleIncrement == 1.5
    assert list(derived.FrameLabelVector)[:4] == ["a", "SYNTHETIC", "b", "SYNTHETIC"]
    np.testing.assert_allclose(derived.SliceLocationVector, [0, 0, 0, 0, 0, 5, 10, 10, 10])
    assert "TableVerticalIncrement" not in derived
    assert "TableVerticalIncrement dropped: its values do not fit the frames" in notes


def test_a_part_of_the_run_counts_from_its_own_start(dicom, tmp_path: Path) -> None:
    source = read_cine(
        dicom(
            US, FRAMES, EffectiveDuration="0.2", RWaveTimeVector=[10.0, 90.0], TriggerTime="5", StartTrim=1, StopTrim=4
        )
    )
    records = [
        FrameRecord(k, 0.08 + 0.02 * k, "made" if k % 2 else "acquired", p, t)
        for k, (p, t) in enumerate([((2, 2), 0.0), ((2, 3), 0.5), ((3, 3), 0.0)])
    ]
    part = Cine(
        lambda k: source.frame(records[k].pair[0]),
        shape=source.shape,
        dtype=source.dtype,
        times=[record.time for record in records],
        source=source.source,
        records=records,
        derivation=Derivation(source_length=5, method="hold", summary="Part of a run"),
    )
    notes = write_cine(part, tmp_path / "out.dcm")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert "EffectiveDuration" not in derived
    assert "EffectiveDuration dropped: the output does not span the source" in notes
    assert (derived.RWaveTimeVector, derived.TriggerTime) == (10, 85)
    assert (derived.StartTrim, derived.StopTrim) == (1, 3)
    assert derived.SeriesDescription == "SLOMO (synthetic frames)"


def test_frames_chosen_from_a_run_lose_what_counts_frames(dicom, tmp_path: Path) -> None:
    chosen = read_cine(dicom(US, FRAMES, StartTrim=2)).select([0, 2, 4])
    notes = write_cine(chosen, tmp_path / "out.dcm")
    assert "StartTrim dropped: it names no frame of the output" in notes
    assert pydicom.dcmread(tmp_path / "out.dcm").FrameTime == 80
