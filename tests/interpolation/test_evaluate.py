"""Runs whose frames are hidden and made again: closed forms of every measure, and each hidden frame exactly once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from scanweave.cine import Cine
from scanweave.errors import InputError
from scanweave.interpolation.evaluate import RUN_MEASURES, RunOptions, imaged_area, score_run
from scanweave.interpolation.methods import ExactEnds, Made, create
from scanweave.interpolation.regions import plan_regions
from scanweave.interpolation.timeline import surveyed
from scanweave.simulate import AngiographyConfig, cine, draw
from scanweave.trust.core import leave_one_out
from scanweave.trust.survey import moving_region

WHOLE = RunOptions(gaps=(2, 4), regions="off")


@dataclass(frozen=True)
class Truth:
    """A method that knows the run: it gives what was hidden."""

    run: Cine
    name: str = "truth"

    def fit(self, shown: Cine) -> FittedTruth:
        return FittedTruth(self.run, shown)

    def describe(self) -> dict:
        return {"name": self.name}


@dataclass(frozen=True)
class FittedTruth:
    run: Cine
    shown: Cine

    def prepare(self, i: int, j: int) -> ExactEnds:
        first, second = (torch.from_numpy(self.shown.unit(k))[None] for k in (i, j))
        start, end = self.shown.times[i], self.shown.times[j]

        def between(times: torch.Tensor) -> Made:
            hidden = [int(np.abs(self.run.times - (start + float(t) * (end - start))).argmin()) for t in times]
            return Made(torch.stack([torch.from_numpy(self.run.unit(k)) for k in hidden]))

        return ExactEnds(first, second, between)


def ramp(count: int = 9, step: int = 10) -> Cine:
    """Every frame is `step` brighter than the one before, everywhere."""
    return Cine.from_array(np.arange(count, dtype=np.uint8)[:, None, None] * np.full((16, 16), step, np.uint8), fps=10)


def scored(run: Cine, names=("hold", "linear"), options=WHOLE, **methods):
    named = {name: create(name) for name in names} | methods
    return score_run(run, named, run="run", patient="patient", options=options)


def values(result, method, gap, place):
    return [row.values for row in result.rows if (row.method, row.gap, row.hidden - row.first) == (method, gap, place)]


def test_the_truth_scores_infinity_and_one():
    run = cine(draw(AngiographyConfig(size=(48, 48)), generator=np.random.default_rng(0))).select(range(9))
    result = scored(run, (), truth=Truth(run))
    assert result.rows
    for row in result.rows:
        assert set(row.values) == set(RUN_MEASURES)
        for area in ("moving", "imaged", "frame"):
            assert row.values[f"psnr_{area}"] == math.inf
            assert row.values[f"ssim_{area}"] == pytest.approx(1)
            assert row.values[f"mae_{area}"] == 0
        assert row.values["step_error"] == 0
        assert row.values["flicker"] == pytest.approx(1)


def test_hold_on_a_ramp_in_closed_form():
    """Errors at gap 4 are 0, -10, -20, +10, 0: repeats of the earlier frame up to the middle, then of the later."""
    result = scored(ramp())
    for place, error, step, flicker in ((1, 10, 10, 1), (2, 20, 20, math.inf), (3, 10, 20, math.inf)):
        for told in values(result, "hold", 4, place):
            assert told["mae_moving"] == pytest.approx(error, rel=1e-5)
            assert told["psnr_frame"] == pytest.approx(20 * math.log10(255 / error), rel=1e-5)
            assert told["step_error"] == pytest.approx(step, rel=1e-5)
            assert told["flicker"] == flicker
    for told in values(result, "hold", 2, 1):
        assert told["step_error"] == pytest.approx(told["mae_moving"], rel=1e-5)


def test_linear_is_exact_on_a_ramp():
    for row in scored(ramp(), ("linear",)).rows:
        assert row.values["psnr_frame"] == math.inf
        assert row.values["step_error"] == 0


def test_a_blend_is_smoother_than_noise_and_a_hold_is_restless():
    """The second difference of white noise has six times its variance, that of a blend at gap 2 none of it."""
    noise = np.random.default_rng(0).integers(0, 255, (9, 32, 32)).astype(np.uint8)
    result = scored(Cine.from_array(noise, fps=10))
    assert all(told["flicker"] < 0.02 for told in values(result, "linear", 2, 1))
    held = [told["flicker"] for told in values(result, "hold", 2, 1)]
    # first, first, third: a second difference of two frames in place of one, two, one
    assert np.mean(held) == pytest.approx(math.sqrt(2 / 6), rel=0.05)


def test_every_phase_once_per_method():
    result = scored(ramp(9))
    for gap in (2, 4):
        for method in ("hold", "linear"):
            keys = [(r.first, r.hidden, r.last) for r in result.rows if (r.gap, r.method) == (gap, method)]
            wanted = [(i, k, i + gap) for i in range(9 - gap) for k in range(i + 1, i + gap)]
            assert sorted(keys) == wanted
    assert all(row.phase == row.first % row.gap for row in result.rows)


def test_as_the_trust_report_scores():
    run = cine(draw(AngiographyConfig(size=(40, 56)), generator=np.random.default_rng(1))).select(range(9))
    run, found = surveyed(run, duplicates="report")
    methods = {name: create(name) for name in ("hold", "linear")}
    theirs = leave_one_out(run, methods, gaps=(2, 3), region=moving_region(found))
    ours = scored(run, options=RunOptions(gaps=(2, 3), regions="off"))
    told = {(s.method, s.gap, s.pair, s.hidden): s for s in theirs.scores}
    assert len(told) == len(ours.rows)
    for row in ours.rows:
        score = told[row.method, row.gap, (row.first, row.last), row.hidden]
        assert row.values["psnr_moving"] == pytest.approx(score.psnr_region)
        assert row.values["ssim_frame"] == pytest.approx(score.ssim_frame)
        assert row.values["mae_moving"] == pytest.approx(score.mae_region)


def test_a_letterbox_is_not_imaged():
    inner = np.random.default_rng(0).integers(60, 90, (7, 20, 24)).astype(np.uint8)
    run = Cine.from_array(np.pad(inner, [(0, 0), (10, 10), (4, 4)]), fps=10)
    area = np.zeros((40, 32), dtype=bool)
    area[10:30, 4:28] = True
    run, found = surveyed(run, duplicates="report")
    np.testing.assert_array_equal(imaged_area(found), area)
    assert plan_regions(run, found, mode="off").mask.all()
    for row in scored(run, ("hold",), RunOptions(gaps=(2,), regions="off")).rows:
        gained = 10 * math.log10(area.size / area.sum())
        assert row.values["psnr_frame"] - row.values["psnr_imaged"] == pytest.approx(gained, rel=1e-6)


def test_the_native_range_is_the_depth():
    frames = np.arange(5, dtype=np.uint16)[:, None, None] * np.full((16, 16), 100, np.uint16)
    run = Cine.from_array(frames, levels=(0, 1023), fps=10)
    told = values(scored(run, ("hold",), RunOptions(gaps=(2,), regions="off")), "hold", 2, 1)
    assert told[0]["mae_frame"] == pytest.approx(100, rel=1e-5)
    assert told[0]["psnr_frame"] == pytest.approx(20 * math.log10(1023 / 100), rel=1e-5)


def test_a_gap_that_does_not_fit_is_noted():
    result = scored(ramp(4), options=RunOptions(gaps=(2, 8), regions="off"))
    assert {row.gap for row in result.rows} == {2}
    assert any("Gap 8 was left out: 4 frames" in note for note in result.notes)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 16, 16), np.uint8), "2 frames: none can be hidden"),
        (np.full((6, 16, 16), 7, np.uint8), "no frame can be hidden"),
    ],
)
def test_runs_without_a_frame_to_hide_are_refused(frames, message):
    with pytest.raises(InputError, match=message):
        scored(Cine.from_array(frames, fps=10))
