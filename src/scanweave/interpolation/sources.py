"""Where a training takes its samples from: prepared folders, or a simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from ..errors import ScanweaveError
from ..plan import fingerprint
from ..simulate.samples import PairsConfig, SimulatedPairs
from ..training.samples import Samples
from .data import DataConfig, open_samples
from .manifest import NAME as MANIFEST

_BETWEEN = {"super-slomo-train": 7, "super-slomo-validation": 7, "triplets": 1}  # of samplings with one grid of times


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SimulationConfig:
    """What is drawn, where samples are simulated: pairs of frames, and exactly what lies between."""

    scene: Literal["angiography", "echo", "both"] = "angiography"
    """What is shown: vessels that fill with contrast, a beating heart in speckle, or one or the other."""

    length: int = Field(default=10_000, ge=1)
    """Samples of one epoch."""

    validation_length: int = Field(default=32, ge=0)
    """Samples that validation draws, always the same; 0 for no validation."""

    size: tuple[int, int] = (256, 256)
    """Rows and columns."""

    inter_frames: int | None = Field(default=None, ge=1)
    """Frames between the two given ones, at k / (inter_frames + 1); null for random times."""

    random_times: int = Field(default=1, ge=1)
    """How many targets, where times are random."""

    gap: tuple[float, float] = (1.0, 4.0)
    """Shortest and longest time between the two frames, in frame intervals of the run."""

    reverse: float = Field(default=0.5, ge=0, le=1)
    """Chance that time runs backwards."""

    def pairs(self, length: int) -> PairsConfig:
        """Return what `length` samples are drawn by."""
        scenes = ("angiography", "echo") if self.scene == "both" else (self.scene,)
        count = self.inter_frames
        return PairsConfig(
            length=length,
            size=self.size,
            times=None if count is None else tuple(k / (count + 1) for k in range(1, count + 1)),
            random_times=self.random_times,
            gap=self.gap,
            mix=dict.fromkeys(scenes, 1.0),
            reverse=self.reverse,
        )


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ValidationConfig(DataConfig):
    """Where validation samples come from: other patients, whole frames, time forwards, unless told otherwise."""

    split: Literal["train", "validation", "test"] = "validation"
    """Which part of the set."""

    augmentation: Literal["vessels", "none", "pad", "most-dsa-train", "most-dsa-test", "super-slomo", "top-left"] = (
        "pad"
    )
    """How frames are cut, as of data.augmentation."""

    reversal: float = 0.0
    """mixed: probability of exchanging the two given frames, which reverses time."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SourceConfig:
    """Where samples come from."""

    source: Literal["folder", "simulation"] = "folder"
    """folder takes them from the training set of `data`, simulation draws those of `simulation`."""

    data: DataConfig = DataConfig()
    """The training set, and how its frames become samples."""

    validate: bool = True
    """Whether the set's samples of `validation` are scored during training."""

    validation: ValidationConfig = ValidationConfig()
    """The samples to validate on; in the set of `data`, with its layout and lists, where no path is given."""

    simulation: SimulationConfig = SimulationConfig()
    """What is simulated."""


def open_sources(config: SourceConfig) -> tuple[Samples, Samples | None]:
    """Open the samples to train and to validate on.

    Raises:
        UsageError: Options that contradict each other or the set.
        InputError: The set is damaged or empty.
    """
    if config.source == "simulation":
        count = config.simulation.validation_length
        held_out = SimulatedPairs(config.simulation.pairs(count)) if count else None
        return SimulatedPairs(config.simulation.pairs(config.simulation.length)), held_out
    if not config.validate:
        return open_samples(config.data), None
    samples = open_samples(config.data)
    try:
        return samples, open_samples(_beside(config.validation, config.data))
    except ScanweaveError as error:
        error.remedy = "; ".join(filter(None, (error.remedy, "or set recipe.validate false")))
        error.reason = f"to validate on: {error.reason}"
        raise


def _beside(validation: ValidationConfig, data: DataConfig) -> ValidationConfig:
    """Return `validation` in the set of `data`, where it names no other."""
    if validation.path is not None:
        return validation
    layout = data.layout if validation.layout == "auto" else validation.layout
    return replace(validation, path=data.path, layout=layout, lists=validation.lists or data.lists)


def manifest_sha256(config: SourceConfig) -> str | None:
    """Return the hash of the training set's manifest, which holds those of its frames; None where there is none."""
    path = config.data.path
    if config.source == "simulation" or path is None or not (path / MANIFEST).is_file():
        return None
    return fingerprint(path / MANIFEST).sha256


def trained_between(config: SourceConfig) -> int | None:
    """Return the N of the times k / (N + 1) that samples have their targets at; None for any times."""
    if config.source == "simulation":
        return config.simulation.inter_frames
    if config.data.sampling == "windows":
        return config.data.inter_frames
    return _BETWEEN.get(config.data.sampling)
