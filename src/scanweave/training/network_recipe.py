"""What recipes that train one network share: starting weights, schedule, averages, export and card."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from .. import weights
from ..models import create
from ..weights.card import Card, config_of
from .recipe import Horizon, Recipe
from .samples import Samples


class Schedule(Protocol):
    """Learning rates over a training."""

    @property
    def base(self) -> float:
        """The highest rate."""

    def at(self, step: int, horizon: Horizon) -> float:
        """Return the rate of `step`, counted from 0."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NetworkRecipeConfig:
    """What training any one network asks."""

    start: str | None = None
    """Weights to go on from, published or one's own: a file, or the name of one in the user's folder. By default fresh
    ones are drawn."""

    init_seed: int = Field(default=0, ge=0)
    """Seed of fresh weights."""

    average: float | None = Field(default=None, ge=0, lt=1)
    """Validate and export exponential averages of the weights, of this decay per step (less at first); null: the
    weights themselves."""

    licence: str = "unknown"
    """Licence of the weights, for their card."""

    trained_on: str = "unknown"
    """What the samples are, in words, for the card of the weights."""


class NetworkRecipe(Recipe):
    """Trains one network by one optimizer.

    Args:
        config: The recipe's: fields of :class:`NetworkRecipeConfig` and a `rate`.
        samples: What to train on.
        validation: What to validate on; None for no validation.
        network: The network, trained in place.

    Attributes:
        name: The network's name in the registry, and the optimizer's.
    """

    name: ClassVar[str]

    def __init__(self, config: Any, samples: Samples, validation: Samples | None, *, network: nn.Module) -> None:
        self.config = config
        self.network = network.train()
        self._samples, self._validation = samples, validation
        self._horizon: Horizon | None = None
        self._origin = weights.card_of(network).origin if config.start else "fresh weights"
        self._optimizer = self.make_optimizer()

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimizer of the network."""

    @abstractmethod
    def published_file(self, stem: str) -> str:
        """Return the name of a file in the authors' layout, below the folder of finished weights."""

    @abstractmethod
    def told(self) -> dict[str, Any]:
        """Return what of the options belongs on a card: no paths, which may name patients; the run's plan has them."""

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the network."""
        return {"network": self.network}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return the one optimizer."""
        return {self.name: self._optimizer}

    def samples(self) -> Samples:
        """Return what to train on."""
        return self._samples

    def validation(self) -> Samples | None:
        """Return what to validate on."""
        return self._validation

    def begin(self, horizon: Horizon) -> None:
        """Learn how long training goes on."""
        self._horizon = horizon

    @property
    def horizon(self) -> Horizon:
        """How long training goes on."""
        assert self._horizon is not None, "the engine begins a recipe first"
        return self._horizon

    def learning_rate(self, step: int) -> Mapping[str, float]:
        """Return the rate of `step`."""
        rate: Schedule = self.config.rate
        return {self.name: rate.at(step, self.horizon)}

    def averages(self, step: int) -> Mapping[str, float]:
        """Return the decay of the average weights, less during the first steps so that the start is forgotten."""
        decay = self.config.average
        return {} if decay is None else {"network": min(decay, (1 + step) / (10 + step))}

    def export(self, directory: Path, stem: str) -> Sequence[Path]:
        """Write the weights as safetensors with a card, and in their authors' layout.

        A `WeightsWarning` says what that layout cannot tell.
        """
        self.network.card = self.card()  # type: ignore[assignment]
        ours = weights.save(self.network, directory / f"{stem}.safetensors")
        published = directory / self.published_file(stem)
        published.parent.mkdir(parents=True, exist_ok=True)
        theirs = weights.export_published(self.name, self.network, published)
        return [ours, theirs]

    def card(self) -> Card:
        """Return what users of the weights should know of them."""
        layout = weights.LAYOUTS[self.name]
        return Card(
            network=self.name,
            config=config_of(self.network),
            origin="trained by scanweave",
            licence=self.config.licence,
            intended_use=layout.intended_use,
            input_range=layout.input_range,
            training={"recipe": self.name, "config": self.told(), **self.describe()},
        )

    def describe(self) -> Mapping[str, Any]:
        """Return where the weights started, and what they are trained on."""
        return {"started_from": self._origin, "trained_on": self.config.trained_on}


def opened(name: str, config: NetworkRecipeConfig, **options: object) -> nn.Module:
    """Return the network that a training starts from.

    Args:
        name: Its name.
        config: Where it starts, or the seed of fresh weights.
        **options: Fields of the network's config that are given.

    Raises:
        WeightsError: The weights given are of another network, or damaged.
    """
    if config.start is not None:
        return weights.open(name, config.start, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.init_seed)
        return create(name, **options)
