"""Training Uni-COAL: what a step does, how held-out slices are scored, what is written, and that it resumes exactly."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

import scanweave.synthesis
from scanweave import weights
from scanweave.cli import main
from scanweave.errors import InputError, UsageError, WeightsError
from scanweave.models import SamEncoder, SamEncoderConfig
from scanweave.synthesis import recipe as recipe_module
from scanweave.synthesis.config import CriticConfig, GeneratorConfig, LossConfig, TaskConfig
from scanweave.synthesis.recipe import UniCoalRecipe, UniCoalRecipeConfig
from scanweave.training import Horizon, TrainingConfig, train
from scanweave.training.loading import load
from scanweave.training.order import validation_draw
from scanweave.training.samples import Samples
from scanweave.training.schedules import Rate
from scanweave.training.settings import build, read_settings

PRESETS = sorted((Path(scanweave.synthesis.__file__).parent / "recipes").rglob("*.yaml"))
SMALL = GeneratorConfig(
    latent=4, width=8, layers=4, channel_base=32, channel_max=4, skip_resolution=16, margin=2, oversampled=1
)
JUDGE = CriticConfig(channel_base=64, channel_max=4, embedded=4, group=2)


class Slices(Samples):
    """Six slices of noise, the target a darker copy of the source."""

    pixel_mm = 1.5

    def __init__(self, *, position: float = 0.0, contrasts: int = 1) -> None:
        self.position, self.contrasts = position, contrasts

    def __len__(self) -> int:
        return 6

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, int]:
        return {"seed": int(generator.integers(2**40)), "index": index}

    def make(self, drawn) -> dict[str, torch.Tensor]:
        noise = np.random.default_rng(drawn["seed"]).uniform(-1, 1, (4, 16, 16)).astype(np.float32)
        source = torch.from_numpy(noise)
        return {
            "source": source,
            "target": 0.5 * source[1:2] - 0.25,
            "contrast": torch.eye(self.contrasts)[drawn["index"] % self.contrasts],
            "position": torch.tensor([self.position]),
            "seed": torch.tensor(drawn["seed"]),
        }


def config_of(**options) -> UniCoalRecipeConfig:
    given = {
        "task": TaskConfig(side=16),
        "generator": SMALL,
        "critic": JUDGE,
        "loss": LossConfig(blur=2.0, blur_fade=8),
    }
    return UniCoalRecipeConfig(**(given | options))


def begun(samples: Samples | None = None, **options) -> UniCoalRecipe:
    samples = samples or Slices()
    recipe = UniCoalRecipe(config_of(**options), samples, samples)
    recipe.begin(Horizon(100, 3, 2))
    return recipe


def batch_of(samples: Samples, count: int):
    parts = [[validation_draw(samples, index, seed=0) for index in range(count)]]
    return next(iter(load(samples, parts, device=torch.device("cpu"))))


def stepped(recipe: UniCoalRecipe, batch, step: int) -> dict[str, float]:
    """Take a step as the engine does; return what was logged."""
    told = {}
    for update in recipe.updates(batch, step):
        optimizer = recipe.optimizers()[update.optimizer]
        parameters = [value for group in optimizer.param_groups for value in group["params"]]
        for value, gradient in zip(
            parameters, torch.autograd.grad(update.loss, parameters, allow_unused=True), strict=True
        ):
            value.grad = gradient
        recipe.on_gradients(update.optimizer, parameters, step)
        optimizer.step()
        told[f"loss/{update.optimizer}"] = float(update.loss.detach())
        told |= {name: float(torch.as_tensor(value).detach()) for name, value in update.logs.items()}
    return told


# --- steps


def test_a_step_takes_the_critic_first_and_logs_pure_terms():
    recipe = begun()
    told = stepped(recipe, batch_of(recipe.samples(), 4), 0)
    assert told["blur"] == 2
    assert told["loss/critic"] == pytest.approx(told["fake"] + told["real"] + 10 * told["penalty"], rel=1e-5)
    assert told["loss/uni-coal"] == pytest.approx(80 * told["absolute"] + told["adversarial"], rel=1e-5)
    told = stepped(recipe, batch_of(recipe.samples(), 4), 4)
    assert told["blur"] == 0


def test_without_a_weight_there_is_no_critic():
    recipe = begun(loss=LossConfig(adversarial=0, blur=0))
    assert set(recipe.modules()) == {"network"}
    (update,) = recipe.updates(batch_of(recipe.samples(), 2), 0)
    assert set(update.logs) == {"absolute", "blur"}


def test_the_penalty_can_be_lazy_and_is_as_strong_on_the_whole():
    eager, lazy = begun(), begun(loss=LossConfig(blur=0, penalty_every=4))
    batch = batch_of(eager.samples(), 4)
    assert math.isnan(float(next(lazy.updates(batch, 1)).logs["penalty"]))
    update = next(lazy.updates(batch, 4))
    expected = update.logs["fake"] + update.logs["real"] + 40 * update.logs["penalty"]
    assert float(update.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert "penalty" in next(eager.updates(batch, 1)).logs


def test_training_lowers_the_error_on_what_it_sees():
    recipe = begun(loss=LossConfig(adversarial=0, blur=0), rate=Rate(base=2e-2), momentum=0.9)
    batch = batch_of(recipe.samples(), 4)
    losses = [stepped(recipe, batch, step)["absolute"] for step in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_styles_of_a_subject_are_one_and_mix_where_asked():
    plain, mixing = begun(), begun(style_mixing=1.0)
    seeds = [3, 3, 5]
    z = plain._latent(seeds, 0)
    assert torch.equal(z[0], z[1])
    assert not torch.equal(z[0], z[2])
    ours, others = torch.zeros(3, 6, 8), torch.ones(3, 6, 8)
    mixed = mixing._mixed(ours, others, seeds)
    assert bool((mixed[:, 0] == 0).all())
    assert bool((mixed[:, -1] == 1).all())
    assert torch.equal(mixed[0], mixed[1])
    assert torch.equal(plain._mixed(ours, others, seeds), ours)


def test_gradients_that_are_not_finite_are_mended_as_published():
    recipe = begun()
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([math.nan, math.inf, -math.inf])
    recipe.on_gradients("critic", [weight], 0)
    assert weight.grad.tolist() == [0, 1e5, -1e5]


def test_positions_are_told_where_slices_lie_between_others():
    between = TaskConfig(sources=("T1",), targets=("T1",), spacings=(4.0,), side=16)
    samples = Slices(position=0.5)
    recipe = begun(samples, task=between)
    assert recipe.network.config.position
    assert recipe.network.config.encoder_position
    assert recipe.critic.config.position
    batch = batch_of(samples, 2)
    recipe.network.eval()
    with torch.no_grad():
        there = recipe.made(batch)
        here = recipe.made({**batch, "position": torch.zeros(2, 1)})
    assert not torch.equal(there, here)
    lost = begun(samples, task=between, untold_position=True)
    lost.network.eval()
    with torch.no_grad():
        assert torch.equal(lost.made(batch), lost.made({**batch, "position": torch.zeros(2, 1)}))
    blind = GeneratorConfig(**{**SMALL.__dict__, "position": False, "encoder_position": False})
    with pytest.raises(UsageError, match="told no position"):
        begun(samples, task=between, generator=blind)


def test_average_weights_have_the_published_half_life():
    recipe = begun(average_ramp=None)
    assert recipe.averages(0) == {"network": pytest.approx(0.5 ** (2 / 10_000))}
    ramped = begun(average_ramp=0.05)
    assert ramped.averages(0)["network"] == pytest.approx(0.5 ** (2 / 0.1))
    assert begun(average_images=None).averages(0) == {}
    with pytest.raises(UsageError, match="both given"):
        config_of(average=0.9)


def test_layers_rest_and_rates_fall_where_asked():
    recipe = begun(frozen_layers=2, rate=Rate(base=1e-3), critic_rate=Rate(strategy="constant", base=2e-3))
    first, second = recipe.network.synthesis.names[:2]
    assert recipe.trainable(0) == {f"network.synthesis.{first}": False, f"network.synthesis.{second}": False}
    assert recipe.learning_rate(0)["uni-coal"] == pytest.approx(1e-3)
    assert recipe.learning_rate(99)["uni-coal"] < 2e-4
    assert recipe.learning_rate(99)["critic"] == 2e-3


def test_samples_of_another_size_are_refused():
    recipe = begun(task=TaskConfig(side=32), generator=SMALL)
    with pytest.raises(InputError, match="do not fit"):
        next(recipe.updates(batch_of(Slices(), 2), 0))


# --- SAM


def test_sam_is_off_with_a_clear_message_where_there_are_no_weights(tmp_path):
    with pytest.raises(UsageError, match=r"sam_vit_b_01ec64.pth, or train without it"):
        begun(loss=LossConfig(features=100))
    with pytest.raises(WeightsError):
        begun(loss=LossConfig(features=100, sam=str(tmp_path / "missing.pth")))


def test_sam_guides_the_generator_and_is_left_as_it_is(tmp_path):
    encoder = SamEncoder(SamEncoderConfig(side=32, width=16, depth=1, heads=2, window=2, everywhere=(0,), features=4))
    state = {f"image_encoder.{key}": value for key, value in encoder.state_dict().items()}
    torch.save(state, tmp_path / "sam.pth")
    recipe = begun(loss=LossConfig(features=100, sam=str(tmp_path / "sam.pth"), adversarial=0, blur=0))
    before = {key: value.clone() for key, value in recipe.sam.state_dict().items()}
    told = stepped(recipe, batch_of(recipe.samples(), 4), 0)
    assert told["loss/uni-coal"] == pytest.approx(80 * told["absolute"] + 100 * told["features"], rel=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in recipe.sam.state_dict().items())
    assert not any(parameter.requires_grad for parameter in recipe.sam.parameters())


# --- scores and files


def test_equal_slices_score_best_and_background_does_not_count():
    recipe = begun()
    batch = dict(batch_of(recipe.samples(), 2))
    batch["target"] = torch.full_like(batch["target"], -1.0)
    batch["target"][:, :, :8] = 0.5
    with torch.no_grad():
        made = recipe.network.eval() and recipe.made(batch)
    scores = recipe.validate(batch)
    inside = ((made.clamp(-1, 1) - batch["target"])[:, :, :8] / 2).square().mean(dim=(1, 2, 3))
    np.testing.assert_allclose(scores["psnr"].numpy(), -10 * np.log10(inside.numpy()), rtol=1e-4)
    assert set(scores) == {"psnr", "ssim", "mae"}
    pictures = recipe.pictures(batch)["sources_made_truth"]
    assert pictures.shape == (1, 16, 16 * 3 + 4 * 2)


def quick(**options) -> TrainingConfig:
    given = {"steps": 4, "batch": 2, "device": "cpu", "validate_every": 2, "checkpoint_every": 2, "log_every": 1}
    return TrainingConfig(**(given | options))


def test_it_resumes_exactly_and_writes_what_can_be_opened(tmp_path):
    whole = train(begun(), quick(), tmp_path / "whole", job="uni-coal", settings={})
    train(begun(), quick(steps=2), tmp_path / "parts", job="uni-coal", settings={})
    train(begun(), quick(), tmp_path / "parts", job="uni-coal", settings={}, resume=True)
    names = ("final.safetensors", "final_net_G_ema.pth", "final_net_D.pth")
    assert {path.name for path in whole.files} >= set(names)
    first, second = (weights.open("uni-coal", tmp_path / run / "weights" / names[0]) for run in ("whole", "parts"))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    critic = weights.open("uni-coal-critic", tmp_path / "whole" / "weights" / names[2])
    assert critic.config.channels_in == 5
    card = weights.card_of(first)
    assert card.training["config"]["task"]["targets"] == ["T2"] and card.training["pixel_mm"] == 1.5
    again = begun(start=str(tmp_path / "whole" / "weights" / names[0]))
    assert again.network.config == first.config
    with pytest.raises(UsageError, match="resolution 16, not 32"):
        begun(start=str(tmp_path / "whole" / "weights" / names[0]), task=TaskConfig(side=32))


# --- presets


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_are_sound(preset):
    settings = read_settings(preset)
    build(TrainingConfig, settings.get("training", {}), section="training")
    config = build(UniCoalRecipeConfig, settings["recipe"], section="recipe")
    assert TypeAdapter(UniCoalRecipeConfig).validate_python(settings["recipe"]) == config


@pytest.mark.parametrize(
    ("preset", "generator", "critic"),
    [
        ("ixi-allrand", "ixi_allrand_unmodulated", "ixi_allrand"),
        ("ixi-6-final", "ixi_6_final", "ixi_6_final"),
        ("adni-cmsr-as-published", "adni_cmsr_sam", "adni_cmsr_sam"),
        ("brats-t1-t2", "brats19_final", "brats19_final"),
    ],
)
def test_networks_of_presets_have_the_published_shapes(preset, generator, critic, goldens):
    published = json.loads((goldens / "uni_coal" / "keys.json").read_text())
    settings = read_settings(PRESETS[0].parent / f"uni-coal-{preset}.yaml")
    config = build(UniCoalRecipeConfig, settings["recipe"], section="recipe")
    with torch.device("meta"):
        made = {"G": recipe_module._generator(config), "D": recipe_module._critic(config)}
    for part, name in {"G": generator, "D": critic}.items():
        shapes = {key: list(value.shape) for key, value in made[part].state_dict().items()}
        assert shapes == published[f"{part}/{name}"]


def test_presets_inherit_from_the_file_that_they_name(tmp_path):
    folder = PRESETS[0].parent
    final = read_settings(folder / "uni-coal-ixi-6-final.yaml")["recipe"]
    assert final["generator"] == {"latent": 64, "mapping_layers": 2, "encoder_modulated": True}
    assert final["task"]["spacings"] == [4, 6, 2, 1]
    assert final["task"]["take"] == "one"
    assert final["rate"] == {"strategy": "constant", "base": 2.5e-3}
    assert final["loss"]["features"] == 100
    first = read_settings(folder / "uni-coal-ixi-allrand.yaml")["recipe"]
    assert first["generator"]["latent"] == 512
    (tmp_path / "a.yaml").write_text("base: b.yaml\nrecipe: {start: x}\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(InputError, match="based on itself"):
        read_settings(tmp_path / "a.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        (tmp_path / "b.yaml").write_text("base: missing.yaml\n")
        read_settings(tmp_path / "a.yaml")


def test_two_commands_train_and_evaluate_a_tiny_model_of_a_folder(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for split, count in {"train": 3, "test": 2}.items():
        for number in range(count):
            for contrast in ("T1", "T2"):
                path = tmp_path / "in" / split / f"{split}{number}" / f"{split}{number}_{contrast}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                voxels = rng.integers(0, 200, (20, 18, 8)).astype(np.int16)
                nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    words = ["train", "uni-coal", "--config", "uni-coal-tiny", "--recipe.data.path", str(tmp_path / "in")]
    words += ["-o", str(tmp_path / "out"), "--training.steps", "2", "--recipe.task.side", "16"]
    words += ["--recipe.generator.channel-base", "64", "--recipe.generator.layers", "4"]
    assert main(words) == 0
    assert "psnr" in capsys.readouterr().out
    found = tmp_path / "out" / "weights" / "best.safetensors"
    words = ["evaluate", "synthesis", str(tmp_path / "in" / "test"), "--task", "translation_T1_T2"]
    words += ["--method", "uni-coal", "--weights", str(found), "-o", str(tmp_path / "scores"), "--json"]
    assert main(words) == 0
    with (tmp_path / "scores" / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["subject"] for row in rows if "uni-coal" in row["method"]} == {"test0", "test1"}
