"""Published training files (YAML) in our words: read safely, every option known, idle or refused by name.

Four such files belong to the programs: ``train_EDVR_L_x4_STF_REDS_mono_prepost.yml``, its fine-tuning
``..._xfull_plus_mult_poiss_u1v3.yml``, ``train_SwinVR_VSTFx4_reds_scratch.yml`` and
``..._remove1_u1v3_contextmap.yml``. What a file leaves out keeps the default of our recipe; the command line of the
programs changes single values of it, as ours does.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, UsageError

_JOBS = {"EDVRModel": "edvr-stf", "SwinIRModel": "swin-xvr"}
_LOSSES = {"CharbonnierLoss": "charbonnier", "L1Loss": "l1", "MSELoss": "mse"}
_SCHEDULES = (
    "CosineAnnealingRestartLR",
    "CosineAnnealingRestartCyclicLR",
    "CosineAnnealingLR",
    "TrueCosineAnnealingLR",
)

_REDS_ENDS = 270  # published readers take every frame of clips numbered below, whatever interval_list says
_VIRTUAL_XRAY = "XrayDatasetSTF"
_SECOND = 2234  # that reader has no use for the first frame of clips numbered so or higher
_DEEPEST = 20  # sections within sections
_MOST = 10_000  # values, aliases written out

_NO_ALIASES = "remove its aliases"

Converter = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _pair(value: Any) -> Any:
    return None if value is None or str(value).lower() == "none" else list(value)


def _given(value: Any) -> Any:
    return None if value is None or str(value).lower() in ("none", "~", "") else str(value)


def _count(value: Any) -> int:
    """Return a number of steps; YAML 1.1 takes 5e4 for a word.

    Raises:
        ValueError: It is no whole number.
    """
    if not float(value).is_integer():
        raise ValueError("not a whole number")
    return int(float(value))


def _counts(values: Any) -> list[int]:
    return [_count(value) for value in values]


_COMMON: Mapping[str, tuple[str, Converter]] = {
    "manual_seed": ("training.seed", int),
    "num_gpu": ("training.processes", int),
    "datasets.train.dataroot_gt": ("recipe.pairs.sharp", _given),
    "datasets.train.dataroot_lq": ("recipe.pairs.coarse", _given),
    "datasets.train.meta_info_file": ("recipe.pairs.meta", _given),
    "datasets.train.dataroot_context": ("recipe.pairs.context", _given),
    "datasets.train.meta_info_context": ("recipe.pairs.context_map", _given),
    "datasets.train.val_partition": ("recipe.pairs.partition", str),
    "datasets.train.num_frame": ("recipe.pairs.frames.coarse", int),
    "datasets.train.interval_list": ("recipe.pairs.frames.intervals", list),
    "datasets.train.hi_interval_mult": ("recipe.pairs.frames.sharp_reach", int),
    "datasets.train.random_reverse": ("recipe.pairs.frames.reverse", lambda on: 0.5 if on else 0.0),
    "datasets.train.gt_size": ("recipe.pairs.patch.side", int),
    "datasets.train.sample_patch_ok": ("recipe.pairs.patch.where", lambda on: "changing" if on else "anywhere"),
    "datasets.train.poisson_noise_b0_exp": ("recipe.pairs.patch.photons", _pair),
    "datasets.train.dataset_enlarge_ratio": ("recipe.pairs.enlarge", int),
    "datasets.train.sub_dataset_frac": ("recipe.pairs.part", float),
    "datasets.train.num_worker_per_gpu": ("training.workers", int),
    "datasets.train.padding": ("recipe.pairs.frames.padding", str),
    "datasets.val.dataroot_gt": ("recipe.pairs.validation_sharp", _given),
    "datasets.val.dataroot_lq": ("recipe.pairs.validation_coarse", _given),
    "datasets.val.meta_info_file": ("recipe.pairs.validation_meta", _given),
    "path.pretrain_network_g": ("recipe.start", _given),
    "train.ema_decay": ("recipe.average", lambda decay: float(decay) or None),
    "train.optim_g.lr": ("recipe.rate.base", float),
    "train.scheduler.periods": ("recipe.rate.periods", _counts),
    "train.scheduler.T_max": ("recipe.rate.periods", lambda steps: [_count(steps)]),
    "train.scheduler.restart_weights": ("recipe.rate.weights", list),
    "train.scheduler.eta_min": ("recipe.rate.floor", float),
    "train.total_iter": ("training.steps", _count),
    "train.pixel_opt.loss_weight": ("recipe.loss.weight", float),
    "train.pixel_opt.reduction": ("recipe.loss.reduction", str),
    "train.pixel_opt.eps": ("recipe.loss.eps", float),
    "val.val_freq": ("training.validate_every", _count),
    "val.metrics.psnr.crop_border": ("recipe.border", int),
    "logger.print_freq": ("training.log_every", int),
    "logger.save_checkpoint_freq": ("training.checkpoint_every", _count),
}
"""Published options of either family, and what they are called here."""

_OF_JOB: Mapping[str, Mapping[str, tuple[str, Converter]]] = {
    "edvr-stf": {
        "train.tsa_iter": ("recipe.fusion_first", int),
        "network_g.num_feat": ("recipe.network.features", int),
        "network_g.num_frame": ("recipe.network.coarse", int),
        "network_g.num_frame_hi": ("recipe.network.sharp", int),
        "network_g.deformable_groups": ("recipe.network.groups", int),
        "network_g.num_extract_block": ("recipe.network.extracted", int),
        "network_g.num_reconstruct_block": ("recipe.network.reconstructed", int),
        "network_g.with_tsa": ("recipe.network.attention", bool),
    },
    "swin-xvr": {
        "network_g.num_frame": ("recipe.network.coarse", int),
        "network_g.embed_dim": ("recipe.network.width", int),
        "network_g.num_feat_ext": ("recipe.network.features", int),
        "network_g.depths": ("recipe.network.depths", list),
        "network_g.num_heads": ("recipe.network.heads", list),
        "network_g.window_size": ("recipe.network.window", list),
        "network_g.mlp_ratio": ("recipe.network.ratio", float),
        "network_g.drop_path_rate": ("recipe.network.drop", float),
        "network_g.resi_connection": ("recipe.network.ending", str),
        "network_g.conv_window_size": ("recipe.network.ending_side", int),
        "network_g.num_feat_rec": ("recipe.network.upsampled", int),
        "network_g.align_features_ok": ("recipe.network.aligned", bool),
        "network_g.adapt_deformable_conv": ("recipe.network.adapted", bool),
        "network_g.deformable_groups": ("recipe.network.groups", int),
        "network_g.num_extract_block": ("recipe.network.extracted", int),
    },
}

_READ_APART = frozenset(
    {
        *("model_type", "scale", "network_g.type", "datasets.train.type", "datasets.train.batch_size_per_gpu"),
        *("datasets.train.use_hflip", "datasets.train.use_rot", "datasets.train.use_nearest_context"),
        *("datasets.train.sub_dataset", "train.optim_g.type", "train.optim_g.betas", "train.optim_g.weight_decay"),
        *("train.scheduler.type", "train.pixel_opt.type", "train.warmup_iter", "path.resume_state"),
    }
)
"""Options that are looked at together with others, or must have one value."""

_IDLE: Mapping[str, str] = {
    "name": "name the output with -o",
    "datasets.train.name": "nothing is called by it",
    "datasets.val": "validation takes whole frames in order, with nothing drawn",
    "datasets.test": "`scanweave evaluate` tests",
    "datasets.train.gt_seq_len": "the network says how many frames",
    "datasets.train.test_mode": "a training trains",
    "datasets.train.use_shuffle": "samples are always shuffled",
    "datasets.train.prefetch_mode": "see training.prefetch",
    "datasets.train.pin_memory": "always, on a GPU",
    "datasets.train.io_backend": "folders are read",
    "datasets.train.dataroot_flow": "no flow is read",
    "network_g.num_in_ch": "frames are grey",
    "network_g.num_out_ch": "frames are grey",
    "network_g.center_frame_idx": "it is the one in the middle",
    "network_g.hr_in": "coarse frames are coarse",
    "network_g.with_predeblur": "no published network has it",
    "network_g.upscale": "it is four",
    "network_g.upsampler": "there is one",
    "network_g.qkv_bias": "always",
    "network_g.img_size": "any size",
    "path.strict_load_g": "weights always fit or are refused",
    "path.strict_load": "weights always fit or are refused",
    "path.param_key_g": "found by itself",
    "train.seed": "see manual_seed",
    "val.save_img": "see training.picture_every",
    "val.metrics": "loss, psnr, ssim, basicsr_psnr and basicsr_ssim are always scored",
    "val.pbar": "progress is told",
    "logger": "every training writes a log, and one for TensorBoard",
    "dist_params": "the launcher says it, or training.processes",
    "find_unused_parameters": "parameters at rest are no difficulty here",
    "is_train": "a training trains",
    "dist": "see training.processes",
    "auto_resume": "see --resume",
}
"""Options that do nothing here, by their name or the section's, and why."""


