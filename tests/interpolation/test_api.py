"""The verb: acquired frames untouched, frames made where asked, everything told."""

from __future__ import annotations

import numpy as np
import pytest

import scanweave
from scanweave.cine import Cine, Display
from scanweave.errors import InputError, UsageError
from scanweave.interpolation.api import interpolate
from scanweave.interpolation.config import InterpolateConfig, dump_config, load_config, validated
from scanweave.interpolation.interpolated import InterpolatedCine, MadeFrame


def moving_blob(frames: int = 9, *, dtype=np.uint8, peak: int = 200, size: int = 48) -> Cine:
    """A bright disc with soft edge, moving 2 pixels a frame over a gentle ramp."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    run = [
        peak * (0.2 * x / size + 0.8 / (1 + np.exp(np.hypot(x - 12 - 2 * k, y - size / 2) - 8))) for k in range(frames)
    ]
    return Cine.from_array(np.rint(run).astype(dtype), fps=25, levels=None if peak <= 255 else (0, peak))


@pytest.mark.parametrize("method", ["hold", "linear", "optical-flow", "minterpolate"])
def test_acquired_frames_come_out_bit_for_bit(method):
    run = moving_blob(4, dtype=np.uint16, peak=4095)
    slow = interpolate(run, factor=3, method=method)
    assert len(slow) == 10
    assert slow.dtype == np.uint16
    for k in range(4):
        assert np.array_equal(slow.frame(3 * k), run.frame(k))
        assert slow.records[3 * k].kind == "acquired"
    assert [record.kind for record in slow.records[1:3]] == ["made", "made"]
    assert slow.times == pytest.approx(np.arange(10) / 75)


def test_any_order_of_asking_gives_the_same_frames():
    run = moving_blob(4)
    forwards = [frame.copy() for frame in interpolate(run, factor=4, confidence="off")]
    slow = interpolate(run, factor=4, confidence="off")
    for k in (11, 2, 3, 9, 1, 5, 12, 0):
        assert np.array_equal(slow.frame(k), forwards[k])


def test_nothing_is_made_before_it_is_asked_for():
    class Counting:
        name = "counting"
        made = 0

        def fit(self, cine):
            return self

        def prepare(self, i, j):
            return self

        def at(self, times):
            from scanweave.interpolation.methods import Made

            Counting.made += len(times)
            import torch

            return Made(torch.zeros(len(times), 1, 48, 48))

        def describe(self):
            return {"name": self.name}

    slow = interpolate(moving_blob(5), factor=8, method=Counting(), confidence="off")
    assert Counting.made == 0
    slow.frame(3)
    assert Counting.made == 7, "a whole gap at once, and no other"


def test_a_palette_run_stays_a_palette_run():
    grey = moving_blob(3)
    ramp = np.stack([np.arange(256), np.arange(256) // 2, 255 - np.arange(256)], axis=1).astype(np.uint8)
    run = Cine.from_array(np.stack(list(grey)), fps=25, display=Display(palette=ramp))
    slow = interpolate(run, factor=2, method="linear")
    assert np.array_equal(slow.frame(2), run.frame(1))
    middle = (grey.frame(0).astype(int) + grey.frame(1)) / 2
    assert np.abs(slow.frame(1).astype(int) - middle).max() <= 1.5


def test_cuts_are_never_bridged():
    rng = np.random.default_rng(1)
    first = np.stack(list(moving_blob(8)))
    second = rng.integers(100, 255, (1, 48, 48)).astype(np.uint8) + np.zeros((8, 1, 1), np.uint8)
    slow = interpolate(Cine.from_array(np.concatenate([first, second]), fps=25), factor=4, method="linear")
    across = [record for record in slow.records if record.pair == (7, 8)]
    assert [record.kind for record in across] == ["copied"] * 3
    assert np.array_equal(slow.frame(across[0].index), first[7])
    assert np.array_equal(slow.frame(across[2].index), second[0])
    assert any("cut" in note for note in slow.notes)


def test_duplicates_can_be_taken_off_the_time_axis():
    frames = np.stack(list(moving_blob(6)))
    frames[3] = frames[2]
    run = Cine.from_array(frames, fps=25)
    kept = interpolate(run, factor=2, method="linear", confidence="off")
    dropped = interpolate(run, factor=2, method="linear", duplicates="drop", confidence="off")
    assert len(kept) == 11
    assert len(dropped) == 9
    assert dropped.records[5].pair == (2, 4), "source frame numbers, not positions in what is left"
    assert dropped.duration == kept.duration


def test_resampling_keeps_frames_that_fall_on_acquired_times():
    run = moving_blob(6)
    slow = interpolate(run, to_fps=50, method="linear", confidence="off")
    assert len(slow) == 11
    assert [record.kind for record in slow.records] == ["acquired", "made"] * 5 + ["acquired"]
    assert slow.derivation is not None
    assert slow.derivation.playback_rate == 50


def test_confidence_is_told_per_made_frame():
    slow = interpolate(moving_blob(12), factor=2, method="linear")
    assert slow.records[1].confidence is None, "not made yet"
    slow.frame(1)
    record = slow.records[1]
    assert record.expected_error > 0
    # Half of 1 where the expected error, here in grey levels, is that of the typical hidden frame.
    assert record.confidence == pytest.approx(1 / (1 + record.expected_error / (255 * slow.calibration.typical_error)))
    # Made frames lie nearer to their sources than hidden ones.
    assert 0.5 < record.confidence < 1
    made = slow.made_frame(1)
    assert made.interval is not None
    assert made.interval.shape == (48, 48)
    with pytest.raises(ValueError, match="acquired, not made"):
        slow.made_frame(2)


def test_a_store_gives_back_what_it_was_given():
    class Memory(dict):
        def load(self, index: int) -> MadeFrame | None:
            return self.get(index)

        def save(self, index: int, frame: MadeFrame) -> None:
            self[index] = frame

    store = Memory()
    first = [frame.copy() for frame in interpolate(moving_blob(3), factor=4, store=store)]
    assert sorted(store) == [1, 2, 3, 5, 6, 7]
    store[2] = MadeFrame(np.full((48, 48), 7, np.uint8))
    again = interpolate(moving_blob(3), factor=4, store=store)
    assert np.array_equal(again.frame(1), first[1])
    assert (again.frame(2) == 7).all(), "taken from the store, not made again"


def test_test_time_augmentation_is_part_of_the_method():
    slow = interpolate(moving_blob(3), factor=2, tta=True, confidence="off")
    assert isinstance(slow, InterpolatedCine)
    assert slow.derivation is not None
    assert "180 degrees" in slow.derivation.summary


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "exactly one of"),
        ({"factor": 2, "to_fps": 30}, "exactly one of"),
        ({"factor": 0}, "at least 1"),
        ({"inter_frames": -1}, "negative"),
        ({"to_fps": float("nan")}, "not a frame rate"),
        ({"factor": 2, "method": "telepathy"}, "no interpolation method"),
        ({"factor": 2.5}, "factor"),
        ({"factor": 2, "regions": "some"}, "regions"),
        ({"times": [0.0, 99.0]}, "99"),
    ],
)
def test_contradictions_are_refused(options, reason):
    with pytest.raises(UsageError, match=reason):
        interpolate(moving_blob(3), **options)


@pytest.mark.parametrize(
    "extra", [{"weights": "w.ckpt"}, {"precision": "float16"}, {"device": "cuda"}], ids=lambda extra: next(iter(extra))
)
def test_what_a_method_has_no_use_for_is_refused(extra):
    from scanweave.interpolation.api import interpolate_as

    with pytest.raises(UsageError, match="optical-flow"):
        interpolate_as(moving_blob(3), validated({"factor": 2, **extra}))


def test_one_frame_is_refused():
    with pytest.raises(InputError, match="nothing to interpolate between"):
        scanweave.interpolate(moving_blob(1), factor=2)


def test_the_configuration_goes_through_yaml(tmp_path):
    config = InterpolateConfig(factor=4, tta=True, regions="off")
    path = tmp_path / "options.yaml"
    path.write_text(dump_config(config))
    assert validated(load_config(path)) == config
    path.write_text("factor: 4\nfactr: 5\n")
    with pytest.raises(UsageError, match="factr"):
        load_config(path)
    path.write_text("- a\n")
    with pytest.raises(InputError, match="mapping"):
        load_config(path)


def test_listed_times_count_from_the_first_frame():
    blob = moving_blob(5)
    late = interpolate(blob.with_times(blob.times + 7), times=[0.0, 0.02], method="linear")
    np.testing.assert_array_equal(late.frame(1), interpolate(blob, times=[0.02], method="linear").frame(0))
    np.testing.assert_allclose(late.times, [7.0, 7.02])
