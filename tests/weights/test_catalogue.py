"""Our own container, the user's folder, and opening either kind."""

from __future__ import annotations

import json

import pytest
import safetensors
import safetensors.torch
import torch

from scanweave import weights
from scanweave.errors import OutputError, WeightsError
from scanweave.models import create

TINY = {"width": 4, "depths": (1, 2, 1, 2), "heads": 2, "key": 4, "context": 5}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("SCANWEAVE_HOME", str(folder))
    return folder


def test_saved_networks_keep_config_and_card(dsa_file, same, tmp_path):
    network = weights.load_published("most-dsa", dsa_file)
    path = weights.save(network, tmp_path / "mine.safetensors")
    for again in (
        weights.load(path),
        weights.open("most-dsa", path),
        weights.open(None, path),
        weights.load_published("most-dsa", path),
    ):
        same(network, again)
        assert weights.card_of(again) == weights.card_of(network)
    assert weights.card_of(again).trained_times == pytest.approx((1 / 3, 2 / 3))
    assert weights.read_card(path) == weights.card_of(network)
    with safetensors.safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["scanweave"])["origin"] == "Inf2.pkl"


def test_a_card_of_ones_own(most_dsa, tmp_path):
    card = weights.card_of(most_dsa).model_copy(update={"licence": "CC0-1.0", "origin": "a test"})
    network = weights.load(weights.save(most_dsa, tmp_path / "a.safetensors", card))
    assert weights.card_of(network).licence == "CC0-1.0"
    assert weights.card_of(network).config == {**card.config, "width": 4}


def test_half_precision_is_loaded_as_float32(most_dsa, tmp_path):
    half = create("most-dsa", **weights.card_of(most_dsa).config).half()
    network = weights.load(weights.save(half, tmp_path / "half.safetensors"))
    assert next(network.parameters()).dtype == torch.float32
    assert torch.equal(network.unet.conv.bias, half.unet.conv.bias.float())


def test_open_takes_either_container(dsa_file, most_dsa, same):
    same(most_dsa, weights.open("most-dsa", dsa_file))
    same(most_dsa, weights.open(None, dict(most_dsa.state_dict())))
    with pytest.raises(WeightsError, match="not of super-slomo"):
        weights.open("super-slomo", dsa_file)


def test_load_wants_a_card(dsa_file, most_dsa, tmp_path):
    safetensors.torch.save_file(dict(most_dsa.state_dict()), tmp_path / "bare.safetensors")
    for path in (dsa_file, tmp_path / "bare.safetensors"):
        with pytest.raises(WeightsError, match="no card"):
            weights.load(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"network": "film"}, "weights of film, not of any network known here"),
        ({"config": {"width": "wide"}}, "tensors contradict: width, depths"),
        ({"config": {**TINY, "intra": 1, "mlp_ratio": 4, "breadth": 3}}, "no option breadth"),
        ({"config": {**TINY, "intra": 1, "mlp_ratio": 4, "map_side": "a"}}, "no possible network: .*map_side"),
        ({"config": {**TINY, "intra": 1, "mlp_ratio": 4, "depths": (1, 2, 1, 10**9)}}, "contradict: depths"),
        ({"origin": None}, "card that this version cannot read"),
        ({"extra": 1}, "card that this version cannot read"),
    ],
)
def test_a_card_that_was_tampered_with(change, reason, most_dsa, tmp_path):
    card = weights.card_of(most_dsa).model_dump(mode="json") | change
    state = dict(most_dsa.state_dict())
    safetensors.torch.save_file(state, tmp_path / "a.safetensors", metadata={"scanweave": json.dumps(card)})
    with pytest.raises(WeightsError, match=reason):
        weights.load(tmp_path / "a.safetensors")


def test_files_are_found_by_name_in_the_users_folder(home, most_dsa):
    assert [path for path in weights.listed() if path.parent == home / "weights"] == []
    with pytest.raises(WeightsError, match="no such file of weights"):
        weights.find("Inf1")
    path = weights.save(most_dsa, home / "weights" / "Inf1.safetensors")
    (home / "weights" / "notes.txt").write_text("not weights")
    assert path in weights.listed()
    assert weights.find("Inf1") == weights.find("Inf1.safetensors") == weights.find(path) == path
    with pytest.raises(WeightsError, match=r"is a folder .*Inf1\.safetensors"):
        weights.find(home)


def test_the_default_home_is_the_platforms(monkeypatch):
    monkeypatch.delenv("SCANWEAVE_HOME")
    assert weights.home().name == "scanweave"


def test_nothing_is_left_where_writing_fails(most_dsa, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError):
        weights.save(most_dsa, blocked / "a.safetensors")
    with pytest.raises(OutputError):
        weights.export_published("most-dsa", most_dsa, blocked / "a.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_trying_out_finds_what_overflows(most_dsa, dsa_state):
    weights.try_out(most_dsa)
    dsa_state["module.feature_bone.block1.conv.0.weight"] *= 3e38
    with pytest.raises(WeightsError, match="not finite"):
        weights.try_out(weights.load_published("most-dsa", dsa_state))
