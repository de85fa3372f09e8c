"""The methods of `scanweave fuse`: time and memory of a fused frame through the whole job, and how near to the truth.

Called by ``python benchmarks/fusion.py``. **Costs**: two TIFF stacks are read, fused, written with their side-car, each
method in a process of its own, whose peak memory is told; the published networks have fresh weights. Seconds are those
of making and writing, opening included. **Quality** is that of virtual experiments, both cameras made of one run: of
simulated scenes, and with ``--data FOLDER`` of every TIFF stack in it, at x4 in space and 10 and 20 times in time. Only
frames count that the sharp camera missed; how many says the table. Gains are over the best baseline, paired by run, of
a single run by frame, with the bootstrap's interval of 95 %.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
import torch
from train_fusion import simulated
from units import clock_of, measured, peak_gigabytes, seconds

from scanweave.batch.fusion import FusionOptions, fuse_case
from scanweave.batch.fusion_cases import CameraFiles, Case
from scanweave.cine import Cine
from scanweave.errors import InputError, WeightsError
from scanweave.fusion.calibration import Calibration, write_calibration
from scanweave.fusion.methods import Method, available
from scanweave.fusion.methods import create as create_method
from scanweave.fusion.networks import NetworkMethod
from scanweave.fusion.reading import read_camera
from scanweave.fusion.virtual import VirtualOptions, virtual
from scanweave.metrics import bootstrap, mae, psnr, ssim
from scanweave.models import create

COSTS = "| method | sharp frame | frames | seconds a frame | in U | peak GB |\n" + "| --- " * 6 + "|"
QUALITY = "| runs | method | frames | PSNR, dB | SSIM | MAE | gain on the best baseline, dB |\n" + "| --- " * 7 + "|"
WITHOUT_WEIGHTS = ("hold", "bicubic", "temporal-linear", "flow")
PUBLISHED = ("edvr-stf", "swin-xvr")
FRAMES = {"edvr-stf": 11, "swin-xvr": 3}
"""Frames that slow methods make."""

_PHOTONS = {"without noise": None, "1 % noise": 1e4, "5 % noise": 400.0}
_RATES = (10, 20)
_MANY = 41
_FOUR = ((4.0, 0.0, 1.5), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One row of costs: a method on sharp frames of so many pixels."""

    method: str
    side: int = 256
    frames: int = _MANY
    threads: int = 1
    cpu_time: bool = False


def usable() -> list[str]:
    """Return the methods that run on what comes with scanweave."""
    found = list(WITHOUT_WEIGHTS)
    for name in available():
        if name not in found and name not in PUBLISHED:
            try:
                method = create_method(name)
                if isinstance(method, NetworkMethod):
                    method.network  # noqa: B018 - it is opened when asked for
            except WeightsError:
                continue
            found.append(name)
    return found


def costs(*, threads: int = 1, cpu_time: bool = False) -> Iterator[str]:
    """Yield the rows of costs, each from a process of its own."""
    for name in (*usable(), *PUBLISHED):
        cost = Cost(method=name, frames=FRAMES.get(name, _MANY), threads=threads, cpu_time=cpu_time)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool.submit(cost_row, cost).result()


def cost_row(cost: Cost) -> str:
    """Return a row: what making a run from files to a file takes."""
    torch.set_num_threads(cost.threads)
    clock = clock_of(cpu_time=cost.cpu_time)
    with tempfile.TemporaryDirectory() as place:
        case, options = written(Path(place), cost)
        if cost.method not in PUBLISHED:  # of which a frame takes longer than all that the first run alone needs
            fuse_case(case, Path(place) / "first.tif", options=options)
        taken = seconds(lambda: fuse_case(case, Path(place) / "made.tif", options=options), clock)
        made = len(tifffile.TiffFile(Path(place) / "made.tif").pages)
    peak = peak_gigabytes()
    unit = measured(lambda: None, repeats=1, clock=clock).unit
    size = f"{cost.side} x {cost.side}"
    return f"| {cost.method} | {size} | {made} | {taken / made:.3f} | {taken / made / unit:.2f} | {peak:.2f} |"


