"""Which samples a step takes, and everything random about them: a pure function of (seed, step).

So no state of a sampler or of a random generator is ever kept, and a training that was stopped goes on exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from .samples import Drawn, Samples

# One seed gives independent streams for independent questions.
_PERMUTATION, _DRAW, _DROPOUT, _VALIDATION = range(4)


def _sequence(seed: int, stream: int, *numbers: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(stream, *numbers))


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, length: int) -> NDArray[np.intp]:
    return np.random.default_rng(_sequence(seed, _PERMUTATION, epoch)).permutation(length)


def seed_torch(seed: int, step: int, rank: int, *, device: torch.device) -> None:
    """Start torch's own generators, which dropout and the like draw from, anew for `step` in process `rank`."""
    number = int(_sequence(seed, _DROPOUT, step, rank).generate_state(1, np.uint64)[0] >> np.uint64(1))
    # not `torch.manual_seed`: for devices that are not in use it remembers whence it was called, in half a millisecond
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)


@dataclass(frozen=True, slots=True)
class Place:
    """One sample's place in a training.

    Attributes:
        position: Its number among all samples that the training takes, from 0.
        index: Its number in the source.
        drawn: What decides it.
    """

    position: int
    index: int
    drawn: Drawn


@dataclass(frozen=True)
class Order:
    """The order in which a training takes samples.

    Attributes:
        samples: Their source.
        seed: What decides the order and the draws.
        batch: Samples per step, over all processes.
        processes: Between how many processes a batch is divided.
        parts: In how many parts each of them takes its share.

    Raises:
        InputError: There are no samples.
        UsageError: Fewer samples than one batch has, or a batch that cannot be divided.
    """

    samples: Samples
    seed: int
    batch: int
    processes: int = 1
    parts: int = 1

    def __post_init__(self) -> None:
        """Check that every process gets samples in every step."""
        length = len(self.samples)
        if not length:
            raise InputError(
                "there are no samples to train on", remedy="check the folder or list that the recipe names"
            )
        if self.batch % (self.processes * self.parts):
            raise UsageError(
                f"a batch of {self.batch} cannot be divided between {self.processes} processes in {self.parts} parts",
                remedy="choose training.batch as a multiple of processes times training.accumulate",
            )
        if length < self.batch:
            fewer = f" and than the {self.processes} processes" if length < self.processes else ""
            raise UsageError(
                f"{length} samples are fewer than one batch of {self.batch}{fewer}",
                remedy="choose a smaller training.batch, fewer processes, or add samples",
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass; the last partial one is dropped."""
        return len(self.samples) // self.batch

    def place(self, position: int) -> Place:
        """Return which sample the training takes at `position`, and draw it."""
        step, offset = divmod(position, self.batch)
        epoch, step = divmod(step, self.steps_per_epoch)
        index = int(_permutation(self.seed, epoch, len(self.samples))[step * self.batch + offset])
        generator = np.random.default_rng(_sequence(self.seed, _DRAW, position))
        return Place(position, index, self.samples.draw(index, generator=generator))

    def share(self, step: int, rank: int, part: int) -> range:
        """Return the positions that process `rank` takes in `part` of `step`."""
        size = self.batch // (self.processes * self.parts)
        first = step * self.batch + (part * self.processes + rank) * size
        return range(first, first + size)

    def parts_of(self, rank: int, *, start: int, stop: int) -> Iterator[list[Drawn]]:
        """Yield what process `rank` makes, part by part, from step `start` up to step `stop`."""
        for step in range(start, stop):
            for part in range(self.parts):
                yield [self.place(position).drawn for position in self.share(step, rank, part)]

    def provenance(self, step: int) -> list[dict[str, Any]]:
        """Return what the batch of `step` was made of, over all processes: plain values to write down."""
        return [
            {"position": place.position, "index": place.index, "rank": rank, "part": part, "drawn": place.drawn}
            for part in range(self.parts)
            for rank in range(self.processes)
            for place in map(self.place, self.share(step, rank, part))
        ]


def validation_draw(samples: Samples, index: int, *, seed: int) -> Drawn:
    """Draw validation sample `index`: the same at every validation."""
    return samples.draw(index, generator=np.random.default_rng(_sequence(seed, _VALIDATION, index)))
