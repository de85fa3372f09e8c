"""Training samples of fusion from nothing: scenes of `scanweave.simulate.radiography` before two cameras.

The unit of time is the interval of the sharp camera: its frames around the moment are taken at 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor

from ..models.block_fusion import SCALE
from ..simulate.cameras import simulate_pair
from ..simulate.params import Range, new_seed, stream, uniform
from ..simulate.radiography import RadiographyConfig, RadiographyParams
from ..training.samples import Samples
from .flow import flow_between, moved_to
from .noise import Noise, contrast_of

_OTHERS = (-1.0, 2.0)  # moments of further sharp frames
_CALM = 0.25  # variance, in units, that no target's is counted below
_PREDICTED = 1 / SCALE**2  # share of the noise of a sharp frame that the coarse one tells, where it shows the same

Plane = NDArray[np.float32]


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SimulationConfig:
    """What is simulated."""

    side: int = Field(default=96, ge=32, multiple_of=16)
    """Sides of sharp frames, pixels."""

    fastest: float = Field(default=40.0, gt=1)
    """Pixels that the fastest things move between two sharp frames."""

    ratio: Range = (2.0, 40.0)
    """Least and greatest number of coarse frames for each sharp one."""

    noise: Range = (0.002, 0.1)
    """Least and greatest standard deviation of a sharp frame's noise, as a share of its brightness."""

    calm: float = Field(default=0.07, ge=0, le=1)
    """Share of samples without noise."""

    same: float = Field(default=0.8, ge=0, le=1)
    """Share of samples whose coarse frames are made of noisy sharp ones, as in virtual experiments; of the others,
    both cameras count photons of their own."""

    perfect: float = Field(default=0.6, ge=0, le=1)
    """Share of samples whose coarse camera adds neither blur nor noise, and lies exactly."""

    others: float = Field(default=0.6, ge=0, le=1)
    """Share of samples with further sharp frames of the run."""

    length: int = Field(default=100_000, ge=1)
    """Samples of one epoch."""

    validation_length: int = Field(default=64, ge=0)
    """Samples to validate on, always the same; 0 for no validation."""


@dataclass(frozen=True)
class SimulatedScenes(Samples):
    """Samples of what `scanweave.models.block_fusion` takes, and what it should make.

    A sample has the network's ``coarse``, ``sharp``, ``times`` and ``spread``, the ``target`` ``(1, row, column)``, and
    the mean variance ``unknown`` of what nobody can predict in a frame as recorded; all in units of the noise. The
    target has of its noise what follows from the coarse frame, if that shows the same noise.

    Attributes:
        config: What is simulated.
        length: Samples of one epoch.
    """

    config: SimulationConfig
    length: int

    def __len__(self) -> int:
        return self.length

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw a scene, the moments, the noise, and the coarse camera."""
        config = self.config
        scene = RadiographyConfig(size=(config.side, config.side), fastest=config.fastest)
        ratio = math.exp(uniform((math.log(config.ratio[0]), math.log(config.ratio[1])), generator=generator))
        perfect, same = generator.random() < config.perfect, generator.random() < config.same
        return {
            "scene": RadiographyParams.draw(scene, generator=generator).as_json(),
            "moment": min(max(round(generator.random() * ratio), 1), math.ceil(ratio) - 1) / ratio,
            "interval": 1 / ratio,
            "others": int(generator.choice([1, 2, 2, 4])) if generator.random() < config.others else 0,
            "noise": _draw_noise(config, generator=generator),
            "coarse": _perfect(same) if perfect else _draw_coarse(same, 1 / ratio, generator=generator),
            "seed": new_seed(generator),
        }

    def make(self, drawn: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the sample.

        Raises:
            InputError: These values were not drawn here.
        """
        moment, interval, others = drawn["moment"], drawn["interval"], drawn["others"]
        camera = drawn["coarse"]
        times = [0.0, 1.0, moment, moment - interval, moment + interval, *_OTHERS[: min(others, len(_OTHERS))]]
        if camera["late"]:
            times += [camera["late"], 1 + camera["late"]]
        clean = RadiographyParams.from_json(drawn["scene"]).render(times)
        slope, base = _variance(drawn["noise"], clean[0])
        noise = [_noise(frame, slope, base, drawn, time) for frame, time in zip(clean, times, strict=True)]
        noisy = [frame + part for frame, part in zip(clean, noise, strict=True)]
        seen = _coarse(clean if not camera["same"] else np.stack(noisy), camera, drawn["seed"], slope, base)
        known = Noise.of(slope, base, variance=float(slope * clean[0].mean() + base), contrast=contrast_of(clean[0]))
        unit = known.unit * drawn["noise"]["told"]
        ends = (-2, -1) if camera["late"] else (0, 1)
        sharp = _candidates(noisy, noise, clean, moment, others)
        target, share = clean[2], 0.0
        if camera["same"] and camera["perfect"]:
            target, share = target + _told(noise[2], clean[2], slope, base), _PREDICTED
        unknown = (slope * float(clean[2].mean()) + base) * (1 - share) / unit**2
        return {
            "coarse": torch.from_numpy(np.stack([seen[k] for k in (3, 2, 4, *ends)]) / np.float32(unit))[:, None],
            "sharp": sharp / unit,
            "times": torch.tensor([moment, interval, float(others)]),
            "spread": known.spread(torch.from_numpy(seen[2])[None]),
            "target": torch.from_numpy((target / np.float32(unit)).astype(np.float32))[None],
            "unknown": torch.tensor(max(unknown, _CALM), dtype=torch.float32),
        }


