"""XFusion's configuration file: every option and default, and what is wrong with a file, named."""

from __future__ import annotations

import json
from itertools import product

import pytest

from scanweave.errors import InputError, UsageError
from scanweave.fusion.published_conf import read_conf
from scanweave.fusion.published_conf_options import DATA, MODELS, OPTIONS, listed, options_of


@pytest.fixture(scope="module")
def golden(goldens):
    return json.loads((goldens / "xfusion/config_options.json").read_text())


def test_every_option_is_the_published_one(golden):
    ours = {}
    for one in OPTIONS:
        told = {"default": one.default}
        if one.choices:
            told["choices"] = list(one.choices)
        if one.flag:
            told["flag"] = True
        ours.setdefault(f"{one.section}/{one.only}" if one.only else one.section, {})[one.name] = told
    assert ours == golden
    for place, options in golden.items():
        kinds = [type(option["default"]) for option in options.values()]
        assert kinds == [type(option["default"]) for option in ours[place].values()]


@pytest.mark.parametrize(("model", "data"), list(product(MODELS, DATA)))
def test_a_new_file_holds_the_defaults_of_its_model_and_data(golden, tmp_path, model, data):
    merged = {name: dict(options) for name, options in golden.items() if "/" not in name}
    for place in (f"{command}/{kind}" for command in ("train", "inference") for kind in (model, data)):
        merged[place.partition("/")[0]] |= golden.get(place, {})
    merged["general"] |= {"model_type": {"default": model}, "data_type": {"default": data}}
    lines = []
    for section, options in merged.items():
        lines.append(f"[{section}]")
        for name, option in options.items():
            text = ", ".join(option["default"]) if isinstance(option["default"], list) else option["default"]
            lines.append(f"{'# ' if text == '' else ''}{name} = {text}")
    path = tmp_path / "xfusion.conf"
    path.write_text("\n".join(lines))
    conf = read_conf(path)
    assert (conf.model, conf.data, conf.notes) == (model, data, ())
    assert conf.values == read_conf(None, ["init", "--model_type", model, "--data_type", data]).values
    assert {(section, name) for section, options in merged.items() for name in options} == set(conf.values)
    for (section, name), option in options_of(model, data).items():
        if name not in ("model_type", "data_type"):
            assert option.default == merged[section][name]["default"]
            assert conf.values[section, name] == option.usual()
    assert all(set(conf.changed(section)) <= {"model_type", "data_type"} for section in merged)


def conf_of(tmp_path, text, words=()):
    path = tmp_path / "xfusion.conf"
    path.write_text(text)
    return read_conf(path, words)


def test_values_have_types(tmp_path):
    conf = conf_of(
        tmp_path,
        """
[general]
data_type = actual
[train]
interval_list = [1, 2, 4]
poisson_noise_b0_exp = 1, 7
sub_dataset = True
dataset_enlarge_ratio = 400
dir-hi-train = ~/my data/high = resolution # 3
[inference]
case_list = case 1, case 2
[train_calibration]
cal_train_scaling_min = 0.9
cal_train_epsilon = 1e-9
""",
    )
    assert conf.values["train", "interval_list"] == (1, 2, 4)
    assert conf.values["train", "poisson_noise_b0_exp"] == (1.0, 7.0)
    assert conf.values["train", "sub_dataset"] is True
    assert conf.values["train", "dataset_enlarge_ratio"] == 400.0
    assert conf.values["train", "dir-hi-train"] == "~/my data/high = resolution # 3"
    assert conf.values["inference", "case_list"] == ["case 1", "case 2"]
    assert conf.values["train_calibration", "cal_train_scaling_min"] == 0.9
    assert conf.get("train_calibration", "cal_train_scaling_max") is None
    assert conf.get("train", "opt") is None
    assert conf.path("train", "dir-hi-train").is_absolute()
    assert ("train", "opt") not in conf.stated
    assert conf.changed("train_calibration") == {"cal_train_scaling_min": 0.9, "cal_train_epsilon": 1e-9}


def test_the_command_line_wins(tmp_path):
    text = "[general]\ndata_type = actual\n[inference]\nimg-class = actual\n"
    words = ["inference", "--img-class", "actual2", "--case_list", "a b", "c", "--b0", "--model_file=x=y.pth"]
    conf = conf_of(tmp_path, text, words)
    assert conf.command == "inference"
    assert [conf.values["inference", name] for name in ("img-class", "case_list", "b0", "model_file")] == [
        *("actual2", ["a b", "c"], True, "x=y.pth")
    ]
    again = conf_of(tmp_path, text, ["train", "--home", "/data", "--auto-resume", "--batch_size", "2"])
    assert again.values["home", "home"] == "/data"
    assert (again.values["train", "auto-resume"], again.values["train", "batch_size"]) == (True, 2)


