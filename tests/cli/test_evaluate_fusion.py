"""``scanweave evaluate fusion`` from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from scanweave import io, weights
from scanweave.cine import Cine
from scanweave.cli import main
from scanweave.cli.evaluate_fusion import joined
from scanweave.models import create


@pytest.fixture
def run(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (13, 16, 24)).astype(np.uint8)
    io.write(Cine.from_array(frames, fps=1000), tmp_path / "run.npz")
    return str(tmp_path / "run.npz")


def test_every_baseline_at_every_ratio(run, tmp_path, capsys):
    words = ["evaluate", "fusion", run, "--ratio", "4", "--ratio", "6", "-o", str(tmp_path / "out")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for name in ("hold", "bicubic", "temporal-linear", "flow", "summary.md"):
        assert name in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scores.csv", "summary.json", "summary.md"}
    assert main([*words, "--resume", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted({one["ratio"] for one in told["means"]}) == [4, 6]
    assert told["methods"] == ["hold", "bicubic", "temporal-linear", "flow"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["means"] == told["means"]


def test_networks_stand_beside_the_baselines(run, tmp_path, capsys):
    torch.manual_seed(0)
    for name in ("a", "b"):
        network = create("edvr-stf", features=8, groups=2, extracted=1, reconstructed=1).eval()
        weights.save(network, tmp_path / f"{name}.safetensors")
    files = [str(tmp_path / f"{name}.safetensors") for name in ("a", "b")]
    words = ["--weights", files[0], "--weights", files[1], "--ratio", "4", "--most", "2", "--json"]
    assert main(["evaluate", "fusion", run, *words, "-o", str(tmp_path / "out")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["methods"] == ["hold", "bicubic", "temporal-linear", "flow", "edvr-stf a", "edvr-stf b"]
    changes = [one for one in told["differences"] if (one["measure"], one["steps"]) == ("psnr", None)]
    assert [one["outcome"] for one in changes if one["method"].startswith("edvr-stf")] == ["too few"] * 2


def test_published_means_are_shown_beside_ours(run, tmp_path, capsys):
    words = ["--protocol", "xfusion", "--ratio", "4", "--method", "hold", "bicubic", "-o", str(tmp_path / "out")]
    assert main(["evaluate", "fusion", run, *words]) == 0
    shown, page = capsys.readouterr().out, (tmp_path / "out" / "summary.md").read_text()
    assert "means as published" in shown and "inf (" in shown
    assert "of 1 run, 3 masked" in page and "AAD, grey levels: published (ours)" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no input"),
        (["missing.tif"], "missing.tif"),
        (["RUN", "--method", "foo"], "foo"),
        (["RUN", "--ratio", "0.5"], "ratio 0.5"),
        (["RUN", "--ratio", "40"], "no two sharp frames"),
        (["RUN", "--scale", "20"], "no coarse pixels"),
        (["RUN", "--weights", "missing.pth"], "missing.pth"),
        (["RUN", "--fast-step", "2"], "--protocol xfusion"),
        (["RUN", "--protocol", "xfusion", "--ratio", "5"], "give even ratios"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, tmp_path, capsys, words, said):
    output = tmp_path / "out"
    assert main(["evaluate", "fusion", *(run if word == "RUN" else word for word in words), "-o", str(output)]) != 0
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not list(tmp_path.glob("out*"))


def test_options_that_occur_again_are_joined():
    words = ["a", "--ratio", "4", "--json", "--ratio", "5", "-o", "out"]
    assert joined(words, "--ratio") == ["a", "--json", "-o", "out", "--ratio", "4", "5"]
