"""The verb: which moments are made, from what, in which units; what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import scanweave
from scanweave.cine import Cine
from scanweave.errors import InputError, UsageError, WeightsError
from scanweave.fusion.api import fuse, prepare
from scanweave.fusion.calibration import write_calibration
from scanweave.fusion.cameras import CameraRecord
from scanweave.fusion.clocks import Clocks
from scanweave.fusion.frames import Field, Frames
from scanweave.fusion.virtual import VirtualOptions, virtual


def test_a_frame_at_every_moment_between_sharp_ones(experiment):
    pair = experiment(frames=12)  # sharp at 0, 4, 8
    fused = fuse(pair.coarse, pair.sharp, calibration=pair.calibration, method="flow")
    np.testing.assert_allclose(fused.cine.times, np.arange(9) / 1000)
    assert fused.cine.shape == (32, 48)
    assert any("3 moments were left out: there is no sharp frame after" in note for note in fused.notes)
    records = fused.cine.records
    assert records is not None
    assert [record.pair for record in records[3:6]] == [(0, 1), (1, 2), (1, 2)]
    assert {record.kind for record in records} == {"made"}


def test_sharp_frames_are_held_out_from_who_makes_them(experiment):
    pair = experiment(frames=21)  # sharp at 0, 4, ..., 20
    job = prepare(pair.coarse, pair.sharp, pair.calibration, method="temporal-linear", mode="held-out", match="none")
    assert [job.target(i) for i in range(len(job))] == [1, 2, 3, 4]
    assert [pick.sharp for pick in job.picks] == [(0, 2), (1, 3), (2, 4), (3, 5)]
    assert sum("no sharp frame" in one.reason for one in job.left_out) == 2
    for i in range(len(job)):
        before, after = (pair.sharp.unit(k) for k in job.picks[i].sharp)
        np.testing.assert_allclose(job.unit(i)[0], (before + after) / 2, atol=1e-6)


def test_rates_in_no_whole_proportion_and_clocks_apart(drifting):
    pair = virtual(drifting(frames=24), VirtualOptions(ratio=3.7))
    moved = pair.calibration.with_clocks(Clocks(rate=1.5, offset=7.0))
    late = Frames.of(pair.sharp.cine.with_times(pair.sharp.times * 1.5 + 7), "sharp", window=(0, 1))
    made = [
        fuse(pair.coarse, sharp, calibration=calibration, method="flow", match="none").cine
        for sharp, calibration in ((pair.sharp, pair.calibration), (late, moved))
    ]
    np.testing.assert_allclose(made[1].times, made[0].times * 1.5 + 7)
    np.testing.assert_allclose(made[0].frame(5), made[1].frame(5), atol=1e-5)


def test_units_are_those_of_the_sharp_camera(experiment):
    pair = experiment()
    counts = np.stack([np.rint(pair.sharp.unit(i) * 3000) + 100 for i in range(len(pair.sharp))]).astype(np.uint16)
    sharp = Cine.from_array(counts, times=pair.sharp.times)
    dim = Frames.of(pair.coarse.cine, "fast", window=(-0.5, 1.5))
    dark = Field.of(pair.sharp.shape, dark=np.full(pair.sharp.shape, 100, np.float32))
    made = fuse(dim, Frames.of(sharp, "sharp", field=dark), calibration=pair.calibration, method="flow").cine
    assert made.dtype == np.uint16
    assert np.abs(made.frame(4).astype(int) - counts[1]).max() <= 1
    truth = pair.truth.unit(6) * 3000 + 100
    assert np.abs(made.frame(6) - truth).mean() < 40
    floats = fuse(dim, sharp, calibration=pair.calibration, method="hold", depth="float32").cine
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats.frame(4), counts[1], rtol=1e-5)
    flat = Field.of(pair.sharp.shape, flat=np.full(pair.sharp.shape, 3200, np.float32))
    through = fuse(dim, Frames.of(sharp, "sharp", field=flat), calibration=pair.calibration, method="hold").cine
    np.testing.assert_allclose(through.frame(4), counts[1] / 3200, rtol=1e-5)


def test_what_does_not_go_together_is_refused(experiment, tmp_path):
    pair = experiment()
    calibration = pair.calibration
    with pytest.raises(InputError, match="exchange --fast and --sharp"):
        fuse(pair.sharp, pair.coarse, calibration=calibration)
    later = calibration.with_clocks(Clocks(offset=5.0))
    with pytest.raises(InputError, match="no overlap in time"):
        fuse(pair.coarse, pair.sharp, calibration=later)
    rows = [list(row) for row in calibration.matrix]
    rows[0][2] += 100
    beside = calibration.model_copy(update={"matrix": tuple(map(tuple, rows))})
    with pytest.raises(InputError, match="no overlap in space"):
        fuse(pair.coarse, pair.sharp, calibration=beside)
    for name in ("mode", "match", "depth"):
        with pytest.raises(UsageError, match=f"{name} 'double' is none of"):
            fuse(pair.coarse, pair.sharp, calibration=calibration, **{name: "double"})
    with pytest.raises(UsageError, match="runs without weights"):
        fuse(pair.coarse, pair.sharp, calibration=calibration, method="hold", options={"weights": "a.pth"})
    with pytest.raises(WeightsError):
        fuse(pair.coarse, pair.sharp, calibration=calibration, method="swin-xvr")
    with pytest.raises(UsageError, match="metadata of both cameras"):
        fuse(pair.coarse, pair.sharp, calibration=calibration, mode="published-double")
    write_calibration(calibration, tmp_path / "c.json")
    assert len(scanweave.fuse(pair.coarse, pair.sharp, calibration=tmp_path / "c.json").cine) == 13


def test_published_modes_clamp_and_take_the_target_itself(experiment):
    pair = experiment(frames=13)  # sharp at 0, 4, 8, 12
    records = (
        CameraRecord("shimadzu", np.arange(13) * 1_000_000),
        CameraRecord("phantom", np.arange(4) * 4_000_000, flagged=np.ones(4, dtype=bool)),
    )
    made = {
        mode: prepare(
            pair.coarse,
            pair.sharp,
            pair.calibration,
            method="temporal-linear",
            mode=mode,
            match="none",
            records=records,
        )
        for mode in ("published-continuous", "published-double")
    }
    continuous, double = made["published-continuous"], made["published-double"]
    assert [pick.fast for pick in continuous.picks[:2]] == [(0, 0, 1), (0, 1, 2)]
    assert [pick.sharp for pick in continuous.picks] == [(0, 1)] * 4 + [(1, 2)] * 4 + [(2, 3)] * 4
    assert [pick.sharp for pick in double.picks] == [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert [double.target(i) for i in range(4)] == [0, 1, 2, 3]
    np.testing.assert_array_equal(double.unit(0)[0], pair.sharp.unit(0))  # the truth leaks


def test_a_virtual_experiment_is_the_same_in_any_order_and_in_its_photons(drifting):
    pair = virtual(drifting(), VirtualOptions(ratio=4, photons=500, seed=3))
    again = virtual(drifting(), VirtualOptions(ratio=4, photons=500, seed=3))
    last = again.coarse.unit(12)
    np.testing.assert_array_equal(again.coarse.unit(2), pair.coarse.unit(2))
    np.testing.assert_array_equal(last, pair.coarse.unit(12))
    quiet = virtual(drifting(), VirtualOptions(ratio=4)).coarse.unit(2)
    off = pair.coarse.unit(2) - quiet
    assert off.std() == pytest.approx(np.sqrt(quiet.mean() / 500), rel=0.3)
    with pytest.raises(InputError, match="no two sharp frames"):
        virtual(drifting(frames=3), VirtualOptions(ratio=4))
    for wrong in ({"ratio": 0.5}, {"noise": -1}, {"exposure": 12}):
        with pytest.raises(UsageError):
            VirtualOptions(**wrong)