def written(folder: Path, cost: Cost) -> tuple[Case, FusionOptions]:
    """Write both cameras' runs, and fresh weights where they are needed; return what `fuse_case` takes."""
    rng = np.random.default_rng(0)
    ratio, small = min(10, cost.frames + 1), cost.side // 4
    fast = rng.integers(0, 4095, (cost.frames + 2, small, small)).astype(np.uint16)
    sharp = rng.integers(0, 4095, (-(-(cost.frames + 1) // ratio) + 1, cost.side, cost.side)).astype(np.uint16)
    tifffile.imwrite(folder / "fast.tif", fast, photometric="minisblack")
    tifffile.imwrite(folder / "sharp.tif", sharp, photometric="minisblack")
    calibration = Calibration(
        method="stated", coarse_shape=(small, small), sharp_shape=(cost.side, cost.side), matrix=_FOUR
    )
    write_calibration(calibration, folder / "calibration.json")
    case = Case(
        name="run",
        fast=CameraFiles(path=folder / "fast.tif", fps=1000.0),
        sharp=CameraFiles(path=folder / "sharp.tif", fps=1000.0 / ratio),
        calibration=folder / "calibration.json",
    )
    given: tuple[tuple[str, object], ...] = ()
    if cost.method in PUBLISHED:
        torch.manual_seed(0)
        torch.save({"params": create(cost.method).state_dict()}, folder / "weights.pth")
        given = (("weights", str(folder / "weights.pth")),)
    return case, FusionOptions(method=cost.method, options=given, match="none")


def quality(folder: Path | None = None) -> Iterator[str]:
    """Yield the rows of quality; of real runs, if a folder of them is given, first."""
    methods = {name: create_method(name) for name in usable()}
    for path in sorted(folder.glob("*.tif")) if folder is not None else ():
        run = read_camera(path, "sharp", fps=1000.0).cine
        for rate in _RATES:
            phases = range(0, rate, rate // 10)
            yield from rows(f"{path.stem}, x4, {rate} times", [run], rate, methods, phases)
    for said, photons in _PHOTONS.items():
        yield from rows(f"simulated, x4, 10 times, {said}", simulated(photons), 10, methods)


def rows(
    name: str, runs: Sequence[Cine], rate: int, methods: dict[str, Method], phases: Sequence[int] = (0,)
) -> Iterator[str]:
    """Yield a row for each method, scored on the frames that a sharp camera of that rate would have missed."""
    scores = {method: scored(runs, VirtualOptions(ratio=rate), made_by, phases) for method, made_by in methods.items()}
    means = {method: np.mean(list(found.values()), axis=0) for method, found in scores.items()}
    best = max(WITHOUT_WEIGHTS, key=lambda method: float(means[method][0]))
    for method, found in scores.items():
        gains = np.array([values[0] - scores[best][key][0] for key, values in found.items()])
        told = ""
        if method not in WITHOUT_WEIGHTS:
            low, high = bootstrap(gains) or (float("nan"), float("nan"))
            told = f"{gains.mean():+.2f} ({low:+.2f} to {high:+.2f}) on {best}"
        decibels, alike, off = means[method][:3]
        frames = sum(int(values[3]) for values in found.values())
        yield f"| {name} | {method} | {frames} | {decibels:.2f} | {alike:.4f} | {off:.5f} | {told} |"


def scored(
    runs: Sequence[Cine], cameras: VirtualOptions, method: Method, phases: Sequence[int] = (0,)
) -> dict[str, tuple[float, ...]]:
    """Return PSNR, SSIM, MAE and the number of frames of each run; of one run alone, of each of its frames."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for number, run in enumerate(runs):
        for first in phases:
            try:
                pair = virtual(run, replace(cameras, first=first))
            except InputError:  # fewer than two sharp frames are left
                continue
            known = np.searchsorted(pair.truth.times, pair.sharp.times - 1e-9).tolist()
            state = method.prepare(pair.coarse, pair.sharp, pair.calibration)
            for i in (i for i in range(min(known) + 1, max(known)) if i not in known):
                made = state.at([float(pair.truth.times[i])]).frames[0, 0].numpy()
                truth = pair.truth.unit(i)[: made.shape[0], : made.shape[1]]
                key = f"run {number}" if len(runs) > 1 else f"frame {i}"
                found.setdefault(key, []).append((psnr(made, truth), ssim(made, truth), mae(made, truth)))
    return {key: (*np.mean(values, axis=0).tolist(), len(values)) for key, values in found.items()}