def _draw_noise(config: SimulationConfig, *, generator: np.random.Generator) -> dict[str, float]:
    """Draw the noise: its strength, how much of it is of photons, how alike neighbours are, and what is told of it."""
    strength = math.exp(uniform((math.log(config.noise[0]), math.log(config.noise[1])), generator=generator))
    wrong = uniform((0.9, 1.15), generator=generator)
    return {
        "strength": 0.0 if generator.random() < config.calm else strength,
        "photons": float(generator.choice([0, 1, uniform((0, 1), generator=generator)], p=(0.15, 0.45, 0.4))),
        "alike": uniform((0, 0.15), generator=generator) if generator.random() < 0.7 else 0.0,
        "told": wrong * uniform((1, 2), generator=generator) if generator.random() < 0.1 else wrong,
    }


def _perfect(same: bool) -> dict[str, Any]:
    return {"same": same, "perfect": True, "blur": 0.0, "noise": 0.0, "offset": [0.0, 0.0], "gain": 1.0, "late": 0.0}


def _draw_coarse(same: bool, interval: float, *, generator: np.random.Generator) -> dict[str, Any]:
    """Draw what is not ideal about a coarse camera; its noise is relative to the mean of a block."""
    noise = math.exp(generator.uniform(math.log(0.2), math.log(6)))
    offset = generator.normal(0, 0.5, 2) if generator.random() < 0.5 else np.zeros(2)
    late = generator.uniform(-0.5, 0.5) * interval if generator.random() < 0.4 else 0.0
    return {
        "same": same,
        "perfect": False,
        "blur": uniform((0, 0.8), generator=generator) if generator.random() < 0.6 else 0.0,
        "noise": noise if generator.random() < 0.7 else 0.0,
        "offset": [float(offset[0]), float(offset[1])],
        "gain": 1 + float(generator.normal(0, 0.01)),
        "late": float(late),
    }


def _variance(noise: Mapping[str, float], frame: Plane) -> tuple[float, float]:
    """Return slope and base of the variance: relative to the mean brightness, of photons and of others."""
    mean = float(frame.mean())
    variance = (noise["strength"] * mean) ** 2
    return noise["photons"] * variance / mean, (1 - noise["photons"]) * variance


def _noise(frame: Plane, slope: float, base: float, drawn: Mapping[str, Any], time: float) -> Plane:
    """Return the noise of a frame; frames of one moment have one noise."""
    if slope == base == 0:
        return np.zeros_like(frame)
    generator = stream(drawn["seed"], "noise", time=round(time, 9))
    white = generator.standard_normal(frame.shape, dtype=np.float32)
    alike = drawn["noise"]["alike"]
    if alike:  # a kernel of three with sides s has neighbours alike by 2 s / (1 + 2 s^2)
        beside = (1 - math.sqrt(max(1 - 2 * alike * alike, 0))) / (2 * alike)
        kernel = np.array([beside, 1, beside], np.float32) / np.float32(math.sqrt(1 + 2 * beside * beside))
        for axis in (0, 1):
            white = _filtered(white, kernel, axis)
    if slope and base == 0 and float(frame.mean()) / slope < 50:  # few photons: their number is no normal one
        return np.asarray(generator.poisson(np.maximum(frame, 0) / slope) * slope - frame, np.float32)
    return np.asarray(white * np.sqrt(np.maximum(slope * frame + base, 0)), np.float32)


def _filtered(white: Plane, kernel: Plane, axis: int) -> Plane:
    sides = np.roll(white, 1, axis) + np.roll(white, -1, axis)
    return np.asarray(kernel[1] * white + kernel[0] * sides, np.float32)


def _coarse(frames: Plane, camera: Mapping[str, Any], seed: int, slope: float, base: float) -> Plane:
    """Return frames as the coarse camera records them, on blocks of the sharp one."""
    x, y = camera["offset"]
    sigma = 0.0
    if camera["noise"] or not camera["same"]:
        own = 1.0 if not camera["same"] and not camera["noise"] else camera["noise"]
        sigma = own * math.sqrt(max(slope * float(frames[0].mean()) + base, 0.0)) / SCALE
    pair = simulate_pair(
        frames,
        ratio=1,
        scale=float(SCALE),
        blur=camera["blur"],
        noise=sigma,
        offset=(x, y),
        gain=camera["gain"],
        generator=stream(seed, "coarse") if sigma else None,
    )
    return pair.coarse


def _candidates(noisy: list[Plane], noise: list[Plane], clean: Plane, moment: float, others: int) -> Tensor:
    """Return the frames before and after, both moved to the moment, and the mean of others, ``(5, 1, row, column)``."""
    before, after = (torch.from_numpy(np.ascontiguousarray(frame))[None, None] for frame in noisy[:2])
    moved = moved_to(moment, before, after, flow_between(before, after), flow_between(after, before))
    count = min(others, len(_OTHERS))
    mean = np.zeros_like(noisy[0])
    if others:  # more frames than are rendered have less noise
        calmer = math.sqrt(count / others)
        mean = np.mean([clean[5 + k] + calmer * noise[5 + k] for k in range(count)], axis=0, dtype=np.float32)
    return torch.cat([before, after, *moved, torch.from_numpy(mean)[None, None]])


def _told(noise: Plane, clean: Plane, slope: float, base: float) -> Plane:
    """Return the noise that is expected of each pixel where only that of its block is known.

    Of a block's noise each pixel has a share by its variance.
    """
    variance = torch.from_numpy(np.maximum(slope * clean + base, 0))[None, None]
    total = SCALE**2 * F.avg_pool2d(variance, SCALE)
    block = SCALE**2 * F.avg_pool2d(torch.from_numpy(noise)[None, None], SCALE)
    share = F.interpolate(block / total.clamp_min(1e-20), scale_factor=SCALE, mode="nearest")
    return np.asarray((variance * share)[0, 0].numpy(), np.float32)
