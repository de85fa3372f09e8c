"""The measures of the XFusion programs against what those gave, and against the standard measures."""

from __future__ import annotations

import numpy as np
import pytest

from scanweave.metrics import psnr, ssim
from scanweave.metrics.xfusion import (
    basicsr_psnr,
    basicsr_psnr_of_tensors,
    basicsr_ssim,
    basicsr_ssim_of_tensors,
    eight_bits,
    xfusion_aad,
    xfusion_actual_psnr,
    xfusion_ssim,
    xfusion_virtual_psnr,
)


@pytest.fixture
def golden(goldens):
    with np.load(goldens / "xfusion/losses_metrics.npz") as held:
        return dict(held)


def test_scores_of_virtual_experiments_are_the_published_ones(golden):
    made, truth = golden["img_pred_u8"], golden["img_gt_u8"]
    assert xfusion_virtual_psnr(made, truth) == pytest.approx(float(golden["virtual_psnr"]), rel=1e-6)
    assert xfusion_aad(made, truth) == pytest.approx(float(golden["aad"]), rel=1e-6)
    assert xfusion_ssim(made, truth) == pytest.approx(float(golden["ssim_skimage_u7"]), rel=1e-6)


def test_scores_of_real_experiments_are_the_published_ones(golden):
    made, truth = golden["actual_pred"], golden["img_gt_u8"]
    assert xfusion_actual_psnr(made, truth) == pytest.approx(float(golden["actual_psnr"]), rel=1e-6)
    assert xfusion_virtual_psnr(made, truth) == pytest.approx(float(golden["actual_psnr_if_255"]), rel=1e-6)
    assert xfusion_ssim(made, truth) == pytest.approx(float(golden["actual_ssim"]), rel=1e-6)
    assert xfusion_aad(made, truth) == pytest.approx(float(golden["actual_aad"]), rel=1e-6)


@pytest.mark.parametrize("border", [0, 4])
def test_scores_of_basicsr_are_its_own(golden, border):
    made, truth = golden["img_pred_u8"], golden["img_gt_u8"]
    assert basicsr_psnr(made, truth, border=border) == pytest.approx(float(golden[f"basicsr_psnr_c{border}"]), rel=1e-6)
    assert basicsr_ssim(made, truth, border=border) == pytest.approx(float(golden[f"basicsr_ssim_c{border}"]), rel=1e-6)


def test_scores_of_basicsr_for_tensors_are_its_own(golden):
    for made, truth, decibels, likeness in zip(
        golden["pred"], golden["gt"], golden["basicsr_psnr_pt"], golden["basicsr_ssim_pt"], strict=True
    ):
        assert basicsr_psnr_of_tensors(made[0], truth[0]) == pytest.approx(float(decibels), rel=1e-6)
        assert basicsr_ssim_of_tensors(made[0], truth[0]) == pytest.approx(float(likeness), rel=1e-6)


def test_pixels_are_rounded_half_to_even(golden):
    assert eight_bits(np.array([-1.0, 0.5 / 255, 1.5 / 255, 2.5 / 255, 7.0])).tolist() == [0, 0, 2, 2, 255]
    assert np.array_equal(eight_bits(golden["pred"][0, 0]), golden["img_pred_u8"])


def test_without_a_border_the_measures_are_the_standard_ones_on_another_scale():
    made, truth = np.random.default_rng(0).integers(0, 256, (2, 24, 30)).astype(np.uint8)
    assert basicsr_psnr(made, truth) == pytest.approx(psnr(made / 255, truth / 255))
    assert basicsr_ssim(made, truth) == pytest.approx(ssim(made / 255, truth / 255))
    assert basicsr_psnr_of_tensors(truth / 255, truth / 255) == pytest.approx(80)


def test_a_border_must_leave_something():
    with pytest.raises(ValueError, match="leaves nothing"):
        basicsr_psnr(np.zeros((8, 8)), np.zeros((8, 8)), border=4)
