"""The network behind a method: opened from a file, or copied from one in memory, and its hash."""

from __future__ import annotations

import copy
import hashlib
import os
import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import nn

from ..errors import UsageError, WeightsError
from .card import WeightsWarning, card_of
from .catalogue import find, open_weights

Weights: TypeAlias = str | os.PathLike[str] | nn.Module
"""A file of weights, the name of one in the user's folder, or a network with weights."""


def opened(architecture: str, given: Weights, overrides: Mapping[str, Any]) -> nn.Module:
    """Return a network that may be altered, in evaluation mode and float32, without gradients.

    What had to be decided of its weights, and how surely, is on its card; nothing is warned of here.

    Args:
        architecture: The network that the weights must be of.
        given: Where they are.
        overrides: Fields of the network's config over what the file tells.

    Raises:
        WeightsError: They are damaged, hostile, or of another network.
        UsageError: Overrides for a network in memory, which has its config.
    """
    if isinstance(given, nn.Module):
        return _copied(architecture, given, overrides)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeightsWarning)
        return open_weights(architecture, given, **overrides).requires_grad_(False)


def digest(given: Weights) -> str:
    """Return the SHA-256 of a file of weights, or of the tensors of a network that never was one."""
    if not isinstance(given, nn.Module):
        with find(given).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    found = hashlib.sha256()
    for key, tensor in sorted(given.state_dict().items()):
        found.update(f"{key} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _copied(architecture: str, given: nn.Module, overrides: Mapping[str, Any]) -> nn.Module:
    name = card_of(given).network
    if name != architecture:
        raise WeightsError(f"the network given is {name}, not {architecture}", remedy=f"use it with {name}")
    if overrides:
        raise UsageError(f"the network given has its own {', '.join(overrides)}", remedy="create it with others")
    return copy.deepcopy(given).float().eval().requires_grad_(False)
