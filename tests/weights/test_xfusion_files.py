"""Published files of EDVR-STF, SWIN-XVR and RAFT: read strictly, written so that they read back the same."""

from __future__ import annotations

import json

import pytest
import torch

from scanweave import weights
from scanweave.errors import WeightsError
from scanweave.models import create
from scanweave.weights import edvr_stf, raft, swin_xvr

EDVR = {"features": 8, "groups": 2, "extracted": 1, "reconstructed": 2}
PLAIN = {"width": 8, "features": 8, "heads": (2, 1), "depths": (2, 1), "window": (5, 4, 4), "upsampled": 4}
ALIGNED = {**PLAIN, "features": 4, "aligned": True, "adapted": True, "groups": 2, "extracted": 1}
NETWORKS = {
    "edvr": ("edvr-stf", EDVR),
    "edvr without attention": ("edvr-stf", {**EDVR, "attention": False}),
    "edvr of five frames": ("edvr-stf", {**EDVR, "coarse": 5}),
    "swin": ("swin-xvr", PLAIN),
    "swin of five frames": ("swin-xvr", {**PLAIN, "window": (7, 4, 4), "coarse": 5, "ratio": 1.5}),
    "swin aligned": ("swin-xvr", {**ALIGNED, "ending": "3conv", "width": 16, "ending_side": 5}),
    "swin video": ("swin-xvr", {**ALIGNED, "variant": "video", "ending": "0conv"}),
    "raft": ("raft", {}),
    "raft of colours": ("raft", {"channels": 3}),
    "raft split": ("raft", {"split": True}),
}


@pytest.fixture(scope="module")
def made():
    found = {}

    def make(case):
        if case not in found:
            torch.manual_seed(0)
            name, config = NETWORKS[case]
            found[case] = create(name, **config).eval()
        return found[case]

    return make


@pytest.mark.parametrize("case", NETWORKS)
def test_published_files_and_ours_come_back_the_same(case, made, same, tmp_path):
    name, network = NETWORKS[case][0], made(case)
    path = weights.export_published(name, network, tmp_path / "net_g_latest.pth")
    same(network, weights.load_published(name, path))
    same(network, weights.open(None, path))
    same(network, weights.load(weights.save(network, tmp_path / "ours.safetensors")))


@pytest.mark.parametrize("case", ["edvr", "edvr of five frames", "swin", "swin video", "raft"])
def test_loaded_networks_run_on_trial(case, made, tmp_path):
    name, network = NETWORKS[case][0], made(case)
    weights.try_out(weights.load_published(name, weights.export_published(name, network, tmp_path / "a.pth")))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_bare_and_wrapped_states(prefix, made, same):
    network = made("edvr")
    state = {f"{prefix}{key}": tensor for key, tensor in network.state_dict().items()}
    for given in (state, {"params": state}):
        loaded = weights.load_published("edvr-stf", given)
        same(network, loaded)
        assert bool(weights.card_of(loaded).notes) == bool(prefix)


def test_averaged_weights_go_before_those_last_trained(made, same):
    network = made("swin")
    averaged = dict(network.state_dict())
    last = {key: tensor + 1 if tensor.is_floating_point() else tensor for key, tensor in averaged.items()}
    loaded = weights.load_published("swin-xvr", {"params": last, "params_ema": averaged})
    same(network, loaded)
    assert weights.card_of(loaded).notes == ("params_ema was taken, params passed over",)
    exported = swin_xvr.pack(network, weights.card_of(network)).content
    assert list(exported) == ["params", "params_ema"]


def test_positions_are_made_where_they_are_missing_and_checked_where_not(made, same):
    network = made("swin")
    state = dict(network.state_dict())
    bare = {key: tensor for key, tensor in state.items() if "index" not in key}
    assert len(bare) == len(state) - 3
    same(network, weights.load_published("swin-xvr", bare))
    key = next(key for key in state if "index" in key)
    with pytest.raises(WeightsError, match="not those of a window"):
        weights.load_published("swin-xvr", {**state, key: state[key].flip(0)})


