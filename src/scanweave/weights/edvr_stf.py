"""EDVR-STF's files, ``net_g_<iteration>.pth``: a state dict under ``params``; sizes follow from its shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..errors import WeightsError
from .card import Card, Decision
from .containers import Content
from .layouts import Layout, Packed, Unpacked, shape_of, unwrapped

_CONTAINERS = ("params_ema", "params")
_TRAINING = {"optimizers", "schedulers"}
_TAPS = 27  # two shifts and a weight for each of 9
_SHARP = 2
_WHY = "the file does not tell; so have all published networks"


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether keys are those of this network."""
    keys = inner(items)[0]
    return not _of_transformer(keys) and any(
        key.startswith(("conv_first_hi.", "pcd_align.", "reconstruction.", "feature_extraction.")) for key in keys
    )


def _of_transformer(keys: Mapping[str, Any]) -> bool:
    return any(".residual_group." in key or key.startswith("conv_after_body.") for key in keys)


def inner(items: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the state dict of a file of this family, free of prefixes, and what was found around it.

    Of ``params`` and ``params_ema`` the latter is taken: the published programs infer with it.
    """
    for name in _CONTAINERS:
        if isinstance(found := items.get(name), Mapping) and all(isinstance(key, str) for key in found):
            state, notes = unwrapped(found)
            others = sorted(key for key in items if key != name)
            return state, notes + ([f"{name} was taken, {', '.join(others)} passed over"] if others else [])
    return unwrapped(items)


def weights_of(content: Content) -> tuple[dict[str, Any], list[str]]:
    """Return what :func:`inner` does.

    Raises:
        WeightsError: The file holds the state of a training.
    """
    if content.items.keys() >= _TRAINING:
        raise WeightsError("holds the state of a training", remedy="give net_g_<iteration>.pth of the same training")
    return inner(content.items)


def unpack(content: Content) -> Unpacked:
    """Read a state dict, in its container or bare, with or without prefixes."""
    state, notes = weights_of(content)
    config = infer_config(state)
    decisions = {}
    if (frames := _frames(state)) is not None:
        config |= {"coarse": frames - _SHARP, "sharp": _SHARP}
        decisions["sharp"] = Decision(value=_SHARP, why=_WHY)
    return Unpacked(state, config, decisions, notes=notes)


def infer_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the shapes say of its config; silent on what they do not show."""
    found = encoder_config(state)
    found["reconstructed"] = counted(state, "reconstruction")
    if any(key.startswith("fusion.") for key in state):
        found["attention"] = "fusion.weight" not in state
    return found


def encoder_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the shapes say of the part that both families share."""
    found: dict[str, Any] = {}
    if (stem := shape_of(state, "conv_first.weight", 4)) is not None:
        found["features"] = stem[0]
    if (offsets := shape_of(state, "pcd_align.cas_dcnpack.conv_offset.weight", 4)) is not None:
        found["groups"] = offsets[0] // _TAPS
        found["extracted"] = counted(state, "feature_extraction")
    return found


def counted(state: Mapping[str, Any], name: str) -> int:
    """Return how many numbered modules follow one another under a name."""
    matches = (re.match(rf"{re.escape(name)}\.(\d{{1,4}})\.", key) for key in state)
    numbers = {int(match[1]) for match in matches if match}
    return next(count for count in range(len(numbers) + 1) if count not in numbers)


def _frames(state: Mapping[str, Any]) -> int | None:
    """Return how many frames are fused."""
    kernels = (shape_of(state, f"fusion.{name}weight", 4) for name in ("feat_fusion.", ""))
    joined = next((kernel for kernel in kernels if kernel is not None), None)
    return None if joined is None or not joined[0] else joined[1] // joined[0]


def pack(network: nn.Module, card: Card) -> Packed:
    """Make what the authors' program saves."""
    return Packed({"params": {key: tensor.contiguous() for key, tensor in network.state_dict().items()}})


def example(card: Card) -> tuple[Any, ...]:
    """Return frames of noise."""
    coarse, sharp = (card.config[name] for name in ("coarse", "sharp"))
    noise = torch.rand(1, 16 * sharp + coarse, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return noise[:, :coarse], noise[:, coarse:].reshape(1, sharp, 1, 64, 64)


LAYOUT = Layout(
    recognise=recognise,
    infer=infer_config,
    unpack=unpack,
    pack=pack,
    licence="BSD-3-Clause (that of the authors' repository; the file states none)",
    intended_use="radiographs of a fast, coarse camera made as sharp as those of a slow one; research only",
    input_range="grey in [0, 1]; coarse sides multiples of 4, sharp ones four times as long",
    multiple=4,
    example=example,
    relatives="files of EDVR itself look alike, but have no stem for frames of a second camera",
)
