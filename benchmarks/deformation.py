"""How plausible DRDM's deformations of a real stack are, and what they cost, in units of one convolution.

    SCANWEAVE_SHARED=... python benchmarks/deformation.py quality [--presets safe fast consistent] [--level 80]
    SCANWEAVE_SHARED=... python benchmarks/deformation.py speed [--presets safe fast] [--networks plain compiled]
    SCANWEAVE_SHARED=... python benchmarks/deformation.py stack

Quality: slices 2, 4 and 6 of the stack, seeds 0 to 2, every preset from the same noise. Components are counted with
diagonal neighbours, on labels warped to the nearest. Speed: the whole recovery loop of copies made at once, per copy;
the compiled network beside the plain one; the seconds of compiling are told, and not counted.
Stack: 12 copies of the whole stack for each of seeds 0 to 2, without a network, slices held together and moved freely.
U is the best time of one 64-to-64 3 x 3 convolution on 1 x 64 x 256 x 256 float32, taken between the steps, so that
machines and their moods cancel. `--cpu-time` counts processor seconds (use one thread).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import nibabel
import numpy as np
import torch
from scipy import ndimage
from skimage.transform import resize
from torch import Tensor, nn

from scanweave import read, weights
from scanweave.deformation import PRESETS, SamplingConfig, draw, warp_labels
from scanweave.deformation.api import replay
from scanweave.deformation.damping import smoothed
from scanweave.deformation.diffeomorphic import Diffeomorphic
from scanweave.deformation.diffusion import joined, random_field
from scanweave.deformation.elastic import Elastic
from scanweave.deformation.recovery import recover
from scanweave.grid import Grid
from scanweave.models import Drdm, channels_last
from scanweave.models.drdm_compiled import compiled
from scanweave.ops.displacement import jacobian_determinant, magnitude

SIDE = 256
SLICES, SEEDS, CLASSES = (2, 4, 6), (0, 1, 2), (1, 2, 3)
QUALITY = (
    "| preset | network calls | folded, worst run | folded, body | smallest det | mean px | max px | diversity px "
    "| area RV / myo / LV | components kept | roughness |\n" + "| --- " * 11 + "|"
)
STACK = "| method | slices | labels in as many parts | copies | copies that fold | mean mm |\n" + "| --- " * 6 + "|"
SPEED = "| preset | network | copies | steps | seconds per copy | U, seconds | U per copy |\n" + "| --- " * 7 + "|"


def folder() -> Path:
    if "SCANWEAVE_SHARED" not in os.environ:
        raise SystemExit("set SCANWEAVE_SHARED to the folder of reference files: weights and a real stack lie there")
    return Path(os.environ["SCANWEAVE_SHARED"]) / "data" / "drdm"


def network() -> Drdm:
    return channels_last(weights.load_published("drdm", folder() / "000000_cmr_recresacnet.pth"))


def stack() -> tuple[Tensor, Tensor]:
    """Return image and labels of each slice, ``(slice, 1, 256, 256)``, as the published loader resizes them."""
    image = nibabel.load(folder() / "patient001_frame01.nii.gz").get_fdata()
    label = np.asarray(nibabel.load(folder() / "patient001_frame01_gt.nii.gz").dataobj)
    images, labels = [], []
    for index in SLICES:
        grey = resize(image[:, :, index], (SIDE, SIDE), anti_aliasing=True, preserve_range=True)
        images.append((grey - grey.min()) / (grey.max() - grey.min() + 1e-7))
        shares = [
            resize((label[:, :, index] == k).astype(float), (SIDE, SIDE), order=1, anti_aliasing=True)
            for k in (0, *CLASSES)
        ]
        labels.append(np.argmax(shares, axis=0))
    return torch.from_numpy(np.stack(images)).float()[:, None], torch.from_numpy(np.stack(labels))[:, None]


def whole_stack(method: Diffeomorphic | Elastic, copies: int = 12) -> str:
    files = (folder() / f"patient001_frame01{kind}.nii.gz" for kind in ("", "_gt"))
    image, label = (read(path, as_="volume") for path in files)
    grid = Grid.spaced(image.grid.shape, (10, 1.5625, 1.5625))
    image, label = (volume.with_voxels(volume.voxels, grid=grid) for volume in (image, label))
    kept, folding, means = [], 0, []
    for seed in SEEDS:
        drawn = method.sample(grid, copies, torch.Generator().manual_seed(seed))
        for copy in replay(image, drawn, label=label, method=method):
            kept.append([one.components_after == one.components_before for one in copy.label_checks[0]])
            folding += copy.checks.folded > 0
            means.append(copy.checks.mean_mm)
    return (
        f"| {method.name} | {'free' if method.through_plane else 'held'} | {np.sum(kept)}/{np.size(kept)} "
        f"| {np.all(kept, axis=1).sum()}/{len(kept)} | {folding} | {np.mean(means):.1f} |"
    )


def start(config: SamplingConfig, seeds: list[int], level: int) -> Tensor:
    noise = joined([draw(2, 1, config=config, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    fields = random_field(noise, [level] * len(seeds), SIDE, config.diffusion).displacement
    floor = config.recovery.floor
    return fields if floor is None else smoothed(fields, unit=SIDE, floor=floor)


def components(label: Tensor) -> list[int]:
    return [ndimage.label(label.numpy() == k, structure=np.ones((3, 3)))[1] for k in CLASSES]


def quality(preset: str, level: int, *, compiles: bool) -> str:
    config = PRESETS[preset]
    images, labels = stack()
    runs = list(product(range(len(SLICES)), SEEDS))
    fields = start(config, [1000 * seed + SLICES[row] for row, seed in runs], level)
    images, labels = images[[row for row, _ in runs]], labels[[row for row, _ in runs]]
    calls: list[int] = []
    model = compiled(network()) if compiles else network()
    fields = recover(model, images, fields, config=config.recovery, watch=lambda step, found, total: calls.append(step))
    determinant, length = jacobian_determinant(fields, unit=SIDE), magnitude(fields, unit=SIDE)
    folds, body = (determinant < 0).double(), images[:, 0] > 0.1
    mean, worst = float(folds.mean()), float(folds.flatten(1).mean(1).max())
    warped = warp_labels(labels, fields, unit=SIDE)
    kept = sum(components(one[0]) == components(other[0]) for one, other in zip(labels, warped, strict=True))
    pixels = (fields * SIDE).unflatten(0, (len(SLICES), len(SEEDS)))
    diversity = float(pixels.var(1).sum(1).sqrt().mean())
    areas = [
        float(((warped == k).flatten(1).sum(1) / (labels == k).flatten(1).sum(1) - 1).abs().mean()) for k in CLASSES
    ]
    rough = sum(float((fields * SIDE).diff(n=2, dim=dim).square().mean()) for dim in (2, 3)) / 2
    return (
        f"| {preset} | {len(calls)} | {mean:.4f}, {worst:.4f} | {float(folds[body].mean()):.4f} "
        f"| {float(determinant.min()):.3f} | {float(length.mean()):.1f} "
        f"| {float(length.flatten(1).amax(1).mean()):.1f} | {diversity:.1f} | {' / '.join(f'{a:.2f}' for a in areas)} "
        f"| {kept}/{len(runs)} | {rough:.3f} |"
    )


def speed(preset: str, level: int, copies: int, clock: Callable[[], float], *, compiles: bool) -> str:
    config, images = PRESETS[preset], stack()[0]
    unit, image = nn.Conv2d(64, 64, 3, padding=1), torch.rand(1, 64, SIDE, SIDE)
    fields, model, kind = start(config, list(range(copies)), level), network(), "plain"
    if compiles:
        begun = time.perf_counter()
        model = compiled(model)
        kind = f"compiled in {time.perf_counter() - begun:.1f} s"
    units: list[float] = []
    moments: list[tuple[float, float]] = []
    threads = torch.get_num_threads()

    def measure(*_: object) -> None:
        before = clock()
        torch.set_num_threads(threads)
        for _ in range(3):
            begun = clock()
            unit(image)
            units.append(clock() - begun)
        moments.append((before, clock()))

    measure()
    recover(model, images[1:2], fields, config=config.recovery, watch=measure)
    steps = [later[0] - earlier[1] for earlier, later in pairwise(moments)]
    taken, u = sum(steps) / copies, min(units)
    return f"| {preset} | {kind} | {copies} | {len(steps)} | {taken:.2f} | {u:.4f} | {taken / u:.0f} |"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["quality", "speed", "stack"])
    parser.add_argument("--presets", nargs="+", choices=sorted(PRESETS), default=["safe", "fast"])
    parser.add_argument("--level", type=int, default=80)
    parser.add_argument("--copies", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="+", choices=["plain", "compiled"], help="speed: by default both")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--output", type=Path, help="write the table here too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    lines = [{"quality": QUALITY, "speed": SPEED, "stack": STACK}[options.part]]
    print(lines[0])
    for method, free in product((Diffeomorphic, Elastic), (None, True)) if options.part == "stack" else ():
        lines.append(whole_stack(method(through_plane=free)))
        print(lines[-1], flush=True)
    networks = options.networks or (["plain"] if options.part == "quality" else ["plain", "compiled"])
    for preset, kind in product(options.presets, networks) if options.part != "stack" else ():
        if options.part == "quality":
            lines.append(quality(preset, options.level, compiles=kind == "compiled"))
        else:
            lines.append(speed(preset, options.level, options.copies, clock, compiles=kind == "compiled"))
        print(lines[-1], flush=True)
    if options.output:
        told = f"`python benchmarks/deformation.py {options.part}`, level {options.level}, PyTorch {torch.__version__}."
        options.output.write_text("\n".join([told, "", *lines, ""]))


if __name__ == "__main__":
    main()
