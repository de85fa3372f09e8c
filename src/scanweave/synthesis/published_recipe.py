"""From Uni-COAL's published options to sections ``training`` and ``recipe``, and to the task of an evaluation.

What the published program does otherwise than its authors meant is mended, and said; or left as it is, by option.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .published_tasks import Task

Told = Mapping[str, Any]

_NIFTI = ("cmsrnii", "cmsreval")
_LAYOUTS = ("cmsr", "cmsrlazy", *_NIFTI)
_TRANSFORMS = ("Normalize", "ToTensor", "Standardize", "CropToFixed", "Identity")
_FLIP = "RandomFlip"
_G, _D = "model.G", "model.D"
_SYNTHESIS, _ENCODER = f"{_G}.synthesis_kwargs", f"{_G}.encoder_kwargs"


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A published training in our words.

    Attributes:
        settings: Sections ``training`` and ``recipe`` of plain values, as `scanweave train --config` reads them.
        notes: What is done otherwise than the file says, or must be known of it, one sentence each.
    """

    settings: Mapping[str, Any]
    notes: tuple[str, ...]


def training_of(told: Told, *, as_published: bool = False, sam: Path | None = None) -> Translation:
    """Return what a training with these options is.

    Args:
        told: Every published option that is not idle.
        as_published: Leave the recipe's known faults in: no average weights where the file has none, and a generator
            that is not told the position where the file says so.
        sam: File of SAM's weights, which the published program takes from a place of its own.

    Raises:
        UsageError: Options contradict each other, or ask for what cannot be had here.
    """
    if told["loaders.dataset_mode"] not in _LAYOUTS:
        raise UsageError(
            f"loaders.dataset_mode is {told['loaders.dataset_mode']!r}, one of the authors' comparisons",
            remedy=f"choose one of {', '.join(_LAYOUTS)}",
        )
    task, batch = _task(told), told["loaders.batch_size"]
    positions = _positions(told, task, as_published=as_published)
    averages = _averages(told, as_published=as_published)
    validations = _validations(told, batch, as_published=as_published)
    latents = _latents(told, as_published=as_published)
    recipe: dict[str, Any] = {
        "source": "folder",
        "task": task,
        "data": _data(told, as_published=as_published),
        "generator": {**_generator(told, task), **positions.values},
        "critic": _critic(told, task),
        "loss": _loss(told, sam),
        "rate": {"strategy": "constant", "base": told["optimizer.lr_G"]},
        "critic_rate": {"strategy": "constant", "base": told["optimizer.lr_D"]},
        **latents.values,
        "frozen_layers": max(told[f"{_SYNTHESIS}.freeze_layer"] + 1, 0),
        **averages.values,
    }
    if not positions.values["position"] and max(task["spacings"]) > 1:
        recipe["untold_position"] = True
    if told[f"{_G}.pre_trained_resnet"]:
        recipe["start"] = str(told[f"{_G}.pre_trained_resnet"])
    training = {
        "epochs": told["scheduler.n_epochs"] + told["scheduler.n_epochs_decay"],
        "batch": batch,
        "workers": told["loaders.num_threads"],
        "log_every": _steps(told["trainer.print_freq"], batch),
        "picture_every": _steps(told["trainer.display_freq"], batch),
        **validations.values,
    }
    said = (part.said for part in (positions, averages, latents, validations))
    return Translation(
        settings={"training": training, "recipe": recipe},
        notes=tuple(sentence for sentence in said if sentence),
    )


def evaluation_of(told: Told, *, name: str, as_published: bool = False) -> tuple[Task, tuple[str, ...]]:
    """Return what an evaluation with these options makes, and what must be known of it.

    Args:
        told: Every published option that is not idle.
        name: The file's name without its ending. One of the authors' files asks for something else than its name
            tells: then the name is right.
        as_published: Then the options are.

    Raises:
        UsageError: The options name no single task.
    """
    outputs, inputs = told["loaders.raw_internal_path_out"], told["loaders.raw_internal_path_in"]
    spacings, index = told["loaders.thickness"] or (1,), told["loaders.test.target_modality"]
    if len(inputs) != 1 or len(spacings) != 1 or not -len(outputs) <= index < len(outputs):
        raise UsageError(
            f"sources {list(inputs)}, target {index} of {list(outputs)} and spacings {list(spacings)}: no single task",
            remedy="name one source, one thickness, and a target_modality among the targets",
        )
    facts = inputs[0], outputs[index], spacings[0]
    named = _named(name)
    if named is not None and (named.source, named.target, named.spacing) != facts:
        wins = "its options hold, as published" if as_published else "its name holds"
        said = (
            f"{name} asks for {facts[0]} to {facts[1]} at spacing {facts[2]:g}, which its name does not tell: {wins}."
        )
        return (Task(*facts) if as_published else named), (said,)
    notes: tuple[str, ...] = ()
    if inputs[0] == outputs[-1] and len(outputs) > 1:
        notes = (f"The published program fails with source {inputs[0]}, which it takes for the target; here it works.",)
    return Task(*facts), notes


