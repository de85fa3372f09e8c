"""The published evaluation of Uni-COAL, against numbers of the published program."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from scanweave.errors import InputError
from scanweave.synthesis.published_metrics import (
    PublishedScores,
    published_brats_dice,
    published_dice,
    published_multi_dice,
    published_scores,
    published_unit,
    published_validation,
)


@pytest.fixture(scope="module")
def golden(vectors) -> dict[str, np.ndarray]:
    return vectors("uni_coal/metrics")


def test_volumes_are_scaled_as_published(golden):
    for name, voxels in (("target", golden["target"]), ("pred", golden["pred"].astype(np.float32) + 1)):
        unit = published_unit(voxels)
        expected = golden[f"{name}_clip_stat"]
        np.testing.assert_allclose(np.percentile(voxels.astype(np.float32), [0.5, 99.5]), expected[:2], atol=1e-5)
        np.testing.assert_allclose([unit.mean(), unit.std()], expected[2:], atol=1e-6)


def test_final_scores_are_the_published_ones(golden):
    scores = published_scores(golden["pred"], golden["target"])
    names = ("psnr3d", "ssim3d", "mae", "psnr_slice", "ssim_slice", "n_slices_used")
    np.testing.assert_allclose(astuple(scores), [golden[name] for name in names], atol=1e-5, rtol=1e-6)


def test_validation_is_the_published_one(golden):
    made = np.clip((golden["pred"][1:7].astype(np.float32) + 1) / 2, 0, 1)
    truth = np.clip(golden["target"][1:7].astype(np.float32) / 1300, 0, 1)
    truth[2] = 0
    scores = published_validation(made, truth)
    for name, value in scores.items():
        assert value == pytest.approx(float(golden[f"val_{name}"]), abs=1e-5), name


def test_dice_is_the_published_one(golden):
    truth, found = golden["lab"], golden["labp"]
    np.testing.assert_allclose(list(published_brats_dice(found, truth).values()), golden["dice_brats"], atol=1e-12)
    assert published_multi_dice(found, truth, classes=4) == pytest.approx(float(golden["dice_multi4"]), abs=1e-12)
    assert published_dice(found, truth) == pytest.approx(float(golden["dice_bin"]), abs=1e-12)
    assert published_dice(np.zeros(4), np.zeros(4)) == 1


def test_its_own_percentiles_hide_errors_of_intensity(golden):
    target = golden["target"]
    as_made = published_unit(target) * 2 - 1
    assert published_scores(as_made * 0.5 - 0.5, target).psnr3d > 45


def test_what_it_cannot_take_is_refused(golden):
    pred, target = golden["pred"], golden["target"]
    with pytest.raises(InputError, match="7 voxels at least"):
        published_scores(pred[:6], target[:6])
    with pytest.raises(InputError, match=r"\(9, 64, 72\)"):
        published_scores(pred[:9], target)
    with pytest.raises(InputError, match="no contrast"):
        published_scores(np.zeros_like(pred), target)
    with pytest.raises(InputError, match="not numbers"):
        published_scores(np.full_like(pred, np.nan), target)
    with pytest.raises(InputError, match="rename label 4 to 3"):
        published_brats_dice(golden["labp"], golden["lab"] + 1)


def test_scores_are_plain_numbers(golden):
    scores = published_scores(golden["pred"], golden["target"])
    assert isinstance(scores, PublishedScores)
    assert {type(value) for value in astuple(scores)} == {float, int}
