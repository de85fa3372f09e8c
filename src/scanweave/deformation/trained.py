"""What weights of DRDM were trained to see: images of which side, and which of their values are 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..models import Drdm
from ..weights import card_of
from .canvas import TRAINED_SIDE

_WHOLE = (0.0, 100.0)
_ENOUGH = 1_000_000  # voxels that percentiles are taken of: more add seconds and no accuracy


@dataclass(frozen=True, slots=True)
class Trained:
    """How the images were made ready that weights were trained on.

    Attributes:
        side: Voxels of the squares or cubes.
        window: Percentiles of an image's values that became 0 and 1. The published loaders take its least and its
            greatest value, and so do we for their weights.
        stated: Whether the weights say so themselves; else they are taken for ones of the published configurations.
    """

    side: int
    window: tuple[float, float] = _WHOLE
    stated: bool = False

    @classmethod
    def of(cls, network: Drdm) -> Trained:
        """Return what the card of a network tells of its training."""
        told = card_of(network).training.get("config")
        for source in ("data", "simulation"):
            options = told.get(source) if isinstance(told, Mapping) else None
            if isinstance(options, Mapping) and isinstance(options.get("side"), int):
                return cls(options["side"], _window(options), stated=True)
        return cls(TRAINED_SIDE[network.config.ndims])

    def seen(self, image: Tensor) -> Tensor:
        """Return an image scaled as those of the training were, whatever range it has: 0 and 1 at the window's ends.

        A scan seldom uses all levels that its depth has (a slice of 12 bits may end at 800 of 4095); the network would
        see it dark.

        Args:
            image: ``(C, *space)``, floating, of any range.
        """
        low, high = self._ends(image)
        scaled = (image - low) / (high - low if high > low else 1.0)
        return scaled if self.window == _WHOLE else scaled.clamp(0, 1)

    def _ends(self, image: Tensor) -> tuple[float, float]:
        if self.window == _WHOLE:
            return float(image.amin()), float(image.amax())
        values = image.detach().cpu().flatten()
        sampled = values[:: max(1, values.numel() // _ENOUGH)].numpy()
        low, high = np.percentile(sampled, self.window)
        return float(low), float(high)


def _window(options: Mapping[str, Any]) -> tuple[float, float]:
    """Return the percentiles of a recipe's options: those that are simulated, or made ready as published, have none."""
    window = options.get("window")
    if options.get("prepare") != "millimetres" or not isinstance(window, list | tuple) or len(window) != 2:
        return _WHOLE
    return float(window[0]), float(window[1])
