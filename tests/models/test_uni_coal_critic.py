"""The numbers and promises of Uni-COAL's critic; those of its gradients are with the generator's."""

from __future__ import annotations

import json
import math

import pytest
import torch

from scanweave.errors import UsageError
from scanweave.models import UniCoalCritic, UniCoalCriticConfig, create
from scanweave.models.uni_coal_critic import with_deviation
from scanweave.models.uni_coal_layers import Convolution

SMALL = {"resolution": 64, "channel_base": 1024, "channel_max": 32}
UNTOLD = {"contrasts": 0, "position": False, "group": 2}
CONFIGS = {
    "ixi_6_final": {},
    "adni_cmsr_sam": {"contrasts": 1},
    "brats19_final": {"contrasts": 1, "position": False},
    "ixi_allrand": {"embedded": 512, "mapping_layers": 8},
    "golden_s64": SMALL,
    "golden_s32_nolabel": {"resolution": 32, "channels_in": 2, "channel_base": 512, "channel_max": 16, **UNTOLD},
}


@pytest.fixture(scope="module")
def critic(equalised) -> UniCoalCritic:
    return equalised(UniCoalCritic(UniCoalCriticConfig(**SMALL)))


@pytest.fixture(scope="module")
def pair(vectors) -> dict[str, torch.Tensor]:
    """Sources with real targets, and what was asked for."""
    arrays = vectors("uni_coal/losses_s64")
    slices = [torch.from_numpy(arrays[key]).float() / 127 for key in ("A_int8", "B_int8")]
    places = {"contrast": torch.from_numpy(arrays["c"]), "position": torch.from_numpy(arrays["index"])}
    return {"image": torch.cat(slices, dim=1), **places}


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_are_those_published(name, goldens):
    keys = json.loads((goldens / "uni_coal" / "keys.json").read_text())[f"D/{name}"]
    with torch.device("meta"):
        state = create("uni-coal-critic", **CONFIGS[name]).state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == keys
    assert list(state) == list(keys)


def test_golden_verdicts(critic, pair, vectors, agree):
    arrays = vectors("uni_coal/losses_s64")
    agree(critic(**pair), arrays["blur0/D_real_logits"], 1e-5)
    three = {key: value[:3] for key, value in pair.items()}
    kept = {}
    for name in ("b64", "b32", "b16", "b8", "mapping"):
        part = critic.get_submodule(name)
        part.register_forward_hook(lambda part, given, made, name=name: kept.__setitem__(name, made))
    agree(critic(**three), arrays["Dlogits_b3"], 1e-5)
    for name in ("b64", "b32", "b16", "b8"):
        agree(kept[name][:2, :4], arrays[f"Dstage_{name}"], 1e-5)
    agree(kept["mapping"], arrays["Dcmap"], 1e-5)


def test_golden_verdicts_on_images_of_no_contrast(equalised, vectors, agree):
    arrays = vectors("uni_coal/losses_s64")
    untold = equalised(create("uni-coal-critic", **CONFIGS["golden_s32_nolabel"]))
    agree(untold(torch.from_numpy(arrays["D32_nolabel_in"])), arrays["D32_nolabel_logits"], 1e-5)


@pytest.mark.parametrize(
    ("case", "kernel", "active", "halve"),
    [("conv_down3", 3, True, True), ("conv_down1", 1, False, True), ("conv_same3", 3, True, False)],
)
def test_golden_convolutions(case, kernel, active, halve, vectors, agree, equalised):
    arrays = vectors("uni_coal/ops_layers")
    layer = equalised(Convolution(5, 6, kernel, active=active, halve=halve), f"{case}.")
    made = layer(torch.from_numpy(arrays["conv_x"])) * (math.sqrt(0.5) if halve else 1)
    agree(made, arrays[case], 1e-5)


def test_golden_deviation_over_groups(vectors, agree):
    arrays = vectors("uni_coal/ops_layers")
    x = torch.from_numpy(arrays["mbstd_x"])
    for group in (2, 16):
        agree(with_deviation(x, group=group)[:, -1], arrays[f"mbstd_g{group}"], 1e-6)
    with pytest.raises(ValueError, match="batch of 4 cannot be split into groups of 3"):
        with_deviation(x, group=3)


def test_every_parameter_learns(critic, pair):
    critic.zero_grad()
    with torch.enable_grad():
        critic(**pair).sum().backward()
    assert [key for key, parameter in critic.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"image": torch.zeros(4, 5, 64, 32)}, "slices"),
        ({"image": torch.zeros(4, 4, 64, 64)}, "slices"),
        ({"contrast": None}, "needs contrast="),
        ({"position": torch.zeros(4, 2)}, "position must be floating"),
    ],
)
def test_illegal_input_is_refused(changed, reason, critic, pair):
    with pytest.raises(ValueError, match=reason):
        critic(**{**pair, **changed})


@pytest.mark.parametrize("config", [{"resolution": 48}, {"resolution": 4}, {"group": 0}, {"contrasts": 0}])
def test_illegal_configs_are_refused(config):
    with pytest.raises(UsageError):
        create("uni-coal-critic", **config)
