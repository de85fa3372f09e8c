"""A small network that learns one contrast from others of a few people: what is simplest beyond a histogram.

It is fitted when it is asked, to examples that the user gives (other people who have both contrasts): three
convolutions, which see 7 by 7 voxels of a slice, minimise the absolute error on random patches. Examples may be
simulated. Without any there is nothing honest that it could know, and it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..devices import device_of, running
from ..errors import InputError, UsageError
from ..made import Made
from ..volume import Volume
from .baselines import BSpline, resampled, said
from .intensity import clipped, window_of, windowed
from .methods import SynthesisMethod, WindowRule
from .subject import Subject

_PATCH, _BATCH, _RATE = 48, 8, 3e-3


class PatchNetwork(nn.Module):
    """Slices of some contrasts to one of another, by three convolutions.

    Args:
        sources: Contrasts that it sees.
        width: Channels within.
    """

    def __init__(self, sources: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(sources, width, 3, padding=1, padding_mode="replicate")
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")
        self.last = nn.Conv2d(width, 1, 3, padding=1, padding_mode="replicate")

    def forward(self, slices: Tensor) -> Tensor:
        """Map ``(B, sources, H, W)`` in [0, 1] to ``(B, 1, H, W)``."""
        made: Tensor = self.last(F.silu(self.second(F.silu(self.first(slices)))))
        return made


@dataclass(frozen=True, kw_only=True)
class Regression(SynthesisMethod):
    """Learn the contrast from examples.

    Attributes:
        examples: Volumes of other people by contrast; each has the sources and what is made.
        steps: Of training.
        width: Channels of the network.
        seed: Of weights and patches.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
    """

    examples: tuple[Mapping[str, Volume], ...] = field(default=(), repr=False)
    steps: int = 400
    width: int = 24
    seed: int = 0
    device: str = "auto"

    name: ClassVar[str] = "regression"
    window: ClassVar[WindowRule] = "percentile"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            UsageError: No steps, or no channels.
        """
        if self.steps < 1 or self.width < 1:
            raise UsageError(f"{self.steps} steps of a network of {self.width} channels", remedy="give one or more")

    def fit(self, volumes: Mapping[str, Volume]) -> FittedRegression:
        """Return the method bound to the subject; it trains when a contrast is asked for."""
        return FittedRegression(self, volumes)

    def describe(self) -> dict[str, Any]:
        """Return name and options."""
        options = {"steps": self.steps, "width": self.width, "seed": self.seed}
        return {"name": self.name, **options, "examples": said(self.examples)}


@dataclass(frozen=True, slots=True)
class FittedRegression:
    """The method bound to a subject."""

    method: Regression
    volumes: Mapping[str, Volume]

    def at(self, contrast: str, positions_mm: Sequence[float]) -> Made:
        """Return slices of a contrast; sources between slices come by a cubic B-spline.

        Raises:
            UsageError: No example has all contrasts.
            ResourceError: Memory gave out.
        """
        sources = [name for name in self.volumes if name != contrast] or [contrast]
        network = trained(self.method, sources, contrast)
        device = next(network.parameters()).device
        slices = torch.stack([resampled(self.volumes[name], positions_mm, BSpline()) for name in sources], dim=1)
        with running(remedy="give --device cpu"):
            made = [network(one[None].to(device)).clamp(0, 1).cpu() for one in slices]
        return Made(torch.cat(made))


def trained(method: Regression, sources: Sequence[str], contrast: str) -> PatchNetwork:
    """Return a network that was trained on the examples of a method.

    Raises:
        UsageError: No example has all contrasts.
        InputError: An example on several grids, or smaller than a patch.
    """
    whole = [example for example in method.examples if contrast in example and all(name in example for name in sources)]
    if not whole:
        raise UsageError(
            f"regression learns {contrast} from people who have {', '.join([*sources, contrast])}, and none was given",
            remedy="give --examples with a folder of such people (they may be simulated)",
        )
    stacks = [_stack(example, [*sources, contrast]) for example in whole]
    device = device_of(method.device)
    generator = torch.Generator().manual_seed(method.seed)
    network = PatchNetwork(len(sources), method.width)
    for parameter in network.parameters():
        bound = (3.0 / max(1, parameter[0].numel())) ** 0.5 if parameter.ndim > 1 else 0.0
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, method.steps)
    for _ in range(method.steps):
        patches = torch.stack([_patch(stacks, generator) for _ in range(_BATCH)]).to(device)
        loss = F.l1_loss(network(patches[:, :-1]), patches[:, -1:])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.requires_grad_(False).eval()


def _stack(example: Mapping[str, Volume], names: Sequence[str]) -> Tensor:
    """Return an example as ``(slice, contrast, row, column)`` in [0, 1]."""
    subject = Subject.of({name: example[name] for name in names})
    seen = [
        clipped(windowed(volume, window_of(name, volume, "percentile"))) for name, volume in subject.volumes.items()
    ]
    stack = torch.stack(seen, dim=1)
    if min(stack.shape[2:]) < _PATCH:
        raise InputError(
            f"an example has slices of {stack.shape[2]} x {stack.shape[3]} voxels",
            path=next(iter(example.values())).source.path,
            remedy=f"give examples of {_PATCH} x {_PATCH} or more",
        )
    return stack


def _patch(stacks: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Return ``(contrast, row, column)`` from anywhere, flipped either way; empty ones are drawn again, once."""
    for _ in range(2):
        stack = stacks[_below(len(stacks), generator)]
        top, left = (_below(side - _PATCH + 1, generator) for side in stack.shape[2:])
        found = stack[_below(stack.shape[0], generator), :, top : top + _PATCH, left : left + _PATCH]
        if found[-1].any():
            break
    flips = [axis for axis in (1, 2) if _below(2, generator)]
    return found.flip(flips) if flips else found


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
