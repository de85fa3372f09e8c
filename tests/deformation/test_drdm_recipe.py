"""Training DRDM: what a step does, how held-out images are scored, what is written, and the named presets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import TypeAdapter

import scanweave.deformation
from scanweave import weights
from scanweave.cli import main
from scanweave.deformation.augmentation import AugmentationConfig
from scanweave.deformation.config import DiffusionConfig, RecoveryConfig
from scanweave.deformation.data import DataConfig
from scanweave.deformation.diffusion import draw_noise, integrate, integrate_by_squaring, random_field
from scanweave.deformation.recipe import RECIPES, DrdmRecipeConfig, ValidationConfig, drdm
from scanweave.deformation.simulated import SimulationConfig
from scanweave.errors import InputError, UsageError
from scanweave.training import Horizon, TrainingConfig
from scanweave.training.loading import load
from scanweave.training.order import validation_draw
from scanweave.training.schedules import Rate

PRESETS = sorted((Path(scanweave.deformation.__file__).parent / "recipes").glob("*.yaml"))
QUICK = ValidationConfig(levels=(5, 40), start=20, copies=2, recovery=RecoveryConfig(steps=1, floor=None))


def config_of(**options) -> DrdmRecipeConfig:
    given = {
        "source": "simulation",
        "simulation": SimulationConfig(side=16, length=8, validation_length=2, anatomies=("heart",)),
        "diffusion": DiffusionConfig(control=16),
        "validation": QUICK,
    }
    return DrdmRecipeConfig(**(given | options))


def batch_of(samples, count: int):
    parts = [[validation_draw(samples, index, seed=0) for index in range(count)]]
    return next(iter(load(samples, parts, device=torch.device("cpu"))))


def begun(**options):
    recipe = drdm(config_of(**options))
    recipe.begin(Horizon(20, 4, 2))
    return recipe


# --- fields by squaring


def test_squaring_a_uniform_velocity_multiplies_it():
    velocity = torch.full((4, 2, 16, 16), 0.01)
    times = [0, 1, 5, 12]
    found = integrate_by_squaring(velocity, times, padding="border")
    for row, count in enumerate(times):
        assert torch.allclose(found[row], torch.full((2, 16, 16), 0.01 * count), atol=1e-6)
        one = integrate_by_squaring(velocity[:1], [count], padding="border")
        assert torch.allclose(one[0], found[row])


@pytest.mark.parametrize("ndims", [2, 3])
def test_squaring_differs_from_the_published_integration_by_interpolation_only(ndims):
    config = DiffusionConfig(control=16)
    noise = draw_noise(ndims, config, generator=torch.Generator().manual_seed(0))
    exact = random_field(noise, [60], 32, config)
    quick = random_field(noise, [60], 32, config, squaring=True)
    assert torch.allclose(exact.target, quick.target, atol=2e-5)
    error = (exact.displacement - quick.displacement).abs().mean()
    assert float(error) < 0.01 * float(exact.displacement.abs().mean())
    assert integrate is not integrate_by_squaring


# --- steps


@pytest.mark.parametrize("ndims", [2, 3])
def test_a_step_tells_the_terms_and_the_angle_by_levels(ndims):
    recipe = begun(ndims=ndims)
    (update,) = recipe.updates(batch_of(recipe.samples(), 2), 0)
    terms = {name: float(torch.as_tensor(value).detach()) for name, value in update.logs.items()}
    expected = terms["distance"] + terms["angle"] + 10 * terms["regularity"]
    assert float(update.loss.detach()) == pytest.approx(expected, rel=1e-5)
    bands = [name for name in terms if name.startswith("angle_")]
    assert bands == ["angle_0_to_19", "angle_20_to_39", "angle_40_to_59", "angle_60_to_79"]
    there = [terms[name] for name in bands if terms[name] == terms[name]]
    assert 1 <= len(there) <= 2
    update.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in recipe.network.parameters())


def test_training_lowers_the_loss_on_what_it_sees():
    recipe = begun(
        output_scale=0.1, rate=Rate(strategy="constant", base=3e-3), augmentation=AugmentationConfig(noise=0)
    )
    batch = batch_of(recipe.samples(), 2)
    batch = {**batch, "level": torch.full((2,), 60)}
    losses = []
    for step in range(12):
        (update,) = recipe.updates(batch, step)
        recipe.optimizers()["drdm"].zero_grad()
        update.loss.backward()
        recipe.optimizers()["drdm"].step()
        losses.append(float(update.loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_the_angle_is_learnt_where_the_last_kernel_keeps_to_small_steps():
    recipe = begun(
        augmentation=AugmentationConfig(turn=0, flip=0, stretch=0, noise=0),
        distance="image",
        output_scale=0.02,
        output_rate=0.02,
        recursions=1,
        rate=Rate(strategy="constant", base=3e-3),
    )
    batch = batch_of(recipe.samples(), 2)
    batch = {**batch, "level": torch.full((2,), 60)}
    angles = []
    for step in range(60):
        (update,) = recipe.updates(batch, step)
        recipe.optimizers()["drdm"].zero_grad()
        update.loss.backward()
        recipe.optimizers()["drdm"].step()
        angles.append(float(torch.as_tensor(update.logs["angle"]).detach()))
    assert angles[0] > -0.3
    assert angles[-1] < -0.7


def test_regularity_has_the_weight_it_is_given():
    for weight in (0.0, 500.0):
        recipe = begun(regularity=weight)
        (update,) = recipe.updates(batch_of(recipe.samples(), 2), 0)
        terms = {name: float(torch.as_tensor(value).detach()) for name, value in update.logs.items()}
        expected = terms["distance"] + terms["angle"] + weight * terms["regularity"]
        assert float(update.loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_a_seed_is_one_field_whatever_else_is_in_the_batch():
    recipe = begun(augmentation=AugmentationConfig(turn=0, flip=0, stretch=0, noise=0))
    batch = batch_of(recipe.samples(), 2)
    both = recipe.judge(batch["image"], batch["level"], batch["seed"].tolist())
    alone = recipe.judge(batch["image"][1:], batch["level"][1:], batch["seed"][1:].tolist())
    assert torch.allclose(both.target[1:], alone.target, atol=1e-7)
    assert torch.allclose(both.seen[1:], alone.seen, atol=1e-5)


def test_images_of_another_form_are_refused():
    recipe = begun()
    batch = batch_of(recipe.samples(), 2)
    for image in (torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 24), torch.rand(2, 1, 16, 16, 16)):
        with pytest.raises(InputError, match=r"recipe\.channels"):
            next(recipe.updates({**batch, "image": image}, 0))


# --- validation, pictures, export


def test_held_out_images_are_scored_by_level_and_by_yardsticks():
    recipe = begun()
    batch = batch_of(recipe.validation(), 2)
    scores = recipe.validate(batch)
    assert {"loss", "angle", "angle_5", "angle_40", "distance_40", "folded", "moved", "roughness", "diversity"} <= set(
        scores
    )
    assert all(values.shape == (2,) for values in scores.values())
    assert torch.allclose(scores["angle"], (scores["angle_5"] + scores["angle_40"]) / 2)
    one = recipe.validate({name: item[1:] for name, item in batch.items()})
    assert all(torch.allclose(one[name][0], scores[name][1], rtol=1e-4, equal_nan=True) for name in scores)
    assert recipe.monitor.removeprefix("-") in scores
    assert {name: tuple(picture.shape) for name, picture in recipe.pictures(batch).items()} == {
        "image_deformed_undone": (1, 16, 3 * 16 + 2 * 4)
    }


def test_without_copies_there_are_no_yardsticks():
    recipe = begun(validation=dataclasses.replace(QUICK, copies=0))
    assert "folded" not in recipe.validate(batch_of(recipe.validation(), 1))


def test_weights_are_written_in_both_layouts_and_training_goes_on_from_either(tmp_path):
    recipe = begun(init_seed=5)
    recipe.network.eval()
    ours, theirs = recipe.export(tmp_path, "best")
    assert theirs == tmp_path / "best" / "models" / "simulated_recresacnet" / "000000_simulated_recresacnet.pth"
    card = weights.card_of(weights.open("drdm", str(ours)))
    assert card.training["images"] == 8
    assert card.training["config"]["simulation"]["side"] == 16
    for file in (ours, theirs):
        again = begun(start=str(file))
        assert torch.equal(again.network.conv_out.weight, recipe.network.conv_out.weight)
        assert again.describe()["started_from"] != "fresh weights"
        with pytest.raises(UsageError, match="ndims 2, not 3"):
            drdm(config_of(start=str(file), ndims=3))


def test_a_fresh_network_may_begin_with_small_fields():
    small, whole = (begun(output_scale=scale).network.conv_out for scale in (0.1, 1.0))
    assert torch.allclose(small.weight, 0.1 * whole.weight)
    assert torch.allclose(small.bias, 0.1 * whole.bias)


def test_the_last_kernel_may_learn_at_a_share_of_the_rate():
    moved = {}
    for share in (1.0, 0.25):
        recipe = begun(output_rate=share)
        optimizer = recipe.optimizers()["drdm"]
        before = {name: value.detach().clone() for name, value in recipe.network.named_parameters()}
        for parameter in recipe.network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        assert {group["lr"] for group in optimizer.param_groups} == {recipe.config.rate.base}
        after = dict(recipe.network.named_parameters())
        moved[share] = {name: float((after[name] - value).detach().abs().mean()) for name, value in before.items()}
    for name, whole in moved[1.0].items():
        wanted = 0.25 if name.startswith("conv_out") else 1.0
        assert moved[0.25][name] == pytest.approx(wanted * whole, rel=1e-3)


@pytest.mark.parametrize(
    "options", [{"steps": 40}, {"least_level": 80}, {"channels": 3}, {"source": "folder", "data": DataConfig()}]
)
def test_configurations_that_contradict_themselves_are_refused(options):
    if "steps" in options:
        options = options | {"validation": ValidationConfig(levels=(50,))}
    with pytest.raises(UsageError):
        drdm(config_of(**options))


# --- presets and the command


def loaded(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(content) == {"training", "recipe"}
    training = TypeAdapter(TrainingConfig).validate_python(content["training"])
    return training, TypeAdapter(DrdmRecipeConfig).validate_python(content["recipe"])


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_loads_and_misses_its_data_only(path):
    training, config = loaded(path)
    assert training.length(10) > 0
    assert config.ndims == int(path.stem[-2])
    if config.source == "folder":
        with pytest.raises(UsageError, match=r"data\.path"):
            RECIPES["drdm"].build(config)
    else:
        assert len(RECIPES["drdm"].build(config).samples()) >= training.batch


@pytest.mark.parametrize("ndims", [2, 3])
def test_as_published(ndims):
    training, config = loaded(next(path for path in PRESETS if path.stem == f"drdm-published-{ndims}d"))
    assert (training.epochs, training.batch, training.clip_norm) == (10000, {2: 64, 3: 4}[ndims], None)
    assert (config.data.side, config.data.name) == {2: (256, "cmr"), 3: (128, "lct")}[ndims]
    assert config.field_padding == {2: "zeros", 3: "border"}[ndims]
    assert (config.folding, config.squaring, config.diffusion.scale) == ("published", False, "published")
    assert (config.least_level, config.recursions, config.average, config.augmentation.per) == (0, 2, None, "batch")
    assert config.rate.at(10**6, Horizon(10**7, 10, 1)) == 1e-4
    assert not config.validate


def test_the_command_trains_on_a_folder_and_resumes(tmp_path, capsys):
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.random.default_rng(number).random((2, 12, 16)).astype(np.float32))
    words = [
        "train",
        "drdm",
        "--config",
        "drdm-fast-2d",
        "--recipe.data.path",
        str(tmp_path),
        "-o",
        str(tmp_path / "run"),
    ]
    words += ["--training.batch", "2", "--training.workers", "0", "--training.device", "cpu"]
    words += ["--recipe.data.side", "16", "--recipe.diffusion.control", "16", "--recipe.validation.copies", "0"]
    words += ["--recipe.data.held-out", "0.25", "--recipe.validation.levels", "40"]
    assert main([*words, "--training.steps", "1"]) == 0
    assert main([*words, "--training.steps", "2", "--resume"]) == 0
    assert (tmp_path / "run" / "weights" / "final.safetensors").is_file()
    assert "2 steps" in capsys.readouterr().out
