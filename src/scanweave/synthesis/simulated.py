"""Training slices from nothing: subjects that are drawn anew each time, in the contrasts that a task names."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor

from ..ops.slice_profile import SliceProfile, degrade, profile_matrix
from ..simulate.params import Range, new_seed, uniform
from ..training.samples import Samples
from .config import TaskConfig
from .pairing import sample_of
from .simulated_anatomy import Brain, BrainConfig, BrainParams
from .simulated_contrast import Relaxation, Scan

DARKEST = 1 / 255
"""Least brightness of what is brain; around it there is 0."""

_PIXEL = 1.0  # mm
_COARSE = 6.0  # mm between the points that the window of a scan comes from
_REACH = (78, 96, 78)  # mm from the middle of the head, of the same


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SimulationConfig:
    """What is simulated: brains without skull, in axial slices of 1 mm."""

    brain: BrainConfig = BrainConfig()
    """Which brains."""

    window: Range = (0.5, 99.5)
    """Percentiles of a brain's brightness that become 0 and 1."""

    centre: tuple[float, float, float] = (50.0, 30.0, 8.0)
    """How far the middle of slices may lie off the middle of the head, along slices, rows and columns, mm."""

    profiles: tuple[Literal["gaussian", "box", "decimate"], ...] = ("gaussian", "box", "decimate")
    """How thick slices see what lies in them, one drawn for each sample: nothing but their middle (decimate, as
    published), or a mean."""

    gap: Range = (0.0, 0.25)
    """Least and greatest share of the distance of thick slices that lies in none."""

    length: int = Field(default=20_000, ge=1)
    """Samples of one epoch."""

    validation_length: int = Field(default=24, ge=0)
    """Samples to validate on, always the same; 0 for no validation."""


@dataclass(frozen=True)
class SimulatedSlices(Samples):
    """Samples of a task from simulated subjects.

    Attributes:
        config: What is simulated.
        task: What is made of what.
        length: Samples of one epoch.
    """

    config: SimulationConfig
    task: TaskConfig
    length: int

    @property
    def pixel_mm(self) -> float:
        """Side of the pixels of every slice."""
        return _PIXEL

    def __len__(self) -> int:
        return self.length

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw a subject, its scans, where they are looked at, and what of them is the source."""
        task, config = self.task, self.config
        target = task.targets[int(generator.integers(len(task.targets)))]
        sources = task.inputs(target)
        if task.take == "one":
            sources = (task.sources[int(generator.integers(len(task.sources)))],)
        centre = [float(generator.uniform(-reach, reach)) for reach in config.centre]
        relaxation = Relaxation.draw(generator=generator)
        spacing = task.spacings[int(generator.integers(len(task.spacings)))]
        return {
            "target": target,
            "sources": list(sources),
            "centre": centre,
            "spacing": spacing,
            "step": int(generator.integers(math.ceil(spacing))),
            "profile": config.profiles[int(generator.integers(len(config.profiles)))],
            "gap": uniform(config.gap, generator=generator),
            "brain": BrainParams.draw(config.brain, near=centre, generator=generator).as_json(),
            "relaxation": relaxation.as_json(),
            "scans": {
                name: Scan.draw(name, relaxation, spoilt=name != target, generator=generator).as_json()
                for name in dict.fromkeys((*sources, target))
            },
            "borders": [float(generator.uniform(0.3, 0.7)) for _ in range(2)],
            "flips": [bool(generator.integers(2)) for _ in range(2)],
            "seed": new_seed(generator),
        }

    def make(self, drawn: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the sample (`scanweave.synthesis.pairing.sample_of`).

        Raises:
            InputError: These values were not drawn here.
        """
        task, spacing = self.task, float(drawn["spacing"])
        subject = Subject(drawn, window=self.config.window)
        where = torch.arange(task.slices) + task.first
        coarse = where * spacing
        thickness = spacing * (1 - drawn["gap"])
        reach = 0 if spacing == 1 else math.ceil(thickness)
        fine = torch.arange(math.floor(coarse[0]) - reach, math.ceil(coarse[-1]) + reach + 1).float()
        grid = self._points(fine, drawn["centre"])
        fractions, inside = subject.brain.fractions(grid, spacing=(1.0, _PIXEL, _PIXEL))
        found = []
        for name in drawn["sources"]:
            scan = subject.shown(name, fractions, inside, grid)
            if spacing != 1:
                profile = SliceProfile(drawn["profile"], thickness)
                scan = degrade(scan, profile_matrix(fine, coarse, profile))
            found.append(subject.spoilt(name, scan))
        place = int((fine == drawn["step"]).nonzero())
        wanted = subject.shown(drawn["target"], fractions[:, [place]], inside[[place]], grid[[place]])
        return sample_of(
            _flipped(torch.cat(found), drawn["flips"]),
            _flipped(subject.spoilt(drawn["target"], wanted), drawn["flips"]),
            contrast=task.targets.index(drawn["target"]),
            contrasts=len(task.targets),
            position=drawn["step"] / spacing,
            seed=drawn["seed"],
        )

    def _points(self, fine: Tensor, centre: Sequence[float]) -> Tensor:
        """Return points ``(D, side, side, 3)`` at 1 mm."""
        line = torch.arange(self.task.side) - (self.task.side - 1) / 2
        axes = (fine + centre[0], line + centre[1], line + centre[2])
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


