import numpy as np
import pytest
import torch

from scanweave.fusion.calibrator_losses import (
    counted_psnr,
    counting_pixels,
    flow_scores,
    reconstruction_loss,
    sequence_loss,
)
from scanweave.fusion.calibrator_schedule import CalibratorRate, one_cycle
from scanweave.training.recipe import Horizon


@pytest.fixture(scope="module")
def golden(vectors):
    return {name: torch.from_numpy(np.asarray(one)) for name, one in vectors("xfusion/losses_metrics").items()}


@pytest.fixture(scope="module")
def valid(golden):
    return counting_pixels(golden["flow_valid"], golden["flow_mask"], golden["flow_gt"])


def test_pixels_that_count_are_the_published_ones(golden, valid):
    assert valid.equal(golden["seq_valid"])


def test_loss_and_scores_of_flows_are_the_published_ones(golden, valid):
    loss = sequence_loss(golden["flow_preds"], golden["flow_gt"], valid)
    assert float(loss) == pytest.approx(float(golden["seq_loss"]), rel=1e-6)
    scores = flow_scores(golden["flow_preds"][-1], golden["flow_gt"], valid)
    for name in ("epe", "1px", "3px", "5px"):
        assert float(scores[name]) == pytest.approx(float(golden[f"seq_{name}"]), rel=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_the_whole_loss_is_the_published_one(golden, valid, masked):
    made, truth = golden["rec_pred"], golden["rec_gt"]
    flow = sequence_loss(golden["flow_preds"], golden["flow_gt"], valid)
    total = 2 * reconstruction_loss(made, truth, valid if masked else None) + flow
    assert float(total) == pytest.approx(float(golden[f"flow_recon_masked{masked:d}"]), rel=1e-6)
    psnr = counted_psnr(made, truth, valid)
    assert float(psnr) == pytest.approx(float(golden[f"flow_recon_psnr{masked:d}"]), rel=1e-6)


def test_samples_are_scored_each_on_their_own(golden, valid):
    flow, truth = golden["flow_preds"][-1], golden["flow_gt"]
    both = flow_scores(torch.cat([flow, truth]), torch.cat([truth, truth]), torch.cat([valid, valid]))
    assert both["epe"].tolist() == pytest.approx([float(golden["seq_epe"]), 0.0])
    assert both["1px"][1] == 1


def test_rates_are_the_published_ones(golden):
    table = golden["lr_onecycle_200steps"].numpy()
    made = [CalibratorRate().at(step, Horizon(200, 200, 1)) for step in range(200)]
    np.testing.assert_allclose(made, table, rtol=1e-6)


def test_one_cycle_is_that_of_pytorch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.3, 40, pct_start=0.2, cycle_momentum=False, anneal_strategy="linear"
    )
    for step in range(39):
        assert one_cycle(step, 40, base=0.3, warm_up=0.2) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_other_strategies():
    horizon = Horizon(100, 100, 1)
    assert CalibratorRate(strategy="constant", base=1e-3).at(50, horizon) == 1e-3
    falling = CalibratorRate(strategy="cosine", base=1e-3)
    assert falling.at(0, horizon) < falling.at(4, horizon) == 1e-3
    assert falling.at(99, horizon) < 2e-4
