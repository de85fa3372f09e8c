"""Train the small DRDMs on simulated anatomy for a stated time, and compare each with the untrained sampler.

    python benchmarks/train_deformation.py --ndims 2 --minutes 60 -o OUT   # and --ndims 3; may be run again to go on
    python benchmarks/train_deformation.py --ndims 2 -o OUT --compare WEIGHTS   # only compare

**Training** is ``scanweave train drdm --config drdm-simulated-2d`` (or ``-3d``), in legs until the time is over.
``OUT/run/log.jsonl`` keeps the log, loss and angle by level among it; thinned, it is kept beside the results.

**Comparison**, on held-out subjects with labels. Both samplers begin with the same noise, at each of `SETTINGS`. The
network recovers its copies; the untrained sampler's velocities are slowed, copy by copy, until the mean displacement
is the same, whole shifts taken off: a network that drifts would win by them. Neither is damped, so that folds are their
own; the same with the default damping, under which nothing folds, is told beside it, and so is where both began.

**Verdict**, over all settings together: a network is worth shipping if at equal displacement it folds less, keeps all
components in at least as many copies, and in some at all, and its copies differ from one another not by over a tenth
less: else the six first steps of a training would win, by displacing every image alike.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor

from scanweave import weights
from scanweave.deformation import RecoveryConfig, SamplingConfig, draw, warp_labels
from scanweave.deformation.config import DiffusionConfig
from scanweave.deformation.damping import smoothed
from scanweave.deformation.diffusion import Noise, random_field
from scanweave.deformation.evaluate import diversity, label_change, yardsticks
from scanweave.deformation.recipe import DrdmRecipeConfig
from scanweave.deformation.recovery import recover
from scanweave.deformation.simulated import SimulatedImages
from scanweave.models import Drdm
from scanweave.simulate import labels
from scanweave.training.order import validation_draw

RESULTS = Path(__file__).parent / "results"
SETTINGS: tuple[tuple[int, float], ...] = ((48, 1.0), (64, 1.0), (80, 1.0), (80, 2.0))
"""Level that copies are recovered from, and factor on the velocities."""

SAMPLERS = ("network", "untrained", "network, damped", "untrained, damped", "where both began")
LEAST_DIVERSITY = 0.9
_SEED = 7_000_000  # of held-out subjects: no training or validation of the presets draws them
_MATCHED = 0.01  # difference of mean displacements that counts as none
_LOG_BYTES = 190_000
_LEG = 400.0  # seconds

Row = dict[str, float]
Setting = tuple[int, float]
Labels = NDArray[np.integer[Any]]


# --- training


def train_for(minutes: float, ndims: int, output: Path) -> Path:
    """Train for so long, or go on training; return the weights.

    It is done in legs of some minutes, since other work changes the pace of a machine.
    """
    run, began = output / "run", time.monotonic()
    done = steps_done(run / "log.jsonl")
    pace = pace_of(ndims, output)
    while (left := 60 * minutes - (time.monotonic() - began)) > 0:
        leg = max(20, math.ceil(min(left, _LEG) / pace))
        command = [sys.executable, "-m", "scanweave", "train", "drdm", "--config", f"drdm-simulated-{ndims}d"]
        command += ["-o", str(run), *(["--resume"] if done else [])]
        command += ["--training.steps", str(done + leg)]
        start = time.monotonic()
        subprocess.run(command, check=True)
        pace = (time.monotonic() - start) / leg
        done += leg
        print(f"{done} steps, {pace:.2f} s each, {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    return run / "weights" / "best.safetensors"


def steps_done(log: Path) -> int:
    """Return the last step that a log tells of."""
    lines = log.read_text().splitlines() if log.is_file() else []
    return max((int(json.loads(line)["step"]) for line in lines), default=0)


def pace_of(ndims: int, output: Path) -> float:
    """Return the seconds of a step, of a few that are thrown away."""
    trial = output / "pace"
    command = [sys.executable, "-m", "scanweave", "train", "drdm", "--config", f"drdm-simulated-{ndims}d"]
    command += ["-o", str(trial), "--overwrite", "--training.steps", "10", "--training.log-every", "5"]
    command += ["--recipe.no-validate"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    told = [json.loads(line) for line in (trial / "log.jsonl").read_text().splitlines()]
    last = [line for line in told if line["event"] == "train"][-1]
    batch = json.loads((trial / "plan.json").read_text())["config"]["training"]["batch"]
    return float(batch / last["samples_per_second"])


def thinned(log: Sequence[str], most: int) -> list[str]:
    """Return a log of at most so many bytes: all else that happened, and of the lines of training every n-th."""
    happened = [(json.loads(line)["event"] != "train", line) for line in log]
    every = 1
    while True:
        count = 0
        kept = []
        for other, line in happened:
            if other or count % every == 0:
                kept.append(line)
            count += not other
        if sum(len(line) + 1 for line in kept) <= most or every > len(log):
            return kept
        every += 1


# --- both samplers


def subjects(config: DrdmRecipeConfig, count: int) -> Iterator[tuple[Tensor, Labels]]:
    """Yield held-out images ``(1, side, ...)`` with their labels, of the kind that was trained on."""
    ndims, side = config.ndims, config.simulation.side
    images = SimulatedImages(config.simulation, count, ndims)
    for index in range(count):
        drawn = validation_draw(images, index, seed=_SEED)
        spacing = (drawn["extent"] / side,) * ndims
        yield images.make(drawn), labels(drawn["anatomy"], (side,) * ndims, spacing, centre=drawn["centre"])


def unshifted(fields: Tensor) -> Tensor:
    """Return fields without their whole shifts."""
    return fields - fields.mean(dim=tuple(range(2, fields.ndim)), keepdim=True)


def bent(fields: Tensor) -> Tensor:
    """Return the mean displacement of each field without its whole shift, in voxels."""
    return yardsticks(unshifted(fields)).mean


def faster(noise: Noise, factors: Tensor) -> Noise:
    """Return noise whose velocities are multiplied, one factor for each deformation."""
    return Noise(*(tuple(scale * factors.view(-1, *[1] * (scale.ndim - 1)) for scale in part) for part in noise))


def untouched(noise: Noise, level: int, side: int, config: SamplingConfig) -> Tensor:
    """Return the random fields that noise makes, in fractions of the side."""
    levels = [level] * len(noise.velocity[0])
    fields = random_field(noise, levels, side, config.diffusion, squaring=True).displacement
    floor = config.recovery.floor
    return fields if floor is None else smoothed(fields, unit=float(side), floor=floor)


def slowed(noise: Noise, level: int, side: int, wanted: Tensor, config: SamplingConfig) -> Tensor:
    """Return the untrained sampler's fields of given displacements without shifts, in voxels."""
    factors = torch.ones(len(wanted))
    for _ in range(12):
        fields = side * untouched(faster(noise, factors), level, side, config)
        missing = (wanted / bent(fields)).to(torch.float32)
        if float((missing - 1).abs().max()) < _MATCHED:
            break
        factors = factors * missing
    return fields * missing.view(-1, *[1] * (fields.ndim - 1))


