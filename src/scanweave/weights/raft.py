"""RAFT's files: bare state dicts, the public one under ``module.``, the calibrator's under ``module.flow_model.``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .card import Card
from .containers import Content
from .layouts import Layout, Packed, Unpacked, shape_of, unwrapped

_WITHIN = "flow_model."
_TWICE = (".norm3.", ".downsample.1.")
"""Two names of one norm, in this order in the published files."""


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether keys are those of this network."""
    keys, _ = unwrapped(items)
    return any(key.startswith((_WITHIN, "fnet.", "cnet.", "update_block.gru.")) for key in keys)


def unpack(content: Content) -> Unpacked:
    """Read a state dict, alone or beside the evaluator that the calibrator is trained with."""
    state, notes = unwrapped(content.items)
    if any(key.startswith(_WITHIN) for key in state):
        others = sum(not key.startswith(_WITHIN) for key in state)
        state = {key.removeprefix(_WITHIN): value for key, value in state.items() if key.startswith(_WITHIN)}
        notes += [f"{others} tensors beside the flow network were passed over"] if others else []
    state, differing = _once(state)
    if differing:
        notes.append(f"{differing} tensors had two values by their two names; those under downsample were taken")
    return Unpacked(state, infer_config(state), notes=notes)


def _once(state: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return `state` with one name for each tensor, and how many had two values."""
    first, second = _TWICE
    single = {key: value for key, value in state.items() if first not in key}
    differing = 0
    for key in state.keys() - single.keys():
        other = single.setdefault(key.replace(first, second), state[key])
        if isinstance(other, Tensor) and isinstance(state[key], Tensor) and not other.equal(state[key]):
            differing += 1
    return single, differing


def infer_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the shapes say of its config; silent on what they do not show."""
    found: dict[str, Any] = {"split": any(key.startswith("fnet2.") for key in state)}
    if (first := shape_of(state, "fnet.conv1.weight", 4)) is not None:
        found["channels"] = first[1]
    return found


def pack(network: nn.Module, card: Card) -> Packed:
    """Make what the authors' programs read: of one channel the calibrator's file, of three the public one."""
    prefix = "module." if card.config["channels"] == 3 else f"module.{_WITHIN}"
    first, second = _TWICE
    packed: dict[str, Any] = {}
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    for key, tensor in state.items():
        if ".downsample.0.weight" in key:  # the other name of its norm comes before
            norm = key.replace(".downsample.0.weight", second)
            twin = {other: value for other, value in state.items() if other.startswith(norm)}
            packed |= {f"{prefix}{other.replace(second, first)}": value for other, value in twin.items()}
        packed[f"{prefix}{key}"] = tensor
    return Packed(packed)


def example(card: Card) -> tuple[Any, ...]:
    """Return two views of noise."""
    views = torch.rand(2, 1, card.config["channels"], 128, 128, generator=torch.Generator().manual_seed(0)) * 255
    return views[0], views[1]


LAYOUT = Layout(
    recognise=recognise,
    infer=infer_config,
    unpack=unpack,
    pack=pack,
    licence="BSD-3-Clause (that of the authors' repositories; the file states none)",
    intended_use="where a coarse camera's view lies in a sharp one's; research only",
    input_range="levels from 0 to 255; sides multiples of 8 from 128 on",
    multiple=8,
    example=example,
    relatives="files of the small RAFT are of another network",
)
