"""What interpolators train and validate on: samples from prepared folders, or from a simulation.

A sample is two frames of a run and one or more true frames between them:

- ``frame0``, ``frame1``: float32 ``(3, H, W)``, RGB in [0, 1];
- ``targets``: float32 ``(N, 3, H, W)``;
- ``times``: float32 ``(N,)``, where each target lies between the two;
- ``area``: int64 ``(4,)``, with augmentation ``pad`` only: rows from, to, columns from, to of what was acquired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from ..errors import InputError, UsageError
from ..training.patients import Split
from ..training.samples import Drawn, Sample
from .clips import Clip, TrainingSet
from .layouts import open_set
from .manifest import Layout
from .sampling import Mixed, Sampler, Sampling, SlomoTrain, SlomoValidation, Triplets, Windows
from .transforms import Augmentation, DsaTest, DsaTrain, Padded, SlomoFlip, TopLeft, Transform, Vessels, Whole


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DataConfig:
    """Where samples come from, which frames make one, and how they are cut and turned."""

    path: Path | None = None
    """Folder of a training set, as `scanweave prepare interpolation` or a published program makes it."""

    layout: Literal["auto"] | Layout = "auto"
    """How the set lies there: scanweave's own with its manifest, MoSt-DSA's lists of folders with frame_k(_gt).png, or
    Super-SloMo's train, validation and test folders of clips. auto looks."""

    lists: Path | None = None
    """Layout most-dsa: folder of TrainList.txt and TestList.txt; by default the folder of the set."""

    split: Split = "train"
    """Which part of the set."""

    sampling: Sampling = "mixed"
    """Which frames make a sample. mixed: gaps of mixed lengths, frames anywhere in them, at their true times. windows:
    consecutive frames in order, all between the outer two; a MoSt-DSA folder is one. super-slomo-train and
    super-slomo-validation: as published, over 8 frames. triplets: clips of 3 frames."""

    inter_frames: int = 1
    """Frames to be made per sample, for mixed and windows."""

    gaps: tuple[int, int] = (2, 8)
    """mixed: shortest and longest distance between the two given frames; 2 hides one frame."""

    stride: int = 1
    """windows: frames from the start of one sample to that of the next."""

    reversal: float = 0.5
    """mixed: probability of exchanging the two given frames, which reverses time."""

    true_times: bool = True
    """mixed and windows: times of targets as acquired, where the set keeps them; else as if evenly spaced."""

    augmentation: Augmentation = "vessels"
    """How frames are cut and turned. vessels: crops in which something changes, flips, turns, brightness. none: whole
    frames. pad: whole frames, padded to one size and scored where they were. most-dsa-train: 320 x 320 crops, channels
    reversed, flips, turns, as published. most-dsa-test: sizes that are no multiples of 8 stretched, as published.
    super-slomo: flipped left to right, with a random crop if one is asked for, as published. top-left: that corner."""

    crop: tuple[int, int] | None = None
    """Rows and columns of a crop, for vessels (256 x 256 if not given), super-slomo and top-left (352 x 640)."""

    candidates: int = 8
    """vessels: crops looked at for one in which something changes; 1 takes any."""

    gain: float = 0.1
    """vessels: brightness is multiplied by a factor within 1 plus or minus this, the same for all frames."""

    gamma: float = 0.2
    """vessels: the logarithm of gamma lies within plus or minus this, the same for all frames."""

    multiple: int = 32
    """pad: both sides become multiples of this."""

    limit: int | None = None
    """At most so many samples per epoch, spread evenly over all: for validation on large sets."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            UsageError: One is, named.
        """
        for name in ("inter_frames", "stride", "candidates", "multiple"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is below 1")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit {self.limit} is below 1")
        for name in ("reversal", "gain"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name)} is not between 0 and 1")
        if not 0 <= self.gamma <= 3:
            raise UsageError(f"gamma {self.gamma} is not between 0 and 3")
        if not 2 <= self.gaps[0] <= self.gaps[1]:
            raise UsageError(
                f"gaps from {self.gaps[0]} to {self.gaps[1]}",
                remedy="give the shortest, 2 or more (1 has no true frame between), then the longest",
            )
        if self.sampling == "mixed" and self.inter_frames >= self.gaps[1]:
            raise UsageError(
                f"{self.inter_frames} frames to be made in gaps of at most {self.gaps[1]}",
                remedy=f"allow gaps of {self.inter_frames + 1}",
            )
        if self.crop is not None and min(self.crop) < 1:
            raise UsageError(f"a crop of {self.crop[0]} x {self.crop[1]}")


