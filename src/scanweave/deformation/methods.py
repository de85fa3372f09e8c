"""The protocol that every deformation method speaks, and the registry of their names.

A method draws first and deforms then::

    params = method.sample(grid, 16, generator)            # plain JSON values, one entry for each deformation
    fields = method.fields(params, grid, image)            # the same fields, whenever and wherever asked for
    copies = method.apply(params, volume)                  # or straight to deformed volumes

A third party registers its own through the entry point group ``scanweave.deformation`` (name -> a callable that takes
the method's options and returns it).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from ..errors import UsageError
from ..grid import Grid
from ..plan import plain
from ..registry import Registry
from ..volume import Volume
from .fields import Field
from .volumes import pull_volumes, unit_image
from .warping import Beyond

ENTRY_POINT_GROUP = "scanweave.deformation"
DEFAULT_METHOD = "diffeomorphic"

Params: TypeAlias = dict[str, Any]
"""What was drawn for one deformation: plain JSON values that decide it, together with the method and the grid."""

_SEEDS = 2**48  # whole numbers that JSON readers keep exactly
_FAR_APART = 3.0  # spacing of slices, in that of pixels


@runtime_checkable
class Method(Protocol):
    """Something that draws deformations."""

    @property
    def name(self) -> str:
        """The registry name."""

    @property
    def needs_image(self) -> bool:
        """Whether its fields depend on the image."""

    def sample(self, grid: Grid, n: int, generator: torch.Generator) -> list[Params]:
        """Draw `n` deformations of images on `grid`; the first ones do not depend on `n`."""

    def fields(self, params: Sequence[Params], grid: Grid, image: Tensor | None = None) -> list[Field]:
        """Return the fields of what was drawn.

        Args:
            params: Drawn for `grid`.
            grid: Where the image lies.
            image: ``(C, *space)`` in [0, 1]; needed where `needs_image`.
        """

    def apply(self, params: Sequence[Params], volume: Volume, *, image: Volume | None = None) -> list[Volume]:
        """Return deformed copies of a volume; see `DeformationMethod.apply`."""

    def describe(self) -> dict[str, Any]:
        """Return name, options and weights hash, JSON-able: the `method` entry of a plan."""


@dataclass(frozen=True, kw_only=True)
class DeformationMethod:
    """Base of our methods: a frozen dataclass whose fields are the options.

    Attributes:
        strength: Factor on how far copies are deformed by default.
        max_displacement: Millimetres (voxels where a file states no spacing) that no voxel of a copy is displaced
            beyond. By default as far as `strength` says.
    """

    strength: float = 1.0
    max_displacement: float | None = None

    name: ClassVar[str]
    needs_image: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what no deformation can have.

        Raises:
            UsageError: A strength or displacement that is not above 0.
        """
        for option in ("strength", "max_displacement"):
            value = getattr(self, option)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"a {option.replace('_', ' ')} of {value:g}", remedy="give a number above 0")

    def sample(self, grid: Grid, n: int, generator: torch.Generator) -> list[Params]:
        """Draw `n` deformations of images on `grid`; the first ones do not depend on `n`.

        Raises:
            UsageError: `n` below 1.
        """
        if n < 1:
            raise UsageError(f"{n} deformed copies", remedy="ask for one or more")
        return [self.draw(grid, generator) for _ in range(n)]

    def draw(self, grid: Grid, generator: torch.Generator) -> Params:
        """Draw one deformation."""
        return {"seed": int(torch.randint(_SEEDS, (), generator=generator, device=generator.device))}

    def fields(self, params: Sequence[Params], grid: Grid, image: Tensor | None = None) -> list[Field]:
        """Return the fields of what was drawn; see `Method.fields`."""
        raise TypeError(f"{type(self).__name__} does not say how it makes fields")

    def apply(
        self,
        params: Sequence[Params],
        volume: Volume,
        *,
        image: Volume | None = None,
        label: bool = False,
        beyond: Beyond = "edge",
    ) -> list[Volume]:
        """Return deformed copies of a volume.

        Args:
            params: What was drawn, one copy for each.
            volume: An image, or a map of labels, on the grid that was drawn for.
            image: The image that the fields are made for, where `volume` is not it and they depend on it.
            label: Whether `volume` is a map of labels: whole numbers that stay what they are.
            beyond: What lies beyond the outermost voxels.

        Raises:
            InputError: NaN in the volume, or labels that are not whole numbers.
        """
        seen = unit_image(image or volume) if self.needs_image else None
        fields = self.fields(params, volume.grid, seen)
        pulled = (
            pull_volumes(field, [] if label else [volume], [volume] if label else [], beyond=beyond) for field in fields
        )
        return [(images or labels)[0] for images, labels in pulled]

    def describe(self) -> dict[str, Any]:
        """Return name and options."""
        return {"name": self.name, **{key: plain(value) for key, value in self.options().items()}}

    def options(self) -> dict[str, Any]:
        """Return the options by name."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}


def generator_of(params: Params) -> torch.Generator:
    """Return the generator that draws all of one deformation."""
    return torch.Generator().manual_seed(int(params["seed"]))


def extent(grid: Grid) -> float:
    """Return the longest side of a grid in mm, from the first voxel centre to the last; a voxel at least."""
    return max((max(size - 1, 1)) * step for size, step in zip(*lattice(grid), strict=True))


def lattice(grid: Grid) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return size and spacing of a grid along the axes that are deformed: two of a grid of one slice, else three."""
    first = 1 if grid.shape[0] == 1 else 0
    return grid.shape[first:], grid.spacing[first:]