def both(
    network: Drdm, image: Tensor, noise: Noise, level: int, *, diffusion: DiffusionConfig, steps: int | None
) -> dict[str, Tensor]:
    """Return the fields of every sampler, in voxels."""
    side = image.shape[1]
    found: dict[str, Tensor] = {}
    for suffix, floor in (("", None), (", damped", RecoveryConfig().floor)):
        config = SamplingConfig(diffusion=diffusion, recovery=RecoveryConfig(floor=floor, steps=steps))
        start = untouched(noise, level, side, config)
        made = side * recover(network, image[None], start, config=config.recovery)
        found[f"network{suffix}"] = made
        found[f"untrained{suffix}"] = slowed(noise, level, side, bent(made), config)
        if floor is None:
            found["where both began"] = side * start
    return found


def judged(fields: Tensor, image: Tensor, label: Labels) -> list[Row]:
    """Return what each deformation does, to the labels too."""
    found, own, unlike = yardsticks(fields, image[0]), bent(fields), diversity(unshifted(fields))
    before = torch.from_numpy(label.astype(np.int64)).expand(len(fields), 1, *label.shape)
    after = warp_labels(before, fields, padding="border").numpy()
    rows = []
    for k in range(len(fields)):
        change = label_change(label, after[k, 0].astype(label.dtype))
        alike = [change.after[value] == count for value, count in change.before.items()]
        rows.append({
            "folded": float(found.folded[k]),
            "folded_inside": float(found.folded_inside[k]),
            "moved": float(found.mean[k]),
            "moved_without_shift": float(own[k]),
            "moved_most": float(found.largest[k]),
            "roughness": float(found.roughness[k]),
            "diversity": unlike,
            "kept": float(change.keeps_components),
            "classes_kept": float(np.mean(alike)),
        })  # fmt: skip
    return rows


