"""What both downstream protocols share: simulated hearts with labels, ways to deform them, scores with intervals.

Hearts are drawn anew from numbers: no two of different numbers have the same shape, pose, brightness or noise.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from monai.metrics import compute_dice
from monai.networks.nets import UNet
from monai.networks.utils import one_hot
from numpy.typing import NDArray
from torch import Tensor

from scanweave.deformation import Deformed, Method, create
from scanweave.deformation.elastic import FoldingWarning
from scanweave.metrics import bootstrap
from scanweave.simulate import (
    AcquisitionConfig,
    HeartConfig,
    HeartParams,
    draw_acquisition,
    draw_anatomy,
    image,
    labels,
)
from scanweave.volume import Volume

SIDE, SPACING = 64, 2.5  # pixels of a slice along each axis, and mm of a pixel
CLASSES = tuple(HeartParams.LABELS.values())
ARMS = ("elastic", "diffeomorphic", "drdm")
_HEIGHTS = (-0.2, 0.0, 0.2)  # of the slices of a heart, as parts of the length of its left ventricle
_OFF = 10.0  # mm that the heart may lie off the middle of a slice
BATCH, RATE = 8, 3e-3

Made = TypeVar("Made")

Scores = Mapping[str, NDArray[np.float64]]
"""By arm: one number for each held-out case, the same cases in the same order."""


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice across a heart, in [0, 1], and its labels."""

    image: Volume
    label: Volume


def heart(*seed: int) -> list[Slice]:
    """Draw a heart: slices towards its apex, through its middle and towards its base, each acquired anew."""
    generator = np.random.default_rng(seed)
    params = draw_anatomy(HeartConfig(), generator=generator)
    across = generator.uniform(-_OFF, _OFF, 2)
    shape, spacing, slices = (SIDE, SIDE), (SPACING, SPACING), []
    for height in _HEIGHTS:
        centre = (height * params["cavity_length"], *across)
        acquisition = draw_acquisition(AcquisitionConfig(), generator=generator)
        seen = image(params, "cine", shape, spacing, centre=centre, acquisition=acquisition)
        slices.append(Slice(as_volume(spread(seen)), as_volume(labels(params, shape, spacing, centre=centre))))
    return slices


def spread(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a picture that spans [0, 1]."""
    low, high = picture.min(), picture.max()
    return np.asarray((picture - low) / (high - low), np.float32)


def as_volume(plane: NDArray[np.generic]) -> Volume:
    """Return a plane as a volume of one slice, in millimetres."""
    return Volume.from_array(plane, spacing=(8.0, SPACING, SPACING), levels=(0, 1) if plane.dtype.kind == "f" else None)


def as_tensor(volumes: Iterable[Volume]) -> Tensor:
    """Return volumes of one slice as ``(n, 1, row, column)``."""
    return torch.from_numpy(np.stack([volume.voxels for volume in volumes]))


def small_unet(inputs: int, outputs: int, *, seed: int) -> UNet:
    """Return MONAI's U-Net, small, with the weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(
            spatial_dims=2,
            in_channels=inputs,
            out_channels=outputs,
            channels=(8, 16, 32, 64),
            strides=(2, 2, 2),
            num_res_units=1,
        )


