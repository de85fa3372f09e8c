"""Counts to numbers and back: fields, windows, depths, and frames that show nothing."""

from __future__ import annotations

import numpy as np
import pytest

from scanweave.cine import Cine
from scanweave.errors import InputError, UnsupportedError
from scanweave.fusion.frames import Field, Frames, depth, matching


def counts(*, top=3000, frames=3, seed=0):
    return np.random.default_rng(seed).integers(100, top, (frames, 6, 8)).astype(np.uint16)


def test_a_flat_field_gives_transmissions_and_is_undone():
    rng = np.random.default_rng(1)
    dark, light = rng.uniform(90, 110, (6, 8)), rng.uniform(2000, 4000, (6, 8))
    through = rng.uniform(0.1, 0.9, (2, 6, 8))
    cine = Cine.from_array((dark + light * through).astype(np.float32), fps=10)
    field = Field.of((6, 8), dark=dark.astype(np.float32), flat=(dark + light).astype(np.float32))
    frames = Frames.of(cine, "fast", field=field)
    assert frames.window == (0, 1)
    np.testing.assert_allclose(frames.unit(1), through[1], atol=1e-5)
    np.testing.assert_allclose(frames.values(frames.unit(1)), through[1], atol=1e-5)


@pytest.mark.parametrize(("top", "expected"), [(200, 255), (900, 1023), (4000, 4095), (9000, 16383), (60000, 65535)])
def test_the_depth_is_what_the_counts_use(top, expected):
    assert depth(Cine.from_array(counts(top=top), fps=1)) == (0, expected)


def test_counts_are_kept_apart_from_their_depth_and_never_clamped():
    frames = Frames.of(Cine.from_array(counts(), fps=1), "sharp", window=(1000, 2000))
    unit = frames.unit(0)
    assert unit.min() < 0
    assert unit.max() > 1
    np.testing.assert_allclose(frames.values(unit), frames.cine.frame(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"flat": np.ones((5, 8), np.float32)}, "the flat field has 5 x 8"),
        ({"dark": np.full((6, 8), np.nan, np.float32)}, "not numbers"),
        ({"dark": np.full((6, 8), 9, np.float32), "flat": np.full((6, 8), 3, np.float32)}, "no brighter than the dark"),
    ],
)
def test_wrong_fields_are_refused(field, said):
    with pytest.raises(InputError, match=said):
        Field.of((6, 8), **field)


def test_dead_pixels_of_a_flat_get_the_median():
    flat = np.full((20, 20), 50, np.float32)
    flat[3, 4] = 0
    field = Field.of((20, 20), flat=flat)
    assert field.gain[3, 4] == 50
    assert "1 pixels" in field.notes[0]


def test_frames_that_show_nothing_are_named():
    run = counts()
    run[1] = 500
    run[2] = 4095
    run[2, 0, 0] = 17
    frames = Frames.of(Cine.from_array(run, fps=1), "fast")
    with pytest.raises(InputError, match="frame 1 of the fast camera is dead"):
        frames.unit(1)
    with pytest.raises(InputError, match="frame 2 of the fast camera is saturated in 98%"):
        frames.unit(2)
    broken = np.ones((2, 6, 8), np.float32)
    broken[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        Frames.of(Cine.from_array(broken, fps=1, levels=(0, 1)), "fast").unit(0)


def test_colours_and_empty_windows_are_refused():
    with pytest.raises(UnsupportedError, match="colours"):
        Frames.of(Cine.from_array(np.zeros((2, 4, 4, 3), np.uint8)), "fast")
    with pytest.raises(InputError, match="window"):
        Frames.of(Cine.from_array(counts()), "fast", window=(3, 3))


def test_intensities_are_matched_by_a_line():
    rng = np.random.default_rng(0)
    sharp = rng.random(500)
    scale, shift = matching(0.5 * sharp + 0.2 + rng.normal(0, 0.05, 500), sharp)
    assert scale == pytest.approx(2, rel=0.05)
    assert shift == pytest.approx(-0.4, abs=0.03)
    with pytest.raises(InputError, match="do not show the same"):
        matching(1 - sharp, sharp)
