"""Train block-fusion on simulated scenes, and judge it: on real frames, on simulated ones, before several cameras.

    python benchmarks/train_fusion.py -o OUT [--training.steps 20000 ...]
    python benchmarks/train_fusion.py --compare WEIGHTS -o OUT --data RUN [--ship]

**Training** is ``scanweave train block-fusion --config block-fusion-simulated``.

**Comparison** is in virtual mode: both cameras are made of one run, and every frame that the sharp one missed is made
and compared with the run's own, by PSNR in dB over the window (of integers the depth that is used). ``--data`` is a
real run at the full rate, nothing of which was trained on. Each rate is tried with ten first frames; a frame's PSNR is
the mean over these, and differences are paired by frame, of simulated runs by run. The best baseline of a case is the
one with the highest mean; the interval is the bootstrap's, of 95 %: on the one real run it tells how sure the
difference is there, not on others.

**Verdict**: the network is worth shipping if the lower bound is above 0 on the real frames at x4 in space, at 10 and 20
times in time. ``--ship`` then writes it, float16, into the package.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from train_synthesis import thinned

from scanweave import weights
from scanweave.cine import Cine
from scanweave.errors import InputError
from scanweave.fusion.block_method import BUNDLED as NAME
from scanweave.fusion.block_method import BlockFusionMethod
from scanweave.fusion.methods import Method, create
from scanweave.fusion.reading import read_camera
from scanweave.fusion.scene import common_box
from scanweave.fusion.virtual import VirtualOptions, virtual
from scanweave.metrics import bootstrap, outcome, psnr
from scanweave.models import BlockFusion
from scanweave.simulate import AngiographyConfig, RadiographyConfig, RadiographyParams, draw, render
from scanweave.weights.catalogue import BUNDLED

RESULTS = Path(__file__).parent / "results"
RATES = (10, 20)
BASELINES: dict[str, Method] = {
    "hold": create("hold"),
    "bicubic": create("bicubic"),
    "temporal-linear": create("temporal-linear"),
    "flow": create("flow"),
    "flow, motion none": create("flow", motion="none"),
    "flow, motion coarse": create("flow", motion="coarse"),
}

_LOG_BYTES = 190_000
_SCENES = 12  # of each kind of simulated run
_SEED = 990_000  # of the first; training draws its own otherwise
_PHOTONS = {"without noise": None, "1 % noise": 1e4, "5 % noise": 400.0}  # at brightness 1

_SHARED: dict[str, Any] = {}

Scores = dict[str, dict[str, float]]
"""PSNR by method, then by frame or run."""


@dataclass(frozen=True)
class Case:
    """One comparison: runs, and what both cameras are."""

    name: str
    runs: Sequence[Cine]
    options: VirtualOptions
    phases: Sequence[int] = (0,)


# --- runs


def simulated(photons: float | None, *, frames: int = 11, ratio: float = 10.0) -> list[Cine]:
    """Return runs of scenes as trained on, but others, of 128 x 160 pixels."""
    runs = []
    for seed in range(_SEED, _SEED + _SCENES):
        generator = np.random.default_rng(seed)
        config = RadiographyConfig(size=(128, 160), fastest=20.0)
        clean = RadiographyParams.draw(config, generator=generator).render([k / ratio for k in range(frames)])
        runs.append(_recorded(clean, photons, generator))
    return runs


def angiograms(photons: float | None, *, frames: int = 9) -> list[Cine]:
    """Return runs of scenes of another kind, which training never meets: vessels that fill, in a beating heart."""
    runs = []
    for seed in range(_SEED, _SEED + _SCENES):
        generator = np.random.default_rng(seed)
        scene = draw(AngiographyConfig(size=(128, 128)), generator=generator)
        start = scene["start"] + 0.3 * scene["duration"]
        clean = render(scene, [start + k * 0.02 for k in range(frames)], noise=False)
        runs.append(_recorded(clean, photons, generator))
    return runs


def _recorded(clean: NDArray[np.float32], photons: float | None, generator: np.random.Generator) -> Cine:
    if photons is not None:
        clean = (generator.poisson(np.maximum(clean, 0) * photons) / photons).astype(np.float32)
    return Cine.from_array((np.rint(clean * 4095) / 4095).astype(np.float32), fps=1000, levels=(0.0, 1.0))


def cases(data: Path | None) -> list[Case]:
    """Return what is compared; those on real frames go first."""
    found = []
    if data is not None:
        cine = read_camera(data, "sharp", fps=1000).cine
        # in memory: processes that share an open file read each other's places in it
        real = [Cine.from_array(np.stack([cine.frame(i) for i in range(len(cine))]), fps=1000)]
        found += [
            Case(f"real, x4, {rate} times", real, VirtualOptions(ratio=rate), range(0, rate, rate // 10))
            for rate in RATES
        ]
        found += [
            Case("real, x2, 10 times", real, VirtualOptions(scale=2)),
            Case("real, x3, 10 times", real, VirtualOptions(scale=3)),
            Case("real, x8, 10 times", real, VirtualOptions(scale=8)),
            Case("real, x4, 10 times, coarse camera blurs", real, VirtualOptions(blur=0.5)),
            Case("real, x4, 10 times, coarse camera with noise", real, VirtualOptions(noise=0.001)),
            Case("real, x4, 10 times, shifted by 1.3 and 0.6 pixels", real, VirtualOptions(offset=(1.3, 0.6))),
        ]
    for said, photons in _PHOTONS.items():
        found.append(Case(f"simulated, x4, 10 times, {said}", simulated(photons), VirtualOptions()))
        found.append(Case(f"angiograms, x4, 8 times, {said}", angiograms(photons), VirtualOptions(ratio=8)))
    return found


# --- comparison


def scored(case: Case, methods: Mapping[str, Method]) -> Scores:
    """Return the PSNR of each method by run, of a single run by frame, mean over all else: what differences pair."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in methods}
    for number, run in enumerate(case.runs):
        for first in case.phases:
            try:
                pair = virtual(run, VirtualOptions(**(vars(case.options) | {"first": first})))
            except InputError:  # it leaves fewer than two sharp frames
                continue
            sharp = set(np.searchsorted(pair.truth.times, pair.sharp.times - 1e-9).tolist())
            x0, y0, x1, y1 = common_box(pair.calibration)
            missed = [i for i in range(min(sharp) + 1, max(sharp)) if i not in sharp]
            for name, method in methods.items():
                state = method.prepare(pair.coarse, pair.sharp, pair.calibration)
                for i in missed:
                    made = state.at([float(pair.truth.times[i])]).frames[0, 0].numpy()
                    truth = pair.truth.unit(i)[y0:y1, x0:x1]
                    key = f"run {number}" if len(case.runs) > 1 else f"frame {i}"
                    found[name].setdefault(key, []).append(psnr(made, truth))
    return {name: {key: float(np.mean(values)) for key, values in by.items()} for name, by in found.items()}


