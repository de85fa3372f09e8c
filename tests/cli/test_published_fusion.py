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


TRAINED = ["train", "--dir-hi-train", "hi", "--dir-lo-train", "lo", "--dir-hi-val", "vhi", "--dir-lo-val", "vlo"]
COMMON = ["--interval_list", "1,2", "--hi_interval_mult", "3", "--poisson_noise_b0_exp", "1,7", "--batch_size", "2"]
LENGTH = ["--val_freq", "10", "--num_workers", "1", "--warmup_iter", "5", "--sub_dataset", "True", "--auto-resume"]


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--model_type", "EDVRModel", "--iter_div_factor", "30"], ["steps: 600000", "batch: 16", "warm_up: 5"]),
        (
            ["--model_type", "EDVRModel", "--data_type", "actual", "--initial_lr", "1e-5"],
            ["base: 1.0e-05", "steps: 30000"],
        ),
        (["--embed_dim", "96", "--resi_connection", "3conv", "--scale_mha", "2"], ["width: 96", "ending: 3conv"]),
        (["--data_type", "actual", "--single_epoch_ok", "True"], ["epochs: 1", "steps: null", "width: 192"]),
        (["--data_type", "actual", "--pretrain_network_g", "net_g_5.pth"], ["start: net_g_5.pth", "width: 192"]),
    ],
)
def test_every_training_is_one_that_can_be_had(tmp_path, capsys, words, printed):
    output = tmp_path / "ours.yaml"
    theirs = [*TRAINED, *COMMON, *LENGTH, *words]
    assert main(["as-published", "xfusion", "-o", str(output), "--json", "--", *theirs]) == 0
    (command,) = json.loads(capsys.readouterr().out)["steps"][0]["commands"]
    job, preset = command[1], command[3]
    assert main(["train", job, "--config", str(output), "--print-config"]) == 0
    told = capsys.readouterr().out
    assert all(one in told for one in [*printed, "photons:", "validate_every: 10", "part: 1.0"]), (preset, told)


def test_the_yaml_that_opt_names_is_read(tmp_path, capsys):
    (tmp_path / "mine.yml").write_text(
        "model_type: SwinIRModel\nnum_gpu: 2\n"
        "network_g: {type: PatchTransformerSTF, num_heads: [4, 4], depths: [2, 2]}\n"
        "train: {optim_g: {type: Adam, lr: 1e-3}, total_iter: 77}\nname: mine\n"
    )
    output, theirs = tmp_path / "ours.yaml", [*TRAINED, "--opt", str(tmp_path / "mine.yml"), "--scale_mha", "2"]
    assert main(["as-published", "xfusion", "-o", str(output), "--", *theirs, "--model_type", "EDVRModel"]) == 2
    assert "scale_mha is an option of SwinIRModel only" in capsys.readouterr().err
    assert main(["as-published", "xfusion", "-o", str(output), "--", *theirs]) == 0
    assert "name does nothing" in output.read_text()
    assert main(["train", "swin-xvr", "--config", str(output), "--print-config"]) == 0
    told = capsys.readouterr().out
    assert all(one in told for one in ("steps: 77", "processes: 2", "heads: [4, 4]", "heads: 2.0", "base: 5.0e-06"))


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
