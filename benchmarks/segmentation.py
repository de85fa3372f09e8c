"""Segmentation from few labelled hearts: without deformed copies, and with those of each method.

    python benchmarks/segmentation.py [--weights FILE] [--quick] [--threads 1] [--output FILE.md]

The downstream protocol of DRDM's paper, small. From 1, 2 and 4 labelled hearts a small U-Net learns right ventricle,
myocardium and left ventricle; it is scored on hearts of other shapes. Arms differ in nothing but the copies that are
added to what is labelled: the same hearts, as many copies, as many steps, the same first weights, no method displaces
further than a tenth of the side. Everything is drawn three times over, labelled hearts included. Intervals are 95 %, by
bootstrap over held-out hearts (means over the three draws); differences are paired, heart by heart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from downstream import (
    CLASSES,
    Slice,
    as_tensor,
    deformation_table,
    dice,
    fit,
    heart,
    options_of,
    ranking,
    report,
    small_unet,
    told,
    without_warnings,
)
from monai.losses import DiceCELoss
from numpy.typing import NDArray
from torch import Tensor, nn

from scanweave.deformation import Deformed, Method, deform

NONE = "none"
_LABELLED, _HELD_OUT = 1, 2  # first numbers of the seeds of hearts: none is on both sides


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is run."""

    labelled: tuple[int, ...] = (1, 2, 4)
    draws: int = 3
    copies: int = 6
    steps: int = 300
    held_out: int = 48


QUICK = Plan(labelled=(1, 2), draws=1, copies=4, steps=80, held_out=12)


@dataclass(frozen=True, eq=False)
class Score:
    """What one network came to.

    Attributes:
        labelled: Hearts whose labels it saw.
        arm: What was added to them.
        dice: ``(held-out heart, class)``.
        steps: That its training took.
    """

    labelled: int
    arm: str
    dice: NDArray[np.float64]
    steps: int


@dataclass(eq=False)
class Results:
    """Scores of all networks, and all copies that they learnt from."""

    scores: list[Score] = field(default_factory=list)
    copies: dict[str, list[Deformed]] = field(default_factory=dict)

    def of(self, labelled: int, arm: str) -> NDArray[np.float64]:
        """Return Dice by held-out heart and class, the mean over draws."""
        return np.mean([one.dice for one in self.scores if (one.labelled, one.arm) == (labelled, arm)], axis=0)


def run(plan: Plan, methods: Mapping[str, Method]) -> Results:
    """Run the protocol; the same plan and methods give the same numbers on one machine."""
    results = Results()
    held_out = [heart(_HELD_OUT, number) for number in range(plan.held_out)]
    for draw in range(plan.draws):
        hearts = [heart(_LABELLED, draw, number) for number in range(max(plan.labelled))]
        for arm in (NONE, *methods):
            generator = torch.Generator().manual_seed(draw)  # one for all hearts: each is deformed in its own ways
            made = [[] if arm == NONE else copies_of(one, methods[arm], plan.copies, generator) for one in hearts]
            if arm != NONE:
                results.copies.setdefault(arm, []).extend(copy for each in made for copy in each)
            for count in plan.labelled:
                seen = [Slice(copy.image, copy.label) for each in made[:count] for copy in each]
                slices = [each for one in hearts[:count] for each in one] + seen
                network, steps = trained(slices, plan.steps, seed=draw)
                results.scores.append(Score(count, arm, scored(network, held_out), steps))
    return results


def copies_of(slices: Sequence[Slice], method: Method, count: int, generator: torch.Generator) -> list[Deformed]:
    """Return `count` copies of each slice of a heart."""
    return without_warnings(
        lambda: [
            copy
            for each in slices
            for copy in deform(each.image, label=each.label, n=count, method=method, generator=generator)
        ]
    )


def trained(slices: Sequence[Slice], steps: int, *, seed: int) -> tuple[nn.Module, int]:
    """Train a U-Net on labelled slices; return it, and the steps that were taken."""
    images, labels = as_tensor(one.image for one in slices), as_tensor(one.label for one in slices).long()
    network = small_unet(1, len(CLASSES) + 1, seed=seed)
    measure = DiceCELoss(to_onehot_y=True, softmax=True)

    def loss(batch: Tensor) -> Tensor:
        return measure(network(images[batch]), labels[batch])

    return network, fit(network, loss, count=len(slices), steps=steps, seed=seed)


@torch.inference_mode()
def scored(network: nn.Module, hearts: Sequence[Sequence[Slice]]) -> NDArray[np.float64]:
    """Return Dice of each held-out heart and class, all its slices together."""
    images = torch.stack([as_tensor(one.image for one in slices) for slices in hearts])
    truth = torch.stack([as_tensor(one.label for one in slices)[:, 0] for slices in hearts])
    found = network(images.flatten(0, 1)).argmax(1)
    return dice(found.view(truth.shape), truth)


def tables(plan: Plan, results: Results) -> str:
    """Return the results as Markdown."""
    arms = (NONE, *results.copies)
    lines = [
        f"{plan.held_out} held-out hearts; {plan.draws} draws of labelled hearts, three slices of each; "
        f"{plan.copies} copies of each slice; {plan.steps} steps for every network. Dice, mean [95 %]; *draws*: in how "
        "many of them the arm is better than `none`.",
        "",
        f"| labelled hearts | arm | {' | '.join(CLASSES)} | mean | against `none` | draws |",
        "| ---: | --- |" + " ---: |" * (len(CLASSES) + 3),
    ]
    for count in plan.labelled:
        alone = results.of(count, NONE).mean(1)
        for arm in arms:
            found = results.of(count, arm)
            by_class = " | ".join(told(found[:, k]) for k in range(len(CLASSES)))
            gained = f"{told(found.mean(1) - alone, signed=True)} | {_won(results, count, arm)}"
            lines.append(
                f"| {count} | {arm} | {by_class} | {told(found.mean(1))} | {'– | –' if arm == NONE else gained} |"
            )
    lines += ["", "Mean Dice, paired:", ""]
    lines += [
        f"- {count} labelled: {ranking({arm: results.of(count, arm).mean(1) for arm in arms})}."
        for count in plan.labelled
    ]
    return "\n".join([*lines, "", "What the copies are like:", "", deformation_table(results.copies)])


def _won(results: Results, count: int, arm: str) -> str:
    mine, none = (
        [one.dice.mean() for one in results.scores if (one.labelled, one.arm) == (count, name)] for name in (arm, NONE)
    )
    return f"{sum(a > b for a, b in zip(mine, none, strict=True))} of {len(mine)}"


def main() -> None:
    options = options_of(__doc__)
    plan = QUICK if options.quick else Plan()
    report("segmentation", options, lambda methods: tables(plan, run(plan, methods)))


if __name__ == "__main__":
    main()
