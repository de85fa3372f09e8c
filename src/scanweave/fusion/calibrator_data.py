"""Training samples of the calibrator: one scene before two cameras whose views differ by a known motion.

A sample has frames of both cameras on one grid, that of the sharp one, in levels from 0 to 255, and the flow from the
coarse camera's view to the sharp one's. Random scales, rotation and shift are `Similarity` in normalised coordinates,
in which -1 and 1 are the middles of a window's outermost pixels: a place q of the coarse view shows what lies at
``M q`` of the sharp one, so that ``flow(q) = M q - q``. The coarse camera averages over blocks; its frames are enlarged
bilinearly, as before a calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor

from .. import io
from ..cine import Cine
from ..errors import InputError, UsageError
from ..io.folders import inputs_in
from ..simulate.params import Range, new_seed, uniform
from ..simulate.target import TargetConfig, TargetParams
from ..training.samples import Samples
from .clips import read_meta, unit_of
from .frames import Frames, Plane
from .rigid import Similarity

_OPEN = 16  # runs whose frames stay within reach
_PITCH = (20.0, 48.0)  # of simulated targets: twice what shifts reach, since a grid looks alike a pitch further on
_MISSING = 0.1  # share of their squares, by which they are told apart


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ViewsConfig:
    """How two views of one scene differ."""

    window: int = Field(default=128, ge=128, multiple_of=8)
    """Sides of frames in sharp pixels."""

    ratio: int = Field(default=4, ge=1)
    """Sharp pixels in the side of a coarse one."""

    span: int = Field(default=5, ge=3)
    """Frames of the run from the sharp frame before to that after; the coarse camera has the three in the middle."""

    scaling: Range | None = None
    """Least and greatest scale, drawn for rows and columns each; none leaves sizes as they are."""

    rotation: Range | None = None
    """Least and greatest rotation, radians."""

    translation: Range | None = None
    """Least and greatest shift along rows and columns each, in half sides of the window: 0.1 of 128 pixels is 6.35."""

    photons_exponent: Range | None = None
    """Poisson noise of the coarse camera: tenth powers of the photons in its brightest pixel; none for no noise."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: An even span, a window of no whole coarse pixels, or limits in the wrong order.
        """
        if self.span % 2 == 0 or self.window % self.ratio:
            raise UsageError(
                f"a span of {self.span} frames, a window of {self.window} pixels at a ratio of {self.ratio}",
                remedy="give an odd span, and a window that is a multiple of the ratio",
            )
        for name in ("scaling", "rotation", "translation", "photons_exponent"):
            limits = getattr(self, name)
            if limits is not None and not (limits[0] <= limits[1] and (name != "scaling" or limits[0] > 0)):
                raise UsageError(f"{name} from {limits[0]:g} to {limits[1]:g}", remedy="give LOW and then HIGH")

    def draw(self, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw how the views of a sample differ, and the coarse camera's noise."""

        def one(limits: Range | None, default: float) -> float:
            return default if limits is None else uniform(limits, generator=generator)

        names = ("scaling", "scaling", "rotation", "translation", "translation")
        values = [one(getattr(self, name), 1.0 if name == "scaling" else 0.0) for name in names]
        exponent = None if self.photons_exponent is None else uniform(self.photons_exponent, generator=generator)
        return {"values": values, "exponent": exponent, "seed": new_seed(generator)}


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RunsConfig:
    """Which runs of a sharp camera to train on."""

    path: Path | None = None
    """A run, or a folder of runs (folders of pictures, many-page TIFF, HDF5, videos); with `meta` the folder of its
    clips."""

    meta: Path | None = None
    """Published list of clips: name, number of frames and (rows,columns,channels) on a line."""

    repeats: int = Field(default=1, ge=1)
    """How often each frame counts as a sample in one epoch."""


@dataclass(frozen=True)
class RunSamples(Samples):
    """Samples of recorded runs, which stand for the sharp camera; a window of a random frame each.

    Attributes:
        views: How the two views differ.
        runs: One path for each run, and how many frames it has.
        repeats: How often each frame counts.
    """

    views: ViewsConfig
    runs: tuple[tuple[Path, int], ...]
    repeats: int = 1

    @cached_property
    def _ends(self) -> list[int]:
        """Of each run and all before: frames that can be the middle of a sample."""
        return list(accumulate(max(frames - self.views.span + 1, 0) for _, frames in self.runs))

    @classmethod
    def of(cls, views: ViewsConfig, config: RunsConfig) -> RunSamples:
        """Find the runs.

        Raises:
            InputError: None, a clip that is not as the list says, or none long and large enough.
        """
        if config.path is None:
            raise UsageError("nothing says which runs to train on", remedy="give --recipe.runs.path")
        stated = {} if config.meta is None else {config.path / one.name: one.frames for one in read_meta(config.meta)}
        runs = []
        for path in stated or inputs_in(config.path):
            run = _opened(path)
            if stated.get(path, len(run)) != len(run):
                raise InputError(f"has {len(run)} frames, the list of clips says {stated[path]}", path=path)
            if min(run.shape) < views.window:
                raise InputError(
                    f"has frames of {run.shape[0]} x {run.shape[1]} pixels, smaller than the window of {views.window}",
                    path=path,
                    remedy="give larger frames",
                )
            runs.append((path, len(run)))
        found = cls(views, tuple(runs), config.repeats)
        if not len(found):
            raise InputError(
                f"holds no run of {views.span} frames or more",
                path=config.path,
                remedy="give longer runs, or a smaller span",
            )
        return found

    def __len__(self) -> int:
        return self._ends[-1] * self.repeats if self._ends else 0

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw a window, and how the views differ; the frame is that of `index`."""
        place = index % self._ends[-1]
        run = int(np.searchsorted(self._ends, place, side="right"))
        first = place - (self._ends[run - 1] if run else 0)
        return {
            "run": run,
            "first": first,
            "corner": [generator.random(), generator.random()],
            **self.views.draw(generator=generator),
        }

    def make(self, drawn: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the sample.

        Raises:
            InputError: A frame that is damaged, or shows nothing.
        """
        run, first = _opened(self.runs[drawn["run"]][0]), drawn["first"]
        frames = torch.from_numpy(np.stack([run.unit(first + i) for i in range(self.views.span)]))
        room = np.array(frames.shape[1:]) - self.views.window
        row, column = np.floor(np.array(drawn["corner"]) * (room + 1)).astype(int).tolist()
        return two_views(frames, (column, row), drawn, self.views)


