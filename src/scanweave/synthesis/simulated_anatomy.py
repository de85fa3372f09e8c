"""Simulated brains: the tissue maps of a template, bent, sharpened and given lesions, at any points in space.

Points are ``(slice, row, column)`` in mm from the middle of the head, the axes of a template whose slices are axial and
run upward.
"""

from __future__ import annotations

import functools
import gzip
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..errors import ResourceError
from ..simulate.params import Params, Range, new_seed, uniform

TISSUES = ("white matter", "grey matter", "deep grey matter", "fluid", "gliosis")
"""What a brain is made of, in the order of fractions."""

_WHITE, _GREY, _DEEP, _FLUID, _GLIOSIS = range(len(TISSUES))
_MAPS = {"white": "wm", "grey": "gm", "t1": "t1"}
_CELL = 8.0  # mm between the nodes of the bending
_NODES = 30  # of the bending along each axis
_NUCLEI = ((4.0, 0.0, 0.0), (17.0, 30.0, 34.0))  # middle and half axes, in mm from the middle of the head

Kind = Literal["hyperintensity", "cavity", "lacune"]


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BrainConfig:
    """What brains are drawn."""

    turn: float = Field(default=20.0, ge=0, le=90)
    """Largest turn about each axis, degrees."""

    size: Range = (0.88, 1.14)
    """Least and greatest factor of each axis."""

    bend: Range = (1.5, 5.0)
    """Least and greatest standard deviation of the bending, mm."""

    sharpness: Range = (1.0, 3.0)
    """Power that tissue maps are raised to: the template is a mean of many heads, and softer than one."""

    roughness: Range = (0.1, 0.8)
    """How much the borders of tissues are roughened."""

    fluid: Range = (0.6, 4.0)
    """Factor of fluid against tissue: young brains to shrunken ones."""

    lesions: float = Field(default=0.7, ge=0, le=1)
    """Chance of lesions."""


class Lesion(Params):
    """One lesion: an ellipsoid with a rough border.

    Attributes:
        kind: ``hyperintensity`` is gliosis; ``cavity`` a core of fluid within a rim of it; ``lacune`` fluid alone.
        centre: In mm.
        radii: In mm.
        core: Share of the radii that the core of a cavity takes.
        strength: Share of tissue that is replaced.
    """

    kind: Kind
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    core: float
    strength: float


class BrainParams(Params):
    """One brain.

    Attributes:
        seed: Of the bending and of rough borders.
        angles: Turns about slice, row and column axis, degrees.
        sizes: Factors along them.
        bend: Standard deviation of the bending, mm.
        sharpness: Power of the tissue maps.
        roughness: Of borders.
        fluid: Factor of fluid.
        lesions: Its lesions.
    """

    seed: int
    angles: tuple[float, float, float]
    sizes: tuple[float, float, float]
    bend: float
    sharpness: float
    roughness: float
    fluid: float
    lesions: tuple[Lesion, ...]

    @classmethod
    def draw(
        cls, config: BrainConfig, *, near: Sequence[float] = (0.0, 0.0, 0.0), generator: np.random.Generator
    ) -> BrainParams:
        """Draw one brain, its large lesions about `near`, in mm, where they will be seen."""
        common = uniform(config.size, generator=generator)
        count = int(generator.integers(1, 6)) if generator.random() < config.lesions else 0
        low, high = (math.log(value) for value in config.fluid)
        return cls(
            seed=new_seed(generator),
            angles=_three(generator.uniform(-config.turn, config.turn, 3)),
            sizes=_three(common * generator.uniform(0.95, 1.05, 3)),
            bend=uniform(config.bend, generator=generator),
            sharpness=uniform(config.sharpness, generator=generator),
            roughness=uniform(config.roughness, generator=generator),
            fluid=math.exp(uniform((low, high), generator=generator)),
            lesions=tuple(_draw_lesion(near, generator) for _ in range(count)),
        )


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _draw_lesion(near: Sequence[float], generator: np.random.Generator) -> Lesion:
    kinds: tuple[Kind, ...] = ("hyperintensity", "cavity", "lacune")
    kind = kinds[int(generator.choice(3, p=(0.5, 0.35, 0.15)))]
    limits = {"hyperintensity": (2, 18), "cavity": (5, 32), "lacune": (1.5, 5)}[kind]
    radius = math.exp(generator.uniform(*np.log(limits)))
    return Lesion(
        kind=kind,
        centre=_three(np.asarray(near) + generator.normal(size=3) * (12, 35, 30)),
        radii=_three(radius * generator.uniform(0.6, 1.5, 3)),
        core=uniform((0.5, 0.92), generator=generator),
        strength=uniform((0.6, 1.0), generator=generator),
    )


