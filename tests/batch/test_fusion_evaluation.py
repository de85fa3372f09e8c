"""Scores of fusion methods on virtual experiments: closed forms, published counts, interruption, one-line errors."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np
import pytest

from scanweave import io
from scanweave.batch.fusion_cases import CameraFiles
from scanweave.batch.fusion_evaluation import FusionEvaluationOptions, evaluate_fusion, methods_of
from scanweave.cine import Cine
from scanweave.errors import InputError, Interrupted, OutputError, UsageError
from scanweave.fusion.evaluate import compared, published_trial, unseen_trial
from scanweave.fusion.methods import create
from scanweave.fusion.virtual import VirtualOptions, virtual

BRIGHTER = 8  # grey levels from frame to frame


def brightening(frames, shape=(16, 24)):
    """A still texture that brightens by the same amount from frame to frame, in 8 bits."""
    texture = np.random.default_rng(0).integers(0, 20, shape)
    return np.stack([texture + BRIGHTER * t for t in range(frames)]).astype(np.uint8)


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run.npz"
    io.write(Cine.from_array(brightening(13), fps=1000), path)
    return path


@pytest.fixture
def dataset(tmp_path):
    """A published test folder of 25 frames, as the golden choice of frames has it."""
    folder = tmp_path / "dataset1_b0_0"
    for i, frame in enumerate(brightening(25)):
        small = np.rint(frame.reshape(4, 4, 6, 4).mean(axis=(1, 3))).astype(np.uint8)
        for name, picture in (("HR", frame), ("LR", small)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / name / f"{i:03d}.png"), picture)
    return folder


def evaluated(path, output, *, methods=("hold", "temporal-linear"), ratios=(4.0,), resume=False, **options):
    told = FusionEvaluationOptions(methods=methods, ratios=ratios, **options)
    return evaluate_fusion([CameraFiles(path=path)], output, told, resume=resume)


def rows_of(output):
    with (output / "scores.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def mean_of(summary, method, measure, *, ratio=4.0, steps=None):
    key = (ratio, steps, method, measure)
    (found,) = [one for one in summary["means"] if (one["ratio"], one["steps"], one["method"], one["measure"]) == key]
    return found


def test_scores_are_those_of_closed_forms(run, tmp_path):
    outcome = evaluated(run, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    # frames 0, 4, 8 and 12 were given, and are never scored
    assert sorted({int(row["frame"]) for row in rows}) == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    assert len(rows) == outcome.summary["counts"]["rows"] == 18
    for row in rows:
        late = int(row["frame"]) % 4
        assert int(row["steps"]) == min(late, 4 - late)
        assert float(row["apart"]) == pytest.approx(int(row["steps"]) / 1000)
        if row["method"] == "hold":  # every pixel is so much too dark
            error = BRIGHTER * late / 255
            assert float(row["mae"]) == pytest.approx(error, rel=1e-4)
            assert float(row["psnr"]) == pytest.approx(-20 * math.log10(error), abs=1e-3)
        else:  # brightness is linear in time
            assert float(row["psnr"]) > 120
            assert float(row["ssim"]) == pytest.approx(1)
    exact = mean_of(outcome.summary, "temporal-linear", "psnr")
    assert (exact["mean"], exact["interval"], exact["frames"]) == (100, [100, 100], 9)
    change = next(one for one in outcome.summary["differences"] if one["method"] == "temporal-linear")
    assert (change["baseline"], change["outcome"], change["steps"]) == ("hold", "better", None)
    held = mean_of(outcome.summary, "hold", "psnr")["mean"]
    assert change["difference"] == pytest.approx(100 - held)
    assert "temporal-linear" in (tmp_path / "out" / "summary.md").read_text()


def test_smaller_errors_are_better(run, tmp_path):
    changes = evaluated(run, tmp_path / "out").summary["differences"]
    (one,) = [
        one for one in changes if (one["method"], one["measure"], one["steps"]) == ("temporal-linear", "mae", None)
    ]
    assert (one["outcome"], one["difference"]) == ("better", pytest.approx(BRIGHTER * 2 / 255, rel=1e-4))


def test_published_frames_and_masks_are_those_of_the_golden(goldens):
    golden = json.loads((goldens / "xfusion/frames.json").read_text())
    for case in golden["virtual"]:
        frames = Cine.from_array(brightening(case["num_images"]), fps=1000)
        period = 2 * case["hi_frame_sep"]
        pair = virtual(frames, VirtualOptions(ratio=period))
        told = {"ratio": period, "fast_step": case["lo_frame_sep"], "last": case["gt_size_2"]}
        trial = published_trial(pair.coarse, pair.calibration, pair.truth, **told)
        possible = [row for row in case["rows"] if row["hr_in_range"]]
        assert [(one.frame, list(one.pick.fast), int(one.mask)) for one in trial.targets] == [
            (row["idx"], row["lr"], row["mask"]) for row in possible
        ]
        for one, row in zip(trial.targets, possible, strict=True):
            assert trial.sharp.times[list(one.pick.sharp)].tolist() == pair.truth.times[row["hr"]].tolist()
            assert one.known >= (row["idx"] in row["hr"])
        assert trial.impossible == len(case["rows"]) - len(possible)


def test_published_protocol_on_the_published_folder(dataset, tmp_path):
    outcome = evaluated(dataset, tmp_path / "out", protocol="xfusion", ratios=(2.0, 10.0), last=24)
    counts = outcome.summary["counts"]
    assert (counts["frames"], counts["masked"]) == (48, 12 + 3)  # as in the golden
    told = {(one["ratio"], one["method"]): one for one in outcome.summary["published"]}
    hold = told[2.0, "hold"]
    assert (hold["frames"], hold["masked"]) == (24, 12)
    # marked frames are the sharp ones given, without error: their mean is infinite, and the error is halved
    assert hold["published_psnr"] == "inf"
    assert hold["psnr"] == pytest.approx(20 * math.log10(255 / BRIGHTER))
    assert (hold["aad"], hold["published_aad"]) == (pytest.approx(BRIGHTER), pytest.approx(BRIGHTER / 2))
    linear = told[10.0, "temporal-linear"]
    assert (linear["aad"], linear["psnr"]) == (0, 100)
    row = next(row for row in rows_of(tmp_path / "out") if (row["ratio"], row["frame"]) == ("10.0", "24"))
    assert (row["mask"], row["known"]) == ("1", "1")


def test_frames_that_the_published_program_fails_on_are_counted(dataset, tmp_path):
    outcome = evaluated(dataset, tmp_path / "out", protocol="xfusion", ratios=(10.0,), last=25)
    assert outcome.summary["counts"]["frames"] == 19
    assert any("5 frames have no second sharp frame" in note for note in outcome.summary["notes"])


def test_our_protocol_takes_published_folders_too(dataset, tmp_path):
    summary = evaluated(dataset, tmp_path / "out").summary
    assert summary["counts"] == {
        "runs": 1, "frames": 18, "masked": 0, "left_out_as_known": 0, "rows": 36, "failed": 0
    }  # fmt: skip
    assert any("counted in frames" in note for note in summary["notes"])


def test_what_is_averaged_into_sharp_frames_is_not_scored():
    frames = Cine.from_array(brightening(13), fps=1000)
    pair = virtual(frames, VirtualOptions(ratio=4, exposure=2))
    methods = [create("hold")]
    trial = unseen_trial(pair.coarse, pair.sharp, pair.calibration, pair.truth, methods, exposure=2)
    assert [one.frame for one in trial.targets] == [2, 3, 6, 7]
    with pytest.raises(InputError, match="no frame lies between"):
        unseen_trial(pair.coarse, pair.sharp, pair.calibration, pair.truth, methods, exposure=4)


def interrupted(path, output, *, after, **options):
    """Leave what an evaluation leaves that is stopped after so many frames."""
    told = FusionEvaluationOptions(**{"ratios": (4.0, 6.0), **options})
    steps = iter(range(1, 1000))

    def stop(what, done, total):
        if next(steps) == after:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="what was made so far is kept"):
        evaluate_fusion([CameraFiles(path=path)], output, told, progress=stop)


def test_a_killed_evaluation_goes_on_and_equals_a_whole_one(run, tmp_path):
    told = {"methods": (), "ratios": (4.0, 6.0)}
    whole = evaluated(run, tmp_path / "whole", **told)
    interrupted(run, tmp_path / "out", after=12)
    assert len(list((tmp_path / "out.partial").glob("*.npz"))) == 12
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="interrupted"):
        evaluated(run, tmp_path / "out", **told)
    with pytest.raises(OutputError, match="other options"):
        evaluated(run, tmp_path / "out", resume=True)
    evaluated(run, tmp_path / "out", **told, resume=True)
    for name in ("scores.csv", "summary.json", "summary.md"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "out.partial").exists()
    again = evaluated(run, tmp_path / "out", **told, resume=True)
    assert again.notes and again.summary == whole.summary


def test_kept_scores_are_not_made_again(run, tmp_path):
    interrupted(run, tmp_path / "out", after=2, methods=("hold",))
    first, second = sorted((tmp_path / "out.partial").glob("*.npz"))
    np.savez(first, values=np.array([[1.0, 2.0, 3.0]]))
    second.write_bytes(second.read_bytes()[:50])
    evaluated(run, tmp_path / "out", methods=("hold",), ratios=(4.0, 6.0), resume=True)
    rows = rows_of(tmp_path / "out")
    assert [rows[0][name] for name in ("psnr", "ssim", "mae")] == ["1.0", "2.0", "3.0"]
    assert float(rows[1]["mae"]) == pytest.approx(2 * BRIGHTER / 255, rel=1e-4)  # a damaged part is made again


def test_a_run_that_fails_stops_no_other(run, tmp_path):
    dead = brightening(13)
    dead[6] = 7
    io.write(Cine.from_array(dead, fps=1000), tmp_path / "dead.npz")
    told = FusionEvaluationOptions(methods=("hold",), ratios=(4.0,))
    files = [CameraFiles(path=tmp_path / "dead.npz"), CameraFiles(path=run)]
    outcome = evaluate_fusion(files, tmp_path / "out", told)
    (failure,) = outcome.failures
    assert "dead, ratio 4" in failure.message and "is dead" in failure.message and "\n" not in failure.message
    assert {row["run"] for row in rows_of(tmp_path / "out")} == {"run"}
    alone = evaluate_fusion(files[:1], tmp_path / "none", told)
    assert alone.output is None and len(alone.failures) == 1
    assert not list(tmp_path.glob("none*"))


def test_baselines_stand_beside_what_is_named():
    baselines = ["hold", "bicubic", "temporal-linear", "flow"]
    assert list(methods_of((), ())) == baselines
    assert list(methods_of(("block-fusion",), ())) == [*baselines, "block-fusion"]
    assert list(methods_of(("flow", "hold"), ())) == ["flow", "hold"]
    with pytest.raises(UsageError, match="named twice"):
        methods_of(("hold", "hold"), ())
    with pytest.raises(UsageError, match="0 weights for 1 methods"):
        methods_of(("edvr-stf",), ())


@dataclass(frozen=True)
class Stubborn:
    """A method of others that chooses frames itself."""

    name: ClassVar[str] = "stubborn"

    def prepare(self, coarse, sharp, calibration):
        return self

    def describe(self):
        return {"name": self.name}


def test_methods_that_choose_frames_themselves_are_refused_where_frames_are_published():
    pair = virtual(Cine.from_array(brightening(9), fps=1000), VirtualOptions(ratio=4))
    trial = published_trial(pair.coarse, pair.calibration, pair.truth, ratio=4)
    with pytest.raises(UsageError, match="stubborn chooses frames itself"):
        trial.state(Stubborn())
    replace(trial, protocol="unseen").state(Stubborn())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ratios": ()}, "ratios"),
        ({"ratios": (4.0, 4.0)}, "ratios"),
        ({"resamples": 5}, "too few"),
        ({"most": 0}, "at most 0"),
        ({"last": 20}, "published protocol"),
        ({"protocol": "xfusion", "most": 3}, "takes every frame"),
    ],
)
def test_options_out_of_range_are_named(options, said):
    with pytest.raises(UsageError, match=said):
        FusionEvaluationOptions(**options)


@pytest.mark.parametrize("ratio", [3.0, 2.5, 1.0])
def test_published_ratios_are_even(run, tmp_path, ratio):
    outcome = evaluated(run, tmp_path / "out", protocol="xfusion", ratios=(ratio,))
    assert "not of the published protocol" in outcome.failures[0].message


def test_nothing_is_compared_without_rows():
    assert compared([], ("psnr",)) == ([], [])
