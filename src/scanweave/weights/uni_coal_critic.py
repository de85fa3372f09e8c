"""The files of Uni-COAL's critic, ``<tag>_net_D.pth``: a bare state dict, whose shapes tell the config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..models.uni_coal_layers import BINOMIAL
from ..ops.fir import normal_filter
from .card import Card, Decision
from .containers import Content
from .layouts import Layout, Packed, Unpacked, checked_constants, shape_of, unwrapped

_BLOCK = re.compile(r"b(\d{1,5})\.")


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether keys are those of this network."""
    keys, _ = unwrapped(items)
    return any(re.fullmatch(r"b\d+\.(fromrgb|conv0|skip)\.weight", key) for key in keys)


def unpack(content: Content) -> Unpacked:
    """Read a state dict, with or without prefixes; low-pass filters that it lacks are made, those it has are checked.

    Raises:
        WeightsError: Its low-pass filters are others.
    """
    state, notes = unwrapped(content.items)
    line = normal_filter(list(BINOMIAL))
    stems = {key.removesuffix(".weight") for key in state if key.endswith((".weight", "resample_filter"))}
    stems = {stem for stem in stems if re.fullmatch(r"b\d+\.(fromrgb|conv0|conv1|skip|conv)", stem)}
    blocks = {match[0].removesuffix(".") for key in state if (match := _BLOCK.match(key))} - {"b4"}
    constants = {f"{stem}.resample_filter": line for stem in stems | blocks}
    state = checked_constants(state, constants)
    why = "the file does not tell; so have all published trainings"
    return Unpacked(state, infer_config(state), {"group": Decision(value=16, why=why)}, notes=notes)


def infer_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the shapes say of its config; silent on what they do not show."""
    found: dict[str, Any] = {}
    side = max((int(match[1]) for key in state if (match := _BLOCK.match(key))), default=0)
    if (first := shape_of(state, f"b{side}.fromrgb.weight", 4)) is not None:
        found |= {"resolution": side, "channels_in": first[1], "channel_base": first[0] * side}
    if (last := shape_of(state, "b4.fc.weight", 2)) is not None:
        found["channel_max"] = last[0]
    return found | mapping_config(state, "mapping.")


def mapping_config(state: Mapping[str, Any], stem: str) -> dict[str, Any]:
    """Return what the shapes say of the mapping of a critic, or of an encoder."""
    contrast, position = shape_of(state, f"{stem}embed.weight", 2), shape_of(state, f"{stem}embed_index.weight", 2)
    found: dict[str, Any] = {"contrasts": contrast[1] if contrast else 0, "position": position is not None}
    if (told := contrast or position) is not None:
        found["embedded"] = told[0]
        found["mapping_layers"] = layers_of(state, stem)
    if position is not None:
        found["position_waves"] = "linear" if position[1] == 1 else "fourier"
    return found


def layers_of(state: Mapping[str, Any], stem: str) -> int:
    """Return how many layers a mapping has."""
    return next(count for count in range(len(state) + 1) if f"{stem}fc{count}.weight" not in state)


def pack(network: nn.Module, card: Card) -> Packed:
    """Make what the authors' program saves: the bare state dict."""
    return Packed({key: tensor.contiguous() for key, tensor in network.state_dict().items()})


def example(card: Card) -> tuple[Any, ...]:
    """Return slices of noise, the first contrast, and a place between."""
    config = card.config
    side = config["resolution"]
    image = torch.rand((1, config["channels_in"], side, side), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return image, torch.eye(config["contrasts"])[:1], torch.full((1, 1), 0.5)


LAYOUT = Layout(
    recognise=recognise,
    infer=infer_config,
    unpack=unpack,
    pack=pack,
    licence="unknown (the authors' repository states several; the file states none)",
    intended_use="the critic that a generator of MR slices is trained with; research only",
    input_range="source and target slices in [-1, 1]",
    multiple=8,
    example=example,
)
