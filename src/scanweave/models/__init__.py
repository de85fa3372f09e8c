"""The published networks, by name.

A network is a plain ``nn.Module``: no files, no devices. Its ``forward`` speaks the published convention (channel
order, unit, range, legal sizes) and neither pads nor clips nor swaps; that is the work of a method.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import UsageError
from ..ops.memory import keep_freed_memory
from .block_fusion import BlockFusion, BlockFusionConfig
from .drdm import Drdm, DrdmConfig
from .edvr_stf import EdvrStf, EdvrStfConfig
from .most_dsa import MostDsa, MostDsaConfig
from .raft import Raft, RaftConfig
from .sam import SamEncoder, SamEncoderConfig
from .super_slomo import SuperSlomo, SuperSlomoConfig
from .swin_xvr import SwinXvr, SwinXvrConfig
from .uni_coal import UniCoal
from .uni_coal_config import UniCoalConfig
from .uni_coal_critic import UniCoalCritic, UniCoalCriticConfig

__all__ = [
    "NETWORKS",
    "BlockFusion",
    "BlockFusionConfig",
    "Drdm",
    "DrdmConfig",
    "EdvrStf",
    "EdvrStfConfig",
    "MostDsa",
    "MostDsaConfig",
    "Network",
    "Raft",
    "RaftConfig",
    "SamEncoder",
    "SamEncoderConfig",
    "SuperSlomo",
    "SuperSlomoConfig",
    "SwinXvr",
    "SwinXvrConfig",
    "UniCoal",
    "UniCoalConfig",
    "UniCoalCritic",
    "UniCoalCriticConfig",
    "channels_last",
    "create",
]


@dataclass(frozen=True, slots=True)
class Network:
    """An entry of the registry.

    Attributes:
        module: The network, made from one config.
        config: Its config dataclass.
    """

    module: type[nn.Module]
    config: type[Any]


NETWORKS = {
    "block-fusion": Network(BlockFusion, BlockFusionConfig),
    "drdm": Network(Drdm, DrdmConfig),
    "edvr-stf": Network(EdvrStf, EdvrStfConfig),
    "most-dsa": Network(MostDsa, MostDsaConfig),
    "raft": Network(Raft, RaftConfig),
    "sam-vit-b-encoder": Network(SamEncoder, SamEncoderConfig),
    "super-slomo": Network(SuperSlomo, SuperSlomoConfig),
    "swin-xvr": Network(SwinXvr, SwinXvrConfig),
    "uni-coal": Network(UniCoal, UniCoalConfig),
    "uni-coal-critic": Network(UniCoalCritic, UniCoalCriticConfig),
}


def create(name: str, **config: object) -> nn.Module:
    """Make a published network with fresh weights, in training mode.

    From then on the process keeps the memory of freed tensors for the next (`scanweave.ops.memory`).

    Args:
        name: A name in :data:`NETWORKS`.
        **config: Fields of its config dataclass.

    Raises:
        UsageError: No such network, no such option of it, or an illegal value.

    Example:
        >>> create("super-slomo", warp_convention="corner").config.warp_convention
        'corner'
    """
    if name not in NETWORKS:
        raise UsageError(f"no network is called {name!r}", remedy=f"choose among: {', '.join(sorted(NETWORKS))}")
    network = NETWORKS[name]
    options = [field.name for field in dataclasses.fields(network.config)]
    unknown = sorted(set(config) - set(options))
    if unknown:
        raise UsageError(f"{name} has no option {', '.join(unknown)}", remedy=f"it has: {', '.join(options)}")
    keep_freed_memory()
    return network.module(network.config(**config))


def channels_last(network: nn.Module) -> nn.Module:
    """Lay the kernels of a network out channels last, in place, for speed, and return the network.

    Convolutions then hand such images on by themselves, without a reordering before and after each. Results change by
    rounding only (a few 1e-5 of flow). Unlike ``network.to(memory_format=...)`` it leaves kernels of other ranks alone.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
