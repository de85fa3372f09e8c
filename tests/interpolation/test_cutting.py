"""Which frames of a run make clips: two beats, boxes, stretches, as the published rules and ours have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from scanweave.cine import Cine, Region, Source
from scanweave.errors import UsageError
from scanweave.interpolation.cutting import (
    Box,
    box_around,
    cropped,
    in_8_bits,
    published_box,
    stretches,
    two_beats,
    windows,
)


@pytest.fixture(scope="module")
def rules(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "slowmo_echo" / "rules.json").read_text())


def _run(count: int, *, waves: list[float] = (), duration: float | None = None, fps: float | None = 50.0) -> Cine:
    header = Dataset()
    if duration is not None:
        header.EffectiveDuration = duration
    source = Source(header=header, r_waves=tuple(ms / 1000 for ms in waves))
    return Cine.from_array(np.zeros((count, 2, 2), np.uint8), fps=fps, source=source)


def test_two_beats_as_the_published_program_takes_them(rules):
    for case in rules["rwave_windows"]:
        run = _run(case["frames"], waves=case["rwave_ms"], duration=case["effective_duration_s"])
        frames, note = two_beats(run)
        assert (frames.start, frames.stop) == (case["start"], case["stop_exclusive"])
        assert (note is None) == (len(case["rwave_ms"]) > 3)


def test_without_a_duration_the_frame_times_say_which_frames_two_beats_are():
    frames, note = two_beats(_run(60, waves=[100, 350, 600, 850]))
    assert (frames, note) == (range(17, 42), None)
    uneven = _run(6, waves=[0, 45, 100, 160]).with_times([0, 0.02, 0.04, 0.1, 0.15, 0.2])
    assert two_beats(uneven)[0] == range(2, 4)


@pytest.mark.parametrize(
    ("run", "frames", "words"),
    [
        (_run(20), range(20), "no R waves"),
        (_run(20, waves=[10]), range(20), "1 R wave,"),
        (_run(20, waves=[0, 100, 200, 900]), range(5, 20), "cut short"),
        (_run(20, waves=[0, 100, 200, 900], duration=0.4), range(5, 20), "cut short"),
        (_run(20, waves=[0, 1000, 2000, 3000]), range(20), "outside the run"),
        (_run(20, waves=[0, 100, 200, 300], fps=None), range(20), "no frame times"),
    ],
)
def test_where_two_beats_cannot_be_taken_it_is_said(run, frames, words):
    found, note = two_beats(run)
    assert found == frames
    assert words in note


def test_boxes_as_the_published_program_cuts_them(rules):
    for case in rules["crop_boxes"]:
        region = None
        if case["region"] is not None:
            left, top, right, bottom = case["region"]
            region = Region((top, bottom + 1), (left, right + 1), "tissue-2d")
        box = published_box(region, case["columns"], width=case["width"], height=case["height"])
        assert [box.left, box.top, box.right, box.bottom] == case["pixel_box"]


@pytest.mark.parametrize(("width", "height"), [(63, 64), (0, 64), (64, 0)])
def test_boxes_that_make_no_sense_are_refused(width, height):
    with pytest.raises(UsageError, match="box"):
        published_box(None, 100, width=width, height=height)


@given(
    st.integers(-9, 9), st.integers(1, 16), st.integers(-9, 9), st.integers(1, 16), st.sampled_from(["u1", "i2", "f4"])
)
def test_what_lies_outside_the_image_is_black(top, height, left, width, dtype):
    frames = (np.arange(70).reshape(1, 7, 10) + 5).astype(dtype)
    run = Cine.from_array(frames, levels=(-3.0, 99.0) if dtype != "u1" else None)
    box = Box(top, top + height, left, left + width)
    cut = cropped(run, box).frame(0)
    assert cut.shape == (height, width)
    for y in range(height):
        for x in range(width):
            inside = 0 <= y + top < 7 and 0 <= x + left < 10
            assert cut[y, x] == (frames[0, y + top, x + left] if inside else run.levels[0])


def test_the_box_around_a_mask():
    mask = np.zeros((6, 8), bool)
    assert box_around(mask) == (0, 6, 0, 8)
    mask[2, 3] = mask[4, 5] = True
    assert box_around(mask) == (2, 5, 3, 6)


def test_what_is_shown_in_8_bits():
    deep = Cine.from_array(np.array([[[0, 1000], [2000, 4000]]], np.uint16), levels=(0, 4095))
    assert in_8_bits(deep).frame(0).dtype == np.uint8
    colour = Cine.from_array(np.full((1, 2, 2, 3), 7, np.uint8))
    np.testing.assert_array_equal(in_8_bits(colour).frame(0), colour.frame(0))


def test_clips_as_the_published_program_makes_them(rules):
    for case in rules["clips"]:
        parts = stretches(np.arange(case["frames"]) * 0.04, even=True) if case["frames"] else []
        clips = [clip for part in parts for clip in windows(part, 12, 12)]
        named = [[f"{clip[0]:06d}.png", f"{clip[-1]:06d}.png", len(clip)] for clip in clips]
        assert named == case["clips"]


@given(
    st.lists(st.sampled_from([1.0, 1.02, 2.0, 3.0]), max_size=30),
    st.sets(st.integers(1, 30)),
    st.booleans(),
)
def test_stretches_hold_every_frame_once_and_nothing_to_be_divided(gaps, cuts, even):
    times = np.concatenate([[0], np.cumsum(gaps)])
    parts = stretches(times, cuts=cuts, even=even)
    assert [frame for part in parts for frame in part] == list(range(len(times)))
    for part in parts:
        assert not cuts & set(part[1:])
        inside = np.diff(times[part.start : part.stop])
        assert not even or not len(inside) or np.ptp(inside) <= 0.05 * inside[0] + 1e-9


def test_windows_begin_a_stride_apart():
    assert windows(range(7), 3, 2) == [(0, 1, 2), (2, 3, 4), (4, 5, 6)]
    assert windows(range(2), 3, 1) == []