def test_flags_of_the_readme_that_do_nothing_there_are_taken_and_told(tmp_path):
    words = ["train_calibration", "--image_root", "/data", "--flow_weights", "None", "--evaluator_weights", "e.pth"]
    conf = read_conf(None, words)
    assert conf.values["train_calibration", "cal_train_image_root"] == "/data"
    assert conf.get("train_calibration", "cal_train_flow_weights") is None
    assert len(conf.notes) == 3 and "calls it cal_train_image_root" in conf.notes[0]
    conf = read_conf(None, ["inference", "--data_type", "actual", "--traverse_mode", "continuous", "--num_frame", "3"])
    assert conf.values["inference", "traverse-mode"] == "continuous"
    assert "calls it traverse-mode" in conf.notes[0] and "newer revision" in conf.notes[1]


def test_what_the_published_program_would_mix_up_is_told(tmp_path):
    text = "[train]\nopt = train.yml\nembed_dim = 96\n[inference]\nopt = test.yml\nembed_dim = 96\n"
    conf = conf_of(tmp_path, text)
    assert conf.values["train", "opt"] == "train.yml" and conf.values["inference", "opt"] == "test.yml"
    assert len(conf.notes) == 1 and "opt is train.yml in [train] and test.yml in [inference]" in conf.notes[0]
    conf = conf_of(tmp_path, "[general]\nmodel_type = EDVRModel\n" + text)
    assert any("embed_dim in [train] does nothing: it is an option of SwinIRModel only" in note for note in conf.notes)
    assert ("train", "embed_dim") not in conf.values


@pytest.mark.parametrize(
    ("text", "words", "error", "said"),
    [
        ("[train]\ndir-hi-trian = x", [], UsageError, r"xfusion.conf: \[train\] has no option dir-hi-trian.*hi-train"),
        ("[train]\nmodel_file = x", [], UsageError, r"it is one of \[inference\]"),
        ("[training]\nopt = x", [], UsageError, r"no section \[training\]"),
        ("[train]\nbatch_size = two", [], UsageError, "whole number"),
        ("[train]\nval_freq = 5e3", [], UsageError, "whole number"),
        ("[train]\nsub_dataset = maybe", [], UsageError, "True or False"),
        ("[train]\nsub_dataset_frac = nan", [], UsageError, "a number"),
        ("[train]\ninterval_list = __import__('os')", [], UsageError, "whole numbers"),
        ("[train]\npoisson_noise_b0_exp = 1", [], UsageError, "two numbers"),
        ("[inference]\ninfer-mode = srr", [], UsageError, "stf, sr, bil"),
        ("[inference]\nb0 = True\nb0 = False", [], InputError, "already exists"),
        ("[train]\nopt = a\nOPT = b", [], UsageError, "states opt twice"),
        ("opt = a", [], InputError, "no configuration file"),
        ("[train]\nopt", [], InputError, "no configuration file"),
        ("", ["infer"], UsageError, "no command 'infer'"),
        ("", ["train", "--opt"], UsageError, "no value"),
        ("", ["train", "--opt", "a", "b"], UsageError, "'b' belongs to no option"),
        ("", ["train", "--tol_pos", "1"], UsageError, r"one of \[calibrate\]"),
        ("", ["train", "--dataroot_context", "a"], UsageError, "--data_type actual"),
    ],
)
def test_mistakes_are_named(tmp_path, text, words, error, said):
    with pytest.raises(error, match=said):
        conf_of(tmp_path, text, words)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_conf(tmp_path / "none.conf")
    (tmp_path / "a.conf").write_bytes(b"[train]\nopt = \xff\xfe")
    with pytest.raises(InputError, match="no configuration file"):
        read_conf(tmp_path / "a.conf")
    (tmp_path / "b.conf").write_bytes(b"#" * (1 << 21))
    with pytest.raises(InputError, match="too large"):
        read_conf(tmp_path / "b.conf")


def test_lists_are_never_evaluated():
    assert listed("[a b, c]") == ["a b", "c"]
    assert listed("(1, 2)") == ["1", "2"]
    assert listed("['a, b']") == ["a, b"]
    assert listed("[__import__('os').getcwd()]") == ["__import__('os').getcwd"]
