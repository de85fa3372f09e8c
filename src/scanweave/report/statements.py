"""What checks found, as statements of a verdict: how loudly each is said, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .page import Level

OUTCOMES: Mapping[str, Level] = {"better": "good", "worse": "alarm", "level": "warning", "unclear": "warning"}
"""How loudly the outcome of a comparison with baselines is said (`scanweave.metrics.outcome`)."""

_LOUDEST: tuple[Level, ...] = ("alarm", "warning", "good", "info")


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that was found.

    Attributes:
        level: How loudly it is said.
        title: In short.
        text: With its numbers.
    """

    level: Level
    title: str
    text: str


def gravest_first(told: Iterable[Statement]) -> list[Statement]:
    """Return statements with the loudest first, otherwise in their order."""
    return sorted(told, key=lambda one: _LOUDEST.index(one.level))
