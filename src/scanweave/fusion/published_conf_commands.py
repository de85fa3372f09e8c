"""XFusion's commands, as a configuration file and a command line say them, as commands of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .published_conf import COMMANDS, Conf
from .published_conf_training import Words, preset_of, told, train_words, without_effect

_METHODS = {"EDVRModel": "edvr-stf", "SwinIRModel": "swin-xvr"}
_MODES = {"continuous": ("continuous", "published-continuous"), "double": ("held-out", "published-double")}
_TAG = re.compile(r"tfm_(.+?)_flow_init.*\.npy")
_SCALE = 4

_IDLE_CALIBRATE = {
    "small": "only the basic RAFT is offered, as in the published checkpoints",
    "mixed_precision": "the network runs in float32",
    "split_encoder": "weights tell whether each camera has an encoder of its own",
    "input_dim": "frames are grey",
}
_IDLE_INFERENCE = {
    "opt": "it is not read: frames have the sizes of their files",
    "arch-opt": "it is not read: weights tell the network's sizes",
    "machine": "it says how the published program is launched",
    "num_frame_infer": "weights tell how many coarse frames they take",
    "lo-frame-sep": "coarse frames next to each other are taken; thin the run out for others",
    **dict.fromkeys(
        ("align_features_ok", "adapt_deformable_conv", "scale_mha", "embed_dim", "window_size_spatial", "scale_depth"),
        "weights tell the network's sizes",
    ),
}
_IDLE_ACTUAL = {
    "hi-frame-sep": "the sharp camera's times tell",
    "b0": "it is an option of virtual data",
    "infer-mode": "the published program takes its network whatever it says; see --method",
    "meta_file_scale": "the file beside tfm_file is read whose name goes on in the same way",
    "img-class": "it tells how a folder's name is read as a number, which nothing here needs",
}


@dataclass(frozen=True)
class Step:
    """One published command in our words.

    Attributes:
        section: The command.
        commands: Ours, each as words; none where something is missing.
        notes: What is done otherwise, or not at all, one sentence each.
        missing: What has to be said first; empty if nothing.
    """

    section: str
    commands: tuple[Words, ...]
    notes: tuple[str, ...] = ()
    missing: str = ""


def step_of(conf: Conf, section: str, *, as_published: bool = False) -> Step:
    """Return one published command in our words.

    Args:
        conf: What the file and the command line say.
        section: The command: `init`, `convert`, `train`, `download`, `train_calibration`, `calibrate`, `inference`.
        as_published: Keep known faults of the published program.
    """
    return _STEPS[section](conf, as_published)


def steps_of(conf: Conf, *, as_published: bool = False) -> list[Step]:
    """Return every published command in our words, in the order in which they are run."""
    return [step_of(conf, section, as_published=as_published) for section in COMMANDS]


def _init(conf: Conf, as_published: bool) -> Step:
    job, preset = preset_of(conf)
    note = "No file is written into the home directory: every command is told what it needs, and keeps it in its plan."
    return Step("init", (("train", job, "--config", preset, "--print-config"),), (note,))


def _convert(conf: Conf, as_published: bool) -> Step:
    high, low, out = (conf.path("convert", name) for name in ("dir-hi-convert", "dir-lo-convert", "out-dir-hi"))
    if high is None or low is None or out is None:
        return Step("convert", (), missing="dir-hi-convert, dir-lo-convert and out-dir-hi: folders of pictures")
    words: Words = ("prepare", "fusion", "--sharp", told(high), "--coarse", told(low), "-o", told(out))
    words += ("--channels", "3") if as_published else ()
    low_there = conf.values["convert", "out-dir-lo"]
    note = f"Both go into one folder, HR and LR with a list of the clips; {low_there} is not made."
    return Step("convert", (words,), (note,))


def _train(conf: Conf, as_published: bool) -> Step:
    job, preset = preset_of(conf)
    words, notes, missing = train_words(conf)
    place = (conf.path("home", "train-home") or Path()) / preset
    resume = ("--resume",) if conf.values["train", "auto-resume"] else ()
    commands = (("train", job, "--config", preset, *words, *resume, "-o", told(place)),)
    return Step("train", () if missing else commands, tuple(notes), missing)


def _download(conf: Conf, as_published: bool) -> Step:
    url, folder = conf.get("download", "dir-inf"), conf.path("download", "out-dir-inf")
    if url is None or folder is None:
        return Step("download", (), missing="dir-inf, an address, and out-dir-inf, a folder")
    return Step("download", (("prepare", "download", str(url), "-o", told(folder)),))


_CALIBRATOR = {
    "lr": "--recipe.rate.base",
    "num_steps": "--training.steps",
    "batch_size": "--training.batch",
    "device": "--training.device",
    "iters": "--recipe.iterations",
    "wdecay": "--recipe.weight-decay",
    "epsilon": "--recipe.eps",
    "clip": "--training.clip-norm",
    "gamma": "--recipe.gamma",
    "window_size": "--recipe.views.window",
    "dataset_enlarge_ratio": "--recipe.runs.repeats",
    "factor": "--recipe.factor",
    "num_frame_total": "--recipe.views.span",
    "pixel_size_ratio": "--recipe.views.ratio",
    "poisson_b0_exponent": "--recipe.views.photons-exponent",
}
_CALIBRATOR_SWITCHES = {
    "mixed_precision": ("--training.precision", "float16"),
    "split_encoder": ("--recipe.split", "True"),
    "mask_valid_for_fusion_ok": ("--recipe.mask-valid-for-fusion",),
}
_IDLE_CALIBRATOR = {
    "name": "files are called by step; the folder is named with -o",
    "stage": "there is one kind of samples, recorded runs; see --recipe.source",
    "restore_ckpt": "--resume goes on with a training of ours; of weights say flow_weights or full_weights",
    "small": "only the basic RAFT is offered",
    "validation": "say --recipe.held-out.path for runs to validate on",
    "input_dim": "frames are grey",
    "launcher": "torchrun's numbers hold, or --training.processes and --training.nodes",
    "dropout": "the network has none",
    "dist_url": "torchrun tells it",
    "find_unused_parameters": "nothing needs it",
    "num_frames": "the evaluator takes three coarse frames",
    "opt_path": "the evaluator's weights tell its sizes",
}


def _train_calibration(conf: Conf, as_published: bool) -> Step:
    section = "train_calibration"

    def get(name: str) -> Any:
        return conf.get(section, f"cal_train_{name}")

    words: list[str] = []
    for name, flag in {"image_root": "--recipe.runs.path", "meta_info_file": "--recipe.runs.meta"}.items():
        if get(name) is not None:
            words += [flag, told(Path(get(name)).expanduser())]
    if get("full_weights") is not None:
        words += ["--recipe.full", told(Path(get("full_weights")).expanduser())]
    else:
        for name, flag in {"flow_weights": "--recipe.start", "evaluator_weights": "--recipe.evaluator"}.items():
            if get(name) is not None:
                words += [flag, told(Path(get(name)).expanduser())]
        if get("flow_weights") is not None:
            words += ["--recipe.colour", "sum"]
    changed = {name.removeprefix("cal_train_"): value for name, value in conf.changed(section).items()}
    for name, flag in _CALIBRATOR.items():
        if name in changed:
            words += [flag, *(map(str, changed[name]) if isinstance(changed[name], tuple) else [str(changed[name])])]
    for name, said in _CALIBRATOR_SWITCHES.items():
        words += said if name in changed else ()
    for of in ("scaling", "rotation", "translation"):
        limits = get(f"{of}_min"), get(f"{of}_max")
        if None not in limits:
            words += [f"--recipe.views.{of}", *map(str, limits)]
    place = get("save_path") or (conf.path("home", "train-home") or Path()) / "calibration"
    command = (
        "train",
        "raft",
        "--config",
        "raft-calibrator-as-published",
        *words,
        "-o",
        told(Path(place).expanduser()),
    )
    judged = get("evaluator_weights") is not None or get("full_weights") is not None or not get("factor")
    lacking = ["image_root, the folder of runs"] * (get("image_root") is None)
    lacking += ["evaluator_weights or full_weights, or factor 0"] * (not judged)
    notes = without_effect(changed, _IDLE_CALIBRATOR)
    return Step(section, () if lacking else (command,), tuple(notes), "; ".join(lacking))


def _calibrate(conf: Conf, as_published: bool) -> Step:
    root, name = conf.path("calibrate", "cal_dir"), conf.get("calibrate", "cal_id")
    if root is None or name is None:
        return Step("calibrate", (), missing="cal_dir and cal_id: where the frames of the grid lie")
    case, weights = root / str(name), conf.path("calibrate", "cal_model_file")
    changed = conf.changed("calibrate")
    words = ["calibrate", "--fast", told(case), "--sharp", told(case), "--mirrored"]
    words += ["--method", "published-grid"] if weights is None else ["--method", "raft", "--weights", told(weights)]
    words += ["--as-published"] if as_published else []
    flags = {"tol_pos": "--tol-pos", "tol_area": "--tol-area", "tol_rotation": "--tol-rotation"}
    flags |= {} if weights is None else {"window_size": "--window", "flow_iters": "--flow-iters"}
    for option, flag in flags.items():
        if option in changed:
            words += [flag, str(changed[option])]
    if "cal_device" in changed and weights is not None:
        words += ["--device", f"cuda:{changed['cal_device']}"]
    folder = (conf.path("home", "calibration-home") or Path()) / root.name
    words += ["--published-output", told(folder), "--published-id", str(name), "-o", told(folder / f"{name}.json")]
    notes = without_effect(changed, _IDLE_CALIBRATE)
    if weights is None:
        notes.append("Without cal_model_file the grid itself tells which square is which.")
    return Step("calibrate", (tuple(words),), tuple(notes))


def _inference(conf: Conf, as_published: bool) -> Step:
    steps: dict[str, Callable[[Conf, bool], Step]] = {"virtual": _virtual, "actual": _actual}
    return steps[conf.data](conf, as_published)


def _weights(conf: Conf) -> list[str]:
    place = conf.path("inference", "model_file")
    return [] if place is None else ["--method", _METHODS[conf.model], "--weights", told(place)]


_UNWEIGHTED = {"bil": "bicubic", "bic": "bicubic", "itpf": "temporal-linear"}


def _virtual(conf: Conf, as_published: bool) -> Step:
    values = {name: value for (section, name), value in conf.values.items() if section == "inference"}
    home = conf.path("home", "inference-home") or Path()
    ratio, mode = 2 * values["hi-frame-sep"], values["infer-mode"]
    noisy = int(values["b0"])
    changed = conf.changed("inference")
    notes = without_effect(changed, _IDLE_INFERENCE)
    if mode == "sr":
        return Step("inference", (), tuple(notes), "infer-mode: sr is not implemented in the published program either")
    method = _weights(conf) if mode == "stf" else ["--method", _UNWEIGHTED[mode]]
    if mode in ("bil", "itpf"):
        notes.append(f"infer-mode {mode} does not work in the published program; {_UNWEIGHTED[mode]} stands for it.")
    if not method:
        return Step("inference", (), tuple(notes), "model_file: the weights")
    output = f"{values['img-class']}_{mode}_lr_r_{values['lo-frame-sep']}_hr_d_{ratio}_b0_{noisy}.tif"
    source = home / f"{values['img-class']}_b0_{noisy}"
    words = ["fuse", "--virtual", told(source), "--ratio", str(ratio), "--scale", str(_SCALE), *method]
    words += ["--published", "-o", told(home / output)]
    notes.append("Frames at both ends that have no neighbours are left out, and frames given to the method not scored.")
    return Step("inference", (tuple(words),), tuple(notes))


def _actual(conf: Conf, as_published: bool) -> Step:
    values = {name: value for (section, name), value in conf.values.items() if section == "inference"}
    changed = conf.changed("inference")
    notes = without_effect(changed, _IDLE_INFERENCE | _IDLE_ACTUAL)
    root, cases, method = conf.path("inference", "input_dir"), values["case_list"], _weights(conf)
    lacking = ["input_dir, the folder of cases"] * (root is None) + ["case_list, which cases"] * (not cases)
    lacking += ["model_file, the weights"] * (not method)
    if root is None or lacking:
        return Step("inference", (), tuple(notes), "; ".join(lacking))
    traverse = values["traverse-mode"]
    mode = _MODES[traverse][as_published]
    home = (conf.path("home", "inference-home") or Path()) / root.name
    folder, tag = _calibration(conf)
    calibration = told(home / "calibration.json")
    first = told(root / cases[0])
    named = ("calibrate", "--published", told(folder), "--published-tag", tag)
    commands: list[Words] = [(*named, "--fast", first, "--sharp", first, "-o", calibration)]
    extra = ["--match", "none"] if as_published else []
    extra += ["--device", f"cuda:{changed['device']}"] if "device" in changed else []
    for case in cases:
        place = told(root / case)
        output = told(home / case / traverse / f"{case}.tif")
        words = ["fuse", "--fast", place, "--sharp", place, "--calibration", calibration, "--mode", mode]
        commands.append((*words, *method, *extra, "--published", "-o", output))
    if as_published and traverse == "double":
        notes.append("The first and last frame are made of themselves, and count in no mean.")
    return Step("inference", tuple(commands), tuple(notes))


def _calibration(conf: Conf) -> tuple[Path, str]:
    """Return the folder of a published calibration, and what the names of its files have in common."""
    tfm = conf.path("inference", "tfm_file") or Path()
    cal_dir = conf.path("calibrate", "cal_dir")
    home = conf.path("home", "calibration-home") or Path()
    folder = tfm.parent if len(tfm.parts) > 1 else home / cal_dir.name if cal_dir else home
    found = _TAG.fullmatch(tfm.name)
    return folder, found[1] if found else tfm.stem.removeprefix("tfm_")


_STEPS: Mapping[str, Callable[[Conf, bool], Step]] = {
    "init": _init,
    "convert": _convert,
    "train": _train,
    "download": _download,
    "inference": _inference,
    "train_calibration": _train_calibration,
    "calibrate": _calibrate,
}
