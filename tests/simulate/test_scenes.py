"""Scenes: drawn, replayed from JSON, and true at every time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from scanweave.errors import InputError, UsageError
from scanweave.simulate import (
    SCENES,
    AngiographyConfig,
    EchoConfig,
    Still,
    StillConfig,
    cine,
    draw,
    flow,
    grow,
    parse,
    render,
)
from scanweave.simulate.warping import sampled

SIZE = (48, 64)


def stills() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [
        generator.integers(0, 256, (80, 90), dtype=np.uint8),
        generator.random((64, 70, 3), dtype=np.float32),
        generator.integers(0, 4096, (40, 40), dtype=np.uint16) * 16,
    ]


def drawn(name: str, seed: int = 0, **changes) -> dict:
    config = replace(SCENES[name](size=SIZE), **changes)
    return draw(config, images=stills(), generator=np.random.default_rng(seed))


def when(params: dict, count: int) -> np.ndarray:
    return params["start"] + params["duration"] * np.linspace(0, 1, count)


@pytest.mark.parametrize("name", sorted(SCENES))
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_frames_are_grey_values_of_the_size_asked_for(name, seed):
    params = drawn(name, seed)
    frames = render(params, when(params, 3), images=stills())
    assert frames.dtype == np.float32
    assert frames.shape[:3] == (3, *SIZE)
    assert frames.min() >= 0
    assert frames.max() <= 1
    assert np.all(np.isfinite(frames))
    assert frames.std() > 0.005


@pytest.mark.parametrize("name", sorted(SCENES))
def test_json_replays_the_same_frames(name):
    params = drawn(name, 5)
    again = json.loads(json.dumps(params))
    times = when(params, 3)
    np.testing.assert_array_equal(render(again, times, images=stills()), render(params, times, images=stills()))


@pytest.mark.parametrize("name", sorted(SCENES))
def test_the_same_draw_is_the_same_scene_and_another_is_another(name):
    assert drawn(name, 8) == drawn(name, 8)
    assert drawn(name, 8) != drawn(name, 9)


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_frame_does_not_depend_on_which_others_are_rendered(name):
    """Noise too belongs to a time: fine sampling holds the frames of coarse sampling."""
    params = drawn(name, 6)
    times = when(params, 9)
    fine = render(params, times, images=stills())
    np.testing.assert_array_equal(render(params, times[::4], images=stills()), fine[::4])
    np.testing.assert_array_equal(render(params, times[::-1][:2], images=stills()), fine[::-1][:2])


@pytest.mark.parametrize("name", sorted(SCENES))
def test_frames_change_smoothly_with_time(name):
    """Without noise, frames a tenth as far apart differ about a tenth as much."""
    params = drawn(name, 7)
    middle = params["start"] + 0.3 * params["duration"]
    step = 0.05 * params["frame_interval"]
    frames = render(params, [middle, middle + 0.1 * step, middle + step], images=stills(), noise=False)
    little, much = (np.abs(frame - frames[0]).mean() for frame in frames[1:])
    assert 0 < little < 0.2 * much


@pytest.mark.parametrize("name", ["angiography", "echo"])
def test_noise_can_be_left_out_of_some_frames(name):
    params = drawn(name, 2)
    time = params["start"] + 0.4 * params["duration"]
    noisy, clean, noisy_again = render(params, [time] * 3, noise=[True, False, True])
    np.testing.assert_array_equal(noisy, noisy_again)
    assert np.abs(noisy - clean).max() > 1e-3


def test_contrast_comes_and_goes():
    config = AngiographyConfig(size=SIZE, subtracted=1.0, drift=(0, 0), strain=(0, 0), sway=(0, 0), scatter=(0, 0),
                               shutter=0.0, marks=0, coronary=0.0)  # fmt: skip
    params = draw(config, generator=np.random.default_rng(3))
    before, peak, late = render(params, [0.0, 1.2 * params["bolus"]["peak"], 60.0], noise=False)
    np.testing.assert_allclose(before, params["level"], atol=1e-5)
    np.testing.assert_allclose(late, params["level"], atol=1e-4)
    assert (params["level"] - peak).max() > 0.1


def test_subtraction_gives_the_absorbance_of_the_vessels():
    """Nothing but contrast changes: level - shown = gain x absorbance, whose sum is the bolus mass."""
    config = AngiographyConfig(size=(160, 160), subtracted=1.0, drift=(0, 0), strain=(0, 0), sway=(0, 0),
                               scatter=(0, 0), shutter=0.0, marks=0, coronary=1.0, contrast=(0.2, 0.2),
                               squeeze=(0, 0), length=(0.1, 0.1))  # fmt: skip
    params = draw(config, generator=np.random.default_rng(1))
    params["trees"][0]["root"] = [80.0, 80.0]
    params["trees"] = params["trees"][:1]
    params["gain"] = 0.3
    time = 1.5 * params["bolus"]["peak"]
    (shown,) = render(params, [time], noise=False)
    scene = parse(params)
    tree = grow(scene.trees[0])
    mass = tree.mass(scene.bolus.concentration(tree.delay, time))
    assert float((params["level"] - shown.astype(float)).sum()) / 0.3 == pytest.approx(mass, rel=1e-3)


def test_echo_is_dark_outside_its_sector():
    params = drawn("echo", 0, marks=0)
    (frame,) = render(params, [0.1])
    outside = parse(params).sector.mask(SIZE) == 0
    assert outside.mean() > 0.2
    assert not frame[outside].any()


def test_a_still_that_does_not_move_is_itself():
    image = stills()[0]
    config = StillConfig(
        size=(80, 90), zoom=(1, 1), speed=(0, 0), spin=(0, 0), strain=(0, 0), beating=0, noisy=0, marks=0
    )
    params = draw(config, images=[image], generator=np.random.default_rng(0))
    frames = render(params, [0.0, 1.3], images=[image])
    np.testing.assert_allclose(frames, np.stack([image / np.float32(255)] * 2), atol=2e-5)


def test_flow_leads_from_one_frame_to_the_next():
    """On a smooth still, the frame at the end, looked up along the flow, is the frame at the start."""
    y, x = np.mgrid[:120, :120].astype(np.float32) / 120
    image = (0.5 + 0.25 * np.sin(9 * x) * np.cos(7 * y) + 0.2 * np.sin(13 * y)).astype(np.float32)
    config = StillConfig(size=(64, 64), zoom=(1, 1), speed=(0.1, 0.1), noisy=0, marks=0, beating=1)
    params = draw(config, images=[image], generator=np.random.default_rng(4))
    start, end = 0.1, 0.25
    first, last = render(params, [start, end], images=[image])
    motion = flow(params, start, end)
    assert np.abs(motion).max() > 0.5
    columns, rows = np.meshgrid(np.arange(64), np.arange(64))
    x1, y1 = columns + motion[0], rows + motion[1]
    inside = (x1 > 1) & (x1 < 62) & (y1 > 1) & (y1 < 62)
    np.testing.assert_allclose(sampled(last, x1, y1)[inside], first[inside], atol=5e-3)


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_cine_has_the_times_and_frames_of_the_run(name):
    params = drawn(name, 1)
    run = cine(params, images=stills(), noise=False)
    assert len(run) >= 2
    assert run.fps == pytest.approx(1 / params["frame_interval"])
    assert run.levels == (0, 255)
    frames = render(params, run.times[:2], images=stills(), noise=False)
    np.testing.assert_array_equal(run.frame(1), np.rint(frames[1] * 255).astype(np.uint8))
    assert run.source.modality == {"angiography": "XA", "echo": "US", "still": None}[name]


def test_a_cine_of_given_times_depth_and_repeated_frames():
    params = drawn("echo")
    run = cine(params, [0.0, 0.1, 0.25, 0.3], duplicates=[2], bits=12)
    assert run.dtype == np.uint16
    assert run.levels == (0, 4095)
    np.testing.assert_array_equal(run.times, [0.0, 0.1, 0.25, 0.3])
    np.testing.assert_array_equal(run.frame(2), run.frame(1))
    assert np.any(run.frame(3) != run.frame(2))
    with pytest.raises(UsageError, match="bits"):
        cine(params, bits=17)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scene": "cartoon"}, "no scene is named 'cartoon'"),
        ({"photons": -1}, "photons"),
        ({"unknown": 1}, "unknown"),
        ({"size": "large"}, "size"),
    ],
)
def test_damaged_parameters_are_refused_by_name(change, message):
    with pytest.raises(InputError, match=message):
        render(drawn("angiography") | change, [0.0])


@pytest.mark.parametrize("times", [[], [np.nan], [[0.0]]])
def test_times_that_are_none_are_refused(times):
    with pytest.raises(UsageError, match="no times"):
        render(drawn("echo"), times)


def test_a_still_must_be_there_and_the_same():
    params = drawn("still")
    with pytest.raises(InputError, match="missing"):
        render(params, [0.0])
    with pytest.raises(InputError, match="not the one"):
        render(params, [0.0], images=[image[::-1] for image in stills()])
    with pytest.raises(InputError, match="no still images"):
        draw(StillConfig(), generator=np.random.default_rng(0))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 2), np.uint8), np.zeros(5, np.uint8), np.full((4, 4), 2.0), np.zeros((4, 4), np.int16)]
)
def test_images_without_a_meaning_are_refused(image):
    with pytest.raises(InputError, match="still image"):
        Still.of(image)


def test_draws_lie_between_their_limits():
    config = EchoConfig(size=SIZE, decorrelation_time=(0.2, 0.3), frame_rate=(25, 25), dynamic_range=(50, 50))
    params = draw(config, generator=np.random.default_rng(0))
    assert params["frame_interval"] == pytest.approx(0.04)
    assert params["dynamic_range"] == 50
    assert 0.2 <= params["decorrelation_time"] <= 0.3