def compare(
    network: Drdm,
    config: DrdmRecipeConfig,
    *,
    count: int,
    copies: int,
    steps: int | None,
    settings: Sequence[Setting] = SETTINGS,
) -> dict[str, dict[str, Row]]:
    """Return the means of every sampler over all copies of all subjects, by setting and, as `all`, over them."""
    rows: dict[str, dict[str, list[Row]]] = {}
    for number, (image, label) in enumerate(subjects(config, count)):
        for level, strength in settings:
            sampling = SamplingConfig(diffusion=config.diffusion)
            generator = torch.Generator().manual_seed(number)
            noise = draw(config.ndims, copies, config=sampling, generator=generator)
            noise = faster(noise, torch.full((copies,), strength))
            made = both(network, image, noise, level, diffusion=config.diffusion, steps=steps)
            setting = rows.setdefault(f"level {level}, strength {strength:g}", {who: [] for who in SAMPLERS})
            for who, fields in made.items():
                setting[who] += judged(fields, image, label)
        print(f"subject {number + 1} of {count}", flush=True)
    pooled = {who: [row for setting in rows.values() for row in setting[who]] for who in SAMPLERS}
    return {
        name: {who: means(each) for who, each in setting.items()} for name, setting in {**rows, "all": pooled}.items()
    }


def means(rows: Sequence[Row]) -> Row:
    """Return the means; of those that are no numbers, nothing."""
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def objections(network: Row, untrained: Row) -> list[str]:
    """Return what speaks against shipping a network; nothing where it is worth that."""
    moved, by = network["moved_without_shift"], untrained["moved_without_shift"]
    checks = {
        f"displacements are not equal: {moved:.4g} and {by:.4g} voxels": abs(moved / by - 1) <= _MATCHED,
        "it does not fold less": network["folded"] < untrained["folded"],
        "it keeps components in fewer copies": network["kept"] >= untrained["kept"],
        "it keeps components in no copy": network["kept"] > 0,
        "its copies differ by over a tenth less": network["diversity"] >= LEAST_DIVERSITY * untrained["diversity"],
    }
    return [reason for reason, well in checks.items() if not well]


# --- telling


def tables(told: Mapping[str, Mapping[str, Row]]) -> Iterator[str]:
    """Yield the comparison as Markdown, a table for each setting."""
    for setting, rows in told.items():
        names = list(next(iter(rows.values())))
        yield from ("", f"## {setting}", "", f"| sampler | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}")
        for who, row in rows.items():
            yield f"| {who} | {' | '.join(f'{row[name]:.4g}' for name in names)} |"


def page(heading: str, told: Mapping[str, Mapping[str, Row]], against: Sequence[str], training: Iterable[str]) -> str:
    """Return the results as Markdown."""
    verdict = "Worth shipping." if not against else f"Not worth shipping: {'; '.join(against)}."
    return "\n".join([f"# {heading}", "", *training, "", verdict, *tables(told)]) + "\n"


def trained(log: Path) -> Iterator[str]:
    """Yield what a log tells of its training, as Markdown."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    scores = [event for event in events if event["event"] == "validation"]
    names = ["step", "angle", *(name for name in scores[0] if name.startswith("angle_"))] if scores else []
    if names:
        yield from ("Held-out images during training:", "", f"| {' | '.join(names)} |", f"|{' ---: |' * len(names)}")
    for event in scores:
        yield f"| {' | '.join(f'{event[name]:.4g}' for name in names)} |"


def setting(text: str) -> Setting:
    """Return what an argument ``LEVEL:STRENGTH`` means."""
    level, _, strength = text.partition(":")
    return int(level), float(strength or 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ndims", type=int, choices=(2, 3), default=2)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--compare", type=Path, help="weights to compare, instead of training")
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--steps", type=int, help="of the recovery; by default all that the network knows")
    parser.add_argument("--settings", type=setting, nargs="+", default=SETTINGS, metavar="LEVEL:STRENGTH")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    found = options.compare or train_for(options.minutes, options.ndims, options.output)
    network = cast(Drdm, weights.open("drdm", str(found)).eval())
    config = TypeAdapter(DrdmRecipeConfig).validate_python(weights.card_of(network).training["config"])
    told = compare(
        network,
        config,
        count=options.subjects,
        copies=options.copies,
        steps=options.steps,
        settings=options.settings,
    )
    against = objections(told["all"]["network"], told["all"]["untrained"])
    heading = (
        f"DRDM in {options.ndims}D, {config.simulation.side} voxels a side: {options.subjects} held-out subjects, "
        f"{options.copies} copies of each; means"
    )
    options.results.mkdir(exist_ok=True)
    place = options.results / f"train_deformation_{options.ndims}d"
    log = options.output / "run" / "log.jsonl"
    training = list(trained(log)) if log.is_file() else []
    text = page(heading, told, against, training)
    print(text)
    place.with_suffix(".md").write_text(text)
    place.with_suffix(".json").write_text(json.dumps({"what": heading, "against": against, **told}, indent=1) + "\n")
    if log.is_file():
        lines = thinned(log.read_text().splitlines(), _LOG_BYTES)
        place.with_suffix(".log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
