from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.cine import Cine, Source
from scanweave.errors import InputError, UsageError
from scanweave.interpolation.timeline import (
    MOST_FRAMES,
    Slot,
    exposure_share_saved,
    exposures_saved,
    schedule,
    without_duplicates,
)
from scanweave.trust.survey import survey

gaps = st.lists(st.floats(1e-3, 10.0), min_size=1, max_size=20)
runs = st.builds(lambda start, steps: start + np.concatenate([[0.0], np.cumsum(steps)]), st.floats(-5, 5), gaps)


def check(slots: tuple[Slot, ...], times: np.ndarray) -> None:
    """Assert what holds of every schedule."""
    assert [s.index for s in slots] == list(range(len(slots)))
    assert np.all(np.diff([s.time for s in slots]) > 0)
    for slot in slots:
        i, j = slot.pair
        if slot.kind == "acquired":
            assert i == j == slot.nearest
            assert (slot.time, slot.t) == (times[i], 0.0)
        else:
            assert j == i + 1
            assert 0 < slot.t < 1
            assert times[i] < slot.time < times[j]
            assert slot.time == pytest.approx(times[i] + slot.t * (times[j] - times[i]), rel=1e-9, abs=1e-12)
            assert slot.nearest == (i if slot.t <= 0.5 else j)


# The published rule: (frames - 1) * factor + 1.
@pytest.mark.parametrize("frames", [2, 4, 30])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8, 12])
def test_counts(frames: int, factor: int) -> None:
    times = np.arange(frames) / 30
    slots = schedule(times, factor=factor)
    assert len(slots) == (frames - 1) * factor + 1
    assert slots == schedule(times, inter_frames=factor - 1)
    assert [s.pair[0] for s in slots if s.kind == "acquired"] == list(range(frames))
    check(slots, times)


def test_the_echo_slowed_four_times_keeps_its_time() -> None:
    times = np.arange(30) * 0.033333
    slots = schedule(times, factor=4)
    assert len(slots) == 117
    assert slots[-1].time == times[-1]
    np.testing.assert_allclose(np.diff([s.time for s in slots]), 0.00833325, rtol=1e-9)


