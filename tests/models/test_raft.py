"""The numbers and promises of RAFT."""

from __future__ import annotations

import json

import pytest
import torch

from scanweave.errors import UsageError
from scanweave.models import Raft, RaftConfig, create
from scanweave.models.raft import looked_up, pyramid
from scanweave.weights import card_of, raft

CONFIGS = {"raft_1ch": {}, "raft_rgb": {"channels": 3}}


@pytest.fixture(scope="module")
def network(fill) -> Raft:
    made = Raft()
    state = fill(made.state_dict())
    for key, value in state.items():
        if key.startswith("update_block.flow_head.conv2."):
            value *= 0.3
    made.load_state_dict(state)
    return made.eval()


@pytest.fixture(scope="module")
def arrays(vectors):
    return vectors("xfusion/raft_1ch")


@pytest.fixture(scope="module")
def views(arrays) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(arrays["image1"]), torch.from_numpy(arrays["image2"])


def test_golden_flow(network, views, arrays, agree):
    estimates = list(network.estimates(*views, iterations=int(arrays["iters"])))
    agree(estimates[-1].flow, arrays["flow_low"], 1e-4)
    agree(network.raised(estimates[0])[..., ::4, ::4], arrays["flow_up_iter0_sub"], 1e-4)
    agree(network.raised(estimates[-1]), arrays["flow_up"], 1e-4)


def test_golden_features_and_likeness(network, views, arrays, agree):
    features = network.encode(*(2 * (view / 255) - 1 for view in views))
    agree(features[0][:, ::16], arrays["fmap1_sub"], 1e-4)
    agree(features[1][:, ::16], arrays["fmap2_sub"], 1e-4)
    found = looked_up(pyramid(*features), torch.from_numpy(arrays["corr_coords"]))
    agree(found[:, ::5], arrays["corr_lookup_sub"], 1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_are_those_published(name, goldens):
    keys = json.loads((goldens / "xfusion" / "keys.json").read_text())[name]
    with torch.device("meta"):
        network = create("raft", **CONFIGS[name])
    packed = raft.pack(network, card_of(network)).content
    prefix = "module." if name == "raft_rgb" else "module.flow_model."
    told = {prefix + key: value["shape"] if isinstance(value, dict) else value for key, value in keys.items()}
    assert {key: list(tensor.shape) for key, tensor in packed.items()} == told
    assert list(packed) == list(told)


def test_size_of_the_public_network():
    with torch.device("meta"):
        network = create("raft", channels=3)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2) == 5.26


def test_the_call_and_the_sequence_are_the_same_search(network, views):
    steps = network.sequence(*views, iterations=2)
    assert [step.shape for step in steps] == [(1, 2, 128, 144)] * 2
    assert torch.equal(steps[-1], network(*views, iterations=2))


def test_columns_are_slow_and_rows_fast_in_what_is_looked_up():
    likeness = torch.arange(256.0 * 256).view(256, 1, 16, 16)
    found = looked_up([likeness], torch.full((1, 2, 16, 16), 5.0))
    assert found.shape == (1, 81, 16, 16)
    window = found[0, :, 0, 0].view(9, 9)
    assert torch.equal(window, likeness[0, 0, 1:10, 1:10].t())


def test_each_camera_may_have_an_encoder_of_its_own(network, views):
    apart = Raft(RaftConfig(split=True)).eval()
    state = dict(network.state_dict())
    state |= {key.replace("fnet.", "fnet2."): value for key, value in state.items() if key.startswith("fnet.")}
    apart.load_state_dict(state)
    torch.testing.assert_close(apart(*views, iterations=1), network(*views, iterations=1), atol=1e-4, rtol=0)


def test_every_parameter_learns():
    torch.manual_seed(0)
    network = create("raft").train()
    view = torch.rand(1, 1, 128, 128) * 255
    with torch.enable_grad():
        sum(flow.square().mean() for flow in network.sequence(view, view.flip(3), iterations=2)).backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ((1, 1, 120, 128), (1, 1, 120, 128), "from 128 on"),
        ((1, 1, 128, 132), (1, 1, 128, 132), "multiples of 8"),
        ((1, 3, 128, 128), (1, 3, 128, 128), "one shape"),
        ((1, 1, 128, 128), (1, 1, 128, 136), "one shape"),
    ],
)
def test_illegal_views_are_refused(network, first, second, reason):
    with pytest.raises(ValueError, match=reason):
        network(torch.zeros(first), torch.zeros(second))


def test_no_iteration_and_whole_numbers_are_refused(network):
    view = torch.zeros(1, 1, 128, 128)
    with pytest.raises(ValueError, match="iteration"):
        network(view, view, iterations=0)
    with pytest.raises(ValueError, match="floating"):
        network(view.to(torch.uint8), view.to(torch.uint8))
    with pytest.raises(UsageError):
        create("raft", channels=0)
