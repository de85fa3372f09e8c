"""The training engine against a bare PyTorch loop, and how long training waits for simulated samples.

    python benchmarks/training.py                   # all; tables, benchmarks/results/training.*
    python benchmarks/training.py --only overhead   # writes no results

**Overhead.** One recipe is trained by the engine, and a twin of it by a plain loop: a step of the one, a step of the
other, so that both meet the same moods of the machine. Each step of the engine, from where it begins to where the next
would (samples, rules and log count; starting up does not), is divided by the mean of the loop's before and after it;
the median of those ratios is told with its 95 % interval (sign test). The exit status is 1 if the median exceeds 1.03
for MoSt-DSA.

**Waiting.** MoSt-DSA at 256 x 256 on simulated samples, made by other processes meanwhile: samples per second, the
share of time waiting for data (at most 5 %) and peak memory, by the engine's own log.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from scanweave.models import create
from scanweave.training import Batch, Recipe, TrainingConfig, Update, train
from scanweave.training.order import Order

ALLOWED_OVERHEAD, ALLOWED_WAITING = 0.03, 0.05
RESULTS = Path(__file__).parent / "results"
_WARM = 3  # steps that are not counted


class Noise:
    """Pairs of random frames with one between, cheap to make."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __len__(self) -> int:
        return 100_000

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, int]:
        """Draw a seed."""
        return {"seed": int(generator.integers(1 << 31))}

    def make(self, drawn: Mapping[str, int]) -> dict[str, Tensor]:
        """Make noise."""
        frames = torch.rand(3, 3, self.side, self.side, generator=torch.Generator().manual_seed(drawn["seed"]))
        return {"frame0": frames[0], "frame1": frames[1], "target": frames[2]}


class Between(Recipe):
    """Any network called as the interpolators are, with an L1 loss and AdamW."""

    def __init__(self, network: nn.Module, side: int) -> None:
        self.network = network
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5)
        self.side = side

    def modules(self) -> dict[str, nn.Module]:
        """Return the network."""
        return {"network": self.network}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return its optimizer."""
        return {"network": self.optimizer}

    def samples(self) -> Noise:
        """Return noise."""
        return Noise(self.side)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the one update."""
        made = self.network(batch["frame0"], batch["frame1"], [0.5])[:, 0]
        yield Update("network", (made - batch["target"]).abs().mean())


