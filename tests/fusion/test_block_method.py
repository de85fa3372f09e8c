"""Block fusion as a method: what it prepares for its network, and what it makes of any two cameras."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scanweave.cine import Cine
from scanweave.errors import WeightsError
from scanweave.fusion.block_method import BlockFusionMethod
from scanweave.fusion.frames import Frames
from scanweave.fusion.methods import Method, State, create, needs_weights
from scanweave.fusion.scene import common_box
from scanweave.fusion.virtual import Virtual, VirtualOptions, virtual
from scanweave.models import BlockFusion
from scanweave.models import create as network_of
from scanweave.models.block_fusion import reach

SMALL = {"widths": (8, 8, 8), "depths": (1, 1), "bottom": 1}


@pytest.fixture(scope="module")
def fresh() -> BlockFusion:
    """A network that makes its base."""
    return network_of("block-fusion", **SMALL)


@pytest.fixture(scope="module")
def drawn() -> BlockFusion:
    """A network that makes a correction of any kind."""
    network = network_of("block-fusion", **SMALL).requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return network


def noisy(
    *, shape: tuple[int, int] = (32, 48), frames: int = 13, factor: float = 1.0, noise: float = 20.0, **cameras
) -> Virtual:
    """A virtual experiment on a drifting scene of 12 bits with photon noise."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    clean = np.stack([np.sin((columns - 0.5 * t) / 5) * np.cos(rows / 7) + 1.2 for t in range(frames)]) * 1500
    grain = np.random.default_rng(0).normal(0, noise, clean.shape) * np.sqrt(clean / 1500)
    levels = (0.0, 4095.0 * factor)
    run = Cine.from_array(((clean + grain) * factor).astype(np.float32), fps=1000, levels=levels)
    return virtual(run, VirtualOptions(**{"ratio": 4.0, **cameras}), window=levels)


def state_of(pair: Virtual, network: BlockFusion, **options) -> State:
    return BlockFusionMethod(weights=network, **options).prepare(pair.coarse, pair.sharp, pair.calibration)


def test_fresh_weights_agree_with_the_coarse_frame(fresh):
    pair = noisy()
    made = state_of(pair, fresh).at([0.005, 0.006]).frames
    means = torch.stack([torch.from_numpy(pair.coarse.unit(i))[None] for i in (5, 6)])
    torch.testing.assert_close(F.avg_pool2d(made, 4), means, atol=1e-5, rtol=0)


def test_it_speaks_the_protocol_and_needs_none_of_the_users_weights(drawn):
    method = create("block-fusion", weights=drawn, tile=64)
    assert isinstance(method, Method)
    assert needs_weights("block-fusion")
    told = method.describe()
    assert (told["name"], told["tile"], told["weights"]) == ("block-fusion", 64, "BlockFusion")
    assert len(told["sha256"]) == 64
    pair = noisy()
    state = method.prepare(pair.coarse, pair.sharp, pair.calibration)
    assert isinstance(state, State)
    assert state.at([0.005]).frames.dtype == torch.float32
    assert create("block-fusion").weights == "block-fusion-radiographs"


def test_frames_are_the_same_in_any_order(drawn):
    pair = noisy()
    times = [0.001, 0.005, 0.006, 0.011]
    forwards = state_of(pair, drawn).at(times).frames
    backwards = state_of(pair, drawn).at(times[::-1]).frames
    torch.testing.assert_close(forwards, backwards.flip(0), atol=1e-6, rtol=0)


def test_a_sharp_frame_s_own_moment_gives_it_back(drawn):
    pair = noisy(frames=14)
    made = state_of(pair, drawn).at([0.004, 0.012]).frames[:, 0]
    for one, frame in zip(made, (1, 3), strict=True):
        torch.testing.assert_close(one, torch.from_numpy(pair.sharp.unit(frame)), atol=0, rtol=0)


def test_the_window_and_the_gain_of_a_camera_do_not_matter(drawn):
    made = state_of(noisy(), drawn).at([0.005]).frames
    dimmer = noisy()
    dimmer = [Frames.of(one.cine, one.camera, window=(0.0, 4.0)) for one in (dimmer.coarse, dimmer.sharp)]
    again = BlockFusionMethod(weights=drawn).prepare(*dimmer, noisy().calibration).at([0.005]).frames
    torch.testing.assert_close(4 * again, made, atol=2e-5, rtol=0)
    brighter = state_of(noisy(factor=16.0), drawn).at([0.005]).frames
    torch.testing.assert_close(brighter, made, atol=2e-5, rtol=0)


@pytest.mark.parametrize("cameras", [{"ratio": 3.7, "scale": 3.3, "angle": 0.03, "offset": (4.0, 2.0)}, {"scale": 2.0}])
def test_cameras_of_any_proportion_turned_and_shifted(drawn, cameras):
    pair = noisy(shape=(60, 71), **cameras)
    x0, y0, x1, y1 = common_box(pair.calibration)
    made = state_of(pair, drawn).at([0.005, 0.006]).frames
    assert made.shape == (2, 1, y1 - y0, x1 - x0)
    assert made.isfinite().all()


def test_fresh_weights_follow_the_scene_before_such_cameras(fresh):
    pair = noisy(shape=(60, 71), scale=3.3, noise=2.0)
    x0, y0, x1, y1 = common_box(pair.calibration)
    made = state_of(pair, fresh).at([0.005, 0.006]).frames[:, 0].numpy()
    truth = np.stack([pair.truth.unit(i)[y0:y1, x0:x1] for i in (5, 6)])
    assert np.sqrt(np.square(made - truth)[:, 4:-4, 4:-4].mean()) < 0.01


def test_tiles_have_no_seams(drawn):
    pair = noisy(shape=(16, 800))
    whole, tiled = (state_of(pair, drawn, tile=tile).at([0.005]).frames for tile in (0, 256))
    torch.testing.assert_close(tiled, whole, atol=2e-5, rtol=0)
    assert 256 + 4 * reach(drawn.config) < 800  # so that the first tile does not see the last


def test_a_run_without_noise_and_one_of_two_sharp_frames(drawn):
    still = noisy(noise=0.0, frames=6)
    assert len(still.sharp) == 2
    assert state_of(still, drawn).at([0.001, 0.002]).frames.isfinite().all()


def test_further_sharp_frames_serve_only_where_there_are_any(drawn):
    times = [0.005]
    few, many = (state_of(noisy(frames=frames), drawn).at(times).frames for frames in (9, 17))
    assert not torch.equal(few, many)


def test_sharp_frames_that_no_coarse_one_was_taken_with(fresh):
    pair = noisy()
    fewer = pair.coarse.select([1, 2, 3, 5, 6, 7])
    made = BlockFusionMethod(weights=fresh).prepare(fewer, pair.sharp, pair.calibration).at([0.002]).frames
    torch.testing.assert_close(F.avg_pool2d(made, 4)[0, 0], torch.from_numpy(pair.coarse.unit(2)), atol=1e-5, rtol=0)


def test_bfloat16_is_near(drawn):
    pair = noisy()
    made = [state_of(pair, drawn, precision=precision).at([0.005]).frames for precision in ("float32", "bfloat16")]
    assert made[1].dtype == torch.float32
    assert 0 < (made[1] - made[0]).abs().max() < 0.01


def test_weights_of_another_network_are_refused():
    other = network_of("edvr-stf", features=8, groups=2, extracted=1, reconstructed=1)
    with pytest.raises(WeightsError, match="edvr-stf"):
        BlockFusionMethod(weights=other).prepare(
            *(getattr(noisy(), name) for name in ("coarse", "sharp", "calibration"))
        )
