"""Losses and learning rates against what the published programs gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scanweave.errors import UsageError
from scanweave.fusion.losses import LossConfig, pixel_loss
from scanweave.fusion.schedules import FusionRate
from scanweave.training.recipe import Horizon


@pytest.fixture
def golden(goldens):
    with np.load(goldens / "xfusion/losses_metrics.npz") as held:
        return dict(held)


def clamped(golden):
    """Pixels whose values the golden file lost: its program clamped sample 0 in place once the losses were known."""
    lost = (golden["pred"] <= 0) | (golden["pred"] >= 1) | (golden["gt"] >= 1)
    lost[1] = False
    return lost


@pytest.mark.parametrize("kind", ["charbonnier", "l1", "mse"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_losses_are_the_published_ones_as_far_as_pixels_are_kept(golden, kind, reduction):
    made, truth = (torch.from_numpy(golden[name]) for name in ("pred", "gt"))
    loss = float(pixel_loss(made, truth, kind=kind, reduction=reduction, eps=1e-12))
    missing = float(golden[f"{kind}_{reduction}"]) - loss
    count = int(clamped(golden).sum())
    assert count == 6
    assert 0 < missing < 0.1 * count / (made.numel() if reduction == "mean" else 1)
    each = LossConfig(kind=kind, reduction=reduction).of(made, truth)
    assert float(each) == pytest.approx(loss / (2 if reduction == "sum" else 1), rel=1e-6)
    assert float(golden[f"{kind}_sum"]) == pytest.approx(made.numel() * float(golden[f"{kind}_mean"]), rel=1e-6)


def test_weight_and_eps_of_charbonnier_count_as_published(golden):
    made, truth = (torch.from_numpy(golden[name]) for name in ("pred", "gt"))
    loss = float(LossConfig(weight=0.5, eps=1e-3).of(made, truth)) * len(made)
    assert 0 < float(golden["charbonnier_sum_eps1e-3"]) - loss < 0.5 * 0.1 * 6
    assert loss == pytest.approx(float(0.5 * np.sqrt(np.square(golden["pred"] - golden["gt"]) + 1e-3).sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"), [("charbonnier", np.sqrt(0.0625 + 1e-12)), ("l1", 0.25), ("mse", 0.0625)]
)
def test_losses_of_one_difference_everywhere(kind, expected):
    made, truth = torch.full((3, 1, 4, 5), 0.75), torch.full((3, 1, 4, 5), 0.5)
    assert float(LossConfig(kind=kind, reduction="mean").of(made, truth)) == pytest.approx(expected, rel=1e-6)
    assert float(LossConfig(kind=kind, reduction="sum").of(made, truth)) == pytest.approx(20 * expected, rel=1e-6)


def test_charbonnier_has_a_slope_where_nothing_differs():
    made = torch.zeros(1, 1, 4, 4, requires_grad=True)
    LossConfig().of(made, torch.zeros(1, 1, 4, 4)).backward()
    assert torch.equal(made.grad, torch.zeros_like(made))
    with pytest.raises(UsageError, match="cannot be compared"):
        LossConfig().of(made, torch.zeros(1, 1, 4, 5))


def test_cosines_with_restarts_are_the_published_table(golden):
    rate = FusionRate(strategy="published", base=1e-4, floor=1e-7, periods=(10, 20, 15), weights=(1, 0.5, 0.5))
    made = [rate.at(step, Horizon(45, 9, 1)) for step in range(45)]
    assert made == pytest.approx(golden["lr_cos_restart"].tolist(), rel=1e-6)
    assert rate.at(60, Horizon(70, 9, 1)) == pytest.approx(1e-7)


def test_cosine_after_a_warm_up_is_the_published_table(golden):
    rate = FusionRate(strategy="published", base=2e-4, warm_up=5)
    made = [rate.at(step, Horizon(30, 9, 1)) for step in range(30)]
    assert made == pytest.approx(golden["lr_cos_warm"].tolist(), rel=1e-6)


def test_rates_that_are_none_are_refused():
    with pytest.raises(UsageError, match="one of each"):
        FusionRate(strategy="published", periods=(10, 20), weights=(1.0,))
    with pytest.raises(UsageError, match="no schedule"):
        FusionRate(strategy="published", periods=(0,))
    assert FusionRate(strategy="constant", base=3e-4).at(7, Horizon(9, 9, 1)) == 3e-4
    assert FusionRate(base=3e-4).at(9, Horizon(9, 9, 1)) == pytest.approx(3e-5)
