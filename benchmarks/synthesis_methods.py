"""The methods of `scanweave synthesize` on simulated brains: how near to the truth, how fast, with how much memory.

Called by ``python benchmarks/synthesis.py --methods``. Each method runs in a process of its own, whose peak memory is
told (drawing and scoring the brains takes 0.7 GB). The brains are drawn from the ICBM maps that nilearn has; see
``scanweave evaluate synthesis`` for one's own volumes, over many subjects and with intervals. "Fitted" is after the one
scale and offset that suit best: a contrast that a person has not has no scale, and methods that see no example of it
cannot know which one the simulation drew.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from units import peak_gigabytes

from scanweave.errors import UsageError
from scanweave.synthesis.config import TaskConfig
from scanweave.synthesis.evaluate import score
from scanweave.synthesis.held_out import HeldOut, made_again
from scanweave.synthesis.methods import create
from scanweave.synthesis.simulated import SimulatedSlices, SimulationConfig, Subject
from scanweave.volume import Volume

HEADER = (
    "| task | method | PSNR, dB | PSNR, fitted | SSIM | SSIM across slices | seconds a slice | peak GB |\n"
    + "| --- " * 8
    + "|"
)
TASKS = (
    HeldOut(sources=("T1",), target="T1", spacing=4, profile="gaussian"),
    HeldOut(sources=("T1", "FLAIR"), target="T2"),
    HeldOut(sources=("T1",), target="T2", spacing=4, profile="gaussian"),
)
SUPER_RESOLUTION = ("nearest", "linear", "b-spline")
CONTRASTS = ("histogram-matched", "regression")
SLICES, SIDE = 41, 160


@dataclass(frozen=True, kw_only=True)
class Run:
    """One method on one task."""

    held: HeldOut
    method: str
    weights: Path | None
    threads: int


def table(*, weights: Path | None = None, self_supervised: bool = False, threads: int = 1) -> list[str]:
    """Return the rows of the table of methods.

    Args:
        weights: Of uni-coal; without, it is left out.
        self_supervised: Whether that method, which takes minutes, is tried too.
        threads: Of PyTorch.
    """
    lines = []
    for held in TASKS:
        inside = held.target in held.sources
        names = [*(SUPER_RESOLUTION if inside else CONTRASTS)]
        names += ["self-supervised"] * (inside and self_supervised) + ["uni-coal"] * (weights is not None)
        for name in names:
            # a process of its own, so that its peak is that of this method
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                made = pool.submit(row, Run(held=held, method=name, weights=weights, threads=threads))
            try:
                lines.append(made.result())
            except UsageError as error:  # weights of another task
                print(f"{held.name}: {name} is left out: {error}", flush=True)
                continue
            print(lines[-1], flush=True)
    return lines


def row(run: Run) -> str:
    """Return one row: the method's result on a simulated person; three others are examples to learn from."""
    torch.set_num_threads(run.threads)
    people = [person(seed, SLICES if seed == 0 else 17) for seed in range(4)]
    mask = Volume.from_array((people[0]["T2"].voxels > 0).astype(np.uint8), affine=people[0]["T2"].affine)
    options: dict[str, Any] = {"weights": str(run.weights)} if run.method == "uni-coal" else {}
    if run.method in CONTRASTS:
        options = {"examples": tuple(people[1:])}
    begun = time.perf_counter()
    made, truth, units = made_again(people[0], run.held, create(run.method, **options))
    taken = time.perf_counter() - begun
    if run.method == "uni-coal":
        units = "target"  # its 0 to 255 are those of the simulation, which the percentiles of one brain are not
    found = score(made.volume, truth, mask=first(mask, truth), units=units)
    across = (found["ssim_coronal"] + found["ssim_sagittal"]) / 2
    return (
        f"| {run.held.name} | {run.method} | {found['psnr']:.2f} | {found['psnr_fitted']:.2f} | {found['ssim']:.4f} "
        f"| {across:.4f} | {taken / truth.grid.shape[0]:.3f} | {peak_gigabytes():.2f} |"
    )


def person(seed: int, slices: int) -> Mapping[str, Volume]:
    """Return the contrasts of a simulated person, on one grid of 1 mm."""
    task = TaskConfig(sources=("T1", "FLAIR"), targets=("T2",), slices=1, side=SIDE)
    config = SimulationConfig()
    drawn = SimulatedSlices(config, task, 1).draw(0, generator=np.random.default_rng(seed))
    subject = Subject(drawn, window=config.window)
    axes = [torch.arange(count) - (count - 1) / 2 for count in (slices, SIDE, SIDE)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    fractions, inside = subject.brain.fractions(points, spacing=(1.0, 1.0, 1.0))

    def scanned(name: str) -> Volume:
        scan = subject.spoilt(name, subject.shown(name, fractions, inside, points))
        return Volume.from_array((255 * scan).round().byte().numpy(), spacing=(1, 1, 1))

    return {name: scanned(name) for name in names_of(task)}


def names_of(task: TaskConfig) -> Sequence[str]:
    return (*task.sources, *task.targets)


def first(mask: Volume, truth: Volume) -> Volume:
    """Return as many slices of a mask as are judged."""
    return mask.with_voxels(mask.voxels[: truth.grid.shape[0]], grid=truth.grid)
