"""Training Super-SloMo: the authors' own step, and what the options change."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from scanweave import weights
from scanweave.errors import InputError, UsageError
from scanweave.interpolation.data import DataConfig
from scanweave.interpolation.schedules import LearningRate, Weight
from scanweave.interpolation.super_slomo_recipe import SuperSlomoRecipe, SuperSlomoRecipeConfig, SuperSlomoTerms
from scanweave.metrics import ssim
from scanweave.models.super_slomo import ADOBE_MEAN, ECHO_MEAN
from scanweave.training import Horizon


def recipe_of(**options):
    recipe = SuperSlomoRecipe(SuperSlomoRecipeConfig(**{"perceptual": "none"} | options), samples=())
    recipe.begin(Horizon(100, 10, 2))
    return recipe


@pytest.fixture(scope="module")
def vgg16(goldens, fill, tmp_path_factory):
    """VGG-16 up to conv4_3 in torchvision's layout, as the goldens' README makes it."""
    shapes = json.loads((goldens / "slowmo_echo" / "keys.json").read_text())["vgg16_to_conv4_3"]
    state = fill({name: torch.zeros(shape) for name, shape in shapes.items()})
    path = tmp_path_factory.mktemp("vgg") / "vgg16-397923af.pth"
    torch.save({name: tensor * (2 if tensor.ndim == 4 else 1) for name, tensor in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def golden(vectors):
    return vectors("slowmo_echo/loss_64x64")


@pytest.fixture(scope="module")
def batch(golden):
    frames = torch.from_numpy(golden["frames_u8"]).permute(0, 1, 4, 2, 3).float() / 255
    times = torch.from_numpy(golden["indices"] + 1).float()[:, None] / 8
    return {"frame0": frames[:, 0], "frame1": frames[:, 2], "targets": frames[:, 1:2], "times": times}


@pytest.fixture(scope="module")
def plain(slomo_state):
    """A recipe without VGG; its network has the goldens' weights."""
    recipe = recipe_of(warp_convention="half_pixel")
    recipe.network.load_state_dict(slomo_state)
    return recipe


@pytest.mark.parametrize("convention", ["half_pixel", "corner"])
def test_a_step_is_that_of_the_published_program(golden, batch, vgg16, slomo_state, convention):
    """Two pairs, each with a time of its own: terms, total, gradients, prediction, and the program's scores."""
    recipe = recipe_of(perceptual="vgg", vgg=vgg16, warp_convention=convention)
    recipe.network.load_state_dict(slomo_state)
    (update,) = recipe.updates(batch, 0)
    names = {"reconstruction": "recon", "warping": "warp", "perceptual": "perceptual", "smoothness": "smooth"}
    for ours, theirs in names.items():
        assert update.logs[ours].item() == pytest.approx(golden[f"{convention}_{theirs}"], rel=1e-4)
    assert update.loss.item() == pytest.approx(golden[f"{convention}_total"], rel=1e-4)
    update.loss.backward()
    for part, theirs in ((recipe.network.flow, "FC"), (recipe.network.refine, "AT")):
        norms = [parameter.grad.norm().item() for parameter in part.parameters()]
        np.testing.assert_allclose(norms, golden[f"{convention}_gradnorm_{theirs}"], rtol=5e-3)
        for name in ("conv3.bias", "conv1.bias"):
            wanted = golden[f"{convention}_grad_{theirs}_{name}"]
            np.testing.assert_allclose(part.get_parameter(name).grad, wanted, atol=5e-3 * np.abs(wanted).max())
    with torch.no_grad():
        made = recipe.judge(batch, {}).made[:, 0]
    mean, truth = recipe.network.mean, batch["targets"][:, 0]
    np.testing.assert_allclose(made - mean, golden[f"{convention}_pred"], atol=1e-4)
    assert -10 * math.log10((made - truth).square().mean()) == pytest.approx(golden[f"{convention}_psnr"], abs=1e-3)
    similarity = ssim(made - mean, truth - mean, peak=float((made - mean).max()), window="uniform")
    assert similarity == pytest.approx(golden[f"{convention}_ssim"], abs=1e-4)


