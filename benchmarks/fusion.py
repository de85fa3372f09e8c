"""What fused frames cost, and how near to the truth they are: networks alone, methods through the job, their quality.

    python benchmarks/fusion.py [--threads 1] [--repeats 2] [--cpu-time] [--only edvr-stf] [--output FILE.md]
                                [--parts networks costs quality] [--data FOLDER]

Times are told in units of one convolution of this machine too (`units.py`); each case has its own process.

**Networks**: a "call" makes one sharp frame of three coarse and two sharp ones. A "sequence" makes one frame of a run,
whose frames' features are computed once: of the next coarse frame, and of a sharp one at every tenth. The last rows
compare ways to convolve deformably 128 channels of 64 x 64: by grid sampling, as published programs without compiled
operators do, and by `scanweave.ops.deformable`, forward alone and with gradients.

**Costs** and **quality** of methods: `fusion_methods.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from fusion_methods import COSTS, QUALITY, costs, quality
from torch import Tensor
from units import clock_of, measured

from scanweave.metrics import psnr
from scanweave.models import channels_last, create
from scanweave.models.edvr_modules import Features
from scanweave.ops.deformable import deform_conv2d

PARTS = ("networks", "costs", "quality")

RATIO = 10
"""Coarse frames to a sharp one in a sequence."""


@dataclass(frozen=True)
class Case:
    """One row: what runs, what is aimed at, and what the published program takes (U, gigabytes), where known."""

    name: str
    side: int
    way: str
    target: float | None = None
    published: float | None = None
    published_gigabytes: float | None = None


CASES = [
    Case("edvr-stf", 32, "call", None, 22, 0.48),
    Case("edvr-stf", 64, "call", 83, 89, 0.69),
    Case("edvr-stf", 64, "sequence", 59, 89, 0.69),
    Case("edvr-stf", 64, "sequence, bfloat16"),
    Case("swin-xvr", 64, "call", None, 600, 0.95),
    Case("swin-xvr, dual detector", 32, "call", None, 135),
    Case("swin-xvr, dual detector", 64, "call", None, 765, 1.4),
    Case("raft", 384, "call", None, 60),
    Case("deformable convolution", 64, "grid sampling"),
    Case("deformable convolution", 64, "scanweave"),
    Case("deformable convolution", 64, "grid sampling, with gradients"),
    Case("deformable convolution", 64, "scanweave, with gradients"),
]
HEADER = "| what | side | way | seconds | U, seconds | in U | target | published | peak GB | published |\n"
HEADER += "| --- " * 10 + "|"


def network_of(name: str) -> torch.nn.Module:
    """Return a network with fresh weights, whose deformable taps do move."""
    torch.manual_seed(0)
    sizes = {"width": 384, "features": 384, "heads": (6, 6, 6, 6), "window": (5, 4, 4)}
    network = create(name.split(",")[0], **(sizes if name.endswith("detector") else {})).eval()
    for key, parameter in network.named_parameters():
        if key.endswith("conv_offset.weight"):
            torch.nn.init.normal_(parameter, std=0.01)
    return channels_last(network)


def sequence(side: int, *, lowered: bool = False) -> Callable[[], object]:
    """Return what makes the next frame of a run; on an average frame, a tenth of a sharp frame's features."""
    network = network_of("edvr-stf")
    fast, slow = torch.rand(3, 1, side, side), torch.rand(2, 1, 4 * side, 4 * side)
    known: dict[str, Features] = {"slow": network.sharp_features(slow), "fast": network.coarse_features(fast[:2])}
    turn = 0

    def run() -> None:
        nonlocal turn
        turn += 1
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            if turn % RATIO == 0:
                network.sharp_features(slow[:1])
            newest = network.coarse_features(fast[2:])
            coarse = Features.joined((known["fast"], newest))
            network.fuse(coarse.at([[0, 1, 2]]), known["slow"].at([[0, 1]]), fast[1:2])

    def ten() -> None:
        for _ in range(RATIO):
            run()

    return ten