def test_the_variant_is_told_where_the_file_shows_it(made):
    decisions = weights.card_of(weights.load_published("swin-xvr", dict(made("swin").state_dict()))).decisions
    assert decisions["variant"].value == "image"
    video = weights.load_published("swin-xvr", dict(made("swin").state_dict()), variant="video")
    assert video.config.variant == "video"
    shown = weights.card_of(weights.load_published("swin-xvr", dict(made("swin video").state_dict())))
    assert "variant" not in shown.decisions


def test_raft_is_taken_out_of_the_calibrator(made, same, tmp_path):
    network, evaluator = made("raft"), made("edvr")
    state = raft.pack(network, weights.card_of(network)).content
    state |= {f"module.model.{key}": tensor for key, tensor in evaluator.state_dict().items()}
    torch.save(state, tmp_path / "xray_ddm.pth")
    loaded = weights.load_published("raft", tmp_path / "xray_ddm.pth")
    same(network, loaded)
    assert "beside the flow network were passed over" in weights.card_of(loaded).notes[-1]


def test_a_norm_of_two_names_may_have_either_and_the_latter_wins(made, same):
    network = made("raft")
    twice = raft.pack(network, weights.card_of(network)).content
    assert sum(".norm3." in key for key in twice) == sum(".downsample.1." in key for key in twice) == 10
    first = {key: tensor for key, tensor in twice.items() if ".downsample.1." not in key}
    same(network, weights.load_published("raft", first))
    unlike = {key: tensor + 1 if ".norm3.weight" in key else tensor for key, tensor in twice.items()}
    loaded = weights.load_published("raft", unlike)
    same(network, loaded)
    assert "2 tensors had two values" in weights.card_of(loaded).notes[-1]


def test_networks_are_told_apart(made):
    with pytest.raises(WeightsError, match="weights of edvr-stf, not of swin-xvr"):
        weights.load_published("swin-xvr", dict(made("edvr").state_dict()))
    for case in ("swin", "swin aligned", "swin video"):
        with pytest.raises(WeightsError, match="weights of swin-xvr, not of edvr-stf"):
            weights.load_published("edvr-stf", {"params": dict(made(case).state_dict())})
    with pytest.raises(WeightsError, match="weights of raft, not of edvr-stf"):
        weights.load_published("edvr-stf", dict(made("raft").state_dict()))


def test_files_that_do_not_fit_are_told_by_name(made):
    state = dict(made("edvr").state_dict())
    without = {key: tensor for key, tensor in state.items() if not key.startswith("conv_first_hi.")}
    with pytest.raises(WeightsError, match=r"2 missing \(conv_first_hi\.weight.*EDVR itself"):
        weights.load_published("edvr-stf", without)
    with pytest.raises(WeightsError, match=r"1 unexpected \(fusion\.more"):
        weights.load_published("edvr-stf", {**state, "fusion.more": torch.zeros(1)})
    with pytest.raises(WeightsError, match="state of a training"):
        weights.load_published("edvr-stf", {**state, "optimizers": [], "schedulers": [], "epoch": 1})


EXPECTED = {
    "edvr_stf": {"features": 128, "groups": 8, "extracted": 5, "reconstructed": 40, "attention": True},
    "edvr_stf_notsa_small": {"features": 32, "attention": False},
    "swin_default": {"width": 192, "heads": (3, 3, 3, 3), "depths": (2, 2, 18, 2), "window": (5, 8, 8)},
    "swin_xvr_actual": {"width": 384, "heads": (6, 6, 6, 6), "window": (5, 4, 4), "aligned": False},
    "swin_aligned_small": {"features": 32, "width": 48, "aligned": True, "adapted": True, "groups": 8},
    "swin_vstf_small": {"variant": "video", "extracted": 2, "upsampled": 64, "ending": "1conv"},
}


@pytest.mark.parametrize("case", EXPECTED)
def test_configs_follow_from_published_shapes(case, goldens):
    keys = json.loads((goldens / "xfusion" / "keys.json").read_text())[case]
    shapes = {key: value["shape"] if isinstance(value, dict) else value for key, value in keys.items()}
    room, name = (edvr_stf, "edvr-stf") if case.startswith("edvr") else (swin_xvr, "swin-xvr")
    found = room.infer_config({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    assert found | EXPECTED[case] == found
    with torch.device("meta"):
        made = create(name, **found).state_dict()
    assert {key: list(tensor.shape) for key, tensor in made.items()} == shapes
