"""Train the small Uni-COAL on simulated brains for a stated time, and judge it on a real subject with all contrasts.

    python benchmarks/train_synthesis.py --minutes 60 -o OUT            # may be run again to go on
    python benchmarks/train_synthesis.py --compare WEIGHTS -o OUT --case FOLDER
    python benchmarks/train_synthesis.py --compare WEIGHTS -o OUT --case FOLDER --ship

**Training** is ``scanweave train uni-coal --config uni-coal-simulated``, in legs until the time is over. The log is
kept beside the results.

**Comparison**, on a folder with volumes of one skull-stripped person whose names say T1, FLAIR and T2, on one grid. T2
is made of the other two, and judged where all three are above 0, over the window of the real T2 (percentiles 0.5 and
99.5 of what is above 0, peak 1). The baselines may look at the T2 that is to be made, which no method could: the copies
of T1 and of FLAIR are given its very histogram, the constant its mean.

**Verdict**: the network is worth shipping if its PSNR is above that of the better copy by 1 dB. ``--ship`` then writes
it, float16, into the package.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanweave import weights
from scanweave.metrics import mae, psnr, ssim
from scanweave.models import UniCoal
from scanweave.synthesis.collection import find_subjects
from scanweave.synthesis.data import read_volumes
from scanweave.synthesis.intensity import clipped, window_of, windowed
from scanweave.synthesis.uni_coal import UniCoalMethod
from scanweave.volume import Volume
from scanweave.weights.catalogue import BUNDLED

RESULTS = Path(__file__).parent / "results"
SOURCES, TARGET = ("T1", "FLAIR"), "T2"
PRESET = "uni-coal-simulated"
NAME = "uni-coal-t1-flair-to-t2"
MARGIN = 1.0
"""By how many dB the network must beat the better copy."""

_LOG_BYTES = 190_000
_LEG = 400.0  # seconds

Row = dict[str, float]
Mask = NDArray[np.bool_]


# --- training


def train_for(minutes: float, output: Path, extra: Sequence[str]) -> Path:
    """Train for so long, or go on training; return the weights.

    It is done in legs of some minutes, since other work changes the pace of a machine; each leg plans for all of the
    steps that are left at that pace, so that the learning rate falls at the end alone.
    """
    run, began = output / "run", time.monotonic()
    done, pace = steps_done(run / "log.jsonl"), 1.0
    while (left := 60 * minutes - (time.monotonic() - began)) > 0:
        leg = max(20, math.ceil(min(left, _LEG) / pace))
        command = [sys.executable, "-m", "scanweave", "train", "uni-coal", "--config", PRESET, "-o", str(run), *extra]
        command += [*(["--resume"] if done else []), "--training.steps", str(done + leg)]
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


def thinned(lines: Sequence[str], most: int) -> list[str]:
    """Return a log of at most so many bytes: all else that happened, and of the lines of training every n-th."""
    every = 1
    while True:
        train = [line for line in lines if json.loads(line)["event"] == "train"]
        kept = set(train[::every])
        found = [line for line in lines if line in kept or line not in train]
        if sum(len(line) + 1 for line in found) <= most or every > len(lines):
            return found
        every += 1


# --- comparison


def read_case(folder: Path) -> dict[str, Volume]:
    """Return the volumes of the one person in a folder, each over the window of what is above 0."""
    (subject,) = find_subjects(folder, [*SOURCES, TARGET], layout="folder")
    found = read_volumes(subject, plane="axial")
    return {name: windowed(volume, window_of(name, volume, "percentile")) for name, volume in found.items()}


def with_histogram(copy: Tensor, of: Tensor, mask: Mask) -> Tensor:
    """Return a copy whose values within a mask are exactly those of another volume, in the copy's own order."""
    found, inside = torch.zeros_like(copy), torch.from_numpy(mask)
    order = copy[inside].argsort(stable=True)
    values = torch.empty(len(order))
    values[order] = of[inside].sort().values
    found[inside] = values
    return found


def judged(made: Tensor, truth: Tensor, mask: Mask) -> Row:
    """Return PSNR in dB, SSIM and mean absolute error within a mask; SSIM is the mean over slices that have any."""
    slices = [k for k in range(len(mask)) if mask[k].any()]
    cleared = [torch.where(torch.from_numpy(mask), volume, 0.0) for volume in (made, truth)]
    return {
        "psnr": psnr(made.numpy(), truth.numpy(), mask=mask),
        "ssim": float(np.mean([ssim(cleared[0][k][None], cleared[1][k][None]) for k in slices])),
        "mae": mae(made.numpy(), truth.numpy(), mask=mask),
    }


