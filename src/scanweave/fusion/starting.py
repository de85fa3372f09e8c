"""What a training of fusion starts from: weights of the whole network or of parts, and an optimizer's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..errors import InputError, UsageError, WeightsError
from ..weights.catalogue import find
from ..weights.containers import read_content
from ..weights.edvr_stf import inner

PREFIXES: Mapping[str, tuple[str, ...]] = {
    "coarse_stem": ("conv_first.",),
    "sharp_stem": ("conv_first_hi.", "conv1_hi.", "conv2_hi."),
    "extraction": ("feature_extraction.", "conv_l2_1.", "conv_l2_2.", "conv_l3_1.", "conv_l3_2."),
    "alignment": ("pcd_align.",),
    "fusion": ("fusion.",),
    "transformer": ("layers.", "norm.", "conv_after_body."),
    "reconstruction": ("reconstruction.",),
    "ending": ("upconv1.", "upconv2.", "conv_hr.", "conv_before_upsample.", "upsample.", "conv_last."),
}
"""What the keys of each part begin with, in either family."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PartsConfig:
    """Files of weights that parts of the network are taken from, in place of what it starts from otherwise.

    A file is one of this family or of a relative with the same names, such as BasicSR's EDVR: ours, or the authors'.
    """

    coarse_stem: str | None = None
    """What sees coarse frames first."""

    sharp_stem: str | None = None
    """What sees sharp frames first."""

    extraction: str | None = None
    """Features of each frame, at three sizes."""

    alignment: str | None = None
    """Features moved onto those of the middle frame."""

    fusion: str | None = None
    """Frames made one, in EDVR-STF."""

    transformer: str | None = None
    """The stages of SWIN-XVR."""

    reconstruction: str | None = None
    """The residual blocks after fusion, in EDVR-STF."""

    ending: str | None = None
    """From features to pixels."""

    def named(self) -> dict[str, str]:
        """Return the parts that have a file."""
        values = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in values if value is not None}


class Resumed(NamedTuple):
    """The state of a published training.

    Attributes:
        iteration: How many steps it had taken.
        optimizer: The state of its optimizer.
    """

    iteration: int
    optimizer: dict[str, Any]


def take_parts(network: nn.Module, parts: PartsConfig) -> dict[str, str]:
    """Replace parts of a network by those of files; return the name of each file by part.

    Raises:
        WeightsError: A file is damaged or hostile, lacks the part, or has other sizes there.
        UsageError: The network has no such part.
    """
    own = network.state_dict()
    taken: dict[str, Tensor] = {}
    for part, given in parts.named().items():
        keys = [key for key in own if key.startswith(PREFIXES[part])]
        if not keys:
            raise UsageError(f"this network has no part {part}", remedy="leave recipe.parts." + part + " out")
        path = find(given)
        state, _ = inner(read_content(path).items)
        taken |= {key: _fitting(state, key, own[key], part, path) for key in keys}
    network.load_state_dict({**own, **taken})
    return {part: Path(given).name for part, given in parts.named().items()}


def _fitting(state: Mapping[str, Any], key: str, own: Tensor, part: str, path: Path) -> Tensor:
    found = state.get(key)
    if not isinstance(found, Tensor):
        raise WeightsError(f"lacks {key} of the part {part}", path=path, remedy="take that part from another file")
    if found.shape != own.shape:
        colours = own.ndim == 4 and found.ndim == 4 and 3 in (found.shape[0], found.shape[1])
        why = "it is of frames of 3 colours, and these are grey: " if colours else ""
        raise WeightsError(
            f"has {key} of {list(found.shape)} in the part {part}, {list(own.shape)} is needed",
            path=path,
            remedy=f"{why}take other parts of it, such as alignment, or set the sizes of recipe.network as it has them",
        )
    if not bool(found.double().sum().isfinite()):
        raise WeightsError(f"has values in {key} that are no numbers", path=path)
    return found.to(own.dtype)


def read_state(path: Path, parameters: Sequence[Tensor]) -> Resumed:
    """Read the state of a published training, ``training_states/<iteration>.state``, safely.

    Args:
        path: The file.
        parameters: Of the network, in order; the state must be of such.

    Raises:
        InputError: There is no such file.
        WeightsError: It is damaged, asks to run code, is no state, or is of another network.
    """
    if not path.is_file():
        raise InputError(
            "does not exist", path=path, remedy="it lies in training_states beside models; or leave recipe.state out"
        )
    items = read_content(path).items
    optimizers = items.get("optimizers")
    if not (isinstance(optimizers, (list, tuple)) and len(optimizers) == 1 and isinstance(items.get("iter"), int)):
        raise WeightsError("is no state of one optimizer", path=path, remedy="give training_states/<iteration>.state")
    state = optimizers[0]
    moments = state.get("state", {}) if isinstance(state, Mapping) else {}
    for index, own in enumerate(parameters):
        entry = moments.get(index, {})
        moment = entry.get("exp_avg") if isinstance(entry, Mapping) else None
        if not moments or (isinstance(moment, Tensor) and moment.shape != own.shape):
            raise WeightsError("is of another network, or holds no moments of Adam", path=path)
    if max(moments, default=0) >= len(parameters):
        raise WeightsError("is of another network: it has more parameters", path=path)
    return Resumed(int(items["iter"]), dict(state))


def resume_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Give an optimizer the moments of a published training; its own options stay."""
    own = optimizer.state_dict()
    moments = {
        index: {name: _as_tensor(value) for name, value in entry.items()} for index, entry in state["state"].items()
    }
    optimizer.load_state_dict({"state": moments, "param_groups": own["param_groups"]})


def _as_tensor(value: Any) -> Any:
    return torch.tensor(float(value)) if isinstance(value, (int, float)) else value
