import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.cine import Cine
from scanweave.errors import UsageError
from scanweave.interpolation.methods import create
from scanweave.metrics import psnr, ssim
from scanweave.trust.hidden import clean_spans, delivered, disagreement, remade, thinned

HOLD, LINEAR = create("hold"), create("linear")


def test_spans_are_every_pair_of_a_gap_without_a_break_inside():
    assert [(s.first, s.last) for s in clean_spans(5, 3)] == [(0, 3), (1, 4)]
    assert [(s.first, s.last) for s in clean_spans(8, 2, breaks=[4])] == [(0, 2), (1, 3), (4, 6), (5, 7)]
    assert [(s.first, s.last) for s in clean_spans(4, 2, breaks=[0, 4, 9])] == [(0, 2), (1, 3)]
    assert clean_spans(2, 2) == []
    with pytest.raises(UsageError, match="gap of 1"):
        clean_spans(5, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(2, 9), st.integers(1, 80), st.lists(st.integers(0, 60), max_size=3))
def test_thinning_keeps_whole_spans_of_every_phase(length, gap, most, breaks):
    spans = clean_spans(length, gap, breaks=breaks)
    kept = thinned(spans, most)
    assert set(kept) <= set(spans)
    assert len(kept) == len(set(kept))
    assert kept == sorted(kept, key=lambda s: s.first) == thinned(spans, most)
    assert len(kept) * (gap - 1) <= max(most, gap - 1)
    assert bool(kept) == bool(spans)
    if len(kept) >= gap:
        assert {s.phase for s in kept} == {s.phase for s in spans}


@given(st.integers(0, 65535))
def test_delivered_frames_are_what_the_file_would_hold(value):
    run = Cine.from_array(np.zeros((1, 2, 2), np.uint16), levels=(0, 1023))
    made = np.full((1, 2, 2), value / 65535, np.float32)
    assert delivered(run, made) == pytest.approx(np.rint(1023 * made) / 1023, abs=1e-6)


def test_disagreement_vanishes_at_the_sources_and_is_half_the_difference_between():
    first, second = np.zeros((3, 2, 2), np.float32), np.full((3, 2, 2), 0.4, np.float32)
    assert not disagreement(first, second, 0).any()
    assert not disagreement(first, second, 1).any()
    assert disagreement(first, second, 0.5) == pytest.approx(np.full((2, 2), 0.2))


def test_real_echo_gives_the_known_baselines():
    """Means over the sector, measured apart from this program with scikit-image (7 x 7 window), to a choice of gaps."""
    from pydicom import dcmread
    from pydicom.examples import get_path

    pixels = dcmread(get_path("ybr_color")).pixel_array
    sector = (slice(None), slice(16, 207), slice(42, 297))
    spans = clean_spans(len(pixels), 2, breaks=[11, 28])
    found = {"hold": [], "linear": []}
    for frame in remade(Cine.from_array(pixels, fps=30), {"hold": HOLD, "linear": LINEAR}, spans):
        made, truth = frame.made[sector], frame.truth[sector]
        found[frame.method].append((psnr(made, truth), ssim(made, truth, window="uniform")))
    for name, decibels, similarity in (("hold", 33.02, 0.9013), ("linear", 35.45, 0.9270)):
        mean_psnr, mean_ssim = np.mean(found[name], axis=0)
        assert mean_psnr == pytest.approx(decibels, abs=0.06)
        assert mean_ssim == pytest.approx(similarity, abs=0.002)
