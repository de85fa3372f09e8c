import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from scanweave.metrics import ssim, ssim_map

OF_SKIMAGE = {
    "gaussian": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    "uniform": {},
}


def noisy_pair(shape, *, seed=0, scale=1.0):
    """A smooth picture and a noisy copy."""
    generator = np.random.default_rng(seed)
    rows, columns = np.indices(shape[-2:])
    truth = np.broadcast_to(0.5 + 0.4 * np.sin(rows / 5) * np.cos(columns / 7), shape)
    return scale * (truth + generator.normal(0, 0.05, shape)), scale * truth


@pytest.mark.parametrize("window", OF_SKIMAGE)
@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_agrees_with_scikit_image(window, scale):
    estimate, truth = noisy_pair((37, 52), scale=scale)
    mean, full = structural_similarity(estimate, truth, data_range=scale, full=True, **OF_SKIMAGE[window])
    assert ssim(estimate, truth, peak=scale, window=window) == pytest.approx(mean, abs=1e-12)
    np.testing.assert_allclose(ssim_map(estimate, truth, peak=scale, window=window), full, atol=1e-12)


@pytest.mark.parametrize("window", OF_SKIMAGE)
def test_volumes_agree_with_scikit_image(window):
    estimate, truth = noisy_pair((2, 14, 19, 17))
    for one, other in zip(estimate, truth, strict=True):
        mean, full = structural_similarity(one, other, data_range=1, full=True, **OF_SKIMAGE[window])
        assert ssim(one, other, window=window, axes=3) == pytest.approx(mean, abs=1e-12)
        np.testing.assert_allclose(ssim_map(one, other, window=window, axes=3), full, atol=1e-12)
    each = [ssim(one, other, window=window, axes=3) for one, other in zip(estimate, truth, strict=True)]
    assert ssim(estimate, truth, window=window, axes=3) == pytest.approx(np.mean(each), abs=1e-12)


@pytest.mark.parametrize("window", OF_SKIMAGE)
def test_colour_is_the_mean_over_channels(window):
    estimate, truth = noisy_pair((3, 30, 24))
    expected = structural_similarity(estimate, truth, data_range=1, channel_axis=0, **OF_SKIMAGE[window])
    assert ssim(estimate, truth, window=window) == pytest.approx(expected, abs=1e-12)
    each = [ssim(e, t, window=window) for e, t in zip(estimate, truth, strict=True)]
    assert ssim(estimate, truth, window=window) == pytest.approx(np.mean(each), abs=1e-12)


def test_mask_is_the_mean_of_the_map_over_it():
    estimate, truth = noisy_pair((2, 20, 20))
    mask = np.zeros((20, 20), bool)
    mask[:4, 3:9] = True
    assert ssim(estimate, truth, mask=mask) == pytest.approx(ssim_map(estimate, truth)[:, mask].mean())


def test_tensors_and_integers_are_taken():
    estimate, truth = (np.rint(p).astype(np.uint8) for p in noisy_pair((16, 16), scale=200))
    expected = ssim(estimate.astype(float), truth.astype(float), peak=255)
    assert ssim(torch.from_numpy(estimate), truth, peak=255) == expected


def test_closed_form_of_two_flat_images():
    # No variance: only the luminance term is left.
    c1 = 0.01**2
    expected = (2 * 0.25 * 0.75 + c1) / (0.25**2 + 0.75**2 + c1)
    assert ssim(np.full((12, 12), 0.25), np.full((12, 12), 0.75)) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.sampled_from(["gaussian", "uniform"]), st.integers(0, 3))
def test_any_size_is_bounded_symmetric_and_one_for_equals(rows, columns, window, seed):
    estimate, truth = np.random.default_rng(seed).random((2, rows, columns))
    value = ssim(estimate, truth, window=window)
    assert -1 <= value <= 1
    assert value == pytest.approx(ssim(truth, estimate, window=window))
    assert ssim(truth, truth, window=window) == pytest.approx(1)
    assert ssim_map(estimate, truth, window=window).shape == (rows, columns)


@pytest.mark.parametrize(
    ("estimate", "truth", "options", "said"),
    [
        (np.zeros((8, 9)), np.zeros((9, 8)), {}, r"\(8, 9\).*\(9, 8\)"),
        (np.zeros(8), np.zeros(8), {}, r"\(8,\) are not"),
        (np.zeros((8, 8)), np.zeros((8, 8)), {"axes": 3}, "slice, row, column"),
        (np.zeros((8, 8)), np.zeros((8, 8)), {"axes": 1}, "2 or 3 axes, not 1"),
        (np.zeros((8, 8)), np.zeros((8, 8)), {"window": "hann"}, "gaussian, uniform"),
        (np.zeros((8, 8)), np.zeros((8, 8)), {"peak": 0}, "peak"),
        (np.zeros((8, 8), complex), np.zeros((8, 8)), {}, "complex"),
    ],
)
def test_what_cannot_be_compared_is_refused(estimate, truth, options, said):
    with pytest.raises(ValueError, match=said):
        ssim(estimate, truth, **options)
