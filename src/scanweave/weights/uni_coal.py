"""The files of Uni-COAL's generator, ``<tag>_net_G.pth`` and ``<tag>_net_G_ema.pth``, and of its predecessor AFCM.

Bare state dicts, whose shapes and names tell the config, save what has no weights. AFCM's have the encoder's keys
without ``encoder.``, no waves to begin with, and take the position as their contrast.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..models.uni_coal import UniCoal
from ..models.uni_coal_config import GLOBAL, UniCoalConfig
from ..models.uni_coal_layers import BINOMIAL
from ..models.uni_coal_modulated import Layer
from ..ops.fir import normal_filter
from .card import Card, Decision
from .containers import Content
from .layouts import Layout, Packed, Unpacked, checked_constants, shape_of, unwrapped
from .uni_coal_critic import layers_of, mapping_config

_LAYER = re.compile(r"synthesis\.L(\d{1,3})_(\d{1,5})_(\d{1,5})\.weight")
_PREDECESSOR = re.compile(r"synthesis\.(encoder_\d+|e_16x16|fc_in)\.")
_ENCODER = "synthesis.encoder."
_FIRST_RATE = 16  # of the first level, as the published first stopband makes it
_UNTOLD = ("skip_resolution", "scale", "clamp")


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether keys are those of this network."""
    keys, _ = unwrapped(items)
    return any(key.startswith(_ENCODER) or _PREDECESSOR.match(key) or _LAYER.fullmatch(key) for key in keys)


def unpack(content: Content) -> Unpacked:
    """Read a state dict, with or without prefixes; filters that it lacks are designed, those it has are checked.

    Raises:
        WeightsError: Its filters are not those that its levels call for.
    """
    state, notes = unwrapped(content.items)
    if any(_PREDECESSOR.match(key) for key in state):
        state = {_PREDECESSOR.sub(rf"{_ENCODER}\1.", key): value for key, value in state.items()}
        notes.append("of the predecessor AFCM: what it takes as the contrast, (B, 1), is the position")
    config = infer_config(state)
    state = checked_constants(state, constants(config))
    why = "the file does not tell; so have all published recipes"
    defaults = {field.name: field.default for field in fields(UniCoalConfig)}
    decisions = {name: Decision(value=defaults[name], why=why) for name in _UNTOLD}
    return Unpacked(state, config, decisions, notes=notes)


def constants(config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of the network that `config` describes which follow from it; none if there is no such."""
    if "layers" not in config:
        return {}
    try:
        with torch.device("meta"):
            network = UniCoal(UniCoalConfig(**config))
    except (UsageError, RuntimeError, OverflowError):
        return {}  # examined and told in full by the caller
    found = {f"{_ENCODER}e_16x16.resample_filter": normal_filter(list(BINOMIAL))}
    for name, module in network.named_modules():
        if isinstance(module, Layer):
            designed = zip(("up_filter", "down_filter"), module.designed(), strict=True)
            found |= {f"{name}.{part}": taps for part, taps in designed if taps is not None}
    return found


def infer_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what names and shapes say of its config; silent on what they do not show."""
    found = _mapping(state) | _encoder(state) | _levels(state)
    found["fourier_input"] = "synthesis.input.weight" in state
    found["border"] = -1.0 if found["fourier_input"] else 0.0
    return found


def _mapping(state: Mapping[str, Any]) -> dict[str, Any]:
    told = mapping_config(state, "mapping.")
    found: dict[str, Any] = {key: told[key] for key in ("contrasts", "position", "position_waves") if key in told}
    if (first := shape_of(state, "mapping.fc0.weight", 2)) is not None:
        found |= {"latent": first[1] // (1 + bool(told["contrasts"]) + told["position"]), "width": first[0]}
        found["mapping_layers"] = layers_of(state, "mapping.")
    return found


def _encoder(state: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"encoder_modulated": f"{_ENCODER}encoder_0.affine.weight" in state}
    if (first := shape_of(state, f"{_ENCODER}encoder_0.weight", 4)) is not None:
        found |= {"channels_in": first[1], "kernel": first[2]}
    if found["encoder_modulated"]:
        told = mapping_config(state, f"{_ENCODER}mapping.")
        names = {"contrasts": "contrasts", "position": "position", "embedded": "embedded", "mapping_layers": "layers"}
        found |= {f"encoder_{name}": told[key] for key, name in names.items() if key in told}
    return found


def _levels(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the layers on the way up tell: their names hold sizes and channels."""
    named = {int(match[1]): (key, int(match[2]), int(match[3])) for key in state if (match := _LAYER.fullmatch(key))}
    last = max(named, default=0)
    if last < 2 or set(named) != set(range(last + 1)):
        return {}
    (first, size, _), (_, side, channels_out) = named[0], named[last]
    found: dict[str, Any] = {"layers": last, "resolution": side, "channels_out": channels_out}
    found["margin"] = (size - _FIRST_RATE) // 2
    found["channel_base"] = named[last - 1][2] * side
    if (code := shape_of(state, f"{_ENCODER}e_16x16.weight", 4)) is not None:
        found["channel_max"] = code[0]
        found["coordinate"] = named[0][2] == code[0] + 1
    stem = first.removesuffix("weight")
    if (style := shape_of(state, f"{stem}affine.weight", 2)) is not None:
        found["conditional"] = style[1] > GLOBAL
    return found | _filtering(state, stem)


def _filtering(state: Mapping[str, Any], stem: str) -> dict[str, Any]:
    """Return what the filters of the first layer, which keeps the rate, tell."""
    if (taps := shape_of(state, f"{stem}up_filter", 1)) is not None:
        found: dict[str, Any] = {"oversampled": 2, "taps": taps[0] // 2}
        found["radial"] = shape_of(state, f"{stem}down_filter", 2) is not None
        return found
    return {}


def pack(network: nn.Module, card: Card) -> Packed:
    """Make what the authors' programs save: the bare state dict, by AFCM's names where there are no waves."""
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    if not card.config["fourier_input"]:
        state = {key.replace(_ENCODER, "synthesis."): tensor for key, tensor in state.items()}
    return Packed(state)


def example(card: Card) -> tuple[Any, ...]:
    """Return slices of noise, a latent, the first contrast, and a place between."""
    config = card.config
    generator = torch.Generator().manual_seed(0)
    side = config["resolution"]
    source = torch.rand((1, config["channels_in"], side, side), generator=generator) * 2 - 1
    contrast = torch.eye(max(config["contrasts"], config["encoder_contrasts"]))[:1]
    return source, torch.randn((1, config["latent"]), generator=generator), contrast, torch.full((1, 1), 0.5)


LAYOUT = Layout(
    recognise=recognise,
    infer=infer_config,
    unpack=unpack,
    pack=pack,
    licence="unknown (the authors' repository states several; the file states none)",
    intended_use="MR slices of another contrast or between others, synthesized; research only",
    input_range="neighbouring slices in [-1, 1], of the side that the network was made for",
    multiple=16,
    example=example,
)
