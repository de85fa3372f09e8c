"""The flow method: closed forms, options, and the published baselines on a real echo."""

from __future__ import annotations

import numpy as np
import pydicom
import pydicom.examples
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from scanweave.cine import Cine
from scanweave.errors import UsageError
from scanweave.interpolation.methods import create
from scanweave.interpolation.optical_flow import OpticalFlow


def texture(rows: int = 80, columns: int = 96, *, seed: int = 0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((rows, columns)), 2.5, mode="wrap")
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def pair(first: np.ndarray, second: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(first.copy())[None, None], torch.from_numpy(second.copy())[None, None]


@pytest.mark.parametrize(("down", "right"), [(0, 4), (3, 0), (-2, 5)])
def test_translation_is_found_both_ways(down, right):
    first = texture()
    second = np.roll(first, (down, right), axis=(0, 1))
    made = OpticalFlow().prepare_pair(*pair(first, second))(torch.tensor([0.5]))
    inner = (slice(16, -16), slice(16, -16))
    for name, sign in (("flow_forward", 1), ("flow_backward", -1)):
        flow = made.extras[name][0][(slice(None), *inner)]
        assert flow.shape[0] == 2
        np.testing.assert_allclose(flow[0].median(), sign * right, atol=0.15)
        np.testing.assert_allclose(flow[1].median(), sign * down, atol=0.15)


def test_covered_ground_is_marked_as_occluded():
    """A square slides over a still ground: the second frame no longer shows what is covered next."""
    ground, square = texture(160, 192, seed=1), texture(64, 64, seed=2)
    frames = []
    for left in (60, 68):
        frame = ground.copy()
        frame[48:112, left : left + 64] = square
        frames.append(frame)
    made = OpticalFlow(occlusion_pixels=2.0).prepare_pair(*pair(*frames))(torch.tensor([0.02]))
    occlusion = made.extras["occlusion"]
    assert occlusion.shape == (1, 2, 160, 192)
    assert occlusion.min() >= 0
    assert occlusion.max() <= 1
    in_first, in_second = occlusion[0, :, 60:100, 125:131].mean(dim=(1, 2))
    assert in_second > 0.2
    assert in_second > 3 * in_first
    assert occlusion[0, :, 60:100, 160:].max() < 0.05


def test_ground_beside_a_sliding_square_comes_from_the_frame_that_shows_it():
    """Closed form of the scene above: better than the blend, and no worse for the occlusion reasoning."""

    def scene(left: int) -> np.ndarray:
        frame = 0.2 + 0.6 * texture(160, 192, seed=1)
        frame[48:112, left : left + 64] = texture(64, 64, seed=2)
        return frame

    first, second = pair(scene(60), scene(68))
    truth = torch.from_numpy(scene(62))
    errors = {
        label: float((method.prepare_pair(first, second)(torch.tensor([0.25])).frames - truth).square().mean())
        for label, method in {
            "reasoning": OpticalFlow(),
            "none": OpticalFlow(occlusion_pixels=1e9),
            "blend": OpticalFlow(motion_share=0.0),
        }.items()
    }
    assert errors["reasoning"] < 0.5 * errors["blend"]
    assert errors["reasoning"] < 1.02 * errors["none"]


def test_time_reversed_pair_gives_the_same_frame():
    first, second = pair(texture(), np.roll(texture(), 3, axis=1))
    there = OpticalFlow().prepare_pair(first, second)(torch.tensor([0.3]))
    back = OpticalFlow().prepare_pair(second, first)(torch.tensor([0.7]))
    torch.testing.assert_close(there.frames, back.frames, atol=1e-5, rtol=0)
    torch.testing.assert_close(there.uncertainty, back.uncertainty, atol=1e-5, rtol=0)


def test_low_contrast_of_a_deep_run_uses_all_of_the_search_depth():
    """1 % of the range and one broken pixel: the motion found is that of the full-contrast pair."""
    first = texture()
    second = np.roll(first, 4, axis=1)
    faint = [0.2 + 0.01 * frame for frame in (first, second)]
    faint[0][5, 5] = 1.0
    flow = OpticalFlow().prepare_pair(*pair(*faint))(torch.tensor([0.5])).extras["flow_forward"]
    np.testing.assert_allclose(flow[0, 0, 16:-16, 16:-16].median(), 4, atol=0.15)


def test_without_shared_content_the_plain_blend_remains():
    """No motion explains two unrelated frames: the result stays near the blend."""
    first, second = pair(texture(seed=3), texture(seed=4))
    made = OpticalFlow().prepare_pair(first, second)(torch.tensor([0.5]))
    blend = (first + second) / 2
    nearest = (first - blend).square().mean()
    assert (made.frames - blend).square().mean() < 0.25 * nearest


def test_motion_share_of_zero_is_the_plain_blend():
    first, second = pair(texture(), np.roll(texture(), 3, axis=1))
    made = OpticalFlow(motion_share=0.0).prepare_pair(first, second)(torch.tensor([0.25]))
    torch.testing.assert_close(made.frames, torch.lerp(first, second, 0.25))


@pytest.mark.parametrize(
    "options",
    [
        {"patch_size": 3},
        {"patch_stride": 9},
        {"finest_scale": -1},
        {"motion_share": 1.5},
        {"disagreement_floor": 0.0},
        {"presmooth": float("nan")},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        create("optical-flow", **options)


@pytest.mark.parametrize(
    "options", [{"presmooth": 0.0, "disagreement_blur": 0.0}, {"finest_scale": 0, "patch_size": 12, "patch_stride": 4}]
)
def test_other_options_run(options):
    first, second = pair(texture(40, 33), np.roll(texture(40, 33), 2, axis=1))
    assert torch.isfinite(OpticalFlow(**options).prepare_pair(first, second)(torch.tensor([0.5])).frames).all()


@pytest.fixture(scope="module")
def echo() -> np.ndarray:
    """The 30-frame echo that ships with pydicom; frames 10 and 11, 27 and 28 are equal."""
    return pydicom.dcmread(pydicom.examples.get_path("ybr_color")).pixel_array


def spans(length: int, gap: int) -> list[tuple[int, int]]:
    repeats = {10, 27}
    return [(i, i + gap) for i in range(length - gap) if not repeats & set(range(i, i + gap))]


def echo_scores(echo: np.ndarray, gap: int, *, every: int) -> dict[str, float]:
    """The fixed-box protocol: 8-bit RGB, rows 16 to 207, columns 42 to 297, mean PSNR over hidden frames."""
    cine = Cine.from_array(echo)
    times = [k / gap for k in range(1, gap)]
    score: dict[str, float] = {}
    for name in ("hold", "linear", "optical-flow"):
        fitted, decibels = create(name).fit(cine), []
        for i, j in spans(len(cine), gap)[::every]:
            for hidden, frame in zip(range(i + 1, j), fitted.prepare(i, j).at(times).frames, strict=True):
                error = cine.stored(frame.numpy()).astype(float) - echo[hidden]
                decibels.append(10 * np.log10(255**2 / np.mean(error[16:208, 42:298] ** 2)))
        score[name] = float(np.mean(decibels))
    return score


def test_real_echo_beats_the_published_baselines(echo):
    """Nearest frame 33.02, blend 35.45, plain DIS flow with Super-SloMo's time formula 35.98 dB at gap 2."""
    score = echo_scores(echo, 2, every=1)
    assert score["hold"] == pytest.approx(33.02, abs=0.3)
    assert score["linear"] == pytest.approx(35.45, abs=0.01)
    assert score["optical-flow"] > 35.98


@pytest.mark.parametrize("gap", [4, 8])
def test_real_echo_at_wider_gaps_still_beats_the_blend(echo, gap):
    score = echo_scores(echo, gap, every=gap)
    assert score["optical-flow"] > score["linear"]
    assert score["optical-flow"] > score["hold"] + 0.5


def test_doubt_follows_the_true_error_on_real_echo(echo):
    """Spearman correlation over odd hidden frames, gap 2, in the moving region."""
    cine = Cine.from_array(echo)
    unit = np.stack([cine.unit(i) for i in range(len(cine))])
    region = np.ptp(unit, axis=0).max(axis=0) > 0.02
    fitted = create("optical-flow").fit(cine)
    doubts, errors = [], []
    for i, j in spans(len(cine), 2):
        if i % 2 == 0:
            made = fitted.prepare(i, j).at([0.5])
            doubts.append(made.uncertainty[0, 0].numpy()[region].mean())
            errors.append(np.abs(made.frames[0].numpy() - unit[i + 1]).mean(axis=0)[region].mean())
    assert len(doubts) >= 10
    assert spearmanr(doubts, errors)[0] > 0.75
