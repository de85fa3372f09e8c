"""DRDM's files: a flat state dict of the network; dimensions, channels and steps follow from its shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .card import Card
from .containers import Content
from .layouts import Layout, Packed, Unpacked, shape_of, without_prefix

_OWN = ("time_embed.", "te_mid.", "te_out.", "b_mid.", "b_out.")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network")


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether keys are those of this network, be they within a wrapper."""
    return any(key.startswith(_OWN) for key in _unwrapped(items))


def unpack(content: Content) -> Unpacked:
    """Read a state dict, as it is or within a wrapper, with or without `module.`.

    Raises:
        WeightsError: The weights are not of one kind of images.
    """
    items = _unwrapped(content.items)
    state, notes = without_prefix(items)
    if items is not content.items:
        left = [key for key in content.items if content.items[key] is not items]
        notes.append("the weights were within a wrapper" + (f", beside {', '.join(left)}" if left else ""))
    ranks = {value.ndim for key, value in state.items() if isinstance(value, Tensor) and key.startswith("conv_out.w")}
    if ranks and ranks.isdisjoint({4, 5}):
        raise WeightsError("is of a network for images of neither 2 nor 3 dimensions", remedy="give DRDM's own file")
    return Unpacked(state, infer_config(state), notes=notes)


def infer_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the shapes say of :class:`~scanweave.models.DrdmConfig`; silent on what they do not show."""
    found: dict[str, Any] = {}
    for rank in (4, 5):
        if shape_of(state, "conv_out.weight", rank) is not None:
            found["ndims"] = rank - 2
        if (first := shape_of(state, "b1.0.conv0.weight", rank)) is not None:
            found["channels"] = first[1]
    if (table := shape_of(state, "time_embed.weight", 2)) is not None:
        found["steps"] = table[0]
    return found


def pack(network: nn.Module, card: Card) -> Packed:
    """Make what the authors' program saves: the bare state dict."""
    return Packed({key: tensor.contiguous() for key, tensor in network.state_dict().items()})


def example(card: Card) -> tuple[Any, ...]:
    """Return an image of noise and the middle step."""
    shape = (1, card.config["channels"], *[16] * card.config["ndims"])
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)), card.config["steps"] // 2


def _unwrapped(items: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the mapping of tensors that a wrapper holds; `items` themselves if they are no wrapper."""
    for name in _WRAPPERS:
        if isinstance(inner := items.get(name), Mapping) and all(isinstance(key, str) for key in inner):
            return without_prefix(inner)[0] if any(key.startswith("module.") for key in inner) else inner
    return items


LAYOUT = Layout(
    recognise=recognise,
    infer=infer_config,
    unpack=unpack,
    pack=pack,
    licence="Apache-2.0 (that of the authors' repository; the file states none)",
    intended_use="deformed variants of an image for augmentation; research only",
    input_range="one image scaled to [0, 1]; sides multiples of 8",
    multiple=8,
    example=example,
)
