"""MoSt-DSA against the authors' program, stage by stage, within the goldens' stated tolerances."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scanweave.errors import UsageError
from scanweave.models import MostDsa, MostDsaConfig, create
from scanweave.models.lambda_layer import LambdaLayer
from scanweave.models.most_dsa import InteractionBlock, halved, warp_features
from scanweave.ops import backward_warp
from scanweave.ops.warp import pointed_at

FLOW, IMAGE, FEATURE, LAMBDA = 5e-5, 1e-5, 5e-5, 2e-5


class Outputs:
    """Keeps what the submodules of a network return during one call."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.of = {}
        self.hooks = [
            module.register_forward_hook(lambda _module, _args, out, name=name: self.of.__setitem__(name, out))
            for name, module in network.named_modules()
        ]

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *_error: object) -> None:
        for hook in self.hooks:
            hook.remove()


def keys_of(network: torch.nn.Module) -> dict[str, list[int]]:
    return {key: list(tensor.shape) for key, tensor in network.state_dict().items()}


def shapes(published: dict[str, object]) -> dict[str, list[int]]:
    return {key: spec["shape"] if isinstance(spec, dict) else spec for key, spec in published.items()}


@pytest.fixture(scope="module")
def published_keys(goldens):
    return json.loads((goldens / "most_dsa" / "keys.json").read_text())


@pytest.fixture(scope="module")
def stages(vectors):
    return vectors("most_dsa/stages_32x32")


@pytest.fixture(scope="module")
def staged(most_dsa, stages, as_frames):
    """One call on the pair of the stages, with all that the submodules returned."""
    frames = as_frames(stages["img0_u8"]), as_frames(stages["img1_u8"])
    with Outputs(most_dsa) as outputs, torch.no_grad():
        pair = most_dsa.encode(*frames)
        made = most_dsa.decode(pair, [0.5])
    return pair, made, outputs.of


def test_keys_are_those_published(published_keys):
    with torch.device("meta"):
        network, small = MostDsa(), MostDsa(MostDsaConfig(width=16, depths=(2, 2, 2, 2)))
        table = MostDsa(MostDsaConfig(map_side=32))
    published = shapes(published_keys["network"])
    assert keys_of(network) == published
    assert keys_of(small) == shapes(published_keys["variant_F16_depth2222"])
    for key in published_keys["variant_global_lambda_n32_missing"]:
        del published[key]
    assert keys_of(table) == published | published_keys["variant_global_lambda_n32_extra"]
    assert sum(parameter.numel() for parameter in network.parameters()) == 54_117_133


def test_encoder_stages(staged, stages, agree):
    pair, _, out = staged
    for level in range(4):
        agree(pair.appearance[level], stages[f"af{level}"], FEATURE)
    agree(pair.motion, stages["mf3"], FEATURE)
    agree(out["feature_bone.patch_embed4"].flatten(1, 2), stages["patch_embed4"], FEATURE)
    for block in range(4):
        name = f"feature_bone.block4.{block}"
        appearance, motion = out[f"{name}.Lambda"]
        # Up to 15 in size, before any normalisation: the goldens' own float32 error is 4.4e-5 here.
        agree(appearance, stages[f"block4_{block}_lambda_appearance"], FEATURE, relative=1e-5)
        agree(motion, stages[f"block4_{block}_lambda_motion"], FEATURE)
        agree(out[f"{name}.mlp"].flatten(1, 2), stages[f"block4_{block}_mlp"], FEATURE)
        agree(out[name][0].flatten(1, 2), stages[f"block4_{block}_x"], FEATURE, relative=1e-5)


def test_hooks_see_every_layer(most_dsa, staged):
    """But the filters of positions, of which the kernel alone is used."""
    layers = {name for name, module in most_dsa.named_modules() if not list(module.children())}
    unseen = layers - staged[2].keys()
    assert unseen == {f"feature_bone.block4.{block}.Lambda.pos_conv" for block in range(4)}


def test_head_stages(most_dsa, staged, stages, agree):
    pair, _, out = staged
    agree(most_dsa.block[0].motion_at(pair, torch.tensor([0.5]))[:, ::4], stages["head_pixelshuffle_every4"], FEATURE)
    agree(out["block.0.conv.2"], stages["head_conv_out"], FEATURE)
    flow, logit = out["block.0"]
    agree(flow, stages["flow"], FLOW)
    agree(logit, stages["mask_logit"], FLOW)
    places = pointed_at(flow)
    for level, features in enumerate(pair.appearance):
        warped0, warped1 = warp_features(features, places)
        agree(warped0[:, ::4], stages[f"c0_{level}_every4"], FEATURE)
        agree(warped1[:, ::4], stages[f"c1_{level}_every4"], FEATURE)
        places = halved(places)


