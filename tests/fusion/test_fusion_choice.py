"""Which frames serve a moment: by time, no frame twice, nothing clamped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanweave.errors import InputError
from scanweave.fusion.choice import Choice
from scanweave.fusion.published_tables import Selection


def test_frames_before_and_after_with_their_distance():
    choice = Choice(np.arange(10.0), np.array([0.0, 4.0, 9.0]), around=1)
    pick = choice.pick(5.0)
    assert (pick.fast, pick.sharp, pick.middle) == ((4, 5, 6), (1, 2), 5)
    assert pick.t == pytest.approx(0.2)
    assert pick.late == 0


def test_moments_without_frames_are_left_out_and_why():
    choice = Choice(np.arange(1.0, 10.0), np.array([0.0, 4.0, 6.5]), around=1)
    picks, left_out = choice.split([0.2, 1.0, 2.0, 6.0, 7.0, 9.0])
    assert [pick.time for pick in picks] == [2.0, 6.0]
    reasons = [one.reason for one in left_out]
    assert "no coarse frame lies near" in reasons[0]
    assert "before" in reasons[1]
    assert "no sharp frame after" in reasons[2]
    with pytest.raises(InputError, match="nothing can be made at 7 s"):
        choice.pick(7.0)


def test_the_last_sharp_frame_ends_an_interval():
    pick = Choice(np.arange(5.0), np.array([0.0, 4.0])).pick(4.0)
    assert pick.sharp == (0, 1)
    assert pick.t == 1


def test_a_moment_between_coarse_frames_takes_the_nearest():
    choice = Choice(np.arange(5.0), np.array([0.0, 4.0]))
    assert choice.pick(1.4).middle == 1
    assert choice.pick(1.4).late == pytest.approx(-0.4)
    with pytest.raises(InputError):
        Choice(np.arange(5.0), np.array([0.0, 4.0]), tolerance=0.1).pick(1.4)


def test_a_published_choice_may_take_the_target_itself():
    choice = Choice(np.arange(5.0), np.array([0.0, 2.0, 4.0]), around=1)
    pick = choice.published(Selection((0, 0, 1), (0, 1), 0, leaks=True), 0.0)
    assert (pick.fast, pick.sharp, pick.t) == ((0, 0, 1), (0, 1), 0.0)


@given(
    st.lists(st.floats(0.1, 3.0), min_size=2, max_size=8),
    st.lists(st.floats(0.02, 1.0), min_size=3, max_size=20),
    st.floats(-1, 20),
)
def test_whatever_is_chosen_encloses_the_moment(sharp_steps, fast_steps, time):
    sharp, fast = np.cumsum(sharp_steps), np.cumsum(fast_steps)
    picks, left_out = Choice(fast, sharp, around=1).split([time])
    assert len(picks) + len(left_out) == 1
    for pick in picks:
        before, after = sharp[list(pick.sharp)]
        assert pick.sharp[1] == pick.sharp[0] + 1
        assert before - 1e-6 <= time <= after + 1e-6
        assert min(pick.fast) >= 0
        assert max(pick.fast) < len(fast)
        assert len(set(pick.fast)) == 3
