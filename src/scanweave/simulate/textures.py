"""Still backgrounds: smooth random structure of many sizes, and the shadows of a chest."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]


def clouds(
    shape: tuple[int, int],
    *,
    generator: np.random.Generator,
    coarsest: int = 3,
    octaves: int = 4,
    falloff: float = 0.5,
) -> Picture:
    """Return smooth structure of mean 0 and standard deviation 1.

    Args:
        shape: ``(row, column)``.
        generator: Where all randomness comes from.
        coarsest: Cells along the shorter side, of the largest structure.
        octaves: How many times cells are halved, and one more.
        falloff: Amplitude of each octave relative to the coarser one.
    """
    picture: Picture = np.zeros(shape, np.float32)
    for octave in range(octaves):
        cell = min(shape) / (coarsest * 2**octave)
        cells = tuple(min(side, max(2, math.ceil(side / cell) + 1)) for side in shape)
        knots = generator.standard_normal(cells, dtype=np.float32) * np.float32(falloff**octave)
        picture += cv2.resize(knots, shape[::-1], interpolation=cv2.INTER_CUBIC)
    picture -= picture.mean()
    return picture / max(float(picture.std()), 1e-6)


def edge_shadow(shape: tuple[int, int], *, generator: np.random.Generator) -> Picture:
    """Return the shadow of something dense with a wavy soft border: 0 on one side, 1 on the other."""
    angle = generator.uniform(0, 2 * math.pi)
    x, y = _centred(shape)
    across = x * math.cos(angle) + y * math.sin(angle) - generator.uniform(-0.25, 0.25)
    along = y * math.cos(angle) - x * math.sin(angle)
    for _ in range(2):
        wave = generator.uniform(0.5, 2) * 2 * math.pi * along + generator.uniform(0, 2 * math.pi)
        across += generator.uniform(0.01, 0.06) * np.sin(wave, dtype=np.float32)
    return _soft_step(across / generator.uniform(0.01, 0.08))


def rib_shadows(shape: tuple[int, int], *, generator: np.random.Generator) -> Picture:
    """Return bowed bands, brighter along their edges as hollow bones are; at most 1."""
    x, y = _centred(shape)
    angle = generator.uniform(-0.5, 0.5)
    level = y * math.cos(angle) + x * math.sin(angle) + generator.uniform(-0.5, 0.5) * x * x
    spacing = generator.uniform(0.22, 0.4)
    place = np.abs(np.mod(level / spacing + generator.uniform(), 1.0) - 0.5) / 0.5
    half = generator.uniform(0.25, 0.4)
    band = _soft_step((half - place) / 0.05)
    rim = np.exp(-(((place - half) / 0.08) ** 2))
    return np.asarray(0.6 * band + 0.4 * rim, dtype=np.float32)


def _centred(shape: tuple[int, int]) -> tuple[Picture, Picture]:
    """Return ``x, y`` in units of the shorter side, 0 in the middle."""
    y, x = (np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in shape)
    side = np.float32(min(shape))
    grid = np.meshgrid(x / side, y / side)
    return grid[0], grid[1]


def _soft_step(values: NDArray[Any]) -> Picture:
    """Return the logistic function of `values`, which may be large."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * values), dtype=np.float32)
