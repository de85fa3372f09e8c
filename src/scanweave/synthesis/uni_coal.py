"""Uni-COAL as a method: any in-plane size and orientation, one latent for a whole volume, recorded.

A latent drawn anew for every slice flickers from slice to slice (specified so, but not asked for by anyone), so one
serves a volume. Several give several volumes: their mean is the result, their standard deviation the uncertainty; the
encoder, half of the work, runs once for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from .. import weights as catalogue
from ..devices import device_of, running
from ..errors import UsageError, WeightsError
from ..made import Made
from ..models import UniCoal, channels_last
from ..volume import Volume
from ..weights.opening import Weights, digest, opened
from .baselines import BSpline, resampled
from .intensity import clipped
from .methods import SynthesisMethod, WindowRule
from .planes import Turn, in_windows, pixels_for, repixelled
from .slices import Edge, Place, SlicePlan, places_of, windows
from .subject import turned
from .uni_coal_task import Task

_PIXELS_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 19, "mps": 1 << 17}  # of slices that are made as one batch


@dataclass(frozen=True, kw_only=True)
class UniCoalMethod(SynthesisMethod):
    """Slices by the network.

    Attributes:
        weights: A file in its authors' container or ours, the name of one in the user's folder, or a network.
        source: What is made of one contrast is made of this; by default the contrast itself, or the first given.
        samples: Latents, each of which makes a volume.
        seed: Of the latents.
        edge: What lies beyond the first and last slice.
        both_ways: Average with the pass over slices in the opposite order: the same neighbours, another window.
        orthogonal: Average with passes over the two other planes of the volume, which between slices see a B-spline.
        pixel: Side in mm of the pixels that the network sees: slices of others are resampled for it, and what it makes
            back onto their grid. By default what its weights were trained at, where their card says it; 0 for none.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    """

    weights: Weights | None = None
    source: str | None = None
    samples: int = 1
    seed: int = 0
    edge: Edge = "replicate"
    both_ways: bool = False
    orthogonal: bool = False
    pixel: float | None = None
    device: str = "auto"

    name: ClassVar[str] = "uni-coal"
    window: ClassVar[WindowRule] = "percentile"

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            WeightsError: No weights.
            UsageError: No sample, or pixels of no size.
        """
        if self.weights is None:
            raise WeightsError("uni-coal runs on weights, and none were given", remedy="give --weights FILE")
        if self.samples < 1:
            raise UsageError(f"{self.samples} samples", remedy="give one or more")
        if self.pixel is not None and not 0 <= self.pixel < math.inf:
            raise UsageError(
                f"pixels of {self.pixel:g} mm", remedy="give a size above 0, or 0 to leave them as they are"
            )

    @property
    def slicewise(self) -> bool:
        """Whether it makes slices without looking at where others are wanted."""
        return not self.orthogonal

    @cached_property
    def network(self) -> UniCoal:
        """The network with its card, on its device.

        Raises:
            WeightsError: The file is damaged, hostile, or of another network.
            ResourceError: No such device.
        """
        network = cast(UniCoal, opened("uni-coal", cast(Weights, self.weights), {}))
        return cast(UniCoal, channels_last(network)).to(device_of(self.device))

    @cached_property
    def task(self) -> Task:
        """What the weights were trained to make of what."""
        return Task.of(self.network, catalogue.card_of(self.network))

    @property
    def seen_pixel(self) -> float | None:
        """Side in mm of the pixels that the network sees; None where it sees them as they are."""
        return (self.task.pixel if self.pixel is None else self.pixel) or None

    def fit(self, volumes: Mapping[str, Volume]) -> FittedUniCoal:
        """Return the method bound to the subject; its weights are opened.

        Raises:
            WeightsError: They are damaged, hostile, or of another network.
            UsageError: The subject has no such source.
        """
        if self.source is not None and self.source not in volumes:
            raise UsageError(f"there is no {self.source} among {', '.join(volumes)}", remedy="name another --source")
        latent = self.network.config.latent
        z = torch.randn((self.samples, latent), generator=torch.Generator().manual_seed(self.seed))
        return FittedUniCoal(self, dict(volumes), self.task, z)

    def describe(self) -> dict[str, Any]:
        """Return name, options and the hash of the weights."""
        given = cast(Weights, self.weights)
        names = ("source", "samples", "seed", "edge", "both_ways", "orthogonal", "pixel")
        weights = type(given).__name__ if isinstance(given, torch.nn.Module) else str(given)
        options = {name: getattr(self, name) for name in names}
        return {"name": self.name, **options, "weights": weights, "sha256": digest(given)}

    def cautions(self, contrast: str, sources: Sequence[str]) -> list[str]:
        """Return what to know of a contrast made so."""
        notes = [f"One latent of seed {self.seed} serves the whole volume."] if self.samples == 1 else []
        if not self.task.targets:
            notes.append(f"The weights do not say which contrast they make; {contrast} was taken for it.")
        if self.seen_pixel:
            notes.append(
                f"The network saw pixels of {self.seen_pixel:.4g} mm: slices of others were resampled for it, and what"
                " it made back onto their grid."
            )
        return notes


