"""The networks as methods: the published numbers, features shared among frames, tiles without seams."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from scanweave.batch.fusion_published import published_scores
from scanweave.cine import Cine
from scanweave.errors import InputError, UsageError, WeightsError
from scanweave.fusion.methods import create
from scanweave.fusion.networks import EdvrStfMethod, published_inputs, reach
from scanweave.fusion.virtual import VirtualOptions, virtual
from scanweave.metrics.xfusion import eight_bits
from scanweave.models import EdvrStf, EdvrStfConfig, SwinXvr, SwinXvrConfig
from scanweave.models import create as create_network

TINY = {"features": 8, "groups": 2, "extracted": 1, "reconstructed": 1}


def noise_scene(*, shape=(40, 56), frames=9, ratio=4.0):
    rng = np.random.default_rng(0)
    scene = rng.random((frames, *shape), dtype=np.float32)
    return virtual(Cine.from_array(scene, fps=1000, levels=(0, 1)), VirtualOptions(ratio=ratio))


@pytest.fixture(scope="module")
def edvr():
    torch.manual_seed(0)
    network = create_network("edvr-stf", **TINY).eval()
    for parameter in network.parameters():
        parameter.data.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    return network


@pytest.fixture(scope="module")
def swin():
    generator = torch.Generator().manual_seed(1)
    network = create_network("swin-xvr", width=12, features=12, heads=(2,), depths=(2,), window=(5, 4, 4)).eval()
    for parameter in network.parameters():
        parameter.data.uniform_(-0.2, 0.2, generator=generator)
    return network


def test_the_published_core_of_an_experiment(fill, vectors, agree):
    arrays = vectors("xfusion/actual_reconstruct_edvr")
    network = EdvrStf(EdvrStfConfig(features=32, extracted=2, reconstructed=4)).eval()
    state = fill(network.state_dict())
    for key, value in state.items():  # as the goldens' README says
        if re.search(r"^(feature_extraction|reconstruction)\.\d+\.conv2\.", key):
            value *= 0.1
        elif key.endswith("conv_offset.weight"):
            value *= 10
    network.load_state_dict(state)
    coarse, sharp = published_inputs(*(torch.from_numpy(arrays[name]) for name in ("lr_0_255", "hr_0_255")))
    agree(coarse, arrays["net_lq"], 1e-6)
    with torch.no_grad():
        made = network(coarse, sharp)
    agree(made[..., ::2, ::2], arrays["pred_sub"], 1e-5)
    levels = eight_bits(made[0, 0].numpy())
    assert np.abs(levels.astype(int) - arrays["result_img"]).max() <= 1
    # half grey levels may be rounded either way
    assert np.abs(eight_bits(coarse[0, 1, 0].numpy()).astype(int) - arrays["lo_img"]).max() <= 1
    truth = arrays["gt_0_255"][0, 0, :128, :256]
    own, _, aad, alike = published_scores(arrays["result_img"], truth, virtual=False)
    for found, name in ((own, "psnr"), (aad, "aad"), (alike, "ssim")):
        assert found == pytest.approx(float(arrays[name]), abs=1e-3)


@pytest.mark.parametrize("name", ["edvr-stf", "swin-xvr"])
def test_frames_are_those_of_the_network_itself(name, request):
    network = request.getfixturevalue("edvr" if name == "edvr-stf" else "swin")
    pair = noise_scene(shape=(32, 48))
    state = create(name, weights=network).prepare(pair.coarse, pair.sharp, pair.calibration)
    made = state.at([0.002, 0.003])
    fast = torch.stack([torch.from_numpy(pair.coarse.unit(i)) for i in (1, 2, 3)])[None, :, None]
    slow = torch.stack([torch.from_numpy(pair.sharp.unit(i)) for i in (0, 1)])[None, :, None]
    with torch.no_grad():
        torch.testing.assert_close(made.frames[:1], network(fast, slow), atol=1e-5, rtol=0)
    assert made.frames.shape == (2, 1, 32, 48)
    assert ("likeness" in made.extras) == (name == "edvr-stf")


def test_features_of_a_frame_are_computed_once(edvr, monkeypatch):
    pair = noise_scene()
    state = EdvrStfMethod(weights=edvr).prepare(pair.coarse, pair.sharp, pair.calibration)
    asked = {"coarse": 0, "sharp": 0}
    for name in asked:
        original = getattr(state.network, f"{name}_features")

        def counted(frames, name=name, original=original):
            asked[name] += len(frames)
            return original(frames)

        monkeypatch.setattr(state.network, f"{name}_features", counted)
    state.at([0.001, 0.002, 0.003, 0.004, 0.005])
    assert asked == {"coarse": 7, "sharp": 3}


def test_nothing_is_made_beyond_the_coarse_run_nor_clamped(edvr):
    pair = noise_scene()
    state = EdvrStfMethod(weights=edvr).prepare(pair.coarse, pair.sharp, pair.calibration)
    for beyond in (0.0, 0.008, 0.02):
        with pytest.raises(InputError, match="nothing can be made"):
            state.at([beyond])
    made = state.at([0.002]).frames
    assert made.shape == (1, 1, 40, 56)
    assert made.min() < 0 or made.max() > 1  # of random weights


@pytest.mark.parametrize("name", ["edvr-stf", "swin-xvr"])
def test_tiles_have_no_seams(name, request):
    network = request.getfixturevalue("edvr" if name == "edvr-stf" else "swin")
    pair = noise_scene(shape=(16, 1056))
    whole = create(name, weights=network).prepare(pair.coarse, pair.sharp, pair.calibration).at([0.002]).frames
    tiled = (
        create(name, weights=network, tile=352).prepare(pair.coarse, pair.sharp, pair.calibration).at([0.002]).frames
    )
    torch.testing.assert_close(tiled, whole, atol=2e-5, rtol=0)
    assert 4 * reach(network) <= 352  # so that the first tile does not see the last


def test_how_far_published_networks_see():
    assert reach(EdvrStf(EdvrStfConfig(features=8, groups=2))) == 3 + 10 + 9 + 32 + 16 + 20 + 80 + 3
    small = SwinXvrConfig(width=12, features=12, heads=(2,), depths=(2,), window=(5, 8, 8))
    assert reach(SwinXvr(small)) == 3 + 12 + 2 + 3


def test_bfloat16_is_near(edvr):
    pair = noise_scene(shape=(32, 48))
    made = [
        create("edvr-stf", weights=edvr, precision=precision)
        .prepare(pair.coarse, pair.sharp, pair.calibration)
        .at([0.002])
        .frames
        for precision in ("float32", "bfloat16")
    ]
    assert made[1].dtype == torch.float32
    assert 0 < (made[0] - made[1]).abs().max() < 0.1 * made[0].abs().max()


def test_options_that_no_network_has(edvr):
    with pytest.raises(WeightsError, match="none were given"):
        create("edvr-stf")
    with pytest.raises(WeightsError, match="not swin-xvr"):
        pair = noise_scene()
        create("swin-xvr", weights=edvr).prepare(pair.coarse, pair.sharp, pair.calibration)
    for wrong in ({"tile": 5}, {"precision": "float8"}, {"overlap": -1}):
        with pytest.raises(UsageError):
            create("edvr-stf", weights=edvr, **wrong)
