"""DRDM as a method: random fields that a network makes plausible for the very image."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias, cast

import torch
from torch import Tensor

from .. import weights as catalogue
from ..errors import UsageError, WeightsError
from ..grid import Grid
from ..memory import available, require
from ..models import Drdm, channels_last
from ..models.drdm_compiled import compiled
from ..ops.displacement import magnitude
from ..plan import plain
from .canvas import Canvas
from .config import PRESETS, SamplingConfig
from .damping import shrunk
from .diffusion import Noise, joined
from .fields import DenseField, Field
from .methods import DeformationMethod, Params, generator_of, lattice
from .sampling import Deformations, bytes_needed, draw, sample
from .trained import Trained

Weights: TypeAlias = str | os.PathLike[str] | Drdm
"""A file of weights, the name of one in the user's folder, or a network with weights."""

_LEAST = 0.01  # smallest Jacobian determinant that shortening a field may leave
_LARGEST_LEVEL = 200


@dataclass(frozen=True, kw_only=True)
class DrdmMethod(DeformationMethod):
    """Random fields, recovered step by step by a network that sees the deformed image.

    Attributes:
        weights: A file in its authors' container or ours, the name of one in the user's folder, or a network.
        level: How far fields are diffused before they are recovered; 48 to 80 in the published use.
        preset: How they are sampled and recovered (`PRESETS`).
        side: Voxels of the square or cube that the network works on, a multiple of 8; by default as fine as the
            image, at most what the weights are trained on (`Trained`).
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        compile: Compile the passes of a 2D network on the CPU (seconds once, a quarter of the time less then); they run
            uncompiled, with a warning, where no C++ compiler is.
    """

    weights: Weights | None = None
    level: int = 64
    preset: str = "safe"
    side: int | None = None
    device: str = "cpu"
    compile: bool = False

    name: ClassVar[str] = "drdm"
    needs_image: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            WeightsError: No weights.
            UsageError: A level or preset that there is not.
        """
        super().__post_init__()
        if self.weights is None:
            raise WeightsError("drdm runs on weights, and none were given", remedy="give --weights FILE")
        if not 0 <= self.level <= _LARGEST_LEVEL:
            raise UsageError(f"a level of {self.level}", remedy=f"give one from 0 to {_LARGEST_LEVEL}")
        if self.preset not in PRESETS:
            raise UsageError(f"no preset is called {self.preset!r}", remedy=f"choose one of {', '.join(PRESETS)}")
        if self.compile and not self.device.startswith("cpu"):
            raise UsageError(f"compiling speeds up the CPU, not {self.device}", remedy="leave one of the two out")

    @cached_property
    def network(self) -> Drdm:
        """The network, opened when first asked for, and compiled where that is asked for.

        Raises:
            WeightsError: The weights are damaged, hostile, or of another network.
        """
        return compiled(self._opened) if self.compile else self._opened

    @cached_property
    def _opened(self) -> Drdm:
        given = cast(Weights, self.weights)
        if isinstance(given, Drdm):
            return given.to(self.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", catalogue.WeightsWarning)
            opened = cast(Drdm, catalogue.open("drdm", given))
        if not self.device.startswith("mps"):  # which has got convolutions of that layout wrong in the past
            channels_last(opened)
        return opened.requires_grad_(False).eval().to(self.device)

    @cached_property
    def trained(self) -> Trained:
        """What the weights were trained to see."""
        return Trained.of(self._opened)

    @property
    def config(self) -> SamplingConfig:
        """How fields are sampled and recovered."""
        return PRESETS[self.preset]

    def draw(self, grid: Grid, generator: torch.Generator) -> Params:
        """Draw a seed."""
        return {**super().draw(grid, generator), "level": self.level}

    def fields(self, params: Sequence[Params], grid: Grid, image: Tensor | None = None) -> list[Field]:
        """Return the recovered fields of what was drawn, all at once.

        Args:
            params: What was drawn.
            grid: Where the image lies.
            image: ``(C, *space)`` of any range: the network sees it scaled as the images that it was trained on.

        Raises:
            UsageError: No image, or one of other channels or dimensions than the network's.
            ResourceError: They need more memory than there is.
        """
        if image is None:
            raise UsageError("drdm deforms by what the image shows, and none was given", remedy="give the image")
        self.require_memory(grid, len(params))
        made = self._sampled(self.network, params, grid, image)
        return [DenseField(self._shortened(field, made.spacing)) for field in made.fields.cpu()]

    def require_memory(self, grid: Grid, count: int, *, free: int | None = None) -> None:
        """Refuse fields that take more memory than there is; on a CPU, where that would end the program.

        Args:
            grid: Where the image lies.
            count: Fields that are made together.
            free: Bytes that there are; by default what the system says.

        Raises:
            ResourceError: With the need, and a side that would do.
        """
        free = available() if free is None else free
        if not self.device.startswith("cpu") or free is None:
            return
        space, spacing = lattice(grid)

        def needed(side: int | None, at_once: int = count) -> int:
            canvas = Canvas.around(space, spacing, side=side, limit=self.trained.side)
            return bytes_needed(canvas, at_once, cores=torch.get_num_threads())

        own = Canvas.around(space, spacing, side=self.side, limit=self.trained.side).side
        fewer = next((number for number in range(count - 1, 0, -1) if needed(own, number) <= free), None)
        sides = range(own - 8, 8, -8)
        coarser = next((side for side in sides if needed(side) <= free), None)
        both = next((side for side in sides if needed(side, 1) <= free), None) if fewer is coarser is None else None
        ways = [
            *([] if fewer is None else [f"make fewer copies at once (--at-once {fewer})"]),
            *([] if coarser is None else [f"take a coarser field (--side {coarser})"]),
            *([] if both is None else [f"take a coarser field and one copy at once (--side {both} --at-once 1)"]),
            "crop the image",
        ]
        voxels = " x ".join([str(own)] * len(space))
        what = f"fields of drdm, {count} made on {voxels} voxels,"
        require(needed(self.side), what, remedy=", or ".join(ways), free=free)

    def diffused(self, params: Sequence[Params], grid: Grid, image: Tensor) -> list[Field]:
        """Return the random fields that those of what was drawn are recovered from, whatever their length."""
        return [DenseField(field) for field in self._sampled(None, params, grid, image).fields.cpu()]

    def _sampled(self, network: Drdm | None, params: Sequence[Params], grid: Grid, image: Tensor) -> Deformations:
        space, spacing = lattice(grid)
        noise = joined([draw(len(space), 1, config=self.config, generator=generator_of(drawn)) for drawn in params])
        stronger = Noise(*(tuple(self.strength * scale for scale in part) for part in noise))
        levels = [int(drawn["level"]) for drawn in params]
        return sample(
            network,
            self.trained.seen(image).to(self.device),
            levels,
            noise=stronger,
            spacing=spacing,
            side=self.side,
            limit=self.trained.side,
            config=self.config,
        )

    def _shortened(self, field: Tensor, spacing: Sequence[float]) -> Tensor:
        """Return a field that is nowhere longer than allowed, and does not fold if it did not before."""
        if self.max_displacement is None:
            return field
        longest = float(magnitude(field[None], unit=spacing).amax())
        if longest <= self.max_displacement:
            return field
        shorter = field * (self.max_displacement / longest)
        return shorter if self.config.recovery.floor is None else shrunk(shorter[None], floor=_LEAST)[0]

    def describe(self) -> dict[str, Any]:
        """Return name, options and the hash of the weights."""
        given = cast(Weights, self.weights)
        name = type(given).__name__ if isinstance(given, Drdm) else os.fspath(given)
        options = {**self.options(), "weights": name}
        return {"name": self.name, **{key: plain(value) for key, value in options.items()}, "sha256": _digest(given)}


def _digest(given: Weights) -> str:
    """Return the SHA-256 of a file of weights, or of the tensors of a network that never was one."""
    if not isinstance(given, Drdm):
        with catalogue.find(given).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    found = hashlib.sha256()
    for key, tensor in sorted(given.state_dict().items()):
        found.update(f"{key} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