def compare(network: UniCoal, volumes: Mapping[str, Volume]) -> dict[str, Row]:
    """Return the scores of the network and of what needs none."""
    units = {name: clipped(volume) for name, volume in volumes.items()}
    truth = units[TARGET]
    mask = np.logical_and.reduce([volume.real() > 0 for volume in volumes.values()])
    method = UniCoalMethod(weights=network)
    step, count = volumes[TARGET].spacing[0], truth.shape[0]
    fitted = method.fit({name: volumes[name] for name in SOURCES})
    made = fitted.at(TARGET, [k * step for k in range(count)]).frames[:, 0]
    mean = torch.full_like(truth, float(truth[torch.from_numpy(mask)].mean()))
    rows = {"uni-coal": judged(made, truth, mask)}
    rows["uni-coal, with the histogram of T2"] = judged(with_histogram(made, truth, mask), truth, mask)
    for name in SOURCES:
        rows[f"{name}, with the histogram of T2"] = judged(with_histogram(units[name], truth, mask), truth, mask)
    rows["the mean of T2"] = judged(mean, truth, mask)
    return rows


def gain(rows: Mapping[str, Row]) -> float:
    """Return by how many dB the network, which sees nothing of T2, beats the better copy."""
    return rows["uni-coal"]["psnr"] - max(rows[f"{name}, with the histogram of T2"]["psnr"] for name in SOURCES)


# --- telling


def page(rows: Mapping[str, Row], facts: Mapping[str, Any], log: Sequence[str]) -> str:
    """Return the results as Markdown."""
    by = gain(rows)
    verdict = f"{by:+.2f} dB against the better copy: {'worth' if by >= MARGIN else 'not worth'} shipping."
    lines = [f"# A small Uni-COAL from simulated brains: {TARGET} from {' and '.join(SOURCES)} of a real subject", ""]
    lines += [f"{name}: {value}  " for name, value in facts.items()]
    lines += ["", verdict, "", "| method | PSNR, dB | SSIM | mean absolute error |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {who} | {row['psnr']:.2f} | {row['ssim']:.4f} | {row['mae']:.4f} |" for who, row in rows.items()]
    scores = [event for event in map(json.loads, log) if event["event"] == "validation"]
    if scores:
        lines += [
            "",
            "Simulated subjects, held out, during training:",
            "",
            "| step | PSNR, dB | SSIM | mean absolute error |",
        ]
        lines += ["| ---: | ---: | ---: | ---: |"]
        lines += [f"| {_when(one)} | {one['psnr']:.2f} | {one['ssim']:.4f} | {one['mae']:.4f} |" for one in scores]
    return "\n".join(lines) + "\n"


def _when(event: Mapping[str, Any]) -> str:
    """Return the step of an event, and before it the stage where there was more than one."""
    return f"{event['stage']}: {event['step']}" if "stage" in event else str(event["step"])


def ship(network: UniCoal, told: str) -> Path:
    """Write the network into the package, float16, its card saying how it was trained."""
    path = BUNDLED / f"{NAME}.safetensors"
    path.parent.mkdir(exist_ok=True)
    card = weights.card_of(network)
    notes = (*card.notes, *([told] if told else []), "takes brains without skull, in axial slices of about 1 mm")
    return Path(weights.save(network.half(), path, card.model_copy(update={"notes": notes})))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--compare", type=Path, help="weights to compare, instead of training")
    parser.add_argument("--case", type=Path, help="folder of the subject to judge on")
    parser.add_argument("--log", type=Path, nargs="*", help="logs of the training; by default that of OUT/run")
    parser.add_argument("--told", default="", help="what the results should say of the training")
    parser.add_argument("--ship", action="store_true", help="write the weights into the package if they are worth it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options, extra = parser.parse_known_args()
    options.output.mkdir(parents=True, exist_ok=True)
    found = options.compare or train_for(options.minutes, options.output, extra)
    if options.case is None:
        print(f"{found}; --case FOLDER judges it")
        return 0
    network = cast(UniCoal, weights.open("uni-coal", str(found)))
    rows = compare(network, read_case(options.case))
    logs = options.log or [options.output / "run" / "log.jsonl"]
    lines = [line for log in logs if log.is_file() for line in log.read_text().splitlines()]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    facts = {"Weights": f"{parameters / 1e6:.2f} million, {parameters * 2 / 2**20:.1f} MiB as float16"}
    facts |= {"Training": options.told} if options.told else {}
    text = page(rows, facts, lines)
    print(text)
    options.results.mkdir(exist_ok=True)
    place = options.results / "train_synthesis"
    place.with_suffix(".md").write_text(text)
    place.with_suffix(".json").write_text(json.dumps({"gain": gain(rows), **facts, "methods": rows}, indent=1) + "\n")
    if lines:
        kept = thinned(lines, _LOG_BYTES)
        place.with_suffix(".log.jsonl").write_text("".join(f"{line}\n" for line in kept))
    if options.ship and gain(rows) >= MARGIN:
        print(ship(network, options.told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
