"""Training samples of virtual experiments: any recording, or a simulated scene, stands for both cameras.

Sharp frames are `ratio` frames apart; a frame anywhere between two of them is made, from these and the coarse frames
around it. Nothing is prepared: the coarse frames are those that `scanweave.simulate.cameras` makes of the patch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from ..errors import InputError, UsageError
from ..io import inputs_in
from ..simulate.cameras import simulate_pair
from ..simulate.params import Range, new_seed, uniform
from ..simulate.radiography import RadiographyConfig, RadiographyParams
from ..training.samples import Drawn, Sample, Samples
from .clips import held_out
from .frames import Field as LightField
from .frames import Frames
from .patches import SCALE, FrameSet, PatchConfig, Plane, corner_of, counted, patch, tensors
from .reading import read_camera

_UNIT = 16  # what sides of sharp frames are multiples of


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CamerasConfig:
    """What the two virtual cameras are; each range is drawn from anew for each sample."""

    ratio: tuple[int, int] = (4, 40)
    """Least and greatest number of coarse frames for each sharp one; short ones are as likely as long ones."""

    coarse: int = Field(default=3, ge=1)
    """Coarse frames, an odd number."""

    scale: float = Field(default=4.0, ge=1)
    """Sharp pixels in the side of a coarse one. Of other than 4, coarse frames are sampled on blocks of 4 x 4 sharp
    pixels, as `scanweave fuse` does."""

    blur: Range = (0.0, 0.0)
    """Standard deviation of the coarse camera's own blur, in coarse pixels."""

    noise: Range = (0.0, 0.0)
    """Standard deviation of normal noise in coarse frames, relative to white."""

    shift: float = Field(default=0.0, ge=0)
    """Standard deviation of an error of registration along rows and columns, in sharp pixels."""

    def __post_init__(self) -> None:
        """Refuse what cameras cannot have.

        Raises:
            UsageError: As said.
        """
        if not 2 <= self.ratio[0] <= self.ratio[1] or self.coarse % 2 == 0:
            raise UsageError(f"ratios {self.ratio} and {self.coarse} coarse frames", remedy="from 2 up, and odd")
        if min(*self.blur, *self.noise) < 0 or self.blur[0] > self.blur[1] or self.noise[0] > self.noise[1]:
            raise UsageError(f"blur {self.blur} and noise {self.noise} are no ranges from 0 up")

    def draw(self, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw what the coarse camera is like."""
        return {
            "blur": uniform(self.blur, generator=generator),
            "noise": uniform(self.noise, generator=generator),
            "offset": [float(one) for one in self.shift * generator.standard_normal(2)],
        }

    def draw_ratio(self, *, generator: np.random.Generator) -> int:
        """Draw how many coarse frames there are for each sharp one."""
        low, high = self.ratio
        return min(int(math.exp(generator.uniform(math.log(low), math.log(high + 1)))), high)


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RunsConfig:
    """Recordings of one camera, and the virtual cameras that they stand for."""

    path: Path | None = None
    """A recording, or a folder of some: TIFF stacks, HDF5, folders of pictures, whatever `scanweave fuse` reads."""

    validation: Path | None = None
    """Recordings to validate on, in place of some held out."""

    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the recordings that is held out to validate on, whole; 0 for no validation."""

    seed: int = 0
    """Decides which these are."""

    enlarge: int = Field(default=1, ge=1)
    """Each frame comes so often in an epoch."""

    limit: int = Field(default=64, ge=1)
    """Validate on at most so many frames, spread evenly over all."""

    cameras: CamerasConfig = CamerasConfig()
    """The virtual cameras."""

    patch: PatchConfig = PatchConfig()
    """How frames are cut and turned, and noise of counting photons."""


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ScenesConfig:
    """Simulated radiographs, and the cameras before them."""

    fastest: float = Field(default=30.0, gt=1)
    """Pixels that the fastest things move between two sharp frames."""

    length: int = Field(default=100_000, ge=1)
    """Samples of one epoch."""

    validation_length: int = Field(default=32, ge=0)
    """Samples to validate on, always the same; 0 for no validation."""

    cameras: CamerasConfig = CamerasConfig()
    """The virtual cameras."""

    patch: PatchConfig = PatchConfig(side=96)
    """Sides of the scene, turns, and noise of counting photons."""


class LeftOutWarning(UserWarning):
    """Frames of a recording show nothing, and no sample is made of them."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One camera's run, and which of its frames show something.

    Attributes:
        frames: The run.
        usable: Of each frame, whether it can be used.
    """

    frames: Frames
    usable: NDArray[np.bool_]

    def distances(self, centre: int, ratio: int) -> NDArray[np.int64]:
        """Return how far before frame `centre` the first of two usable sharp frames can lie that enclose it."""
        last = len(self.frames) - 1
        # the sharp frame before is so far away that the one after lies in the run, too
        found = np.arange(max(1, centre + ratio - last), min(ratio - 1, centre) + 1)
        return found[self.usable[centre - found] & self.usable[centre - found + ratio]]

    def ratios(self, centre: int, cameras: CamerasConfig) -> Iterator[int]:
        """Yield the ratios for which there are such frames."""
        for ratio in range(cameras.ratio[0], min(cameras.ratio[1], len(self.frames) - 1) + 1):
            if self.distances(centre, ratio).size:
                yield ratio

    def centres(self, cameras: CamerasConfig) -> list[int]:
        """Return the frames that can be made: all coarse ones around them, and sharp ones, are usable."""
        half = cameras.coarse // 2
        every = range(max(half, 1), len(self.frames) - max(half, 1))
        whole = (i for i in every if self.usable[i - half : i + half + 1].all())
        return [i for i in whole if next(self.ratios(i, cameras), None) is not None]


@dataclass(frozen=True)
class RunSamples(Samples):
    """Patches of virtual experiments, or whole frames to validate on; keys as of `scanweave.fusion.pairs`.

    Attributes:
        runs: The recordings.
        config: Cameras and patches.
        centres: For validation: run and frame of each sample. None draws.
    """

    runs: tuple[Recording, ...]
    config: RunsConfig
    centres: tuple[tuple[int, int], ...] | None = None

    @classmethod
    def to_validate(cls, runs: Sequence[Recording], config: RunsConfig) -> RunSamples:
        """Return whole frames of recordings, at most `config.limit`, spread evenly over all."""
        made = cls(tuple(runs), config)
        every = made._places
        chosen = np.unique(np.linspace(0, len(every) - 1, min(config.limit, len(every))).round().astype(int))
        return replace(made, centres=tuple(every[i] for i in chosen))

    def __len__(self) -> int:
        return len(self._places) * self.config.enlarge if self.centres is None else len(self.centres)

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        cameras = self.config.cameras
        return [(run, centre) for run, one in enumerate(self.runs) for centre in one.centres(cameras)]

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw the sharp frames around one, the coarse camera, and the patch; to validate, no patch, whole frames."""
        config = self.config.cameras
        run, centre = self._places[index % len(self._places)] if self.centres is None else self.centres[index]
        ratio = config.draw_ratio(generator=generator)
        distances = self.runs[run].distances(centre, ratio)
        if not distances.size:
            # the run is too short, or frames of this ratio are left out
            ratio = min(self.runs[run].ratios(centre, config), key=lambda one: abs(one - ratio))
            distances = self.runs[run].distances(centre, ratio)
        before = int(distances[generator.integers(len(distances))])
        sharp = [centre - before, centre - before + ratio]
        drawn = {"run": run, "centre": centre, "sharp": sharp} | config.draw(generator=generator)
        cut = self.config.patch.draw(generator=generator)
        # validated on what is trained for: the same cameras and as few photons
        return drawn | (cut if self.centres is None else {name: cut[name] for name in ("photons", "seed")})

    def make(self, drawn: Drawn) -> Sample:
        """Return the sample.

        Raises:
            InputError: A frame that cannot be read any more.
        """
        run, half, config = self.runs[drawn["run"]].frames, self.config.cameras.coarse // 2, self.config
        around = range(drawn["centre"] - half, drawn["centre"] + half + 1)
        frames = np.stack([_whole_blocks(run.unit(i)) for i in (*around, *drawn["sharp"])])
        return _seen(frames, drawn, config.cameras, config.patch if self.centres is None else None)


@dataclass(frozen=True)
class SceneSamples(Samples):
    """Simulated radiographs before both cameras; keys as of `scanweave.fusion.pairs`.

    Attributes:
        config: What is simulated.
        length: Samples of one epoch.
    """

    config: ScenesConfig
    length: int

    def __len__(self) -> int:
        return self.length

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw a scene, a moment between two sharp frames, the coarse camera, and turns."""
        config = self.config
        side = config.patch.side
        scene = RadiographyConfig(size=(side, side), fastest=config.fastest)
        ratio = config.cameras.draw_ratio(generator=generator)
        return {
            "scene": RadiographyParams.draw(scene, generator=generator).as_json(),
            "moment": int(generator.integers(1, ratio)) / ratio,
            "interval": 1 / ratio,
            **config.cameras.draw(generator=generator),
            **config.patch.draw(generator=generator),
            "seed": new_seed(generator),
        }

    def make(self, drawn: Drawn) -> Sample:
        """Return the sample.

        Raises:
            InputError: These values were not drawn here.
        """
        cameras = self.config.cameras
        steps = np.arange(cameras.coarse) - cameras.coarse // 2
        times = [drawn["moment"] + float(step) * drawn["interval"] for step in steps]
        frames = RadiographyParams.from_json(drawn["scene"]).render([*times, 0.0, 1.0])
        return _seen(frames, drawn, cameras, self.config.patch)


def open_runs(config: RunsConfig) -> tuple[RunSamples, RunSamples | None]:
    """Open the recordings to train and to validate on.

    Raises:
        UsageError: None are named, or one that cannot be shared between training and validation.
        InputError: They cannot be used.
    """
    if config.path is None:
        raise UsageError("no recordings are named", remedy="give recipe.runs.path")
    found = _opened(config.path, config)
    if config.validation is not None:
        return RunSamples(tuple(found.values()), config), RunSamples.to_validate(
            list(_opened(config.validation, config).values()), config
        )
    if len(found) < 2 and config.held_out > 0:
        raise UsageError(
            "one recording cannot both train and validate",
            path=config.path,
            remedy="give recipe.runs.validation, or recipe.runs.held_out 0",
        )
    out = held_out(list(found), "share", share=config.held_out, seed=config.seed)
    train, others = ([run for name, run in found.items() if (name in out) is kept] for kept in (False, True))
    return RunSamples(tuple(train), config), RunSamples.to_validate(others, config) if others else None


def open_scenes(config: ScenesConfig) -> tuple[SceneSamples, SceneSamples | None]:
    """Return simulated samples to train and to validate on."""
    count = config.validation_length
    return SceneSamples(config, config.length), SceneSamples(config, count) if count else None


def _opened(path: Path, config: RunsConfig) -> dict[str, Recording]:
    paths = inputs_in(path) if path.is_dir() else [path]
    runs: dict[str, Recording] = {}
    for one in paths:
        run = read_camera(one, "sharp")
        rows, columns = run.cine.shape[:2]
        frames = Frames.of(run.cine, "sharp", field=LightField.of((rows, columns), dark=run.dark, flat=run.flat))
        if len(frames) <= max(config.cameras.ratio[0], 2) or min(frames.shape) < _UNIT:
            raise InputError(
                f"{len(frames)} frames of {rows} x {columns} pixels are no virtual experiment of ratio"
                f" {config.cameras.ratio[0]}",
                path=one,
                remedy="leave it out, or set recipe.runs.cameras.ratio lower",
            )
        runs[str(one)] = _looked_through(frames, one, config.cameras)
    if not runs:
        raise InputError("holds no recordings", path=path, remedy="give TIFF stacks, HDF5 or folders of pictures")
    return runs


def _looked_through(frames: Frames, path: Path, cameras: CamerasConfig) -> Recording:
    """Return a recording without its frames that are damaged, dead or saturated; warns of them.

    Raises:
        InputError: No sample is left.
    """
    faults = {i: fault for i in range(len(frames)) if (fault := _fault(frames, i)) is not None}
    run = Recording(frames, ~np.isin(np.arange(len(frames)), list(faults)))
    if not faults:
        return run
    centres = len(run.centres(cameras))
    first = next(iter(faults.values())).reason
    if not centres:
        raise InputError(
            f"{len(faults)} of {len(frames)} frames show nothing ({first}), and those left are no virtual experiment",
            path=path,
            remedy="leave the recording out",
        )
    warnings.warn(
        f"{path}: {len(faults)} of {len(frames)} frames are left out ({first}); {centres} can be learnt from",
        LeftOutWarning,
        stacklevel=2,
    )
    return run


def _fault(frames: Frames, i: int) -> InputError | None:
    try:
        frames.unit(i)
    except InputError as fault:
        return fault
    return None


def _whole_blocks(frame: Plane) -> Plane:
    """Return a frame without the rows and columns beyond whole blocks of coarse pixels."""
    rows, columns = (n // _UNIT * _UNIT for n in frame.shape)
    return frame[:rows, :columns]


def _seen(frames: Plane, drawn: Drawn, cameras: CamerasConfig, cutting: PatchConfig | None) -> Sample:
    """Return what both cameras see of frames around the centre, then those before and after it."""
    count = cameras.coarse
    around, sharp, target = frames[:count], frames[count:], frames[count // 2][None]
    if cutting is not None:
        # on one grid until here: cut alike, then the coarse camera looks
        made = _cut_alike(FrameSet(around, sharp, target), drawn, cutting)
        around, sharp, target = made.coarse, made.sharp, made.target
    generator = np.random.default_rng(drawn["seed"])
    coarse = coarse_of(
        around, scale=cameras.scale, blur=drawn["blur"], noise=drawn["noise"],
        offset=(drawn["offset"][0], drawn["offset"][1]), generator=generator,
    )  # fmt: skip
    made = FrameSet(coarse, np.asarray(sharp, np.float32), np.asarray(target, np.float32))
    if cutting is not None:
        return tensors(patch(made, {**drawn, "place": [0.0, 0.0]}, cutting))
    if drawn["photons"] is not None:
        made = made._replace(coarse=counted(coarse, drawn["photons"], generator))
    return tensors(made)


def _cut_alike(frames: FrameSet, drawn: Drawn, cutting: PatchConfig) -> FrameSet:
    """Cut the patch that was drawn from frames that are all on the sharp grid."""
    row, column = (SCALE * one for one in corner_of(frames, drawn, cutting))
    return FrameSet(*(planes[:, row : row + cutting.side, column : column + cutting.side] for planes in frames))


def coarse_of(
    frames: Plane,
    *,
    scale: float,
    blur: float,
    noise: float,
    offset: tuple[float, float],
    generator: np.random.Generator,
) -> Plane:
    """Return what a coarse camera records of frames ``(n, H, W)``, on blocks of 4 x 4 sharp pixels."""
    rows, columns = (n // SCALE for n in frames.shape[1:])
    seen = simulate_pair(
        frames, ratio=1, scale=scale, blur=blur, noise=noise, offset=offset, generator=generator
    ).coarse
    if scale == SCALE:
        return seen
    parts = max(1, round(SCALE / scale))
    step = SCALE / parts / scale  # from one sample to the next, in coarse pixels
    into = np.array([[step, 0, step / 2 - 0.5], [0, step, step / 2 - 0.5]])
    size = (columns * parts, rows * parts)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sampled = [cv2.warpAffine(one, into, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for one in seen]
    return np.asarray(np.stack(sampled).reshape(-1, rows, parts, columns, parts).mean(axis=(2, 4)), np.float32)
