"""Compare settings of the flow method of fusion on simulated scenes; the smoothness that flow has is the best there.

    python benchmarks/tune_fusion_flow.py [--data RUN] [--processes 2]

Virtual experiments, x4 in space and 10 times in time, of scenes of radiography: with noise of 0, 1 and 5 % and a coarse
camera that sees its means, and with 1 % and a coarse camera that has noise of its own. Mean PSNR in dB over the frames
that the sharp camera missed, and the mean over all. With ``--data`` also those of a real run at 10 and 20 times: what
is chosen without it holds there, or does not. Nothing is trained.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import torch
from fusion_methods import scored
from train_fusion import simulated

from scanweave.fusion.flow import Flow
from scanweave.fusion.reading import read_camera
from scanweave.fusion.virtual import VirtualOptions

SCENES = {
    "without noise": (None, VirtualOptions()),
    "1 %": (1e4, VirtualOptions()),
    "5 %": (400.0, VirtualOptions()),
    "1 %, both cameras": (1e4, VirtualOptions(noise=0.005)),
}
RATES = (10, 20)
CANDIDATES = [
    Flow(),
    *(Flow(calming=value) for value in (0.0, 0.75, 2.25, 3.0, 4.5)),
    *(Flow(smoothness=value) for value in (1.0, 2.0, 5.0, 10.0, 20.0, 80.0)),
    *(Flow(window=value) for value in (5, 9, 13)),
    *(Flow(doubt=value) for value in (1.5, 2.0, 4.5, 7.0)),
    Flow(motion="none"),
]


def on_simulated(index: int) -> list[float]:
    """Return the mean PSNR of a candidate for each strength of noise."""
    return [_mean(scored(simulated(photons), cameras, CANDIDATES[index])) for photons, cameras in SCENES.values()]


def on_real(index: int, path: Path) -> list[float]:
    """Return the mean PSNR of a candidate on a real run for each rate."""
    run = read_camera(path, "sharp", fps=1000.0).cine
    told = []
    for rate in RATES:
        phases = range(0, rate, rate // 10)
        told.append(_mean(scored([run], VirtualOptions(ratio=rate), CANDIDATES[index], phases)))
    return told


def _mean(scores: dict[str, tuple[float, ...]]) -> float:
    return float(np.mean([values[0] for values in scores.values()]))


def _row(task: tuple[int, Path | None]) -> tuple[list[float], list[float]]:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    index, path = task
    return on_simulated(index), [] if path is None else on_real(index, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a real run at the full rate")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    real = [f"real, {rate} times" for rate in RATES] if options.data else []
    titles = ["flow", *SCENES, "mean", *real]
    print(f"| {' | '.join(titles)} |\n" + "| --- " * len(titles) + "|", flush=True)
    means = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        tasks = [(index, options.data) for index in range(len(CANDIDATES))]
        for candidate, (found, there) in zip(CANDIDATES, pool.imap(_row, tasks), strict=True):
            means.append(float(np.mean(found)))
            usual = Flow().describe()
            changed = [f"{name} {value}" for name, value in candidate.describe().items() if usual[name] != value]
            told = ", ".join(changed) or "default"
            print(
                f"| {told} | " + " | ".join(f"{value:.3f}" for value in (*found, means[-1], *there)) + " |", flush=True
            )
    best = CANDIDATES[int(np.argmax(means))]
    print(f"\nbest on simulated scenes: {best}")


if __name__ == "__main__":
    main()
