"""How the authors of each network store it: what a layout must tell, and what layouts share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .card import Card, Decision
from .containers import Content


@dataclass(slots=True)
class Unpacked:
    """A published file in the network's own terms.

    Attributes:
        state: Values by the network's own keys.
        config: What the shapes of the tensors, and provenance, say of the network's config.
        decisions: Those fields of `config` that provenance decided.
        trained_times: Times that training met, where known.
        training: What the file tells of its training.
        notes: What was found and passed over, one sentence each.
    """

    state: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    trained_times: tuple[float, ...] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Packed:
    """What `torch.save` is to write, and in which container.

    Attributes:
        content: The mapping.
        legacy: Whether in the container from before PyTorch 1.6.
    """

    content: dict[str, Any]
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """How the authors of a network store it.

    Attributes:
        recognise: Whether content, its keys free of prefixes, is of this network, be it incomplete.
        infer: What the shapes of tensors, by our keys, say of the config.
        unpack: Reads a file of theirs; raises `WeightsError` for what no other network explains.
        pack: Makes one.
        licence: Licence of the authors' repository.
        intended_use: What the weights are for.
        input_range: What the network takes.
        multiple: What both sides of a frame must be multiples of.
        example: What to call a network with on trial: a small input of noise, by its card.
        published: The authors' name of a key of ours; by default the same.
        relatives: Networks whose files are easily taken for this one's.
    """

    recognise: Callable[[Mapping[str, Any]], bool]
    infer: Callable[[Mapping[str, Any]], dict[str, Any]]
    unpack: Callable[[Content], Unpacked]
    pack: Callable[[nn.Module, Card], Packed]
    licence: str
    intended_use: str
    input_range: str
    multiple: int
    example: Callable[[Card], tuple[Any, ...]]
    published: Callable[[str], str] = str
    relatives: str | None = None


def pair_example(multiple: int) -> Callable[[Card], tuple[Any, ...]]:
    """Return how to try a network of frame pairs: two frames and the times it was trained for."""

    def example(card: Card) -> tuple[Any, ...]:
        side = 8 * (card.config.get("map_side") or 0) or multiple
        frame0, frame1 = torch.rand(2, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
        return frame0, frame1, list(card.trained_times or (0.5,))

    return example


def without_prefix(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return `state` with its keys free of the `module.` of a distributed wrapper, and a note if there was any.

    Raises:
        WeightsError: Two keys become one.
    """
    bare = {re.sub(r"^(module\.)+", "", key): value for key, value in state.items()}
    if len(bare) != len(state):
        raise WeightsError("holds some tensors twice, with and without the prefix 'module.'", remedy="keep one of them")
    return bare, [] if bare.keys() == state.keys() else ["keys bore the prefix 'module.' of a distributed wrapper"]


def shape_of(state: Mapping[str, Any], key: str, rank: int) -> tuple[int, ...] | None:
    """Return the shape of a tensor of `state` if it is there and of this rank."""
    tensor = state.get(key)
    return tuple(tensor.shape) if isinstance(tensor, Tensor) and tensor.ndim == rank else None


def unwrapped(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return `state` with its keys free of the prefixes of distributed and compiled modules, and a note on each.

    Raises:
        WeightsError: Two keys become one.
    """
    compiled = "_orig_mod."
    bare, notes = without_prefix({key.replace(compiled, ""): value for key, value in state.items()})
    if len(bare) != len(state):
        raise WeightsError(f"holds some tensors twice, with and without the prefix {compiled!r}", remedy="keep one")
    if any(compiled in key for key in state):
        notes.append(f"keys bore the prefix {compiled!r} of a compiled module")
    return bare, notes


def checked_constants(state: Mapping[str, Any], constants: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return `state` with the constants that it lacks; those that it has must be right.

    Raises:
        WeightsError: One has the right shape and other values.
    """
    for key, constant in constants.items():
        value = state.get(key)
        if not isinstance(value, Tensor) or value.shape != constant.shape or not value.is_floating_point():
            continue  # told with the other tensors that do not fit
        if not torch.allclose(value.detach().float().cpu(), constant, atol=1e-5, rtol=1e-4):
            reason = f"has a filter {key} that is not the one designed for its place"
            raise WeightsError(reason, remedy="give the file unchanged, of a network of the published sampling rates")
    return {**state, **{key: constant.clone() for key, constant in constants.items() if key not in state}}
