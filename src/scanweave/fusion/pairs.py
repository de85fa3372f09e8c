"""Training samples of two cameras that recorded the same moments: two folders of clips, as published or of any names.

The engine's order is its own: each epoch takes every frame `enlarge` times in an order drawn from seed and epoch. The
published sampler takes the same number of samples, in another permutation, whose seed is the epoch alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from ..errors import InputError, UsageError
from ..training.samples import Drawn, Sample, Samples
from .clips import PairedClip, Partition, Pictures, held_out, open_clips
from .patches import FrameSet, PatchConfig, patch, tensors, whole
from .sampling import Chosen, FramesConfig, draw_context, draw_frames, frames_to_validate


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PairsConfig:
    """A training set of two cameras, and how it becomes samples."""

    sharp: Path | None = None
    """Folder of the sharp camera: a folder of frames for each clip."""

    coarse: Path | None = None
    """That of the coarse one: the same names, on a grid four times as coarse, or on the sharp grid to be reduced."""

    meta: Path | None = None
    """File of lines such as 240 100 (720,1280,3): the clips to take. By default all."""

    context: Path | None = None
    """Folder of whole coarse recordings, of which `coarse` holds the frames paired with sharp ones: coarse frames are
    then taken from these, at spacings drawn, as the published option use_nearest_context has it."""

    context_map: Path | None = None
    """CSV of case, paired index, unpaired index, for `context`."""

    validation_sharp: Path | None = None
    """Folders to validate on, in place of clips held out of the same set; clips of these are not trained on. That of
    the sharp camera,"""

    validation_coarse: Path | None = None
    """that of the coarse one,"""

    validation_meta: Path | None = None
    """and the file that lists their clips."""

    partition: Partition = "share"
    """Which clips are held out to validate on: a share, none, or those of a published name by their numbers, which are
    left out of training even where there are other folders to validate on."""

    held_out: float = Field(default=0.1, ge=0, lt=1)
    """The share of partition share; 0 for no validation."""

    part: float = Field(default=1.0, gt=0, le=1)
    """Train on so large a part of the clips, each taken or not by chance, as the published option sub_dataset."""

    part_seed: int = 42
    """Decides `part` and `held_out`; the published programs draw others by this number."""

    enlarge: int = Field(default=1, ge=1)
    """Each frame comes so often in an epoch."""

    limit: int = Field(default=64, ge=1)
    """Validate on at most so many frames, spread evenly over all."""

    frames: FramesConfig = FramesConfig()
    """Which frames make a sample."""

    patch: PatchConfig = PatchConfig()
    """How they are cut and turned, and what noise they get."""

    def __post_init__(self) -> None:
        """Refuse options of which one needs another.

        Raises:
            UsageError: As said.
        """
        together = (
            ("context", "context_map"),
            ("validation_sharp", "validation_coarse"),
        )
        for first, second in together:
            if (getattr(self, first) is None) != (getattr(self, second) is None):
                raise UsageError(f"recipe.pairs.{first} and recipe.pairs.{second} go together", remedy="give both")
        if self.validation_meta is not None and self.validation_sharp is None:
            raise UsageError("recipe.pairs.validation_meta lists clips of recipe.pairs.validation_sharp: give that too")


@dataclass(frozen=True)
class PairSamples(Samples):
    """Samples of paired clips: ``coarse`` ``(n, 1, h, w)``, ``sharp`` ``(2, 1, 4h, 4w)``, ``target`` ``(1, 4h, 4w)``.

    Attributes:
        clips: Of both cameras.
        config: How frames are chosen and cut.
    """

    clips: tuple[PairedClip, ...]
    config: PairsConfig

    def __len__(self) -> int:
        return self._ends[-1] * self.config.enlarge

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(clip) for clip in self.clips))

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw the frames around one, and what is done with them."""
        clip, centre = _place(index % self._ends[-1], self._ends)
        frames = self.config.frames
        one = self.clips[clip]
        chosen, interval = draw_frames(frames, centre, len(one), number=one.number, generator=generator)
        if one.context is not None:
            chosen = draw_context(chosen, one.mapped, len(one.context), interval, generator=generator)
        return {"clip": clip, **_told(chosen), **self.config.patch.draw(generator=generator)}

    def make(self, drawn: Drawn) -> Sample:
        """Return the sample.

        Raises:
            InputError: A file is damaged, in colours, or of another size.
        """
        return tensors(patch(frames_of(self.clips[drawn["clip"]], drawn), drawn, self.config.patch))


