"""The published losses, and whole training steps with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scanweave import weights
from scanweave.deformation import DiffusionConfig
from scanweave.deformation.diffusion import random_field
from scanweave.deformation.losses import (
    angle_loss,
    distance_loss,
    drdm_losses,
    folding_loss,
    published_folding_loss,
    relative_energy_loss,
    roughness_loss,
)
from scanweave.ops.displacement import warp


@pytest.fixture(params=["losses2d", "losses3d"])
def arrays(request, vectors) -> dict[str, np.ndarray]:
    return vectors(f"drdm/{request.param}")


def test_golden_terms(arrays):
    predicted, target, moved = (torch.from_numpy(arrays[name]) for name in ("pred", "dvf", "pred_warped"))
    zero = torch.zeros_like(target)
    terms = {
        "mrse": distance_loss(moved, target),
        "ncc": angle_loss(moved, target),
        "grad_l1_negdetj": roughness_loss(predicted) + 2 * published_folding_loss(predicted),
        "mrse_same": distance_loss(predicted, target),
        "ncc_same": angle_loss(predicted, target),
        "rmse_same": relative_energy_loss(predicted, target),
        "mrse_inner_stn": distance_loss(-moved, target),
        "ncc_inner_stn": angle_loss(-moved, target),
        "mrse_zero_target": distance_loss(predicted, zero),
        "ncc_zero_target": angle_loss(predicted, zero),
        "grad_l1": roughness_loss(predicted),
        "grad_l2": roughness_loss(predicted, power=2),
        "grad_l1_dist2": roughness_loss(predicted, lag=2),
        "grad_negdetj": 2 * published_folding_loss(predicted),
        "grad_negdetj_x20": 2 * published_folding_loss(20 * predicted),
    }
    for name, value in terms.items():
        assert float(value) == pytest.approx(float(arrays[name]), rel=1e-5, abs=1e-9), name


def test_golden_gradient(arrays, agree):
    predicted = torch.from_numpy(arrays["pred"]).requires_grad_()
    losses = drdm_losses(predicted, torch.from_numpy(arrays["dvf"]), padding="border")
    losses.total.backward()
    assert losses.total.item() == pytest.approx(float(arrays["total"]), rel=1e-5)
    scale = float(np.abs(arrays["dtotal_dpred"]).max())
    agree(predicted.grad / scale, arrays["dtotal_dpred"] / scale, 1e-5)


def test_a_perfect_prediction():
    """Undoing a uniform shift: distance 0, angle -1, nothing rough or folded."""
    target = torch.full((1, 2, 16, 16), 0.05)
    for folding in ("published", "exact"):
        losses = drdm_losses(-target, target, padding="border", folding=folding)
        assert float(losses.distance) == pytest.approx(0, abs=1e-9)
        assert float(losses.angle) == pytest.approx(-1, abs=1e-5)
        assert float(losses.regularity) == 0


def test_a_distance_over_the_image_is_1_of_no_prediction_and_not_led_by_where_the_target_vanishes():
    target = torch.zeros(2, 2, 8, 8)
    target[:, :, :4] = 0.05
    assert float(distance_loss(torch.zeros_like(target), target, over="image")) == pytest.approx(1, abs=1e-4)
    assert float(distance_loss(-target, target, over="image")) == 0
    unsure = torch.full_like(target, -0.025)  # half of the target where there is one, as much where there is none
    # |q + w|^2 is the same in both halves, |w|^2 is 50 (at the scale of 100) in one and nothing in the other
    assert float(distance_loss(unsure, target, over="image")) == pytest.approx(0.5, abs=1e-4)
    assert float(distance_loss(unsure, target)) > 1000


def test_only_the_exact_penalty_knows_a_fold():
    """A mirror image, u = -2x, turns space over everywhere: its determinant is -1."""
    rows = torch.arange(8.0)[:, None].expand(8, 8)
    field = torch.stack((-2 * rows, torch.zeros(8, 8)))[None]
    assert float(folding_loss(field, unit=1.0)) == pytest.approx(1)
    assert float(published_folding_loss(field)) == 0


@pytest.mark.parametrize("case", ["train2d_fill", "train3d_fill"])
def test_golden_training_steps(case, drdm, vectors, golden_noise, agree):
    network = drdm(0.02, ndims=int(case[5]))
    check_training(case, network.train().requires_grad_(True), vectors(f"drdm/{case}"), golden_noise, agree)


@pytest.mark.reference
def test_golden_training_steps_of_real_weights(reference: Path, golden_noise, agree):
    network = weights.load_published("drdm", reference / "data" / "drdm" / "000000_cmr_recresacnet.pth").train()
    with np.load(reference / "goldens" / "drdm" / "train2d_real.npz") as arrays:
        check_training("train2d_real", network, dict(arrays), golden_noise, agree)


def check_training(case, network, arrays, golden_noise, agree):
    image, ndims = torch.from_numpy(arrays["x"]), network.config.ndims
    config = DiffusionConfig(scale="published", control=int(arrays.get("ctl_size", 64)))
    optimizer = torch.optim.Adam(network.parameters(), lr=float(arrays["lr"]))
    steps = sum(name.startswith("losses_step") for name in arrays)
    for step in range(steps):
        noise = golden_noise(f"{case}/step{step}", image.shape[0], ndims, config)
        drawn = random_field(noise, arrays["t"].tolist(), image.shape[2], config)
        seen = warp(image, drawn.displacement, unit=image.shape[2])
        predicted = network(seen, torch.from_numpy(arrays["t"]))
        losses = drdm_losses(predicted, drawn.target, padding="zeros" if ndims == 2 else "border")
        optimizer.zero_grad()
        losses.total.backward()
        expected = arrays[f"losses_step{step}"]
        tolerances = (1e-5, 1e-5, 1e-4, 1e-5) if step == 0 else (1e-3, 1e-3, 1e-2, 1e-3)
        for made, wanted, tolerance in zip(losses, expected, tolerances, strict=True):
            assert made.item() == pytest.approx(float(wanted), rel=tolerance)
        if step == 0:
            agree(predicted.detach(), arrays["pred_step0"], 5e-6)
            agree(drawn.target, arrays["dvf_step0"], 1e-6)
            agree(seen, arrays["warped_step0"], 1e-5)
            check_gradients(network, arrays)
        optimizer.step()
    after = [name for name in arrays if name.startswith("after.")]
    assert after
    for name in after:
        error = (network.state_dict()[name.removeprefix("after.")] - torch.from_numpy(arrays[name])).abs()
        assert float(error.max()) < 2.5e-4
        assert float(error.median()) < 1e-5


def check_gradients(network, arrays):
    """Compare the norms of gradients that are not noise around zero."""
    found = {name: float(parameter.grad.norm()) for name, parameter in network.named_parameters()}
    wanted = dict(zip(arrays["grad_norm_names"].tolist(), arrays["grad_norms"].tolist(), strict=True))
    assert list(found) == list(wanted)
    normed = tuple(f"{stage}.{block}.conv0.bias" for stage in ("b1", "b2", "b3", "b_mid") for block in range(3))
    least = 1e-3 * max(wanted.values())
    for name, norm in wanted.items():
        if norm > least and name not in normed and not name.startswith("te"):
            assert found[name] == pytest.approx(norm, rel=5e-3), name
