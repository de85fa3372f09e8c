"""Training samples from simulation: two frames, and exactly what lies between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError, UsageError
from .angiography import AngiographyConfig
from .echo import EchoConfig
from .params import Range, uniform
from .scenes import SCENES, Images, SceneConfig, as_stills, draw, parse, render
from .still import StillConfig


@dataclass(frozen=True)
class PairsConfig:
    """What pairs are drawn.

    Attributes:
        length: Samples of one epoch.
        size: ``(row, column)`` of every frame, whatever the scenes say.
        times: Where targets lie between the frames, in [0, 1]; or None for random ones.
        random_times: How many targets, where times are random; they increase.
        gap: Frame intervals between the two frames, least and greatest; not only whole ones.
        mix: Weight of each scene; a scene that is left out is not drawn.
        angiography: What is drawn of that scene.
        echo: What is drawn of that scene.
        still: What is drawn of that scene.
        noisy_targets: Whether targets too have the noise of acquisition, which nobody can predict.
        reverse: Chance that time runs backwards.
    """

    length: int = 10_000
    size: tuple[int, int] = (256, 256)
    times: tuple[float, ...] | None = (0.5,)
    random_times: int = 1
    gap: Range = (1.0, 4.0)
    mix: Mapping[str, float] = field(default_factory=lambda: {"angiography": 1.0, "echo": 1.0})
    angiography: AngiographyConfig = AngiographyConfig()
    echo: EchoConfig = EchoConfig()
    still: StillConfig = StillConfig()
    noisy_targets: bool = False
    reverse: float = 0.0


class SimulatedPairs:
    """A source of samples that needs no files (`scanweave.training.Samples`).

    A sample is ``frame0`` and ``frame1`` ``(3, row, column)``, ``targets`` ``(N, 3, row, column)`` and ``times``
    ``(N,)``: float32, RGB in [0, 1].

    Args:
        config: What is drawn.
        images: Images, where the mix has that scene.

    Raises:
        UsageError: The configuration cannot give samples.
        InputError: Stills are asked for, and none is given.
    """

    def __init__(self, config: PairsConfig | None = None, *, images: Images = ()) -> None:
        self.config = config = config or PairsConfig()
        _check(config, images)
        self._images = as_stills(images)
        self._names = sorted(config.mix)
        weights = np.array([config.mix[name] for name in self._names], dtype=np.float64)
        self._chances = weights / weights.sum()
        self._scenes: dict[str, SceneConfig] = {
            "angiography": replace(config.angiography, size=config.size),
            "echo": replace(config.echo, size=config.size),
            "still": replace(config.still, size=config.size),
        }

    def __len__(self) -> int:
        return self.config.length

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Return what decides a sample: the run, the times of its frames, and where targets lie between.

        Args:
            index: Which sample; only a name here, since all randomness comes from `generator`.
            generator: Where all randomness comes from.
        """
        config = self.config
        name = self._names[int(generator.choice(len(self._names), p=self._chances))]
        params = draw(self._scenes[name], images=self._images, generator=generator)
        gap = params["frame_interval"] * uniform(config.gap, generator=generator)
        first = params["start"] + generator.uniform() * max(params["duration"] - gap, 0.0)
        ends = [float(first), float(first + gap)]
        if generator.random() < config.reverse:
            ends.reverse()
        if config.times is None:
            times = sorted(float(time) for time in generator.uniform(size=config.random_times))
        else:
            times = list(config.times)
        return {"index": index, "params": params, "ends": ends, "times": times}

    def make(self, drawn: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the sample that `drawn` decides.

        Raises:
            InputError: It was drawn for other stills, or is damaged.
        """
        try:
            scene, times, (start, end) = parse(drawn["params"]), drawn["times"], drawn["ends"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("this is no drawn simulation", remedy="give what `draw` gave") from error
        moments = [start, *(start + time * (end - start) for time in times), end]
        noise = [True, *[self.config.noisy_targets] * len(times), True]
        frames = _as_rgb(render(scene, moments, images=self._images, noise=noise))
        return {
            "frame0": frames[0],
            "frame1": frames[-1],
            "targets": frames[1:-1],
            "times": torch.tensor(times, dtype=torch.float32),
        }


def _as_rgb(frames: NDArray[np.float32]) -> Tensor:
    """Return ``(time, row, column[, 3])`` as ``(time, 3, row, column)``."""
    tensor = torch.from_numpy(frames)
    if tensor.ndim == 3:
        return tensor[:, None].repeat(1, 3, 1, 1)
    return tensor.permute(0, 3, 1, 2).contiguous()


def _check(config: PairsConfig, images: Images) -> None:
    unknown = sorted(set(config.mix) - set(SCENES))
    if unknown:
        raise UsageError(f"no scene is named {unknown[0]!r}", remedy=f"known are {', '.join(SCENES)}")
    if not config.mix or min(config.mix.values()) < 0 or sum(config.mix.values()) <= 0:
        raise UsageError("the mix has no scene", remedy="give at least one scene a positive weight")
    if "still" in config.mix and not images:
        raise InputError("no still images to move", remedy="give at least one, or leave the scene out of the mix")
    if config.length < 1 or min(config.size) < 16:
        raise UsageError(
            f"{config.length} samples of {config.size} pixels cannot be made",
            remedy="ask for at least one sample of at least 16 x 16 pixels",
        )
    if config.times is None and config.random_times < 1:
        raise UsageError("a sample needs a target", remedy="set random_times to at least 1")
    if config.times is not None and not (config.times and all(0 <= time <= 1 for time in config.times)):
        raise UsageError(f"target times {config.times} do not lie in [0, 1]")
    if not 0 < config.gap[0] <= config.gap[1]:
        raise UsageError(f"gaps from {config.gap[0]} to {config.gap[1]} frame intervals are none")