@dataclass(frozen=True)
class TargetSamples(Samples):
    """Samples of simulated calibration targets, which stand still.

    Attributes:
        views: How the two views differ.
        length: Samples of one epoch.
    """

    views: ViewsConfig
    length: int

    def __len__(self) -> int:
        return self.length

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw a target and how the views differ."""
        config = TargetConfig(size=(2 * self.views.window, 2 * self.views.window), pitch=_PITCH, missing=_MISSING)
        return {
            "target": TargetParams.draw(config, generator=generator).as_json(),
            **self.views.draw(generator=generator),
        }

    def make(self, drawn: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the sample.

        Raises:
            InputError: These values were not drawn here.
        """
        frame = torch.from_numpy(TargetParams.from_json(drawn["target"]).render())
        corner = self.views.window // 2
        return two_views(frame.expand(self.views.span, -1, -1), (corner, corner), drawn, self.views)


def two_views(
    frames: Tensor, corner: tuple[int, int], drawn: Mapping[str, Any], views: ViewsConfig
) -> dict[str, Tensor]:
    """Return what both cameras record of a window.

    Args:
        frames: ``(span, row, column)`` of the sharp camera, in [0, 1].
        corner: Column and row of the window's first pixel.
        drawn: ``values``, scale along rows and columns, angle, shift along columns and rows; ``exponent`` and ``seed``
            of the noise.
        views: The window's side, and the coarse camera's pixels.

    Returns:
        ``coarse`` and ``sharp`` ``(3, 1, window, window)`` in levels, ``flow`` ``(2, window, window)`` in pixels,
        columns before rows, and ``known`` ``(window, window)``, 1 where the coarse view shows what was recorded.
    """
    side, (column, row) = views.window, corner
    middle = views.span // 2
    sharp = frames[[0, middle, -1], row : row + side, column : column + side]
    scale_y, scale_x, angle, x, y = drawn["values"]
    matrix = torch.from_numpy(Similarity(scale_x, scale_y, angle, x, y).matrix)
    half = (side - 1) / 2
    line = torch.linspace(-1, 1, side, dtype=torch.float64)
    own = torch.stack(torch.meshgrid(line, line, indexing="ij")[::-1], dim=-1)
    seen = own @ matrix[:2, :2].T + matrix[:2, 2]
    far = torch.tensor([frames.shape[2] - 1.0, frames.shape[1] - 1.0], dtype=torch.float64)
    places = 2 * ((seen + 1) * half + torch.tensor([column, row])) / far - 1
    grid = places.float().expand(3, -1, -1, -1)
    view = F.grid_sample(
        frames[middle - 1 : middle + 2, None], grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    coarse = F.avg_pool2d(view, views.ratio)
    if drawn["exponent"] is not None:
        coarse = _counted(coarse, 10 ** drawn["exponent"], drawn["seed"])
    if views.ratio > 1:
        coarse = F.interpolate(coarse, scale_factor=views.ratio, mode="bilinear", align_corners=False)
    return {
        "coarse": 255 * coarse,
        "sharp": 255 * sharp[:, None].clone(),
        "flow": ((seen - own) * half).float().permute(2, 0, 1).contiguous(),
        "known": (places.abs() <= 1).all(dim=-1).float(),
    }


def _counted(coarse: Tensor, photons: float, seed: int) -> Tensor:
    """Return frames with Poisson noise, ``clip(Poisson(frame b0) / b0, 0, 1)``."""
    counts = np.random.default_rng(seed).poisson(coarse.clamp(min=0).double().numpy() * photons)
    return torch.from_numpy(np.clip(counts / photons, 0, 1).astype(np.float32))


@dataclass(frozen=True, eq=False)
class _Run:
    """The frames of a run, grey and in [0, 1]; pictures with three equal channels count as grey."""

    cine: Cine
    path: Path

    def __len__(self) -> int:
        return len(self.cine)

    @property
    def shape(self) -> tuple[int, int]:
        return self.cine.shape[0], self.cine.shape[1]

    def unit(self, i: int) -> Plane:
        if not self.cine.is_colour:
            return Frames.of(self.cine, "sharp").unit(i)
        return unit_of(self.cine.frame(i), self.path)


@lru_cache(maxsize=_OPEN)
def _opened(path: Path) -> _Run:
    return _Run(io.read(path, as_="cine"), path)
