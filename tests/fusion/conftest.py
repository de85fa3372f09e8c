"""Two cameras at one small scene that moves, for all tests of fusion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scanweave.cine import Cine
from scanweave.fusion.virtual import Virtual, VirtualOptions, virtual


@pytest.fixture
def drifting() -> Callable[..., Cine]:
    """A run of a smooth scene that moves one pixel to the right per frame."""

    def make(*, frames: int = 13, shape: tuple[int, int] = (32, 48), dtype: type = np.uint16) -> Cine:
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        run = np.stack([np.sin((columns - t) / 5) * np.cos(rows / 7) for t in range(frames)])
        if np.dtype(dtype).kind == "f":
            return Cine.from_array(((run + 1) / 2).astype(dtype), fps=1000, levels=(0, 1))
        return Cine.from_array(np.rint((run + 1.2) * 1800).astype(dtype), fps=1000)

    return make


@pytest.fixture
def experiment(drifting) -> Callable[..., Virtual]:
    """A virtual experiment on it; cameras as given."""

    def make(*, shape: tuple[int, int] = (32, 48), frames: int = 13, **cameras: object) -> Virtual:
        options = {"ratio": 4.0, **cameras}
        return virtual(drifting(shape=shape, frames=frames), VirtualOptions(**options))

    return make
