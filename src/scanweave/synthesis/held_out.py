"""What is held out of acquired volumes, and made again: slices between slices, another contrast, or both.

Thick slices are made of acquired thin ones, so that the slices between are known; another contrast is known where it
was acquired as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from ..errors import InputError, UsageError
from ..grid import Grid
from ..ops.slice_profile import Shape, SliceProfile, degrade, profile_matrix
from ..volume import Volume
from .api import Progress, Synthesized, prepare
from .evaluate import PLANES, Units
from .methods import Method
from .published_tasks import Task
from .slices import Coverage


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What is held out of acquired volumes, and made again.

    Attributes:
        sources: Contrasts that a method is given.
        target: Contrast that it makes.
        spacing: Distance of the given slices, in acquired ones; 1 gives all.
        profile: How thick slices are made: ``decimate`` leaves slices out, as published; the others average.
        gap: Share of the distance of thick slices that lies in none; of ``gaussian`` and ``box``.
        axis: Array axis along which slices are left out; None for that of the largest spacing, or if several are, the
            one that runs along the body.
    """

    sources: tuple[str, ...]
    target: str
    spacing: float = 1.0
    profile: Shape = "decimate"
    gap: float = 0.0
    axis: Literal[0, 1, 2] | None = None

    def __post_init__(self) -> None:
        """Refuse what holds nothing out.

        Raises:
            UsageError: No source, a spacing below 1, a gap that leaves no slice, or a target that is given whole.
        """
        if not self.sources:
            raise UsageError("no source to make it of", remedy="name one")
        for source in self.sources:
            if self.target == source or len(self.sources) == 1:
                Task(source, self.target, self.spacing)
        if not 0 <= self.gap < 1:
            raise UsageError(f"a gap of {self.gap:g} of the slices' distance", remedy="give from 0 to below 1")

    @classmethod
    def of(cls, task: Task, *, profile: Shape = "decimate", gap: float = 0.0) -> HeldOut:
        """Return a published task."""
        return cls(sources=(task.source,), target=task.target, spacing=task.spacing, profile=profile, gap=gap)

    @property
    def name(self) -> str:
        """What tables call it: that of the published task, where there is one."""
        return Task("+".join(self.sources), self.target, self.spacing).name

    def given(self, volumes: Mapping[str, Volume]) -> dict[str, Volume]:
        """Return what a method is given of acquired volumes by contrast.

        Raises:
            InputError: A contrast is missing, or too few slices.
        """
        missing = [name for name in (*self.sources, self.target) if name not in volumes]
        if missing:
            raise InputError(
                f"there is no {', '.join(dict.fromkeys(missing))} among {', '.join(volumes)}",
                remedy="leave this subject out, or name contrasts as its files do",
            )
        sources = {name: volumes[name] for name in self.sources}
        if self.spacing == 1:
            return sources
        along = _along(volumes[self.target].grid) if self.axis is None else self.axis
        return {name: thickened(volume, self, axis=along) for name, volume in sources.items()}


def thickened(volume: Volume, held: HeldOut, *, axis: int) -> Volume:
    """Return a volume of thick slices, the first of which lies at the first thin one.

    Raises:
        InputError: Fewer than two thick slices.
    """
    step, count = volume.spacing[axis], volume.grid.shape[axis]
    number = int((count - 1) / held.spacing + 1e-6) + 1
    if number < 2:
        raise InputError(
            f"{count} slices make no two that lie {held.spacing:g} apart",
            path=volume.source.path,
            remedy="leave it out",
        )
    profile = SliceProfile(held.profile, held.spacing * step * (1 - held.gap))
    thick = torch.arange(number, dtype=torch.float64) * held.spacing * step
    matrix = profile_matrix(torch.arange(count, dtype=torch.float64) * step, thick, profile)
    slices_first = torch.from_numpy(np.moveaxis(volume.voxels, axis, 0).astype(np.float32))
    voxels = np.moveaxis(degrade(slices_first, matrix).numpy(), 0, axis)
    if held.profile == "decimate" and held.spacing == round(held.spacing):
        voxels = voxels.astype(volume.dtype)  # exactly what was acquired
    affine = np.array(volume.affine)
    affine[:3, axis] *= held.spacing
    shape = [number if k == axis else side for k, side in enumerate(volume.grid.shape)]
    return volume.with_voxels(np.ascontiguousarray(voxels), grid=Grid((shape[0], shape[1], shape[2]), affine))


def made_again(
    volumes: Mapping[str, Volume],
    held: HeldOut,
    method: str | Method,
    *,
    options: Mapping[str, Any] | None = None,
    coverage: Coverage = "centres",
    progress: Progress | None = None,
) -> tuple[Synthesized, Volume, Units]:
    """Return what a method makes of what it is given, the acquired volume on its grid, and the units of the former.

    Args:
        volumes: Acquired, by contrast, on one grid.
        held: What is held out.
        method: Its name, or itself.
        options: Of a method that is named.
        coverage: Whether slices beyond the last given one are made, as published.
        progress: Told of each step.

    Raises:
        ScanweaveError: It cannot be held out, or the method cannot make it.
    """
    given, truth = held.given(volumes), volumes[held.target]
    along = _along(truth.grid) if held.axis is None else held.axis
    thin = None if held.spacing == 1 else truth.spacing[along]
    axis: Any = "auto" if thin is None else along
    made = prepare(
        given, to=held.target, spacing=thin, method=method, options=options, axis=axis, coverage=coverage
    ).run(progress)
    size = min(made.volume.grid.shape[along], truth.grid.shape[along])
    return (
        made if made.volume.grid.shape[along] == size else _shortened(made, along, size),
        first_slices(truth, along, size),
        "target" if held.target in given else "made",
    )


def first_slices(volume: Volume, axis: int, count: int) -> Volume:
    """Return the first slices along an array axis."""
    if volume.grid.shape[axis] == count:
        return volume
    shape = [count if k == axis else side for k, side in enumerate(volume.grid.shape)]
    voxels = volume.voxels[tuple(slice(side) for side in shape)]
    return volume.with_voxels(voxels, grid=Grid((shape[0], shape[1], shape[2]), volume.affine))


def baselines_of(held: HeldOut) -> tuple[str, ...]:
    """Return the names of the methods without training that can make it; they stand in every table."""
    if held.target in held.sources:
        return ("nearest", "linear", "b-spline")
    return ("histogram-matched",)


def _shortened(made: Synthesized, axis: int, count: int) -> Synthesized:
    return replace(made, volume=first_slices(made.volume, axis, count), places=made.places[:count])


def _along(grid: Grid) -> Literal[0, 1, 2]:
    """Return the axis of the largest spacing; of several, that which runs along the body, else the first."""
    widest = max(grid.spacing)
    axes: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    tied = [axis for axis in axes if grid.spacing[axis] > 0.99 * widest]
    return next((axis for axis in tied if PLANES[grid.codes[2 - axis]] == "axial"), tied[0])
