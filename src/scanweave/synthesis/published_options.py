"""Every option of Uni-COAL's published configuration files, and what becomes of it here.

An option is taken over; or fixed, because only its usual value can be had here; or idle, because it does nothing in the
published program either, or is not a matter of what is trained.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from ..errors import UsageError

Fate = Literal["taken", "fixed", "idle"]


@dataclass(frozen=True, slots=True)
class Option:
    """One published option.

    Attributes:
        default: Its value where no file sets it; its type is that of every value.
        fate: ``taken``, ``fixed`` or ``idle``.
        why: Why another value than the default is refused, or why it is idle.
        legal: Further values that a fixed option may have.
    """

    default: Any
    fate: Fate = "taken"
    why: str = ""
    legal: tuple[Any, ...] = ()


def _fixed(default: Any, why: str, *legal: Any) -> Option:
    return Option(default, "fixed", why, legal)


def _idle(why: str, default: Any = None) -> Option:
    return Option(default, "idle", why)


_ARCHITECTURE = "no published weights have another value"
_DRAWN = "it draws pictures or logs them elsewhere; see training.picture_every and log_every, and no network is used"
_DEAD = "it is dead or broken in the published program"
_SCHEDULE = "the published schedule is attached to optimizers that are replaced: rates stay constant whatever it says"
_PATCHES = "whole slices are made: there are no patches to cut or join"

_SYNTHESIS: dict[str, Option] = {
    "channel_base": Option(16384),
    "channel_max": Option(512),
    "num_layers": Option(14),
    "num_critical": _fixed(2, _ARCHITECTURE),
    "first_cutoff": _fixed(2.0, _ARCHITECTURE),
    "first_stopband": _fixed(2**2.1, _ARCHITECTURE),
    "last_stopband_rel": _fixed(2**0.3, _ARCHITECTURE),
    "margin_size": Option(10),
    "output_scale": _fixed(0.25, _ARCHITECTURE),
    "skip_resolution": Option(128),
    "freeze_layer": Option(-1),
    "coord_conv": Option(False),
    "conv_kernel": _fixed(3, _ARCHITECTURE),
    "filter_size": _fixed(6, _ARCHITECTURE),
    "lrelu_upsampling": Option(2),
    "use_radial_filters": _fixed(False, _ARCHITECTURE),
    "conv_clamp": _fixed(256.0, _ARCHITECTURE, 256),
    "magnitude_ema_beta": _idle("these averages are never updated in the published program and stay 1"),
    "cond_mod": _fixed(True, _ARCHITECTURE),
    "num_fp16_res": _idle(_DEAD),
    "noise_mode": _idle(_DEAD),
    "update_emas": _idle("the published program always sets it false"),
}
_ENCODER: dict[str, Option] = {
    "name": _fixed("ReversedEncoder", "there is no other encoder"),
    "dropout_rate": Option(0.5),
    "modulated": Option(False),
    "mapping_kwargs.c_dim": Option(0),
    "mapping_kwargs.index_dim": Option(0),
    "mapping_kwargs.w_dim": _fixed(512, "the published encoder takes 512 whatever it says"),
    "mapping_kwargs.embed_features": Option(512),
    "mapping_kwargs.num_layers": Option(2),
    "mapping_kwargs.posi_emb": Option("linear"),
}

OPTIONS: Mapping[str, Option] = {
    "name": Option(""),
    "checkpoints_dir": Option("./checkpoints"),
    "continue_train": Option(False),
    "epoch": Option(None),
    "load_iter": Option(0),
    "isTrain": _idle("the command says whether it trains"),
    "gpu_ids": _idle("see training.device and training.processes"),
    "manual_seed": _idle("the published program ignores it; see training.seed"),
    "loaders.dataset_mode": Option("cmsr"),
    "loaders.batch_size": Option(8),
    "loaders.num_threads": Option(8),
    "loaders.serial_batches": _idle(
        "training draws samples in a shuffled order, evaluation takes them in order", False
    ),
    "loaders.raw_internal_path_in": Option(()),
    "loaders.raw_internal_path_out": Option(()),
    "loaders.label_internal_path": _idle("labels take no part in synthesis; see scanweave evaluate synthesis"),
    "loaders.random_modality_in": Option(False),
    "loaders.random_modality_out": Option(False),
    "loaders.all_hr": Option(False),
    "loaders.thickness": Option(()),
    "loaders.out_thickness": _fixed(1.0, "the published program drops half of the slices then", 1),
    "loaders.slice_num": Option(3),
    "loaders.input_thickness_match": _fixed(False, "a source's contrast is not tied to its spacing here"),
    "loaders.subject_consistent": Option(False),
    "loaders.mirror_padding": _idle("it never pads, and crops what is saved", (0, 0, 0)),
    "loaders.global_normalization": _fixed(False, "it crashes in the published program"),
    "loaders.train.file_paths": Option(()),
    "loaders.test.file_paths": Option(()),
    "loaders.test.ori_file_path": Option(""),
    "loaders.test.target_modality": Option(-1),
    "model.name": _idle("the command names the network: uni-coal"),
    "model.combine_ab": _fixed(True, "the critic always sees the source beside the target"),
    "model.G.z_dim": Option(512),
    "model.G.w_dim": Option(512),
    "model.G.c_dim": Option(0),
    "model.G.index_dim": Option(0),
    "model.G.img_resolution": Option(256),
    "model.G.img_channels_in": Option(1),
    "model.G.img_channels_out": _fixed(1, "one slice is made at a time"),
    "model.G.pre_trained_resnet": Option(None),
    "model.G.mapping_kwargs.num_layers": Option(8),
    "model.G.mapping_kwargs.posi_emb": Option("linear"),
    **{f"model.G.synthesis_kwargs.{name}": option for name, option in _SYNTHESIS.items()},
    **{f"model.G.encoder_kwargs.{name}": option for name, option in _ENCODER.items()},
    "model.D.img_resolution": Option(256),
    "model.D.channel_base": Option(16384),
    "model.D.channel_max": Option(512),
    "model.D.c_dim": Option(0),
    "model.D.index_dim": Option(0),
    "model.D.img_channels": Option(2),
    "model.D.mapping_kwargs.num_layers": Option(8),
    "model.D.mapping_kwargs.embed_features": Option(512),
    "model.D.mapping_kwargs.posi_emb": _fixed("linear", _ARCHITECTURE),
    "model.D.epilogue_kwargs.mbstd_group_size": Option(16),
    "optimizer.lr_G": Option(2e-4),
    "optimizer.lr_D": Option(2e-4),
    "loss.lambda_L1": Option(100.0),
    "loss.lambda_sam": Option(0.0),
    "loss.lambda_vgg": _fixed(0.0, "the perceptual term of the first sample alone is not offered", 0),
    "loss.lambda_r1": Option(10.0),
    "loss.lambda_consistency": _fixed(0.0, "consistency between windows is not offered; no published recipe has it", 0),
    "loss.lambda_SG": _idle("no term of Uni-COAL has this weight", 1.0),
    "loss.blur_init_sigma": Option(0.0),
    "loss.blur_fade_kimg": Option(0.0),
    "scheduler.n_epochs": Option(100),
    "scheduler.n_epochs_decay": Option(100),
    "scheduler.lr_policy": _idle(_SCHEDULE, "linear"),
    "scheduler.ema.enabled": Option(False),
    "scheduler.ema.ema_kimgs": Option(10.0),
    "scheduler.ema.ramp": Option(None),
    "trainer.print_freq": Option(100),
    "trainer.display_freq": Option(400),
    "trainer.update_html_freq": _idle(_DRAWN),
    "trainer.save_latest_freq": Option(5000),
    "trainer.save_epoch_freq": _idle("see training.keep_last and training.keep_best"),
}
"""By dotted name; those of `PATTERNS` beside them."""

PATTERNS: Mapping[str, Option] = {
    "display.*": _idle(_DRAWN),
    "predictor.*": _idle(_PATCHES),
    "loaders.*slice_builder.name": _fixed("SliceBuilder", "slices are not chosen by grey levels or labels here"),
    "loaders.*slice_builder*": _idle(_PATCHES),
    "loaders.*transformer*": Option(None),
    "transformer.*": Option(None),
    "*.style_mixing_prob": _fixed(0.0, "it crashes in the published program; see recipe.style_mixing", 0),
    "*.beta1": _idle("Adam's betas are 0 and 0.99 whatever it says"),
    "*.gan_mode": _idle("the loss is the logistic one whatever it says"),
    "*.lr_decay_iters": _idle(_SCHEDULE),
    "*.lr_decay_gamma": _idle(_SCHEDULE),
    "*.num_fp16_res": _idle(_DEAD),
    "*.noise_mode": _idle(_DEAD),
    "*.update_emas": _idle("the published program always sets it false"),
}
"""Parts of the tree that are one matter, and options that stand in several places."""

_ALIASES = {
    "model.G.synthesis_kwargs.encoder_kwargs.": "model.G.encoder_kwargs.",
    "model.G.synthesis_kwargs.margin": "model.G.synthesis_kwargs.margin_size",
}


def canonical(name: str) -> str:
    """Return the one name of an option that may stand in two places of the tree."""
    for other, told in _ALIASES.items():
        if name == other or (other.endswith(".") and name.startswith(other)):
            return told + name.removeprefix(other)
    return name


def option_of(name: str) -> Option:
    """Return what is known of an option.

    Raises:
        UsageError: There is none of this name; the nearest is told.
    """
    if name in OPTIONS:
        return OPTIONS[name]
    for pattern, option in PATTERNS.items():
        if fnmatchcase(name, pattern):
            return option
    near = difflib.get_close_matches(name, OPTIONS, n=1, cutoff=0.5)
    raise UsageError(
        f"the published configuration has no option {name}", remedy=f"did you mean {near[0]}?" if near else None
    )


def checked(name: str, value: Any) -> Any:
    """Return the value of an option in the type of its default.

    Raises:
        UsageError: No such option, another type, or a value of a fixed one that cannot be had; each told.
    """
    option = option_of(name)
    if option.fate == "idle":
        return value
    typed = _typed(name, value, option.default)
    if option.fate == "fixed" and typed != option.default and typed not in option.legal:
        raise UsageError(f"{name} is {value!r}: {option.why}", remedy=f"set it to {option.default!r}")
    return typed


def _typed(name: str, value: Any, default: Any) -> Any:
    if default is None:
        return value
    if isinstance(default, tuple):
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list | tuple):
            return tuple(value)
    elif isinstance(default, float):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif type(value) is type(default):
        return value
    expected = "list" if isinstance(default, tuple) else type(default).__name__
    raise UsageError(f"{name} is {value!r}, which is no {expected}")
