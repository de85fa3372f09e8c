import json
import math

import numpy as np
import pytest

from scanweave.cine import Cine, Display
from scanweave.errors import UsageError
from scanweave.interpolation.methods import Made, create
from scanweave.trust.core import FrameScore, LeaveOneOut, leave_one_out, quartiles

LINEAR, HOLD = create("linear"), create("hold")


def ramp(length=9, *, step=10, side=16, times=None):
    """A run whose every pixel grows by `step` a frame, on a picture that stays."""
    picture = np.random.default_rng(0).integers(0, 100, (side, side))
    values = picture + step * np.arange(length)[:, None, None]
    return Cine.from_array(values.astype(np.uint8), fps=None if times is not None else 30, times=times)


class Spy:
    """Remembers what it was fitted to and asked for; makes the earlier frame."""

    name = "spy"

    def __init__(self):
        self.fitted = []
        self.asked = []

    def fit(self, cine):
        self.fitted.append([int(cine.frame(k)[0, 0]) for k in range(len(cine))])
        return SpyPairs(self, cine)


class SpyPairs:
    def __init__(self, spy, cine):
        self.spy, self.cine = spy, cine

    def prepare(self, i, j):
        self.pair = (int(self.cine.frame(i)[0, 0]), int(self.cine.frame(j)[0, 0]))
        return self

    def at(self, times):
        self.spy.asked.append((self.pair, tuple(times)))
        return Made(np.full((len(times), 1, *self.cine.shape), 0.0, np.float32))


def numbered(length, **options):
    """A run whose pixels are the frame's number."""
    return Cine.from_array(np.arange(length, dtype=np.uint8)[:, None, None] + np.zeros((12, 12), np.uint8), **options)


def test_every_frame_between_every_pair_is_hidden():
    result = leave_one_out(numbered(9), {"linear": LINEAR}, gaps=(2, 3, 4, 8))
    for gap in (2, 3, 4, 8):
        hidden = {(s.pair, s.hidden) for s in result.scores if s.gap == gap}
        assert hidden == {((i, i + gap), k) for i in range(9 - gap) for k in range(i + 1, i + gap)}
        assert {s.t for s in result.scores if s.gap == gap} == {(k + 1) / gap for k in range(gap - 1)}


def test_hidden_frames_never_reach_the_method():
    spy = Spy()
    leave_one_out(numbered(7), {"spy": spy}, gaps=(3,), region=np.ones((12, 12), bool))
    assert spy.fitted == [[0, 3, 6], [1, 4], [2, 5]]
    assert [pair for pair, _ in spy.asked] == [(0, 3), (3, 6), (1, 4), (2, 5)]


def test_true_times_are_asked():
    spy = Spy()
    times = [0.0, 0.1, 0.4, 1.0]
    leave_one_out(numbered(4, times=times), {"spy": spy}, gaps=(3,), region=np.ones((12, 12), bool))
    ((_, asked),) = spy.asked
    assert asked == pytest.approx((0.1, 0.4))


def test_uneven_times_of_even_motion_are_made_exactly():
    positions = np.array([0, 2, 3, 7, 8, 12])
    frames = (10 * positions)[:, None, None] + np.zeros((12, 12), int)
    run = Cine.from_array(frames.astype(np.uint8), times=positions / 30)
    result = leave_one_out(run, {"linear": LINEAR}, gaps=(2, 3))
    assert {s.psnr_region for s in result.scores} == {math.inf}


def test_closed_form_of_hold_on_a_ramp():
    # At gap 2 and t = 1/2 hold repeats the earlier frame: wrong by one step of 10 grey levels everywhere.
    result = leave_one_out(ramp(), {"hold": HOLD, "linear": LINEAR}, gaps=(2,))
    hold = [s for s in result.scores if s.method == "hold"]
    assert [s.hidden for s in hold] == list(range(1, 8))
    assert all(s.mae_region == pytest.approx(10, rel=1e-5) for s in hold)
    assert all(s.psnr_frame == pytest.approx(20 * math.log10(255 / 10), abs=1e-4) for s in hold)
    assert result.peak == 255
    (loss,) = result.losers("hold")
    assert loss[:2] == ("linear", 2)
    assert result.losers("linear") == []


