import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scanweave.metrics import mae, most_dsa_psnr, mse, psnr


def test_closed_forms():
    truth = np.zeros((3, 5, 7))
    estimate = np.full((3, 5, 7), 0.01)
    assert mse(estimate, truth) == pytest.approx(1e-4)
    assert mae(estimate, truth) == pytest.approx(0.01)
    assert psnr(estimate, truth) == pytest.approx(40.0)
    assert psnr(estimate, truth, peak=10) == pytest.approx(60.0)
    assert psnr(truth, truth) == math.inf
    assert most_dsa_psnr(truth, truth) == math.inf


def test_unsigned_integers_do_not_wrap():
    low, high = np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
    assert mae(low, high) == 255
    assert psnr(low, high, peak=255) == pytest.approx(0.0)


def test_mask_chooses_pixels_in_every_channel():
    truth = np.zeros((3, 4, 4))
    estimate = truth.copy()
    estimate[:, 0, 0] = 0.5
    mask = np.zeros((4, 4), bool)
    mask[0, :2] = True
    assert mae(estimate, truth, mask=mask) == pytest.approx(0.25)
    assert psnr(estimate, truth, mask=torch.from_numpy(~mask)) == math.inf


@given(
    st.integers(1, 3), st.integers(1, 9), st.sampled_from([torch.float16, torch.bfloat16, torch.float64, torch.int16])
)
def test_tensors_and_arrays_agree(channels, side, dtype):
    values = (torch.arange(channels * side * side).reshape(channels, side, side) % 17).to(dtype)
    other = values + 1
    assert mse(values, other) == mae(values.to(torch.float64).numpy(), other) == 1.0


@pytest.mark.parametrize("metric", [mse, mae, psnr])
@pytest.mark.parametrize(
    ("estimate", "truth", "said"),
    [
        (np.zeros((3, 4)), np.zeros((4, 3)), r"\(3, 4\).*\(4, 3\)"),
        (np.zeros((0, 4)), np.zeros((0, 4)), r"\(0, 4\)"),
        (np.zeros(3, complex), np.zeros(3), "complex128"),
        (np.zeros(3), np.array(["a", "b", "c"]), "truth is an array of <U1"),
        (torch.zeros(3, dtype=torch.bool), np.zeros(3), "torch.bool"),
    ],
)
def test_what_cannot_be_compared_is_refused(metric, estimate, truth, said):
    with pytest.raises(ValueError, match=said):
        metric(estimate, truth)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.ones((3, 3), bool), r"\(3, 3\).*\(4, 4\)"),
        (np.zeros((4, 4), bool), "true nowhere"),
        (np.ones((4, 4)), "float64"),
    ],
)
def test_bad_masks_are_refused(mask, said):
    with pytest.raises(ValueError, match=said):
        mae(np.zeros((4, 4)), np.zeros((4, 4)), mask=mask)


@pytest.mark.parametrize("peak", [0, -1, math.nan, math.inf])
def test_bad_peaks_are_refused(peak):
    with pytest.raises(ValueError, match="peak"):
        psnr(np.zeros(3), np.ones(3), peak=peak)
