"""Training images for DRDM: any folder of them, without labels; and what is drawn beside each."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor

from .. import io
from ..errors import InputError, UsageError
from ..io.folders import list_folder
from ..io.kinds import IMAGES, kind_of
from ..io.published_drdm import DrdmFolder, published_volume
from ..ops.displacement import FieldPadding
from ..plan import fingerprint
from ..training.patients import SPLITS, PatientFrom, Split, read_table, refuse_two_splits, split_patients, tell
from ..volume import Volume
from .preparation import prepared, prepared_as_published

_SEEDS = 2**53  # every reader of JSON keeps whole numbers below it


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DataConfig:
    """Which images, how they are made ready, and whose are held out."""

    path: Path | None = None
    """A folder of images without labels: NIfTI, MetaImage, NRRD, DICOM, npy, npz, HDF5, TIFF, PNG, JPEG; or the root of
    the published folders."""

    layout: Literal["auto", "folder", "published"] = "auto"
    """Any folder, or Data/Src_data as published; auto looks."""

    name: str = "cmr"
    """Data set of the published layout, and of the published names of weights: cmr or lct."""

    side: int = Field(default=256, ge=16)
    """Voxels of the training images along each axis, a multiple of 8."""

    prepare: Literal["millimetres", "published"] = "millimetres"
    """millimetres keeps proportions and scales whole volumes; published stretches slices to squares and scales each by
    itself."""

    window: tuple[float, float] = (0.5, 99.5)
    """Percentiles of a volume's values that become 0 and 1."""

    padding: FieldPadding = "zeros"
    """What lies around an image that is no square or cube."""

    trim: float = Field(default=0.0, ge=0, lt=0.5)
    """2D: share of a volume's slices left out at either end, where there is little to see."""

    time_index: int | None = Field(default=None, ge=0)
    """Which phase of files that hold volumes over time."""

    patients: PatientFrom = "auto"
    """What tells patients apart: id (of DICOM), folder (the first below path), file, or the first that there is."""

    table: Path | None = None
    """Table that tells them apart instead: lines of file, patient."""

    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the patients to validate on; folders train and validation below path decide it where there are any."""

    split_seed: int = Field(default=0, ge=0)
    """Decides which patients are held out."""

    cache_mib: int = Field(default=2048, ge=0)
    """Memory for images that were made ready, in each process."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            UsageError: One is, named.
        """
        if self.side % 8:
            raise UsageError(f"side {self.side} is no multiple of 8", remedy=f"such as {-(-self.side // 8) * 8}")
        if not 0 <= self.window[0] < self.window[1] <= 100:
            raise UsageError(f"window {self.window} is no pair of percentiles that rise from 0 to 100")


class ImageSource(Protocol):
    """Images of one size, each decided by plain values."""

    def __len__(self) -> int:
        """How many one epoch has."""

    def draw(self, index: int, *, generator: np.random.Generator) -> Mapping[str, Any]:
        """Return what decides image `index`."""

    def make(self, drawn: Mapping[str, Any]) -> Tensor:
        """Return the image, ``(C, side, ...)`` float32 in [0, 1]."""


@dataclass(frozen=True)
class DiffusedSamples:
    """Images, each with a level to be diffused to and the seed of all else (`scanweave.training.Samples`).

    Fields are made from the seed on the device that trains: they are larger than images, and quicker there.

    Attributes:
        images: Where images come from.
        levels: Least and greatest level that may be drawn, both included.
    """

    images: ImageSource
    levels: tuple[int, int]

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Return what decides sample `index`."""
        low, high = self.levels
        return {
            "image": dict(self.images.draw(index, generator=generator)),
            "level": int(generator.integers(low, high + 1)),
            "seed": int(generator.integers(_SEEDS)),
        }

    def make(self, drawn: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return ``image`` ``(C, side, ...)``, ``level`` and ``seed``.

        Raises:
            InputError: A file is gone or damaged.
        """
        return {
            "image": self.images.make(drawn["image"]),
            "level": torch.tensor(drawn["level"]),
            "seed": torch.tensor(drawn["seed"]),
        }


@dataclass(frozen=True)
class ImageFile:
    """A file or folder of training images.

    Attributes:
        path: Where it is.
        name: Below the set, with ``/``.
        images: How many it gives: slices in 2D, else one.
        first: The first slice.
        patient: What tells the patient; never written.
        stated: The split that its folder states, if any.
    """

    path: Path
    name: str
    images: int
    first: int
    patient: str
    stated: Split | None


class FolderImages:
    """Images of files, made ready when asked for and kept while memory allows.

    Args:
        files: Which.
        config: How they are made ready.
        ndims: 2 for slices, 3 for volumes.
        channels: That all must have.
    """

    def __init__(self, files: Sequence[ImageFile], config: DataConfig, *, ndims: int, channels: int) -> None:
        self.files = tuple(files)
        self._config, self._ndims, self._channels = config, ndims, channels
        self._ends = list(accumulate(file.images for file in files))
        self._by_name = {file.name: file for file in files}
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of each file, in the order of `files`.

        Raises:
            InputError: One is gone.
        """
        return tuple(fingerprint(file.path).sha256 for file in self.files)

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Return which file and image `index` is; nothing is random about it."""
        place = bisect_right(self._ends, index)
        file = self.files[place]
        return {"file": file.name, "image": file.first + index - (self._ends[place] - file.images)}

    def make(self, drawn: Mapping[str, Any]) -> Tensor:
        """Return the image.

        Raises:
            InputError: The file is gone, damaged, or of other channels than asked for.
        """
        return self._images(drawn["file"])[drawn["image"]].clone()

    def _images(self, name: str) -> Tensor:
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        if name not in self._by_name:
            raise InputError(f"the image {name} is not in this set", path=self._config.path)
        file = self._by_name[name]
        images = self._made_ready(file.path)
        if images.shape[1] != self._channels:
            raise InputError(
                f"has {images.shape[1]} channels, not {self._channels}", path=file.path, remedy="set recipe.channels"
            )
        self._kept[name] = images
        room = self._config.cache_mib << 20
        while self._kept and sum(kept.nbytes for kept in self._kept.values()) > room:
            self._kept.popitem(last=False)
        return images

    def _made_ready(self, path: Path) -> Tensor:
        config = self._config
        volume = _read(path, config)
        if config.prepare == "published":
            # the published loaders look for these words in the name of the folder
            as_is = ("resize" if self._ndims == 2 else "process") in str(path.parent)
            return prepared_as_published(volume, ndims=self._ndims, side=config.side, as_is=as_is)
        return prepared(volume, ndims=self._ndims, side=config.side, window=config.window, padding=config.padding)


def data_sha256(samples: object) -> str | None:
    """Return a hash of the files that samples are made of, whatever their names and order; None if they have none.

    It is the SHA-256 of the files' own hexadecimal ones, sorted, each on a line: it tells any change of the data, and
    nothing of patients.

    Raises:
        InputError: A file is gone.
    """
    if not isinstance(samples, DiffusedSamples) or not isinstance(samples.images, FolderImages):
        return None
    lines = "".join(f"{found}\n" for found in sorted(samples.images.hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def open_images(config: DataConfig, *, ndims: int, channels: int) -> tuple[FolderImages, FolderImages | None]:
    """Open the images to train on, and those that are held out; headers are read, pixels are not.

    Args:
        config: Which, and how.
        ndims: 2 takes every slice as an image, 3 every volume.
        channels: That all must have.

    Raises:
        UsageError: No folder is named, or there are too few patients to hold any out.
        InputError: No images, one that cannot be read, or a patient in two splits.
    """
    if config.path is None:
        raise UsageError("no folder of images is given", remedy="set recipe.data.path, or recipe.source simulation")
    table = None if config.table is None else read_table(config.table)
    files = [_file(path, config, ndims, table) for path in _paths(config, ndims)]
    files = [file for file in files if file.images]
    if not files:
        raise InputError("holds no images", path=config.path, remedy="name another folder")
    splits = _splits(files, config)

    def of(split: Split) -> FolderImages:
        chosen = [file for file in files if splits[file.patient] == split]
        return FolderImages(chosen, config, ndims=ndims, channels=channels)

    held_out = of("validation")
    return of("train"), held_out if len(held_out) else None


def _paths(config: DataConfig, ndims: int) -> list[Path]:
    """Return files and folders, each of which is read as one volume."""
    assert config.path is not None
    published = (config.path / "Data" / "Src_data").is_dir() if config.layout == "auto" else None
    if published or config.layout == "published":
        return DrdmFolder(config.path).training_images(config.name)
    paths = []
    for run in io.inputs_in(config.path, volumes=True):
        pictures = list_folder(run).of(*IMAGES) if ndims == 2 and run.is_dir() else []
        # pictures of one folder may differ in size: in 2D each is an image of its own
        paths += pictures or [run]
    return paths


def _file(path: Path, config: DataConfig, ndims: int, table: Mapping[str, str] | None) -> ImageFile:
    assert config.path is not None
    root = config.path
    volume = _read(path, config)
    slices = volume.grid.shape[0]
    first = int(slices * config.trim) if ndims == 2 else 0
    name = path.relative_to(root).as_posix() if path != root and path.is_relative_to(root) else path.name
    within = next((split for split in SPLITS if name.startswith(f"{split}/")), None)
    inner = root / within if within else root
    patient = tell(path, inner, volume, sha256=name, how=config.patients, table=table).identity
    return ImageFile(path, name, slices - 2 * first if ndims == 2 else 1, first, patient, within)


def _read(path: Path, config: DataConfig) -> Volume:
    if config.prepare == "published" and path.is_file() and kind_of(path) == "npy":
        return published_volume(path)
    return io.read(path, as_="volume", time_index=config.time_index)


def _splits(files: Sequence[ImageFile], config: DataConfig) -> dict[str, Split]:
    """Return the split of every patient."""
    patients = [file.patient for file in files]
    stated = [(file.patient, file.stated, file.path) for file in files if file.stated is not None]
    if len(stated) == len(files):
        return refuse_two_splits([(who, split, path) for who, split, path in stated])
    if config.held_out and len(set(patients)) < 2:
        raise UsageError(
            "all images are of one patient, of whom none can be held out",
            path=config.path,
            remedy="set recipe.data.held_out 0, or tell patients apart by recipe.data.patients or recipe.data.table",
        )
    return split_patients(
        patients, shares=(1 - config.held_out, config.held_out, 0), seed=config.split_seed, stated=None
    )