def compared(scores: Scores, ours: str = "block-fusion") -> dict[str, Any]:
    """Return the means, and how the network differs from the best baseline."""
    means = {name: float(np.mean(list(by.values()))) for name, by in scores.items()}
    best = max((name for name in means if name != ours), key=lambda name: means[name])
    gains = np.array([scores[ours][key] - scores[best][key] for key in scores[ours]])
    interval = bootstrap(gains)
    return {
        "psnr": means,
        "best": best,
        "gain": float(gains.mean()),
        "interval": interval,
        "least": float(gains.min()),
        "pairs": len(gains),
        "outcome": outcome(float(gains.mean()), interval, len(gains)),
    }


def judged(chosen: Sequence[Case], methods: Mapping[str, Method], *, processes: int) -> Iterator[dict[str, Any]]:
    """Yield what `compared` says of each case, in order."""
    _SHARED.update(chosen=chosen, methods=methods)
    # runs are made of functions, which no pickle holds: processes inherit them
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(_judged, range(len(chosen)))


def _judged(index: int) -> dict[str, Any]:
    return compared(scored(_SHARED["chosen"][index], _SHARED["methods"]))


def worth(rows: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether the lower bound is above 0 on the real frames at both rates."""
    bounds = [rows.get(f"real, x4, {rate} times", {}).get("interval") for rate in RATES]
    return all(bound is not None and bound[0] > 0 for bound in bounds)


def picture(run: Cine, methods: Mapping[str, Method], path: Path, *, rate: int = 10, frame: int = 15) -> None:
    """Write truth, what methods make of one frame, and six times the differences, one below the other."""
    pair = virtual(run, VirtualOptions(ratio=rate))
    truth = pair.truth.unit(frame)
    low, high = np.percentile(truth, (0.5, 99.5))
    panels = [(truth - low) / (high - low)]
    for method in methods.values():
        state = method.prepare(pair.coarse, pair.sharp, pair.calibration)
        made = state.at([float(pair.truth.times[frame])]).frames[0, 0].numpy()
        panels += [(made - low) / (high - low), 0.5 + 6 * (made - truth) / (high - low)]
    stacked = np.clip(np.concatenate(panels) * 255, 0, 255).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(stacked, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST))


# --- telling


def page(rows: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any], log: Sequence[str]) -> str:
    """Return the results as Markdown."""
    names = list(next(iter(rows.values()))["psnr"])
    lines = ["# A small network of fusion from simulated scenes: block-fusion against what needs no weights", ""]
    lines += [f"{name}: {value}  " for name, value in facts.items()]
    lines += ["", f"On real frames at both rates: {'worth' if worth(rows) else 'not worth'} shipping.", ""]
    lines += ["PSNR in dB; how it is taken and paired says `benchmarks/train_fusion.py`.", ""]
    lines += [f"| case | pairs | {' | '.join(names)} | gain on the best other, 95 % | least |"]
    lines += ["| --- | ---: |" + " ---: |" * (len(names) + 2)]
    for case, row in rows.items():
        means = " | ".join(f"{row['psnr'][name]:.2f}" for name in names)
        low, high = row["interval"] or (float("nan"),) * 2
        gain = f"{row['gain']:+.2f} ({low:+.2f} to {high:+.2f}, {row['outcome']}) on {row['best']}"
        lines += [f"| {case} | {row['pairs']} | {means} | {gain} | {row['least']:+.2f} |"]
    scores = [event for event in map(json.loads, log) if event["event"] == "validation"]
    if scores:
        lines += ["", "Simulated samples, held out, during training: the loss is the mean of negative PSNR in units of"]
        lines += ["the noise; the gain is on the two sharp frames, blended as they are or moved by flow. Each stage"]
        lines += ["has its own samples: only rows of one compare.", ""]
        lines += ["| stage | step | loss, dB | gain, dB |", "| ---: | ---: | ---: | ---: |"]
        lines += [f"| {one['stage']} | {one['step']} | {one['loss']:.3f} | {one['gain']:.3f} |" for one in scores]
    return "\n".join(lines) + "\n"


def staged(logs: Sequence[Path]) -> list[str]:
    """Return the lines of logs that are there, each with the number of its stage."""
    return [
        json.dumps({"stage": stage, **json.loads(line)})
        for stage, log in enumerate(logs, start=1)
        if log.is_file()
        for line in log.read_text().splitlines()
    ]


def ship(network: BlockFusion, told: str) -> Path:
    """Write the network into the package, float16, its card saying how it was trained."""
    path = BUNDLED / f"{NAME}.safetensors"
    card = weights.card_of(network)
    notes = (*card.notes, *([told] if told else []))
    return Path(weights.save(network.half(), path, card.model_copy(update={"notes": notes})))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--compare", type=Path, help="weights to compare, instead of training")
    parser.add_argument("--data", type=Path, help="a real run at the full rate, as a TIFF stack")
    parser.add_argument("--processes", type=int, default=1, help="that compare, one case each")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--log", type=Path, nargs="*", help="logs of its stages; by default that of OUT/run")
    parser.add_argument("--told", default="", help="what results and card should say of the training")
    parser.add_argument("--ship", action="store_true", help="write the weights into the package if they are worth it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options, extra = parser.parse_known_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.compare is None:
        command = [sys.executable, "-m", "scanweave", "train", "block-fusion", "--config", "block-fusion-simulated"]
        return subprocess.run([*command, "-o", str(options.output / "run"), *extra], check=False).returncode
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    network = cast(BlockFusion, weights.open("block-fusion", str(options.compare)))
    methods = {**BASELINES, "block-fusion": BlockFusionMethod(weights=network)}
    chosen = [case for case in cases(options.data) if case.name.startswith(options.only)]
    rows = {}
    for case, row in zip(chosen, judged(chosen, methods, processes=options.processes), strict=True):
        rows[case.name] = row
        print(case.name, json.dumps(row), flush=True)
    if options.data is not None:
        shown = {name: methods[name] for name in ("flow", "block-fusion")}
        picture(read_camera(options.data, "sharp", fps=1000).cine, shown, options.output / "frames.png")
    tell(network, rows, options)
    return 0


def tell(network: BlockFusion, rows: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Write the results, the log, and where it is asked for and deserved the weights."""
    lines = staged(options.log or [options.output / "run" / "log.jsonl"])
    parameters = sum(parameter.numel() for parameter in network.parameters())
    facts = {"Weights": f"{parameters / 1e6:.2f} million, {parameters * 2 / 2**20:.1f} MiB as float16"}
    facts |= {"Training": options.told} if options.told else {}
    text = page(rows, facts, lines)
    print(text)
    options.results.mkdir(exist_ok=True)
    place = options.results / "train_fusion"
    place.with_suffix(".md").write_text(text)
    place.with_suffix(".json").write_text(json.dumps({**facts, "worth": worth(rows), "cases": rows}, indent=1) + "\n")
    if lines:
        place.with_suffix(".log.jsonl").write_text("".join(f"{line}\n" for line in thinned(lines, _LOG_BYTES)))
    if options.ship and worth(rows):
        print(ship(network, options.told))


if __name__ == "__main__":
    sys.exit(main())
