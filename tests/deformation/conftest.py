"""Nothing here is trained unless a test says so; the noise that the goldens were made with."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch

from scanweave.deformation import DiffusionConfig
from scanweave.deformation.diffusion import Noise


@pytest.fixture(scope="session")
def golden_noise() -> Callable[[str, int, int, DiffusionConfig], Noise]:
    """The noise of a case, by the recipe of the goldens' README."""

    def make(case: str, batch: int, ndims: int, config: DiffusionConfig) -> Noise:
        def scale(part: str, cells: int) -> torch.Tensor:
            seed = zlib.crc32(f"drdm/{case}/{part}{cells}".encode())
            drawn = np.random.Generator(np.random.PCG64(seed)).standard_normal((batch, ndims) + (cells,) * ndims)
            return torch.from_numpy(drawn.astype(np.float32))

        return Noise(*(tuple(scale(part, cells) for cells in config.cells) for part in "vn"))

    return make
