"""U, what benchmarks count time in: one 64-to-64 3 x 3 convolution on 1 x 64 x 256 x 256 float32 on this machine."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

Clock = Callable[[], float]


def clock_of(*, cpu_time: bool) -> Clock:
    """Return what counts processor seconds, which stand noise from other programs (use one thread), or wall seconds."""
    return time.process_time if cpu_time else time.perf_counter


def seconds(run: Callable[[], object], clock: Clock) -> float:
    start = clock()
    run()
    return clock() - start


def peak_gigabytes() -> float:
    """Return the peak memory of this process.

    On Linux not what `resource` says, which a process inherits from the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


@dataclass(frozen=True)
class Taken:
    """What a run took: the median of its seconds, the best seconds of U between, and the process's peak memory."""

    seconds: float
    unit: float
    gigabytes: float

    @property
    def units(self) -> float:
        """The run in U."""
        return self.seconds / self.unit


def measured(run: Callable[[], object], *, repeats: int, clock: Clock, gradients: bool = False) -> Taken:
    """Take the time of `run` by turns with U, so that machines and their moods cancel, after one run untimed."""
    unit, image = nn.Conv2d(64, 64, 3, padding=1), torch.rand(1, 64, 256, 256)
    units, runs = [], []
    for turn in range(repeats + 1):
        with torch.inference_mode(not gradients):
            taken = seconds(run, clock)
        with torch.inference_mode():
            units += [seconds(lambda: unit(image), clock) for _ in range(3)]
        runs += [taken] if turn else []
    return Taken(statistics.median(runs), min(units), peak_gigabytes())