def test_the_optimizer_is_adam_over_the_refining_network_first(plain):
    (group,) = plain.optimizers()["super-slomo"].param_groups
    assert group["params"][0] is plain.network.refine.conv1.weight
    assert len(group["params"]) == 2 * 46
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-4, (0.9, 0.999), 1e-8, 0)


def test_several_times_per_pair_are_those_of_each_alone(plain, batch):
    two = {**batch, "targets": batch["targets"].repeat(1, 2, 1, 1, 1), "times": torch.tensor([[0.2, 0.7], [0.4, 0.9]])}
    with torch.no_grad():
        together = plain.judge(two, {"reconstruction": 1.0, "warping": 1.0})
        alone = [
            plain.judge({**batch, "times": two["times"][:, i : i + 1]}, {"reconstruction": 1.0, "warping": 1.0})
            for i in range(2)
        ]
    torch.testing.assert_close(together.made, torch.cat([one.made for one in alone], dim=1), rtol=0, atol=1e-5)
    for name, term in together.terms.items():
        torch.testing.assert_close(term, sum(one.terms[name] for one in alone) / 2, rtol=1e-5, atol=1e-6)


def test_without_vgg_the_term_is_refused_replaced_or_left_out_by_name(plain, batch):
    with pytest.raises(UsageError, match="perceptual: laplacian, or by none"):
        SuperSlomoRecipe(SuperSlomoRecipeConfig(), samples=())
    assert set(next(plain.updates(batch, 0)).logs) == {"reconstruction", "warping", "smoothness"}
    terms = SuperSlomoTerms(perceptual=Weight(values=(102.0,)))
    replaced = next(recipe_of(perceptual="laplacian", terms=terms).updates(batch, 0))
    assert set(replaced.logs) == {"reconstruction", "warping", "perceptual", "smoothness"}


def test_sizes_that_the_network_cannot_take_are_refused_by_name(plain):
    odd = {key: torch.zeros(1, 3, 40, 64) for key in ("frame0", "frame1")}
    odd |= {"targets": torch.zeros(1, 1, 3, 40, 64), "times": torch.full((1, 1), 0.5)}
    with pytest.raises(InputError, match=r"multiples of 32 .* not 40 x 64"):
        next(plain.updates(odd, 0))
    plain.network.eval()
    with torch.no_grad():  # in validation frames are padded
        assert plain.validate(odd)["psnr"].shape == (1,)


def test_fresh_weights_warp_exactly_by_default():
    config = recipe_of().network.config
    assert (config.warp_convention, config.mean) == ("exact", ECHO_MEAN)


def test_exported_weights_load_in_both_layouts_and_training_goes_on_from_them(batch, slomo_state, tmp_path, recwarn):
    data = DataConfig(sampling="super-slomo-train", augmentation="super-slomo")
    rate = LearningRate(strategy="constant", base=1e-4)
    recipe = recipe_of(warp_convention="half_pixel", rate=rate, data=data)
    recipe.network.load_state_dict(slomo_state)
    for step in range(2):
        (update,) = recipe.updates(batch, step)
        update.loss.backward()
        recipe.optimizers()["super-slomo"].step()
    ours, theirs = recipe.export(tmp_path, "final")
    loaded = weights.load_published("super-slomo", theirs)
    assert not [warning for warning in recwarn if issubclass(warning.category, weights.WeightsWarning)]
    recipe.network.eval()
    with torch.no_grad():
        pair = batch["frame0"], batch["frame1"], [0.5]
        assert torch.equal(loaded(*pair), recipe.network(*pair))
    assert set(weights.card_of(loaded).training) >= {"epoch", "learningRate", "valSSIM", "timestamp"}
    again = recipe_of(start=str(ours), mean=ADOBE_MEAN)
    assert (again.network.config.warp_convention, again.network.config.mean) == ("half_pixel", ADOBE_MEAN)
    assert torch.equal(again.network.flow.conv1.weight, recipe.network.flow.conv1.weight)
    assert weights.read_card(ours).trained_times == tuple(k / 8 for k in range(1, 8))


def test_the_flow_network_rests_during_the_first_steps():
    assert recipe_of(frozen_steps=5).trainable(4) == {"network.flow": False}