class Subject:
    """One simulated subject, and how its scans show it.

    Args:
        drawn: As of :meth:`SimulatedSlices.draw`.
        window: Percentiles of a brain's brightness that become 0 and 1.
    """

    def __init__(self, drawn: Mapping[str, Any], *, window: Range) -> None:
        self.brain = Brain(BrainParams.from_json(drawn["brain"]))
        self._relaxation = Relaxation.from_json(drawn["relaxation"])
        self._scans = {name: Scan.from_json(scan) for name, scan in drawn["scans"].items()}
        self._borders = dict(zip(self._scans, (*drawn["borders"], *[0.5] * len(self._scans)), strict=False))
        self._window = window

    @functools.cached_property
    def _overview(self) -> tuple[Tensor, Tensor, Tensor]:
        """Fractions, what is brain, and points of the whole head, few of them."""
        axes = [torch.arange(-reach, reach + 1, _COARSE) for reach in _REACH]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        return *self.brain.fractions(points, spacing=(_COARSE,) * 3), points

    def shown(self, name: str, fractions: Tensor, inside: Tensor, points: Tensor) -> Tensor:
        """Return a scan ``(D, H, W)`` of points ``(D, H, W, 3)`` in [0, 1] over its window, without noise."""
        whole, brain, where = self._overview
        seen = self._bright(name, whole, where)[brain > 0.5].numpy()
        ends = np.percentile(seen, self._window) if len(seen) else (0.0, 1.0)
        low, high = float(ends[0]) * self._scans[name].dark, float(ends[1]) * self._scans[name].bright
        scan = (self._bright(name, fractions, points) - low) / max(high - low, 1e-3)
        return torch.where(inside > self._borders[name], scan.clamp(min=DARKEST), 0.0)

    def spoilt(self, name: str, scan: Tensor) -> Tensor:
        """Return a scan with the noise of a magnitude image, its background left dark."""
        settings = self._scans[name]
        generator = np.random.default_rng(settings.seed)
        real, imaginary = torch.from_numpy(generator.normal(0, settings.noise, (2, *scan.shape)).astype(np.float32))
        return torch.where(scan > 0, torch.hypot(scan + real, imaginary).clamp(DARKEST, 1), 0.0)

    def _bright(self, name: str, fractions: Tensor, points: Tensor) -> Tensor:
        scan = self._scans[name]
        signals = scan.signals(self._relaxation)
        return torch.einsum("t,tdhw->dhw", signals, fractions) * scan.shading(points)


def _flipped(slices: Tensor, flips: Sequence[bool]) -> Tensor:
    """Flip rows and columns of ``(..., H, W)``."""
    axes = [axis for axis, turned in zip((-2, -1), flips, strict=True) if turned]
    return slices.flip(axes) if axes else slices
