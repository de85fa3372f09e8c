"""What rows of scores say together: paired differences over patients, quartiles, and the published means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scanweave.interpolation.comparison import (
    differences,
    most_dsa_file,
    most_dsa_report,
    super_slomo_report,
    tabulated,
    triplet_report,
)
from scanweave.interpolation.evaluate import Row


def row(method="hold", *, patient="a", gap=2, hidden=1, first=0, run="r", batch=None, **values):
    return Row(run, patient, method, gap, first % gap, hidden, first, first + gap, 0.5, values, batch)


def patients(gains, frames=3):
    """Rows of a network that gains so many dB on each patient's frames, over hold; linear is worse than both."""
    rows = []
    for k, gain in enumerate(gains):
        for n in range(frames):
            place = {"patient": f"p{k}", "run": f"r{k}", "first": n, "hidden": n + 1}
            rows += [row("net", psnr=30 + k + gain, **place), row("hold", psnr=30.0 + k, **place)]
            rows += [row("linear", psnr=20.0 + k, **place)]
    return rows


def test_a_difference_is_that_of_the_same_frames_to_the_best_baseline():
    (net, hold, linear) = differences(patients([1.0] * 8), ["psnr"], baselines=["hold", "linear"])
    assert (net.method, net.baseline, net.difference) == ("net", "hold", pytest.approx(1))
    assert net.interval == pytest.approx((1, 1))
    assert (net.better, net.patients, net.frames, net.outcome) == (1, 8, 24, "better")
    assert (hold.method, hold.baseline, hold.difference) == ("hold", "linear", pytest.approx(10))
    assert (linear.baseline, linear.outcome) == ("hold", "worse")


def test_patients_count_alike_however_many_frames_they_have():
    rows = patients([3.0], frames=50) + [one for one in patients([0.0, -1.0], frames=1) if one.patient != "p0"]
    told = differences(rows, ["psnr"], baselines=["hold"])[0]
    assert told.difference == pytest.approx(1.0)
    assert told.outcome == "too few"


def test_frames_of_one_patient_do_not_narrow_the_interval():
    gains = list(np.random.default_rng(0).normal(0.3, 1, 12))
    few, many = (differences(patients(gains, frames=n), ["psnr"], baselines=["hold"])[0] for n in (1, 20))
    assert few.interval == pytest.approx(many.interval)
    assert few.outcome == "unclear"


def test_a_sure_difference_that_nobody_sees_is_level():
    told = differences(patients([0.04] * 8), ["psnr"], baselines=["hold"])[0]
    assert (told.interval[0] > 0, told.outcome) == (True, "level")


def test_a_single_patient_has_no_interval():
    told = differences(patients([1.0]), ["psnr"], baselines=["hold"])[0]
    assert told.interval is None
    assert told.outcome == "too few"


def test_infinite_psnr_counts_as_a_hundred():
    rows = [row("net", psnr=math.inf), row("hold", psnr=40.0), row("linear", psnr=math.inf)]
    told = {one.method: one for one in differences(rows, ["psnr"], baselines=["hold", "linear"])}
    assert told["net"].baseline == "linear"
    assert told["net"].difference == 0
    assert told["linear"].difference == 60


def test_what_has_no_value_is_left_out_of_pairs():
    rows = [row("net", psnr=math.nan), row("hold", psnr=40.0), row("net", hidden=2, psnr=41.0)]
    rows += [row("hold", hidden=2, psnr=40.0)]
    assert differences(rows, ["psnr", "loss"], baselines=["hold"])[0].frames == 1


def test_a_baseline_without_any_value_is_no_rival():
    rows = [row("net", ssim=0.9), row("hold", ssim=math.nan), row("linear", ssim=0.8)]
    (told,) = (one for one in differences(rows, ["ssim"], baselines=["hold", "linear"]) if one.method == "net")
    assert (told.baseline, told.difference) == ("linear", pytest.approx(0.1))


def test_tables_are_quartiles_by_the_fields_asked_for():
    rows = [row(hidden=k + 1, first=k, psnr=float(k)) for k in range(5)] + [row(hidden=9, psnr=math.nan)]
    (even, odd) = tabulated(rows, ("gap", "phase"), ("psnr", "ie"))
    assert (even["phase"], even["count"], even["psnr"]) == (0, 4, (1.0, 2.0, 3.0))
    assert (odd["phase"], odd["count"], odd["psnr"]) == (1, 2, (1.5, 2.0, 2.5))
    assert even["ie"] is None
    assert [entry["place"] for entry in tabulated(rows, ("place",), ("psnr",))] == [1, 9]


def test_most_dsa_reports_means_of_the_means_of_each_index():
    rows = [
        row("net", gap=3, hidden=hidden, run=run, psnr=psnr, ssim=0.9, ssim_standard=0.8)
        for run, hidden, psnr in (("a", 1, 30.0), ("a", 2, 20.0), ("b", 1, 34.0), ("b", 2, 24.0))
    ]
    told = most_dsa_report(rows)["net"]
    assert [entry["psnr_mean"] for entry in told["indices"]] == [32.0, 22.0]
    assert [entry["psnr_std"] for entry in told["indices"]] == [2.0, 2.0]
    assert (told["psnr"], told["samples"]) == (27.0, 2)
    assert told["ssim"] == pytest.approx(0.9)
    name, content = most_dsa_file(told)
    assert name == "Eval_SSIM-0.9000,PSNR-27.0000.txt"
    lines = content.splitlines()
    assert len(lines) == 2
    assert float(lines[0].removeprefix("Average SSIM: ")) == pytest.approx(0.9)
    assert float(lines[1].removeprefix("Average PSNR: ")) == 27.0


def test_a_perfect_sample_makes_the_mean_infinite_and_breaks_nothing():
    rows = [row("net", run=run, psnr=psnr, ssim=1.0, ssim_standard=1.0) for run, psnr in (("a", 30.0), ("b", math.inf))]
    told = most_dsa_report(rows)["net"]
    assert told["psnr"] == math.inf
    assert math.isnan(told["indices"][0]["psnr_std"])


def test_super_slomo_reports_means_over_batches_of_the_pooled_error():
    errors = {0: [0.01, 0.03], 1: [0.0004]}
    rows = [
        row("net", run=f"{batch}{k}", batch=batch, mse=error, psnr=0.0, ssim=batch + k / 2)
        for batch, told in errors.items()
        for k, error in enumerate(told)
    ]
    told = super_slomo_report(rows)["net"]
    assert told["psnr"] == pytest.approx((-10 * math.log10(0.02) - 10 * math.log10(0.0004)) / 2)
    assert told["ssim"] == pytest.approx((0.25 + 1) / 2)
    assert (told["batches"], told["samples"]) == (2, 3)
    assert super_slomo_report([row("net", batch=0, mse=0.0, psnr=math.inf)])["net"]["psnr"] == math.inf


def test_triplets_report_means_over_samples():
    rows = [row("net", run=run, psnr=psnr, ssim=0.5, ie=ie) for run, psnr, ie in (("a", 30.0, 4.0), ("b", 20.0, 8.0))]
    assert triplet_report(rows)["net"] == {"psnr": 25.0, "ssim": 0.5, "ie": 6.0, "samples": 2}
