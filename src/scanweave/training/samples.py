"""Where samples come from: first drawn, as numbers that can be written down, then made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from torch import Tensor

Drawn = Mapping[str, Any]
"""All that is random about a sample, as JSON: with it `Samples.make` gives the same tensors again."""

Sample = Mapping[str, Tensor]
"""What a recipe trains on, without a batch axis; every sample of one source has the same keys, shapes and dtypes."""


class Samples(Protocol):
    """A source of samples: files, or a simulation of a stated length.

    `draw` is cheap and reads no pixels; `make` may run in another process, and must not draw.
    """

    def __len__(self) -> int:
        """How many samples one epoch has."""

    def draw(self, index: int, *, generator: np.random.Generator) -> Drawn:
        """Return what decides sample `index`; all randomness comes from `generator`."""

    def make(self, drawn: Drawn) -> Sample:
        """Return the sample that `drawn` decides.

        Raises:
            InputError: A file that it needs is gone or damaged.
        """
