"""Losses: against the published programs' numbers, and in closed form."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from scanweave.interpolation.losses import (
    LAYER_WEIGHTS,
    features_of_truth,
    gram_difference,
    laplacian_loss,
    most_dsa_critic,
    perceptual_loss,
    smoothness_loss,
    style_loss,
    super_slomo_critic,
    warping_loss,
)
from scanweave.models.super_slomo import Pair
from scanweave.weights.vgg import VggFile, read_vgg


@pytest.fixture(scope="module")
def tiny_vgg(goldens):
    return read_vgg(goldens / "most_dsa" / "vgg_layout_tiny.mat")


@pytest.fixture(scope="module")
def full_vgg(goldens, fill):
    """VGG-19 of full width, with weights that follow from the names of its layers."""
    shapes = json.loads((goldens / "most_dsa" / "keys.json").read_text())["vgg19_golden_names"]
    return VggFile("layers", fill({name: torch.zeros(shape) for name, shape in shapes.items()}), goldens, "")


@pytest.mark.parametrize("case", ["grey64", "colour64x96_b2"])
def test_laplacian_loss_and_its_gradient_are_the_published_ones(vectors, as_frames, case):
    golden = vectors("most_dsa/laplacian")
    made = as_frames(golden[f"{case}_input_u8"]).requires_grad_()
    loss = laplacian_loss(made, as_frames(golden[f"{case}_target_u8"]))
    loss.backward()
    assert loss.item() == pytest.approx(golden[f"{case}_lap"], rel=1e-5)
    assert made.grad.norm().item() == pytest.approx(golden[f"{case}_grad_norm"], rel=1e-5)


def test_laplacian_loss_of_three_levels_is_the_published_one(vectors, as_frames):
    golden = vectors("most_dsa/laplacian")
    made, truth = (as_frames(golden[f"grey64_{kind}_u8"]) for kind in ("input", "target"))
    assert laplacian_loss(made, truth, levels=3).item() == pytest.approx(golden["grey64_lap_L3"], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "weights", "tolerance"),
    [("192", "tiny", 1e-4), ("192", "fill", 1e-3), ("tiny_188x204", "tiny", 1e-4)],
)
def test_perceptual_and_style_losses_are_the_published_ones(
    vectors, as_frames, tiny_vgg, full_vgg, name, weights, tolerance
):
    golden = vectors(f"most_dsa/vgg_losses_{name}")
    critic = most_dsa_critic(tiny_vgg if weights == "tiny" else full_vgg)
    with torch.no_grad():
        found = critic(as_frames(golden["image_u8"]))
    wanted = features_of_truth(critic, as_frames(golden["reference_u8"]))
    for index, layer in enumerate(LAYER_WEIGHTS):
        assert list(found[layer].shape) == list(golden[f"{weights}_feature_shapes"][index])
        assert found[layer].mean().item() == pytest.approx(golden[f"{weights}_feature_mean"][index], rel=1e-4)
        one = {layer: LAYER_WEIGHTS[layer]}
        term = perceptual_loss(found, wanted, weights=one).item()
        assert term == pytest.approx(golden[f"{weights}_perceptual_terms"][index], rel=1e-4)
        term = style_loss(found, wanted, weights=one).item()
        assert term == pytest.approx(golden[f"{weights}_style_terms"][index], rel=tolerance)
    assert perceptual_loss(found, wanted).item() == pytest.approx(golden[f"{weights}_perceptual"], rel=1e-4)
    assert style_loss(found, wanted).item() == pytest.approx(golden[f"{weights}_style"], rel=tolerance)


def test_features_of_the_truth_are_constants_and_serve_several_estimates(tiny_vgg):
    critic = most_dsa_critic(tiny_vgg, padded=True)
    generator = torch.Generator().manual_seed(0)
    truth, first, second = torch.rand(3, 2, 3, 32, 32, generator=generator)
    wanted = features_of_truth(critic, truth.requires_grad_())
    assert not any(feature.requires_grad for feature in wanted.values())
    together = critic(torch.cat((first, second)))
    for loss in (perceptual_loss, style_loss):
        apart = [loss(critic(made), wanted).item() for made in (first, second)]
        assert loss(together, wanted).item() == pytest.approx(np.mean(apart), rel=1e-5)


def test_weights_of_each_origin_see_images_as_they_were_trained(tiny_vgg, full_vgg):
    assert most_dsa_critic(tiny_vgg).config.peak == 255
    torchvision = VggFile(
        "torchvision",
        {
            f"features.{index}.{part}": full_vgg.tensors[f"{layer}.{part}"]
            for layer, index in most_dsa_critic(full_vgg).config.layers.items()
            for part in ("weight", "bias")
        },
        full_vgg.path,
        "",
    )
    config = most_dsa_critic(torchvision).config
    assert (config.peak, config.deviation) == (1.0, (0.229, 0.224, 0.225))


def test_a_critic_for_super_slomo_subtracts_the_mean_alone_as_published(goldens, fill):
    shapes = json.loads((goldens / "slowmo_echo" / "keys.json").read_text())["vgg16_to_conv4_3"]
    file = VggFile("torchvision", fill({name: torch.zeros(shape) for name, shape in shapes.items()}), goldens, "")
    published = super_slomo_critic(file, mean=(0.1, 0.2, 0.3)).config
    assert (published.peak, published.mean, published.deviation) == (1.0, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert super_slomo_critic(file, mean=(0.1, 0.2, 0.3), normalised=True).config.mean == (0.485, 0.456, 0.406)


def test_gram_difference_of_constant_maps_is_that_of_the_products_of_their_levels():
    levels = torch.tensor([[2.0, 3.0], [1.0, 1.0]])
    one, other = levels.view(2, 1, 2, 1, 1).expand(2, 1, 2, 5, 7)
    assert torch.equal(gram_difference(one, other), torch.tensor([[[[3.0, 5.0], [5.0, 8.0]]]]))


def test_smoothness_of_a_ramp_is_its_slope():
    columns = torch.arange(5.0).expand(1, 1, 4, 5)
    flow = torch.cat((3 * columns, torch.zeros_like(columns)), dim=1)  # slope 3 along one of two channels
    assert smoothness_loss(flow).item() == pytest.approx(1.5)
    assert smoothness_loss(flow, flow.mT).item() == pytest.approx(3.0)


def test_warping_loss_is_zero_for_a_translation_that_the_flows_know(slomo):
    """A ramp along columns that moves by one pixel; the border repeats, so it is flat where content enters."""
    ramp = torch.arange(32.0).clamp(8, 24).expand(1, 3, 32, 32)
    right, middle = ramp.roll(1, -1).clamp(8, 24), (ramp + ramp.roll(1, -1)) / 2
    right[..., 0] = middle[..., 0] = 8.0
    flow = torch.zeros(1, 2, 32, 32)
    flow[:, 0] = 1.0  # frame 1 lies one pixel to the right
    pair = Pair(ramp, right, flow, -flow)
    assert warping_loss(slomo("exact"), pair, torch.tensor([0.5]), middle).item() == pytest.approx(0.0, abs=1e-6)
    each = warping_loss(slomo("exact"), pair, torch.tensor([[0.5]]), middle)
    assert each.item() == pytest.approx(0.0, abs=1e-6)
    assert warping_loss(slomo("exact"), pair, torch.tensor([0.5]), middle + 1).item() == pytest.approx(2.0, rel=1e-5)
