"""DRDM's published files: read strictly, in any wrapper, and written so that they read back the same."""

from __future__ import annotations

import pytest
import torch

from scanweave import weights
from scanweave.errors import UsageError, WeightsError
from scanweave.models import Drdm, DrdmConfig


@pytest.fixture(scope="module", params=[{}, {"ndims": 3, "channels": 3, "steps": 20}], ids=["2d", "3d"])
def network(request, fill) -> Drdm:
    made = Drdm(DrdmConfig(**request.param))
    made.load_state_dict(fill(made.state_dict()))
    return made.eval()


WRAPPERS = {
    "bare": lambda state: state,
    "module": lambda state: {f"module.{key}": value for key, value in state.items()},
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "both": lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_any_wrapper(wrapper, network, same, tmp_path):
    path = tmp_path / "000000_cmr_recresacnet.pth"
    torch.save(WRAPPERS[wrapper](dict(network.state_dict())), path)
    loaded = weights.load_published("drdm", path)
    same(network, loaded)
    assert loaded.config == network.config
    assert bool(weights.card_of(loaded).notes) == (wrapper != "bare")
    same(network, weights.open(None, path))


def test_export_is_in_the_authors_layout(network, same, tmp_path):
    path = weights.export_published("drdm", network, tmp_path / "000001_cmr_recresacnet.pth")
    written = torch.load(path, weights_only=True)
    assert list(written) == list(network.state_dict())
    same(network, weights.load_published("drdm", path))


def test_our_container(network, same, tmp_path):
    same(network, weights.load(weights.save(network, tmp_path / "a.safetensors")))


def test_a_loaded_network_runs_on_trial(network):
    weights.try_out(weights.load_published("drdm", dict(network.state_dict())))


def test_the_table_of_a_file_is_used_and_stays(network):
    state = dict(network.state_dict())
    loaded = weights.load_published("drdm", state)
    assert torch.equal(loaded.time_embed.weight, state["time_embed.weight"])
    assert not loaded.time_embed.weight.requires_grad


def test_partial_files_are_refused(network):
    state = dict(network.state_dict())
    del state["te1.0.weight"], state["time_embed.weight"]
    state["b1.0.conv0.bias"] = torch.zeros(11)
    with pytest.raises(WeightsError, match=r"2 missing .*1 misshapen"):
        weights.load_published("drdm", state, steps=network.config.steps)


def test_the_wrong_dimensions_are_refused(network):
    other = 5 - network.config.ndims
    with pytest.raises(WeightsError, match="misshapen"):
        weights.load_published("drdm", dict(network.state_dict()), ndims=other)


def test_kernels_of_no_image_are_refused(network):
    state = dict(network.state_dict())
    state["conv_out.weight"] = torch.zeros(2, 10, 3)
    with pytest.raises(WeightsError, match="neither 2 nor 3 dimensions"):
        weights.load_published("drdm", state)


def test_networks_are_told_apart(network, dsa_file):
    with pytest.raises(WeightsError, match="weights of drdm, not of most-dsa"):
        weights.load_published("most-dsa", dict(network.state_dict()))
    with pytest.raises(WeightsError, match="weights of most-dsa, not of drdm"):
        weights.load_published("drdm", dsa_file)


def test_it_is_no_network_of_pairs_for_onnx(network, tmp_path):
    from scanweave.weights.onnx import export_onnx

    with pytest.raises(UsageError, match="drdm cannot be exported"):
        export_onnx(network, tmp_path / "a.onnx")


@pytest.mark.reference
def test_the_published_file(reference):
    network = weights.load_published("drdm", reference / "data" / "drdm" / "000000_cmr_recresacnet.pth")
    assert network.config == DrdmConfig(ndims=2, channels=1, steps=80)
    assert weights.card_of(network).sha256.startswith("c9e93ccb")
