"""Frame times: each place that states them, their order of trust, and what is said where they disagree."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from scanweave.errors import UsageError
from scanweave.io.dicom import read_cine
from scanweave.io.dicom.timing import instance_timing, r_waves, run_timing, trim


def header(**elements: object) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def test_frame_time_is_in_milliseconds():
    timing = run_timing(header(FrameTime="33.333", FrameIncrementPointer=0x00181063), 3)
    np.testing.assert_allclose(timing.times, [0, 0.033333, 0.066666])
    assert (timing.unit, timing.origin, timing.notes) == ("s", "Frame Time", ())


@pytest.mark.parametrize(
    ("elements", "fps"),
    [
        ({"CineRate": 25}, 25),
        ({"RecommendedDisplayFrameRate": 15}, 15),
        ({"EffectiveDuration": 2.0}, 5),
        ({"ActualFrameDuration": 50}, 20),
        ({"FrameTime": "20", "CineRate": 50, "EffectiveDuration": 0.2}, 50),
    ],
)
def test_each_statement_of_a_rate_is_understood(elements, fps):
    timing = run_timing(header(**elements), 10)
    np.testing.assert_allclose(timing.times, np.arange(10) / fps)


def test_disagreement_above_two_percent_is_a_note_and_below_it_is_not():
    assert not run_timing(header(FrameTime="33", CineRate=30), 10).notes  # 1 %
    (note,) = run_timing(header(FrameTime="33", CineRate=25), 10).notes
    assert "Cine Rate means 25" in note and "--source-fps" in note


def test_the_frame_time_vector_holds_the_gap_before_each_frame():
    ds = header(FrameTimeVector=[7, 10, 30, 20], FrameTime="99", FrameIncrementPointer=0x00181065)
    timing = run_timing(ds, 4)
    np.testing.assert_allclose(timing.times, [0, 0.01, 0.04, 0.06])
    assert any("starts with 7 ms" in note for note in timing.notes)
    assert any("Frame Time means" in note for note in timing.notes)
    ds.FrameIncrementPointer = 0x00181063
    np.testing.assert_allclose(run_timing(ds, 4).times, np.arange(4) * 0.099)


@pytest.mark.parametrize("vector", [[0, 10, 0, 10], [0, 10, -1, 10], [0, 10], [0, 10, 10, 10, 10, 10]])
def test_an_unsound_vector_gives_way_to_the_next_statement(vector):
    timing = run_timing(header(FrameTimeVector=vector, CineRate=10, FrameIncrementPointer=0x00181065), 4)
    np.testing.assert_allclose(timing.times, np.arange(4) / 10)
    assert any("taken as absent" in note for note in timing.notes)


@pytest.mark.parametrize("rate", ["0", "-40", "1e30"])
def test_an_absurd_rate_is_absent_and_frames_are_counted(rate):
    timing = run_timing(header(FrameTime=rate), 3)
    assert timing.unit == "frame"
    assert any("taken as absent" in note for note in timing.notes)
    assert any("--source-fps" in note for note in timing.notes)


@given(gaps=st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40), offset=st.floats(0, 1e4))
def test_any_sound_vector_gives_strictly_increasing_times_from_zero(gaps, offset):
    timing = run_timing(header(FrameTimeVector=[f"{gap:.8g}" for gap in (offset, *gaps)]), len(gaps) + 1)
    assert timing.times[0] == 0
    assert np.all(np.diff(timing.times) > 0)


def test_the_user_overrides_everything_with_a_positive_rate():
    np.testing.assert_allclose(run_timing(header(FrameTime="33"), 3, source_fps=10).times, [0, 0.1, 0.2])
    for wrong in (0, -1, float("nan")):
        with pytest.raises(UsageError, match="is not a rate"):
            run_timing(header(), 3, source_fps=wrong)


def enhanced(times: list[Dataset]) -> Dataset:
    return header(PerFrameFunctionalGroupsSequence=Sequence(times))


def test_enhanced_frames_state_their_own_times_and_may_be_out_of_order():
    stamps = ["20200101101000.5", "20200101101000.1", "20200101101000.3"]
    groups = [header(FrameContentSequence=Sequence([header(FrameReferenceDateTime=stamp)])) for stamp in stamps]
    timing = run_timing(enhanced(groups), 3)
    np.testing.assert_allclose(timing.times, [0, 0.2, 0.4])
    assert timing.order == (1, 2, 0) and timing.per_frame


def test_enhanced_cardiac_phases_use_the_trigger_delay_where_clock_times_are_equal():
    groups = [
        header(
            FrameContentSequence=Sequence([header(FrameAcquisitionDateTime="20200101101000")]),
            CardiacSynchronizationSequence=Sequence([header(NominalCardiacTriggerDelayTime=40.0 * k)]),
        )
        for k in range(3)
    ]
    timing = run_timing(enhanced(groups), 3)
    np.testing.assert_allclose(timing.times, [0, 0.04, 0.08])
    offsets = [header(TemporalPositionSequence=Sequence([header(TemporalPositionTimeOffset=0.5 * k)])) for k in (0, 1)]
    np.testing.assert_allclose(run_timing(enhanced(offsets), 2).times, [0, 0.5])


@pytest.mark.parametrize(
    ("elements", "times"),
    [
        ([{"TriggerTime": "80"}, {"TriggerTime": "0"}, {"TriggerTime": "40"}], [0, 0.04, 0.08]),
        ([{"AcquisitionTime": f"10100{k}.5", "AcquisitionDate": "20200101"} for k in (4, 2, 3)], [0, 1, 2]),
        ([{"ContentTime": f"10100{k}"} for k in (4, 2, 3)], [0, 1, 2]),
        ([{"AcquisitionDateTime": f"2020010110100{k}.25"} for k in (4, 2, 3)], [0, 1, 2]),
        ([{"TemporalPositionIdentifier": k, "TemporalResolution": 500} for k in (4, 2, 3)], [0, 0.5, 1]),
        ([{"InstanceNumber": k, "FrameTime": "20"} for k in (4, 2, 3)], [0, 0.02, 0.04]),
    ],
)
def test_single_frames_are_ordered_and_timed(elements, times):
    timing = instance_timing([header(**each) for each in elements])
    np.testing.assert_allclose(timing.times, times)
    assert timing.unit == "s" and timing.order == ((1, 2, 0))


def test_single_frames_without_any_time_are_counted():
    timing = instance_timing([header(InstanceNumber=2), header(InstanceNumber=1)])
    assert timing.unit == "frame" and timing.order == (1, 0) and not timing.per_frame


def test_r_waves_come_in_milliseconds_or_as_frame_numbers():
    times = np.arange(10) * 0.1
    assert r_waves(header(RWaveTimeVector=[250.0, 50.0]), times, "s") == (0.05, 0.25)
    assert r_waves(header(RWavePointer=[1, 4, 11]), times, "s") == (0.0, pytest.approx(0.3))
    assert r_waves(header(RWavePointer=[4]), times, "frame") == ()


def test_trim_counts_from_one_in_the_file():
    notes: list[str] = []
    assert trim(header(StartTrim=2, StopTrim=5), 10, notes) == (1, 4)
    assert trim(header(), 10, notes) is None and not notes
    assert trim(header(StartTrim=5, StopTrim=20), 10, notes) is None and len(notes) == 1


def test_the_real_echo():
    cine = read_cine(pydicom.examples.get_path("ybr_color"))
    np.testing.assert_allclose(cine.times, np.arange(30) * 0.033333)
    assert cine.source.facts["Frame times"] == "30 frames per second, every 33.333 ms, by Frame Time"


@pytest.mark.reference
def test_the_real_uneven_echo(reference):
    cine = read_cine(reference / "data/echo/us_a4c_65f_frametimevector.dcm")
    gaps, counts = np.unique(np.round(np.diff(cine.times) * 1000, 3), return_counts=True)
    # The 65 entries are 46 x 33.333, 18 x 50.0 and 38.333 ms; the first (33.333) is before frame 0.
    assert dict(zip(gaps, counts, strict=True)) == {33.333: 45, 38.333: 1, 50.0: 18}
    assert any("starts with 33.333 ms" in note for note in cine.source.notes)


@pytest.mark.reference
def test_the_real_angiogram_has_an_r_wave_and_exposures(reference):
    cine = read_cine(reference / "data/dsa/xa_coronary_f000-047.dcm")
    assert cine.source.r_waves == (pytest.approx(19 * 0.033),)
    assert cine.source.facts["Exposures"] == "48 (one per frame)"
    assert cine.source.facts["Mask"] == "NONE"
