"""`Made`: what a method of any job made, and how far it trusts itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Made:
    """What a method made.

    Attributes:
        frames: ``(time, channel, row, column)`` float32 in [0, 1]; in synthesis the first axis is places along the
            slice normal.
        uncertainty: ``(time, 1, row, column)`` non-negative, larger where the method trusts itself less, in units of
            intensity in [0, 1]; None if the method cannot tell.
        extras: Anything else worth keeping (flows, masks), by name. In interpolation, what depends on time has one
            entry for each time strictly between 0 and 1.
    """

    frames: Tensor
    uncertainty: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
