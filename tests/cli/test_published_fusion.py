"""XFusion's commands and its configuration file, said in our words."""

from __future__ import annotations

import json
import shlex

import pytest

from scanweave.cli import main

CONF = """
[general]
data_type = actual
[inference]
opt = test.yml
model_file = weights of mine.pth
input_dir = exp
case_list = case 1, case 2
"""


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "xfusion.conf"
    path.write_text(CONF)
    return path


def test_a_file_is_told_as_a_script(conf, capsys):
    before = conf.read_bytes()
    assert main(["as-published", "xfusion", str(conf)]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("#")] == [
        *("init", "convert", "train", "download", "inference", "train_calibration", "calibrate")
    ]
    assert "# calibrate lacks cal_dir" in told.out
    fused = [shlex.split(line) for line in lines if line.startswith("scanweave fuse")]
    assert [words[words.index("--fast") + 1] for words in fused] == ["exp/case 1", "exp/case 2"]
    assert all("weights of mine.pth" in words for words in fused)
    assert "opt has no counterpart" in told.err
    assert conf.read_bytes() == before


def test_one_command_as_json(conf, capsys):
    words = ["--", "inference", "--traverse_mode", "continuous"]
    assert main(["as-published", "xfusion", str(conf), "--as-published", "--json", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "calls it traverse-mode" in told["notes"][0]
    (step,) = told["steps"]
    assert step["section"] == "inference" and "published-continuous" in step["commands"][1]


def test_what_is_trained_is_written_as_a_file(tmp_path, capsys):
    output = tmp_path / "raft.yaml"
    theirs = ["--", "train_calibration", "--image_root", "runs", "--full_weights", "raft.pth", "--num_steps", "7"]
    assert main(["as-published", "xfusion", "-o", str(output), *theirs]) == 0
    assert "cal_train_image_root" in output.read_text()
    assert main(["train", "raft", "--config", str(output), "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert "steps: 7" in printed and "full: raft.pth" in printed
    assert main(["as-published", "xfusion", "-o", str(output), *theirs]) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["CONF", "--section", "train"], "train lacks dir-hi-train"),
        (["CONF", "--section", "train", "--", "inference"], "give one of them"),
        (["CONF", "-o", "OUT"], "add --section train"),
        (["CONF", "--section", "inference", "-o", "OUT"], "add --section train"),
        (["--", "inference", "--modelfile", "w.pth"], "did you mean model_file?"),
    ],
)
def test_mistakes_are_named_in_one_line(conf, tmp_path, capsys, words, said):
    told = [{"CONF": str(conf), "OUT": str(tmp_path / "out.yaml")}.get(word, word) for word in words]
    assert main(["as-published", "xfusion", *told]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["xfusion.conf"]
