"""Block fusion's files: a state dict under ``params``; sizes follow from its shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..models.block_fusion import CANDIDATES, COARSE
from .card import Card
from .containers import Content
from .layouts import Layout, Packed, Unpacked, shape_of


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether keys are those of this network."""
    return any(key.startswith(("enlarge0.", "reduce0.")) for key in _inner(items))


def _inner(items: Mapping[str, Any]) -> dict[str, Any]:
    found = items.get("params", items)
    return dict(found) if isinstance(found, Mapping) and all(isinstance(key, str) for key in found) else {}


def infer_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the shapes say of its config; silent on what they do not show."""
    kernels = [shape_of(state, f"{name}.weight", 4) for name in ("stem", "reduce0", "reduce1")]
    if any(kernel is None for kernel in kernels):
        return {}
    widths = tuple(kernel[0] for kernel in kernels if kernel is not None)
    depths = tuple(_blocks(state, name) for name in ("down0", "down1"))
    return {"widths": widths, "depths": depths, "bottom": _blocks(state, "bottom")}


def _blocks(state: Mapping[str, Any], name: str) -> int:
    return sum(key.startswith(f"{name}.") and key.endswith(".conv1.weight") for key in state)


def unpack(content: Content) -> Unpacked:
    """Read a state dict, in its container or bare."""
    state = _inner(content.items)
    return Unpacked(state, infer_config(state))


def pack(network: nn.Module, card: Card) -> Packed:
    """Make a file for plain PyTorch."""
    return Packed({"params": {key: tensor.contiguous() for key, tensor in network.state_dict().items()}})


def example(card: Card) -> tuple[Any, ...]:
    """Return frames of noise."""
    generator = torch.Generator().manual_seed(0)
    coarse, sharp = (
        torch.randn(1, COARSE, 1, 8, 8, generator=generator),
        torch.randn(1, CANDIDATES, 1, 32, 32, generator=generator),
    )
    return coarse, sharp, torch.tensor([[0.5, 0.1, 0.0]]), torch.zeros(1, 1, 8, 8)


LAYOUT = Layout(
    recognise=recognise,
    infer=infer_config,
    unpack=unpack,
    pack=pack,
    licence="Apache-2.0",
    intended_use="radiographs of a fast, coarse camera made as sharp as those of a slow one; research only",
    input_range="units of the noise of a sharp frame; coarse sides multiples of 4, sharp ones four times as long",
    multiple=4,
    example=example,
)
