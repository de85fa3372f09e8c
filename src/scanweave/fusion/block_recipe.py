"""Training the small network of `scanweave.fusion.block_method`, on simulated scenes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from .. import weights
from ..models import BlockFusion, channels_last
from ..plan import plain
from ..training.network_recipe import NetworkRecipe, NetworkRecipeConfig, opened
from ..training.recipe import Batch, Update
from ..training.registry import RecipeEntry
from ..training.samples import Samples
from ..training.schedules import Rate
from .simulated import SimulatedScenes, SimulationConfig


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BlockFusionRecipeConfig(NetworkRecipeConfig):
    """How block-fusion is trained."""

    simulation: SimulationConfig = SimulationConfig()
    """What is simulated."""

    widths: tuple[int, int, int] = (96, 96, 128)
    """Channels on the coarse grid, on that of half its sides, and of a quarter."""

    depths: tuple[int, int] = (2, 2)
    """Residual blocks on the first two of these, on the way down and again on the way up."""

    bottom: int = Field(default=2, ge=0)
    """Residual blocks on the third."""

    rate: Rate = Rate(base=1e-3, warm_up=100)
    """Learning rate."""

    average: float | None = Field(default=0.999, ge=0, lt=1)
    """Validate and export exponential averages of the weights, of this decay per step (less at first); null: the
    weights themselves."""


class BlockFusionRecipe(NetworkRecipe):
    """Trains the network to make frames as recorded: the loss of a sample is the negative of its PSNR, in dB.

    ``10 log10(E + u)``, with the mean squared error E to what can be known of the frame, and the variance u of what
    cannot, both in units of the noise. So samples of much motion and of little count alike.

    Args:
        config: The recipe's.
        samples: What to train on.
        validation: What to validate on; None for no validation.
    """

    name = "block-fusion"
    monitor = "gain"
    config: BlockFusionRecipeConfig
    network: BlockFusion

    def __init__(self, config: BlockFusionRecipeConfig, samples: Samples, validation: Samples | None = None) -> None:
        sizes = {name: getattr(config, name) for name in ("widths", "depths", "bottom")}
        network = opened("block-fusion", config, **({} if config.start else sizes)).requires_grad_(True)
        super().__init__(config, samples, validation, network=channels_last(network))

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.network.parameters(), lr=self.config.rate.base, betas=(0.9, 0.99))

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield one update; the log has the loss, and by how many dB frames are better than the network's base."""
        error = _error(self.made(batch), batch)
        loss = _decibel(error + batch["unknown"]).mean()
        yield Update(self.name, loss, {"error": error.mean()})

    def made(self, batch: Batch) -> Tensor:
        """Return the frames of a batch, ``(B, 1, row, column)``."""
        return cast(Tensor, self.network(*(batch[name] for name in ("coarse", "sharp", "times", "spread"))))

    @torch.no_grad()
    def validate(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return of each frame by how many dB it beats the two frames around it, one moved by flow, and the loss."""
        unknown = batch["unknown"]
        made = _decibel(_error(self.made(batch), batch) + unknown)
        late = batch["times"][:, 0, None, None, None]
        plain_error, moved = (
            _decibel(_error(torch.lerp(batch["sharp"][:, k], batch["sharp"][:, k + 1], late), batch) + unknown)
            for k in (0, 2)
        )
        return {"loss": made, "gain": torch.minimum(plain_error, moved) - made}

    def published_file(self, stem: str) -> str:
        """Return nothing that is used: this network has no authors but us."""
        return f"{stem}.pth"

    def export(self, directory: Path, stem: str) -> Sequence[Path]:
        """Write the weights as safetensors with a card."""
        self.network.card = self.card()  # type: ignore[assignment]
        return [weights.save(self.network, directory / f"{stem}.safetensors")]

    def told(self) -> dict[str, Any]:
        """Return what of the options belongs on a card."""
        options: dict[str, Any] = plain(self.config)
        options.pop("start", None)
        return options


def _error(made: Tensor, batch: Batch) -> Tensor:
    """Return the mean squared error of each sample, ``(B,)``."""
    return (made.float() - batch["target"]).square().flatten(1).mean(dim=1)


def _decibel(power: Tensor) -> Tensor:
    return 10 * power.log10()


def block_fusion(config: BlockFusionRecipeConfig) -> BlockFusionRecipe:
    """Return the recipe.

    Raises:
        WeightsError: The weights to start from cannot be used.
    """
    simulation = config.simulation
    held_out = simulation.validation_length
    return BlockFusionRecipe(
        config,
        SimulatedScenes(simulation, simulation.length),
        SimulatedScenes(simulation, held_out) if held_out else None,
    )


ENTRY = RecipeEntry(
    BlockFusionRecipeConfig, block_fusion, "block-fusion: sharp frames of two cameras, small, on simulated scenes"
)
"""What is trained here, as `scanweave.fusion.recipe` lists it."""