@dataclass(frozen=True)
class FittedUniCoal:
    """The method bound to a subject."""

    method: UniCoalMethod
    volumes: Mapping[str, Volume]
    task: Task
    z: Tensor

    def at(self, contrast: str, positions_mm: Sequence[float]) -> Made:
        """Return slices of a contrast: the mean of all latents, with their standard deviation.

        Raises:
            UsageError: The weights do not make it, not of these contrasts, or not between slices.
            ResourceError: Memory gave out.
        """
        index = self.task.index(contrast)
        names = self.task.inputs(contrast, list(self.volumes), self.method.source)
        sources = [self.volumes[name] for name in names]
        with running(remedy="give --device cpu, or close other programs"):
            made = self._along(sources, positions_mm, index)
            if self.method.orthogonal:
                rows, columns = self._across(sources, positions_mm, index)
                made = (made + rows + columns) / 3
        spread = made.std(dim=1, keepdim=True) if self.method.samples > 1 else None
        return Made(made.mean(dim=1, keepdim=True), spread)

    def _along(self, sources: Sequence[Volume], positions_mm: Sequence[float], index: int) -> Tensor:
        """Return ``(position, sample, row, column)`` in [0, 1], made of slices as they were acquired."""
        first = sources[0]
        turn, step, size = Turn.of(first.grid), first.spacing[0], first.grid.shape[1:]
        pixel = self.method.seen_pixel if first.space_unit == "mm" else None
        seen = size if pixel is None else pixels_for(size, first.spacing[1:], pixel)
        stacks = [2 * repixelled(clipped(volume)[None], seen)[0].clamp(0, 1) - 1 for volume in sources]
        made = self._pass(stacks, positions_mm, step, turn, index)
        if self.method.both_ways:
            other = replace(turn, slices=not turn.slices)
            made = (made + self._pass(stacks, positions_mm, step, other, index)) / 2
        return repixelled(made, size).clamp(0, 1)

    def _across(self, sources: Sequence[Volume], positions_mm: Sequence[float], index: int) -> Sequence[Tensor]:
        """Return the same made of the planes across: rows, and columns, of slices interpolated to the positions."""
        first = sources[0]
        places = places_of(positions_mm, count=first.shape[0], step=first.spacing[0])
        spacing = positions_mm[1] - positions_mm[0] if len(positions_mm) > 1 else first.spacing[0]
        grid = SlicePlan(places, spacing).grid(first.grid)
        fine = [
            Volume.from_array(resampled(volume, positions_mm, BSpline()).numpy(), affine=grid.affine, levels=(0, 1))
            for volume in sources
        ]
        passes = []
        for axis, back in ((1, (2, 1, 0, 3)), (2, (2, 1, 3, 0))):
            planes = [turned(volume, axis) for volume in fine]
            count, step = planes[0].shape[0], planes[0].spacing[0]
            made = self._along(planes, [k * step for k in range(count)], index)
            passes.append(made.permute(back))  # (plane, sample, position, other) as (position, sample, row, column)
        return passes

    def _pass(
        self, stacks: Sequence[Tensor], positions_mm: Sequence[float], step: float, turn: Turn, index: int
    ) -> Tensor:
        count = stacks[0].shape[0]
        end = (count - 1) * step
        wanted = [end - position for position in positions_mm] if turn.slices else list(positions_mm)
        places = places_of(wanted, count=count, step=step)
        self._check(places)
        seen = [turn.apply(stack.flip(0) if turn.slices else stack) for stack in stacks]
        network = self.method.network
        allowed = _PIXELS_AT_ONCE[next(network.parameters()).device.type]
        at_once = max(1, allowed // network.config.resolution**2)
        made = [self._slices(seen, places[k : k + at_once], index) for k in range(0, len(places), at_once)]
        return turn.undo(torch.cat(made))

    def _slices(self, stacks: Sequence[Tensor], places: Sequence[Place], index: int) -> Tensor:
        """Return ``(place, sample, row, column)`` in [0, 1]; each window is encoded once for all latents."""
        network, config = self.method.network, self.method.network.config
        device = next(network.parameters()).device
        size, edge = self.task.slices, self.method.edge
        seen = torch.cat([windows(stack, places, size=size, edge=edge) for stack in stacks], dim=1).to(device)
        delta = torch.tensor([[place.delta] for place in places], device=device)
        kinds = max(config.contrasts, config.encoder_contrasts)
        contrast = torch.eye(kinds, device=device)[[index] * len(places)] if kinds else None
        if not config.fourier_input:
            contrast = delta  # AFCM, the predecessor, is told the place as its condition
        position = delta if config.told_position else None

        def run(window: Tensor) -> Tensor:
            encoded = network.encode(window, contrast, position)
            found = []
            for z in self.z.to(device):
                styles = network.styles(z.expand(len(window), -1), contrast, position)
                found.append(network.decode(encoded, styles, position).mean(dim=1))
            return torch.stack(found, dim=1)

        made = in_windows(run, seen, side=config.resolution, border=config.border)
        return made.add(1).div(2).clamp(0, 1).cpu()

    def _check(self, places: Sequence[Place]) -> None:
        config = self.method.network.config
        if not config.told_position and config.fourier_input and any(place.delta for place in places):
            raise UsageError(
                "these weights were trained without positions: they cannot know which slice between two is wanted",
                remedy="give weights that were trained for thinner slices, or leave --spacing out",
            )
