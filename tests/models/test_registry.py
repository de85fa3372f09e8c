"""What every network of frame pairs promises, checked over the registry; others have tests of their own."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from scanweave.errors import UsageError
from scanweave.models import NETWORKS, channels_last, create

SMALL = {
    "most-dsa": {"width": 4, "depths": (1, 2, 1, 2), "heads": 2, "key": 4, "context": 5},
    "super-slomo": {"warp_convention": "corner"},
}
MULTIPLE = {"most-dsa": 16, "super-slomo": 32}
TIMES = [0.25, 0.7]


def test_every_network_is_covered():
    others = {
        "block-fusion",
        "drdm",
        "edvr-stf",
        "raft",
        "sam-vit-b-encoder",
        "swin-xvr",
        "uni-coal",
        "uni-coal-critic",
    }
    assert set(SMALL) | others == set(NETWORKS)


@pytest.fixture(scope="module", params=sorted(SMALL))
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(name) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    made = create(name, **SMALL[name]).eval()
    for parameter in made.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        parameter.data = noise * (1.5 / fan_in**0.5)
    return made


@pytest.fixture(scope="module")
def frames(name) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    side = MULTIPLE[name]
    return torch.rand(2, 3, side, 2 * side, generator=generator), torch.rand(2, 3, side, 2 * side, generator=generator)


@pytest.fixture(scope="module")
def expected(network, frames) -> torch.Tensor:
    with torch.no_grad():
        return network(*frames, TIMES)


def test_shape_and_dtype(frames, expected):
    assert expected.shape == (2, len(TIMES), *frames[0].shape[1:])
    assert expected.dtype == torch.float32
    assert expected.isfinite().all()


def test_a_batch_equals_one_by_one(network, frames, expected):
    for pair in range(2):
        for index, time in enumerate(TIMES):
            alone = network(*(frame[pair : pair + 1] for frame in frames), [time])
            torch.testing.assert_close(alone[0, 0], expected[pair, index], atol=1e-5, rtol=0)


def test_a_pair_is_encoded_once_for_any_times(network, frames, expected):
    pair = network.encode(*frames)
    for index, time in enumerate(TIMES):
        torch.testing.assert_close(network.decode(pair, [time])[:, 0], expected[:, index], atol=1e-5, rtol=0)


def test_channels_last_changes_rounding_only(network, frames, expected):
    laid_out = channels_last(copy.deepcopy(network))
    torch.testing.assert_close(laid_out(*frames, TIMES), expected, atol=2e-5, rtol=0)


def test_times_may_be_a_tensor(network, frames, expected):
    torch.testing.assert_close(network(*frames, torch.tensor(TIMES)), expected, atol=1e-6, rtol=0)


def test_inputs_are_left_alone(network, frames):
    before = [frame.clone() for frame in frames]
    network(*frames, [0.5])
    assert all(torch.equal(*pair) for pair in zip(before, frames, strict=True))


def test_double_precision_agrees(network, frames, expected):
    exact = copy.deepcopy(network).double()(*(frame.double() for frame in frames), TIMES)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), expected, atol=2e-4, rtol=0)


def test_survives_saving_and_copying(name, network, frames, expected):
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded = create(name, **SMALL[name]).eval()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for other in (loaded, copy.deepcopy(network)):
        assert torch.equal(other(*frames, TIMES), expected)


def test_exports_with_free_sides(name, network, frames):
    side = MULTIPLE[name]
    shape = {2: side * torch.export.Dim("rows"), 3: side * torch.export.Dim("columns")}
    times = torch.tensor(TIMES)
    taller = [torch.cat((frame, frame.flip(2)), dim=2)[:1] for frame in frames]
    exported = torch.export.export(network, (*taller, times), dynamic_shapes=(shape, shape, None)).module()
    torch.testing.assert_close(exported(*taller, times), network(*taller, times), atol=1e-5, rtol=0)
    wider = [frame.mT for frame in taller]
    wider = [torch.cat((frame, frame.flip(3)), dim=3) for frame in wider]
    torch.testing.assert_close(exported(*wider, times), network(*wider, times), atol=1e-5, rtol=0)


def test_every_parameter_learns(network, frames):
    trained = copy.deepcopy(network).train()
    with torch.enable_grad():
        trained(*frames, TIMES).square().mean().backward()
    without = [key for key, parameter in trained.named_parameters() if parameter.grad is None]
    assert without == []


@pytest.mark.parametrize(
    ("rows", "columns", "channels", "reason"),
    [(24, 32, 3, "multiples of"), (32, 40, 3, "multiples of"), (32, 32, 1, "shape"), (0, 32, 3, "multiples of")],
)
def test_illegal_frames_are_refused(network, rows, columns, channels, reason):
    frame = torch.zeros(1, channels, rows, columns)
    with pytest.raises(ValueError, match=reason):
        network(frame, frame, [0.5])


def test_frames_that_differ_are_refused(network):
    frame = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match="one shape"):
        network(frame, frame[..., :16], [0.5])
    with pytest.raises(ValueError, match="floating"):
        network(frame, frame.double(), [0.5])
    with pytest.raises(ValueError, match="floating"):
        network(frame.to(torch.uint8), frame.to(torch.uint8), [0.5])


@pytest.mark.parametrize("times", [[], [[0.5]], [[], []], 0.5, [[[0.5]], [[0.5]]]])
def test_illegal_times_are_refused(network, frames, times):
    with pytest.raises(ValueError, match=r"list of at least one time|one row for each of 2 pairs"):
        network(*frames, times)


def test_flows_and_frames_stay_float32_under_autocast(network, frames):
    with torch.autocast("cpu", torch.bfloat16):
        made = network(*frames, [0.5])
    assert made.dtype == torch.float32
    assert (made - network(*frames, [0.5])).abs().max() < 0.1


def test_each_pair_may_have_its_own_times(network, frames):
    own = torch.tensor([[0.25, 0.5], [0.5, 0.875]])
    singly = [network(*(frame[k : k + 1] for frame in frames), own[k]) for k in range(2)]
    torch.testing.assert_close(network(*frames, own), torch.cat(singly), rtol=0, atol=2e-5)


def test_unknown_names_and_options_are_refused():
    with pytest.raises(
        UsageError,
        match="choose among: block-fusion, drdm, edvr-stf, most-dsa, raft, sam-vit-b-encoder, super-slomo, swin-xvr",
    ):
        create("film")
    with pytest.raises(UsageError, match="it has: warp_convention, mean"):
        create("super-slomo", widht=3)
