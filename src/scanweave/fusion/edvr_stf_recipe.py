"""Training EDVR-STF: fusion alone first, by option, then all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from ..errors import UsageError
from ..models import EdvrStf, EdvrStfConfig, channels_last
from ..training.network_recipe import opened
from ..training.registry import RecipeEntry
from ..training.samples import Samples
from .fusion_recipe import FusionRecipe, FusionRecipeConfig, open_samples, require_frames

_FIELDS = tuple(EdvrStfConfig.__slots__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EdvrStfRecipeConfig(FusionRecipeConfig):
    """How EDVR-STF is trained; loss and optimizer are as published by default."""

    network: EdvrStfConfig = EdvrStfConfig()
    """A network that starts afresh: features, groups of channels whose taps move together, residual blocks before
    alignment and after fusion, frames of both cameras, and whether frames are weighted by likeness."""

    fusion_first: int = Field(default=0, ge=0)
    """Until this iteration only what joins the frames is trained, as published 50000 (tsa_iter); 0: all at once."""


class EdvrStfRecipe(FusionRecipe):
    """Trains EDVR-STF (arguments and errors as of :class:`FusionRecipe`).

    Source: Tang et al., J. Synchrotron Radiation 32, 2025; the first phase after Wang et al., "EDVR", 2019.
    """

    name = "edvr-stf"
    config: EdvrStfRecipeConfig

    def __init__(self, config: EdvrStfRecipeConfig, samples: Samples, validation: Samples | None = None) -> None:
        if config.start is not None and config.network != EdvrStfConfig():
            raise UsageError(
                "network says sizes, and start names weights that have their own", remedy="give one of them"
            )
        options = {} if config.start else {name: getattr(config.network, name) for name in _FIELDS}
        network = cast(EdvrStf, opened("edvr-stf", config, **options))
        require_frames(config, network.config.coarse)
        super().__init__(config, samples, validation, network=channels_last(network))

    def trainable(self, step: int) -> Mapping[str, bool]:
        """Return that only fusion trains in the first phase; published iterations count from 1."""
        if step + self._first + 1 >= self.config.fusion_first:
            return {}
        return {"network": False, "network.fusion": True}


def edvr_stf(config: EdvrStfRecipeConfig) -> EdvrStfRecipe:
    """Open the samples and weights that `config` names.

    Raises:
        UsageError: It contradicts itself.
        InputError: The samples cannot be used.
        WeightsError: The weights cannot be.
    """
    return EdvrStfRecipe(config, *open_samples(config))


ENTRY = RecipeEntry(EdvrStfRecipeConfig, edvr_stf, "EDVR-STF: sharp frames of a sharp and a coarse camera")
"""What is trained here, as `scanweave.fusion.recipe` lists it."""
