"""Weights that the calibrator's training starts from and ends with, among them the published container.

A published calibrator is one bare state dict: the flow network under ``module.flow_model.``, the frozen network that
judged it, EDVR-STF, under ``module.model.``.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from .. import weights
from ..errors import UsageError, WeightsError
from ..io.files import atomic_output
from ..models import Raft, RaftConfig

Colour = Literal["refuse", "sum", "mean"]

_EVALUATOR = ("module.model.", "model.")


def flow_network(source: str | None, *, split: bool | None, colour: Colour, seed: int) -> Raft:
    """Return the flow network that a training starts from, for grey frames.

    Args:
        source: Weights: the public RAFT file, a published calibrator, or one's own; None draws fresh ones.
        split: Whether each camera has an encoder of its own; None leaves what `source` has. To split one encoder, both
            start as it is.
        colour: What becomes of a first layer for red, green and blue: ``refuse`` it; ``sum`` its kernels over colours,
            which answers to a grey frame as the network did to three equal channels; or their ``mean``.
        seed: Of fresh weights.

    Raises:
        WeightsError: They are damaged, or of another network.
        UsageError: They are for colours, or have two encoders, and that was not asked for.
    """
    if source is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Raft(RaftConfig(split=bool(split)))
    found = weights.open("raft", source)
    assert isinstance(found, Raft)
    if split is False and found.config.split:
        raise UsageError(
            "these weights have an encoder for each camera, and split is false",
            path=source,
            remedy="leave split out, or give weights of one encoder",
        )
    return _adapted(found, split=bool(split) or found.config.split, colour=colour, source=source)


def _adapted(found: Raft, *, split: bool, colour: Colour, source: str) -> Raft:
    if found.config.channels not in (1, 3) or (found.config.channels == 3 and colour == "refuse"):
        raise UsageError(
            f"these weights take {found.config.channels} channels, the calibrator's frames are grey",
            path=source,
            remedy="to use them, say --recipe.colour sum: a grey frame then counts as three equal channels",
        )
    state = found.state_dict()
    if split and not found.config.split:
        state |= {f"fnet2{key.removeprefix('fnet')}": value for key, value in state.items() if key.startswith("fnet.")}
    if found.config.channels == 3:
        for key in [key for key in state if key.endswith("net.conv1.weight") or key == "fnet2.conv1.weight"]:
            state[key] = (state[key].sum if colour == "sum" else state[key].mean)(dim=1, keepdim=True)
    network = Raft(RaftConfig(split=split))
    network.load_state_dict(copy.deepcopy(state))
    network.card = weights.card_of(found)  # type: ignore[assignment]
    return network


def evaluator_network(source: str) -> nn.Module:
    """Return the network that makes sharp frames of both cameras', frozen.

    Args:
        source: Weights of EDVR-STF; or a published calibrator, which holds them too.

    Raises:
        WeightsError: They are damaged, of another network, or of other frames than three coarse and two sharp ones.
    """
    content = weights.read_content(weights.find(source))
    inner = {
        key.removeprefix(prefix): value
        for key, value in content.items.items()
        for prefix in _EVALUATOR
        if key.startswith(prefix)
    }
    network = weights.load_published("edvr-stf", inner) if inner else weights.open("edvr-stf", source)
    config = weights.card_of(network).config
    if (config["coarse"], config["sharp"]) != (3, 2):
        raise WeightsError(
            f"fuses {config['coarse']} coarse and {config['sharp']} sharp frames, 3 and 2 are needed", path=source
        )
    return network.eval().requires_grad_(False)


def save_calibrator(network: Raft, evaluator: nn.Module | None, path: Path) -> Path:
    """Write a calibrator as the published program does, with its evaluator where there is one; whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    packed = weights.LAYOUTS["raft"].pack(network, weights.card_of(network)).content
    beside: dict[str, Tensor] = {} if evaluator is None else evaluator.state_dict()
    packed |= {f"{_EVALUATOR[0]}{key}": value for key, value in beside.items()}
    with atomic_output(path) as target:
        torch.save({key: value.detach().cpu().contiguous() for key, value in packed.items()}, target)
    return path