def test_what_is_scored_is_rounded_to_the_stored_depth():
    # The mean of 1 and 2 is stored as 2 (ties to even), so the error is a whole level, never a half.
    frames = np.array([1, 1, 2], np.uint8)[:, None, None] + np.zeros((12, 12), np.uint8)
    (score,) = leave_one_out(Cine.from_array(frames), {"linear": LINEAR}, gaps=(2,)).scores
    assert score.mae_region == pytest.approx(1, rel=1e-5)


def test_ten_bits_in_sixteen_have_the_peak_of_ten():
    frames = np.array([0, 100, 100], np.uint16)[:, None, None] + np.zeros((12, 12), np.uint16)
    run = Cine.from_array(frames, levels=(0, 1023))
    result = leave_one_out(run, {"hold": HOLD}, gaps=(2,))
    assert result.peak == 1023
    assert result.scores[0].psnr_region == pytest.approx(20 * math.log10(1023 / 100), abs=1e-4)


def test_floats_are_scored_over_their_own_range():
    frames = np.array([-1.0, 0.0, 3.0])[:, None, None] + np.zeros((12, 12))
    result = leave_one_out(Cine.from_array(frames), {"linear": LINEAR}, gaps=(2,))
    assert result.peak == 4
    assert result.scores[0].mae_region == pytest.approx(1)
    assert result.scores[0].psnr_region == pytest.approx(20 * math.log10(4), abs=1e-4)


def test_palette_frames_are_compared_as_colours():
    # Entries 1 and 2 are far apart as numbers of a list, near as colours: only colours are compared.
    palette = np.array([[0, 0, 0], [200, 0, 0], [210, 0, 0]], np.uint8)
    frames = np.array([1, 2, 1], np.uint8)[:, None, None] + np.zeros((12, 12), np.uint8)
    run = Cine.from_array(frames, levels=(0, 255), display=Display(palette=palette))
    (score,) = leave_one_out(run, {"hold": HOLD}, gaps=(2,)).scores
    assert score.mae_region == pytest.approx(10 / 3, rel=1e-5)


def test_region_is_where_the_run_moves():
    frames = np.zeros((5, 40, 40), np.uint8)
    frames[:, 10:14, 10:14] = np.array([0, 100, 0, 100, 0])[:, None, None]
    result = leave_one_out(Cine.from_array(frames), {"linear": LINEAR}, gaps=(2,))
    assert result.region[7, 11]
    assert result.region[16, 11]
    assert not result.region[6, 11]
    assert not result.region[20:].any()
    score = result.scores[0]
    assert score.psnr_frame > score.psnr_region
    assert score.ssim_frame > score.ssim_region


def test_still_run_is_judged_over_the_whole_frame():
    result = leave_one_out(Cine.from_array(np.full((6, 12, 12), 7, np.uint8)), {"linear": LINEAR}, gaps=(2,))
    assert result.region.all()
    assert {s.psnr_region for s in result.scores} == {math.inf}
    assert result.summary()[0].psnr_region == (math.inf, math.inf, math.inf)
    json.dumps(result.to_json(), allow_nan=False)


def test_spans_that_hold_a_duplicate_or_a_cut_are_left_out():
    result = leave_one_out(numbered(8), {"hold": HOLD}, gaps=(2, 4), duplicates=[2], cuts=[5])
    assert {s.pair for s in result.scores} == {(2, 4), (5, 7)}
    assert result.skipped == {4: "every stretch of 5 frames holds a duplicate frame or a cut"}


@pytest.mark.parametrize("length", [1, 2])
def test_run_too_short_for_every_gap_is_skipped_with_the_reason(length):
    result = leave_one_out(numbered(length), {"linear": LINEAR})
    assert result.scores == ()
    assert sorted(result.skipped) == [2, 3, 4, 8]
    assert result.skipped[2] == f"{length} frame{'s' * (length > 1)}: nothing can be hidden"
    assert result.summary() == ()
    assert result.calibration == {}


