"""Time Uni-COAL's generator against the published program, in units of one convolution of this machine.

U is the best time of one 64-to-64 3 x 3 convolution on 1 x 64 x 256 x 256 float32, taken between the runs, so that
machines and their moods cancel. One slice of 256 x 256 is made, without gradients::

    python benchmarks/synthesis.py [--threads 1] [--repeats 3] [--cpu-time] [--output FILE.md]

With `--methods` the table of all methods follows (`synthesis_methods`), with `--weights FILE` uni-coal among them, and
with `--self-supervised` the method that takes minutes.

"whole" makes a slice from nothing; "another latent" from source slices that are encoded already. `--cpu-time` counts
processor seconds instead of wall seconds (use one thread): it stands noise from other programs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from units import peak_gigabytes

from scanweave.models import create

PUBLISHED_U, PUBLISHED_GIGABYTES = 440, 2.2
TARGET_U = PUBLISHED_U / 1.8
HEADER = "| network | slice | way | seconds | U, seconds | in U | target | published | peak GB | published |\n"
HEADER += "| --- " * 10 + "|"


def seconds(run: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start


def ways() -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    network = create("uni-coal").eval()
    source, z = torch.rand(1, 4, 256, 256) * 2 - 1, torch.randn(1, 64)
    contrast, position = torch.eye(3)[:1], torch.full((1, 1), 0.5)
    encoded = network.encode(source, contrast, position)

    def another_latent() -> None:
        network.decode(encoded, network.styles(z, contrast, position), position)

    return {"whole": lambda: network(source, z, contrast, position), "another latent": another_latent}


@torch.inference_mode()
def measure(repeats: int, clock: Callable[[], float]) -> list[str]:
    unit, image = nn.Conv2d(64, 64, 3, padding=1), torch.rand(1, 64, 256, 256)
    lines = []
    for way, run in ways().items():
        run()
        units, runs = [], []
        for _ in range(repeats):
            units += [seconds(lambda: unit(image), clock) for _ in range(3)]
            runs.append(seconds(run, clock))
        taken, u = statistics.median(runs), min(units)
        gigabytes = peak_gigabytes()
        lines.append(
            f"| uni-coal | 256x256 | {way} | {taken:.2f} | {u:.4f} | {taken / u:.1f} "
            f"| {TARGET_U:.0f} | {PUBLISHED_U} | {gigabytes:.2f} | {PUBLISHED_GIGABYTES} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--methods", action="store_true", help="the table of methods, on simulated brains, too")
    parser.add_argument("--weights", type=Path, help="of uni-coal, for that table")
    parser.add_argument("--self-supervised", action="store_true", help="try that method too: minutes")
    parser.add_argument("--output", type=Path, help="write the table here too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = [HEADER, *measure(options.repeats, time.process_time if options.cpu_time else time.perf_counter)]
    print("\n".join(lines))
    if options.methods:
        import synthesis_methods  # only now: what it imports would count as memory of the network

        print(f"\n{synthesis_methods.HEADER}")
        found = synthesis_methods.table(
            weights=options.weights, self_supervised=options.self_supervised, threads=options.threads
        )
        lines += ["", synthesis_methods.HEADER, *found]
    if options.output:
        clock = (" --cpu-time" if options.cpu_time else "") + (" --methods" if options.methods else "")
        clock += f" --weights {options.weights}" if options.weights else ""
        told = f"`python benchmarks/synthesis.py --threads {options.threads}{clock}`, PyTorch {torch.__version__}."
        options.output.write_text("\n".join([told, "", *lines, ""]))


if __name__ == "__main__":
    main()
