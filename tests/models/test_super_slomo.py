"""Super-SloMo against the authors' program, within the goldens' stated tolerances."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scanweave.errors import UsageError
from scanweave.models import SuperSlomo, SuperSlomoConfig, create
from scanweave.models.super_slomo import Flows, Pair, UNet, flows_at

TOLERANCE = 1e-4
STAGES = ("down1", "down2", "down3", "down4", "down5", "up1", "up2", "up3", "up4", "up5")


@pytest.fixture(scope="module")
def golden(vectors):
    return vectors("slowmo_echo/interp_64x96")


@pytest.fixture(scope="module")
def frames(golden, as_frames):
    return as_frames(golden["frames_u8"][0]), as_frames(golden["frames_u8"][1])


def test_keys_are_those_published(goldens):
    published = json.loads((goldens / "slowmo_echo" / "keys.json").read_text())
    with torch.device("meta"):
        network = SuperSlomo()
    for part, name in ((network.flow, "state_dictFC"), (network.refine, "state_dictAT")):
        ours = {key: list(tensor.shape) for key, tensor in part.state_dict().items()}
        assert ours == published[name]
        assert len(ours) == 46
    assert sum(parameter.numel() for parameter in network.flow.parameters()) == 19_794_116
    assert sum(parameter.numel() for parameter in network.parameters()) == 39_610_473
    assert len(network.state_dict()) == 92  # the mean is config, not weights


@pytest.mark.parametrize(("part", "name"), [("flow", "unet_fc_64x96"), ("refine", "unet_at_64x96")])
def test_unet_stages(part, name, slomo, vectors, agree):
    golden = vectors(f"slowmo_echo/{name}")
    network: UNet = getattr(slomo("half_pixel"), part)
    kept = {}
    hooks = [
        getattr(network, stage).register_forward_hook(
            lambda _module, _args, out, stage=stage: kept.__setitem__(stage, out)
        )
        for stage in STAGES
    ]
    kept["out"] = network(torch.from_numpy(golden["x"]))
    for hook in hooks:
        hook.remove()
    agree(kept["out"], golden["out"], TOLERANCE)
    for stage, tensor in kept.items():
        assert tuple(tensor.shape) == tuple(golden[f"{stage}__shape"])
        values = tensor.double().flatten()
        statistics = torch.stack((values.mean(), values.std(), values.min(), values.max()))
        agree(statistics, golden[f"{stage}__stat"], TOLERANCE)
        places = np.floor(np.linspace(0, len(values) - 1, 64)).astype(int)
        agree(values[places], golden[f"{stage}__sample"], TOLERANCE)


@pytest.mark.parametrize("convention", ["half_pixel", "corner"])
def test_frames_at_all_times_in_one_batch(convention, slomo, golden, frames, agree):
    network = slomo(convention)
    made = network(*frames, golden["ts"].tolist()) - network.mean
    for index, time in enumerate(golden["ts"]):
        agree(made[:, index], golden[f"{convention}_t{time:.4f}_out"], TOLERANCE)


def test_intermediate_flows_visibility_and_warps(slomo, golden, frames, agree):
    network, time = slomo("half_pixel"), torch.tensor([0.25])
    pair = network.encode(*frames)
    to_0, to_1 = flows_at(pair, time)
    refined = network.flows(pair, time)
    expected = {
        "F01": pair.flow01,
        "F10": pair.flow10,
        "Ft0": to_0,
        "Ft1": to_1,
        "g0": network.warp(pair.frame0, to_0),
        "g1": network.warp(pair.frame1, to_1),
        "Ft0f": refined.to_0,
        "Ft1f": refined.to_1,
        "V0": refined.visible_0,
        "g0f": network.warp(pair.frame0, refined.to_0),
        "g1f": network.warp(pair.frame1, refined.to_1),
    }
    for name, ours in expected.items():
        agree(ours, golden[f"half_pixel_t0.2500_{name}"], TOLERANCE)
    change = golden["half_pixel_t0.2500_intrp"]
    agree(refined.to_0 - to_0, change[:, :2], TOLERANCE)
    agree(refined.to_1 - to_1, change[:, 2:4], TOLERANCE)
    agree(torch.logit(refined.visible_0), change[:, 4:], TOLERANCE)


def test_intermediates_in_the_corner_convention(slomo, golden, frames, agree):
    network, time = slomo("corner"), torch.tensor([0.25])
    pair = network.encode(*frames)
    to_0, to_1 = flows_at(pair, time)
    refined = network.flows(pair, time)
    agree(network.warp(pair.frame0, to_0), golden["corner_t0.2500_g0"], TOLERANCE)
    change = torch.cat((refined.to_0 - to_0, refined.to_1 - to_1, torch.logit(refined.visible_0)), dim=1)
    agree(change, golden["corner_t0.2500_intrp"], TOLERANCE)


@pytest.mark.parametrize("convention", ["half_pixel", "corner"])
def test_without_weights_it_is_a_blend_of_the_published_warp(convention, golden, frames, agree):
    network = create("super-slomo", warp_convention=convention).eval()
    for parameter in network.parameters():
        parameter.zero_()
    made = network(*frames, [0.25]) - network.mean
    agree(made[:, 0], golden[f"zeronet_{convention}_t0.2500_out"], TOLERANCE)


def test_exact_convention_without_weights_is_the_blend(frames):
    network = create("super-slomo", warp_convention="exact").eval()
    for parameter in network.parameters():
        parameter.zero_()
    expected = 0.75 * frames[0] + 0.25 * frames[1]
    torch.testing.assert_close(network(*frames, [0.25])[:, 0], expected, atol=2e-6, rtol=0)


@pytest.mark.reference
@pytest.mark.parametrize("convention", ["half_pixel", "corner"])
def test_real_echo(convention, slomo, reference, as_frames, agree):
    with np.load(reference / "goldens" / "slowmo_echo" / "interp_real_echo_96x96.npz") as golden:
        frames = [as_frames(frame) for frame in golden["frames_u8"]]
        network = slomo(convention)
        made = network(*frames, golden["ts"].tolist()) - network.mean
        agree(made[:, 0], golden[f"{convention}_t0.5000_out"], TOLERANCE)


def test_flow_coefficients_are_those_published():
    # From -t(1-t), t^2, (1-t)^2, -t(1-t) at t = 1/8, 2/8, 7/8, as the published program tabulates them.
    table = torch.tensor(
        [
            [-0.109375, 0.015625, 0.765625, -0.109375],
            [-0.1875, 0.0625, 0.5625, -0.1875],
            [-0.109375, 0.765625, 0.015625, -0.109375],
        ],
        dtype=torch.float64,
    )
    frame, one = torch.zeros(1, 3, 1, 1, dtype=torch.float64), torch.ones(1, 2, 1, 1, dtype=torch.float64)
    times = torch.tensor([1, 2, 7], dtype=torch.float64) / 8
    of_01 = flows_at(Pair(frame, frame, one, 0 * one), times)
    of_10 = flows_at(Pair(frame, frame, 0 * one, one), times)
    ours = torch.stack([flow[:, 0, 0, 0] for flow in (of_01[0], of_10[0], of_01[1], of_10[1])], dim=1)
    torch.testing.assert_close(ours, table, atol=1e-12, rtol=0)


def test_doubling_and_halving_operators(vectors, agree):
    golden = vectors("slowmo_echo/operators_12x17")
    doubled = F.interpolate(torch.from_numpy(golden["up_in"]), scale_factor=2.0, mode="bilinear", align_corners=False)
    agree(doubled, golden["up_out"], 1e-5)
    agree(F.avg_pool2d(torch.from_numpy(golden["img"]), 2), golden["pool_out"], 1e-5)


def test_result_is_a_convex_combination(slomo, frames):
    made = slomo("half_pixel")(*frames, [0.5])
    assert made.min() >= -1e-5
    assert made.max() <= 1 + 1e-5


@pytest.mark.parametrize(
    "config", [{"warp_convention": "nearest"}, {"mean": (0.1, 0.2)}, {"mean": (0.1, float("nan"), 0.2)}]
)
def test_illegal_configs_are_refused(config):
    with pytest.raises(UsageError):
        create("super-slomo", **config)


def test_coefficients_of_flows_and_frames_are_those_published(goldens):
    """Unit flows and unit frames show each coefficient alone, at the times (index + 1) / 8 of training."""
    rules = json.loads((goldens / "slowmo_echo" / "rules.json").read_text())
    one, none = torch.ones(1, 2, 32, 32), torch.zeros(1, 2, 32, 32)
    still = SuperSlomo(SuperSlomoConfig(warp_convention="exact"))
    times = torch.arange(1, 8) / 8
    frames = torch.zeros(1, 3, 32, 32)
    columns = [
        flow[:, 0, 0, 0]
        for flow01, flow10 in ((one, none), (none, one))
        for flow in flows_at(Pair(frames, frames, flow01, flow10), times)
    ]
    found = torch.stack([columns[0], columns[2], columns[1], columns[3]], dim=1)
    np.testing.assert_allclose(found, rules["flow_coefficients"], atol=1e-7)
    no_flow = torch.zeros(7, 2, 32, 32)
    blend = still.blend(
        Pair(frames, frames, none, none), times, Flows(no_flow, no_flow, torch.full((7, 1, 32, 32), 0.5))
    )
    share = blend.share_0[:, 0, 0, 0]
    np.testing.assert_allclose(torch.stack([share, 1 - share], dim=1), rules["warp_coefficients"], atol=1e-7)
