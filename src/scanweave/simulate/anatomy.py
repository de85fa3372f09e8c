"""Labelled anatomy in two and three dimensions: drawn once as plain values, then shown on any grid in any contrast.

A subject is one set of parameters in millimetres. Maps and pictures are samples of it, so that they agree between
grids, and pictures of several contrasts are registered exactly. Axes are ``([slice, ]row, column)``: slices go to
the head (or the base of the heart), rows to the back, columns to the patient's left. The middle of the grid lies at
``centre``.

Example:
    >>> params = draw_anatomy(HeartConfig(), generator=np.random.default_rng(0))
    >>> labels(params, (10, 64, 64), (8.0, 2.5, 2.5)).max()
    np.uint8(3)
    >>> image(params, "cine", (64, 64), (2.5, 2.5)).shape
    (64, 64)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from .acquisition import Acquisition
from .anatomy_head import HeadConfig, HeadParams
from .anatomy_heart import HeartConfig, HeartParams
from .anatomy_thorax import ThoraxConfig, ThoraxParams
from .contrast import Contrast, as_contrast
from .solids import Section

AnatomyConfig = HeartConfig | ThoraxConfig | HeadConfig
AnatomyParams = HeartParams | ThoraxParams | HeadParams

ANATOMIES: dict[str, type[AnatomyConfig]] = {"heart": HeartConfig, "thorax": ThoraxConfig, "head": HeadConfig}
"""What each anatomy is configured by."""

_PARAMS: dict[str, type[AnatomyParams]] = {"heart": HeartParams, "thorax": ThoraxParams, "head": HeadParams}


def draw_anatomy(config: AnatomyConfig, *, generator: np.random.Generator) -> dict[str, Any]:
    """Draw one subject.

    Args:
        config: Which anatomy, and between what limits.
        generator: Where all randomness comes from.

    Returns:
        Plain JSON values that decide every label.
    """
    if isinstance(config, HeartConfig):
        return HeartParams.draw(config, generator=generator).as_json()
    if isinstance(config, ThoraxConfig):
        return ThoraxParams.draw(config, generator=generator).as_json()
    return HeadParams.draw(config, generator=generator).as_json()


def parse_anatomy(params: Mapping[str, Any] | AnatomyParams) -> AnatomyParams:
    """Return drawn values as the parameters of their anatomy, with ``STRUCTURES`` and ``LABELS``.

    Raises:
        InputError: Not what was drawn.
    """
    if not isinstance(params, Mapping):
        return params
    name = params.get("anatomy")
    if name not in _PARAMS:
        raise InputError(f"no anatomy is named {name!r}", remedy=f"known are {', '.join(_PARAMS)}")
    return _PARAMS[name].from_json(params)


def structures(
    params: Mapping[str, Any] | AnatomyParams,
    shape: Sequence[int],
    spacing: Sequence[float],
    *,
    centre: Sequence[float] | None = None,
) -> NDArray[np.uint8]:
    """Return which structure lies at the centre of each voxel: the full map of tissue.

    Args:
        params: What `draw_anatomy` gave, or the same from JSON.
        shape: ``([slice, ]row, column)``.
        spacing: Of the same axes, mm.
        centre: Where the middle of the grid lies, ``(slice, row, column)`` in mm, of an image too; default: the origin.

    Returns:
        Numbers into ``parse_anatomy(params).STRUCTURES``, of `shape`.

    Raises:
        InputError: Parameters are not those that were drawn.
        UsageError: The grid is none.
    """
    grid = _Lattice.of(shape, spacing, centre)
    painted = np.stack(list(_painted(parse_anatomy(params), grid)))
    return painted.reshape(grid.shape)


def labels(
    params: Mapping[str, Any] | AnatomyParams,
    shape: Sequence[int],
    spacing: Sequence[float],
    *,
    centre: Sequence[float] | None = None,
) -> NDArray[np.uint8]:
    """Return the segmentation: classes named by ``parse_anatomy(params).LABELS``, 0 for the rest.

    Arguments and errors are those of `structures`.
    """
    anatomy = parse_anatomy(params)
    table = np.array([part.label for part in anatomy.STRUCTURES], np.uint8)
    return table[structures(anatomy, shape, spacing, centre=centre)]


def image(
    params: Mapping[str, Any] | AnatomyParams,
    contrast: str | Contrast | Mapping[str, Any],
    shape: Sequence[int],
    spacing: Sequence[float],
    *,
    centre: Sequence[float] | None = None,
    supersample: int | Sequence[int] = 2,
    acquisition: Acquisition | Mapping[str, Any] | None = None,
) -> NDArray[np.float32]:
    """Return a picture of a subject.

    Args:
        params: What `draw_anatomy` gave, or the same from JSON.
        contrast: A name of `CONTRASTS`, a contrast, or one from JSON.
        shape: ``([slice, ]row, column)``.
        spacing: Of the same axes, mm.
        centre: Where the middle of the grid lies, ``(slice, row, column)`` in mm, of an image too; default: the origin.
        supersample: Samples along each axis that are averaged into one voxel, for partial volume; or one number for
            each axis. ``(5, 1, 1)`` averages over the thickness of a slice only.
        acquisition: Texture, reception field and noise; None for a clean picture.

    Returns:
        float32 of `shape`, in the units of the contrast.

    Raises:
        InputError: Parameters, contrast or acquisition are not those that were drawn.
        UsageError: The grid is none, or no contrast has that name.
    """
    pictures = images(
        params,
        [contrast],
        shape,
        spacing,
        centre=centre,
        supersample=supersample,
        acquisitions=None if acquisition is None else [acquisition],
    )
    return np.asarray(pictures[0], np.float32)


def images(
    params: Mapping[str, Any] | AnatomyParams,
    contrasts: Sequence[str | Contrast | Mapping[str, Any]],
    shape: Sequence[int],
    spacing: Sequence[float],
    *,
    centre: Sequence[float] | None = None,
    supersample: int | Sequence[int] = 2,
    acquisitions: Sequence[Acquisition | Mapping[str, Any] | None] | None = None,
) -> NDArray[np.float32]:
    """Return registered pictures of one subject, sampled once for all contrasts.

    Args:
        params: As for `image`.
        contrasts: One for each picture.
        shape: As for `image`.
        spacing: As for `image`.
        centre: As for `image`.
        supersample: As for `image`.
        acquisitions: One for each picture, or None for clean ones.

    Returns:
        ``(contrast, [slice, ]row, column)``.

    Raises:
        InputError: Parameters, contrast or acquisition are not those that were drawn.
        UsageError: The grid is none, a contrast is unknown, or pictures and acquisitions differ in number.
    """
    anatomy, grid = parse_anatomy(params), _Lattice.of(shape, spacing, centre)
    table = np.stack([as_contrast(each).means(anatomy.STRUCTURES) for each in contrasts]).astype(np.float32)
    scanned = [None] * len(table) if acquisitions is None else list(acquisitions)
    if len(scanned) != len(table):
        raise UsageError(f"{len(table)} contrasts were given {len(scanned)} acquisitions", remedy="give one for each")
    factors = grid.factors(supersample)
    clean = np.empty((len(table), grid.slices, *grid.shape[-2:]), np.float32)
    fine = _painted(anatomy, grid.finer(factors))
    for index in range(grid.slices):
        values = sum(_averaged(table[:, next(fine)], factors[1:]) for _ in range(factors[0]))
        clean[:, index] = values / np.float32(factors[0])
    shown = [picture.reshape(grid.shape) for picture in clean]
    place = {"spacing": grid.spacing[-len(grid.shape) :], "centre": grid.centre[-len(grid.shape) :]}
    return np.stack([
        picture if each is None else _as_acquisition(each).applied(picture, **place)
        for picture, each in zip(shown, scanned, strict=True)
    ])  # fmt: skip


@dataclass(frozen=True)
class _Lattice:
    """Where the voxels lie: spacing and centre always have three axes, a plane image is one slice."""

    shape: tuple[int, ...]
    spacing: tuple[float, float, float]
    centre: tuple[float, float, float]

    @classmethod
    def of(cls, shape: Sequence[int], spacing: Sequence[float], centre: Sequence[float] | None) -> Self:
        sides, steps = tuple(int(side) for side in shape), tuple(float(step) for step in spacing)
        middle = (0.0, 0.0, 0.0) if centre is None else tuple(float(value) for value in centre)
        if len(sides) not in (2, 3) or len(steps) != len(sides) or min(sides) < 1:
            raise UsageError(
                f"shape {sides} and spacing {steps} are no grid",
                remedy="give ([slice, ]row, column), and millimetres for each",
            )
        if not all(np.isfinite(steps)) or min(steps) <= 0 or len(middle) != 3 or not all(np.isfinite(middle)):
            raise UsageError(
                f"spacing {steps} and centre {middle} place no grid",
                remedy="give millimetres above zero, and a centre of (slice, row, column)",
            )
        first = steps if len(steps) == 3 else (1.0, *steps)
        return cls(sides, (first[0], first[1], first[2]), (middle[0], middle[1], middle[2]))

    @property
    def slices(self) -> int:
        """How many there are."""
        return self.shape[0] if len(self.shape) == 3 else 1

    def factors(self, supersample: int | Sequence[int]) -> tuple[int, int, int]:
        """Return the samples of a voxel along slices, rows and columns."""
        given = [supersample] * len(self.shape) if isinstance(supersample, int) else list(supersample)
        if len(given) != len(self.shape) or min(given) < 1:
            raise UsageError(f"{supersample} samples cannot make a voxel", remedy="give one number above 0 per axis")
        along = given if len(given) == 3 else [1, *given]
        return along[0], along[1], along[2]

    def finer(self, factors: tuple[int, int, int]) -> _Lattice:
        """Return the grid of samples over the same extent."""
        first, second, third = factors
        a, b, c = self.spacing
        shape = (self.slices * first, self.shape[-2] * second, self.shape[-1] * third)
        return _Lattice(shape, (a / first, b / second, c / third), self.centre)

    def axes(self) -> list[NDArray[np.floating[Any]]]:
        """Return the positions of slices, rows and columns in mm."""
        counts = (self.slices, *self.shape[-2:])
        return [
            middle + step * (np.arange(count) - (count - 1) / 2)
            for count, step, middle in zip(counts, self.spacing, self.centre, strict=True)
        ]


def _painted(anatomy: AnatomyParams, grid: _Lattice) -> Iterator[NDArray[np.uint8]]:
    """Give the map of structures of each slice."""
    heights, rows, columns = grid.axes()
    paint = anatomy.painter()
    for height in heights:
        yield paint(Section.at(float(height), rows, columns, ripple=anatomy.ripple))


def _averaged(values: NDArray[np.float32], factors: tuple[int, int]) -> NDArray[np.float32]:
    """Return means over blocks of ``(contrast, row, column)``."""
    contrasts, rows, columns = values.shape
    down, across = factors
    blocks = values.reshape(contrasts, rows // down, down, columns // across, across)
    return np.asarray(blocks.mean(axis=(2, 4)), np.float32)


def _as_acquisition(values: Acquisition | Mapping[str, Any]) -> Acquisition:
    return Acquisition.from_json(values) if isinstance(values, Mapping) else values