class Brain:
    """The tissues of one brain, wherever they are asked for.

    Args:
        params: As drawn.

    Raises:
        ResourceError: nilearn, whose maps it comes from, is not installed.
    """

    def __init__(self, params: BrainParams) -> None:
        self.params = params
        generator = np.random.default_rng(params.seed)
        self._bending = torch.from_numpy(params.bend * _smooth_noise(generator))[None]
        self._roughening = int(generator.integers(2**53))
        turned = Rotation.from_euler("xyz", params.angles, degrees=True).as_matrix() / np.asarray(params.sizes)
        self._turn = torch.from_numpy(turned).float()

    def fractions(self, points: Tensor, *, spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return what lies at points on a grid.

        Args:
            points: ``(D, H, W, 3)`` in mm.
            spacing: Of the grid, mm, by which rough borders are made.

        Returns:
            Fractions ``(len(TISSUES), D, H, W)``, whose sum is 1, and how far inside the brain, ``(D, H, W)`` in
            [0, 1], its border at 0.5.
        """
        maps = template()
        size = _CELL * (_NODES - 1) / 2
        bent = points + F.grid_sample(
            self._bending, (points / size).flip(-1)[None], align_corners=True, padding_mode="border"
        )[0].permute(1, 2, 3, 0)
        inner = bent @ self._turn.T
        half = torch.tensor(maps.shape[1:]).sub(1).div(2)
        looked = F.grid_sample(maps[None], (inner / half).flip(-1)[None], align_corners=True)[0]
        return self._sorted(looked, inner, points, spacing), looked[2]

    def _sorted(self, looked: Tensor, inner: Tensor, points: Tensor, spacing: Sequence[float]) -> Tensor:
        """Return fractions of what the template has at the bent points, lesions included."""
        params = self.params
        white, grey, mask = looked
        fluid = (mask - white - grey).clamp(min=0)
        generator = np.random.default_rng(self._roughening)
        rough = [_texture(points.shape[:3], generator, spacing) for _ in range(3)]
        weights = torch.stack((white, grey, params.fluid * fluid)).clamp(min=1e-4) ** params.sharpness
        weights = weights * torch.exp(params.roughness * torch.stack(rough))
        white, grey, fluid = weights / weights.sum(dim=0)
        middle, half = (inner.new_tensor(values) for values in _NUCLEI)
        deep = torch.exp(-((inner - middle) / half).square().sum(dim=-1).square())
        found = torch.stack((white, grey * (1 - deep), grey * deep, fluid, torch.zeros_like(white)))
        for lesion in params.lesions:
            found = _with_lesion(found, lesion, points, rough[0])
        return found


def _with_lesion(found: Tensor, lesion: Lesion, points: Tensor, rough: Tensor) -> Tensor:
    """Replace tissue, not fluid, by a lesion."""
    offsets = (points - points.new_tensor(lesion.centre)) / points.new_tensor(lesion.radii)
    distance = offsets.square().sum(dim=-1).sqrt() + 0.15 * rough
    edge = 1.5 / min(lesion.radii)  # of some 3 mm
    inside = torch.sigmoid((1 - distance) / (0.5 * edge)) * lesion.strength
    core = {
        "hyperintensity": torch.zeros_like(inside),
        "cavity": torch.sigmoid((lesion.core - distance) / (0.35 * edge)),
        "lacune": torch.ones_like(inside),
    }[lesion.kind]
    kept = found * (1 - inside)
    kept[_FLUID] += inside * torch.maximum(core, found[_FLUID])
    kept[_GLIOSIS] += inside * (1 - torch.maximum(core, found[_FLUID]))
    return kept


def _smooth_noise(generator: np.random.Generator) -> NDArray[np.float32]:
    """Return three smooth fields of standard deviation 1 on the nodes of the bending, two scales of them."""
    fields = []
    for _ in range(3):
        white = generator.standard_normal((_NODES,) * 3, dtype=np.float32)
        coarse, fine = gaussian_filter(white, 3.0), gaussian_filter(white[::-1], 1.2)
        fields.append(coarse / coarse.std() * 0.9 + fine / fine.std() * 0.43)
    return np.stack(fields)


def _texture(shape: Sequence[int], generator: np.random.Generator, spacing: Sequence[float]) -> Tensor:
    """Return noise of standard deviation 1 with a grain of some 2 to 5 mm."""
    grain = uniform((0.8, 2.2), generator=generator)
    noise = gaussian_filter(
        generator.standard_normal(tuple(shape), dtype=np.float32), [grain / step for step in spacing], mode="wrap"
    )
    return torch.from_numpy(noise / max(float(noise.std()), 1e-6))


@functools.lru_cache(maxsize=1)
def template() -> Tensor:
    """Return the maps ``(3, slice, row, column)`` in [0, 1] at 1 mm: white matter, grey matter, and what is brain.

    They are the ICBM 2009a maps that nilearn brings along, cut to the brain; its middle is the middle of the array.

    Raises:
        ResourceError: nilearn is not installed, or lacks them.
    """
    found = {name: _map(part) for name, part in _MAPS.items()}
    brain = found["t1"] > 0
    box = tuple(
        slice(int(np.flatnonzero(line)[0]), int(np.flatnonzero(line)[-1]) + 1)
        for line in (brain.any(axis=(1, 2)), brain.any(axis=(0, 2)), brain.any(axis=(0, 1)))
    )
    stacked = np.stack([found["white"] / 255, found["grey"] / 255, brain])[(slice(None), *box)]
    return torch.from_numpy(stacked.astype(np.float32))


def _map(part: str) -> NDArray[np.uint8]:
    spec = find_spec("nilearn")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent / "datasets" / "data"
    path = None if folder is None else folder / f"mni_icbm152_{part}_tal_nlin_sym_09a_converted.nii.gz"
    if path is None or not path.is_file():
        raise ResourceError(
            "simulated subjects come from the tissue maps of nilearn, which is not installed",
            remedy="install scanweave[train]",
        )
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    return np.asarray(image.dataobj).transpose(2, 1, 0)
