"""Shapes of the field, marks, and repeated frames."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scanweave.errors import UsageError
from scanweave.simulate import Mark, Sector, Shutter, held
from scanweave.simulate.overlay import draw_marks, marked


def test_a_sector_has_its_area():
    sector = Sector(apex=(63.5, 2.0), half_angle=0.6, near=10.0, far=110.0)
    mask = sector.mask((128, 128))
    assert mask.sum() == pytest.approx(0.6 * (110.0**2 - 10.0**2), rel=2e-3)
    assert mask.min() == 0
    assert mask.max() == 1
    np.testing.assert_allclose(mask, mask[:, ::-1], atol=1e-6)


def test_polar_coordinates_of_the_middle_beam():
    distance, angle = Sector(apex=(10.0, 5.0), half_angle=0.5, far=50.0).polar(
        np.array([10.0, 40.0]), np.array([25.0, 35.0])
    )
    np.testing.assert_allclose(distance, [20.0, 30 * math.sqrt(2)])
    np.testing.assert_allclose(angle, [0.0, math.pi / 4])


def test_a_shutter_is_round_and_cut_off():
    round_field = Shutter(centre=(49.5, 49.5), radius=40.0, half_width=60.0, half_height=60.0).mask((100, 100))
    assert round_field.sum() == pytest.approx(math.pi * 1600, rel=2e-3)
    cut = Shutter(centre=(49.5, 49.5), radius=100.0, half_width=20.0, half_height=30.0).mask((100, 100))
    assert cut.sum() == pytest.approx(40 * 60, rel=1e-6)


def test_marks_cover_what_lies_below_and_nothing_else():
    frame = np.full((64, 96), 0.3, np.float32)
    line = Mark(kind="line", start=(10.0, 20.0), end=(50.0, 20.0), level=0.9)
    shown = marked(frame, (line, Mark(kind="text", start=(4.0, 60.0), text="MI 0.9", level=1.0)))
    # Anti-aliased: a thin line is not quite opaque.
    assert np.all((shown[20, 11:50] > 0.8) & (shown[20, 11:50] <= 0.9))
    np.testing.assert_array_equal(shown[:15], frame[:15])
    assert shown[48:62, :60].max() > 0.9
    colour = marked(np.repeat(frame[..., None], 3, axis=2), (line,))
    np.testing.assert_array_equal(colour[..., 0], marked(frame, (line,)))


def test_drawn_marks_are_distinct():
    marks = draw_marks((128, 128), count=12, generator=np.random.default_rng(0))
    starts = [mark.start for mark in marks]
    assert len(starts) >= 12
    assert len(set(starts)) == len(starts)
    assert draw_marks((128, 128), count=0, generator=np.random.default_rng(0)) == ()


def test_repeated_frames_hold_the_time_before():
    np.testing.assert_array_equal(held([0, 1, 2, 3, 4], [2, 3]), [0, 1, 1, 1, 4])
    np.testing.assert_array_equal(held([0.5, 1], []), [0.5, 1])


@pytest.mark.parametrize("index", [0, 3, -1])
def test_impossible_repetitions_are_refused(index):
    with pytest.raises(UsageError, match=f"frame {index} of 3"):
        held([0, 1, 2], [index])
