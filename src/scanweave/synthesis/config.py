"""What a training of Uni-COAL is asked to do, and by what: task, networks and losses."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TaskConfig:
    """Which slices are made of which: another contrast (CMS), slices between others (SR), both (CMSR), or any."""

    sources: tuple[str, ...] = ("T1",)
    """Contrasts to make slices of, by name."""

    targets: tuple[str, ...] = ("T2",)
    """Contrasts to make."""

    take: Literal["all", "one"] = "all"
    """all takes every source but the target at once, each as channels of its own; one takes one source, drawn for each
    sample, which may be the target: so one network learns every task."""

    slices: int = Field(default=4, ge=1)
    """Neighbouring source slices that are seen: of 4, the one before slice n, n itself, and two after it. The wanted
    slice lies between n and the next."""

    spacings: tuple[float, ...] = (1.0,)
    """Distances of source slices, in slices of the target, one drawn for each sample; 1 makes slices of another
    contrast where they were acquired."""

    side: int = 256
    """Side of the slices, in pixels: a power of 2."""

    def __post_init__(self) -> None:
        """Refuse what cannot be learned.

        Raises:
            UsageError: Too few contrasts, one named twice, targets with different sources, or impossible spacings.
        """
        for name, contrasts in (("sources", self.sources), ("targets", self.targets)):
            if not contrasts or len(set(contrasts)) != len(contrasts):
                raise UsageError(f"task.{name} {list(contrasts)} should name contrasts, each once")
        if not self.spacings or min(self.spacings) < 1:
            raise UsageError(f"task.spacings {list(self.spacings)} should be at least 1, one of them at least")
        counts = {len(self.inputs(target)) for target in self.targets}
        if len(counts) > 1 or 0 in counts:
            raise UsageError(
                f"of {', '.join(self.sources)} not every one of {', '.join(self.targets)} can be made alike",
                remedy="name targets that are all among the sources, or none; or set task.take one",
            )
        if self.take == "all" and max(self.spacings) == 1 and len(self.sources) == 1 and self.sources == self.targets:
            raise UsageError("nothing is to be made: the target is the source", remedy="give task.spacings above 1")

    def inputs(self, target: str) -> tuple[str, ...]:
        """Return the contrasts that are channels when `target` is made; of `take` one, the one is drawn from these."""
        if self.take == "one" or self.sources == (target,):
            return self.sources[:1] if self.take == "one" else self.sources
        return tuple(name for name in self.sources if name != target)

    @property
    def channels(self) -> int:
        """Channels of the source."""
        return self.slices * len(self.inputs(self.targets[0]))

    @property
    def first(self) -> int:
        """Offset of the first source slice from slice n."""
        return 1 - self.slices // 2

    @property
    def between(self) -> bool:
        """Whether slices between others are made, so that networks must be told where."""
        return max(self.spacings) > 1


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GeneratorConfig:
    """The generator, where it starts afresh; the rest follows from the task."""

    latent: int = Field(default=64, ge=1)
    """Length of z."""

    width: int = Field(default=512, ge=1)
    """Length of the style vectors."""

    mapping_layers: int = Field(default=2, ge=1)
    """Layers between z and styles."""

    encoder_modulated: bool = True
    """Whether the encoder is told contrast and position."""

    position: bool | None = None
    """Whether styles are told the position; by default if slices between others are made."""

    encoder_position: bool | None = None
    """Whether the encoder is, where it is told anything; by default likewise."""

    layers: int = Field(default=14, ge=1)
    """Layers on the way down and on the way up."""

    channel_base: int = Field(default=16384, ge=1)
    """Channels of a layer are half of this over its cutoff, at most `channel_max`."""

    channel_max: int = Field(default=512, ge=1)
    """The most channels anywhere."""

    skip_resolution: int = Field(default=128, ge=0)
    """Up to where the encoder's maps are added on the way up."""

    margin: int = Field(default=10, ge=0)
    """Samples computed beyond each side."""

    oversampled: Literal[1, 2, 4] = 2
    """Factor of the rate at which nonlinearities are applied; 1 lets them alias, and is much faster."""

    coordinate: bool = False
    """Whether the position is a channel of the first layer too."""

    position_waves: Literal["linear", "fourier"] = "linear"
    """How positions are embedded."""

    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Of the global code."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CriticConfig:
    """The critic, where it starts afresh; it is left out where `loss.adversarial` is 0."""

    channel_base: int = Field(default=16384, ge=1)
    """Channels at side r are this over r, at most `channel_max`."""

    channel_max: int = Field(default=512, ge=1)
    """The most channels anywhere."""

    embedded: int = Field(default=64, ge=1)
    """Width of the embeddings of contrast and position."""

    mapping_layers: int = Field(default=2, ge=1)
    """Layers of the network that maps them."""

    position: bool | None = None
    """Whether it is told the position; by default if slices between others are made."""

    group: int = Field(default=16, ge=1)
    """Samples over which deviations are taken; batches are multiples of it, or smaller."""

    start: str | None = None
    """Weights to go on from, such as a published ``latest_net_D.pth``."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LossConfig:
    """Weights of the terms; the defaults are those of the published final recipes, without SAM."""

    adversarial: float = Field(default=1.0, ge=0)
    """Of what the critic says; at 0 there is none, and training takes half the time."""

    absolute: float = Field(default=80.0, ge=0)
    """Of the mean absolute difference."""

    features: float = Field(default=0.0, ge=0)
    """Of the difference of what SAM's image encoder sees; published 100. Needs `sam`."""

    sam: str | None = None
    """File of that encoder's weights, such as ``sam_vit_b_01ec64.pth``."""

    penalty: float = Field(default=10.0, ge=0)
    """Of the critic's gradient penalty (R1)."""

    penalty_every: int = Field(default=1, ge=1)
    """Take it in every so many steps, and as many times as strong: cheaper, much alike; 1 as published."""

    blur: float = Field(default=10.0, ge=0)
    """Blur in pixels of all that is compared, at first."""

    blur_fade: int = Field(default=200_000, ge=0)
    """Images until it has faded out; 0 for none from the start."""

    def __post_init__(self) -> None:
        """Refuse to train by nothing.

        Raises:
            UsageError: No term has a weight.
        """
        if not (self.adversarial or self.absolute or self.features):
            raise UsageError("every term of the loss has the weight 0", remedy="give one of them a weight")
