"""Methods without weights, and the registry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scanweave.errors import UsageError
from scanweave.fusion.flow import wiener
from scanweave.fusion.methods import Method, State, available, create
from scanweave.fusion.scene import common_box

WITHOUT_WEIGHTS = ("hold", "bicubic", "temporal-linear", "flow")


def error(pair, state, frames):
    made = state.at([float(pair.truth.times[i]) for i in frames]).frames[:, 0].numpy()
    truth = np.stack([pair.truth.unit(i) for i in frames])
    return float(np.sqrt(np.square(made - truth)[:, 4:-4, 4:-4].mean()))


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_every_method_speaks_the_protocol(name, experiment):
    pair, method = experiment(shape=(31, 46)), create(name)
    state = method.prepare(pair.coarse, pair.sharp, pair.calibration)
    assert isinstance(method, Method)
    assert isinstance(state, State)
    assert method.describe()["name"] == name
    made = state.at([0.001, 0.005, 0.006]).frames
    assert made.dtype == torch.float32
    assert made.shape == (3, 1, 28, 44)  # whole coarse pixels
    torch.testing.assert_close(state.at([0.005]).frames[0], made[1])


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_cameras_of_any_proportion_turned_and_shifted(name, experiment):
    pair = experiment(shape=(60, 71), ratio=3.7, scale=3.3, angle=0.03, offset=(4, 2))
    state = create(name).prepare(pair.coarse, pair.sharp, pair.calibration)
    x0, y0, x1, y1 = common_box(pair.calibration)
    made = state.at([0.005, 0.006]).frames[:, 0].numpy()
    assert made.shape == (2, y1 - y0, x1 - x0)
    truth = np.stack([pair.truth.unit(i)[y0:y1, x0:x1] for i in (5, 6)])
    assert np.sqrt(np.square(made - truth)[:, 4:-4, 4:-4].mean()) < {"hold": 0.1, "flow": 0.02}.get(name, 0.06)


@pytest.mark.parametrize("name", ["hold", "temporal-linear", "flow"])
def test_a_sharp_frame_s_own_moment_gives_it_back(name, experiment):
    pair = experiment()
    state = create(name).prepare(pair.coarse, pair.sharp, pair.calibration)
    made = state.at([0.004, 0.012]).frames[:, 0]
    for one, frame in zip(made, (1, 3), strict=True):
        torch.testing.assert_close(one, torch.from_numpy(pair.sharp.unit(frame)), atol=1e-5, rtol=0)


def test_what_is_held_and_what_is_blended(experiment):
    pair = experiment()
    states = {name: create(name).prepare(pair.coarse, pair.sharp, pair.calibration) for name in WITHOUT_WEIGHTS}
    before, after = (torch.from_numpy(pair.sharp.unit(i)) for i in (1, 2))
    torch.testing.assert_close(states["hold"].at([0.007]).frames[0, 0], before)
    torch.testing.assert_close(states["temporal-linear"].at([0.007]).frames[0, 0], 0.25 * before + 0.75 * after)


def test_flow_follows_what_moves_and_agrees_with_the_coarse_frame(experiment):
    pair = experiment(shape=(48, 96))
    missed = [5, 6, 7]
    errors = {name: error(pair, create(name).prepare(pair.coarse, pair.sharp, pair.calibration), missed)
              for name in WITHOUT_WEIGHTS}  # fmt: skip
    assert errors["flow"] == min(errors.values())
    assert errors["flow"] < 0.6 * errors["temporal-linear"]
    state = create("flow", correction=1.0).prepare(pair.coarse, pair.sharp, pair.calibration)
    made = state.at([0.006])
    np.testing.assert_allclose(state.scene.blocks(made.frames)[0, 0].numpy(), pair.coarse.unit(6), atol=3e-3)


def test_noise_is_not_taken_for_motion(experiment):
    quiet, noisy = experiment(shape=(64, 64)), experiment(shape=(64, 64), noise=0.05)
    states = [create("flow").prepare(one.coarse, one.sharp, one.calibration) for one in (quiet, noisy)]
    assert states[0].noise < 1e-8
    assert states[1].noise == pytest.approx(0.05**2, rel=0.3)
    assert states[1].at([0.004]).frames.equal(torch.from_numpy(noisy.sharp.unit(1))[None, None])  # nothing is new there
    whole = create("flow", correction=1.0).prepare(noisy.coarse, noisy.sharp, noisy.calibration)
    assert error(noisy, states[1], [5, 6, 7]) < 0.7 * error(noisy, whole, [5, 6, 7])


def test_blur_of_the_coarse_camera_is_no_news(experiment):
    pair = experiment(shape=(48, 96), blur=1.0)
    states = {name: create(name).prepare(pair.coarse, pair.sharp, pair.calibration) for name in WITHOUT_WEIGHTS}
    errors = {name: error(pair, state, [5, 6, 7]) for name, state in states.items()}
    assert errors["flow"] == min(errors.values())
    assert errors["flow"] < 0.6 * errors["temporal-linear"]


def test_names_and_options():
    assert set(available()) >= {*WITHOUT_WEIGHTS, "edvr-stf", "swin-xvr"}
    with pytest.raises(UsageError, match="no fusion method is called"):
        create("nearest")
    with pytest.raises(UsageError):
        create("flow", motion="backwards")
    with pytest.raises(UsageError):
        create("flow", correction=2)


def test_noise_adds_next_to_nothing_and_a_change_stays():
    noise = 0.02 * torch.randn((1, 1, 96, 96), generator=torch.Generator().manual_seed(0))
    assert wiener(noise, 3 * 0.02**2, window=7).std() < 0.02 / 50
    changed = noise.clone()
    changed[..., 40:60, 40:60] += 0.2
    assert wiener(changed, 3 * 0.02**2, window=7)[..., 45:55, 45:55].mean() > 0.19
