"""Every option of XFusion's ``xfusion.conf``, by section, with its default, and how its text is read.

Some options exist for one of the two models, or one of the two kinds of data, only; the file of another has them not.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError

MODELS = ("SwinIRModel", "EDVRModel")
DATA = ("actual", "virtual")

_DEFAULTS: dict[str, dict[str, Any]] = {
    "general": {"config": "~/xfusion.conf", "model_type": "SwinIRModel", "data_type": "virtual", "verbose": True},
    "home": {
        "home": "~/xfusion",
        "train-home": "~/xfusion/train",
        "inference-home": "~/xfusion/inference",
        "log-home": "~/xfusion/log",
        "calibration-home": "~/xfusion/calibration",
    },
    "convert": {
        "dir-lo-convert": "~/xfusion/train/train_sharp_bicubic/X4/",
        "dir-hi-convert": "~/xfusion/train/train_sharp/",
        "out-dir-lo": "~/xfusion/train/train_sharp_mono_1ch_bicubic/X4/",
        "out-dir-hi": "~/xfusion/train/train_sharp_mono_1ch/",
    },
    "train": {
        **dict.fromkeys(("dir-lo-train", "dir-hi-train", "dir-lo-val", "dir-hi-val", "opt"), "."),
        **dict.fromkeys(("path-train-meta-info-file", "path-val-meta-info-file"), "."),
        "pretrain_network_g": "none",
        "launcher": "none",
        "auto-resume": False,
        "local-rank": 0,
        "force-yml": "none",
        "debug": False,
        "is-train": True,
        "val_freq": 5000,
        "interval_list": "1",
        "hi_interval_mult": 1,
        "poisson_noise_b0_exp": "none",
        "iter_div_factor": 10,
        "batch_size": 1,
        "num_workers": 3,
        "warmup_iter": -1,
        "dataset_enlarge_ratio": 10.0,
        "sub_dataset": False,
        "sub_dataset_frac": 1.0,
        "single_epoch_ok": False,
        "profiler_iter_num": 3,
    },
    "download": {
        "dir-inf": "https://g-a0400.fd635.8443.data.globus.org/rad_00001/rad_00001.zip",
        "out-dir-inf": "~/xfusion/inference",
    },
    "inference": {
        "opt": ".",
        "arch-opt": ".",
        "lo-frame-sep": 1,
        "hi-frame-sep": 1,
        "b0": False,
        "img-class": "dataset1",
        "infer-mode": "stf",
        "model_file": "none",
        "num_frame_infer": 3,
        "machine": "polaris",
    },
    "train_calibration": {
        f"cal_train_{name}": value
        for name, value in {
            "name": "raft",
            "stage": "xray_ddm",
            "restore_ckpt": "",
            "small": False,
            "validation": "",
            "input_dim": 1,
            "lr": 2e-5,
            "num_steps": 100_000,
            "batch_size": 1,
            "device": "cuda",
            "mixed_precision": False,
            "launcher": "none",
            "iters": 12,
            "wdecay": 5e-5,
            "epsilon": 1e-8,
            "clip": 1.0,
            "dropout": 0.0,
            "gamma": 0.8,
            "image_root": "",
            "meta_info_file": "",
            "window_size": 128,
            "dataset_enlarge_ratio": 1000,
            "save_path": "",
            "dist_url": "env://",
            "find_unused_parameters": False,
            "num_frames": 3,
            "evaluator_weights": "",
            "flow_weights": "",
            "full_weights": "none",
            "opt_path": "",
            "factor": 1,
            "num_frame_total": 5,
            "pixel_size_ratio": 4,
            "split_encoder": False,
            "poisson_b0_exponent": "none",
            **{f"{of}_{end}": "none" for of in ("scaling", "rotation", "translation") for end in ("min", "max")},
            "mask_valid_for_fusion_ok": False,
        }.items()
    },
    "calibrate": {
        "cal_model_file": "none",
        "cal_dir": "",
        "cal_id": "none",
        "tol_pos": 0.1,
        "tol_area": 0.1,
        "tol_rotation": 0.06,
        "cal_device": 0,
        "small": False,
        "mixed_precision": False,
        "split_encoder": True,
        "flow_iters": 12,
        "input_dim": 1,
        "window_size": 384,
    },
    "train/SwinIRModel": {
        "drop_path_rate": 0.2,
        "embed_dim": 192,
        "scale_depth": 1,
        "scale_mha": 1,
        "window_size_spatial": 8,
        "resi_connection": "1conv",
        "conv_window_size": 3,
        "num_frame": 3,
        "initial_lr": 5e-6,
    },
    "train/EDVRModel": {"initial_lr": 2e-4},
    "inference/SwinIRModel": {
        "align_features_ok": False,
        "adapt_deformable_conv": False,
        "scale_mha": 1,
        "embed_dim": 192,
        "window_size_spatial": 8,
        "scale_depth": 1,
    },
    "train/actual": {"dataroot_context": ".", "meta_info_context": ".", "use_nearest_context": False},
    "inference/actual": {
        "traverse-mode": "double",
        "tfm_file": "tfm_1_flow_init.npy",
        "meta_file_scale": "scale_factor_1_corrected_flow_init.npy",
        "input_dir": "",
        "case_list": [],
        "device": 0,
    },
}
_CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("general", "model_type"): MODELS,
    ("general", "data_type"): DATA,
    ("train", "launcher"): ("none", "pytorch", "slurm", "polaris"),
    ("train", "resi_connection"): ("1conv", "3conv", "0conv"),
    ("inference", "infer-mode"): ("stf", "sr", "bil", "bic", "itpf"),
    ("inference", "machine"): ("none", "tomo", "polaris"),
    ("inference", "traverse-mode"): ("continuous", "double"),
    ("train_calibration", "cal_train_launcher"): ("none", "pytorch", "polaris"),
}
_FLAGS = {
    ("general", "verbose"),
    *(("train", name) for name in ("auto-resume", "debug", "is-train")),
    ("inference", "b0"),
    *(("train_calibration", f"cal_train_{name}") for name in ("small", "mixed_precision")),
}
_RANGES = {"poisson_noise_b0_exp", "cal_train_poisson_b0_exponent"}
_OF_MAIN = {("inference", "num_frame"): "num_frame_infer"}  # as another revision calls it
_PREFIX = "cal_train_"


@dataclass(frozen=True, slots=True)
class Option:
    """One published option.

    Attributes:
        section: Of the file.
        name: As the published program spells it.
        default: As it writes it into a new file.
        only: The model or the kind of data that has it; empty if all have.
        choices: Its values, where they are few.
        flag: Whether it stands without a value on the command line.
    """

    section: str
    name: str
    default: Any
    only: str = ""
    choices: tuple[str, ...] = ()
    flag: bool = False

    @property
    def is_list(self) -> bool:
        """Whether it may have many values."""
        return isinstance(self.default, list)

    def read(self, text: str) -> Any:
        """Return the value that a text says: of the default's type; ranges and whole numbers as tuples.

        Raises:
            UsageError: It is no such value.
        """
        try:
            value = self._reader()(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise UsageError(f"{self.name} is {text!r} in [{self.section}]", remedy=self._expected()) from error
        if self.choices and value not in self.choices:
            raise UsageError(f"{self.name} is {text!r} in [{self.section}]", remedy=f"give {', '.join(self.choices)}")
        return value

    def usual(self) -> Any:
        """Return the default as a value."""
        return self.read(self.default) if isinstance(self.default, str) else self.default

    def _reader(self) -> Callable[[str], Any]:
        if self.name in _RANGES:
            return _range
        if self.name == "interval_list":
            return lambda text: tuple(int(one) for one in listed(text))
        if self.default == "none" and self.name.endswith(("_min", "_max")):
            return lambda text: None if _nothing(text) else _number(text)
        kinds: dict[type, Callable[[str], Any]] = {bool: _switch, int: int, float: _number, list: listed, str: str}
        return kinds[type(self.default)]

    def _expected(self) -> str:
        if self.name in _RANGES:
            return "give two numbers such as 2,5, or none"
        kinds = {
            bool: "True or False",
            int: "a whole number",
            float: "a number",
            list: "names such as a,b",
            str: "text",
        }
        return f"give {'whole numbers such as 1,2' if self.name == 'interval_list' else kinds[type(self.default)]}"


def _all() -> tuple[Option, ...]:
    found = []
    for place, defaults in _DEFAULTS.items():
        section, _, only = place.partition("/")
        for name, default in defaults.items():
            key = (section, name)
            found.append(Option(section, name, default, only, _CHOICES.get(key, ()), key in _FLAGS))
    return tuple(found)


OPTIONS = _all()
"""Of every model and kind of data."""

SECTIONS = tuple(place for place in _DEFAULTS if "/" not in place)


def options_of(model: str, data: str) -> Mapping[tuple[str, str], Option]:
    """Return the options that a file for one model and one kind of data has, by section and name."""
    return {(one.section, one.name): one for one in OPTIONS if one.only in ("", model, data)}


def option_of(section: str, name: str) -> tuple[Option, str]:
    """Return an option by any spelling of it, and what is to be said of the spelling.

    Of options that two models have, the first is returned: they differ in their defaults only.

    Raises:
        UsageError: There is none; the nearest is named.
    """
    mine = {one.name: one for one in reversed(OPTIONS) if one.section == section}
    if name in mine:
        return mine[name], ""
    if (section, name) in _OF_MAIN:
        return mine[_OF_MAIN[section, name]], f"{name} is {_OF_MAIN[section, name]} of a newer revision."
    spelt = {_plain(one): one for one in mine}
    for other in (name, _PREFIX + name):
        if _plain(other) in spelt:
            known = spelt[_plain(other)]
            return mine[known], f"{name} does nothing in the published program, which calls it {known}; taken as that."
    near = difflib.get_close_matches(name, mine, 1, 0.5)
    elsewhere = [one.section for one in OPTIONS if _plain(one.name) == _plain(name)]
    remedy = f"it is one of [{elsewhere[0]}]" if elsewhere else f"did you mean {near[0]}?" if near else None
    raise UsageError(f"[{section}] has no option {name}", remedy=remedy)


def listed(text: str) -> list[str]:
    """Return a list that is written with commas, or as Python writes it; nothing is evaluated.

    Raises:
        ValueError, SyntaxError: It is none.

    Example:
        >>> listed("['case 1', 'case 2']"), listed("case 1, case 2"), listed("")
        (['case 1', 'case 2'], ['case 1', 'case 2'], [])
    """
    if text.startswith(("[", "(")):
        try:
            values: Iterable[Any] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values = text.strip("[]()").split(",")  # words without quotes
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise ValueError(text)
    else:
        values = text.split(",")
    return [word for word in (str(one).strip() for one in values) if word]


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()


def _nothing(text: str) -> bool:
    return text.lower() in ("", "none")


def _switch(text: str) -> bool:
    values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _range(text: str) -> tuple[float, float] | None:
    if _nothing(text):
        return None
    low, high = (_number(one) for one in listed(text))
    return low, high
