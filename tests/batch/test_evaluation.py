"""Evaluations from files to tables: complete, consistent, resumable, and shared among processes."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from scanweave import io
from scanweave.batch.evaluation import CASES, evaluate
from scanweave.batch.evaluation_cases import BASELINES, Share, methods_of
from scanweave.batch.evaluation_options import EvaluationOptions, MethodOptions, RunScoring, SetScoring
from scanweave.batch.gathering import SetInputs
from scanweave.batch.preparation import prepare_set
from scanweave.batch.prepare_options import PrepareOptions
from scanweave.cine import Cine
from scanweave.errors import InputError, Interrupted, OutputError, UsageError
from scanweave.simulate import EchoConfig, cine, draw

QUICK = EvaluationOptions(runs=RunScoring(gaps=(2, 3), regions="off"), resamples=200)
HIDDEN = 3 + 2 * 2  # of 5 frames at gaps 2 and 3


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Five simulated runs of 5 frames of five patients."""
    folder = tmp_path_factory.mktemp("runs")
    for k in range(5):
        run = cine(draw(EchoConfig(size=(24, 32)), generator=np.random.default_rng(k))).select(range(5))
        (folder / f"p{k}").mkdir()
        io.write(run, folder / f"p{k}" / "run.npz")
    return folder


@pytest.fixture
def three(runs, tmp_path) -> Path:
    """Three of them, to be spoilt."""
    for k in range(3):
        shutil.copytree(runs / f"p{k}", tmp_path / "in" / f"p{k}")
    return tmp_path / "in"


def rows_of(output: Path) -> list[dict[str, str]]:
    with (output / "scores.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def summary_of(output: Path) -> dict:
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads((output / "summary.json").read_text(), parse_constant=refuse)


def keys_of(output: Path) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in ("run", "method", "gap", "first", "hidden")) for row in rows_of(output)]


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory) -> Path:
    """The evaluation of all five in one process."""
    output = tmp_path_factory.mktemp("whole") / "out"
    evaluate([runs], output, QUICK)
    return output


def test_every_baseline_every_frame_once(whole):
    keys = keys_of(whole)
    assert len(keys) == len(set(keys)) == 5 * HIDDEN * len(BASELINES)
    assert {key[1] for key in keys} == set(BASELINES)
    assert {path.name for path in whole.iterdir()} == {"scores.csv", "summary.json", "report.html", "plan.json"}
    assert not whole.with_name("out.partial").exists()


def test_rows_and_summary_agree(whole):
    rows, told = rows_of(whole), summary_of(whole)
    assert told["counts"] == {"cases": 5, "failed": 0, "runs": 5, "patients": 5, "rows": len(rows)}
    for entry in told["table"]:
        group = [row for row in rows if (int(row["gap"]), row["method"]) == (entry["gap"], entry["method"])]
        assert entry["count"] == len(group)
        for measure in ("psnr_moving", "ssim_imaged", "mae_frame", "step_error"):
            wanted = np.quantile([float(row[measure]) for row in group], (0.25, 0.5, 0.75))
            np.testing.assert_allclose(entry[measure], wanted, rtol=1e-12)
    assert len(told["per_run"]) == 5 * 2 * len(BASELINES)
    assert {(entry["gap"], entry["phase"]) for entry in told["per_phase"]} == {(2, 0), (2, 1), (3, 0), (3, 1)}
    assert {(entry["gap"], entry["place"]) for entry in told["per_place"]} == {(2, 1), (3, 1), (3, 2)}
    hold = next(one for one in told["differences"] if (one["method"], one["gap"]) == ("hold", 2))
    assert hold["patients"] == 5
    assert hold["interval"][0] <= hold["difference"] <= hold["interval"][1]


def test_patients_are_numbered_not_named(whole, runs):
    assert {row["patient"] for row in rows_of(whole)} == {f"patient_{k:04d}" for k in range(1, 6)}
    assert {row["run"] for row in rows_of(whole)} == {f"p{k}/run.npz" for k in range(5)}