def read_published_yaml(path: Path) -> dict[str, Any]:
    """Return a published training file as the sections of ours.

    Args:
        path: The file.

    Returns:
        ``job``; ``training`` and ``recipe``, as `scanweave.training.settings.build` takes them; and ``notes``, what
        does nothing here, one sentence each.

    Raises:
        InputError: It cannot be read, holds more than plain values, or is no mapping.
        UsageError: Options that are not known (each is named, with the nearest that is), or that cannot be had here.
    """
    options = dict(_leaves(_read(path), path))
    job = _JOBS.get(str(options.get("model_type")))
    if job is None:
        raise UsageError(
            f"model_type is {options.get('model_type')!r}", path=path, remedy=f"known are {', '.join(_JOBS)}"
        )
    table = {**_COMMON, **_OF_JOB[job]}
    told: dict[str, Any] = {"training.batch": None}
    notes = []
    unknown = [name for name in options if name not in table and name not in _READ_APART and _idle(name) is None]
    if unknown:
        known = [*table, *_READ_APART, *_IDLE]
        said = (f"{name}{_nearest(name, known)}" for name in unknown)
        raise UsageError(f"has unknown options: {'; '.join(said)}", path=path, remedy="remove or correct them")
    for name, value in options.items():
        if name in table:
            told[table[name][0]] = _converted(name, value, table[name][1], path)
        elif name not in _READ_APART:
            notes.append(f"{name} does nothing: {_idle(name)}.")
    told |= _apart(options, told, job, path)
    sections = _nested({name: value for name, value in told.items() if value is not None})
    return {"job": job, "training": sections["training"], "recipe": sections["recipe"], "notes": notes}


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if _written_out(yaml.compose(text, Loader=yaml.SafeLoader), {}) > _MOST:
            raise InputError(f"holds more than {_MOST} values, aliases written out", path=path, remedy=_NO_ALIASES)
        content = yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path, remedy="check the name") from error
    except yaml.constructor.ConstructorError as error:
        raise InputError(
            f"holds more than plain values: {error.problem}", path=path, remedy="such files are never run; remove it"
        ) from error
    except RecursionError as error:
        raise InputError(f"nests sections more than {_DEEPEST} deep", path=path, remedy=_NO_ALIASES) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"is no readable YAML: {error}", path=path) from error
    if not isinstance(content, dict):
        raise InputError("is no mapping of options", path=path)
    return content