def test_gaps_that_do_not_fit_are_skipped_alone():
    result = leave_one_out(numbered(4), {"linear": LINEAR})
    assert result.gaps == (2, 3)
    assert result.skipped[8] == "4 frames: too short to hide 7 in a row"


def test_fewer_hidden_frames_are_said():
    result = leave_one_out(numbered(30), {"linear": LINEAR}, gaps=(2,), max_hidden=6)
    assert len(result.scores) == 6
    assert any("Only a part" in note for note in result.notes)


def test_depth_that_is_hardly_used_is_said():
    run = numbered(6)
    deep = Cine.from_array(np.stack(list(run)).astype(np.uint16))
    assert any("use 0.0% of the range" in note for note in leave_one_out(deep, {"hold": HOLD}, gaps=(2,)).notes)
    fits = Cine.from_array(np.stack(list(run)), levels=(0, 5))
    assert not any("of the range" in note for note in leave_one_out(fits, {"hold": HOLD}, gaps=(2,)).notes)


def test_progress_counts_every_made_frame():
    seen = []
    leave_one_out(
        numbered(5), {"a": LINEAR, "b": HOLD}, gaps=(2, 3), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(k, 14) for k in range(1, 15)]


def test_summary_table_and_worst():
    result = leave_one_out(ramp(9), {"hold": HOLD, "linear": LINEAR}, gaps=(2, 4))
    assert [(s.gap, s.method, s.count) for s in result.summary()] == [
        (2, "hold", 7),
        (2, "linear", 7),
        (4, "hold", 15),
        (4, "linear", 15),
    ]
    assert [row["method"] for row in result.table()] == ["hold", "linear", "hold", "linear"]
    worst = result.worst("hold", 4, 3)
    assert [s.t for s in worst] == pytest.approx([0.5] * 3)
    assert worst[0].mae_region == pytest.approx(20, rel=1e-5)
    with pytest.raises(UsageError, match="'none' was not scored"):
        result.worst("none", 2, 1)


def test_json_holds_everything():
    result = leave_one_out(ramp(9), {"hold": HOLD, "linear": LINEAR}, gaps=(2, 20))
    told = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert len(told["scores"]) == 14
    assert told["skipped"] == {"20": "9 frames: too short to hide 19 in a row"}
    assert told["calibration"]["hold"]["coverage"] == 1
    assert float(told["scores"][-1]["psnr_region"]) == math.inf


def test_quartiles_allow_infinity():
    assert quartiles([1, 2, 3, 4]) == (1.75, 2.5, 3.25)
    assert quartiles([5.0]) == (5, 5, 5)
    assert quartiles([1.0, math.inf, math.inf]) == (math.inf, math.inf, math.inf)
    assert quartiles([1.0, 2.0, math.inf]) == (1.5, 2.0, math.inf)


def test_equal_methods_do_not_lose_to_each_other():
    def perfect(method):
        return FrameScore(method, 2, 1, (0, 2), 0.5, math.inf, math.inf, 1.0, 1.0, 0.0)

    result = LeaveOneOut((perfect("a"), perfect("b")), np.ones((4, 4), bool), 255.0)
    assert result.losers("a") == result.losers("b") == []


@pytest.mark.parametrize("gaps", [(1,), (2, 0), ()])
def test_gaps_that_hide_nothing_are_refused(gaps):
    with pytest.raises(UsageError):
        leave_one_out(numbered(5), {"linear": LINEAR}, gaps=gaps)


def test_region_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(12, 12\)"):
        leave_one_out(numbered(5), {"linear": LINEAR}, region=np.ones((3, 3), bool))


class Broken(Spy):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def fit(self, cine):
        return self

    def prepare(self, i, j):
        return self

    def at(self, times):
        return Made(self.made)


@pytest.mark.parametrize(
    ("made", "said"),
    [(np.zeros((1, 3, 12, 12)), r"\(1, 3, 12, 12\)"), (np.full((1, 1, 12, 12), np.nan), "not finite")],
)
def test_what_a_broken_method_makes_is_refused(made, said):
    with pytest.raises(ValueError, match=said):
        leave_one_out(numbered(4), {"broken": Broken(made)}, gaps=(2,), region=np.ones((12, 12), bool))