def by_grid_sampling(image: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Convolve deformably, 3 x 3 with padding, by one grid of samples for each tap and group."""
    batch, channels, rows, columns = image.shape
    moved = offset.view(batch * groups, 9, 2, rows, columns)
    down, right = torch.arange(3).repeat_interleave(3) - 1.0, torch.arange(3).repeat(3) - 1.0
    y = moved[:, :, 0] + down.view(1, 9, 1, 1) + torch.arange(rows).view(1, 1, -1, 1)
    x = moved[:, :, 1] + right.view(1, 9, 1, 1) + torch.arange(columns)
    grid = torch.stack(((2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1), dim=-1).flatten(1, 2)
    read = F.grid_sample(image.reshape(batch * groups, -1, rows, columns), grid, align_corners=False)
    read = read.view(batch, groups, channels // groups, 9, -1) * mask.view(batch, groups, 1, 9, -1)
    return (weight.flatten(1) @ read.view(batch, channels * 9, -1)).view(batch, -1, rows, columns)


def deformable(side: int, way: str) -> Callable[[], object]:
    """Return one deformable convolution of 128 channels in 8 groups."""
    image, weight = torch.randn(1, 128, side, side), torch.randn(128, 128, 3, 3) / 34
    told = torch.randn(1, 216, side, side)
    given = [image, 2 * told[:, :144], told[:, 144:].sigmoid(), weight]
    if way.startswith("scanweave"):  # as the network hands them on
        given = [tensor.contiguous(memory_format=torch.channels_last) for tensor in given]
    tracked = way.endswith("gradients")
    given = [tensor.requires_grad_(tracked) for tensor in given]

    def run() -> None:
        made = deform_conv2d(*given, padding=1) if way.startswith("scanweave") else by_grid_sampling(*given, 8)
        if tracked:
            torch.autograd.grad(made.sum(), given)

    return run


def run_of(case: Case) -> tuple[Callable[[], object], int]:
    """Return what is timed, and how many frames it makes."""
    side = case.side
    if case.name == "deformable convolution":
        return deformable(side, case.way), 1
    if case.way.startswith("sequence"):
        return sequence(side, lowered="bfloat16" in case.way), RATIO
    network = network_of(case.name)
    if case.name == "raft":
        views = [255 * torch.rand(1, 1, side, side) for _ in range(2)]
    else:
        views = [torch.rand(1, 3, 1, side, side), torch.rand(1, 2, 1, 4 * side, 4 * side)]
    return lambda: network(*views), 1


def measure(case: Case, options: argparse.Namespace) -> str:
    gradients = case.way.endswith("gradients")
    with torch.no_grad():
        run, frames = run_of(case)
    taken = measured(run, repeats=options.repeats, clock=clock_of(cpu_time=options.cpu_time), gradients=gradients)
    told = ["" if value is None else f"{value:g}" for value in (case.target, case.published, case.published_gigabytes)]
    cells = (case.name, case.side, case.way, f"{taken.seconds / frames:.3f}", f"{taken.unit:.4f}")
    cells += (f"{taken.units / frames:.2f}", told[0], told[1], f"{taken.gigabytes:.2f}", told[2])
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--data", type=Path, help="folder of real runs at the full rate, as TIFF stacks")
    parser.add_argument("--only", help="networks whose name or way begins so")
    parser.add_argument("--output", type=Path, help="write the table here too")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.case is not None:
        print(measure(CASES[options.case], options))
        return
    tables: dict[str, tuple[str, str, Callable[[], Iterable[str]]]] = {
        "networks": ("Networks", HEADER, lambda: networks(options)),
        "costs": (
            "Methods, from files to a file",
            COSTS,
            lambda: costs(threads=options.threads, cpu_time=options.cpu_time),
        ),
        "quality": ("Methods, against the truth", QUALITY, lambda: quality(options.data)),
    }
    clock = " --cpu-time" if options.cpu_time else ""
    lines = [f"`python benchmarks/fusion.py --threads {options.threads}{clock}`, PyTorch {torch.__version__}."]
    for part in options.parts:
        title, header, rows = tables[part]
        lines += ["", f"## {title}", "", header]
        print(f"\n{title}\n\n{header}", flush=True)
        for row in rows():
            lines.append(row)
            print(row, flush=True)
    if options.output:
        options.output.write_text("\n".join([*lines, ""]))


def networks(options: argparse.Namespace) -> Iterator[str]:
    """Yield the rows of networks, each from a process of its own."""
    for index, case in enumerate(CASES):
        if options.only is None or f"{case.name} {case.way}".startswith(options.only):
            command = [sys.executable, __file__, *sys.argv[1:], "--case", str(index)]
            yield subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if options.only is None:
        yield ""
        yield f"In bfloat16 a frame of EDVR-STF differs from that in float32 by {lowered():.1f} dB (PSNR, peak 1)."


@torch.no_grad()
def lowered() -> float:
    """Return how near bfloat16 comes to float32, dB, where the network adds 0.2 (deviation) to the bilinear frame."""
    network = network_of("edvr-stf")
    coarse, sharp = torch.rand(1, 3, 1, 64, 64), torch.rand(1, 2, 1, 256, 256)
    bilinear = F.interpolate(coarse[:, 1], scale_factor=4, mode="bilinear", align_corners=False)
    network.conv_last.weight.mul_(0.2 / (network(coarse, sharp) - bilinear).std())
    whole = network(coarse, sharp)
    with torch.autocast("cpu", torch.bfloat16):
        return float(psnr(network(coarse, sharp).float().numpy(), whole.numpy()))


if __name__ == "__main__":
    main()
