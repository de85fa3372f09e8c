"""The card that travels with a set of weights: where they come from, and what they are for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn

from ..errors import UsageError
from ..models import NETWORKS

_SAME_TIME = 1e-3


class WeightsWarning(UserWarning):
    """Something about a set of weights had to be guessed; the message says what, and how to settle it."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _with_tuples(value: Any) -> Any:
    """Return `value` with tuples for the lists that JSON makes of them."""
    return tuple(value) if isinstance(value, list) else value


Tupled = Annotated[Any, BeforeValidator(_with_tuples)]


class Decision(_Model):
    """One thing about weights that their file does not state."""

    value: Tupled
    why: str
    sure: bool = Field(default=True, description="False where the evidence is thin; the user is warned then")


class Card(_Model):
    """What is known about a set of weights. Unknown is None or empty, never a guess."""

    network: str
    config: dict[str, Tupled] = Field(description="Fields of the network's config")
    origin: str = Field(description="The file or the training that the weights come from")
    sha256: str | None = Field(default=None, description="Hash of the file they were first read from")
    licence: str = "unknown"
    intended_use: str = "unknown"
    input_range: str = "unknown"
    trained_times: tuple[float, ...] | None = Field(default=None, description="Times in (0, 1) met in training")
    decisions: dict[str, Decision] = Field(default_factory=dict, description="Config that provenance decided")
    training: dict[str, Any] = Field(default_factory=dict, description="What the file tells of its training")
    notes: tuple[str, ...] = ()

    def untrained(self, times: Sequence[float]) -> tuple[float, ...]:
        """Return those of `times` that training never met; none where the card does not know them.

        Example:
            >>> Card(network="most-dsa", config={}, origin="Inf1.pkl", trained_times=(0.5,)).untrained([0.5, 0.25])
            (0.25,)
        """
        if self.trained_times is None:
            return ()
        return tuple(t for t in times if all(abs(t - known) > _SAME_TIME for known in self.trained_times))


def network_name(model: nn.Module) -> str:
    """Return the registry name of a network.

    Raises:
        UsageError: It is none of :data:`scanweave.models.NETWORKS`.
    """
    for name, network in NETWORKS.items():
        if type(model) is network.module:
            return name
    raise UsageError(f"a {type(model).__name__} is no published network", remedy=f"have one of {', '.join(NETWORKS)}")


def card_of(model: nn.Module) -> Card:
    """Return the card that a network was loaded with; a bare one for a network that was never stored.

    Raises:
        UsageError: It is no published network.
    """
    card = getattr(model, "card", None)
    if isinstance(card, Card):
        return card
    return Card(network=network_name(model), config=config_of(model), origin="made in memory")


def config_of(model: nn.Module) -> dict[str, Any]:
    """Return the config of a network as a plain mapping."""
    config = model.config
    return {name: getattr(config, name) for name in type(config).__dataclass_fields__}  # type: ignore[union-attr]
