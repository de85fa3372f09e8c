"""Training slices from volumes: any folder of them, or the published files; a subject may lack any contrast."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor

from .. import io
from ..errors import InputError, UsageError
from ..ops.slice_profile import SliceProfile, degrade, profile_matrix
from ..plan import fingerprint
from ..simulate.params import new_seed
from ..volume import Volume
from .collection import SubjectFiles, find_subjects, split_subjects
from .config import TaskConfig
from .pairing import sample_of
from .published_data import contrasts_in, fitted, read_subject, rescaled
from .registration import registered

Plane = Literal["axial", "coronal", "sagittal"]

_TURNED: dict[Plane, str] = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
"""Which way columns, rows and slices go, see `Volume.reoriented`."""


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DataConfig:
    """Which volumes, how slices are taken from them, and whose are held out."""

    path: Path | None = None
    """A folder of subjects: volumes with the contrast in their names (NIfTI, MetaImage, NRRD, DICOM), all of a subject
    on one grid; or HDF5 files as published. Folders or lists train, val and test in it state who is what."""

    layout: Literal["auto", "folder", "published"] = "auto"
    """How they lie there; auto looks."""

    table: Path | None = None
    """Lines of subject and patient (CSV), where two subjects are of one patient."""

    plane: Plane = "axial"
    """Which way slices are cut, where volumes say how they lie; HDF5 files are taken as they are."""

    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of the patients to train on, to validate on, and to test on, which training never looks at; folders decide
    instead where there are any."""

    split_seed: int = Field(default=0, ge=0)
    """Decides which patients are held out."""

    crop: Literal["centre", "random"] = "centre"
    """Which part of slices larger than the network takes; smaller ones are surrounded by background."""

    phase: Literal["auto", "grid", "random"] = "auto"
    """grid: source slices are those of a thick acquisition from the first slice on; random: they may lie anywhere;
    auto: random for networks that learn every task, as published."""

    profile: Literal["decimate", "gaussian", "box"] = "decimate"
    """What a thick source slice is made of: one slice, as published; or a mean, as scanners take it."""

    gap: float = Field(default=0.0, ge=0, lt=1)
    """Share of the distance of thick slices that lies in none."""

    ends: Literal["replicate", "black"] = "replicate"
    """What lies beyond the first and last slice: it again, or background, as published."""

    flips: Literal["sample", "volume", "none"] = "sample"
    """Mirror rows and columns, each with a chance of a half: drawn for each sample; or once and for all for a volume,
    as published, so that it is always seen one way."""

    gamma: float = Field(default=0.0, ge=0)
    """Standard deviation of the logarithm of a power that the brightness of each source is raised to."""

    noise: float = Field(default=0.0, ge=0)
    """Most noise added to sources, over their window."""

    skip_bad: bool = False
    """Leave out subjects that cannot be read, in place of stopping; all are read before training begins."""

    cache_mib: int = Field(default=4096, ge=0)
    """Memory for volumes that were read, in each process."""

    def phased(self, task: TaskConfig) -> bool:
        """Return whether source slices may begin anywhere."""
        return self.phase == "random" or (self.phase == "auto" and task.take == "one")


@dataclass(frozen=True)
class KnownSubject:
    """A subject that was looked at.

    Attributes:
        files: Where it is.
        shape: ``(slice, row, column)`` of its volumes, as slices are cut.
        tasks: Which sources each of the targets can be made of: of ``take`` one, any one of them.
    """

    files: SubjectFiles
    shape: tuple[int, int, int]
    tasks: Mapping[str, tuple[str, ...]]


