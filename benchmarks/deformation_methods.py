"""Time deformation against other people's, paired in one process, and count how they fold.

One volume of 128 cubed and its labels, deformed by ours and by the elastic transforms of TorchIO,
MONAI and batchgeneratorsv2, turn by turn. All are set to displace by `--reach` voxels at most, found by deforming a
volume of coordinates, which tells the field that a transform really applies.
`--cpu-time` stands noise from other programs::

    python benchmarks/deformation_methods.py [--threads 2] [--rounds 7] [--reach 17] [--cpu-time] [--output FILE.md]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scanweave.ops.displacement import fold_fraction, jacobian_determinant, magnitude

SIDE = 128
Subject = dict[str, Tensor]
Deform = Callable[[Subject], Subject]


@dataclass(frozen=True)
class Case:
    """A transform by its name; `make` takes how strong it shall be."""

    name: str
    make: Callable[[float], Deform]
    strength: float


def ours_monai(reach: float) -> Deform:
    from scanweave.deformation.adapters.monai import RandDeformd
    from scanweave.deformation.diffeomorphic import Diffeomorphic

    method = Diffeomorphic(max_displacement=reach, least=1.0)
    transform = RandDeformd(["image", "label"], ["bilinear", "nearest"], method=method).set_random_state(0)
    return lambda subject: transform(subject)


def ours_batchgenerators(reach: float) -> Deform:
    from scanweave.deformation.adapters.batchgeneratorsv2 import DeformTransform
    from scanweave.deformation.diffeomorphic import Diffeomorphic

    transform = DeformTransform(method=Diffeomorphic(max_displacement=reach, least=1.0))
    return lambda subject: _from_batch(transform(image=subject["image"], segmentation=subject["label"]))


def ours_torchio(reach: float) -> Deform:
    from scanweave.deformation.adapters.torchio import RandomDeformation
    from scanweave.deformation.diffeomorphic import Diffeomorphic

    transform = RandomDeformation(method=Diffeomorphic(max_displacement=reach, least=1.0))
    return lambda subject: _from_torchio(transform(_to_torchio(subject)))


def torchio_elastic(strength: float) -> Deform:
    import torchio

    transform = torchio.RandomElasticDeformation(max_displacement=strength)
    return lambda subject: _from_torchio(transform(_to_torchio(subject)))


def monai_elastic(strength: float) -> Deform:
    from monai.transforms import Rand3DElasticd

    transform = Rand3DElasticd(
        ["image", "label"], (5, 8), (strength, strength), prob=1.0, mode=["bilinear", "nearest"], padding_mode="border"
    ).set_random_state(0)
    return lambda subject: transform(subject)


def batchgenerators_elastic(strength: float) -> Deform:
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

    transform = SpatialTransform(
        (SIDE,) * 3,
        0,
        random_crop=False,
        p_elastic_deform=1.0,
        elastic_deform_scale=(0.1, 0.2),
        elastic_deform_magnitude=(strength, strength),
        mode_seg="nearest",
        padding_mode_image="border",
        border_mode_seg="border",
    )
    return lambda subject: _from_batch(transform(image=subject["image"], segmentation=subject["label"]))


CASES = [
    Case("scanweave diffeomorphic, in MONAI", ours_monai, 17.0),
    Case("scanweave diffeomorphic, in batchgeneratorsv2", ours_batchgenerators, 17.0),
    Case("scanweave diffeomorphic, in TorchIO", ours_torchio, 17.0),
    Case("batchgeneratorsv2 SpatialTransform", batchgenerators_elastic, 17.0),
    Case("MONAI Rand3DElasticd", monai_elastic, 400.0),
    Case("TorchIO RandomElasticDeformation", torchio_elastic, 17.0),
]


def _to_torchio(subject: Subject) -> object:
    import torchio

    return torchio.Subject(
        image=torchio.ScalarImage(tensor=subject["image"]), label=torchio.LabelMap(tensor=subject["label"])
    )


def _from_torchio(subject: dict[str, object]) -> Subject:
    return {"image": subject["image"].data, "label": subject["label"].data}


def _from_batch(sample: Subject) -> Subject:
    return {"image": sample["image"], "label": sample["segmentation"]}


def coordinates() -> Subject:
    axes = torch.meshgrid(*[torch.arange(float(SIDE))] * 3, indexing="ij")
    return {"image": torch.stack(axes), "label": torch.zeros(1, *[SIDE] * 3, dtype=torch.int16)}


def field_of(deform: Deform) -> Tensor:
    """Return the field that a transform applies, ``(1, 3, ...)`` in voxels, without the margin that it may leave."""
    given = coordinates()
    moved = torch.as_tensor(deform(given)["image"]).float()
    inner = slice(20, SIDE - 20)
    return (moved - given["image"])[None, :, inner, inner, inner]


def seconds(deform: Deform, subject: Subject, clock: Callable[[], float]) -> float:
    start = clock()
    deform(subject)
    return clock() - start


def table_of(rounds: int, reach: float, clock: Callable[[], float]) -> str:
    noise = torch.rand(1, *[SIDE] * 3, generator=torch.Generator().manual_seed(0))
    subject = {"image": noise, "label": (4 * noise).to(torch.int16)}
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what two of the packages draw from
    set_up = []
    for case in CASES:
        strength = case.strength
        if not case.name.startswith("scanweave"):  # found in two steps, since it is about proportional
            for _ in range(2):
                strength *= reach / float(magnitude(field_of(case.make(strength))).amax())
        set_up.append((case.name, case.make(strength if not case.name.startswith("scanweave") else reach)))
    fields = {name: [field_of(deform) for _ in range(3)] for name, deform in set_up}
    taken: dict[str, list[float]] = {name: [] for name, _ in set_up}
    for turn in range(rounds + 1):
        for name, deform in set_up:
            spent = seconds(deform, subject, clock)
            if turn:  # the first turn warms up
                taken[name].append(spent)
    lines = [
        "| transform | seconds | ours is faster by | longest, voxels | smallest det J | folded |",
        "| --- " * 6 + "|",
    ]
    first = statistics.median(taken[set_up[0][0]])
    for name, _ in set_up:
        middle = statistics.median(taken[name])
        longest = max(float(magnitude(field).amax()) for field in fields[name])
        smallest = min(float(jacobian_determinant(field).amin()) for field in fields[name])
        folded = statistics.mean(float(fold_fraction(field)) for field in fields[name])
        lines.append(
            f"| {name} | {middle:.3f} ({min(taken[name]):.3f} to {max(taken[name]):.3f}) | {middle / first:.1f} "
            f"| {longest:.1f} | {smallest:.2f} | {folded:.2%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--reach", type=float, default=17.0)
    parser.add_argument("--cpu-time", action="store_true", help="count processor seconds (with --threads 1)")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    table = table_of(options.rounds, options.reach, time.process_time if options.cpu_time else time.perf_counter)
    print(table)
    if options.output:
        options.output.write_text(table + "\n")


if __name__ == "__main__":
    main()
