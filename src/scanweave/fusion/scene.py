"""`Scene`: the frames of both cameras on one grid, that of the sharp camera where both see, and its blocks.

A coarse frame is sampled at the centres of blocks of ``step x step`` sharp pixels: where the coarse camera's pixels are
just these blocks, its frame comes out as recorded; where they are finer, several samples are averaged; where they are
coarser or turned, neighbours are weighted bilinearly. Sides are filled up by repeating the border, never stretched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .calibration import Calibration
from .clocks import Clocks
from .frames import Frames
from .published_registration import Box, largest_rectangle
from .rigid import moved

_HALF = 0.5 + 1e-6  # a pixel's light comes from half a pixel around its centre

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True, eq=False)
class Scene:
    """Both cameras at one scene.

    Attributes:
        coarse: The fast camera's frames.
        sharp: The sharp camera's frames.
        calibration: How the two go together.
        step: Side of a block in sharp pixels.
        multiple: What the sides of sharp frames are filled up to a multiple of.
    """

    coarse: Frames
    sharp: Frames
    calibration: Calibration
    step: int = 1
    multiple: int = 1

    @property
    def moments(self) -> NDArray[np.float64]:
        """Of the coarse frames, on the sharp clock, seconds."""
        return moments(self.coarse, self.calibration)

    @property
    def box(self) -> Box:
        """What both cameras see of a sharp frame."""
        return common_box(self.calibration)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of what both see."""
        x0, y0, x1, y1 = self.box
        return y1 - y0, x1 - x0

    @property
    def filled(self) -> tuple[int, int]:
        """Rows and columns once filled up."""
        rows, columns = (-(-n // self.multiple) * self.multiple for n in self.shape)
        return rows, columns

    def sharp_frame(self, i: int) -> Tensor:
        """Return sharp frame `i`, ``(1, 1, row, column)``, filled up."""
        x0, y0, x1, y1 = self.box
        part = torch.from_numpy(np.ascontiguousarray(self.sharp.unit(i)[y0:y1, x0:x1]))[None, None]
        (rows, columns), (below, right) = self.shape, self.filled
        return F.pad(part, (0, right - columns, 0, below - rows), mode="replicate")

    def coarse_frame(self, i: int, *, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
        """Return coarse frame `i` on the blocks, ``(1, 1, row, column)``."""
        frame = torch.from_numpy(self.coarse.unit(i)).double()[None, None]
        sampled = F.grid_sample(frame, self._places, mode=mode, padding_mode="border", align_corners=False)
        return (F.avg_pool2d(sampled, self._samples) if self._samples > 1 else sampled).float()

    def blocks(self, frame: Tensor) -> Tensor:
        """Return the means of a sharp frame ``(1, 1, row, column)`` over the blocks."""
        return F.avg_pool2d(frame, self.step) if self.step > 1 else frame

    def cropped(self, frame: Tensor) -> Tensor:
        """Return what both see of a filled frame."""
        rows, columns = self.shape
        return frame[..., :rows, :columns]

    @property
    def _samples(self) -> int:
        """Samples along a block's side: one for each coarse pixel in it."""
        return max(1, round(self.step / self.calibration.scale))

    @cached_property
    def _places(self) -> Tensor:
        """Where each sample lies in a coarse frame, as `grid_sample` has it: -1 and 1 are the outer edges."""
        x0, y0, _, _ = self.box
        side = self.step / self._samples
        rows, columns = (n * self._samples // self.step for n in self.filled)
        at = [first + side * (np.arange(n, dtype=np.float64) + 0.5) - 0.5 for first, n in ((x0, columns), (y0, rows))]
        centres = np.asarray(np.stack(np.meshgrid(*at), axis=-1).reshape(-1, 2), np.float64)
        places = moved(np.linalg.inv(np.asarray(self.calibration.matrix)), centres)
        size = np.array(self.coarse.shape[::-1], dtype=np.float64)
        return torch.from_numpy(((2 * places + 1) / size - 1).reshape(1, rows, columns, 2))


def moments(coarse: Frames, calibration: Calibration) -> NDArray[np.float64]:
    """Return the moments of the coarse frames on the sharp clock, seconds."""
    return (calibration.clocks or Clocks()).on_sharp(coarse.times)


def common_box(calibration: Calibration) -> Box:
    """Return the largest rectangle of a sharp frame, as recorded, that the coarse camera's pixels cover.

    Raises:
        InputError: They cover nothing of it.
    """
    box = _box(calibration.matrix, calibration.coarse_shape, calibration.sharp_shape)
    if box[2] - box[0] < 2 * calibration.scale or box[3] - box[1] < 2 * calibration.scale:
        raise InputError(
            "no overlap in space: the calibration puts the coarse frame beside the sharp one",
            remedy="check the calibration and which run it belongs to",
        )
    return box


@lru_cache(maxsize=8)
def _box(matrix: Matrix, coarse_shape: tuple[int, int], sharp_shape: tuple[int, int]) -> Box:
    rows, columns = sharp_shape
    places = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2).astype(np.float64)
    at = moved(np.linalg.inv(np.asarray(matrix)), places)
    reach = np.array(coarse_shape[::-1]) - 1 + _HALF
    seen = ((at >= -_HALF) & (at <= reach)).all(axis=1).reshape(rows, columns)
    x, y, width, height = largest_rectangle(seen)
    return x, y, x + width, y + height


def whole_step(calibration: Calibration) -> int:
    """Return the side of the blocks, in sharp pixels, that are nearest to a coarse pixel."""
    return max(1, math.floor(calibration.scale + 0.5))