@given(times=runs, factor=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_any_times_any_factor(times: np.ndarray, factor: int) -> None:
    slots = schedule(times, factor=factor)
    check(slots, times)
    assert len(slots) == (len(times) - 1) * factor + 1
    for i, gap in enumerate(np.diff(times)):
        within = np.diff([s.time for s in slots[i * factor : (i + 1) * factor + 1]])
        assert within.sum() == pytest.approx(gap)
        np.testing.assert_allclose(within, gap / factor, rtol=1e-6)


@given(times=runs, fps=st.floats(0.5, 120.0))
@settings(max_examples=100, deadline=None)
def test_any_times_any_rate(times: np.ndarray, fps: float) -> None:
    slots = schedule(times, to_fps=fps)
    check(slots, times)
    assert slots[0].kind == "acquired"
    assert slots[-1].time <= times[-1]
    assert times[-1] - slots[-1].time < 1 / fps
    for k, slot in enumerate(slots):
        assert abs(slot.time - (times[0] + k / fps)) <= 0.0101 / fps


@given(data=st.data(), times=runs)
@settings(max_examples=100, deadline=None)
def test_any_listed_times(data: st.DataObject, times: np.ndarray) -> None:
    shares = data.draw(st.lists(st.integers(0, 1000), min_size=1, max_size=20, unique=True).map(sorted))
    wanted = [float(times[0] + (times[-1] - times[0]) * (share / 1000)) for share in shares]
    slots = schedule(times, at_times=[time - float(times[0]) for time in wanted])
    check(slots, times)
    np.testing.assert_allclose([s.time for s in slots], wanted, atol=1e-4)


def test_a_slot_on_an_acquired_time_is_that_frame() -> None:
    times = np.arange(31) * 0.033333  # as DICOM rounds 1/30 s
    kinds = [s.kind for s in schedule(times, to_fps=60)]
    assert kinds == ["acquired", "made"] * 30 + ["acquired"]
    slots = schedule([0.0, 1.0, 2.5], at_times=[1e-9, 0.5, 1.0 - 1e-8, 2.0, 2.5 + 1e-9])
    assert [s.kind for s in slots] == ["acquired", "made", "acquired", "made", "acquired"]
    assert (slots[3].pair, slots[3].t) == ((1, 2), pytest.approx(2 / 3))


def test_uneven_times_are_resampled_evenly() -> None:
    slots = schedule([0.0, 0.1, 0.4], to_fps=10)
    assert [(s.kind, s.pair) for s in slots] == [
        ("acquired", (0, 0)),
        ("acquired", (1, 1)),
        ("made", (1, 2)),
        ("made", (1, 2)),
        ("acquired", (2, 2)),
    ]
    assert [slots[2].t, slots[3].t] == pytest.approx([1 / 3, 2 / 3])


def test_nothing_is_made_across_a_cut() -> None:
    slots = schedule(np.arange(4.0), factor=4, cuts=(2,))
    kinds = [s.kind for s in slots]
    assert kinds == ["acquired", *["made"] * 3, "acquired", *["copied"] * 3, "acquired", *["made"] * 3, "acquired"]
    assert [s.nearest for s in slots[5:8]] == [1, 1, 2]
    check(slots, np.arange(4.0))
    assert [s.kind for s in schedule(np.arange(4.0), at_times=[1.2, 2.2], cuts=(2,))] == ["copied", "made"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "none of"),
        ({"factor": 2, "to_fps": 60.0}, "factor and to_fps"),
        ({"factor": 0}, "factor 0"),
        ({"factor": -1}, "factor -1"),
        ({"factor": 2.5}, "factor 2.5"),
        ({"factor": True}, "factor True"),
        ({"inter_frames": -1}, "inter_frames -1"),
        ({"to_fps": 0.0}, "0.0 frames per second"),
        ({"to_fps": math.nan}, "nan frames per second"),
        ({"to_fps": 30.0, "time_unit": "frame"}, "needs times in seconds"),
        ({"to_fps": 1e12}, "output frames asked for"),
        ({"factor": MOST_FRAMES}, "output frames asked for"),
        ({"at_times": []}, "empty list"),
        ({"at_times": [0.5, 0.5]}, "do not increase"),
        ({"at_times": [1.0, 0.5]}, "do not increase"),
        ({"at_times": [0.5, 2.5]}, "outside the run"),
        ({"at_times": [-0.5]}, "outside the run"),
        ({"at_times": [math.nan]}, "outside the run"),
        ({"at_times": [1.0, 1.0 + 1e-9]}, "both acquired frame 1"),
    ],
)
def test_requests_that_make_no_sense(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        schedule([0.0, 1.0, 2.0], **options)
    assert caught.value.remedy


def test_listed_times_count_from_the_first_frame() -> None:
    slots = schedule([5.0, 6.0, 7.0], at_times=[0.25, 1.0])
    assert [(s.kind, s.time, s.pair, s.t) for s in slots] == [
        ("made", 5.25, (0, 1), 0.25),
        ("acquired", 6.0, (1, 1), 0.0),
    ]


def test_the_range_is_named() -> None:
    with pytest.raises(UsageError, match=r"lasts 0\.5 s"):
        schedule([0.5, 1.0], at_times=[0.75])


@pytest.mark.parametrize("times", [[], [0.0]])
def test_a_single_frame_has_no_gap(times: list[float]) -> None:
    with pytest.raises(InputError, match="no gap to fill"):
        schedule(times, factor=2)


def test_without_duplicates_keeps_true_times_trim_and_files() -> None:
    values = np.array([1, 2, 2, 2, 5, 6, 6], np.uint8)
    cine = Cine.from_array(
        np.broadcast_to(values[:, None, None], (7, 3, 3)),
        fps=10,
        source=Source(trim=(2, 5), files=tuple(Path(f"{k}.png") for k in range(7))),
    )
    found = survey(cine)
    assert found.duplicates == (2, 3, 6)
    kept = without_duplicates(cine, found)
    assert [int(f[0, 0]) for f in kept] == [1, 2, 5, 6]
    np.testing.assert_array_equal(kept.times, cine.times[[0, 1, 4, 5]])
    assert kept.source.trim == (1, 3)
    assert [f.stem for f in kept.source.files] == ["0", "1", "4", "5"]


def test_without_duplicates_leaves_other_runs_alone() -> None:
    cine = Cine.from_array(np.arange(12, dtype=np.uint8).reshape(3, 2, 2), fps=10)
    assert without_duplicates(cine, survey(cine)) is cine


def test_a_run_of_one_picture_is_refused() -> None:
    cine = Cine.from_array(np.zeros((4, 2, 2), np.uint8), fps=10)
    with pytest.raises(InputError, match="all 4 frames are the same"):
        without_duplicates(cine, survey(cine))


@pytest.mark.parametrize(("inter_frames", "percent"), [(1, 50), (2, 67), (3, 75)])
def test_exposures_saved_as_the_authors_count(inter_frames: int, percent: int) -> None:
    assert round(100 * exposure_share_saved(inter_frames + 1)) == percent
    assert f"saves {percent} % of the exposures" in exposures_saved(inter_frames + 1)
