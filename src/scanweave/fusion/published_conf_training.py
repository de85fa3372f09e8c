"""XFusion's ``train``, as a configuration file and a command line say it, as options of ours over a shipped preset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from .published_conf import Conf
from .published_config import read_published_yaml

Words: TypeAlias = tuple[str, ...]

_ITERATIONS = 300_000  # that iter_div_factor divides
_PRESETS = {
    ("EDVRModel", "virtual"): ("edvr-stf", "edvr-stf-reds"),
    ("EDVRModel", "actual"): ("edvr-stf", "edvr-stf-xray"),
    ("SwinIRModel", "virtual"): ("swin-xvr", "swin-xvr-reds"),
    ("SwinIRModel", "actual"): ("swin-xvr", "swin-xvr-xray-context"),
}
_PROCESSES = {"edvr-stf-reds": 8}  # the others have 4
_FOLDERS = {
    "dir-hi-train": "--recipe.pairs.sharp",
    "dir-lo-train": "--recipe.pairs.coarse",
    "path-train-meta-info-file": "--recipe.pairs.meta",
    "dir-hi-val": "--recipe.pairs.validation-sharp",
    "dir-lo-val": "--recipe.pairs.validation-coarse",
    "path-val-meta-info-file": "--recipe.pairs.validation-meta",
}
_CHANGED = {
    "val_freq": "--training.validate-every",
    "interval_list": "--recipe.pairs.frames.intervals",
    "hi_interval_mult": "--recipe.pairs.frames.sharp-reach",
    "poisson_noise_b0_exp": "--recipe.pairs.patch.photons",
    "num_workers": "--training.workers",
}
_SIZES = {
    "drop_path_rate": "--recipe.network.drop",
    "scale_depth": "--recipe.scaling.depth",
    "scale_mha": "--recipe.scaling.heads",
    "resi_connection": "--recipe.network.ending",
    "conv_window_size": "--recipe.network.ending-side",
}
_IDLE = {
    "launcher": "torchrun's numbers hold, or --training.processes and --training.nodes",
    "local-rank": "torchrun tells it",
    "force-yml": "the published program runs such words; say --recipe.NAME VALUE or --training.NAME VALUE",
    "debug": "say --training.steps for a short run",
    "is-train": "it cannot be switched off in the published program either",
    "profiler_iter_num": "nothing is profiled",
    "sub_dataset_frac": "sub_dataset is off",
}


def preset_of(conf: Conf) -> tuple[str, str]:
    """Return what is trained, and the shipped configuration that stands for the published YAML.

    The YAML decides over the model, as in the published program: by its content where it is at hand, else by its name.

    Raises:
        InputError: The YAML is damaged.
        UsageError: It has options that are not known, or cannot be had here.
    """
    path = published_yaml(conf)
    if path is not None:
        models = {job: model for (model, _), (job, _) in _PRESETS.items()}
        return _PRESETS[models[read_published_yaml(path)["job"]], conf.data]
    name = (conf.path("train", "opt") or Path()).name.lower()
    model = "EDVRModel" if "edvr" in name else "SwinIRModel" if "swin" in name else conf.model
    return _PRESETS[model, conf.data]


def published_yaml(conf: Conf) -> Path | None:
    """Return the YAML that `opt` names, if it is at hand."""
    path = conf.path("train", "opt")
    return path if path is not None and path.is_file() else None


def told(path: Path) -> str:
    """Return a path as a word that is no option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def without_effect(changed: Mapping[str, Any], why: Mapping[str, str]) -> list[str]:
    """Return a sentence for each option that is set and has no counterpart."""
    return [f"{name} has no counterpart: {why[name]}." for name in changed if name in why]


def train_words(conf: Conf) -> tuple[list[str], list[str], str]:
    """Return the options of `scanweave train`, notes, and what is missing."""
    job, preset = preset_of(conf)
    changed = conf.changed("train")
    words = [word for name, flag in _FOLDERS.items() for word in _file(conf, name, flag)]
    for name, flag in _CHANGED.items():
        if changed.get(name) is not None:
            words += [flag, *_values(changed[name])]
    if changed.get("sub_dataset"):
        words += ["--recipe.pairs.part", str(changed.pop("sub_dataset_frac", 1.0))]
    notes = without_effect(changed, _IDLE)
    if published_yaml(conf) is not None:
        notes.append(f"opt is read for the file that is written with -o; in the command {preset} stands for it.")
    elif conf.get("train", "opt") is not None:
        notes.append(f"opt is not at hand: {preset} stands for it; what you changed in it, say by options.")
    words += _length(conf, preset)
    words += _start(conf, notes)
    words += _swin(conf) if job == "swin-xvr" and conf.model == "SwinIRModel" else _edvr(conf, preset, notes)
    words += _context(conf, notes)
    lacking = [name for name in ("dir-hi-train", "dir-lo-train") if conf.get("train", name) is None]
    return words, notes, f"{' and '.join(lacking)}: the folders of pictures" if lacking else ""


