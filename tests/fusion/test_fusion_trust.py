"""What is hidden, made again and scored; profiles; what a verdict says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from scanweave.cine import Cine
from scanweave.errors import UsageError
from scanweave.fusion.api import prepare
from scanweave.fusion.calibration import Calibration
from scanweave.fusion.consistency import Consistent
from scanweave.fusion.frames import Frames
from scanweave.fusion.held_out import against_truth, held_out, leaking, rivals, shown, spread_over
from scanweave.fusion.methods import create
from scanweave.fusion.noise import Noise
from scanweave.fusion.profiles import Line, middle_frame, profile, strongest_moving_edge
from scanweave.fusion.trust import MADE, SHARP, TRUTH, check
from scanweave.fusion.verdict import AGREES, expected, statements, trust_summary
from scanweave.fusion.virtual import VirtualOptions, virtual
from scanweave.made import Made

NOISE = 0.02


@pytest.fixture(scope="module")
def pair():
    """A virtual experiment on a noisy scene with an edge that moves to the right by 0.6 pixels a frame."""
    rows, columns = np.mgrid[:64, :96]
    rng, frames = np.random.default_rng(0), []
    for t in range(33):
        clean = 0.3 + 0.4 / (1 + np.exp(-(columns - 30 - 0.6 * t - rows / 9) / 1.5))
        frames.append(clean + rng.normal(0, NOISE, clean.shape))
    run = Cine.from_array(np.stack(frames).astype(np.float32), fps=1000, levels=(0, 1))
    return virtual(run, VirtualOptions(ratio=4, noise=0.01))


@pytest.fixture
def job(pair):
    def make(method="temporal-linear", **options):
        return prepare(
            pair.coarse, pair.sharp, pair.calibration, method=method, match="none", depth="float32", **options
        )

    return make


NOISES = Noise(0.0, NOISE**2, NOISE)


@dataclass(frozen=True)
class Leaky:
    """A method that has the sharp run from elsewhere, and gives back what it is to make."""

    run: Frames
    name: str = "leaky"

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> Leaky:
        return self

    def describe(self):
        return {"name": self.name}

    def at(self, times: Sequence[float]) -> Made:
        nearest = [int(np.abs(self.run.times - time).argmin()) for time in times]
        return Made(torch.stack([torch.from_numpy(self.run.unit(i))[None] for i in nearest]))


def test_hidden_frames_are_scored_beside_the_baselines(job):
    found = held_out(job(), NOISES)
    assert list(found.by_method) == ["temporal-linear", "hold", "bicubic", "flow"]
    assert found.frames == 7
    assert {round(one.apart, 9) for one in found.by_method["hold"]} == {0.004}
    assert not found.leaked
    # a mean of two frames has half their noise, and the hidden one its own
    assert found.mean("temporal-linear", "in_noise") > 1.2
    assert found.best in ("flow", "bicubic")
    assert found.outcome == "worse"
    assert held_out(job(), NOISES, most=3).frames == 3


def test_a_method_that_gives_back_the_hidden_frame_is_caught(job, pair):
    found = held_out(job(Leaky(pair.sharp)), NOISES)
    assert len(found.leaked) == found.frames
    checked = check(job(Leaky(pair.sharp)), lambda i: job("hold").unit(i)[0], most=4)
    assert statements(checked)[0].title == "The method has seen what was hidden from it"
    assert trust_summary(checked)["level"] == "alarm"


def test_a_job_that_makes_frames_of_themselves_is_caught(job):
    held = job(mode="held-out")
    assert leaking(held) == []
    assert leaking(job()) == []
    target = held.target(0)
    own = replace(held.picks[0], sharp=(target, target + 1))
    assert leaking(replace(held, picks=(own, *held.picks[1:]))) == [0]


def test_two_sharp_frames_hide_nothing(pair, job):
    short = replace(job(), sharp=pair.sharp.select([0, 1]))
    assert held_out(short, NOISES) is None


def test_the_truth_scores_moments_that_no_sharp_frame_shows(job, pair):
    one = job("hold")
    found = against_truth(one, lambda i: one.unit(i)[0], lambda i: shown(one, pair.truth, one.picks[i].middle), NOISES)
    assert found.frames == 24
    assert list(found.by_method) == ["hold", "bicubic", "temporal-linear", "flow"]
    assert {round(score.apart, 9) for score in found.by_method["hold"]} == {0.001, 0.002}
    assert against_truth(one, lambda i: one.unit(i)[0], lambda i: None, NOISES) is None


def test_equal_frames_are_no_leak_where_there_is_no_noise(job, pair):
    still = Cine.from_array(np.stack([pair.truth.unit(0)] * 33), fps=1000, levels=(0, 1))
    calm = virtual(still, VirtualOptions(ratio=4))
    found = held_out(
        prepare(calm.coarse, calm.sharp, calm.calibration, method="hold", match="none"), Noise(0, 1e-9, 3e-5)
    )
    assert not found.leaked
    assert found.mean("hold", "psnr") == 100


def test_what_a_method_was_before_is_its_rival():
    names = [one.name for one in rivals(Consistent(create("hold")))]
    assert names == ["hold", "bicubic", "temporal-linear", "flow"]
    assert spread_over(10, 3) == [0, 4, 9]


def test_the_line_crosses_the_edge_that_moves(job, pair):
    one = job()
    line, after = strongest_moving_edge(one)
    number = middle_frame(one, after)
    assert abs(line.x1 - line.x0) > 3 * abs(line.y1 - line.y0)
    found = profile(one, one.unit(number)[0], number, line, truth=pair.truth.unit(number))
    assert set(found.values) == {"made", "sharp before", "sharp after", "coarse", "truth"}

    def crossed(name):
        values = found.values[name] if line.x1 > line.x0 else found.values[name][::-1]
        return int(np.argmax(values > 0.5))

    assert crossed("sharp before") <= crossed("made") <= crossed("sharp after")
    assert abs(crossed("truth") - crossed("made")) <= 2
    assert Line(3, 5, 13, 5).of_made(one, np.tile(np.arange(96, dtype=np.float32), (64, 1)))[[0, 20]] == pytest.approx(
        [3, 13]
    )


@pytest.mark.parametrize("line", [Line(0, 0, 200, 5), Line(5, 5, 6, 5), Line(-1, 5, 20, 5)])
def test_lines_that_there_cannot_be_are_refused(line, job):
    with pytest.raises(UsageError, match="x0 y0 x1 y1") as error:
        line.checked(job())
    assert "sharp pixels" in str(error.value)


def test_all_findings_of_a_method_that_is_right(job, pair):
    one = job("flow")
    found = check(one, lambda i: one.unit(i)[0], truth=lambda i: pair.truth.unit(one.picks[i].middle), most=4)
    assert found.chi_square == pytest.approx(1, abs=0.35)
    assert found.lowest * 0.5 < found.chi_square < found.highest * 1.5
    assert set(found.power) == {SHARP, MADE, "bicubic", TRUTH}
    assert found.detail["bicubic"] < found.detail[MADE] < 1.1
    assert found.window is not None
    assert found.edges[MADE].half == pytest.approx(found.edges[SHARP].half, rel=0.3)
    assert found.known.frames == found.hidden.frames == 4
    summary = trust_summary(found)
    json.dumps(summary, allow_nan=False)
    assert {"chi_square", "held_out", "truth", "spots", "mtf50"} <= set(summary)
    assert any("doubles" in line for line in summary["verdict"])


def test_frames_that_repeat_the_coarse_ones_are_no_success(job):
    one = job("bicubic")
    found = check(one, lambda i: one.unit(i)[0].astype(np.float32), hide=False)
    assert found.hidden is None
    assert any("not at hand" in note for note in found.notes)
    assert found.others["temporal-linear"] > found.chi_square


def test_an_invented_spot_is_named_in_the_verdict(job):
    one = job("flow")

    def invented(i):
        frame = one.unit(i)[0].copy()
        if i in (9, 10, 11):
            frame[8:20, 72:84] += 0.2
        return frame

    found = check(one, invented, hide=False)
    assert [i for i, frame in enumerate(found.frames) if frame.spots] == [9, 10, 11]
    said = {statement.title: statement.text for statement in statements(found)}
    assert "3 of 33 frames" in said["Something was invented, erased or misplaced"]
    assert "9 to 11" in " ".join(said.values())


def test_a_calibration_that_does_not_hold_is_said(pair):
    moved = [list(row) for row in pair.calibration.matrix]
    moved[0][2] += 2
    wrong = pair.calibration.model_copy(update={"matrix": tuple(map(tuple, moved))})
    one = prepare(pair.coarse, pair.sharp, wrong, method="hold", match="none", depth="float32")
    found = check(one, lambda i: one.unit(i)[0], hide=False)
    assert found.level > 1.5
    assert "The calibration does not quite hold" in [statement.title for statement in statements(found)]


@pytest.fixture(scope="module")
def calm():
    """A virtual experiment on a run without noise, whose fine texture moves by a pixel a frame."""
    scene = np.random.default_rng(1).random((64, 160))
    scene = (scene + np.roll(scene, 1, 1) + np.roll(scene, 1, 0)) / 3
    frames = np.stack([scene[:, 40 - t : 136 - t] for t in range(33)])
    return virtual(Cine.from_array(frames.astype(np.float32), fps=1000, levels=(0, 1)), VirtualOptions(ratio=4))


TOO_HIGH = Noise(0.0, 0.25, 0.5)


def test_a_baseline_is_never_said_to_have_seen_what_was_hidden(calm):
    found = held_out(prepare(calm.coarse, calm.sharp, calm.calibration, method="flow", match="none"), TOO_HIGH)
    assert max(one.in_noise for one in found.by_method["flow"]) < 0.5
    assert found.bound
    assert not found.leaked


def test_noise_that_a_baseline_comes_below_too_is_told_too_high(calm):
    namesake = Leaky(calm.sharp, name="flow")
    found = held_out(prepare(calm.coarse, calm.sharp, calm.calibration, method=namesake, match="none"), TOO_HIGH)
    assert not found.bound, "a name alone makes no baseline"
    assert not found.leaked


def test_a_value_that_agrees_without_being_expected_says_how_far_that_goes(job):
    one = job("flow")
    found = check(one, lambda i: one.unit(i)[0], hide=False, most=4)
    middle = (found.lowest + found.highest) / 2

    def at(value):
        return replace(found, frames=tuple(replace(frame, chi_square=value, spots=()) for frame in found.frames))

    assert "counts as agreement" not in expected(at(middle))
    beyond = at(1.1 * found.highest)
    said = next(one.text for one in statements(beyond) if one.title == "Agrees with the coarse camera")
    assert f"to {AGREES * found.highest:.2f} counts as agreement" in said


def test_detail_is_not_told_by_sharp_frames_that_have_none(job):
    one = job("flow")
    found = check(one, lambda i: one.unit(i)[0], hide=False, most=4)
    frequencies, power = found.power[SHARP]
    smooth = np.where(frequencies > 0.5 / one.calibration.scale, power * 1e-6, power)
    titles = [one.title for one in statements(replace(found, power={**found.power, SHARP: (frequencies, smooth)}))]
    assert "How fine the frames are cannot be told" in titles
    assert not any("sharp camera" in title for title in titles)
    assert "How fine the frames are cannot be told" not in [one.title for one in statements(found)]
