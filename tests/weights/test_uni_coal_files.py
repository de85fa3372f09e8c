"""Published files of Uni-COAL, AFCM and Segment Anything: read strictly, written so that they read back the same."""

from __future__ import annotations

import json

import pytest
import torch

from scanweave import weights
from scanweave.errors import WeightsError
from scanweave.models import create
from scanweave.weights import sam, uni_coal, uni_coal_critic

S64 = {"resolution": 64, "channel_base": 256, "channel_max": 8, "layers": 8}
VARIANT = {
    "coordinate": True,
    "radial": True,
    "channels_out": 3,
    "latent": 16,
    "contrasts": 2,
    "position_waves": "fourier",
    "encoder_contrasts": 2,
    "encoder_embedded": 16,
    "encoder_layers": 3,
}
GENERATORS = {
    "multi-task": S64,
    "single": {**S64, "contrasts": 1, "position": False, "encoder_contrasts": 1},
    "plain": {**S64, "contrasts": 0, "position": False, "encoder_modulated": False, "mapping_layers": 3},
    "variant": {**S64, **VARIANT},
    "alone": {**S64, "conditional": False},
}
CRITICS = {
    "multi-task": {"resolution": 64, "channel_base": 1024, "channel_max": 32},
    "untold": {"resolution": 32, "channels_in": 2, "channel_base": 512, "channel_max": 16, "contrasts": 0}
    | {"position": False},
    "contrast": {"resolution": 16, "channel_base": 64, "channel_max": 16, "contrasts": 2, "position": False},
}
SAM = {"side": 96, "width": 32, "depth": 3, "heads": 2, "window": 2, "everywhere": (1,), "features": 16}
AFCM = {**S64, "latent": 512, "contrasts": 1, "position": False, "mapping_layers": 8, "encoder_modulated": False}
AFCM |= {"fourier_input": False, "border": 0.0}


def seeded(name, config):
    torch.manual_seed(0)
    return create(name, **config).eval()


@pytest.fixture(scope="module")
def generator():
    return seeded("uni-coal", S64)