def _written_out(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Return how many values a YAML node stands for, once aliases are written out; too many for one inside itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = _MOST  # what is met again before it is counted is inside itself
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


def _leaves(content: Mapping[Any, Any], path: Path, stem: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth > _DEEPEST:  # an alias of YAML can name the section that it is in
        raise InputError(f"nests sections more than {_DEEPEST} deep", path=path, remedy=_NO_ALIASES)
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path, f"{stem}{key}.", depth + 1)
        else:
            yield f"{stem}{key}", value


def _idle(name: str) -> str | None:
    """Return why an option, or the section that it is in, does nothing here; None if it does something."""
    parts = name.split(".")
    return next((_IDLE[stem] for k in range(len(parts), 0, -1) if (stem := ".".join(parts[:k])) in _IDLE), None)


def _converted(name: str, value: Any, converter: Converter, path: Path) -> Any:
    try:
        # YAML 1.1 takes 1e-4 for a word
        return converter(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{name} is {value!r}: {error}", path=path) from error


def _apart(options: Mapping[str, Any], told: Mapping[str, Any], job: str, path: Path) -> dict[str, Any]:
    """Return what several options say together; refuse what cannot be had here."""
    _require(options, path)
    processes = int(told.get("training.processes") or 1)
    turned = [bool(options.get(f"datasets.train.{name}", True)) for name in ("use_hflip", "use_rot")]
    name = "datasets.train.batch_size_per_gpu"
    batch = _converted(name, options.get(name, 1), int, path)
    reader = str(options.get("datasets.train.type"))
    more: dict[str, Any] = {
        "training.processes": max(processes, 1),
        "training.batch": max(processes, 1) * batch,
        "recipe.source": "pairs",
        "recipe.pairs.patch.turn": all(turned),
        "recipe.rate.strategy": "published",
        "recipe.pairs.frames.intervals_from": _REDS_ENDS,
        "recipe.pairs.frames.second_from": _SECOND if reader == _VIRTUAL_XRAY else None,
        "recipe.pairs.frames.sharp_step": "interval" if "REDS" in reader else "frame",
    }
    if any(turned) and not all(turned):
        raise UsageError("use_hflip and use_rot are not the same", path=path, remedy="flips and turns go together here")
    if "train.pixel_opt.type" in options:
        more["recipe.loss.kind"] = _LOSSES[str(options["train.pixel_opt.type"])]
    name = "train.warmup_iter"
    warm_up = _converted(name, _given(options.get(name)) or -1, _count, path)
    if warm_up > 0:
        more["recipe.rate.warm_up"] = warm_up
    if job == "swin-xvr":
        more["recipe.average_from_start"] = True
        if (width := told.get("recipe.network.width")) is not None:
            more["recipe.network.features"] = told.get("recipe.network.features", width)
    if not options.get("datasets.train.use_nearest_context", "datasets.train.dataroot_context" in options):
        more |= {"recipe.pairs.context": None, "recipe.pairs.context_map": None}
    if not options.get("datasets.train.sub_dataset", "datasets.train.sub_dataset_frac" in options):
        more["recipe.pairs.part"] = None
    folders = [told.get(f"recipe.pairs.{name}") for name in ("sharp", "validation_sharp")]
    if folders[1] is not None and folders[0] == folders[1]:  # the same set: the partition says who validates
        more |= {f"recipe.pairs.validation_{name}": None for name in ("sharp", "coarse", "meta")}
    return more


def _require(options: Mapping[str, Any], path: Path) -> None:
    """Refuse options that have one value here.

    Raises:
        UsageError: One has another, named.
    """
    allowed: Mapping[str, tuple[Any, ...]] = {
        "scale": (4,),
        "train.optim_g.type": ("Adam",),
        "train.optim_g.weight_decay": (0, 0.0),
        "train.scheduler.type": _SCHEDULES,
        "train.pixel_opt.type": tuple(_LOSSES),
    }
    for name, values in allowed.items():
        if name in options and options[name] not in values:
            raise UsageError(f"{name} is {options[name]!r}, {', '.join(map(str, values))} can be had", path=path)
    betas = options.get("train.optim_g.betas", [0.9, 0.99])
    if betas not in ([0.9, 0.99], (0.9, 0.99)):
        raise UsageError(f"train.optim_g.betas are {betas!r}, [0.9, 0.99] can be had", path=path)
    if _given(options.get("path.resume_state")) is not None:
        raise UsageError(
            "path.resume_state names a training to go on with",
            path=path,
            remedy="leave it out, and give recipe.start net_g_<iteration>.pth with recipe.state",
        )


def _nested(told: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {"training": {}, "recipe": {}}
    for name, value in told.items():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return nested


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
