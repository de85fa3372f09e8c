"""How fast each interpolation method is, what memory it takes, and how near it comes to hidden frames of real runs.

    python benchmarks/interpolation.py                           # tables, benchmarks/results/interpolation.{md,json}
    python benchmarks/interpolation.py --data FOLDER             # quality on the runs in a folder, too
    python benchmarks/interpolation.py --parts speed --threads 1

**Speed.** Three frames are made in a gap of synthetic grey frames; the time is that of the best gap, by the number of
frames made. Beside seconds on the clock stand seconds of the processor, over all threads: they hold on a busy machine,
too. Unit U is the best processor time in the same run of one 64-to-64 3x3 convolution on 1 x 64 x 256 x 256 float32, so
that machines can be compared. Every case runs in a process of its own, whose peak memory is given with what it holds
before the first frame is made (interpreter, libraries, two frames).

**Quality.** The leave-one-out score: median PSNR where the run moves, with quartiles, at gaps 2, 3, 4 and 8.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from scanweave import io, trust
from scanweave.cine import Cine
from scanweave.errors import ScanweaveError
from scanweave.interpolation.methods import create

_METHODS = ("hold", "linear", "minterpolate", "optical-flow")
_GAPS = (2, 3, 4, 8)
_ECHO = "pydicom ybr_color"
_SUFFIXES = {".dcm", ".mp4", ".tif"}
_TIMES = (0.25, 0.5, 0.75)
_LEAST_REPEATS, _SECONDS = 3, 6.0
_RESULTS = Path(__file__).parent / "results" / "interpolation"


def best_seconds(work: Callable[[], object], *, for_seconds: float = _SECONDS) -> tuple[float, float]:
    """Return the least time of several runs of `work`, on the clock and of the processor: the least disturbed ones."""
    clock: list[float] = []
    processor: list[float] = []
    while len(clock) < _LEAST_REPEATS or sum(clock) < for_seconds:
        clocked, processed = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - clocked)
        processor.append(time.process_time() - processed)
    return min(clock), min(processor)


def peak_memory() -> float:
    """Return the largest memory that this process has held, in GiB (Linux counts in KiB, macOS in bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def unit() -> dict[str, float]:
    """Measure U."""
    layer = torch.nn.Conv2d(64, 64, 3, padding=1)

    best = math.inf
    for _ in range(5):
        # Where a tensor lies in memory matters: fresh ones.
        fresh = torch.rand(1, 64, 256, 256)
        with torch.inference_mode():
            best = min(best, best_seconds(partial(layer, fresh), for_seconds=1.0)[1])
    return {"cpu_seconds": best}


def moving_frames(side: int) -> Cine:
    """Return grey frames of a textured disc that swells and shifts, as a heart does, over still grain."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    grain = generator.normal(0, 6, (side, side)).astype(np.float32)

    def frame(i: int) -> NDArray[np.uint8]:
        radius = np.hypot(rows - 0.02 * i, columns) / (0.25 + 0.03 * i)
        texture = 30 * np.sin(18 * radius) * np.cos(9 * np.arctan2(rows, columns))
        grey: NDArray[np.uint8] = np.clip(60 + 120 * (radius < 1) + texture + grain, 0, 255).astype(np.uint8)
        return grey

    return Cine.from_array(np.stack([frame(i) for i in range(2)]), fps=30)


def speed_case(method: str, side: int) -> dict[str, float]:
    """Measure one method on squares of one size in this process."""
    run = moving_frames(side)
    for i in range(len(run)):
        run.unit(i)
    before = peak_memory()
    fitted = create(method).fit(run)
    with torch.inference_mode():
        clock, processor = best_seconds(lambda: fitted.prepare(0, 1).at(_TIMES))
    made = len(_TIMES)
    return {"seconds": clock / made, "cpu_seconds": processor / made, "peak": peak_memory(), "before": before}


def measured(threads: int, *case: str) -> dict[str, float]:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--case", *case]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def measure_speed(methods: Sequence[str], sides: Sequence[int], threads: int) -> dict[str, Any]:
    """Measure every method at every size, and U before and after."""
    units = [measured(threads, "unit")["cpu_seconds"]]
    cases = []
    for side in sides:
        for method in methods:
            cases.append({"method": method, "side": side, **measured(threads, method, str(side))})
            print(f"{method} at {side}: {cases[-1]['seconds']:.4f} s", file=sys.stderr)
    units.append(measured(threads, "unit")["cpu_seconds"])
    return {"unit_cpu_seconds": min(units), "frames_per_gap": len(_TIMES), "cases": cases}


def runs(data: Path | None) -> Iterator[tuple[str, Path]]:
    """Yield names and paths of what may be a run: the echo that comes with pydicom, and a folder's other files."""
    from pydicom.examples import get_path

    echo = Path(get_path("ybr_color"))
    yield _ECHO, echo
    for path in sorted(data.rglob("*")) if data is not None else ():
        if path.suffix in _SUFFIXES and path.read_bytes() != echo.read_bytes():
            yield path.name, path


def measure_quality(methods: Sequence[str], data: Path | None, max_hidden: int | None) -> dict[str, Any]:
    """Score every method on every run; what is no run of at least three frames is left out with the reason."""
    scored, left_out = [], {}
    for name, path in runs(data):
        started = time.perf_counter()
        try:
            run = io.read(path)
            result = trust.leave_one_out(run, methods, _GAPS, max_hidden=None if name == _ECHO else max_hidden)
        except ScanweaveError as error:
            left_out[name] = error.reason
            continue
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        medians = [
            {"method": s.method, "gap": s.gap, "count": s.count, "psnr_region": list(s.psnr_region)}
            for s in result.summary()
        ]
        ranks = {method: found.spearman for method, found in result.calibration.items()}
        facts = {"frames": len(run), "rows": run.shape[0], "columns": run.shape[1]}
        scored.append({"run": name, **facts, "scores": medians, "spearman": ranks})
    return {"max_hidden": max_hidden, "runs": scored, "left_out": left_out}


def speed_table(found: dict[str, Any], machine: dict[str, Any]) -> list[str]:
    """Return the speed part as Markdown."""
    one = found["unit_cpu_seconds"]
    lines = [
        "## Speed and memory per made frame",
        "",
        f"Threads of PyTorch and OpenCV: {machine['threads']}; {machine['processor']}, torch {machine['torch']}; "
        f"U = {one:.4f} processor seconds; {found['frames_per_gap']} grey frames made per gap, best gap.",
        "",
        "| method | side | seconds | processor seconds | in U | peak memory (GiB) | of it before (GiB) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    return lines + [
        f"| {c['method']} | {c['side']} | {c['seconds']:.4f} | {c['cpu_seconds']:.4f} | {c['cpu_seconds'] / one:.2f} "
        f"| {c['peak']:.2f} | {c['before']:.2f} |"
        for c in found["cases"]
    ]


def quality_table(found: dict[str, Any]) -> list[str]:
    """Return the quality part as Markdown."""
    hidden = "every frame hidden at every phase"
    if found["max_hidden"] is not None:
        hidden += f" ({_ECHO}), at most {found['max_hidden']} frames per gap (the others)"
    lines = [
        "## Leave-one-out quality",
        "",
        f"Median PSNR where the run moves, dB [quartiles], {hidden}; Spearman: expected against true error at gap 2 on "
        "odd hidden frames.",
        "",
        "| run | method | " + " | ".join(f"gap {gap}" for gap in _GAPS) + " | Spearman |",
        "| --- | --- |" + " ---: |" * (len(_GAPS) + 1),
    ]
    for run in found["runs"]:
        size = f"{run['run']} ({run['frames']} x {run['rows']} x {run['columns']})"
        for method in dict.fromkeys(score["method"] for score in run["scores"]):
            by_gap = {score["gap"]: score["psnr_region"] for score in run["scores"] if score["method"] == method}
            cells = [spread(by_gap.get(gap)) for gap in _GAPS]
            rank = run["spearman"].get(method)
            lines.append(f"| {size} | {method} | {' | '.join(cells)} | {'-' if rank is None else f'{rank:.2f}'} |")
            size = ""
    lines += ["", *(f"Left out: {name}: {reason}." for name, reason in found["left_out"].items())]
    return lines


def spread(quartiles: Sequence[float] | None) -> str:
    """Return median and quartiles, or a dash."""
    if quartiles is None:
        return "-"
    lower, median, upper = quartiles
    return f"{median:.2f} [{lower:.2f}, {upper:.2f}]"


def main() -> int:
    """Run what was asked for; parts that were not measured keep their last results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("speed", "quality"), default=("speed", "quality"))
    parser.add_argument("--methods", nargs="+", default=_METHODS)
    parser.add_argument("--sides", nargs="+", type=int, default=(256, 512, 1024))
    parser.add_argument("--data", type=Path, help="folder of runs to score")
    parser.add_argument("--max-hidden", type=int, default=64, help="per gap and run of the folder; 0 for all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    if options.case:
        found = unit() if options.case == ["unit"] else speed_case(options.case[0], int(options.case[1]))
        print(json.dumps(found))
        return 0
    results: dict[str, Any] = {}
    if "speed" in options.parts:
        machine = {"threads": options.threads, "processor": processor(), "torch": torch.__version__}
        results["speed"] = measure_speed(options.methods, options.sides, options.threads) | {"machine": machine}
    if "quality" in options.parts:
        results["quality"] = measure_quality(options.methods, options.data, options.max_hidden or None)
    kept = _RESULTS.with_suffix(".json")
    results = (json.loads(kept.read_text()) if kept.exists() else {}) | results
    text = ["# Interpolation", ""]
    if "speed" in results:
        text += [*speed_table(results["speed"], results["speed"]["machine"]), ""]
    if "quality" in results:
        text += quality_table(results["quality"])
    print("\n".join(text))
    _RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(results, indent=1) + os.linesep)
    _RESULTS.with_suffix(".md").write_text("\n".join(text).rstrip() + "\n")
    return 0


def processor() -> str:
    """Return the processor's name and number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    raise SystemExit(main())
