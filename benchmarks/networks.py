"""Time the published interpolators against the published programs, in units of one convolution of this machine.

U (`units.py`) is taken between the runs, so that machines and their moods cancel. Each case runs in a process of its
own, for its peak memory::

    python benchmarks/networks.py [--threads 2] [--repeats 5] [--cpu-time] [--only most-dsa] [--output FILE.md]

"in turn" encodes once and decodes one time after the other, as the methods do on a CPU; "batched" is one call.
`--cpu-time` counts processor seconds instead of wall seconds (use one thread): it stands noise from other programs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from units import Clock, clock_of, measured

from scanweave.models import channels_last, create


@dataclass(frozen=True)
class Case:
    """One row of the table: what runs, and what the published program takes for it."""

    network: str
    rows: int
    columns: int
    frames: int
    target: float
    published: float
    published_gigabytes: float


CASES = [
    Case("most-dsa", 256, 256, 1, 29, 32, 0.83),
    Case("most-dsa", 512, 512, 3, 288, 359, 1.37),
    Case("super-slomo", 256, 320, 3, 54, 58, 0.63),
    Case("super-slomo", 512, 512, 3, 182, 205, 0.85),
]
HEADER = "| network | size | frames | way | seconds | U, seconds | in U | target | published | peak GB | published |\n"
HEADER += "| --- " * 11 + "|"


@torch.inference_mode()
def measure(case: Case, way: str, repeats: int, clock: Clock) -> str:
    network = channels_last(create(case.network).eval())
    frame0, frame1 = torch.rand(2, 1, 3, case.rows, case.columns)
    times = [(index + 1) / (case.frames + 1) for index in range(case.frames)]

    def one_by_one() -> None:
        pair = network.encode(frame0, frame1)
        for moment in times:
            network.decode(pair, [moment])

    def batched() -> None:
        network(frame0, frame1, times)

    taken = measured(batched if way == "batched" else one_by_one, repeats=repeats, clock=clock)
    size = f"{case.rows}x{case.columns}"
    return (
        f"| {case.network} | {size} | {case.frames} | {way} | {taken.seconds:.2f} | {taken.unit:.4f} "
        f"| {taken.units:.1f} | {case.target:.0f} | {case.published:.0f} "
        f"| {taken.gigabytes:.2f} | {case.published_gigabytes:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--only", choices=sorted({case.network for case in CASES}))
    parser.add_argument("--output", type=Path, help="write the table here too")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", default="batched", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = clock_of(cpu_time=options.cpu_time)
    if options.case is not None:
        print(measure(CASES[options.case], options.way, options.repeats, clock))
        return
    lines = [HEADER]
    print(HEADER)
    for index, case in enumerate(CASES):
        for way in ("batched", "in turn") if case.frames > 1 else ("batched",):
            if options.only in (None, case.network):
                command = [sys.executable, __file__, *sys.argv[1:], "--case", str(index), "--way", way]
                lines.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
                print(lines[-1], flush=True)
    if options.output:
        told = f"`python benchmarks/networks.py --threads {options.threads}`, PyTorch {torch.__version__}, float32."
        options.output.write_text("\n".join([told, "", *lines, ""]))


if __name__ == "__main__":
    main()