PREFIXES = ["", "module.", "_orig_mod.", "module._orig_mod."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix(prefix, generator, same, tmp_path):
    path = tmp_path / "latest_net_G_ema.pth"
    torch.save({f"{prefix}{key}": value for key, value in generator.state_dict().items()}, path)
    loaded = weights.load_published("uni-coal", path)
    same(generator, loaded)
    assert bool(weights.card_of(loaded).notes) == bool(prefix)
    assert weights.card_of(loaded).decisions["skip_resolution"].value == 128


@pytest.mark.parametrize("name", GENERATORS)
def test_export_is_in_the_authors_layout(name, same, tmp_path):
    network = seeded("uni-coal", GENERATORS[name])
    path = weights.export_published("uni-coal", network, tmp_path / "best_net_G.pth")
    assert list(torch.load(path, weights_only=True)) == list(network.state_dict())
    same(network, weights.open(None, path))


def test_our_container(generator, same, tmp_path):
    same(generator, weights.load(weights.save(generator, tmp_path / "a.safetensors")))


def test_a_loaded_generator_runs_on_trial(generator):
    weights.try_out(weights.load_published("uni-coal", dict(generator.state_dict())))


def test_filters_are_made_where_they_are_missing_and_checked_where_not(generator, same):
    state = dict(generator.state_dict())
    bare = {key: value for key, value in state.items() if not key.endswith("_filter")}
    assert len(bare) < len(state)
    same(generator, weights.load_published("uni-coal", bare))
    key = next(key for key in state if key.endswith("L1_36_8.down_filter"))
    with pytest.raises(WeightsError, match=f"filter {key} that is not the one designed"):
        weights.load_published("uni-coal", state | {key: state[key] * 1.01})


def test_partial_files_are_refused(generator):
    state = dict(generator.state_dict())
    del state["synthesis.L3_52_8.bias"]
    state["synthesis.encoder.fc_in.bias"] = torch.zeros(11)
    with pytest.raises(WeightsError, match=r"1 missing .*1 misshapen"):
        weights.load_published("uni-coal", state)


def test_a_gap_in_the_layers_is_told(generator):
    state = {key: value for key, value in generator.state_dict().items() if ".L2_" not in key}
    with pytest.raises(WeightsError, match="does not fit uni-coal"):
        weights.load_published("uni-coal", state, resolution=64)


def test_a_field_that_no_file_tells_may_be_given(generator, same):
    state = dict(generator.state_dict())
    loaded = weights.load_published("uni-coal", state, skip_resolution=16, scale=1.0)
    assert (loaded.config.skip_resolution, loaded.config.scale) == (16, 1.0)
    assert weights.card_of(loaded).decisions["scale"].why == "given by the caller"


def test_the_predecessor_has_its_own_names(same, tmp_path):
    network = seeded("uni-coal", AFCM)
    path = weights.export_published("uni-coal", network, tmp_path / "latest_net_G.pth")
    written = torch.load(path, weights_only=True)
    assert "synthesis.encoder_0.weight" in written
    assert not any(key.startswith("synthesis.encoder.") for key in written)
    loaded = weights.load_published("uni-coal", path)
    same(network, loaded)
    assert "AFCM" in weights.card_of(loaded).notes[0]


@pytest.mark.parametrize("name", CRITICS)
def test_critics(name, same, tmp_path):
    network = seeded("uni-coal-critic", CRITICS[name])
    path = tmp_path / "latest_net_D.pth"
    torch.save({f"module.{key}": value for key, value in network.state_dict().items()}, path)
    loaded = weights.load_published("uni-coal-critic", path)
    same(network, loaded)
    same(network, weights.open(None, path))
    weights.try_out(loaded)
    again = weights.export_published("uni-coal-critic", loaded, tmp_path / "again.pth")
    same(network, weights.load_published("uni-coal-critic", again))


def test_a_critic_without_its_filters_has_them_made(same):
    network = seeded("uni-coal-critic", CRITICS["multi-task"])
    state = network.state_dict()
    bare = {key: value for key, value in state.items() if not key.endswith("resample_filter")}
    same(network, weights.load_published("uni-coal-critic", bare))
    with pytest.raises(WeightsError, match="not the one designed"):
        weights.load_published("uni-coal-critic", {**state, "b8.conv0.resample_filter": torch.ones(4, 4)})


@pytest.mark.parametrize("whole", [True, False])
def test_segment_anything(whole, same, tmp_path):
    network = seeded("sam-vit-b-encoder", SAM)
    others = {"prompt_encoder.pe_layer.weight": torch.zeros(3), "mask_decoder.iou_token.weight": torch.zeros(1, 4)}
    state = {f"image_encoder.{key}": value for key, value in network.state_dict().items()}
    path = tmp_path / "sam_vit_b.pth"
    torch.save(state | (others if whole else {}), path)
    loaded = weights.load_published("sam-vit-b-encoder", path)
    same(network, loaded)
    assert bool(weights.card_of(loaded).notes) == whole
    weights.try_out(loaded)
    exported = weights.export_published("sam-vit-b-encoder", loaded, tmp_path / "encoder.pth")
    assert list(torch.load(exported, weights_only=True)) == list(state)
    with pytest.raises(WeightsError, match=r"1 missing \(image_encoder\.neck\.2\.weight"):
        weights.load_published("sam-vit-b-encoder", {k: v for k, v in state.items() if "neck.2" not in k})


def test_networks_are_told_apart():
    critic = dict(seeded("uni-coal-critic", CRITICS["contrast"]).state_dict())
    with pytest.raises(WeightsError, match="weights of uni-coal-critic, not of uni-coal"):
        weights.load_published("uni-coal", critic)
    plain = dict(seeded("uni-coal", GENERATORS["plain"]).state_dict())
    with pytest.raises(WeightsError, match="weights of uni-coal, not of uni-coal-critic"):
        weights.load_published("uni-coal-critic", plain)
    drdm = dict(create("drdm").state_dict())
    with pytest.raises(WeightsError, match="weights of drdm, not of uni-coal"):
        weights.load_published("uni-coal", drdm)


EXPECTED = {
    "G/ixi_6_final": {"latent": 64, "contrasts": 3, "position": True, "channel_base": 16384, "layers": 14},
    "G/adni_cmsr_sam": {"contrasts": 1, "position": False, "encoder_contrasts": 1, "encoder_position": True},
    "G/brats19_final": {"contrasts": 1, "position": False},
    "G/ixi_allrand_unmodulated": {"latent": 512, "mapping_layers": 8, "encoder_modulated": False},
    "D/ixi_6_final": {"resolution": 256, "channels_in": 5, "contrasts": 3, "position": True, "embedded": 64},
    "D/brats19_final": {"contrasts": 1, "position": False},
    "D/ixi_allrand": {"embedded": 512, "mapping_layers": 8},
    "SAM/vit_b_image_encoder": {"side": 1024, "heads": 12, "window": 14, "everywhere": (2, 5, 8, 11)},
}


@pytest.mark.parametrize("case", EXPECTED)
def test_configs_follow_from_published_shapes(case, goldens):
    keys = json.loads((goldens / "uni_coal" / "keys.json").read_text())[case]
    state = {key.removeprefix("image_encoder."): torch.empty(shape, device="meta") for key, shape in keys.items()}
    room = {"G": uni_coal, "D": uni_coal_critic, "S": sam}[case[0]]
    found = room.infer_config(state)
    assert found | EXPECTED[case] == found
    name = {"G": "uni-coal", "D": "uni-coal-critic", "S": "sam-vit-b-encoder"}[case[0]]
    with torch.device("meta"):
        made = create(name, **found).state_dict()
    assert {key: tensor.shape for key, tensor in made.items()} == {key: tensor.shape for key, tensor in state.items()}
