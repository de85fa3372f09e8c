"""XFusion's commands in our words: each option taken over, or told not to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanweave.fusion.published_conf import COMMANDS, read_conf
from scanweave.fusion.published_conf_commands import step_of, steps_of
from scanweave.fusion.published_conf_options import DATA, MODELS, options_of

ACTUAL = ["--data_type", "actual", "--model_type", "EDVRModel"]
LIMITS = [f"cal_train_{of}_{end}" for of in ("scaling", "rotation", "translation") for end in ("min", "max")]
ANOTHER = {  # values that are not the default, where neither one more nor "x" is one
    "interval_list": "1,2",
    "case_list": "a,b",
    "launcher": "pytorch",
    "cal_train_launcher": "pytorch",
    "resi_connection": "3conv",
    "infer-mode": "itpf",
    "machine": "tomo",
    "traverse-mode": "continuous",
    "poisson_noise_b0_exp": "1,7",
    "cal_train_poisson_b0_exponent": "2,5",
    "warmup_iter": "5",
    **dict.fromkeys(LIMITS, "0.9"),
}
NEEDED = {  # without which a command lacks something
    "train": ["--dir-hi-train", "hi", "--dir-lo-train", "lo"],
    "inference": ["--model_file", "w.pth"],
    "train_calibration": ["--image_root", "runs", "--evaluator_weights", "e.pth"],
    "calibrate": ["--cal_dir", "grids", "--cal_id", "1", "--cal_model_file", "raft.pth"],
}
TOGETHER = {  # options that say something only beside others
    **{name: [f"--{other}", "0.9"] for name, other in zip(LIMITS, [LIMITS[i ^ 1] for i in range(6)], strict=True)},
    "sub_dataset_frac": ["--sub_dataset", "True"],
    "dataroot_context": ["--use_nearest_context", "True"],
    "meta_info_context": ["--use_nearest_context", "True"],
    "use_nearest_context": ["--dataroot_context", "full"],
}


def step(words, **options):
    conf = read_conf(None, words)
    return step_of(conf, conf.command, **options)


def said(words, **options):
    """One command as a text, without the home directory."""
    (command,) = step(words, **options).commands
    return " ".join(command).replace(f"{Path.home()}/", "~/")


def test_a_new_file_says_what_it_lacks():
    steps = {one.section: one for one in steps_of(read_conf(None))}
    assert tuple(steps) == COMMANDS
    assert steps["init"].commands == (("train", "swin-xvr", "--config", "swin-xvr-reds", "--print-config"),)
    assert "model_file" in steps["inference"].missing and not steps["inference"].commands
    assert "dir-hi-train and dir-lo-train" in steps["train"].missing
    assert "cal_dir" in steps["calibrate"].missing
    assert "image_root" in steps["train_calibration"].missing and "factor 0" in steps["train_calibration"].missing
    assert steps["download"].commands[0][-1] == str(Path.home() / "xfusion/inference")


def test_the_preset_follows_model_data_and_yaml():
    for model, data, preset in (
        ("EDVRModel", "virtual", "edvr-stf-reds"),
        ("EDVRModel", "actual", "edvr-stf-xray"),
        ("SwinIRModel", "actual", "swin-xvr-xray-context"),
    ):
        assert preset in said(["init", "--model_type", model, "--data_type", data])
    words = ["train", "--dir-hi-train", "hi", "--dir-lo-train", "lo", "--opt", "x/train_EDVR_L_x4_STF_REDS.yml"]
    found = step(words)
    assert found.commands[0][:4] == ("train", "edvr-stf", "--config", "edvr-stf-reds")
    assert any(note.startswith("opt is not at hand") for note in found.notes)


def test_training_of_both_families():
    folders = ["--dir-hi-train", "my hi", "--dir-lo-train", "lo", "--dir-hi-val", "vhi", "--dir-lo-val", "vlo"]
    words = ["train", *folders, "--path-train-meta-info-file", "m.txt", "--path-val-meta-info-file", "v.txt"]
    options = ["--interval_list", "1", "2", "--batch_size", "2", "--val_freq", "100", "--sub_dataset", "True"]
    with pytest.raises(Exception, match="'2' belongs to no option"):
        step([*words, *options])
    options[1:3] = ["1,2"]
    found = said([*words, *options, "--model_type", "EDVRModel", "--auto-resume"])
    for part in (
        "--recipe.pairs.sharp my hi --recipe.pairs.coarse lo --recipe.pairs.meta m.txt",
        "--recipe.pairs.validation-sharp vhi --recipe.pairs.validation-coarse vlo --recipe.pairs.validation-meta v.txt",
        "--recipe.pairs.frames.intervals 1 2",
        "--training.batch 16",
        "--training.validate-every 100",
        "--recipe.pairs.part 1.0",
        "--resume -o ~/xfusion/train/edvr-stf-reds",
    ):
        assert part in found
    swin = said([*words, "--embed_dim", "96", "--scale_mha", "2", "--iter_div_factor", "30"])
    for part in (
        "swin-xvr-reds",
        "--training.steps 10000",
        "--recipe.rate.base 5e-06",
        "--recipe.network.width 96 --recipe.network.features 96",
        "--recipe.scaling.heads 2",
        "--recipe.network.window 5 8 8",
    ):
        assert part in swin


def test_fine_tuning_starts_from_weights():
    words = ["train", *ACTUAL, "--dir-hi-train", "hi", "--dir-lo-train", "lo", "--initial_lr", "1e-5"]
    context = ["--dataroot_context", "full", "--meta_info_context", "map.csv"]
    found = step([*words, *context, "--pretrain_network_g", "models/net_g_300000.pth"])
    assert " ".join(found.commands[0]).count("--recipe.start models/net_g_300000.pth --recipe.rate.base 1e-05") == 1
    assert any("training_states/300000.state" in note for note in found.notes)
    assert any("use_nearest_context is off" in note for note in found.notes)
    found = said([*words, *context, "--use_nearest_context", "True"])
    assert "--recipe.pairs.context full --recipe.pairs.context-map map.csv" in found


def test_the_calibrators_training():
    words = ["train_calibration", "--image_root", "/runs", "--evaluator_weights", "e.pth", "--flow_weights", "f.pth"]
    extra = ["--cal_train_scaling_min", "0.9", "--cal_train_scaling_max", "1.1", "--cal_train_mixed_precision"]
    found = said([*words, *extra, "--cal_train_num_steps", "10"])
    assert found == (
        "train raft --config raft-calibrator-as-published --recipe.runs.path /runs --recipe.start f.pth"
        " --recipe.evaluator e.pth --recipe.colour sum --training.steps 10 --training.precision float16"
        " --recipe.views.scaling 0.9 1.1 -o ~/xfusion/train/calibration"
    )
    tuned = said(["train_calibration", "--image_root", "/runs", "--full_weights", "raft.pth", "--factor", "0"])
    assert "--recipe.full raft.pth --recipe.factor 0" in tuned and "evaluator" not in tuned


def test_calibration_with_and_without_the_network():
    words = ["calibrate", "--cal_dir", "/data/grids", "--cal_id", "1"]
    assert said([*words, "--cal_model_file", "raft.pth", "--tol_pos", "0.2"], as_published=True) == (
        "calibrate --fast /data/grids/1 --sharp /data/grids/1 --mirrored --method raft --weights raft.pth"
        " --as-published --tol-pos 0.2 --published-output ~/xfusion/calibration/grids --published-id 1"
        " -o ~/xfusion/calibration/grids/1.json"
    )
    assert "--method published-grid" in said(words) and "--window" not in said([*words, "--window_size", "256"])


def test_virtual_inference():
    words = ["inference", "--img-class", "dataset2", "--hi-frame-sep", "10", "--b0", "--model_file", "w.pth"]
    assert said(words) == (
        "fuse --virtual ~/xfusion/inference/dataset2_b0_1 --ratio 20 --scale 4 --method swin-xvr --weights w.pth"
        " --published -o ~/xfusion/inference/dataset2_stf_lr_r_1_hr_d_20_b0_1.tif"
    )
    assert "--method bicubic --published" in said(["inference", "--infer-mode", "bic"])
    assert "not implemented" in step(["inference", "--infer-mode", "sr"]).missing


def test_actual_inference_of_many_cases():
    tfm = "cal/tfm_1_0.10_0.10_flow_init_rotation_inv_lbl_outliers.npy"
    words = ["inference", *ACTUAL, "--img-class", "actual", "--model_file", "w.pth", "--input_dir", "/data/exp"]
    words += ["--case_list", "ab12.x", "c d", "--tfm_file", tfm]
    found = step(words)
    named, first, second = [" ".join(one).replace(f"{Path.home()}/", "~/") for one in found.commands]
    assert named == (
        "calibrate --published cal --published-tag 1_0.10_0.10 --fast /data/exp/ab12.x --sharp /data/exp/ab12.x"
        " -o ~/xfusion/inference/exp/calibration.json"
    )
    assert first == (
        "fuse --fast /data/exp/ab12.x --sharp /data/exp/ab12.x --calibration ~/xfusion/inference/exp/calibration.json"
        " --mode held-out --method edvr-stf --weights w.pth --published"
        " -o ~/xfusion/inference/exp/ab12.x/double/ab12.x.tif"
    )
    assert "/data/exp/c d" in second
    published = step([*words, "--traverse_mode", "continuous"], as_published=True)
    assert "--mode published-continuous" in " ".join(published.commands[1])
    assert "--match none" in " ".join(published.commands[1])
    assert "case_list" in step(["inference", *ACTUAL]).missing


@pytest.mark.parametrize(("model", "data"), [(model, data) for model in MODELS for data in DATA])
def test_no_option_is_ignored_silently(model, data):
    """Changed from its default, each option changes a command or is told of."""
    for (section, name), option in options_of(model, data).items():
        if section in ("general", "home"):
            continue
        words = [section, "--model_type", model, "--data_type", data, *NEEDED.get(section, [])]
        if section == "inference" and data == "actual":
            words += ["--input_dir", "in", "--case_list", "c"]
        words += TOGETHER.get(name, []) if data == "actual" or "context" not in name else []
        default = option.usual()
        number = isinstance(default, int | float) and not isinstance(default, bool)
        changed = str(default + 1) if number else str(not default) if isinstance(default, bool) else "x"
        before, after = (step(one) for one in (words, [*words, f"--{name}={ANOTHER.get(name, changed)}"]))
        assert (after.commands, after.notes, after.missing) != (before.commands, before.notes, before.missing), option