def test_refiner_stages(staged, stages, agree):
    _, made, out = staged
    for layer in ("down0", "down1", "down2", "down3", "up0", "up1", "up2", "up3"):
        agree(out[f"unet.{layer}"][:, ::8], stages[f"unet_{layer}_every8"], FEATURE)
    agree(out["unet"], stages["unet_out"], IMAGE)
    agree(made[:, 0], stages["pred"], IMAGE)


def test_flows_gives_flow_mask_and_unrefined_blend(most_dsa, stages, as_frames, agree):
    flow, mask, blend = most_dsa.flows(as_frames(stages["img0_u8"]), as_frames(stages["img1_u8"]), [0.5])
    agree(flow[:, 0], stages["flow"], FLOW)
    agree(mask[:, 0], stages["mask"], IMAGE)
    agree(blend[:, 0], stages["merged"], IMAGE)


def test_batch_of_two_coloured_pairs(most_dsa, vectors, as_frames, agree):
    golden = vectors("most_dsa/batch2_colour_32x48")
    frames = as_frames(golden["img0_u8"]), as_frames(golden["img1_u8"])
    times = golden["timesteps"].tolist()
    flow, mask, _ = most_dsa.flows(*frames, times)
    made = most_dsa(*frames, times)
    for ours, name, tolerance in ((flow, "flow", FLOW), (mask, "mask", IMAGE), (made, "pred", IMAGE)):
        agree(ours.transpose(0, 1), golden[name], tolerance)


@pytest.mark.reference
def test_real_angiogram(most_dsa, reference, as_frames, agree):
    with np.load(reference / "goldens" / "most_dsa" / "demo_crop_64x96.npz") as golden:
        frames = as_frames(golden["img0_u8"]), as_frames(golden["img1_u8"])
        times = golden["timesteps"].tolist()
        flow, mask, blend = most_dsa.flows(*frames, times)
        agree(flow[0], golden["flow"], FLOW)
        agree(mask[0], golden["mask"], IMAGE)
        agree(blend[0, [times.index(0.5)]], golden["merged"], IMAGE)
        agree(most_dsa(*frames, times)[0], golden["pred"], IMAGE)


def test_published_inference_modes(most_dsa, vectors, as_frames, agree):
    golden = vectors("most_dsa/inference_modes_45x70")
    times = golden["timesteps"].tolist()
    left, right, top, bottom = golden["pad_lrtb"].tolist()
    padded = [F.pad(as_frames(golden[key]), (left, right, top, bottom), mode="replicate") for key in IMAGES]
    agree(padded[0][0, :, :12], golden["padded_img0"], 0)

    turned = [frame.flip(-1, -2) for frame in padded]
    both = most_dsa(*(torch.cat(pair) for pair in zip(padded, turned, strict=True)), times)
    halved = most_dsa(*padded, [0.5], flow_scale=0.5)
    halved_turned = most_dsa(*turned, [0.5], flow_scale=0.5).flip(-1, -2)

    def crop(frames: torch.Tensor) -> torch.Tensor:
        return frames[..., top : frames.shape[-2] - bottom, left : frames.shape[-1] - right]

    agree(crop(both[0]), golden["plain"], IMAGE)
    averaged = crop((both[0] + both[1].flip(-1, -2)) / 2)
    agree(averaged, golden["tta"], IMAGE)
    agree(crop(halved[0]), golden["downscale_half_t050"], IMAGE)
    agree(crop((halved + halved_turned)[0, 0] / 2), golden["downscale_half_tta_t050"], IMAGE)
    # The published files, red and blue exchanged and truncated.
    written = (averaged * 255).to(torch.uint8).flip(1).permute(0, 2, 3, 1).numpy()
    difference = np.abs(written.astype(int) - golden["cli_files_3"])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


IMAGES = ("img0_u8", "img1_u8")

LAMBDAS = {
    "local_r15_u1": ((32, 16), {"key": 4, "intra": 1, "heads": 2, "context": 15}),
    "local_r3_u2": ((24, 8), {"key": 4, "intra": 2, "heads": 4, "context": 3}),
    "global_n5_u2": ((24, 8), {"key": 4, "intra": 2, "heads": 4, "context": 3, "map_side": 5}),
}


