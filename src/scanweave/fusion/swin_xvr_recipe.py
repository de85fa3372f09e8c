"""Training SWIN-XVR, at the published sizes or scaled by the published rules."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Literal, cast

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from ..errors import UsageError
from ..models import SwinXvr, SwinXvrConfig, channels_last
from ..training.network_recipe import opened
from ..training.registry import RecipeEntry
from ..training.samples import Samples
from .fusion_recipe import FusionRecipe, FusionRecipeConfig, open_samples, require_frames
from .losses import LossConfig
from .schedules import FusionRate

_COARSE = 3  # frames for which published windows are stated


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ScalingConfig:
    """How the published commands change the sizes of `network`."""

    depth: int = Field(default=1, ge=1)
    """Blocks of each stage are multiplied by this (scale_depth)."""

    heads: float = Field(default=1.0, gt=0)
    """Heads of attention are multiplied by this, and rounded up (scale_mha)."""

    def of(self, network: SwinXvrConfig) -> SwinXvrConfig:
        """Return the scaled sizes; of more coarse frames than three, windows span as many more."""
        frames = network.window[0] + (network.coarse - _COARSE)
        return replace(
            network,
            depths=tuple(self.depth * blocks for blocks in network.depths),
            heads=tuple(math.ceil(heads * self.heads) for heads in network.heads),
            window=(frames, *network.window[1:]),
        )


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SwinXvrRecipeConfig(FusionRecipeConfig):
    """How SWIN-XVR is trained; loss and optimizer are as published by default."""

    network: SwinXvrConfig = SwinXvrConfig()
    """A network that starts afresh. Windows are stated for three coarse frames: with more they span as many more."""

    scaling: ScalingConfig = ScalingConfig()
    """By how much its sizes are multiplied."""

    drop: float | None = Field(default=None, ge=0, lt=1)
    """Chance at which the last block is left out in training, also of weights that are given."""

    loss: LossConfig = LossConfig(kind="l1", reduction="mean")
    """What is minimised."""

    average: float | None = Field(default=0.999, ge=0, lt=1)
    """Validate and export exponential averages of the weights, of this decay per step; null: the weights themselves."""

    border: int = Field(default=4, ge=0)
    """Pixels along each side that do not count in the published validation scores."""

    filled: Literal["windows", "least"] = "windows"
    """What sides of whole frames are filled up to, to validate: multiples of windows as published, or no more than the
    network needs, as the published programs infer."""

    rate: FusionRate = FusionRate(base=2e-4)
    """The learning rate of every step."""


class SwinXvrRecipe(FusionRecipe):
    """Trains SWIN-XVR (arguments and errors as of :class:`FusionRecipe`).

    Source: Tang et al., Frontiers in High Performance Computing, 2025.
    """

    name = "swin-xvr"
    config: SwinXvrRecipeConfig

    def __init__(self, config: SwinXvrRecipeConfig, samples: Samples, validation: Samples | None = None) -> None:
        network = _network(config)
        require_frames(config, network.config.coarse)
        super().__init__(config, samples, validation, network=channels_last(network))
        self._sizes = network.config

    def unit(self) -> int:
        """Return what the sides of coarse frames are filled up to a multiple of."""
        least = 4 if self._sizes.aligned else 1
        return least if self.config.filled == "least" else math.lcm(*self._sizes.window[1:], least)


def _network(config: SwinXvrRecipeConfig) -> SwinXvr:
    dropped = {} if config.drop is None else {"drop": config.drop}
    given = config.network != SwinXvrConfig() or config.scaling != ScalingConfig()
    if config.start is not None and given:
        raise UsageError("network says sizes, and start names weights that have their own", remedy="give one of them")
    options = {} if config.start else asdict(config.scaling.of(config.network))
    network = cast(SwinXvr, opened("swin-xvr", config, **{**options, **dropped}))
    if network.config.variant != "image":
        raise UsageError("the video variant is not trained here", remedy="choose recipe.network.variant image")
    return network


def swin_xvr(config: SwinXvrRecipeConfig) -> SwinXvrRecipe:
    """Open the samples and weights that `config` names (errors as of `edvr_stf_recipe.edvr_stf`)."""
    return SwinXvrRecipe(config, *open_samples(config))


ENTRY = RecipeEntry(
    SwinXvrRecipeConfig, swin_xvr, "SWIN-XVR: sharp frames of a sharp and a coarse camera, by attention"
)
"""What is trained here, as `scanweave.fusion.recipe` lists it."""
