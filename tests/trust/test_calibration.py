import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.cine import Cine
from scanweave.interpolation.methods import DEFAULT_METHOD, Made, create
from scanweave.trust.calibration import Calibration, calibrate, judged_region, rank_correlation
from scanweave.trust.core import leave_one_out
from scanweave.trust.hidden import disagreement

LINEAR = create("linear")
EVERYWHERE = np.ones((48, 48), bool)


def noisy_beat(length=24, *, seed=0):
    """A still run whose grain comes and goes, coarser to the right: error varies over frames and over pixels."""
    generator = np.random.default_rng(seed)
    rows, columns = np.indices((48, 48))
    activity = (1.5 - np.cos(2 * np.pi * np.arange(length) / 12))[:, None, None]
    picture = 120 + 60 * np.sin(rows / 4) + generator.normal(0, 1, (length, 48, 48)) * activity * columns / 8
    return Cine.from_array(picture, levels=(0, 255), fps=30)


class Silent:
    """Linear blending that cannot tell how sure it is."""

    name = "silent"

    def fit(self, cine):
        self._fitted = LINEAR.fit(cine)
        return self

    def prepare(self, i, j):
        self._state = self._fitted.prepare(i, j)
        return self

    def at(self, times):
        return Made(self._state.at(times).frames)


def test_intervals_hold_their_share_on_frames_they_never_saw():
    for level in (0.5, 0.9):
        found = calibrate(noisy_beat(40), LINEAR, region=EVERYWHERE, level=level)
        assert found.fitted + found.checked == 38
        assert found.coverage == pytest.approx(level, abs=0.03)


def test_frames_are_ranked_by_their_true_error():
    found = calibrate(noisy_beat(40), LINEAR, region=EVERYWHERE)
    assert found.spearman > 0.8
    assert found.own_uncertainty


def test_fit_sees_even_frames_only():
    """What only odd hidden frames are made from moves the check, not the fit."""
    run = noisy_beat(20)
    frames = np.stack(list(run))
    # Frame 0 is never hidden and, as an even frame, only ever a source of odd hidden ones.
    frames[0] = 255 - frames[0]
    before = calibrate(run, LINEAR, region=EVERYWHERE)
    after = calibrate(Cine.from_array(frames, levels=(0, 255), fps=30), LINEAR, region=EVERYWHERE)
    np.testing.assert_array_equal(before.bounds, after.bounds)
    assert (before.slope, before.offset, before.typical_error) == (after.slope, after.offset, after.typical_error)
    assert before.coverage != after.coverage


def test_interval_never_narrows_with_doubt():
    found = calibrate(noisy_beat(), LINEAR, region=EVERYWHERE)
    doubts = np.linspace(0, 1, 500)
    widths = found.interval(doubts)
    assert np.all(np.diff(widths) >= 0)
    assert widths[-1] > found.bounds[-1]
    assert found.interval(np.zeros((3, 5))).shape == (3, 5)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.9), st.floats(1e-4, 0.1))
def test_expected_error_grows_and_confidence_falls_with_doubt(base, more):
    found = Calibration("m", True, 0.9, EVERYWHERE, np.array([0.1]), np.array([0.2]), 0.5, -1.0, typical_error=0.3)
    low, high = (found.expected_error(np.full((48, 48), doubt)) for doubt in (base, base + more))
    assert 0 < low < high
    assert 1 > found.confidence(low) > found.confidence(high) > 0
    assert found.confidence(found.typical_error) == 0.5


def test_half_of_the_fitted_frames_are_more_certain_than_a_half():
    run = noisy_beat()
    found = calibrate(run, LINEAR, region=EVERYWHERE)
    scores = [
        s for s in leave_one_out(run, {"linear": LINEAR}, gaps=(2,), region=EVERYWHERE).scores if s.hidden % 2 == 0
    ]
    expected = [s.predicted_error / 255 for s in scores]
    assert np.median(expected) == pytest.approx(found.typical_error, rel=1e-2)


