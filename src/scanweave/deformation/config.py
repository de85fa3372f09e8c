"""How random deformations are drawn and recovered, and the presets of that."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from ..errors import UsageError
from ..ops.displacement import FieldPadding, Interpolation

_COARSEST = 8
"""Cells across the coarsest noise: coarser ones would be nearly affine."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DiffusionConfig:
    """Random fields: multi-scale velocities on a control grid that spans twice the image, integrated."""

    control: int = 64
    """Cells of the control grid along each axis."""

    velocity: float = 4e-5
    """Standard deviation of the finest velocities, in fractions of the control grid; it grows as cells get coarser."""

    perturbation: float = 0.08
    """How large, to `velocity`, are those of the small motion that velocities are perturbed by."""

    control_padding: FieldPadding = "border"
    """What velocities are beyond the control grid."""

    scale: Literal["consistent", "published"] = "consistent"
    """How a field of the control grid becomes one of the image: `consistent` by geometry, whatever the size;
    `published` times side / control, which doubles fields at 256 pixels and folds them."""

    def __post_init__(self) -> None:
        if self.control < 2 * _COARSEST or self.control & (self.control - 1):
            raise UsageError(f"the control grid has 16, 32, 64, ... cells across, not {self.control}")
        if not (0 < self.velocity < 1 and 0 <= self.perturbation <= 1):
            raise UsageError(f"velocity and perturbation are in (0, 1), not {self.velocity} and {self.perturbation}")

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells across of each scale of noise, fine to coarse; at most five."""
        count = min(5, int(math.log2(self.control)) - 2)
        return tuple(self.control >> index for index in range(count))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RecoveryConfig:
    """The loop in which the network takes back what is implausible of a random field."""

    steps: int | None = None
    """Run so many of the network's steps, dense where fields change fast; by default all of them."""

    recursions: int = 2
    """Passes of the network in each step."""

    field_padding: FieldPadding = "border"
    """What a field is beyond the image where fields are composed; `zeros` tears it at the edge."""

    image_padding: FieldPadding = "zeros"
    """What the image is beyond its edge, for the network."""

    image_mode: Interpolation = "bilinear"
    """Interpolation of the image that the network sees."""

    floor: float | None = 0.15
    """Smallest Jacobian determinant that a step may leave: steps are damped where they would go below. None damps
    nothing, and fields may fold."""

    def __post_init__(self) -> None:
        if self.recursions < 1 or (self.steps is not None and self.steps < 1):
            raise UsageError(f"at least one step and one pass are needed, not {self.steps} and {self.recursions}")
        if self.floor is not None and not 0 < self.floor < 1:
            raise UsageError(f"the smallest Jacobian determinant allowed is in (0, 1), not {self.floor}")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SamplingConfig:
    """One way of sampling deformations."""

    diffusion: DiffusionConfig = DiffusionConfig()
    recovery: RecoveryConfig = RecoveryConfig()


_AS_PUBLISHED = RecoveryConfig(field_padding="zeros", image_mode="bicubic", floor=None)

PRESETS: dict[str, SamplingConfig] = {
    "safe": SamplingConfig(),
    "fast": SamplingConfig(recovery=RecoveryConfig(steps=32)),
    "consistent": SamplingConfig(recovery=_AS_PUBLISHED),
    "published-2d": SamplingConfig(diffusion=DiffusionConfig(scale="published"), recovery=_AS_PUBLISHED),
    "published-3d": SamplingConfig(
        diffusion=DiffusionConfig(scale="published"), recovery=RecoveryConfig(floor=None, image_padding="zeros")
    ),
}
"""Ways of sampling by name: `safe`, the default, never folds; `fast` is it with fewer steps; `published-2d` and
`published-3d` are the cardiac and the lung configuration; `consistent` is the first with its fields scaled right."""
