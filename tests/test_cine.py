"""`Cine` keeps stored pixels as they are, and its unit scale has an exact way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scanweave.cine import Cine, Display
from scanweave.errors import InputError

INTEGERS = [np.uint8, np.int8, np.uint16, np.int16]


@given(
    dtype=st.sampled_from(INTEGERS),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_every_stored_integer_survives_the_unit_scale(dtype, shape, data):
    frames = data.draw(arrays(dtype, shape))
    cine = Cine.from_array(frames, fps=25)
    for i in range(len(cine)):
        unit = cine.unit(i)
        assert unit.dtype == np.float32
        assert unit.shape == (1, *shape[1:])
        assert unit.min() >= 0
        assert unit.max() <= 1
        assert np.array_equal(cine.stored(unit), frames[i])


def test_all_65536_levels_survive_the_unit_scale():
    frames = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    cine = Cine.from_array(frames)
    assert np.array_equal(cine.stored(cine.unit(0)), frames[0])


def test_colour_is_channel_first_in_a_job_and_last_in_a_file():
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    cine = Cine.from_array(frames, fps=10)
    assert cine.unit(1).shape == (3, 4, 5)
    assert np.array_equal(cine.stored(cine.unit(1)), frames[1])
    assert cine.is_colour


def test_palette_is_resolved_for_a_job_and_found_again():
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 255], [255, 255, 255]], np.uint8)
    frames = np.array([[[10, 11], [12, 13]]], np.uint8)
    cine = Cine.from_array(frames, display=Display(palette=palette, palette_first=10))
    assert np.allclose(np.moveaxis(cine.unit(0), 0, -1)[1, 0] * 255, [0, 128, 255])
    assert np.array_equal(cine.stored(cine.unit(0)), frames[0])
    assert cine.is_colour


def test_levels_are_the_depth_for_integers_and_the_range_for_floats():
    assert Cine.from_array(np.zeros((1, 2, 2), np.uint8)).levels == (0, 255)
    assert Cine.from_array(np.zeros((1, 2, 2), np.int16)).levels == (-32768, 32767)
    assert Cine.from_array(np.zeros((1, 2, 2), np.uint16), levels=(0, 1023)).levels == (0, 1023)
    run = np.linspace(-2, 6, 8, dtype=np.float32).reshape(2, 2, 2)
    assert Cine.from_array(run).levels == (-2, 6)
    assert Cine.from_array(np.full((1, 2, 2), 3.0)).levels == (3, 4), "a constant run still has a range"


def test_bool_is_one_bit():
    cine = Cine.from_array(np.array([[[True, False]]]))
    assert (cine.dtype, cine.levels) == (np.uint8, (0, 1))
    assert cine.unit(0).tolist() == [[[1.0, 0.0]]]


def test_made_values_are_rounded_and_clamped_never_wrapped():
    cine = Cine.from_array(np.zeros((1, 1, 3), np.uint8))
    assert cine.stored(np.array([[[-0.5, 0.5 / 255 + 1e-4, 1.5]]])).tolist() == [[0, 1, 255]]


def test_frames_are_read_once_and_cannot_be_changed():
    loads: list[int] = []

    def load(i):
        loads.append(i)
        return np.full((2, 2), i, np.uint8)

    cine = Cine(load, shape=(2, 2), dtype=np.uint8, times=[0, 1, 2])
    assert cine.frame(1) is cine.frame(1)
    assert cine.frame(-1)[0, 0] == 2
    assert loads == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        cine.frame(0)[0, 0] = 9
    with pytest.raises(IndexError):
        cine.frame(3)


def test_other_pixels_keep_all_else():
    cine = Cine.from_array(np.arange(4, dtype=np.uint8).reshape(2, 2, 1), fps=10, levels=(0, 15))
    other = cine.with_frames(lambda i: 15 - cine.frame(i))
    assert other.frame(1).ravel().tolist() == [13, 12]
    assert (other.levels, other.times.tolist(), other.source) == (cine.levels, cine.times.tolist(), cine.source)


def test_select_keeps_true_times():
    cine = Cine.from_array(np.arange(5, dtype=np.uint8).reshape(5, 1, 1), fps=10)
    part = cine.select([0, 2, 4])
    assert part.times == pytest.approx([0, 0.2, 0.4])
    assert [int(frame[0, 0]) for frame in part] == [0, 2, 4]
    assert part.fps == pytest.approx(5)


@pytest.mark.parametrize(
    ("array", "times", "reason"),
    [
        (np.zeros((0, 4, 4), np.uint8), None, "no frames"),
        (np.zeros((2, 4, 4), np.uint8), [0, 0], "do not increase"),
        (np.zeros((2, 4, 4), np.uint8), [0, np.nan], "do not increase"),
        (np.zeros((2, 4, 4, 2), np.uint8), None, "neither grey"),
        (np.zeros((2, 0, 4), np.uint8), None, "neither grey"),
        (np.zeros((4, 4), np.uint8), None, "not \\(frame, row, column"),
        (np.zeros((2, 4, 4), complex), None, "no grey values"),
    ],
)
def test_what_is_no_run_is_refused(array, times, reason):
    with pytest.raises(InputError, match=reason):
        Cine.from_array(array, times=times)


def test_nan_is_refused_when_the_frame_is_used():
    frames = np.ones((2, 3, 3), np.float32)
    frames[1, 1, 1] = np.nan
    cine = Cine.from_array(frames, levels=(0, 1))
    cine.unit(0)
    with pytest.raises(InputError, match="frame 1 holds values that are not numbers"):
        cine.unit(1)


def test_a_frame_of_another_size_is_refused():
    cine = Cine(lambda i: np.zeros((2, 2 + i), np.uint8), shape=(2, 2), dtype=np.uint8, times=[0, 1])
    cine.frame(0)
    with pytest.raises(InputError, match="frame 1 is \\(2, 3\\)"):
        cine.frame(1)


def test_pictures_are_windowed_and_inverted_as_the_file_says():
    frames = np.array([[[0, 100, 200, 255]]], np.uint8)
    plain = Cine.from_array(frames).shown(0)
    assert plain[0, :, 0].tolist() == [0, 100, 200, 255]
    windowed = Cine.from_array(frames, display=Display(window=(100, 200))).shown(0)
    assert windowed[0, :, 0].tolist() == [0, 0, 255, 255]
    inverted = Cine.from_array(frames, display=Display(inverted=True)).shown(0)
    assert inverted[0, :, 0].tolist() == [255, 155, 55, 0]


def test_a_deep_run_without_a_window_is_shown_by_what_it_uses():
    frames = np.linspace(1000, 1400, 2 * 64 * 64).reshape(2, 64, 64).astype(np.uint16)
    run = Cine.from_array(frames)
    assert run.shown_range == pytest.approx((1000, 1400), abs=2)
    assert run.shown(0).min() == 0
    assert run.shown(1).max() == 255
    assert Cine.from_array(frames, display=Display(window=(0, 4095))).shown_range == (0, 4095)