@pytest.mark.parametrize("case", LAMBDAS)
def test_lambda_layer_alone(case, vectors, fill, agree):
    golden = vectors("most_dsa/lambda_blocks")
    widths, options = LAMBDAS[case]
    layer = LambdaLayer(*widths, **options)
    layer.load_state_dict(fill(layer.state_dict()))
    tokens = torch.from_numpy(golden[f"{case}_x"])
    for mode, tag in ((False, ""), (True, "_train")):
        appearance, motion = layer.train(mode)(tokens)
        agree(appearance, golden[f"{case}{tag}_appearance"], LAMBDA)
        agree(motion, golden[f"{case}{tag}_motion"], LAMBDA)
    agree(layer.norm_q.running_mean, golden[f"{case}_train_norm_q_running_mean"], LAMBDA)
    agree(layer.norm_v.running_var, golden[f"{case}_train_norm_v_running_var"], LAMBDA)


def test_interaction_block_alone(vectors, fill, agree):
    golden = vectors("most_dsa/lambda_blocks")
    block = InteractionBlock(MostDsaConfig(width=4, depths=(1, 1, 1, 2), heads=2, key=4, context=5)).eval()
    block.load_state_dict(fill(block.state_dict()))
    out, motion = block(torch.from_numpy(golden["block_x"]).unflatten(1, (5, 6)))
    agree(out.flatten(1, 2), golden["block_out"], LAMBDA)
    agree(motion.flatten(1, 2), golden["block_motion"], LAMBDA)


def test_tabled_lambda_refuses_another_map():
    layer = LambdaLayer(8, 4, heads=2, key=2, intra=1, context=3, map_side=4)
    with pytest.raises(ValueError, match="maps of 4 x 4 only, not"):
        layer(torch.zeros(2, 4, 5, 8))


@pytest.mark.parametrize("case", ["warp0", "warp1", "warp2", "warp_shift"])
def test_warp_is_exact_with_border(case, vectors, agree):
    golden = vectors("most_dsa/operators")
    warped = backward_warp(torch.from_numpy(golden[f"{case}_x"]), torch.from_numpy(golden[f"{case}_flow"]))
    agree(warped, golden[f"{case}_out"], 2e-5)


def test_two_shuffles_are_not_one(vectors, agree):
    golden = vectors("most_dsa/operators")
    x = torch.from_numpy(golden["shuffle_x"])
    agree(F.pixel_shuffle(F.pixel_shuffle(x, 2), 2), golden["shuffle_out"], 0)
    assert not torch.equal(F.pixel_shuffle(x, 4), torch.from_numpy(golden["shuffle_out"]))


def test_half_size_is_the_mean_of_four():
    image = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(1))
    bilinear = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False)
    torch.testing.assert_close(F.avg_pool2d(image, 2), bilinear, atol=1e-6, rtol=0)


def test_flow_scale_needs_legal_reduced_sides(most_dsa):
    frame = torch.zeros(1, 3, 16, 48)
    with pytest.raises(ValueError, match=r"sides of 8n, not 4\.0 x 12\.0"):
        most_dsa(frame, frame, [0.5], flow_scale=0.25)
    with pytest.raises(ValueError, match="sides of 8n"):
        most_dsa(frame, frame, [0.5], flow_scale=-1.0)


@pytest.mark.parametrize("flow_scale", [1.0, 0.5])
@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([(1, 3, 32, 32), (1, 3, 32, 48)], "of one shape"),
        ([(3, 32, 32), (3, 32, 32)], "of one shape"),
        ([(1, 1, 32, 32), (1, 1, 32, 32)], "of one shape"),
        ([(1, 3, 24, 32), (1, 3, 24, 32)], "multiples of 16, not 24 x 32"),
    ],
)
def test_illegal_frames_are_refused_before_they_are_resized(most_dsa, shapes, reason, flow_scale):
    frames = [torch.zeros(shape) for shape in shapes]
    for call in (most_dsa, most_dsa.flows):
        with pytest.raises(ValueError, match=reason):
            call(*frames, [0.5], flow_scale=flow_scale)


@pytest.mark.parametrize(
    "config",
    [
        {"width": 0},
        {"depths": (2, 2, 2)},
        {"context": 14},
        {"heads": 3},
        {"depths": (2, 2, 2, 3)},
        {"map_side": 0},
    ],
)
def test_illegal_configs_are_refused(config):
    with pytest.raises(UsageError):
        create("most-dsa", **config)
