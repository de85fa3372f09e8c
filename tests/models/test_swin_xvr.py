"""The numbers and promises of SWIN-XVR, image and video, plain and aligned."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from scanweave.errors import UsageError
from scanweave.models import SwinXvr, SwinXvrConfig, create
from scanweave.models.swin_blocks import Block, WindowAttention, regions, split
from scanweave.models.swin_xvr import DUAL_DETECTOR

SMALL = {"width": 48, "features": 48, "heads": (3, 3), "depths": (2, 2)}
ALIGNED = {**SMALL, "window": (5, 4, 4), "features": 32, "aligned": True, "adapted": True, "extracted": 2}
CONFIGS = {
    "swin_default": {},
    "swin_xvr_actual": dataclasses.asdict(DUAL_DETECTOR),
    "swin_small": SMALL,
    "swin_aligned_small": ALIGNED,
    "swin_vstf_small": {**ALIGNED, "variant": "video"},
}
GOLDENS = {
    "swin_small": "swin_small",
    "swin_small_pad": "swin_small",
    "swin_full_default": "swin_default",
    "swin_full_actual": "swin_xvr_actual",
    "swin_aligned_small": "swin_aligned_small",
    "swin_vstf_small": "swin_vstf_small",
}
TOLERANCE = 5e-5
TINY = {"width": 8, "features": 8, "heads": (2,), "depths": (2,), "window": (5, 4, 4), "upsampled": 4}


@pytest.mark.parametrize("case", GOLDENS)
def test_golden_frames_and_stages(case, fusing, vectors, agree):
    arrays = vectors(f"xfusion/{case}")
    network = fusing(SwinXvr(SwinXvrConfig(**CONFIGS[GOLDENS[case]])), trunk="feature_extraction")
    kept: dict[str, torch.Tensor] = {}
    for index, stage in enumerate(network.layers):
        stage.register_forward_hook(lambda part, given, made, name=f"stage{index}": kept.__setitem__(name, made))
    for index, block in enumerate(network.layers[0].residual_group.blocks):
        block.register_forward_hook(lambda part, given, made, name=f"block{index}": kept.__setitem__(name, made))
    agree(network(torch.from_numpy(arrays["lq"]), torch.from_numpy(arrays["hq"])), arrays["out"], TOLERANCE)
    for key in (key for key in arrays if key.endswith("_sub")):
        tokens = kept[key.removesuffix("_sub")][..., ::8]
        agree(tokens.permute(0, 4, 1, 2, 3) if key.startswith("stage") else tokens, arrays[key], TOLERANCE)


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_are_those_published(name, goldens):
    keys = json.loads((goldens / "xfusion" / "keys.json").read_text())[name]
    with torch.device("meta"):
        state = create("swin-xvr", **CONFIGS[name]).state_dict()
    told = {key: value["shape"] if isinstance(value, dict) else value for key, value in keys.items()}
    assert {key: list(tensor.shape) for key, tensor in state.items()} == told
    assert list(state) == list(keys)


@pytest.mark.parametrize(("name", "count"), [("swin_default", 10_009_033), ("swin_xvr_actual", 38_294_545)])
def test_sizes_of_the_published_networks(name, count):
    with torch.device("meta"):
        network = create("swin-xvr", **CONFIGS[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def by_definition(block: Block, x: torch.Tensor) -> torch.Tensor:
    """Attention in shifted windows with one mask over the whole lattice and a plain softmax."""
    attention, window, shift = block.attn, block.window, block.shift
    rolled = x.roll([-length for length in shift], dims=(1, 2, 3))
    ids = torch.zeros(1, *x.shape[1:4], 1)
    for axis, (length, step) in enumerate(zip(window, shift, strict=True)):
        places = torch.arange(x.shape[1 + axis])
        side = x.shape[1 + axis]
        own = torch.where(places < side - length, 0, torch.where(places < side - step, 1, 2)) if step else places * 0
        ids = 3 * ids + own.view([-1 if k == axis else 1 for k in range(3)])[None, ..., None]
    ids = split(ids, window).squeeze(2)
    mask = -100.0 * (ids[:, :, None] != ids[:, None]).repeat(x.shape[0], 1, 1)
    qkv = attention.qkv(split(rolled, window)).unflatten(2, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
    logits = qkv[0] * qkv.shape[-1] ** -0.5 @ qkv[1].mT
    made = (logits + attention.offsets(window, (False, False, False)) + mask[:, None]).softmax(dim=3) @ qkv[2]
    made = attention.proj(made.transpose(1, 2).flatten(2)).view(-1, *window, x.shape[-1])
    counts = [side // length for side, length in zip(x.shape[1:4], window, strict=True)]
    lattice = made.view(x.shape[0], *counts, *window, -1).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(x.shape)
    return lattice.roll(shift, dims=(1, 2, 3))


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, 2, 0), (1, 2, 2), (0, 2, 2)])
def test_parts_with_masks_of_their_own_are_one_mask_over_all(shift):
    torch.manual_seed(0)
    block = Block(8, 2, (3, 4, 4), shift, 16, 0.0).eval()
    x = torch.rand(2, 9, 8, 12, 8)
    torch.testing.assert_close(block._attended(x), by_definition(block, x), atol=1e-6, rtol=0)


def test_parts_cover_a_lattice_once():
    count = torch.zeros(1, 6, 8, 8, 1)
    parts = regions(count.shape[1:4], (3, 4, 8), (1, 2, 0))
    for place, _ in parts:
        count[place] += 1
    assert bool((count == 1).all())
    assert sorted(torn for _, torn in parts) == [
        (False, False, False),
        (False, True, False),
        (True, False, False),
        (True, True, False),
    ]


def test_offsets_follow_from_where_query_and_key_stand():
    attention = WindowAttention(4, 1, (2, 3, 3))
    torch.nn.init.normal_(attention.relative_position_bias_table)
    offsets = attention.offsets((2, 3, 3), (False, False, False))[0, 0].view(2, 3, 3, 2, 3, 3)
    table = attention.relative_position_bias_table.view(3, 5, 5)
    assert offsets[1, 2, 0, 0, 0, 1] == table[1 + 1, 2 + 2, -1 + 2]
    assert offsets[0, 1, 1, 0, 1, 1] == table[1, 2, 2]


def test_a_video_gives_an_image_for_each_coarse_frame():
    torch.manual_seed(0)
    video = create("swin-xvr", **TINY, variant="video").eval()
    image = create("swin-xvr", **TINY).eval()
    image.load_state_dict(video.state_dict())
    frames = torch.rand(2, 3, 1, 8, 12), torch.rand(2, 2, 1, 32, 48)
    made = video(*frames)
    assert made.shape == (2, 3, 1, 32, 48)
    torch.testing.assert_close(made[:, 1], image(*frames), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["0conv", "3conv"])
def test_other_endings(kind):
    torch.manual_seed(0)
    network = create("swin-xvr", **TINY, ending=kind).eval()
    assert ("layers.0.conv.4.weight" in network.state_dict()) == (kind == "3conv")
    assert network(torch.rand(1, 3, 1, 5, 7), torch.rand(1, 2, 1, 20, 28)).shape == (1, 1, 20, 28)


def test_more_frames_than_the_window_shift_in_time_too():
    torch.manual_seed(0)
    network = create("swin-xvr", **{**TINY, "window": (3, 4, 4), "coarse": 5}).eval()
    made = network(torch.rand(1, 5, 1, 8, 8), torch.rand(1, 2, 1, 32, 32))
    assert made.shape == (1, 1, 32, 32)
    assert made.isfinite().all()


def test_a_batch_equals_one_by_one_and_every_parameter_learns():
    torch.manual_seed(0)
    network = create("swin-xvr", **{**TINY, "groups": 2, "extracted": 1}, aligned=True, adapted=True, variant="video")
    frames = torch.rand(2, 3, 1, 8, 8), torch.rand(2, 2, 1, 32, 32)
    network.eval()
    singly = [network(*(part[k : k + 1] for part in frames)) for k in range(2)]
    torch.testing.assert_close(network(*frames), torch.cat(singly), atol=1e-5, rtol=0)
    with torch.enable_grad():
        network.train()(*frames).square().mean().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


def test_blocks_are_left_out_by_chance_in_training_only():
    torch.manual_seed(0)
    block = Block(8, 2, (1, 2, 2), (0, 0, 0), 16, 0.5)
    x = torch.rand(64, 1, 2, 2, 8)
    kept = (block.train()(x) - x).flatten(1).abs().amax(dim=1)
    assert 0 < (kept == 0).sum() < 64
    assert bool((block.eval()(x) - x).flatten(1).abs().amax(dim=1).all())


@pytest.mark.parametrize(
    "config",
    [
        {"heads": (5, 3, 3, 3)},
        {"depths": (2, 2)},
        {"features": 96},
        {"variant": "film"},
        {"ending": "2conv"},
        {"coarse": 4},
        {"drop": 1.0},
        {"aligned": True, "groups": 7},
    ],
)
def test_illegal_configs_are_refused(config):
    with pytest.raises(UsageError):
        create("swin-xvr", **config)