def test_leave_one_out_calibrates_the_same():
    run = noisy_beat(14)
    alone = calibrate(run, LINEAR, max_hidden=None)
    result = leave_one_out(run, {"linear": LINEAR, "hold": create("hold")}, gaps=(2, 3))
    assert set(result.calibration) == {"linear", "hold"}
    assert result.calibration["linear"].to_json() == alone.to_json()
    assert all((s.predicted_error is not None) == (s.gap == 2) for s in result.scores)
    assert leave_one_out(run, {"linear": LINEAR}, gaps=(3,)).calibration == {}


def test_method_without_uncertainty_is_judged_by_the_disagreement_of_its_sources():
    run = noisy_beat(16)
    found = calibrate(run, Silent(), region=EVERYWHERE)
    assert not found.own_uncertainty
    # Linear blending states the same as its own.
    assert found.bounds == pytest.approx(calibrate(run, LINEAR, region=EVERYWHERE).bounds)
    first, second = run.unit(0), run.unit(2)
    made = LINEAR.prepare_pair(*(torch.from_numpy(f)[None] for f in (first, second)))(torch.tensor([0.25]))
    np.testing.assert_allclose(disagreement(first, second, 0.25), made.uncertainty[0, 0], atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_too_few_hidden_frames_give_none(length):
    run = noisy_beat(8).select(range(length))
    assert calibrate(run, LINEAR, region=EVERYWHERE) is None


def test_four_hidden_frames_are_enough():
    found = calibrate(noisy_beat(8).select(range(6)), LINEAR, region=EVERYWHERE)
    assert (found.fitted, found.checked) == (2, 2)


def test_duplicates_and_cuts_are_left_out():
    assert calibrate(noisy_beat(8), LINEAR, region=EVERYWHERE, duplicates=[3], cuts=[5]) is None


def test_still_run_expects_nothing_to_go_wrong():
    found = calibrate(Cine.from_array(np.full((9, 12, 12), 7, np.uint8)), LINEAR)
    assert found.region.all()
    assert found.coverage == 1
    assert found.spearman is None
    assert found.expected_error(np.zeros((12, 12))) == pytest.approx(0, abs=1e-5)
    assert np.isfinite(found.interval(np.full((12, 12), 0.5))).all()
    json.dumps(found.to_json(), allow_nan=False)


def test_bad_arguments_are_refused():
    run = noisy_beat(6)
    with pytest.raises(ValueError, match="level is 1"):
        calibrate(run, LINEAR, region=EVERYWHERE, level=1)
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        judged_region(run, np.ones((4, 4), bool))
    found = calibrate(run, LINEAR, region=EVERYWHERE)
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(48, 48\)"):
        found.expected_error(np.zeros((2, 2)))


def test_rank_correlation_is_spearmans():
    assert rank_correlation(np.array([1, 2, 3]), np.array([1, 10, 100])) == pytest.approx(1)
    assert rank_correlation(np.array([1, 2, 3]), np.array([3, 2, 1])) == pytest.approx(-1)
    # One swap among three: 1 - 6 * 2 / (3 * 8).
    assert rank_correlation(np.array([1, 2, 3]), np.array([1, 3, 2])) == pytest.approx(0.5)
    assert rank_correlation(np.array([1, 1]), np.array([1, 2])) is None
    assert rank_correlation(np.array([1]), np.array([1])) is None


@pytest.mark.parametrize("method", ["linear", DEFAULT_METHOD])
def test_real_echo(method):
    from pydicom import dcmread
    from pydicom.examples import get_path

    run = Cine.from_array(dcmread(get_path("ybr_color")).pixel_array, fps=30)
    found = calibrate(run, create(method), duplicates=[11, 28])
    assert (found.fitted, found.checked) == (12, 12)
    assert found.spearman >= 0.5
    # Whole grey levels make the interval a little too wide.
    assert 0.88 <= found.coverage <= 0.97
