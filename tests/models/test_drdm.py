"""The numbers and promises of DRDM's RecResACNet."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from scanweave import weights
from scanweave.errors import UsageError
from scanweave.models import Drdm, DrdmConfig, channels_last, create
from scanweave.models.drdm import sinusoids

# absolute tolerances of the goldens, by recursions: warps as large as the image amplify rounding a hundredfold each
EXTREME = {1: 5e-6, 2: 1e-3, 3: 5e-2}
USUAL = {1: 5e-6, 2: 5e-6, 3: 5e-6}


def tensors(arrays, *names):
    return [torch.from_numpy(arrays[name]) for name in names]


@pytest.mark.parametrize("layout", [lambda network: network, channels_last], ids=["plain", "channels_last"])
@pytest.mark.parametrize(
    ("case", "scale", "config", "tolerances"),
    [
        ("net2d_fill", 1.0, {}, EXTREME),
        ("net2d_fill_small", 0.05, {}, USUAL),
        ("net2d_fill_clamp", 4.0, {}, EXTREME),
        ("net2d_fill_chn3", 0.05, {"channels": 3}, USUAL),
        ("net3d_fill", 0.05, {"ndims": 3}, USUAL),
    ],
)
def test_golden_displacements(case, scale, config, tolerances, layout, drdm, vectors, agree):
    arrays = vectors(f"drdm/{case}")
    network = layout(drdm(scale, **config))
    image, step = tensors(arrays, "x", "t")
    checked = [recursions for recursions in tolerances if f"ddf_rec{recursions}" in arrays]
    assert checked
    for recursions in checked:
        made = network(image, step, recursions=recursions)
        agree(made, arrays[f"ddf_rec{recursions}"], tolerances[recursions])


@pytest.mark.parametrize(("case", "scale", "ndims"), [("net2d_fill", 1.0, 2), ("net3d_fill", 0.05, 3)])
def test_golden_stages(case, scale, ndims, drdm, vectors, agree):
    arrays = vectors(f"drdm/{case}")
    network = drdm(scale, ndims=ndims)
    seen: dict[str, list[torch.Tensor]] = {}
    names = sorted({name.rsplit("_it", 1)[0] for name in arrays if "_it" in name})
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda module, given, made, name=name: seen.setdefault(name, []).append(made)
        )
    network(*tensors(arrays, "x", "t"))
    for name in names:
        calls = seen[name] * 2 if name.startswith("te") else seen[name]
        for turn, made in enumerate(calls):
            if f"{name}_it{turn}" in arrays:
                agree(made, arrays[f"{name}_it{turn}"], 1e-5 if turn == 0 else 1e-3, relative=5e-5)


def test_golden_time_tables(vectors, agree):
    arrays = vectors("drdm/time_embedding")
    agree(sinusoids(80, 100), arrays["table"], 1e-6)
    agree(sinusoids(7, 6), arrays["table_7x6"], 1e-6)


@pytest.mark.parametrize("ndims", [2, 3])
def test_keys_are_those_published(ndims, goldens):
    keys = json.loads((goldens / "drdm" / "keys.json").read_text())[f"recresacnet_{ndims}d"]
    state = create("drdm", ndims=ndims).state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == keys
    assert len(state) == 193
    assert sum(tensor.numel() for tensor in state.values()) == {2: 443_435, 3: 1_313_646}[ndims]


@pytest.mark.reference
def test_real_weights(reference, agree):
    network = weights.load_published("drdm", reference / "data" / "drdm" / "000000_cmr_recresacnet.pth")
    folder = reference / "goldens" / "drdm"
    with np.load(folder / "real2d_slice4_T48.npz") as arrays:
        for recursions in (1, 2):
            made = network(*tensors(arrays, "x_t", "t"), recursions=recursions)[..., ::2, ::2]
            agree(made, arrays[f"ddf_rec{recursions}"], 5e-6)
    with np.load(folder / "real2d_crop128.npz") as arrays:
        for step in (0, 20, 79):
            agree(network(*tensors(arrays, "x_t"), step)[..., ::2, ::2], arrays[f"ddf_t{step}"], 5e-6)
    with np.load(folder / "real2d_source.npz") as arrays:
        agree(network(*tensors(arrays, "x_t", "t")), arrays["ddf_rec2"], 5e-6)


@pytest.fixture(scope="module", params=[2, 3])
def network(request, drdm) -> Drdm:
    return drdm(0.05, ndims=request.param)


@pytest.fixture(scope="module")
def image(network) -> torch.Tensor:
    space = (16, 24) if network.config.ndims == 2 else (16, 8, 24)
    return torch.rand(2, 1, *space, generator=torch.Generator().manual_seed(1))


def test_a_batch_equals_one_by_one(network, image):
    steps = torch.tensor([3, 60])
    together = network(image, steps)
    assert together.shape == (2, network.config.ndims, *image.shape[2:])
    for row in range(2):
        torch.testing.assert_close(network(image[row : row + 1], int(steps[row]))[0], together[row], atol=1e-6, rtol=0)


def test_one_step_serves_a_batch(network, image):
    torch.testing.assert_close(network(image, 7), network(image, torch.tensor([7, 7])), atol=1e-7, rtol=0)


def test_double_precision_agrees(network, image):
    exact = copy.deepcopy(network).double()(image.double(), 40)
    torch.testing.assert_close(exact.float(), network(image, 40), atol=1e-5, rtol=0)


def test_displacements_stay_below_a_side(image, drdm, network):
    wild = drdm(1000.0, ndims=network.config.ndims)
    side = image.shape[2]
    assert float(wild(image, 5, recursions=1).abs().max()) == pytest.approx((side - 1) / side)


def test_every_parameter_learns_and_the_table_does_not(network, image):
    trained = copy.deepcopy(network).train().requires_grad_(True)
    with torch.enable_grad():
        trained(image, 40).square().mean().backward()
    assert [key for key, parameter in trained.named_parameters() if parameter.grad is None] == []
    assert "time_embed.weight" not in dict(trained.named_parameters())


def test_input_is_left_alone(network, image):
    before = image.clone()
    network(image, 40)
    assert torch.equal(image, before)


@pytest.mark.parametrize("shape", [(1, 1, 12, 16), (1, 1, 8, 8), (1, 3, 16, 16), (1, 1, 16, 16, 16), (1, 1, 0, 16)])
def test_illegal_images_are_refused(shape, drdm):
    with pytest.raises(ValueError, match=r"sides must be|of shape"):
        drdm(0.05)(torch.zeros(shape), 3)


@pytest.mark.parametrize("step", [-1, 80, 1.5, torch.tensor([1, 2, 3])])
def test_illegal_steps_are_refused(step, drdm):
    with pytest.raises(ValueError, match="step"):
        drdm(0.05)(torch.zeros(2, 1, 16, 16), step)


def test_at_least_one_pass(drdm):
    with pytest.raises(ValueError, match="at least one pass"):
        drdm(0.05)(torch.zeros(1, 1, 16, 16), 3, recursions=0)


@pytest.mark.parametrize("config", [{"ndims": 4}, {"ndims": 1}, {"channels": 0}, {"steps": 0}])
def test_illegal_configs_are_refused(config):
    with pytest.raises(UsageError):
        create("drdm", **config)


def test_layout_of_one_channel_keeps_the_numbers(drdm):
    network = drdm(0.05)
    image = torch.rand(1, 1, 16, 24, generator=torch.Generator().manual_seed(3))
    laid_out = channels_last(copy.deepcopy(network))
    torch.testing.assert_close(laid_out(image, 9), network(image, 9), atol=2e-6, rtol=0)
    assert isinstance(laid_out, nn.Module)
    assert DrdmConfig().steps == 80