class VolumeSlices:
    """Samples of a task from volumes (`scanweave.training.Samples`): a slice each, its contrast drawn.

    Args:
        subjects: Which.
        config: How slices are taken.
        task: What is made of what.
        one_z: Whether all slices of a subject have one z.
        held_out: Whether they are to validate on: then nothing is mirrored, cropped or changed at random, and slices
            where nothing is to be seen are left out, which would outdo all others; volumes are read for that.

    Raises:
        InputError: A volume to validate on is damaged.
    """

    def __init__(
        self, subjects: Sequence[KnownSubject], config: DataConfig, task: TaskConfig, *, one_z: bool, held_out: bool
    ) -> None:
        self.subjects = tuple(subjects)
        self._config, self._task, self._one_z, self._held_out = config, task, one_z, held_out
        self._by_name = {subject.files.name: subject for subject in self.subjects}
        self._kept: OrderedDict[str, dict[str, NDArray[np.uint8]]] = OrderedDict()
        self._slices = [self._seen(one) if held_out else range(one.shape[0]) for one in self.subjects]
        self._ends = list(accumulate(map(len, self._slices)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Return what decides sample `index`: a slice, and what is to be made of it."""
        task, config = self._task, self._config
        place = bisect_right(self._ends, index)
        subject = self.subjects[place]
        slices = self._slices[place]
        slice_ = slices[index - (self._ends[place] - len(slices))]
        targets = list(subject.tasks)
        target = targets[int(generator.integers(len(targets)))]
        sources = subject.tasks[target]
        if task.take == "one":
            sources = (sources[int(generator.integers(len(sources)))],)
        spacing = task.spacings[int(generator.integers(len(task.spacings)))]
        first = self._first(slice_, spacing, generator)
        return {
            "subject": subject.files.name,
            "slice": slice_,
            "target": target,
            "sources": list(sources),
            "spacing": spacing,
            "first": first,
            "corner": [float(value) for value in generator.random(2)],
            "flips": [bool(value) for value in generator.integers(2, size=2)],
            "gammas": [math.exp(config.gamma * float(generator.normal())) for _ in sources],
            "noise": config.noise * float(generator.random()),
            "seed": new_seed(generator),
        }

    def _seen(self, subject: KnownSubject) -> Sequence[int]:
        """Return the slices of a subject in which every target shows something."""
        volumes = self._volumes(subject.files.name)
        return [k for k in range(subject.shape[0]) if all(volumes[target][k].any() for target in subject.tasks)]

    def _first(self, slice_: int, spacing: float, generator: np.random.Generator) -> float:
        """Return where the source slice before a wanted one lies, in slices."""
        if self._config.phased(self._task):
            return max(slice_ - float(generator.integers(math.ceil(spacing))), 0.0)
        return math.floor(slice_ / spacing + 1e-9) * spacing

    def make(self, drawn: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the sample (`scanweave.synthesis.pairing.sample_of`).

        Raises:
            InputError: A file is gone, damaged, or changed.
        """
        task = self._task
        volumes = self._volumes(drawn["subject"])
        centres = drawn["first"] + drawn["spacing"] * (np.arange(task.slices) + task.first)
        stacks = [self._stack(volumes[name], centres, drawn["spacing"]) for name in drawn["sources"]]
        source, wanted = torch.cat(stacks), torch.from_numpy(volumes[drawn["target"]][drawn["slice"]][None] / 255)
        whole = self._placed(torch.cat([source, wanted]).float(), drawn)
        return sample_of(
            self._varied(whole[:-1], drawn),
            whole[-1:],
            contrast=task.targets.index(drawn["target"]),
            contrasts=len(task.targets),
            position=(drawn["slice"] - drawn["first"]) / drawn["spacing"],
            seed=_seed_of(drawn["subject"]) if self._one_z else drawn["seed"],
        )

    def _stack(self, volume: NDArray[np.uint8], centres: NDArray[np.float64], spacing: float) -> Tensor:
        """Return source slices ``(K, row, column)`` in [0, 1]."""
        last = len(volume) - 1
        inside = np.clip(centres, 0, last)
        if self._config.profile == "decimate" and np.array_equal(inside, np.round(inside)):
            found = torch.from_numpy(volume[inside.astype(int)] / 255)
        else:
            reach = math.ceil(2 * spacing)
            low, high = max(0, math.floor(inside[0]) - reach), min(last, math.ceil(inside[-1]) + reach)
            profile = SliceProfile(self._config.profile, max(spacing * (1 - self._config.gap), 1e-3))
            matrix = profile_matrix(torch.arange(low, high + 1.0), torch.from_numpy(inside), profile)
            found = degrade(torch.from_numpy(volume[low : high + 1] / 255).float(), matrix)
        if self._config.ends == "black":
            found[torch.from_numpy(inside != centres)] = 0
        return found

    def _placed(self, slices: Tensor, drawn: Mapping[str, Any]) -> Tensor:
        """Return slices of the network's size, mirrored as drawn."""
        config, side = self._config, self._task.side
        if config.crop == "random" and not self._held_out:
            corner = [
                int(share * max(size - side, 0)) for share, size in zip(drawn["corner"], slices.shape[1:], strict=True)
            ]
            slices = slices[:, corner[0] : corner[0] + side, corner[1] : corner[1] + side]
        placed = torch.from_numpy(np.ascontiguousarray(fitted(slices.numpy(), (side, side))))
        if config.flips == "none" or self._held_out:
            return placed
        seed = _seed_of(drawn["subject"])
        flips = drawn["flips"] if config.flips == "sample" else [bool(seed & 1), bool(seed & 2)]
        axes = [axis for axis, turned in zip((-2, -1), flips, strict=True) if turned]
        return placed.flip(axes) if axes else placed

    def _varied(self, source: Tensor, drawn: Mapping[str, Any]) -> Tensor:
        """Return sources with brightness and noise as drawn; background stays."""
        config = self._config
        if self._held_out or not (config.gamma or config.noise):
            return source
        powers = torch.tensor(drawn["gammas"]).repeat_interleave(self._task.slices)[:, None, None]
        grain = np.random.default_rng(drawn["seed"]).normal(0, drawn["noise"], source.shape).astype(np.float32)
        return torch.where(source > 0, (source**powers + torch.from_numpy(grain)).clamp(0, 1), source)

    def _volumes(self, name: str) -> dict[str, NDArray[np.uint8]]:
        """Return the volumes of a subject as levels, kept while there is room."""
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        if name not in self._by_name:
            raise InputError(f"the subject {name} is not in this set", path=self._config.path)
        subject = self._by_name[name]
        volumes = read_levels(subject.files, plane=self._config.plane)
        if {volume.shape for volume in volumes.values()} != {subject.shape}:
            raise InputError("is not as it was when training began", path=next(iter(subject.files.contrasts.values())))
        self._kept[name] = volumes
        room = self._config.cache_mib << 20
        while len(self._kept) > 1 and sum(v.nbytes for kept in self._kept.values() for v in kept.values()) > room:
            self._kept.popitem(last=False)
        return volumes


def read_levels(subject: SubjectFiles, *, plane: Plane) -> dict[str, NDArray[np.uint8]]:
    """Return the volumes of a subject ``(slice, row, column)`` as the published preparation would store them.

    Raises:
        InputError: A file is damaged, or the volumes are of different grids.
    """
    if subject.layout == "published":
        return read_subject(next(iter(subject.contrasts.values())), list(subject.contrasts))
    volumes = read_volumes(subject, plane=plane)
    return {name: levels_of(volume) for name, volume in volumes.items()}


def read_volumes(
    subject: SubjectFiles, *, plane: Plane, notes: list[str] | None = None, register: bool = False
) -> dict[str, Volume]:
    """Open the volumes of a subject by contrast, slices along array axis 0; voxels are read when asked for.

    Args:
        subject: Whose.
        plane: Which way slices are cut.
        notes: Where it is said what registration did.
        register: Bring volumes on other grids onto that of the first, rigidly, in place of refusing them.

    Raises:
        InputError: A file is damaged or in colour, or the volumes are of different grids.
    """
    volumes: dict[str, Volume] = {}
    for name, path in subject.contrasts.items():
        volume = io.read(path, as_="volume")
        assert isinstance(volume, Volume)
        if volume.channels is not None:
            raise InputError(f"is in colour ({volume.channels} channels)", path=path, remedy="give grey volumes")
        first = next(iter(volumes.values()), None)
        volumes[name] = volume.reoriented(_TURNED[plane])
        if first is None or volumes[name].grid.matches(first.grid, tolerance=1e-2):
            continue
        if not register:
            raise InputError(
                f"lies on another grid ({' x '.join(map(str, volume.shape))}) than {first.source.path}",
                path=path,
                remedy="register it first: `scanweave prepare synthesis --register`",
            )
        volumes[name], said = registered(volumes[name], first)
        if notes is not None:
            notes.append(f"{path}: {said}")
    return volumes


def levels_of(volume: Volume, mask: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Return a volume as the published preparation would store it, 0 where a mask is not.

    Raises:
        InputError: It holds NaN or infinity, or but one value.
    """
    real = volume.real()
    if not np.isfinite(real).all():
        raise InputError("holds NaN or infinity", path=volume.source.path, remedy="leave it out, or mend it")
    try:
        return rescaled(real if mask is None else np.where(mask, real, 0))
    except InputError as error:
        raise InputError(error.reason, path=volume.source.path, remedy=error.remedy) from error


def open_volumes(config: DataConfig, task: TaskConfig, *, one_z: bool) -> tuple[VolumeSlices, VolumeSlices | None]:
    """Open the volumes to train on, of which headers are read and voxels are not, and those to validate on.

    Raises:
        UsageError: No folder is named, or there are too few patients.
        InputError: No subjects with the contrasts of the task, one that cannot be read, or a patient in two splits.
    """
    if config.path is None:
        raise UsageError("no folder of volumes is given", remedy="set recipe.data.path, or recipe.source simulation")
    wanted = tuple(dict.fromkeys((*task.sources, *task.targets)))
    subjects = find_subjects(config.path, wanted, layout=config.layout, table=config.table)
    dealt = split_subjects(subjects, shares=config.split, seed=config.split_seed)

    def of(split: Literal["train", "validation"]) -> VolumeSlices:
        known = [found for subject in dealt[split] if (found := _known(subject, config, task)) is not None]
        return VolumeSlices(known, config, task, one_z=one_z, held_out=split == "validation")

    train, held_out = of("train"), of("validation")
    if not len(train):
        lacking = ", ".join(f"{name} of {', '.join(task.inputs(name))}" for name in task.targets)
        raise InputError(f"no subject to train on has what it takes to make {lacking}", path=config.path)
    return train, held_out if len(held_out) else None


def _known(subject: SubjectFiles, config: DataConfig, task: TaskConfig) -> KnownSubject | None:
    """Look at a subject; None where it lacks what every target is made of, or is bad and may be left out."""
    tasks: dict[str, tuple[str, ...]] = {}
    for target in task.targets:
        sources = task.sources if task.take == "one" else task.inputs(target)
        has = tuple(name for name in sources if name in subject.contrasts)
        if target in subject.contrasts and (has if task.take == "one" else has == sources):
            tasks[target] = has
    if not tasks:
        return None
    try:
        if config.skip_bad:
            read_levels(subject, plane=config.plane)
        return KnownSubject(subject, _shape(subject, config.plane), tasks)
    except InputError:
        if config.skip_bad:
            return None
        raise


def _shape(subject: SubjectFiles, plane: Plane) -> tuple[int, int, int]:
    if subject.layout == "published":
        return next(iter(contrasts_in(next(iter(subject.contrasts.values()))).values()))
    return next(iter(read_volumes(subject, plane=plane).values())).grid.shape


def data_sha256(samples: object) -> str | None:
    """Return a hash of the files that samples come from, whatever their names and order; None if they have none."""
    if not isinstance(samples, VolumeSlices):
        return None
    files = {path for subject in samples.subjects for path in subject.files.contrasts.values()}
    lines = "".join(f"{found}\n" for found in sorted(fingerprint(path).sha256 for path in files))
    return hashlib.sha256(lines.encode()).hexdigest()


def _seed_of(name: str) -> int:
    """Return the seed that belongs to a subject, below 2^53."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
