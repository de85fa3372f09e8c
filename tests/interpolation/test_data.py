"""Samples from training sets: which frames, how they are cut and turned, as published and as ours."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import scanweave
from scanweave.errors import InputError, UsageError
from scanweave.interpolation.clips import Clip
from scanweave.interpolation.data import DataConfig, open_samples
from scanweave.interpolation.sampling import Mixed, SlomoTrain, SlomoValidation, Triplets, Windows
from scanweave.interpolation.transforms import DsaTest, DsaTrain, Padded, SlomoFlip, TopLeft, Vessels, Whole


@pytest.fixture(scope="module")
def rules(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "slowmo_echo" / "rules.json").read_text())


def _clip(count: int, *, shape: tuple[int, int] = (8, 8), times: tuple[float, ...] | None = None, k: int = 0) -> Clip:
    return Clip(f"clip{k}", "train", (Path(f"clip{k}/0.png"),), count, shape, times, (0.0, 255.0))


def _write_clips(root: Path, clips: dict[str, NDArray[np.uint8]]) -> Path:
    for name, frames in clips.items():
        (root / name).mkdir(parents=True)
        for k, frame in enumerate(frames):
            cv2.imwrite(str(root / name / f"{k:06d}.png"), frame[..., ::-1] if frame.ndim == 3 else frame)
    return root


def _noise(count: int, seed: int, shape: tuple[int, ...] = (24, 32)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


# --- which frames


def test_training_samples_of_super_slomo_are_those_of_the_published_program(rules):
    """Every outcome is met, nothing else, and each as often as chance has it."""
    expected = {(*case["frames"], case["t"]) for case in rules["train_samples"]}
    sampler, generator = SlomoTrain([_clip(12)]), np.random.default_rng(0)
    drawn: Counter[tuple[float, ...]] = Counter()
    draws = 200 * len(expected)
    for _ in range(draws):
        picked = sampler.pick(0, generator)
        drawn[(picked.outer[0], *picked.middle, picked.outer[1], *picked.times)] += 1
    assert set(drawn) == expected
    counts = np.array(list(drawn.values()))
    chi2 = float(((counts - 200) ** 2 / 200).sum())
    assert chi2 < 93, "55 degrees of freedom exceed this once in a thousand seeds"


def test_validation_samples_of_super_slomo_are_those_of_the_published_program(rules):
    cases = rules["validation_samples"]
    sampler, generator = SlomoValidation([_clip(9, k=k) for k in range(len(cases))]), np.random.default_rng(0)
    for case in cases:
        picked = sampler.pick(case["item"], generator)
        assert [picked.outer[0], *picked.middle, picked.outer[1]] == case["frames"]
        assert picked.times == (case["t"],)
        assert picked.clip.name == f"clip{case['item']}"


@pytest.mark.parametrize(("kind", "count"), [(SlomoTrain, 11), (SlomoValidation, 8), (Triplets, 2), (Triplets, 4)])
def test_clips_of_a_length_that_the_sampling_cannot_take_are_named(kind, count):
    with pytest.raises(InputError, match=f"has {count} frames") as caught:
        kind([_clip(12) if kind is not Triplets else _clip(3), _clip(count, k=7)])
    assert caught.value.path == "clip7"


def test_windows_follow_each_other_over_all_clips():
    times = (0.0, 0.1, 0.3, 0.4, 0.5, 0.6)
    sampler = Windows([_clip(6, times=times), _clip(3, k=1), _clip(4, k=2)], 2, 1, True)
    generator = np.random.default_rng(0)
    picked = [sampler.pick(k, generator) for k in range(len(sampler))]
    assert [(one.clip.name, one.outer, one.middle) for one in picked] == [
        ("clip0", (0, 3), (1, 2)),
        ("clip0", (1, 4), (2, 3)),
        ("clip0", (2, 5), (3, 4)),
        ("clip2", (0, 3), (1, 2)),
    ]
    assert picked[0].times == pytest.approx((0.25, 0.75))
    assert picked[3].times == pytest.approx((1 / 3, 2 / 3))
    even = Windows([_clip(6, times=times)], 2, 1, False).pick(0, generator)
    assert even.times == pytest.approx((1 / 3, 2 / 3))
    with pytest.raises(IndexError):
        sampler.pick(4, generator)


@given(
    st.lists(st.integers(1, 14), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(2, 5),
    st.integers(0, 4),
    st.integers(0, 2**32 - 1),
)
def test_mixed_samples_are_true_frames_of_one_clip_at_their_times(lengths, targets, shortest, more, seed):
    clips = [_clip(n, times=tuple(np.cumsum(np.arange(1, n + 1)) * 0.1), k=k) for k, n in enumerate(lengths)]
    gaps = (shortest, max(shortest + more, targets + 1))
    fewest = max(shortest, targets + 1)
    if max(lengths) <= fewest:
        with pytest.raises(InputError, match="none of"):
            Mixed(clips, targets, gaps, 0.5, True)
        return
    sampler, generator = Mixed(clips, targets, gaps, 0.5, True), np.random.default_rng(seed)
    assert len(sampler) == sum(max(0, n - fewest) for n in lengths)
    for index in range(len(sampler)):
        picked = sampler.pick(index, generator)
        low, high = sorted(picked.outer)
        assert fewest <= high - low <= max(gaps[1], fewest)
        assert len(picked.middle) == targets
        assert all(low < frame < high for frame in picked.middle)
        assert sorted(picked.times) == list(picked.times), "targets go from the first frame to the second"
        assert all(0 < t < 1 for t in picked.times)
        axis = picked.clip.times
        start, end = (axis[frame] for frame in picked.outer)
        assert [axis[frame] for frame in picked.middle] == pytest.approx(
            [start + t * (end - start) for t in picked.times]
        )


def test_mixed_samples_meet_every_gap_and_both_directions():
    sampler, generator = Mixed([_clip(30)], 1, (2, 8), 0.5, True), np.random.default_rng(1)
    outers = [sampler.pick(k % 20, generator).outer for k in range(4000)]
    gaps = Counter(abs(b - a) for a, b in outers)
    assert set(gaps) == set(range(2, 9))
    assert min(gaps.values()) > 480
    assert 1850 < sum(b < a for a, b in outers) < 2150


# --- how they are cut and turned


def _stack(shape: tuple[int, ...] = (3, 40, 50)) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def _expected_dsa(frames: NDArray[np.uint8], drawn: dict[str, Any], side: int) -> NDArray[np.float32]:
    """The published augmentation, frame by frame, by other functions."""
    made = []
    for frame in frames:
        if drawn["corner"] is None:
            frame = cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC)
        else:
            y, x = drawn["corner"]
            frame = frame[y : y + side, x : x + side]
        frame = np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
        if drawn["reverse_channels"]:
            frame = frame[..., ::-1]
        frame = cv2.flip(np.ascontiguousarray(frame), 0) if drawn["flip_rows"] else frame
        frame = cv2.flip(np.ascontiguousarray(frame), 1) if drawn["flip_columns"] else frame
        turn = {-1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 1: cv2.ROTATE_90_COUNTERCLOCKWISE}
        if drawn["quarter_turns"]:
            frame = cv2.rotate(np.ascontiguousarray(frame), turn[drawn["quarter_turns"]])
        made.append(np.moveaxis(frame, -1, 0))
    return np.stack(made).astype(np.float32) / 255


@pytest.mark.parametrize("shape", [(3, 40, 50), (3, 40, 50, 3), (4, 31, 60), (3, 32, 32)])
def test_the_published_dsa_augmentation(shape):
    frames, transform, generator = _stack(shape), DsaTrain(32), np.random.default_rng(2)
    size = (shape[1], shape[2])
    clip = _clip(shape[0], shape=size)
    seen: Counter[tuple[Any, ...]] = Counter()
    for _ in range(40):
        drawn = transform.draw(size, generator)
        assert (drawn["corner"] is None) == (min(size) < 32)
        result = transform.apply(frames, clip, json.loads(json.dumps(drawn)))
        np.testing.assert_allclose(result, _expected_dsa(frames, drawn, 32), atol=1e-6)
        seen[drawn["quarter_turns"]] += 1
    assert set(seen) == {-1, 0, 1, 2}


def test_draws_of_the_published_dsa_augmentation_are_uniform():
    transform, generator = DsaTrain(), np.random.default_rng(3)
    drawn = [transform.draw((323, 321), generator) for _ in range(4000)]
    corners = Counter(tuple(one["corner"]) for one in drawn)
    assert set(corners) == {(y, x) for y in range(4) for x in range(2)}
    assert min(corners.values()) > 420
    for name in ("reverse_channels", "flip_rows", "flip_columns"):
        assert 1880 < sum(one[name] for one in drawn) < 2120
    assert min(Counter(one["quarter_turns"] for one in drawn).values()) > 900


@pytest.mark.parametrize(
    ("size", "tested"),
    [
        ((64, 72), (64, 72)),
        ((45, 72), (256, 256)),
        ((255, 256), (512, 512)),
        ((100, 513), (640, 640)),
        ((641, 8), (1024, 1024)),
        ((1025, 8), (1280, 1280)),
        ((1281, 16), (16, 1281)),
        ((8, 1280), (8, 1280)),
    ],
)
def test_the_published_dsa_test_rule(size, tested):
    frames = _stack((3, *size))
    result = DsaTest().apply(frames, _clip(3, shape=size), {})
    assert result.shape == (3, 3, *tested)
    if size == tested:
        np.testing.assert_array_equal(result[:, 0], frames.astype(np.float32) / 255)
    else:
        expected = cv2.resize(frames[1], tested[::-1], interpolation=cv2.INTER_CUBIC)
        np.testing.assert_array_equal(result[1, 2], expected.astype(np.float32) / 255)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.float32])
def test_the_published_rules_take_what_is_deeper_than_16_bits(dtype):
    deep = _stack((3, 12, 20)).astype(dtype) * 1000
    clip = dataclasses.replace(_clip(3, shape=(12, 20)), levels=(0.0, 255_000.0))
    shallow = dataclasses.replace(clip, levels=(0.0, 255.0))
    drawn = DsaTrain().draw((12, 20), np.random.default_rng(0))
    for transform in (DsaTrain(), DsaTest()):
        expected = transform.apply((deep // 1000).astype(np.float32), shallow, drawn)
        np.testing.assert_allclose(transform.apply(deep, clip, drawn), expected, atol=1e-6)


def test_super_slomo_flips_all_frames_or_none():
    frames, generator = _stack((3, 20, 30, 3)), np.random.default_rng(0)
    clip = _clip(3, shape=(20, 30))
    seen = set()
    for _ in range(20):
        drawn = SlomoFlip().draw((20, 30), generator)
        result = SlomoFlip().apply(frames, clip, drawn)
        expected = np.moveaxis(frames, -1, 1).astype(np.float32) / 255
        np.testing.assert_array_equal(result, expected[..., ::-1] if drawn["flip_columns"] else expected)
        seen.add(drawn["flip_columns"])
    assert seen == {True, False}
    cut = SlomoFlip((8, 8)).apply(frames, clip, {"corner": [12, 22], "flip_columns": False})
    np.testing.assert_array_equal(cut[0, 0], frames[0, 12:, 22:, 0].astype(np.float32) / 255)
    corner = TopLeft((16, 30)).apply(frames, clip, {})
    np.testing.assert_array_equal(corner[2, 1], frames[2, :16, :, 1].astype(np.float32) / 255)
    for transform in (SlomoFlip((21, 8)), TopLeft((8, 31))):
        with pytest.raises(InputError, match="hold no crop"):
            transform.check(clip)


def test_crops_are_taken_where_something_changes():
    """One corner of a letterboxed frame fills with contrast: crops anywhere else are avoided."""
    frames = np.full((3, 64, 64), 90, np.uint8)
    frames[:, :10] = frames[:, -10:] = 0
    frames[1, 14:30, 40:60], frames[2, 14:30, 40:60] = 60, 30
    transform, clip = Vessels((16, 16), 16, 0.0, 0.0), _clip(3, shape=(64, 64))
    generator = np.random.default_rng(0)
    results = [transform.apply(frames, clip, transform.draw((64, 64), generator)) for _ in range(60)]
    assert sum(np.ptp(result, axis=0).max() > 0 for result in results) >= 57
    anywhere = Vessels((16, 16), 1, 0.0, 0.0)
    blind = [anywhere.apply(frames, clip, anywhere.draw((64, 64), generator)) for _ in range(60)]
    assert sum(np.ptp(result, axis=0).max() > 0 for result in blind) < 40


@given(st.integers(10, 40), st.integers(10, 40), st.integers(0, 99))
def test_brightness_changes_alike_in_all_frames_and_stays_in_range(rows, columns, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (3, rows, columns), dtype=np.uint8)
    frames[1] = frames[0]
    transform, clip = Vessels((16, 24), 4, 0.3, 0.5), _clip(3, shape=(rows, columns))
    result = transform.apply(frames, clip, transform.draw((rows, columns), np.random.default_rng(seed)))
    assert result.shape == (3, 3, 16, 24)
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    np.testing.assert_array_equal(result[0], result[1])


def test_nothing_but_a_crop_and_turns_without_jitter():
    frames, transform = _stack((3, 20, 20)), Vessels((20, 20), 2, 0.0, 0.0)
    drawn = transform.draw((20, 20), np.random.default_rng(0)) | {
        "quarter_turns": 1,
        "flip_rows": True,
        "flip_columns": False,
    }
    result = transform.apply(frames, _clip(3, shape=(20, 20)), drawn)
    np.testing.assert_allclose(result[0, 0], np.rot90(frames[0, ::-1]).astype(np.float32) / 255, atol=1e-6)


@given(st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=3))
def test_padded_samples_hold_the_frame_where_they_say(sizes):
    clips = [_clip(3, shape=size, k=k) for k, size in enumerate(sizes)]
    transform = Padded.around(clips, 32)
    for clip in clips:
        frames = _stack((3, *clip.shape))
        result = transform.apply(frames, clip, {})
        assert result.shape[2] % 32 == result.shape[3] % 32 == 0
        assert result.shape[2:] == transform.size
        top, bottom, left, right = transform.area(clip.shape)
        np.testing.assert_array_equal(result[:, 0, top:bottom, left:right], frames.astype(np.float32) / 255)
        assert np.all(result[:, 0, :top, left:right] == result[:, 0, top : top + 1, left:right])


# --- from disk


def test_colours_come_in_rgb_order_and_16_bits_are_kept(tmp_path):
    frames = _noise(3, 0, (6, 8, 3))
    _write_clips(tmp_path / "rgb", {"a": frames})
    samples = open_samples(DataConfig(path=tmp_path / "rgb", sampling="triplets", augmentation="none"))
    sample = samples.make(samples.draw(0, generator=np.random.default_rng(0)))
    np.testing.assert_array_equal(sample["frame0"].numpy(), np.moveaxis(frames[0], -1, 0).astype(np.float32) / 255)
    assert sample["times"].tolist() == [0.5]
    deep = np.arange(3 * 6 * 8, dtype=np.uint16).reshape(3, 6, 8) * 400
    _write_clips(tmp_path / "deep", {"a": deep})
    samples = open_samples(DataConfig(path=tmp_path / "deep", sampling="triplets", augmentation="none"))
    sample = samples.make(samples.draw(0, generator=np.random.default_rng(0)))
    np.testing.assert_allclose(sample["targets"][0, 2].numpy(), deep[1] / 65535, atol=1e-7)


def test_a_sample_is_two_frames_and_its_targets_and_nothing_else_is_read(tmp_path):
    root = _write_clips(tmp_path / "set", {f"train/{k}": _noise(12, k) for k in range(2)})
    samples = open_samples(DataConfig(path=root, sampling="super-slomo-train", augmentation="super-slomo"))
    drawn = samples.draw(1, generator=np.random.default_rng(0))
    assert drawn["clip"] == "train/1"
    for k in set(range(12)) - set(drawn["frames"]):
        (root / f"train/1/{k:06d}.png").write_bytes(b"damaged")
    assert samples.make(drawn)["targets"].shape == (1, 3, 24, 32)
    (root / f"train/1/{drawn['frames'][1]:06d}.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        samples.make(drawn)
    assert f"{drawn['frames'][1]:06d}.png" in caught.value.path
    (root / f"train/1/{drawn['frames'][1]:06d}.png").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        samples.make(drawn)
    with pytest.raises(InputError, match="not in this set"):
        samples.make(dict(drawn) | {"clip": "train/9"})


def test_draws_are_a_function_of_the_generator_alone(tmp_path):
    root = _write_clips(tmp_path / "set", {f"train/{k}": _noise(12, k) for k in range(2)})
    samples = open_samples(DataConfig(path=root, crop=(16, 16)))
    one, two = (samples.draw(3, generator=np.random.default_rng(8)) for _ in range(2))
    assert one == two
    assert one != samples.draw(3, generator=np.random.default_rng(9))


def test_samples_travel_to_other_processes(tmp_path):
    root = _write_clips(tmp_path / "set", {f"train/{k}": _noise(4, k) for k in range(2)})
    samples = open_samples(DataConfig(path=root, sampling="windows", augmentation="none"))
    copy = pickle.loads(pickle.dumps(samples))
    drawn = samples.draw(3, generator=np.random.default_rng(0))
    assert copy.make(drawn)["frame1"].equal(samples.make(drawn)["frame1"])


def test_a_limit_takes_samples_spread_over_the_set(tmp_path):
    root = _write_clips(tmp_path / "set", {f"train/{k}": _noise(4, k) for k in range(5)})
    config = DataConfig(path=root, sampling="windows", augmentation="none", limit=5)
    samples = open_samples(config)
    drawn = [samples.draw(k, generator=np.random.default_rng(0)) for k in range(len(samples))]
    assert [one["clip"] for one in drawn] == [f"train/{k}" for k in range(5)]


def test_clips_of_several_sizes_are_cropped_or_padded_or_refused(tmp_path):
    root = _write_clips(tmp_path / "set", {"train/0": _noise(4, 0), "train/1": _noise(4, 1, (30, 40))})
    for augmentation in ("none", "super-slomo"):
        with pytest.raises(InputError, match="24 x 32, 30 x 40"):
            open_samples(DataConfig(path=root, sampling="windows", augmentation=augmentation))
    for augmentation in ("pad", "vessels"):
        samples = open_samples(DataConfig(path=root, sampling="windows", augmentation=augmentation))
        made = [samples.make(samples.draw(k, generator=np.random.default_rng(0))) for k in range(len(samples))]
        assert len({tuple(sample["targets"].shape) for sample in made}) == 1
        assert all(("area" in sample) == (augmentation == "pad") for sample in made)


@pytest.mark.parametrize("augmentation", ["super-slomo", "top-left"])
def test_frames_too_small_for_a_crop_are_refused_before_one_is_read(tmp_path, augmentation):
    root = _write_clips(tmp_path / "set", {"train/0": _noise(4, 0, (30, 40)), "train/1": _noise(4, 1)})
    with pytest.raises(InputError, match=r"train/1: frames of 24 x 32 hold no crop of 28 x 32"):
        open_samples(DataConfig(path=root, sampling="windows", augmentation=augmentation, crop=(28, 32)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inter_frames": 0}, "inter_frames 0"),
        ({"stride": 0}, "stride 0"),
        ({"limit": 0}, "limit 0"),
        ({"reversal": 1.5}, "reversal"),
        ({"gain": -0.1}, "gain"),
        ({"gamma": 9.0}, "gamma"),
        ({"gaps": (1, 8)}, "gaps from 1"),
        ({"gaps": (5, 3)}, "gaps from 5"),
        ({"inter_frames": 8}, "8 frames to be made"),
        ({"crop": (0, 9)}, "crop"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        DataConfig(**options)


def test_a_set_that_does_not_hold_what_is_asked_for(tmp_path):
    root = _write_clips(tmp_path / "set", {"train/0": _noise(4, 0)})
    with pytest.raises(UsageError, match="no training set"):
        open_samples(DataConfig())
    with pytest.raises(UsageError, match="no clips in the split 'test'"):
        open_samples(DataConfig(path=root, split="test"))
    with pytest.raises(InputError, match="none of 1 clips has 9 frames"):
        open_samples(DataConfig(path=root, sampling="windows", inter_frames=7))


def test_whole_frames_as_they_are():
    frames = _stack((2, 5, 6))
    np.testing.assert_array_equal(Whole().apply(frames, _clip(2, shape=(5, 6)), {})[1, 1], frames[1] / np.float32(255))


# --- what nothing shipped may be trained on


def _assert_not_shipped(files: list[Path]) -> None:
    """Assert that no manifest, preset or recipe in the package names one of `files`, by name or by hash."""
    told = {hashlib.sha256(path.read_bytes()).hexdigest() for path in files} | {path.name for path in files}
    for path in Path(scanweave.__file__).parent.rglob("*"):
        if path.suffix in (".json", ".yaml", ".yml"):
            text = path.read_text(encoding="utf-8")
            assert not [one for one in told if one in text], path


def test_nothing_shipped_was_trained_on_recordings_of_pydicom():
    files = [path for path in (Path(pydicom.__file__).parent / "data").rglob("*.dcm") if path.is_file()]
    assert len(files) > 5
    _assert_not_shipped(files)


@pytest.mark.reference
def test_nothing_shipped_was_trained_on_a_reference_recording(reference):
    files = [path for path in (reference / "data").rglob("*") if path.is_file() and path.suffix != ".md"]
    assert len(files) > 10
    _assert_not_shipped(files)