def _file(conf: Conf, name: str, flag: str) -> list[str]:
    path = conf.path("train", name)
    return [] if path is None else [flag, told(path)]


def _values(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, tuple) else [str(value)]


def _length(conf: Conf, preset: str) -> list[str]:
    """Return how long, and in which batches."""
    values, changed = conf.values, conf.changed("train")
    words: list[str] = []
    if changed.get("single_epoch_ok"):
        words += ["--training.steps", "None", "--training.epochs", "1"]
    elif "iter_div_factor" in changed and preset != "edvr-stf-reds":
        words += ["--training.steps", str(max(1, round(_ITERATIONS / values["train", "iter_div_factor"])))]
    if "batch_size" in changed:  # theirs is of one process
        words += ["--training.batch", str(values["train", "batch_size"] * _PROCESSES.get(preset, 4))]
    if values["train", "warmup_iter"] > 0:
        words += ["--recipe.rate.warm-up", str(values["train", "warmup_iter"])]
    return words


def _start(conf: Conf, notes: list[str]) -> list[str]:
    path = conf.path("train", "pretrain_network_g")
    if path is None:
        return []
    number = path.stem.rpartition("_")[2]
    state = path.parent.parent / "training_states" / f"{number}.state"
    notes.append(
        "Training starts anew from these weights; the published program goes on with their optimizer and iteration:"
        f" --recipe.state {state} --recipe.continue-iteration."
    )
    return ["--recipe.start", told(path)]


def _swin(conf: Conf) -> list[str]:
    """Return the network's sizes: the published command line states all of them, over its YAML.

    Weights that training starts from have their own; those of the preset then go back to what means none.
    """
    values = {name: value for (section, name), value in conf.values.items() if section == "train"}
    words = ["--recipe.pairs.enlarge", str(max(1, math.ceil(values["dataset_enlarge_ratio"])))]
    words += ["--recipe.rate.base", str(values["initial_lr"])]
    given = conf.path("train", "pretrain_network_g") is not None
    side, width = ("8", "192") if given else (str(values[name]) for name in ("window_size_spatial", "embed_dim"))
    words += ["--recipe.network.width", width, "--recipe.network.features", width]
    words += ["--recipe.network.window", "5", side, side]
    if published_yaml(conf) is None:  # which says how many that are scaled
        words += ["--recipe.network.heads", *["3"] * 4]
    if given:
        return [*words, "--recipe.drop", str(values["drop_path_rate"])]
    words += [word for name, flag in _SIZES.items() for word in (flag, str(values[name]))]
    frames = str(values["num_frame"])
    return [*words, "--recipe.network.coarse", frames, "--recipe.pairs.frames.coarse", frames]


def _edvr(conf: Conf, preset: str, notes: list[str]) -> list[str]:
    changed = conf.changed("train")
    if "dataset_enlarge_ratio" in changed:
        notes.append("dataset_enlarge_ratio has no effect on EDVRModel, whose YAML states it: --recipe.pairs.enlarge.")
    if preset == "edvr-stf-reds":
        for name, ours in {"initial_lr": "--recipe.rate.base", "iter_div_factor": "--training.steps"}.items():
            if name in changed:
                notes.append(f"{name} has no effect on EDVRModel and virtual data, whose YAML states it: {ours}.")
        return []
    return ["--recipe.rate.base", str(conf.values["train", "initial_lr"])]


def _context(conf: Conf, notes: list[str]) -> list[str]:
    names = {"dataroot_context": "--recipe.pairs.context", "meta_info_context": "--recipe.pairs.context-map"}
    words = [word for name, flag in names.items() for word in _file(conf, name, flag)]
    if words and not conf.get("train", "use_nearest_context"):
        notes.append("use_nearest_context is off: dataroot_context and meta_info_context are not used.")
        return []
    return words
