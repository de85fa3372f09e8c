"""Training block-fusion: what samples hold, what is minimised, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import scanweave.fusion
from scanweave import weights
from scanweave.fusion.block_recipe import BlockFusionRecipe, BlockFusionRecipeConfig, block_fusion
from scanweave.fusion.recipe import RECIPES
from scanweave.fusion.simulated import SimulatedScenes, SimulationConfig
from scanweave.training import Horizon, TrainingConfig, train
from scanweave.training.order import validation_draw
from scanweave.training.settings import build, read_settings

PRESET = Path(scanweave.fusion.__file__).parent / "recipes" / "block-fusion-simulated.yaml"
SMALL = SimulationConfig(side=32, length=8, validation_length=2)
PERFECT = SimulationConfig(side=32, perfect=1, same=1, calm=0, noise=(0.05, 0.06))


def samples(config: SimulationConfig, count: int = 6) -> list[dict[str, torch.Tensor]]:
    source = SimulatedScenes(config, count)
    return [source.make(validation_draw(source, k, seed=5)) for k in range(count)]


def joined(found: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([one[name] for one in found]) for name in found[0]}


def recipe(**options) -> BlockFusionRecipe:
    config = BlockFusionRecipeConfig(simulation=SMALL, widths=(8, 8, 8), depths=(1, 1), bottom=1, **options)
    made = block_fusion(config)
    made.begin(Horizon(100, 3, 2))
    return made


def test_a_sample_is_decided_by_plain_json():
    source = SimulatedScenes(SMALL, 8)
    drawn = source.draw(0, generator=np.random.default_rng(3))
    first, again = source.make(drawn), source.make(json.loads(json.dumps(drawn, allow_nan=False)))
    shapes = {"coarse": (5, 1, 8, 8), "sharp": (5, 1, 32, 32), "times": (3,), "spread": (1, 8, 8)}
    assert {name: tuple(first[name].shape) for name in shapes} == shapes
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in first.values())
    assert 0 < first["times"][0] < 1


def test_a_perfect_coarse_camera_tells_the_means_of_blocks_and_their_noise():
    for one in samples(PERFECT):
        torch.testing.assert_close(F.avg_pool2d(one["target"], 4), one["coarse"][1], atol=1e-3, rtol=1e-5)
        for k in (0, 1):  # of the frames at both sharp ones, too
            torch.testing.assert_close(F.avg_pool2d(one["sharp"][k], 4), one["coarse"][3 + k], atol=1e-3, rtol=1e-5)
        assert 0.5 < one["unknown"] < 1.2  # about 15/16 of a unit's square


def test_still_scenes_have_the_noise_that_is_told():
    config = SimulationConfig(side=64, fastest=1.01, perfect=1, same=0, calm=0, noise=(0.08, 0.081), others=1)
    found = [float((one["sharp"][0] - one["sharp"][1]).var() / 2) for one in samples(config, 12)]
    assert 0.4 < np.median(found) < 1.3  # told of up to twice as strong


def test_without_noise_the_target_is_the_scene():
    config = SimulationConfig(side=32, perfect=1, calm=1)
    for one in samples(config, 3):
        torch.testing.assert_close(F.avg_pool2d(one["target"], 4), one["coarse"][1], atol=1e-2, rtol=1e-5)
        assert one["unknown"] == 0.25
        assert one["spread"].abs().max() < 1e-5


def test_fresh_weights_gain_little_and_steps_gain_more():
    batch = joined(samples(SMALL, 4))
    made = recipe()
    losses = []
    for step in range(30):
        (update,) = made.updates(batch, step)
        optimizer = made.optimizers()[update.optimizer]
        optimizer.zero_grad()
        update.loss.backward()
        optimizer.step()
        losses.append(update.loss.item())
    assert losses[-1] < losses[0] - 0.3


def test_the_loss_is_the_negative_of_a_psnr_to_frames_as_recorded():
    batch = joined(samples(PERFECT, 2))
    made = recipe()
    (update,) = made.updates(batch, 0)
    error = (made.made(batch) - batch["target"]).square().mean(dim=(1, 2, 3))
    assert update.loss.item() == pytest.approx((10 * (error + batch["unknown"]).log10()).mean().item(), rel=1e-5)
    scores = made.validate(batch)
    assert scores["loss"].mean().item() == pytest.approx(update.loss.item(), rel=1e-5)
    assert scores["gain"].shape == (2,)


def test_it_trains_by_the_engine_and_its_weights_open_again(tmp_path):
    config = TrainingConfig(steps=2, batch=2, device="cpu", validate_every=1, checkpoint_every=1, explode=None)
    train(recipe(), config, tmp_path / "run")
    path = tmp_path / "run" / "weights" / "final.safetensors"
    network = weights.open("block-fusion", path)
    card = weights.card_of(network)
    assert card.config["widths"] == (8, 8, 8)
    assert card.training["config"]["simulation"]["side"] == 32
    weights.try_out(network)
    published = weights.export_published("block-fusion", network, tmp_path / "bare.pth")
    again = weights.load_published("block-fusion", published)
    assert again.config == network.config
    assert all(torch.equal(again.state_dict()[key], value) for key, value in network.state_dict().items())


def test_the_shipped_configuration_is_that_of_the_recipe():
    settings = read_settings(PRESET)
    config = build(RECIPES["block-fusion"].config, settings["recipe"], section="recipe")
    assert config.widths == (96, 96, 128)
    assert build(TrainingConfig, settings["training"], section="training").batch == 8
