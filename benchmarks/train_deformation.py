"""Train the small DRDMs on simulated anatomy for a stated time, and compare each with the untrained sampler.

    python benchmarks/train_deformation.py --ndims 2 --minutes 60 -o OUT   # and --ndims 3; may be run again to go on
    python benchmarks/train_deformation.py --ndims 2 -o OUT --compare WEIGHTS   # only compare

**Training** is ``scanweave train drdm --config drdm-simulated-2d`` (or ``-3d``), whose schedule needs its length: it is
measured on a few steps first. ``OUT/run/log.jsonl`` keeps the log, loss and angle by level among it.

**Comparison**, on held-out subjects with labels, neither sampler damped: copies recovered by the network from level
`--start`, and random fields of the level that comes nearest, scaled so that each copy has the same mean displacement,
whole shifts taken off: a network that drifts would win by them.
Told are the share of voxels that fold, inside the body too, and in how many copies all classes keep their components. A
network is worth shipping if it folds less and keeps as many.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

import scanweave.deformation.recipe as drdm_recipe
from scanweave import weights
from scanweave.deformation import RecoveryConfig, SamplingConfig, sample, warp_labels
from scanweave.deformation.evaluate import label_change, yardsticks
from scanweave.deformation.simulated import SimulatedImages, SimulationConfig
from scanweave.models import Drdm
from scanweave.simulate import labels
from scanweave.training.order import validation_draw

PRESETS = Path(drdm_recipe.__file__).parent / "recipes"
RESULTS = Path(__file__).parent / "results"
UNDAMPED = SamplingConfig(recovery=RecoveryConfig(floor=None))
_SEED = 7_000_000  # of held-out subjects: no training or validation of the presets draws them


def train_for(minutes: float, ndims: int, output: Path) -> Path:
    """Train, or go on training; return the weights."""
    run = output / "run"
    plan = run / "plan.json"
    command = [sys.executable, "-m", "scanweave", "train", "drdm", "-o", str(run)]
    if plan.is_file():
        command += ["--resume"]
    else:
        preset = ["--config", f"drdm-simulated-{ndims}d"]
        pace = pace_of(ndims, output)
        steps = max(100, int(60 * minutes / pace))
        print(f"{pace:.2f} s per step: {steps} steps in {minutes:g} minutes", flush=True)
        every = str(max(50, steps // 10))
        command += [*preset, "--training.steps", str(steps), "--training.checkpoint-every", every]
        command += ["--training.validate-every", every, "--training.picture-every", every]
    began = time.monotonic()
    subprocess.run(command, check=True)
    print(f"trained for {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    return run / "weights" / "best.safetensors"


def pace_of(ndims: int, output: Path) -> float:
    """Return the seconds of a step."""
    with Path.open(PRESETS / f"drdm-simulated-{ndims}d.yaml") as stream:
        batch = yaml.safe_load(stream)["training"]["batch"]
    trial = output / "pace"
    command = [sys.executable, "-m", "scanweave", "train", "drdm", "--config", f"drdm-simulated-{ndims}d"]
    command += ["-o", str(trial), "--overwrite", "--training.steps", "8", "--training.log-every", "4", "--json"]
    command += ["--recipe.no-validate"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    told = [json.loads(line) for line in (trial / "log.jsonl").read_text().splitlines()]
    last = [line for line in told if line["event"] == "train"][-1]
    return batch / last["samples_per_second"]


def subjects(count: int, ndims: int, side: int) -> Iterator[tuple[Tensor, np.ndarray[Any, Any]]]:
    """Yield held-out images ``(1, side, ...)`` with their labels."""
    images = SimulatedImages(SimulationConfig(side=side), count, ndims)
    for index in range(count):
        drawn = validation_draw(images, index, seed=_SEED)
        spacing = (drawn["extent"] / side,) * ndims
        yield images.make(drawn), labels(drawn["anatomy"], (side,) * ndims, spacing, centre=drawn["centre"])


def bent(fields: Tensor) -> Tensor:
    """Return the mean displacement of each field without its whole shift, in voxels."""
    return yardsticks(fields - fields.mean(dim=tuple(range(2, fields.ndim)), keepdim=True)).mean


def untrained(image: Tensor, wanted: Sequence[float], seed: int) -> Tensor:
    """Return random fields of given displacements without shifts, in voxels: of the nearest level, then scaled."""

    def drawn(level: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return sample(
            None, image, [level] * len(wanted), generator=generator, side=image.shape[1], config=UNDAMPED
        ).fields

    goal = float(np.mean(wanted))
    low, high = 0, 120
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if float(bent(drawn(middle)).mean()) < goal else (low, middle)
    fields = drawn(high)
    factor = torch.tensor(wanted) / bent(fields)
    return fields * factor.to(fields).view(-1, *[1] * (fields.ndim - 1))


def judged(fields: Tensor, image: Tensor, label: np.ndarray[Any, Any]) -> list[dict[str, float]]:
    """Return what each deformation does, to the labels too."""
    found, own = yardsticks(fields, image[0]), bent(fields)
    before = torch.from_numpy(label.astype(np.int64)).expand(len(fields), 1, *label.shape)
    after = warp_labels(before, fields, padding="border").numpy()
    return [
        {
            "folded": float(found.folded[k]),
            "folded_inside": float(found.folded_inside[k]),
            "moved": float(found.mean[k]),
            "moved_without_shift": float(own[k]),
            "moved_most": float(found.largest[k]),
            "roughness": float(found.roughness[k]),
            "diversity": found.diversity,
            "kept": float(label_change(label, after[k, 0].astype(label.dtype)).keeps_components),
        }
        for k in range(len(fields))
    ]


def compare(network: Drdm, *, count: int, copies: int, start: int, side: int) -> dict[str, dict[str, float]]:
    """Return the means of both samplers over all copies of all subjects."""
    rows: dict[str, list[dict[str, float]]] = {"network": [], "untrained": []}
    for number, (image, label) in enumerate(subjects(count, network.config.ndims, side)):
        generator = torch.Generator().manual_seed(number)
        fields = sample(network, image, [start] * copies, generator=generator, side=side, config=UNDAMPED).fields
        rows["network"] += judged(fields, image, label)
        rows["untrained"] += judged(untrained(image, bent(fields).tolist(), number), image, label)
    return {
        who: {name: float(np.nanmean([row[name] for row in each])) for name in each[0]} for who, each in rows.items()
    }


def table(told: dict[str, dict[str, float]], heading: str) -> str:
    """Return the comparison as Markdown."""
    names = list(told["network"])
    lines = [heading, "", f"| sampler | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    lines += [f"| {who} | {' | '.join(f'{row[name]:.4g}' for name in names)} |" for who, row in told.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ndims", type=int, choices=(2, 3), default=2)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--compare", type=Path, help="weights to compare, instead of training")
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--start", type=int, default=64, help="level that copies are recovered from")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    found = options.compare or train_for(options.minutes, options.ndims, options.output)
    network = weights.open("drdm", str(found)).eval()
    side = weights.card_of(network).training["config"]["simulation"]["side"]
    told = compare(network, count=options.subjects, copies=options.copies, start=options.start, side=side)
    heading = (
        f"{options.ndims}D, {side} voxels a side, {options.subjects} held-out subjects, {options.copies} copies of "
        f"each from level {options.start}; means"
    )
    print(table(told, heading))
    RESULTS.mkdir(exist_ok=True)
    name = f"train_deformation_{options.ndims}d"
    (RESULTS / f"{name}.json").write_text(json.dumps({"what": heading, **told}, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(table(told, heading))
    ship = (
        told["network"]["folded"] < told["untrained"]["folded"] and told["network"]["kept"] >= told["untrained"]["kept"]
    )
    print("worth shipping" if ship else "not worth shipping")
    return 0


if __name__ == "__main__":
    sys.exit(main())
