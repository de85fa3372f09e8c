"""What the parameters of every simulated thing share: they are values, they go to JSON and come back the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InputError

Point = tuple[float, float]
"""``(x, y)``: along columns, then along rows, in pixels; the centre of the first pixel is ``(0, 0)``."""

Range = tuple[float, float]
"""Least and greatest value that may be drawn."""


class Params(BaseModel):
    """Values that were drawn once, and from which the same frames can be made at any time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def as_json(self) -> dict[str, Any]:
        """Return the values as plain JSON types; `from_json` gives an equal object."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the parameters of `values`.

        Raises:
            InputError: A value is missing, unknown, of another type, or would fold the image.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise InputError(
                f"simulation parameters cannot be used: {where}: {first['msg']}",
                remedy="give parameters as they were drawn",
            ) from error


def uniform(limits: Range, *, generator: np.random.Generator) -> float:
    """Draw one number between two limits."""
    return float(generator.uniform(*limits))


def new_seed(generator: np.random.Generator) -> int:
    """Draw the seed of something too large to be written down: a texture, a tree, noise.

    Below 2^53, so that every reader of JSON keeps it whole.
    """
    return int(generator.integers(2**53))


def stream(seed: int, name: str, *, time: float | None = None) -> np.random.Generator:
    """Return the generator of one named thing, so that none depends on what else was made, or in which order.

    Args:
        seed: Seed of the scene.
        name: What is made, ``"noise"``.
        time: For something that differs from frame to frame: the time of the frame. Frames of one time are one frame.
    """
    bits = [] if time is None else np.frombuffer(np.float64(time + 0.0).tobytes(), np.uint32).tolist()
    return np.random.default_rng([seed, *name.encode(), *bits])
