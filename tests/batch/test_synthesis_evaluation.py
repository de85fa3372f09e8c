"""Evaluations of synthesis from files to tables: predictions beside targets, and acquired volumes held out."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanweave import io
from scanweave.batch.inputs import ReadOptions
from scanweave.batch.synthesis import SynthesisOptions, synthesize_files
from scanweave.batch.synthesis_evaluation import SynthesisEvaluationOptions, evaluate_synthesis
from scanweave.batch.synthesis_evaluation_cases import Measuring, held_out_of, methods_of
from scanweave.batch.synthesis_subjects import subjects_of
from scanweave.cli import main
from scanweave.errors import InputError, OutputError, UsageError
from scanweave.synthesis.held_out import HeldOut
from scanweave.volume import Volume

SHAPE = (9, 12, 13)


def volume(seed: int, *, mask: bool = False) -> Volume:
    """Smooth stuff in a box, or the box."""
    voxels = np.zeros(SHAPE, np.int16)
    inside = (slice(1, 8), slice(2, 10), slice(2, 11))
    phase = np.random.default_rng(seed).random(3) * 3
    waves = sum(np.sin(index / 2 + at) for index, at in zip(np.indices(SHAPE), phase, strict=True))
    voxels[inside] = 1 if mask else (400 + 60 * waves[inside]).astype(np.int16)
    return Volume.from_array(voxels, spacing=(1, 1, 1))


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Three people with T1 and T2, a folder each."""
    folder = tmp_path_factory.mktemp("people")
    for k in range(3):
        (folder / f"p{k}").mkdir()
        for number, contrast in enumerate(("T1", "T2")):
            io.write(volume(2 * k + number), folder / f"p{k}" / f"p{k}_{contrast}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def masks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("masks")
    for k in range(3):
        io.write(volume(k, mask=True), folder / f"p{k}_mask.nii.gz")
    return folder


def rows_in(output: Path) -> list[dict[str, str]]:
    with (output / "scores.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_slices_held_out_beside_all_baselines(people, masks, tmp_path):
    options = SynthesisEvaluationOptions(tasks=("ixi/sr_T1_2x",), masks=masks)
    outcome = evaluate_synthesis([people], tmp_path / "out", options)
    assert outcome.failures == ()
    rows = rows_in(tmp_path / "out")
    assert {(row["subject"], row["method"]) for row in rows} == {
        (f"p{k}", name) for k in range(3) for name in ("nearest", "linear", "b-spline")
    }
    assert all(row["task"] == "sr_T1_2x" and 5 < float(row["psnr"]) < 80 for row in rows)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {one["outcome"] for one in summary["differences"]} == {"too few"}
    means = {entry["method"]: entry["psnr"]["mean"] for entry in summary["table"]}
    assert means["b-spline"] > means["nearest"]
    assert "Too few subjects" in summary["notes"][-1]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "b-spline" in page and "sr_T1_2x" in page
    assert len(json.loads((tmp_path / "out" / "plan.json").read_text())["inputs"]) == 6


def test_another_contrast_learns_from_others_alone(people, tmp_path):
    options = SynthesisEvaluationOptions(sources=("T1",), target="T2", examples=(people,), measuring=Measuring())
    shutil.copytree(people / "p0", tmp_path / "in" / "p0")
    outcome = evaluate_synthesis([tmp_path / "in"], tmp_path / "out", options)
    assert [row["method"] for row in rows_in(tmp_path / "out")] == ["histogram-matched"]
    # a small network needs larger slices than these, and the other method is scored all the same
    assert [failure.case for failure in outcome.failures] == ["p0, regression"]
    assert "48 x 48" in outcome.failures[0].message
    learned = outcome.summary["table"][0]["psnr"]["mean"]
    alone = evaluate_synthesis([tmp_path / "in"], tmp_path / "alone", replace(options, examples=(tmp_path / "in",)))
    assert alone.failures == ()  # there is nobody else to learn from: a plain copy
    assert learned != alone.summary["table"][0]["psnr"]["mean"]


def test_predictions_are_scored_against_their_targets(people, masks, tmp_path):
    for name, noise in (("good", 2), ("bad", 40)):
        (tmp_path / name).mkdir()
        for k in range(3):
            truth = io.read(people / f"p{k}" / f"p{k}_T2.nii.gz", as_="volume")
            noisy = truth.voxels + noise * np.random.default_rng(k).normal(size=SHAPE)
            made = truth.with_voxels(noisy.astype(np.float32))
            io.write(made, tmp_path / name / f"p{k}_predictions0.nii.gz")
            io.write(made, tmp_path / name / f"p{k}_predictions1.nii.gz")
    options = SynthesisEvaluationOptions(targets=people, target="T2", masks=masks)
    outcome = evaluate_synthesis([tmp_path / "good", tmp_path / "bad"], tmp_path / "out", options)
    table = {entry["method"]: entry for entry in outcome.summary["table"]}
    assert {name: entry["subjects"] for name, entry in table.items()} == {"good": 3, "bad": 3}
    assert table["good"]["psnr"]["mean"] == pytest.approx(table["bad"]["psnr"]["mean"] + 20 * np.log10(20), abs=0.1)
    assert table["bad"]["mae"]["mean"] == pytest.approx(40 * np.sqrt(2 / np.pi), rel=0.1)


def test_side_cars_tell_the_units_of_made_contrasts(people, tmp_path):
    reading = ReadOptions()
    subjects = subjects_of([people / "p0" / "p0_T1.nii.gz"], (), reading)
    synthesize_files(
        subjects,
        tmp_path / "made" / "p0_T2.nii.gz",
        SynthesisOptions(to="T2", method="histogram-matched"),
        reading=reading,
    )
    (tmp_path / "targets").mkdir()
    shutil.copy(people / "p0" / "p0_T1.nii.gz", tmp_path / "targets" / "p0_T2.nii.gz")  # what a copy is best at
    found = {}
    for units in ("auto", "target"):
        options = SynthesisEvaluationOptions(targets=tmp_path / "targets", measuring=Measuring(units=units))
        outcome = evaluate_synthesis([tmp_path / "made"], tmp_path / units, options)
        found[units] = outcome.summary["table"][0]["psnr"]["mean"]
    assert found["auto"] > 40 > found["target"]


def test_the_published_protocol_from_files(people, tmp_path):
    options = SynthesisEvaluationOptions(tasks=("sr_T1_2x",), measuring=Measuring(protocol="published"))
    outcome = evaluate_synthesis([people / "p0"], tmp_path / "out", options)
    assert outcome.summary["measures"] == ["psnr3d", "ssim3d", "mae", "psnr_slice", "ssim_slice"]
    assert "background counts" in outcome.summary["notes"][0]


def test_dice_of_any_segmenter(people, tmp_path):
    measuring = Measuring(segment=lambda image: (image > 0.5).astype(int))
    options = SynthesisEvaluationOptions(sources=("T1",), target="T1", spacing=2, measuring=measuring)
    outcome = evaluate_synthesis([people / "p1"], tmp_path / "out", options)
    assert all(0.5 < entry["dice"]["mean"] <= 1 for entry in outcome.summary["table"])


def test_one_that_fails_stops_no_other(people, tmp_path):
    shutil.copytree(people, tmp_path / "in")
    (tmp_path / "in" / "p1" / "p1_T1.nii.gz").unlink()
    options = SynthesisEvaluationOptions(sources=("T1",), target="T2")
    outcome = evaluate_synthesis([tmp_path / "in"], tmp_path / "out", options)
    assert [failure.case for failure in outcome.failures] == ["p1"]
    assert {row["subject"] for row in rows_in(tmp_path / "out")} == {"p0", "p2"}
    shutil.rmtree(tmp_path / "in" / "p0")
    shutil.rmtree(tmp_path / "in" / "p2")
    nothing = evaluate_synthesis([tmp_path / "in"], tmp_path / "none", options)
    assert (nothing.output, (tmp_path / "none").exists()) == (None, False)


def test_the_command(people, masks, tmp_path, capsys):
    words = ["evaluate", "synthesis", str(people / "p0"), "-o", str(tmp_path / "out"), "--task", "sr_T1_2x,sr_T2_4x"]
    assert main([*words, "--masks", str(masks / "p0_mask.nii.gz")]) == 0
    said = capsys.readouterr()
    assert "b-spline" in said.out and "sr_T2_4x" in said.out
    assert main(words) == 5
    assert main([*words, "--overwrite", "--json", "--profile", "box"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["rows"] == 6
    assert main(["evaluate", "synthesis", str(people), "-o", str(tmp_path / "no")]) == 2
    assert not (tmp_path / "no").exists()


def test_a_published_file_names_task_and_weights(people, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cmsr_T1_T2_4x.yml").write_text(
        "loaders: {raw_internal_path_in: [T1], raw_internal_path_out: [T1], thickness: [6]}\n"
    )
    words = ["evaluate", "synthesis", str(people / "p0"), "-o", "out", "--published", "cmsr_T1_T2_4x.yml"]
    assert main([*words, "--set", "epoch", "best"]) != 0  # nobody trained it
    said = capsys.readouterr().err
    assert "its name holds" in said
    assert "best_net_G_ema.pth" in said
    assert main([*words, "--task", "sr_T1_2x"]) == 2
    assert main([*words[:5], "--task", "sr_T1_2x", "--set", "epoch", "best"]) == 2


def test_what_is_held_out_has_one_name():
    assert held_out_of(["adni/cmsr_flair_t1_5x"]) == [HeldOut(sources=("FLAIR",), target="T1", spacing=5)]
    assert held_out_of([], sources=["t1", "flair"], target="T2")[0].name == "translation_T1+FLAIR_T2"
    for names, target in (([], None), (["sr_T1_2x"], "T2")):
        with pytest.raises(UsageError, match="a task is named, or a target"):
            held_out_of(names, target=target)


def test_bad_options_are_refused(people, tmp_path):
    with pytest.raises(UsageError, match="nothing is made here"):
        SynthesisEvaluationOptions(targets=people, tasks=("sr_T1_2x",))
    with pytest.raises(UsageError, match="knows no masks"):
        SynthesisEvaluationOptions(masks=people, measuring=Measuring(protocol="published"))
    with pytest.raises(UsageError, match="1 weights for 0 methods"):
        methods_of(["linear"], [Path("w.pth")])
    with pytest.raises(OutputError, match="inside the input"):
        evaluate_synthesis([people], people / "out", SynthesisEvaluationOptions(tasks=("sr_T1_2x",)))
    (tmp_path / "made").mkdir()
    io.write(volume(0), tmp_path / "made" / "stranger.nii.gz")
    with pytest.raises(InputError, match="no target named 'stranger'"):
        evaluate_synthesis(
            [tmp_path / "made"], tmp_path / "out", SynthesisEvaluationOptions(targets=people, target="T2")
        )
    with pytest.raises(UsageError, match="say which contrast"):
        evaluate_synthesis([tmp_path / "made"], tmp_path / "out", SynthesisEvaluationOptions(targets=people))
