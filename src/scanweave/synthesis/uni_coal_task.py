"""What a Uni-COAL generator was trained to make of what, as far as its weights say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError, WeightsError
from ..models import UniCoal
from ..weights import Card
from .contrasts import canonical

_PUBLISHED: dict[int, tuple[str, ...]] = {3: ("T1", "PD", "T2")}
_SLICES = 4


@dataclass(frozen=True)
class Task:
    """The task of weights.

    Attributes:
        targets: Contrasts in the order of the one-hot vector; empty where the weights do not say: any is taken. They
            are called as files of contrasts are: weights trained on datasets ``t1_hr4sr`` make T1.
        sources: Contrasts that it was trained on; empty where the weights do not say.
        together: Whether all sources but the target are channels at once, or one is.
        slices: Neighbouring slices of each.
        count: How many sources are channels at once.
        pixel: Side in mm of the pixels of the slices that it was trained on; None where the weights do not say.
    """

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    together: bool
    slices: int
    count: int
    pixel: float | None = None

    @classmethod
    def of(cls, network: UniCoal, card: Card) -> Task:
        """Return the task that a card states; of published weights, which have none, that of their shapes.

        Raises:
            WeightsError: Card and network contradict each other.
        """
        told: dict[str, Any] = dict(card.training.get("config", {}).get("task", {}))
        channels, contrasts = network.config.channels_in, network.config.contrasts
        slices = int(told.get("slices") or (_SLICES if channels % _SLICES == 0 else channels))
        targets = _called(told.get("targets") or ()) or _PUBLISHED.get(contrasts, ())
        if channels % slices or (targets and contrasts and len(targets) != contrasts):
            raise WeightsError(
                f"a network of {channels} channels and {contrasts} contrasts was not trained on {slices} slices to make"
                f" {', '.join(targets)}",
                remedy="get weights with their own card",
            )
        pixel = card.training.get("pixel_mm")
        if pixel is not None and not (isinstance(pixel, int | float) and 0 < pixel < math.inf):
            raise WeightsError(
                f"their card says that pixels are {pixel!r} mm wide", remedy="get weights with a sound card"
            )
        count, together = channels // slices, told.get("take", "all") == "all"
        return cls(targets, _called(told.get("sources") or ()), together, slices, count, pixel)

    def index(self, contrast: str) -> int:
        """Return the place of a contrast in the one-hot vector.

        Raises:
            UsageError: The weights were not trained to make it.
        """
        if not self.targets:
            return 0
        named = contrast if contrast in self.targets else canonical(contrast)
        if named not in self.targets:
            raise UsageError(f"these weights make {', '.join(self.targets)}, not {contrast}", remedy="give others")
        return self.targets.index(named)

    def inputs(self, contrast: str, there: Sequence[str], wished: str | None) -> tuple[str, ...]:
        """Return the contrasts that are channels.

        Args:
            contrast: What is made.
            there: What the subject has.
            wished: What the user wants it to be made of, where one is.

        Raises:
            UsageError: The subject has not what the weights need.
        """
        known = {canonical(name): name for name in there}
        others = [known.get(name, name) for name in (self.sources or there) if known.get(name, name) != contrast]
        if self.together and self.sources and len(others) == self.count:
            chosen = tuple(others)
        elif self.count == 1:
            chosen = (wished or (contrast if contrast in there else next(iter(there))),)
        else:
            chosen = tuple(name for name in there if name != contrast)
        missing = [name for name in chosen if name not in there]
        if missing or len(chosen) != self.count:
            what = ", ".join(others) if self.sources else f"{self.count} contrasts besides {contrast}"
            raise UsageError(
                f"these weights make {contrast} of {what}; the subject has {', '.join(there)}",
                remedy="give these contrasts, or other weights",
            )
        return chosen


def _called(names: Sequence[str]) -> tuple[str, ...]:
    """Return contrasts as files of them are called; as they stand where two would be called alike."""
    called = tuple(canonical(name) for name in names)
    return called if len(set(called)) == len(called) else tuple(names)