def fit(network: torch.nn.Module, loss: Callable[[Tensor], Tensor], *, count: int, steps: int, seed: int) -> int:
    """Train a network by Adam, its rate falling along a cosine; return the steps that the optimiser took.

    Args:
        network: What is trained.
        loss: Of a batch of samples, given by their numbers.
        count: How many samples there are; every batch of `BATCH` is drawn among all of them.
        steps: How many are taken.
        seed: Of the drawing.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(torch.randint(count, (BATCH,), generator=generator)).backward()
        optimizer.step()
        schedule.step()
    network.eval()
    return int(next(iter(optimizer.state.values()))["step"])


def dice(found: Tensor, truth: Tensor) -> NDArray[np.float64]:
    """Return Dice of each class.

    Args:
        found: Labels ``(n, slice, row, column)``; all slices of a subject count together.
        truth: The same.

    Returns:
        ``(n, classes)``; NaN of a class that the truth has not.
    """
    shares = [one_hot(each[:, None].long(), num_classes=len(CLASSES) + 1) for each in (found, truth)]
    return np.asarray(compute_dice(*shares, include_background=False).double())


# --- arms -------------------------------------------------------------------------------------------------------------


def chosen_methods(weights: Path | None, *, reach: float = 0.1) -> dict[str, Method]:
    """Return the methods to compare, by name; DRDM only with its weights.

    Args:
        weights: Of DRDM, in their authors' container or ours.
        reach: Longest displacement of any of them, as a share of the side.
    """
    longest = reach * (SIDE - 1) * SPACING
    found = {name: create(name, max_displacement=longest) for name in ARMS if name != "drdm"}
    if weights is not None:
        found["drdm"] = create("drdm", weights=weights, preset="fast", max_displacement=longest)
    return found


def without_warnings(made: Callable[[], list[Made]]) -> list[Made]:
    """Return what is made, without the warning that some of it folds, since tables tell it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FoldingWarning)
        return made()


def deformation_table(copies: Mapping[str, Sequence[Deformed]]) -> str:
    """Return what copies of each arm are like, as Markdown."""
    lines = [
        "| method | copies | mean displacement, mm | longest, mm | folded pixels | copies that fold | labels whole |",
        "| --- |" + " ---: |" * 6,
    ]
    for arm, made in copies.items():
        checks = [copy.checks for copy in made]
        changes = [change for copy in made for each in copy.label_checks for change in each]
        whole = np.mean([one.components_before == one.components_after for one in changes])
        lines.append(
            f"| {arm} | {len(made)} | {np.mean([one.mean_mm for one in checks]):.1f} "
            f"| {max(one.largest_mm for one in checks):.1f} | {np.mean([one.folded for one in checks]):.2%} "
            f"| {np.mean([one.folded > 0 for one in checks]):.0%} | {whole:.1%} |"
        )
    return "\n".join(lines)


# --- telling ----------------------------------------------------------------------------------------------------------


def told(values: NDArray[np.float64], *, digits: int = 3, signed: bool = False) -> str:
    """Return the mean of held-out cases with its 95 % bootstrap interval; a dash where there are none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "–"
    sign, interval = "+" if signed else "", bootstrap(known)
    mean = f"{known.mean():{sign}.{digits}f}"
    return mean if interval is None else f"{mean} [{', '.join(f'{end:{sign}.{digits}f}' for end in interval)}]"


def ranking(scores: Scores) -> str:
    """Say which arm scores highest, and how far behind it every other one is, paired case by case."""
    best = max(scores, key=lambda arm: float(np.nanmean(scores[arm])))
    others = sorted((arm for arm in scores if arm != best), key=lambda arm: -float(np.nanmean(scores[arm])))
    behind = "; ".join(f"{arm} {told(scores[arm] - scores[best], signed=True)}" for arm in others)
    return f"{best} is best; to it, {behind}"


def options_of(doc: str | None) -> argparse.Namespace:
    """Parse the command line that both protocols have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of DRDM: the published checkpoint or your own; without, no drdm")
    parser.add_argument("--quick", action="store_true", help="a minute, to see it run; its numbers mean little")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a Markdown file for the tables")
    return parser.parse_args()


def report(name: str, options: argparse.Namespace, tables: Callable[[dict[str, Method]], str]) -> None:
    """Run a protocol, and print and write its tables under the command that made them."""
    torch.set_num_threads(options.threads)
    began = time.process_time()
    body = tables(chosen_methods(options.weights))
    spent = (time.process_time() - began) / 60
    given = f" --weights {options.weights.name}" if options.weights else ""
    given += " --quick" if options.quick else ""
    text = f"`python benchmarks/{name}.py{given}`, {options.threads} thread, {spent:.1f} processor minutes.\n\n"
    text += "" if options.weights else "The arm drdm is left out: no weights were given (`--weights FILE`).\n\n"
    text += body + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)