@dataclass(frozen=True)
class ClipSamples:
    """Samples from clips on disk; two frames and the targets are read for each, nothing else.

    Attributes:
        sampler: Which frames.
        transform: How they are cut and turned.
        source: The set.
        limit: At most so many samples, spread evenly over all.
    """

    sampler: Sampler
    transform: Transform
    source: TrainingSet
    limit: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {clip.name: clip for clip in self.sampler.clips})

    def __len__(self) -> int:
        return len(self.sampler) if self.limit is None else min(self.limit, len(self.sampler))

    def draw(self, index: int, *, generator: np.random.Generator) -> Drawn:
        """Return what decides sample `index`: its clip, frames and times, and how they are cut and turned."""
        picked = self.sampler.pick(index * len(self.sampler) // len(self), generator)
        return {
            "clip": picked.clip.name,
            "frames": [picked.outer[0], *picked.middle, picked.outer[1]],
            "times": list(picked.times),
            "pixels": dict(self.transform.draw(picked.clip.shape, generator)),
        }

    def make(self, drawn: Drawn) -> Sample:
        """Return the sample that `drawn` decides.

        Raises:
            InputError: A frame is gone, damaged, or of another size than its clip.
        """
        clip = self._clip(drawn["clip"])
        frames = torch.from_numpy(self.transform.apply(clip.stack(drawn["frames"]), clip, drawn["pixels"]))
        sample = {
            "frame0": frames[0],
            "frame1": frames[-1],
            "targets": frames[1:-1],
            "times": torch.tensor(drawn["times"], dtype=torch.float32),
        }
        area = self.transform.area(clip.shape)
        return sample if area is None else sample | {"area": torch.tensor(area)}

    def _clip(self, name: str) -> Clip:
        by_name: dict[str, Clip] = self.__dict__["_by_name"]
        if name not in by_name:
            raise InputError(f"the clip {name} is not in this set", path=self.source.path)
        return by_name[name]


def open_samples(config: DataConfig) -> ClipSamples:
    """Open the samples that `config` describes; everything that can be refused without pixels is refused here.

    Raises:
        UsageError: Options that contradict the set, or no path.
        InputError: The set is damaged, empty, or its clips are too short, too small or of several sizes.

    Example:
        >>> samples = open_samples(DataConfig(path=Path("set"), sampling="windows"))  # doctest: +SKIP
        >>> samples.make(samples.draw(0, generator=np.random.default_rng(0)))["frame0"].shape  # doctest: +SKIP
        torch.Size([3, 256, 256])
    """
    if config.path is None:
        raise UsageError("no training set given", remedy="set data.path to the folder of one")
    whole = open_set(config.path, layout=config.layout, lists=config.lists)
    clips = whole.of(config.split)
    transform = _transform(config, clips)
    sizes = sorted({clip.shape for clip in clips})
    if transform.keeps_size and len(sizes) > 1:
        listed = ", ".join(f"{rows} x {columns}" for rows, columns in sizes[:4])
        raise InputError(
            f"clips of {len(sizes)} sizes ({listed}) cannot be joined with augmentation {config.augmentation}",
            path=config.path,
            remedy="choose an augmentation that crops or pads, or prepare the set with one width and height",
        )
    for clip in clips:
        transform.check(clip)
    # The manifest stays on disk: samples travel to other processes.
    return ClipSamples(_sampler(config, clips, whole), transform, replace(whole, manifest=None), config.limit)


def _sampler(config: DataConfig, clips: Sequence[Clip], whole: TrainingSet) -> Sampler:
    match config.sampling:
        case "mixed":
            return Mixed(clips, config.inter_frames, config.gaps, config.reversal, config.true_times)
        case "windows":
            if whole.layout == "most-dsa" and len(clips[0]) != config.inter_frames + 2:
                raise UsageError(
                    f"inter_frames is {config.inter_frames}, the sequences have {len(clips[0]) - 2} frames between",
                    path=whole.path,
                    remedy=f"set inter_frames to {len(clips[0]) - 2}, or prepare the set anew",
                )
            return Windows(clips, config.inter_frames, config.stride, config.true_times)
        case "super-slomo-train":
            return SlomoTrain(clips)
        case "super-slomo-validation":
            return SlomoValidation(clips)
        case "triplets":
            return Triplets(clips)


def _transform(config: DataConfig, clips: Sequence[Clip]) -> Transform:
    match config.augmentation:
        case "vessels":
            return Vessels(config.crop or (256, 256), config.candidates, config.gain, config.gamma)
        case "none":
            return Whole()
        case "pad":
            return Padded.around(clips, config.multiple)
        case "most-dsa-train":
            return DsaTrain()
        case "most-dsa-test":
            return DsaTest()
        case "super-slomo":
            return SlomoFlip(config.crop)
        case "top-left":
            return TopLeft(config.crop or (352, 640))