@dataclass(frozen=True)
class _Mended:
    """Some settings, and what is done otherwise than the file says."""

    values: Mapping[str, Any]
    said: str = ""


# --- the recipe's sections --------------------------------------------------------------------------------------------


def _task(told: Told) -> dict[str, Any]:
    inputs, outputs = told["loaders.raw_internal_path_in"], told["loaders.raw_internal_path_out"]
    if not inputs or not outputs:
        raise UsageError(
            "loaders.raw_internal_path_in and _out name no contrasts", remedy="name one each at least, such as [T1]"
        )
    random_in, random_out = told["loaders.random_modality_in"], told["loaders.random_modality_out"]
    if (random_in or random_out) and not told["loaders.all_hr"]:
        raise UsageError(
            "loaders.all_hr is false: then all targets but the last are taken for thick, which is not offered",
            remedy="set loaders.all_hr true",
        )
    spacings = told["loaders.thickness"]
    if not all(isinstance(step, int | float) and step >= 1 for step in spacings):
        raise UsageError(f"loaders.thickness is {list(spacings)}", remedy="give distances of slices, 1 at least")
    return {
        "sources": list(inputs),
        "targets": list(outputs) if random_out else [outputs[-1]],
        "take": "one" if random_in else "all",
        "slices": told["loaders.slice_num"] if spacings else 1,
        "spacings": [float(step) for step in spacings] or [1.0],
        "side": told[f"{_G}.img_resolution"],
    }


def _data(told: Told, *, as_published: bool) -> dict[str, Any]:
    """Return where subjects lie, and how slices are taken of them."""
    names = _transforms(told)
    unknown = [name for name in names if name not in (*_TRANSFORMS, _FLIP)]
    if unknown:
        raise UsageError(
            f"transforms {', '.join(dict.fromkeys(unknown))} are not offered; no published recipe has them",
            remedy="remove them",
        )
    flipped = ("volume" if as_published else "sample") if _FLIP in names else "none"
    layout = "folder" if told["loaders.dataset_mode"] in _NIFTI else "published"
    data = {"layout": layout, "flips": flipped, "ends": "black" if as_published else "replicate"}
    places = [Path(path) for path in told["loaders.train.file_paths"]]
    if len(places) > 1:
        raise UsageError(
            f"loaders.train.file_paths names {len(places)} places",
            remedy="name one folder train, beside val and test, or one list of files",
        )
    if not places:
        return data
    # a folder or list called train states the split: what lies beside it does too
    return {**data, "path": str(places[0].parent if places[0].stem == "train" else places[0])}


def _generator(told: Told, task: Mapping[str, Any]) -> dict[str, Any]:
    contrasts, modulated = len(task["targets"]), told[f"{_ENCODER}.modulated"]
    _require(told, f"{_G}.img_channels_in", _channels(task), "slices of all sources of a sample")
    _require_contrasts(told, f"{_G}.c_dim", contrasts)
    if modulated:
        _require_contrasts(told, f"{_ENCODER}.mapping_kwargs.c_dim", contrasts)
        _require(told, f"{_ENCODER}.mapping_kwargs.embed_features", 64, "as all published recipes have it")
        _require(told, f"{_ENCODER}.mapping_kwargs.num_layers", 2, "as all published recipes have it")
        waves = told[f"{_G}.mapping_kwargs.posi_emb"]
        _require(told, f"{_ENCODER}.mapping_kwargs.posi_emb", waves, f"as {_G}.mapping_kwargs.posi_emb")
    return {
        "latent": told[f"{_G}.z_dim"],
        "width": told[f"{_G}.w_dim"],
        "mapping_layers": told[f"{_G}.mapping_kwargs.num_layers"],
        "encoder_modulated": modulated,
        "layers": told[f"{_SYNTHESIS}.num_layers"],
        "channel_base": told[f"{_SYNTHESIS}.channel_base"],
        "channel_max": told[f"{_SYNTHESIS}.channel_max"],
        "skip_resolution": told[f"{_SYNTHESIS}.skip_resolution"],
        "margin": told[f"{_SYNTHESIS}.margin_size"],
        "oversampled": told[f"{_SYNTHESIS}.lrelu_upsampling"],
        "coordinate": told[f"{_SYNTHESIS}.coord_conv"],
        "position_waves": told[f"{_G}.mapping_kwargs.posi_emb"],
        "dropout": told[f"{_ENCODER}.dropout_rate"],
    }