class Interleaved(Between):
    """Between two of its own steps it lets a plain loop take one, and notes the seconds of both."""

    def __init__(self, network: nn.Module, side: int, loop: Iterator[float]) -> None:
        super().__init__(network, side)
        self.loop = loop
        self.by_engine: list[float] = []
        self.by_loop: list[float] = []
        self._resumed: float | None = None

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the one update, after a step of the loop."""
        if self._resumed is not None:
            self.by_engine.append(time.perf_counter() - self._resumed)
        self.by_loop.append(next(self.loop))
        self._resumed = time.perf_counter()
        yield from super().updates(batch, step)


class Tiny(nn.Module):
    """Six convolutions with the interpolators' call."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(6, 24, 3, padding=1), nn.ReLU()]
        for _ in range(4):
            layers += [nn.Conv2d(24, 24, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(24, 3, 3, padding=1))

    def forward(self, frame0: Tensor, frame1: Tensor, times: Sequence[float]) -> Tensor:
        """Return one frame between, whatever the times."""
        return self.layers(torch.cat((frame0, frame1), 1))[:, None]


def plain_loop(recipe: Between, steps: int, batch: int) -> Iterator[float]:
    """Train step by step; yield the seconds of each."""
    samples = recipe.samples()
    drawn = [one for part in Order(samples, 0, batch).parts_of(0, start=0, stop=steps) for one in part]
    recipe.network.train()
    begun = time.perf_counter()
    for step, data in enumerate(DataLoader([_Lazy(samples, one) for one in drawn], batch, collate_fn=_collate)):
        for update in recipe.updates(data, step):
            recipe.optimizer.zero_grad()
            update.loss.backward()
            recipe.optimizer.step()
        yield time.perf_counter() - begun
        begun = time.perf_counter()


class _Lazy:
    def __init__(self, samples: Noise, drawn: dict[str, int]) -> None:
        self.make = lambda: samples.make(drawn)


def _collate(items: list[_Lazy]) -> dict[str, Tensor]:
    made = [item.make() for item in items]
    return {name: torch.stack([sample[name] for sample in made]) for name in made[0]}


def overhead(name: str, network: nn.Module, *, side: int, batch: int, steps: int) -> dict[str, Any]:
    """Train both ways, step by step; return medians and the interval of the ratio."""
    loop = plain_loop(Between(copy.deepcopy(network), side), steps + _WARM + 1, batch)
    recipe = Interleaved(network, side, loop)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(steps=steps + _WARM + 1, batch=batch, device="cpu", log_every=10)
        train(recipe, config, Path(folder, "run"))
    loops, engines = np.array(recipe.by_loop[_WARM:]), np.array(recipe.by_engine[_WARM:])
    ratios = np.sort(engines / ((loops[:-1] + loops[1:]) / 2))
    reach = int(0.98 * np.sqrt(steps))
    low, high = ratios[max(0, steps // 2 - reach - 1)], ratios[min(steps - 1, steps // 2 + reach)]
    return {
        "case": name,
        "steps": len(ratios),
        "loop_ms": round(1e3 * float(np.median(loops)), 3),
        "engine_ms": round(1e3 * float(np.median(engines)), 3),
        "ratio": round(float(np.median(ratios)), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def memory(way: str) -> float:
    """Return the peak memory in GB of a process that trains MoSt-DSA, 1 x 128 x 128, by the `engine` or the `loop`."""
    command = [sys.executable, __file__, "--peak-of", way]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_of(way: str, steps: int = 3) -> float:
    """Train in this process; return its peak memory in GB."""
    recipe = Between(create("most-dsa"), 128)
    if way == "loop":
        for _ in plain_loop(recipe, steps, 1):
            pass
    else:
        with tempfile.TemporaryDirectory() as folder:
            train(recipe, TrainingConfig(steps=steps, batch=1, device="cpu"), Path(folder, "run"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10) / 1e9


def waiting(*, steps: int, workers: int, side: int) -> dict[str, Any]:
    """Train MoSt-DSA on simulated samples in a process of its own; return speed, waiting and memory."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "run")
        command = [sys.executable, "-m", "scanweave", "train", "most-dsa", "--config", "most-dsa-simulated"]
        command += ["-o", str(output), "--json", "--training.steps", str(steps), "--training.batch", "1"]
        command += ["--training.workers", str(workers), "--training.precision", "float32", "--training.device", "cpu"]
        command += ["--training.log-every", "1", "--recipe.simulation.validation-length", "0"]
        command += ["--recipe.simulation.size", str(side), str(side)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}")
        lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    # the first steps wait for workers to start
    told = [line for line in lines if line["event"] == "train"][2:]
    seconds = [1 / line["samples_per_second"] for line in told]
    unit = 1 if sys.platform == "darwin" else 2**10
    return {
        "case": f"MoSt-DSA, {side} x {side}, simulated",
        "workers": workers,
        "steps": len(told),
        "samples_per_second": round(len(told) / sum(seconds), 3),
        "waiting": round(sum(s * line["waiting"] for s, line in zip(seconds, told, strict=True)) / sum(seconds), 4),
        "peak_gb": round(usage.ru_maxrss * unit / 1e9, 2),
    }


def table(rows: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        f"On {platform.machine()}, {os.cpu_count()} cores, {rows['threads']} threads, PyTorch {torch.__version__}.",
        "",
        f"Engine against a bare loop; at most {1 + ALLOWED_OVERHEAD:.2f} is allowed for MoSt-DSA.",
        "",
        "| step | steps | loop, ms | engine, ms | ratio | 95 % interval |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows["overhead"]:
        low, high = row["interval"]
        times = f"{row['loop_ms']:.2f} | {row['engine_ms']:.2f}"
        lines.append(f"| {row['case']} | {row['steps']} | {times} | {row['ratio']:.3f} | {low:.3f} to {high:.3f} |")
    if rows["peak_gb"]:
        peaks = rows["peak_gb"]
        lines += ["", f"Peak memory of MoSt-DSA's steps: loop {peaks['loop']:.2f} GB, engine {peaks['engine']:.2f} GB."]
    if rows["waiting"]:
        row = rows["waiting"]
        lines += [
            "",
            f"{row['case']}, {row['workers']} worker: {row['samples_per_second']} samples per second, "
            f"{row['waiting']:.1%} of the time waiting for data (at most {ALLOWED_WAITING:.0%} is allowed), "
            f"peak memory {row['peak_gb']} GB.",
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("overhead", "waiting"), help="writes no results")
    parser.add_argument(
        "--pairs", type=int, default=60, help="steps of MoSt-DSA each way; ten times as many small ones"
    )
    parser.add_argument("--side", type=int, default=256, help="of MoSt-DSA's frames while waiting is measured")
    parser.add_argument("--steps", type=int, default=25, help="taken while waiting is measured")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--peak-of", choices=("engine", "loop"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print(peak_of(options.peak_of))
        return 0
    rows: dict[str, Any] = {"threads": torch.get_num_threads(), "overhead": [], "peak_gb": None, "waiting": None}
    if options.only != "waiting":
        for name, network, side, batch, steps in (
            ("6 convolutions, 4 x 64 x 64", Tiny(), 64, 4, 10 * options.pairs),
            ("MoSt-DSA, 1 x 128 x 128", create("most-dsa"), 128, 1, options.pairs),
        ):
            rows["overhead"].append(overhead(name, network, side=side, batch=batch, steps=steps))
            print(json.dumps(rows["overhead"][-1]), flush=True)
        rows["peak_gb"] = {way: round(memory(way), 3) for way in ("loop", "engine")}
    if options.only != "overhead":
        rows["waiting"] = waiting(steps=options.steps, workers=options.workers, side=options.side)
        print(json.dumps(rows["waiting"]), flush=True)
    if options.only is None:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "training.json").write_text(json.dumps(rows, indent=1) + "\n")
        (RESULTS / "training.md").write_text(table(rows))
    print(table(rows))
    slow = any("MoSt" in row["case"] and row["ratio"] > 1 + ALLOWED_OVERHEAD for row in rows["overhead"])
    waits = rows["waiting"] is not None and rows["waiting"]["waiting"] > ALLOWED_WAITING
    return 1 if slow or waits else 0


if __name__ == "__main__":
    sys.exit(main())