def test_the_page_shows_result_and_tables(whole):
    page = (whole / "report.html").read_text()
    for words in (
        "Against the best baseline",
        "Only baselines were scored",
        "too few",
        "By phase and place",
        "Flicker",
    ):
        assert words in page


def test_a_prepared_set_is_scored_by_its_test_split(hospital, tmp_path):
    made = prepare_set(SetInputs((hospital,)), tmp_path / "set", PrepareOptions(split=(1, 1, 1)))
    options = EvaluationOptions(runs=RunScoring(gaps=(8,), max_hidden=7))
    evaluate([tmp_path / "set"], tmp_path / "out", options)
    told, rows = summary_of(tmp_path / "out"), rows_of(tmp_path / "out")
    assert {row["run"].split("/")[0] for row in rows} == {"test"}
    assert told["counts"]["patients"] == made.patients["test"]
    assert told["counts"]["cases"] == made.clips["test"]
    assert all(0 < float(row["mae_moving"]) < 4095 for row in rows)


def test_perfect_frames_are_infinite_and_safe(tmp_path):
    ramp = np.arange(5, dtype=np.uint8)[:, None, None] * np.full((16, 16), 10, np.uint8)
    io.write(Cine.from_array(ramp, fps=10), tmp_path / "ramp.npz")
    evaluate([tmp_path / "ramp.npz"], tmp_path / "out", EvaluationOptions(runs=RunScoring(gaps=(2,), regions="off")))
    linear = [row for row in rows_of(tmp_path / "out") if row["method"] == "linear"]
    assert [float(row["psnr_frame"]) for row in linear] == [math.inf] * 3
    told = summary_of(tmp_path / "out")
    entry = next(entry for entry in told["table"] if entry["method"] == "linear")
    assert entry["psnr_frame"] == ["inf", "inf", "inf"]
    assert [float(value) for value in entry["psnr_frame"]] == [math.inf] * 3
    assert any("single patient" in note for note in told["notes"])


# --- resuming ---------------------------------------------------------------------------------------------------------


def note_into(seen):
    """Return a progress callback that keeps the numbers of the cases that are done."""
    return lambda what, done, total: seen.append(done) if what == CASES else None