@dataclass(frozen=True)
class PairValidation(Samples):
    """Whole frames of paired clips, each at its own place: nothing is drawn.

    Attributes:
        clips: Of both cameras.
        config: How frames are chosen.
        centres: Clip and frame of each sample.
    """

    clips: tuple[PairedClip, ...]
    config: PairsConfig
    centres: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, clips: Sequence[PairedClip], config: PairsConfig) -> PairValidation:
        """Take at most `config.limit` frames, spread evenly over all."""
        every = [(k, i) for k, clip in enumerate(clips) for i in range(len(clip))]
        chosen = np.unique(np.linspace(0, len(every) - 1, min(config.limit, len(every))).round().astype(int))
        return cls(tuple(clips), config, tuple(every[i] for i in chosen))

    def __len__(self) -> int:
        return len(self.centres)

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Return which frames; nothing is random about them."""
        clip, centre = self.centres[index]
        one = self.clips[clip]
        chosen = frames_to_validate(self.config.frames, centre, len(one))
        if one.context is not None:
            chosen = Chosen(_around(one.mapped[centre], len(chosen.coarse), len(one.context)), chosen.sharp, centre)
        return {"clip": clip, **_told(chosen)}

    def make(self, drawn: Drawn) -> Sample:
        """Return the sample (errors as of :meth:`PairSamples.make`)."""
        return tensors(whole(frames_of(self.clips[drawn["clip"]], drawn)))


def open_pairs(config: PairsConfig) -> tuple[PairSamples, PairValidation | None]:
    """Open the samples to train and to validate on.

    Raises:
        UsageError: No folders are named.
        InputError: They cannot be used.
    """
    if config.sharp is None or config.coarse is None:
        raise UsageError(
            "the folders of both cameras are to be named",
            remedy="give recipe.pairs.sharp and recipe.pairs.coarse, or recipe.source runs",
        )
    clips = open_clips(
        config.sharp, config.coarse, meta=config.meta, context=config.context, context_map=config.context_map
    )
    if config.validation_sharp is not None and config.validation_coarse is not None:
        validation = open_clips(config.validation_sharp, config.validation_coarse, meta=config.validation_meta)
        seen = {one.sharp.paths[0].resolve() for one in validation}
        share = 0.0  # a published partition is left out of training all the same
    else:
        validation, seen, share = None, set(), config.held_out
    out = held_out([one.name for one in clips], config.partition, share=share, seed=config.part_seed)
    train = [one for one in clips if one.name not in out and one.sharp.paths[0].resolve() not in seen]
    if validation is None:
        validation = [one for one in clips if one.name in out]
    generator = np.random.default_rng(config.part_seed)
    train = [one for one in train if config.part >= 1 or generator.random() < config.part]
    if not train:
        raise InputError(
            "no clip is left to train on", path=config.sharp, remedy="choose another partition, or a larger part"
        )
    return PairSamples(tuple(train), config), PairValidation.of(validation, config) if validation else None


def frames_of(clip: PairedClip, drawn: Drawn) -> FrameSet:
    """Return the frames that were drawn, whole.

    Raises:
        InputError: Frames of different sizes.
    """
    source: Pictures = clip.coarse if clip.context is None else clip.context
    coarse = _stacked(source, drawn["coarse"])
    sharp = _stacked(clip.sharp, [*drawn["sharp"], drawn["centre"]])
    return FrameSet(coarse, sharp[:2], sharp[2:])


def _stacked(pictures: Pictures, indices: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    frames = [pictures.unit(i) for i in indices]
    for i, frame in zip(indices, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise InputError(
                f"has {frame.shape[0]} x {frame.shape[1]} pixels, {pictures.paths[indices[0]].name}"
                f" {frames[0].shape[0]} x {frames[0].shape[1]}",
                path=pictures.paths[i],
            )
    return np.stack(frames)


def _place(position: int, ends: Sequence[int]) -> tuple[int, int]:
    clip = bisect_right(ends, position)
    return clip, position - (ends[clip - 1] if clip else 0)


def _told(chosen: Chosen) -> dict[str, Any]:
    return {"coarse": list(chosen.coarse), "sharp": list(chosen.sharp), "centre": chosen.centre}


def _around(middle: int, frames: int, total: int) -> tuple[int, ...]:
    """Return so many neighbouring frames, clamped to the recording."""
    return tuple(min(max(middle + k - frames // 2, 0), total - 1) for k in range(frames))
