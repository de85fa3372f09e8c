"""Training MoSt-DSA: the authors' own step, and what the options change."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from scanweave import weights
from scanweave.errors import InputError, UsageError, WeightsError
from scanweave.interpolation.data import DataConfig
from scanweave.interpolation.most_dsa_recipe import MostDsaRecipe, MostDsaRecipeConfig, MostDsaTerms, batch_norm
from scanweave.interpolation.pair_recipe import BEST_PSNR
from scanweave.interpolation.schedules import LearningRate, Weight
from scanweave.models import MostDsaConfig
from scanweave.plan import fingerprint
from scanweave.training import Horizon

TINY = MostDsaConfig(width=4, depths=(1, 1, 1, 1), heads=2, key=4, context=3, mlp_ratio=1)
EPOCH = 10


def recipe_of(**options):
    options = {"network": TINY, "perceptual": "laplacian", "rate": LearningRate(strategy="constant")} | options
    recipe = MostDsaRecipe(MostDsaRecipeConfig(**options), samples=())
    recipe.begin(Horizon(100, EPOCH, 1))
    return recipe


def random_batch(pairs=2, count=2, *, rows=64, columns=64, times=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(pairs, count + 2, 3, rows, columns, generator=generator)
    grid = torch.linspace(0, 1, count + 2)[1:-1].expand(pairs, count)
    return {
        "frame0": frames[:, 0],
        "frame1": frames[:, -1],
        "targets": frames[:, 1:-1],
        "times": grid if times is None else times,
    }


def train(recipe, batch, steps):
    optimizer = recipe.optimizers()["most-dsa"]
    losses = []
    for step in range(steps):
        (update,) = recipe.updates(batch, step)
        optimizer.zero_grad()
        update.loss.backward()
        optimizer.step()
        losses.append(update.loss.item())
    return losses


# --- the published step


@pytest.fixture(scope="module")
def golden(vectors):
    return vectors("most_dsa/train_step_192")


@pytest.fixture(scope="module")
def golden_batch(golden):
    def frames(grey):
        return torch.from_numpy(grey).float().unsqueeze(2).expand(-1, -1, 3, -1, -1) / 255

    pair = frames(golden["imgs_u8_grey"])
    times = torch.from_numpy(golden["timesteps"]).float()[None]
    return {"frame0": pair[:, 0], "frame1": pair[:, 1], "targets": frames(golden["gts_u8_grey"]), "times": times}


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_step_is_that_of_the_published_program(golden, golden_batch, goldens, most_dsa, epoch):
    """Loss, gradients and, after the step, weights and running statistics: one pass of the encoder for their two."""
    file = goldens / "most_dsa" / "vgg_layout_tiny.mat"
    recipe = recipe_of(network=MostDsaConfig(), perceptual="vgg", vgg=file)
    assert recipe.describe()["vgg_sha256"] == fingerprint(file).sha256
    recipe.network.load_state_dict(most_dsa.state_dict())
    step = (epoch - 1) * EPOCH
    (update,) = recipe.updates(golden_batch, step)
    assert update.loss.item() == pytest.approx(golden[f"epoch{epoch}_loss_total"], rel=1e-4)
    update.loss.backward()
    gradients = {name: parameter.grad for name, parameter in recipe.network.named_parameters()}
    norms = [gradients[name].norm().item() for name in golden["param_names"]]
    assert len(norms) == len(gradients)
    np.testing.assert_allclose(norms, golden[f"epoch{epoch}_grad_norms"], rtol=5e-3)
    recipe.optimizers()["most-dsa"].step()
    state = recipe.network.state_dict()
    for key, wanted in golden.items():
        kind, _, name = key.partition(":")
        if kind == f"epoch{epoch}_grad":
            np.testing.assert_allclose(gradients[name], wanted, atol=5e-3 * np.abs(wanted).max())
        elif kind == f"epoch{epoch}_after":
            np.testing.assert_allclose(state[name], wanted, atol=2e-6, rtol=1e-5)
    counted = state["feature_bone.block4.0.Lambda.norm_q.num_batches_tracked"]
    assert counted == golden[f"epoch{epoch}_num_batches_tracked"] == 2
    if epoch == 1:
        with torch.no_grad():
            (update,) = recipe.updates(golden_batch, step)
        assert update.loss.item() == pytest.approx(golden["epoch1_loss_second_step"], rel=1e-3)


# --- BatchNorm


def passes(network, times, rule, batch):
    network = copy.deepcopy(network)
    with torch.no_grad():
        for _ in range(times if rule is None else 1):
            if rule is None:
                network.encode(batch["frame0"], batch["frame1"])
            else:
                with batch_norm(network, rule, passes=times):
                    network.encode(batch["frame0"], batch["frame1"])
    return {key: value for key, value in network.state_dict().items() if "running" in key or "tracked" in key}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_one_pass_moves_running_statistics_as_n_published_passes_would(count):
    recipe, batch = recipe_of(), random_batch()
    wanted = passes(recipe.network, count, None, batch)
    for key, value in passes(recipe.network, count, "published", batch).items():
        torch.testing.assert_close(value, wanted[key], rtol=1e-5, atol=1e-6)
    once = passes(recipe.network, 1, None, batch)
    for key, value in passes(recipe.network, count, "once", batch).items():
        assert torch.equal(value, once[key])


def test_frozen_statistics_stay_and_the_layers_mode_comes_back():
    recipe, batch = recipe_of(batch_norm="frozen"), random_batch()
    before = passes(recipe.network, 0, None, batch)
    train(recipe, batch, 1)
    for key, value in passes(recipe.network, 0, None, batch).items():
        assert torch.equal(value, before[key])
    layers = [layer for layer in recipe.network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert all(layer.training and layer.momentum == 0.1 for layer in layers)


# --- samples


def test_pairs_with_times_of_their_own_are_made_as_if_each_came_alone():
    recipe = recipe_of()
    recipe.network.eval()
    batch = random_batch(3, 2, times=torch.tensor([[0.2, 0.7], [0.5, 0.6], [0.1, 0.9]]))
    with torch.no_grad():
        together = recipe.judge(batch, {"laplacian": 1.0})
        alone = [recipe.judge({k: v[i : i + 1] for k, v in batch.items()}, {"laplacian": 1.0}) for i in range(3)]
    torch.testing.assert_close(together.made, torch.cat([one.made for one in alone]), rtol=0, atol=1e-5)
    mean = sum(one.terms["laplacian"] for one in alone) / 3
    torch.testing.assert_close(together.terms["laplacian"], mean, rtol=1e-5, atol=1e-6)


def test_the_network_sees_blue_first():
    recipe = recipe_of()
    recipe.network.eval()
    batch = random_batch(1, 1)
    with torch.no_grad():
        made = recipe.judge(batch, {}).made
        wanted = recipe.network(batch["frame0"].flip(1), batch["frame1"].flip(1), [0.5]).flip(2)
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [(48, 64), (64, 80), (32, 32)])
def test_sizes_that_the_loss_cannot_take_are_refused_by_name(rows, columns):
    with pytest.raises(InputError, match=f"multiples of 32 and at least 64 pixels, not {rows} x {columns}"):
        next(recipe_of().updates(random_batch(rows=rows, columns=columns), 0))


def test_vgg_without_padding_refuses_small_frames_and_with_it_takes_them(goldens):
    options = {"perceptual": "vgg", "vgg": goldens / "most_dsa" / "vgg_layout_tiny.mat"}
    with pytest.raises(InputError, match="at least 188 pixels"):
        next(recipe_of(**options).updates(random_batch(rows=96, columns=96), 0))
    (update,) = recipe_of(**options, vgg_padded=True, vgg_colours="rgb").updates(random_batch(), EPOCH)
    assert set(update.logs) == {"laplacian", "perceptual", "style"}


def test_samples_of_another_form_are_refused():
    batch = random_batch()
    with pytest.raises(InputError, match="pairs of colour frames"):
        next(recipe_of().updates(batch | {"times": batch["times"][:, :1]}, 0))


# --- options


def test_terms_without_a_file_of_vgg_are_refused_unless_an_alternative_is_named(goldens):
    with pytest.raises(UsageError, match=r"features of VGG, and no file .*perceptual: laplacian"):
        MostDsaRecipe(MostDsaRecipeConfig(network=TINY), samples=())
    file = goldens / "most_dsa" / "vgg_layout_tiny.mat"
    with pytest.raises(UsageError, match="vgg names a file"):
        MostDsaRecipe(MostDsaRecipeConfig(network=TINY, perceptual="laplacian", vgg=file), samples=())
    with pytest.raises(WeightsError, match=r"keys\.json"):
        MostDsaRecipe(MostDsaRecipeConfig(network=TINY, vgg=goldens / "most_dsa" / "keys.json"), samples=())


def test_a_loss_without_terms_is_refused():
    terms = MostDsaTerms(laplacian=Weight(values=(0.0,)))
    with pytest.raises(UsageError, match="every term"):
        next(recipe_of(terms=terms).updates(random_batch(), 0))


def test_fresh_weights_follow_from_their_seed_and_leave_the_global_generator():
    state = torch.random.get_rng_state()
    one, same, other = (recipe_of(init_seed=seed).network.unet.conv.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_encoder_rests_during_the_first_steps():
    recipe = recipe_of(frozen_steps=3)
    assert [recipe.trainable(step) for step in (2, 3)] == [
        {"network.feature_bone": False},
        {"network.feature_bone": True},
    ]
    assert recipe_of().trainable(0) == {}


def test_averages_forget_the_start():
    recipe = recipe_of(average=0.9)
    decays = [recipe.averages(step)["network"] for step in range(200)]
    assert decays[0] == 0.1
    assert decays == sorted(decays)
    assert decays[-1] == 0.9
    assert recipe_of().averages(0) == {}


def test_training_lowers_the_loss():
    batch = random_batch(1, 1)
    smooth = {key: value if key == "times" else value * 0.1 + 0.4 for key, value in batch.items()}
    losses = train(recipe_of(rate=LearningRate(strategy="constant", base=2e-3)), smooth, 12)
    assert losses[-1] < 0.8 * losses[0]


# --- validation


def test_validation_scores_every_sample_by_itself_at_any_size():
    recipe = recipe_of()
    recipe.network.eval()
    batch = random_batch(2, 2, rows=50, columns=70)
    with torch.no_grad():
        scores = recipe.validate(batch)
        alone = [recipe.validate({k: v[i : i + 1] for k, v in batch.items()}) for i in range(2)]
    for name in ("loss", "psnr", "ssim"):
        assert scores[name].shape == (2,)
        torch.testing.assert_close(scores[name], torch.cat([one[name] for one in alone]))


def test_only_the_area_of_a_padded_sample_is_scored():
    recipe = recipe_of()
    recipe.network.eval()
    batch = random_batch(1, 1)
    spoilt = batch["targets"].clone()
    spoilt[..., :8, :] = 0.0
    area = torch.tensor([[8, 64, 0, 64]])
    with torch.no_grad():
        scores = [recipe.validate(batch | {"targets": t, "area": area}) for t in (batch["targets"], spoilt)]
    assert scores[0]["psnr"] == scores[1]["psnr"]
    assert scores[0]["ssim"] == scores[1]["ssim"]


def test_a_perfect_prediction_scores_a_finite_psnr():
    recipe = recipe_of()
    recipe.network.eval()
    with torch.no_grad():
        for parameter in recipe.network.parameters():
            parameter.zero_()  # no flow, a blend of halves, no residual
        frame = torch.full((1, 3, 64, 64), 0.5)
        batch = {"frame0": frame, "frame1": frame, "targets": frame[:, None], "times": torch.tensor([[0.5]])}
        scores = recipe.validate(batch)
    assert scores["psnr"].item() == BEST_PSNR
    assert scores["ssim"].item() == pytest.approx(1.0)
    assert scores["loss"].item() == pytest.approx(0.0, abs=1e-6)


def test_pictures_show_the_pair_the_truth_and_what_was_made():
    recipe = recipe_of()
    recipe.network.eval()
    batch = random_batch(2, 3, rows=40, columns=50)
    with torch.no_grad():
        (picture,) = recipe.pictures(batch).values()
    assert picture.shape == (3, 40, 4 * 50 + 3 * 10)
    assert torch.equal(picture[:, :, :50], batch["frame0"][0])
    assert torch.equal(picture[:, :, 60:110], batch["targets"][0, 1])
    assert picture.min() >= 0
    assert picture.max() <= 1


# --- weights in and out


def test_exported_weights_load_in_both_layouts_and_give_the_same_frames(tmp_path):
    data = DataConfig(sampling="windows", inter_frames=2, path="/scans/of/a/patient")
    recipe = recipe_of(data=data, licence="CC0-1.0", trained_on="random numbers")
    batch = random_batch(1, 2)
    train(recipe, batch, 3)
    recipe.network.eval()
    ours, theirs = recipe.export(tmp_path, "final")
    assert (ours.name, theirs.name) == ("final.safetensors", "final-Inf2.pkl")
    pair = batch["frame0"], batch["frame1"], [1 / 3, 2 / 3]
    with torch.no_grad():
        wanted = recipe.network(*pair)
        for loaded in (weights.load(ours), weights.load_published("most-dsa", theirs)):
            assert torch.equal(loaded(*pair), wanted)
            assert weights.card_of(loaded).trained_times == pytest.approx((1 / 3, 2 / 3))
    card = weights.read_card(ours)
    assert card.licence == "CC0-1.0"
    assert card.training["trained_on"] == "random numbers"
    assert card.training["config"]["data"]["inter_frames"] == 2
    assert "patient" not in card.model_dump_json()


def test_a_model_of_any_time_says_so_and_is_not_named_for_a_count(tmp_path):
    ours, theirs = recipe_of(data=DataConfig(sampling="mixed", inter_frames=2)).export(tmp_path, "best")
    assert theirs.name == "best.pkl"
    card = weights.read_card(ours)
    assert card.trained_times is None
    assert card.notes == ("trained at any times between two frames",)


def test_training_goes_on_from_own_or_published_weights(tmp_path):
    first = recipe_of(data=DataConfig(sampling="windows", inter_frames=1))
    for file in first.export(tmp_path, "first"):
        again = recipe_of(start=str(file), network=MostDsaConfig())
        for key, value in first.network.state_dict().items():
            assert torch.equal(again.network.state_dict()[key], value)
        assert again.network.training
        assert math.isfinite(train(again, random_batch(), 1)[0])
    with pytest.raises(UsageError, match="network says widths, and start"):
        recipe_of(start=str(tmp_path / "first.safetensors"))