def stop_after(count):
    def progress(what, done, total):
        if (what, done) == (CASES, count):
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_evaluation_goes_on(runs, whole, tmp_path):
    output, seen = tmp_path / "out", []
    with pytest.raises(Interrupted, match="scores of 2 of 5 are kept"):
        evaluate([runs], output, QUICK, progress=stop_after(2))
    assert not output.exists()
    with pytest.raises(OutputError, match="--resume"):
        evaluate([runs], output, QUICK)
    outcome = evaluate([runs], output, QUICK, resume=True, progress=note_into(seen))
    assert seen == [3, 4, 5]
    assert outcome.failures == ()
    assert (output / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
    again = evaluate([runs], output, QUICK, resume=True)
    assert "left as it is" in again.notes[0]
    with pytest.raises(OutputError, match="exists already"):
        evaluate([runs], output, QUICK)


def test_scores_of_other_options_or_data_are_not_mixed_in(three, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(Interrupted):
        evaluate([three], output, QUICK, progress=stop_after(2))
    other = EvaluationOptions(runs=RunScoring(gaps=(2,), regions="off"))
    with pytest.raises(OutputError, match="other methods or options"):
        evaluate([three], output, other, resume=True)
    shutil.copy(three / "p2" / "run.npz", three / "p0" / "run.npz")
    seen = []
    evaluate([three], output, QUICK, resume=True, progress=note_into(seen))
    assert seen == [2, 3]
    first, last = ([row for row in rows_of(output) if row["run"].startswith(name)] for name in ("p0", "p2"))
    assert [row["psnr_moving"] for row in first] == [row["psnr_moving"] for row in last]


def test_a_finished_evaluation_of_other_data_is_not_taken_for_this_one(three, tmp_path):
    output = tmp_path / "out"
    evaluate([three], output, QUICK)
    shutil.copy(three / "p2" / "run.npz", three / "p0" / "run.npz")
    with pytest.raises(OutputError, match="exists already"):
        evaluate([three], output, QUICK, resume=True)
    evaluate([three], output, QUICK, resume=True, overwrite=True)
    assert "left as it is" in evaluate([three], output, QUICK, resume=True).notes[0]


KILLED = """
import os, signal, sys
from pathlib import Path
from scanweave.batch.evaluation import CASES, evaluate
from scanweave.batch.evaluation_options import EvaluationOptions, RunScoring
last = int(sys.argv[3])
def progress(what, done, total):
    if (what, done) == (CASES, last):
        os.kill(os.getpid(), signal.SIGKILL)
options = EvaluationOptions(runs=RunScoring(gaps=(2, 3), regions="off"), resamples=200)
outcome = evaluate([Path(sys.argv[1])], Path(sys.argv[2]), options, progress=progress)
print(outcome.output is not None)
"""


def start(runs, output, *, killed_after=0, rank=None, count=None):
    environment = os.environ | ({} if rank is None else {"RANK": str(rank), "WORLD_SIZE": str(count)})
    words = [sys.executable, "-c", KILLED, str(runs), str(output), str(killed_after)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_evaluation_loses_at_most_one_run(runs, whole, tmp_path):
    process = start(runs, tmp_path / "out", killed_after=3)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    seen = []
    evaluate([runs], tmp_path / "out", QUICK, resume=True, progress=note_into(seen))
    assert seen == [4, 5]
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


def test_a_merge_that_was_killed_is_done_again(runs, whole, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(Interrupted):
        evaluate([runs], output, QUICK, progress=stop_after(5))
    output.with_name("out.partial").rename(output.with_name("out.partial.merging"))
    evaluate([runs], output, QUICK, resume=True)
    assert (output / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- processes --------------------------------------------------------------------------------------------------------


def test_processes_score_every_run_exactly_once(runs, whole, tmp_path):
    """Five runs on two processes at the same time: shares of three and two, and one of them writes."""
    output = tmp_path / "out"
    processes = [start(runs, output, rank=rank, count=2) for rank in range(2)]
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert sorted(said.strip() for said, _ in told) == ["False", "True"]
    assert (output / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
    assert not output.with_name("out.partial").exists()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_the_last_to_finish_writes(runs, whole, tmp_path, monkeypatch, order):
    outputs = []
    for rank in order:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        outputs.append(evaluate([runs], tmp_path / "out", QUICK).output)
    assert outputs == [None, None, tmp_path / "out"]
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


def test_more_processes_than_runs(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    written = []
    for rank in (0, 1, 2):
        monkeypatch.setenv("RANK", str(rank))
        written.append(evaluate([runs / "p0", runs / "p1"], tmp_path / "out", QUICK).output)
    assert written == [None, tmp_path / "out", None]


@pytest.mark.parametrize(("rank", "count"), [("2", "2"), ("-1", "2"), ("a", "2"), ("0", "")])
def test_ranks_that_make_no_sense_are_refused(monkeypatch, rank, count):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(UsageError, match="RANK"):
        Share.of_environment()


# --- bad input --------------------------------------------------------------------------------------------------------


def test_a_damaged_run_among_many_is_named_and_the_others_are_scored(three, tmp_path):
    data = (three / "p1" / "run.npz").read_bytes()
    (three / "p1" / "run.npz").write_bytes(data[: len(data) // 2])
    outcome = evaluate([three], tmp_path / "out", QUICK)
    assert [failure.exit_code for failure in outcome.failures] == [3]
    assert "p1" in outcome.failures[0].message
    assert {row["run"] for row in rows_of(tmp_path / "out")} == {"p0/run.npz", "p2/run.npz"}
    assert evaluate([three], tmp_path / "out", QUICK, resume=True).failures == outcome.failures
    told = summary_of(tmp_path / "out")
    assert (told["counts"]["cases"], told["counts"]["failed"]) == (3, 1)
    assert "could not be scored" in (tmp_path / "out" / "report.html").read_text()


def test_a_failed_run_is_tried_again(three, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    whole_file = (three / "p2" / "run.npz").read_bytes()
    (three / "p2" / "run.npz").write_bytes(whole_file[:100])
    assert len(evaluate([three], tmp_path / "out", QUICK).failures) == 1
    (three / "p2" / "run.npz").write_bytes(whole_file)
    assert evaluate([three], tmp_path / "out", QUICK, resume=True).failures == ()
    monkeypatch.setenv("RANK", "1")
    assert evaluate([three], tmp_path / "out", QUICK, resume=True).failures == ()
    assert summary_of(tmp_path / "out")["counts"]["failed"] == 0


def test_where_nothing_can_be_scored_nothing_is_written(tmp_path):
    io.write(Cine.from_array(np.zeros((2, 16, 16), np.uint8), fps=10), tmp_path / "short.npz")
    outcome = evaluate([tmp_path / "short.npz"], tmp_path / "out", QUICK)
    assert outcome.output is None
    assert [failure.exit_code for failure in outcome.failures] == [3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["short.npz"]


@pytest.fixture
def sequences(tmp_path) -> Path:
    """A MoSt-DSA set of three sequences of one frame between; the pixels of one of them end too early."""
    folder = tmp_path / "set"
    for k in range(3):
        (folder / f"s{k}").mkdir(parents=True)
        for n, name in enumerate(("frame_1", "frame_2_gt", "frame_3")):
            frame = np.random.default_rng(10 * k + n).integers(0, 255, (16, 32)).astype(np.uint8)
            cv2.imwrite(str(folder / f"s{k}" / f"{name}.png"), frame)
    (folder / "TestList.txt").write_text("s0\ns1\ns2\n")
    spoilt = folder / "s1" / "frame_2_gt.png"
    spoilt.write_bytes(spoilt.read_bytes()[:120])
    return folder


def test_clips_that_two_sets_name_alike_are_kept_apart(tmp_path):
    for k, home in enumerate((tmp_path / "one", tmp_path / "two")):
        (home / "s0").mkdir(parents=True)
        for n, name in enumerate(("frame_1", "frame_2_gt", "frame_3")):
            frame = np.random.default_rng(10 * k + n).integers(0, 255, (24, 32)).astype(np.uint8)
            cv2.imwrite(str(home / "s0" / f"{name}.png"), frame)
        (home / "TestList.txt").write_text("s0\n")
    options = EvaluationOptions(runs=RunScoring(gaps=(2,), regions="off"), resamples=200)
    told = evaluate([tmp_path / "one", tmp_path / "two"], tmp_path / "out", options).summary
    assert (told["counts"]["runs"], told["counts"]["patients"]) == (2, 2)
    assert {entry["run"] for entry in told["per_run"]} == {"one/s0", "two/s0"}
    assert {one["frames"] for one in told["differences"]} == {2}


def test_a_sample_that_fails_is_an_error_by_name(sequences, tmp_path):
    options = EvaluationOptions(protocol="most-dsa")
    with pytest.raises(InputError, match=r"frame_2_gt\.png") as caught:
        evaluate([sequences], tmp_path / "out", options)
    assert "s1" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_keeping_going_records_what_failed(sequences, tmp_path):
    outcome = evaluate([sequences], tmp_path / "out", EvaluationOptions(protocol="most-dsa", keep_going=True))
    assert [failure.case for failure in outcome.failures] == ["s1"]
    told = summary_of(tmp_path / "out")
    assert {name: one["samples"] for name, one in told["reported"].items()} == dict.fromkeys(BASELINES, 2)
    rows = [row for row in rows_of(tmp_path / "out") if row["method"] == "linear"]
    wanted = np.mean([float(row["psnr"]) for row in rows])
    assert told["reported"]["linear"]["psnr"] == pytest.approx(wanted)
    (file,) = (tmp_path / "out" / "published" / "linear").iterdir()
    assert file.read_text().splitlines()[1] == f"Average PSNR: {told['reported']['linear']['psnr']}"


@pytest.mark.parametrize(
    ("protocol", "split", "counts"), [("super-slomo", "validation", [9] * 11), ("triplets", "test", [3, 3])]
)
def test_the_other_published_protocols_to_the_end(tmp_path, protocol, split, counts):
    for k, count in enumerate(counts):
        folder = tmp_path / "set" / split / str(k)
        folder.mkdir(parents=True)
        for n in range(count):
            frame = np.random.default_rng(100 * k + n).integers(0, 255, (16, 16, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / f"{n:06d}.png"), frame)
    evaluate([tmp_path / "set"], tmp_path / "out", EvaluationOptions(protocol=protocol))
    told, rows = summary_of(tmp_path / "out"), rows_of(tmp_path / "out")
    assert [row["run"] for row in rows if row["method"] == "hold"] == [f"{split}/{k}" for k in range(len(counts))]
    assert {one["samples"] for one in told["reported"].values()} == {len(counts)}
    assert {row["batch"] for row in rows} == ({"0", "1"} if protocol == "super-slomo" else {""})
    assert "As published" in (tmp_path / "out" / "report.html").read_text()


def test_scores_of_another_vgg_are_not_taken_for_these(tmp_path):
    folder = tmp_path / "set" / "validation" / "0"
    folder.mkdir(parents=True)
    for n in range(9):
        cv2.imwrite(str(folder / f"{n:06d}.png"), np.full((16, 16), 10 * n, np.uint8))
    vgg = tmp_path / "vgg16.pth"
    options = EvaluationOptions(protocol="super-slomo", samples=SetScoring(vgg=vgg))
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, vgg)
    evaluate([tmp_path / "set"], tmp_path / "out", options)
    assert "left as it is" in evaluate([tmp_path / "set"], tmp_path / "out", options, resume=True).notes[0]
    torch.save({"features.0.weight": torch.ones(64, 3, 3, 3)}, vgg)
    with pytest.raises(OutputError, match="exists already"):
        evaluate([tmp_path / "set"], tmp_path / "out", options, resume=True)


def test_an_output_inside_an_input_is_refused(three):
    with pytest.raises(OutputError, match="inside the input"):
        evaluate([three], three / "out", QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": RunScoring(gaps=(2, 1))}, "below 2"),
        ({"runs": RunScoring(gaps=())}, "no gap"),
        ({"runs": RunScoring(max_hidden=0)}, "at most 0"),
        ({"samples": SetScoring(vgg=Path("v"))}, "--vgg belongs to protocol super-slomo"),
        ({"samples": SetScoring(inter_frames=1)}, "--inter-frames belongs"),
        ({"protocol": "most-dsa", "runs": RunScoring(gaps=(2,))}, "not of most-dsa"),
        ({"protocol": "super-slomo", "samples": SetScoring(crop=(0, 4))}, "crop of 0 x 4"),
        ({"resamples": 3}, "too few"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(UsageError, match=message):
        EvaluationOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": ("nothing",)}, "nothing"),
        ({"method": ("linear", "linear")}, "named twice"),
        ({"weights": (Path("a.pkl"),)}, "1 weights for 0 methods"),
        ({"method": ("most-dsa", "super-slomo"), "weights": (Path("a.pkl"),)}, "1 weights for 2 methods"),
        ({"method": ("linear",), "tta": True}, "no network is scored: --tta cannot be heeded"),
        ({"method": ("linear",), "mean": (0.1, 0.1, 0.1)}, "--mean cannot be heeded"),
    ],
)
def test_methods_that_cannot_be_scored(options, message):
    with pytest.raises(UsageError, match=message):
        methods_of(MethodOptions(**options), Share())