def _positions(told: Told, task: Mapping[str, Any], *, as_published: bool) -> _Mended:
    """Return which mappings are told the position; the published program tells none if the generator's is not."""
    generator = bool(told[f"{_G}.index_dim"])
    values = {"position": generator, "encoder_position": bool(told[f"{_ENCODER}.mapping_kwargs.index_dim"])}
    if generator or max(task["spacings"]) == 1:
        return _Mended(values)
    if as_published:
        return _Mended(
            values, "Styles are not told the position, as published, where no network is: slices cannot be told apart."
        )
    return _Mended(
        values | {"position": True},
        "The generator is told the position: with model.G.index_dim 0, as the file has it, the published program tells "
        "no network which slice is wanted.",
    )


def _critic(told: Told, task: Mapping[str, Any]) -> dict[str, Any]:
    _require(told, f"{_D}.img_channels", _channels(task) + 1, "the source's and one more")
    _require(told, f"{_D}.img_resolution", task["side"], f"as {_G}.img_resolution")
    _require_contrasts(told, f"{_D}.c_dim", len(task["targets"]))
    return {
        "channel_base": told[f"{_D}.channel_base"],
        "channel_max": told[f"{_D}.channel_max"],
        "embedded": told[f"{_D}.mapping_kwargs.embed_features"],
        "mapping_layers": told[f"{_D}.mapping_kwargs.num_layers"],
        "position": bool(told[f"{_D}.index_dim"]),
        "group": told[f"{_D}.epilogue_kwargs.mbstd_group_size"],
    }


def _loss(told: Told, sam: Path | None) -> dict[str, Any]:
    loss = {
        "adversarial": 1.0,
        "absolute": told["loss.lambda_L1"],
        "features": told["loss.lambda_sam"],
        "penalty": told["loss.lambda_r1"],
        "penalty_every": 1,
        "blur": told["loss.blur_init_sigma"],
        "blur_fade": round(1000 * told["loss.blur_fade_kimg"]),
    }
    return loss if sam is None else loss | {"sam": str(sam)}


def _averages(told: Told, *, as_published: bool) -> _Mended:
    values = {
        "average_images": 1000 * told["scheduler.ema.ema_kimgs"],
        "average_ramp": told["scheduler.ema.ramp"],
    }
    if told["scheduler.ema.enabled"]:
        return _Mended(values)
    if as_published:
        return _Mended(
            {"average_images": None, "average_ramp": None},
            "There are no average weights, as published, though the published evaluation looks at them alone.",
        )
    return _Mended(
        values,
        "Average weights are trained: with scheduler.ema.enabled false, as the file has it, the published program "
        "evaluates the weights that it began with.",
    )


def _latents(told: Told, *, as_published: bool) -> _Mended:
    if told["loaders.subject_consistent"] or as_published:
        return _Mended({"one_z": told["loaders.subject_consistent"]})
    return _Mended(
        {"one_z": True},
        "All slices of a subject share one z: with loaders.subject_consistent false, as the file has it, each has its "
        "own, and volumes flicker from slice to slice.",
    )


def _validations(told: Told, batch: int, *, as_published: bool) -> _Mended:
    """Return how often is validated and saved; the published counters fire at exact multiples of the batch alone."""
    images = told["trainer.save_latest_freq"]
    common, said = math.lcm(images, batch), ""
    if common != images and not as_published:
        said = f"Saved and validated about every {images} images, where the published program waits for {common}."
    steps = _steps(common if as_published else images, batch)
    return _Mended({"validate_every": steps, "checkpoint_every": steps}, said)


# --- small parts ------------------------------------------------------------------------------------------------------


def _steps(images: int, batch: int) -> int:
    return max(1, round(images / batch))


def _channels(task: Mapping[str, Any]) -> int:
    """Return the channels of a sample's source."""
    sources: Sequence[str] = task["sources"]
    others = [name for name in sources if name != task["targets"][0]] or sources
    return int(task["slices"]) * (1 if task["take"] == "one" else len(others))


def _require(told: Told, name: str, expected: Any, why: str) -> None:
    if told[name] != expected:
        raise UsageError(f"{name} is {told[name]!r}, not {expected!r} ({why})", remedy=f"set it to {expected!r}")


def _require_contrasts(told: Told, name: str, contrasts: int) -> None:
    _require(told, name, contrasts, "one number for each contrast that is made")


def _transforms(told: Told) -> list[str]:
    """Return the names of all transforms that are listed anywhere."""
    lists = [value for name, value in told.items() if "transformer" in name and isinstance(value, list | tuple)]
    return [str(item.get("name")) if isinstance(item, Mapping) else str(item) for members in lists for item in members]


def _named(name: str) -> Task | None:
    try:
        return Task.named(name)
    except UsageError:
        return None
