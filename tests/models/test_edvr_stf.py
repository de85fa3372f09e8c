"""The numbers and promises of EDVR-STF."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor

from scanweave.errors import UsageError
from scanweave.models import EdvrStf, EdvrStfConfig, channels_last, create
from scanweave.models.edvr_modules import Alignment, Attention, DeformablePack, Features, Levels

SMALL = {"features": 32, "extracted": 2, "reconstructed": 4}
CONFIGS = {"edvr_stf": {}, "edvr_stf_small": SMALL, "edvr_stf_notsa_small": {**SMALL, "attention": False}}
GOLDENS = {
    "edvr_stf_small": "edvr_stf_small",
    "edvr_stf_notsa_small": "edvr_stf_notsa_small",
    "edvr_stf_full": "edvr_stf",
}
TINY = {"features": 8, "groups": 2, "extracted": 1, "reconstructed": 1}
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def filled(fusing):
    made: dict[str, EdvrStf] = {}

    def make(name: str) -> EdvrStf:
        if name not in made:
            network = EdvrStf(EdvrStfConfig(**CONFIGS[name]))
            made[name] = fusing(network, trunk="feature_extraction|reconstruction", last=4)
        return made[name]

    return make


@pytest.fixture(scope="module")
def tiny(fusing) -> EdvrStf:
    return fusing(EdvrStf(EdvrStfConfig(**TINY)), trunk="feature_extraction|reconstruction", last=4)


@pytest.fixture(scope="module")
def frames() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 1, 8, 12, generator=generator), torch.rand(2, 2, 1, 32, 48, generator=generator)


@pytest.mark.parametrize("case", GOLDENS)
def test_golden_frames_and_stages(case, filled, vectors, agree):
    arrays = vectors(f"xfusion/{case}")
    network, kept = filled(GOLDENS[case]), {"aligned": [], "fused": []}
    hooks = [
        part.register_forward_hook(lambda part, given, made, name=name: kept[name].append(made))
        for name, part in (("aligned", network.pcd_align), ("fused", network.fusion))
    ]
    made = network(torch.from_numpy(arrays["lq"]), torch.from_numpy(arrays["hq"]))
    for hook in hooks:
        hook.remove()
    agree(made, arrays["out"], TOLERANCE)
    if "corr_score" in arrays:
        ((fused, likeness),) = kept["fused"]
        agree(likeness, arrays["corr_score"], TOLERANCE)
        agree(torch.cat(kept["aligned"], dim=1)[:, :, ::8], arrays["aligned_feat_sub"], TOLERANCE)
        agree(fused[:, ::8], arrays["fused_feat_sub"], TOLERANCE)


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_are_those_published(name, goldens):
    keys = json.loads((goldens / "xfusion" / "keys.json").read_text())[name]
    with torch.device("meta"):
        state = create("edvr-stf", **CONFIGS[name]).state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == keys
    assert list(state) == list(keys)


def test_size_of_the_published_network():
    with torch.device("meta"):
        network = EdvrStf()
    assert sum(parameter.numel() for parameter in network.parameters()) == 20_926_817


def test_golden_deformable_pack(fusing, vectors, agree):
    arrays = {key: torch.from_numpy(value) for key, value in vectors("xfusion/edvr_modules").items()}
    pack = fusing(DeformablePack(16, 4))
    agree(pack(arrays["dcnpack_x"], arrays["dcnpack_feat"]).double(), arrays["dcnpack_out"].numpy(), TOLERANCE)


def test_golden_alignment(fusing, vectors, agree):
    arrays = {key: torch.from_numpy(value) for key, value in vectors("xfusion/edvr_modules").items()}
    align = fusing(Alignment(16, 4))
    own, middle = (Levels(*(arrays[f"pcd_{who}_l{k}"] for k in (1, 2, 3))) for who in ("nbr", "ref"))
    moved = align(own.folded(1), align.leading(own).folded(1), align.following(middle).folded(1))
    agree(moved[:, 0], arrays["pcd_out"].numpy(), TOLERANCE)


def test_golden_attention(fusing, vectors, agree):
    arrays = vectors("xfusion/edvr_modules")
    agree(fusing(Attention(16, 5, 1))(torch.from_numpy(arrays["tsa_in"]))[0], arrays["tsa_out"], TOLERANCE)


def test_features_of_a_sequence_are_computed_once(tiny):
    generator = torch.Generator().manual_seed(2)
    fast, slow = torch.rand(5, 1, 8, 12, generator=generator), torch.rand(3, 1, 32, 48, generator=generator)
    coarse = Features.joined([tiny.coarse_features(fast[:2]), tiny.coarse_features(fast[2:])])
    sharp = tiny.sharp_features(slow)
    before, after = [[0, 1, 2], [2, 3, 4]], [[0, 1], [1, 2]]
    fused = tiny.fuse(coarse.at(before), sharp.at(after), fast[[1, 3]])
    singly = [tiny(fast[None, list(t)], slow[None, list(s)]) for t, s in zip(before, after, strict=True)]
    torch.testing.assert_close(fused.image, torch.cat(singly), atol=1e-5, rtol=0)
    assert fused.likeness.shape == (2, 5)


def test_a_batch_equals_one_by_one(tiny, frames):
    singly = [tiny(*(part[k : k + 1] for part in frames)) for k in range(2)]
    torch.testing.assert_close(tiny(*frames), torch.cat(singly), atol=1e-5, rtol=0)


def test_channels_last_and_double_precision_change_rounding_only(tiny, frames):
    expected = tiny(*frames)
    torch.testing.assert_close(channels_last(copy.deepcopy(tiny))(*frames), expected, atol=1e-5, rtol=0)
    exact = copy.deepcopy(tiny).double()(*(part.double() for part in frames))
    torch.testing.assert_close(exact.float(), expected, atol=1e-5, rtol=0)


def test_shifts_and_frames_stay_float32_under_autocast(tiny, frames):
    with torch.autocast("cpu", torch.bfloat16):
        made = tiny(*frames)
    assert made.dtype == torch.float32
    assert (made - tiny(*frames)).abs().max() < 0.1


def test_every_parameter_learns_and_gradients_are_those_of_differences(frames):
    torch.manual_seed(0)
    network = EdvrStf(EdvrStfConfig(**TINY)).double()
    with torch.enable_grad():
        for pack in (*network.pcd_align.dcn_pack.values(), network.pcd_align.cas_dcnpack):
            torch.nn.init.normal_(pack.conv_offset.weight, std=0.1)
        given = [part[:1].double().requires_grad_() for part in frames]
        network(*given).square().mean().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []
    step = 1e-5 * given[0].grad / given[0].grad.norm()
    ends = [network(given[0] + sign * step, given[1]).square().mean() for sign in (1, -1)]
    torch.testing.assert_close((ends[0] - ends[1]) / 2, (given[0].grad * step).sum(), rtol=1e-4, atol=0)


def test_a_fresh_network_neither_moves_nor_explodes(frames):
    torch.manual_seed(0)
    network = create("edvr-stf", **TINY).eval()
    assert all(bool((pack.conv_offset.weight == 0).all()) for pack in network.pcd_align.dcn_pack.values())
    assert network(*frames).abs().max() < 5


@pytest.mark.parametrize(
    ("coarse", "sharp", "reason"),
    [
        ((1, 3, 1, 8, 10), (1, 2, 1, 32, 40), "multiples of 4"),
        ((1, 5, 1, 8, 12), (1, 2, 1, 32, 48), "coarse frames"),
        ((1, 3, 3, 8, 12), (1, 2, 3, 32, 48), "coarse frames"),
        ((1, 3, 1, 8, 12), (1, 2, 1, 16, 24), "four times as fine"),
        ((2, 3, 1, 8, 12), (1, 2, 1, 32, 48), "four times as fine"),
        ((1, 3, 1, 0, 12), (1, 2, 1, 0, 48), "multiples of 4"),
    ],
)
def test_illegal_frames_are_refused(tiny, coarse, sharp, reason):
    with pytest.raises(ValueError, match=reason):
        tiny(torch.zeros(coarse), torch.zeros(sharp))


def test_whole_numbers_are_refused(tiny):
    with pytest.raises(ValueError, match="floating"):
        tiny(torch.zeros(1, 3, 1, 8, 12, dtype=torch.uint8), torch.zeros(1, 2, 1, 32, 48, dtype=torch.uint8))


@pytest.mark.parametrize("config", [{"features": 12}, {"coarse": 2}, {"sharp": 0}, {"extracted": -1}, {"groups": 0}])
def test_illegal_configs_are_refused(config):
    with pytest.raises(UsageError):
        create("edvr-stf", **config)
