"""The training engine against a bare PyTorch loop, and how long training waits for simulated samples.

    python benchmarks/training.py                   # all; tables, benchmarks/results/training.*
    python benchmarks/training.py --only overhead   # writes no results

**Overhead.** One recipe is trained by the engine and by a plain loop, in turns, on the same batches. What is timed runs
from one step's beginning to the next's, so that data, rules and log count and starting up does not. Each turn of the
engine is divided by the mean of the loop's before and after it; the median of those ratios is told with its 95 %
interval (sign test). The exit status is 1 if the median exceeds 1.03 for MoSt-DSA.

**Waiting.** MoSt-DSA at 256 x 256 on simulated samples, made by other processes meanwhile: samples per second, the
share of time waiting for data (at most 5 %) and peak memory, by the engine's own log.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
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
    """Any network called as the interpolators are, with an L1 loss and AdamW; notes when each step begins."""

    def __init__(self, network: nn.Module, side: int) -> None:
        self.network = network
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5)
        self.side = side
        self.begun: list[float] = []

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
        self.begun.append(time.perf_counter())
        made = self.network(batch["frame0"], batch["frame1"], [0.5])[:, 0]
        yield Update("network", (made - batch["target"]).abs().mean())


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


def by_engine(recipe: Between, steps: int, batch: int) -> list[float]:
    """Return the seconds of each step."""
    recipe.begun.clear()
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(steps=steps + 1, batch=batch, device="cpu", log_every=10)
        train(recipe, config, Path(folder, "run"))
    return list(np.diff(recipe.begun))


def by_loop(recipe: Between, steps: int, batch: int) -> list[float]:
    """Return the seconds of each step."""
    recipe.begun.clear()
    samples = recipe.samples()
    drawn = [one for part in Order(samples, 0, batch).parts_of(0, start=0, stop=steps + 1) for one in part]
    recipe.network.train()
    for step, data in enumerate(DataLoader([_Lazy(samples, one) for one in drawn], batch, collate_fn=_collate)):
        for update in recipe.updates(data, step):
            recipe.optimizer.zero_grad()
            update.loss.backward()
            recipe.optimizer.step()
    return list(np.diff(recipe.begun))


class _Lazy:
    def __init__(self, samples: Noise, drawn: dict[str, int]) -> None:
        self.make = lambda: samples.make(drawn)


def _collate(items: list[_Lazy]) -> dict[str, Tensor]:
    made = [item.make() for item in items]
    return {name: torch.stack([sample[name] for sample in made]) for name in made[0]}


def overhead(name: str, network: nn.Module, *, side: int, batch: int, steps: int, turns: int) -> dict[str, Any]:
    """Take turns; return medians and the interval of the ratio."""
    recipe = Between(network, side)
    by_loop(recipe, 2, batch), by_engine(recipe, 2, batch)
    loops = [statistics.median(by_loop(recipe, steps, batch))]
    engines, ratios = [], []
    for _ in range(turns):
        engines.append(statistics.median(by_engine(recipe, steps, batch)))
        loops.append(statistics.median(by_loop(recipe, steps, batch)))
        ratios.append(engines[-1] / ((loops[-2] + loops[-1]) / 2))
    ratios.sort()
    reach = int(0.98 * np.sqrt(turns))
    low, high = ratios[max(0, turns // 2 - reach - 1)], ratios[min(turns - 1, turns // 2 + reach)]
    return {
        "case": name,
        "turns": turns,
        "steps_per_turn": steps,
        "loop_ms": round(1e3 * statistics.median(loops), 3),
        "engine_ms": round(1e3 * statistics.median(engines), 3),
        "ratio": round(statistics.median(ratios), 4),
        "interval": [round(low, 4), round(high, 4)],
    }


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
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "case": f"MoSt-DSA, {side} x {side}, simulated",
        "workers": workers,
        "steps": len(told),
        "samples_per_second": round(len(told) / sum(seconds), 3),
        "waiting": round(sum(s * line["waiting"] for s, line in zip(seconds, told, strict=True)) / sum(seconds), 4),
        "peak_mib": round(usage.ru_maxrss / unit),
    }


def table(rows: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        f"On {platform.machine()}, {os.cpu_count()} cores, {rows['threads']} threads, PyTorch {torch.__version__}.",
        "",
        f"Engine against a bare loop; at most {1 + ALLOWED_OVERHEAD:.2f} is allowed for MoSt-DSA.",
        "",
        "| step | loop, ms | engine, ms | ratio | 95 % interval |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows["overhead"]:
        low, high = row["interval"]
        times = f"{row['loop_ms']:.2f} | {row['engine_ms']:.2f}"
        lines.append(f"| {row['case']} | {times} | {row['ratio']:.3f} | {low:.3f} to {high:.3f} |")
    if rows["waiting"]:
        row = rows["waiting"]
        lines += [
            "",
            f"{row['case']}, {row['workers']} worker: {row['samples_per_second']} samples per second, "
            f"{row['waiting']:.1%} of the time waiting for data (at most {ALLOWED_WAITING:.0%} is allowed), "
            f"peak memory {row['peak_mib']} MiB.",
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("overhead", "waiting"), help="writes no results")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--side", type=int, default=256, help="of MoSt-DSA's frames while waiting is measured")
    parser.add_argument("--steps", type=int, default=25, help="taken while waiting is measured")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    rows: dict[str, Any] = {"threads": torch.get_num_threads(), "overhead": [], "waiting": None}
    if options.only != "waiting":
        for name, network, side, batch, steps in (
            ("6 convolutions, 4 x 64 x 64", Tiny(), 64, 4, 40),
            ("MoSt-DSA, 1 x 128 x 128", create("most-dsa"), 128, 1, 4),
        ):
            rows["overhead"].append(overhead(name, network, side=side, batch=batch, steps=steps, turns=options.turns))
            print(json.dumps(rows["overhead"][-1]), flush=True)
    if options.only != "overhead":
        rows["waiting"] = waiting(steps=options.steps, workers=options.workers, side=options.side)
        print(json.dumps(rows["waiting"]), flush=True)
    rows["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
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
