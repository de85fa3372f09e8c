"""What is deformed on its own: which labels belong to which image, whole volumes and slices of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from .. import io
from ..deformation.api import field_on
from ..deformation.fields import DenseField
from ..displacement import Displacement
from ..errors import InputError, UnsupportedError, UsageError
from ..grid import Grid
from ..io.published_drdm import image_of, stem
from ..volume import Volume
from .inputs import ReadOptions, Run, strip_dataset

_CHANNEL = re.compile(r"_\d{4}$")  # of nnU-Net's images: case_0000.nii.gz goes with case.nii.gz

Slices: TypeAlias = tuple[int, ...] | Literal["all"]
"""Numbers of slices, from 0, or all."""


@dataclass(frozen=True, eq=False)
class Case:
    """One image that is deformed on its own, and how its copies are called.

    Attributes:
        stem: What names of its files begin with.
        image: The image, or one slice of it.
        labels: Its maps of labels.
        levels: Level of each copy, for DRDM; by default those of the method.
        number: Of the slice, or of the image among several: what is drawn for a case depends on it and on no others.
    """

    stem: str
    image: Volume
    labels: tuple[Volume, ...] = ()
    levels: tuple[int, ...] | None = None
    number: int = 0


def paired(images: Sequence[Run], labels: Sequence[Run]) -> list[tuple[Run, Sequence[Run]]]:
    """Return each image with its labels: all are of the one image, or they are named as the images are.

    Raises:
        UsageError: Labels without image, images without labels where others have some, or several images of one case.
    """
    if len(images) == 1 or not labels:
        return [(image, labels) for image in images]
    named: dict[str, list[Run]] = {}
    for label in labels:
        named.setdefault(image_of(strip_dataset(label[0])), []).append(label)
    _refuse_channels(images, named)
    pairs: list[tuple[Run, Sequence[Run]]] = [(image, named.pop(_name_of(image, named), [])) for image in images]
    alone = [str(image[0]) for image, found in pairs if not found] or [str(found[0][0]) for found in named.values()]
    if alone:
        raise UsageError(
            f"{alone[0]} has no partner among {len(images)} images and {len(labels)} labels",
            remedy="name labels as their images, with or without _label, _seg, _mask or _gt at the end",
        )
    return pairs


def _name_of(image: Run, named: Mapping[str, Sequence[Run]]) -> str:
    """Return the name that labels of an image have: its own, or nnU-Net's, which leaves out the number of a channel."""
    own = stem(strip_dataset(image[0]))
    return own if own in named else _CHANNEL.sub("", own)


def _refuse_channels(images: Sequence[Run], named: Mapping[str, Sequence[Run]]) -> None:
    """Refuse channels of one case, since images of their own are deformed differently.

    Raises:
        UsageError: Two images have the same labels.
    """
    first: dict[str, Path] = {}
    for image in images:
        file, name = strip_dataset(image[0]), _name_of(image, named)
        if name in named and name != stem(file) and first.setdefault(name, file) != file:
            raise UsageError(
                f"{first[name].name} and {file.name} are channels of one case, and would be deformed apart",
                remedy="deform one of them, and the other by its fields: scanweave apply-field",
            )


def read_volume(run: Run, reading: ReadOptions) -> Volume:
    """Read one volume; pages and pictures are slices.

    Raises:
        UnsupportedError: A run over time was asked for.
    """
    if reading.as_ == "cine":
        raise UnsupportedError("a run over time cannot be deformed", path=run[0], remedy="leave out --as cine")
    found = replace(reading, as_="volume").read_any(run)
    if not isinstance(found, Volume):
        raise UnsupportedError("is a run over time, not a volume", path=run[0], remedy="give one phase of it")
    return found


def read_label(run: Run, reading: ReadOptions) -> Volume:
    """Read a map of labels; one without phases goes with any phase of its image.

    Raises:
        UnsupportedError: A run over time was asked for.
    """
    still = replace(reading, series=None, time_index=None)
    if reading.time_index is None:
        return read_volume(run, still)
    try:
        return read_volume(run, still)
    except InputError:  # it has phases as well, and none was chosen
        return read_volume(run, replace(still, time_index=reading.time_index))


def cases_of(name: str, image: Volume, labels: tuple[Volume, ...], slices: Slices | None) -> list[Case]:
    """Return what of an image is deformed on its own: the whole, or some of its slices.

    Raises:
        InputError: Labels on another grid.
        UsageError: A slice that it has not.
    """
    name = re.sub(r"[^\w.-]", "_", name)
    if slices is None:
        return [Case(name, image, labels)]
    count = image.grid.shape[0]
    for label in labels:
        if label.grid.shape[0] != count:
            raise InputError(
                f"labels of {label.grid.shape[0]} slices do not go with an image of {count}", path=label.source.path
            )
    chosen = tuple(range(count)) if slices == "all" else slices
    beyond = [k for k in chosen if not 0 <= k < count]
    if beyond:
        raise UsageError(
            f"there is no slice {beyond[0]} in {count}", remedy=f"slices are counted from 0 to {count - 1}"
        )
    return [
        Case(f"{name}_slice{k:03d}", slice_of(image, k), tuple(slice_of(label, k) for label in labels), number=k)
        for k in chosen
    ]


def slice_of(volume: Volume, index: int) -> Volume:
    """Return one slice of a volume, where it lies."""
    affine = np.array(volume.affine)
    affine[:3, 3] = volume.grid.to_mm([index, 0, 0])
    grid = Grid((1, *volume.grid.shape[1:]), affine)
    return volume.with_voxels(volume.voxels[index : index + 1], grid=grid)


def field_of(path: Path, grid: Grid) -> DenseField:
    """Read a field that was written for an image on `grid`, by its voxels: its file may not say where they lie.

    Raises:
        InputError: Missing, damaged, or no field.
    """
    return field_on(Displacement.of_voxels(io.read_displacement(path).in_voxels(), grid), grid)