def held_axis(grid: Grid, *, through_plane: bool | None = None) -> int | None:
    """Return the axis (of those that are deformed) across which slices move alike and within their planes, if any.

    Where slices lie far apart, what a label covers in one and what it covers in the next have little more than their
    edges in common, and a label's voxel can only be taken from the one or the other. A motion that is smooth in
    millimetres still shifts one slice against the next by a pixel or more: parts of a label that met are torn apart,
    parts that only lay side by side merge, and limiting the motion through the planes does not help. Moved alike,
    slices keep the contact that they have.

    Args:
        grid: Where the image lies.
        through_plane: True for no such axis, False for the one with the largest spacing; by default that one where its
            spacing is three times that of both others or more.

    Source: nnU-Net (Isensee et al., Nature Methods 2021) augments such images so, above the same ratio.
    """
    _, spacing = lattice(grid)
    if len(spacing) == 2 or through_plane:
        return None
    axis = max(range(3), key=lambda one: spacing[one])
    others = max(step for one, step in enumerate(spacing) if one != axis)
    return axis if through_plane is False or spacing[axis] >= _FAR_APART * others else None


_REGISTRY: Registry[Method] = Registry(
    "deformation method", group=ENTRY_POINT_GROUP, protocol=Method, has="name, sample, fields, apply and describe"
)
register, create, available = _REGISTRY.register, _REGISTRY.create, _REGISTRY.available
needs_weights = _REGISTRY.needs_weights


def _diffeomorphic(**options: Any) -> Method:
    from .diffeomorphic import Diffeomorphic

    return Diffeomorphic(**options)


def _elastic(**options: Any) -> Method:
    from .elastic import Elastic

    return Elastic(**options)


def _drdm(**options: Any) -> Method:
    from .learned import DrdmMethod

    return DrdmMethod(**options)


_BUILT_IN: tuple[tuple[str, Callable[..., Method]], ...] = (("diffeomorphic", _diffeomorphic), ("elastic", _elastic))
for _name, _factory in _BUILT_IN:
    register(_name, _factory)
register("drdm", _drdm, weights=True)


def ready() -> tuple[str, ...]:
    """Return the names of all methods that run without being given anything."""
    return tuple(name for name in available() if not needs_weights(name))
