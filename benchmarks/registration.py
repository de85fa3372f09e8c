"""Registration learnt from synthetic pairs alone: the pairs of each method, against no registration and demons.

    python benchmarks/registration.py [--weights FILE] [--quick] [--threads 1] [--output FILE.md]

The second downstream protocol of DRDM's paper, small. Unlabelled hearts are deformed to pairs whose fields are known
(`registration_pairs`); a small U-Net learns to predict the field of a pair. It is then scored on other hearts, moved by
what made none of those pairs:

- *phases*: end diastole against end systole of one heart, by the simulator's own motion (contraction, torsion, and
  waves that carry the chest along), which is known exactly: end-point error in mm, inside the heart.
- *strangers*: two hearts of other shapes, where no field is the true one.

Arms differ in nothing but the method that made the pairs: the same hearts, as many pairs and steps, the same first
weights, no method displaces further than a tenth of the side. While it learns, both images of a pair get noise of their
own, in every arm: one is made of the other, and the network would match their grain instead. `demons` is ITK's
diffeomorphic demons, which learns nothing. Intervals are 95 %, by bootstrap over held-out pairs (means over networks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from downstream import (
    CLASSES,
    SIDE,
    SPACING,
    Slice,
    as_tensor,
    as_volume,
    deformation_table,
    dice,
    fit,
    heart,
    options_of,
    ranking,
    report,
    small_unet,
    spread,
    told,
    without_warnings,
)
from numpy.typing import NDArray
from torch import Tensor, nn

from scanweave.deformation import Deformed, Method, warp_labels
from scanweave.deformation.pairs import registration_pairs
from scanweave.ops.displacement import fold_fraction, magnitude
from scanweave.simulate import (
    Acquisition,
    AcquisitionConfig,
    Contraction,
    HeartConfig,
    Motion,
    draw_acquisition,
    draw_anatomy,
    draw_ripple,
    image,
    labels,
)
from scanweave.simulate.warping import sampled

NONE, CLASSICAL = "none", "demons"
_SEEN, _PHASES, _STRANGERS = 3, 4, 5  # first numbers of the seeds of hearts: none is in two sets
_NOISE = 0.03
_FINE = 2  # samples of a moved heart along each axis of a pixel
_CAVITY = 3  # the label of the left ventricle
_DIASTOLE, _SYSTOLE = 0.0, 0.4  # their times in a beat of a second


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is run."""

    hearts: int = 12
    pairs: int = 2
    networks: int = 2
    steps: int = 800
    held_out: int = 48


QUICK = Plan(hearts=4, pairs=1, networks=1, steps=80, held_out=8)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of images.

    Attributes:
        moving: ``(n, 1, row, column)`` in [0, 1].
        fixed: The same.
        labels: Of both, moving first: ``(2, n, 1, row, column)``.
        truth: ``(n, 2, row, column)`` in pixels, ``fixed(p) = moving(p + truth(p))``; None where there is none.
    """

    moving: Tensor
    fixed: Tensor
    labels: Tensor
    truth: Tensor | None

    def __len__(self) -> int:
        return len(self.moving)


@dataclass(frozen=True, eq=False)
class Score:
    """What an arm came to on a set of pairs.

    Attributes:
        dice: ``(pair, class)``, of the moving labels warped against the fixed ones.
        error: ``(pair,)`` mean end-point error inside the fixed heart, mm; NaN without truth.
        folded: ``(pair,)`` share of pixels where the field folds.
        steps: That each network's training took; 0 of what learns nothing.
    """

    dice: NDArray[np.float64]
    error: NDArray[np.float64]
    folded: NDArray[np.float64]
    steps: int = 0


# --- pairs ------------------------------------------------------------------------------------------------------------


def synthetic(method: Method, plan: Plan) -> tuple[Pairs, list[Deformed]]:
    """Return pairs to learn from, made by a method, and their images with what was measured of them."""
    generator = torch.Generator().manual_seed(0)
    made = without_warnings(
        lambda: [
            pair
            for number in range(plan.hearts)
            for one in heart(_SEEN, number)
            for pair in registration_pairs(one.image, label=one.label, n=plan.pairs, method=method, generator=generator)
        ]
    )
    truth = np.stack([pair.to_fixed.in_voxels()[1:, 0] for pair in made])
    pairs = _stacked([(pair.moving, pair.fixed) for pair in made], torch.from_numpy(truth).float())
    return pairs, [one for pair in made for one in (pair.moving, pair.fixed)]


def strangers(count: int) -> Pairs:
    """Return pairs of the middle slices of two hearts each."""
    return _stacked([(heart(_STRANGERS, number, 0)[1], heart(_STRANGERS, number, 1)[1]) for number in range(count)])


def phases(count: int) -> Pairs:
    """Return pairs of two phases of one heart each: systole is moving, diastole fixed."""
    made = [beat(_PHASES, number) for number in range(count)]
    truth = torch.from_numpy(np.stack([field for _, _, field in made]))
    return _stacked([(systole, diastole) for systole, diastole, _ in made], truth)


def _stacked(twos: Sequence[tuple[Slice | Deformed, Slice | Deformed]], truth: Tensor | None = None) -> Pairs:
    sides = list(zip(*twos, strict=True))
    moving, fixed = (as_tensor(one.image for one in side) for side in sides)
    return Pairs(moving, fixed, torch.stack([as_tensor(one.label for one in side) for side in sides]), truth)


def beat(*seed: int) -> tuple[Slice, Slice, NDArray[np.float32]]:
    """Draw a heart and move it.

    Returns:
        Systole, diastole, and the field in pixels ``(2, row, column)``, rows first, that pulls systole onto diastole.
    """
    generator = np.random.default_rng(seed)
    params = draw_anatomy(HeartConfig(), generator=generator)
    fine, step = (SIDE * _FINE,) * 2, (SPACING / _FINE,) * 2
    picture, marked = image(params, "cine", fine, step), labels(params, fine, step)
    radius = (params["cavity_radius"] + 0.3 * params["wall"]) / step[0]
    motion = _motion(np.argwhere(marked == _CAVITY).mean(0), radius, generator)
    rows, columns = np.indices(fine)
    moved = []
    for time in (_SYSTOLE, _DIASTOLE):
        x, y = motion.back(columns, rows, time)
        seen = sampled(picture, x, y, mode="bilinear").reshape(SIDE, _FINE, SIDE, _FINE).mean((1, 3))
        acquired = Acquisition.from_json(draw_acquisition(AcquisitionConfig(), generator=generator))
        seen = acquired.applied(seen, spacing=(SPACING, SPACING), centre=(0.0, 0.0))
        x, y = motion.back(*_middles(), time)
        nearest = np.rint(np.clip((y, x), 0, SIDE * _FINE - 1)).astype(int)
        moved.append(Slice(as_volume(spread(seen)), as_volume(marked[tuple(nearest)])))
    x, y = motion.forth(*motion.back(*_middles(), _DIASTOLE), _SYSTOLE)
    field = (np.stack((y, x)) - np.stack(_middles()[::-1])) / _FINE
    return moved[0], moved[1], field.astype(np.float32)


def _middles() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``(x, y)`` of the middles of pixels, in fine samples."""
    rows, columns = np.indices((SIDE, SIDE)) * float(_FINE) + (_FINE - 1) / 2
    return columns, rows


def _motion(middle: NDArray[np.float64], radius: float, generator: np.random.Generator) -> Motion:
    """Draw how a heart beats about the middle ``(row, column)`` of its cavity, once a second; in fine samples."""
    contraction = Contraction(
        centre=(float(middle[1]), float(middle[0])),
        radii=(radius, radius),
        squeeze=float(generator.uniform(0.5, 1.4)),
        twist=float(generator.uniform(-0.25, 0.25)),
        systole=_SYSTOLE,
    )
    ripple = draw_ripple(SIDE * _FINE, strain=0.12, rate=4.0, octaves=2, generator=generator)
    return Motion(contractions=(contraction,), ripple=ripple)


# --- registration -----------------------------------------------------------------------------------------------------


def trained(pairs: Pairs, steps: int, *, seed: int) -> tuple[nn.Module, int]:
    """Train a U-Net to predict the fields of pairs; return it, and the steps that were taken."""
    network, noise = small_unet(2, 2, seed=seed), torch.Generator().manual_seed(seed)
    images = torch.cat((pairs.moving, pairs.fixed), dim=1)

    def loss(batch: Tensor) -> Tensor:
        seen = images[batch]
        seen = seen + _NOISE * torch.randn(seen.shape, generator=noise)
        return magnitude(network(seen) - pairs.truth[batch]).mean()

    return network, fit(network, loss, count=len(pairs), steps=steps, seed=seed)


@torch.inference_mode()
def predicted(network: nn.Module, pairs: Pairs) -> Tensor:
    """Return the fields that a network finds, in pixels."""
    return network(torch.cat((pairs.moving, pairs.fixed), dim=1))


def demons(pairs: Pairs) -> Tensor:
    """Return the fields that ITK's diffeomorphic demons find, in pixels."""
    search = sitk.DiffeomorphicDemonsRegistrationFilter()
    search.SetNumberOfIterations(150)
    search.SetStandardDeviations(1.5)
    fields = []
    for moving, fixed in zip(pairs.moving[:, 0].numpy(), pairs.fixed[:, 0].numpy(), strict=True):
        found = search.Execute(sitk.GetImageFromArray(fixed), sitk.GetImageFromArray(moving))
        fields.append(np.moveaxis(sitk.GetArrayFromImage(found), -1, 0)[::-1])  # ITK's columns come first
    return torch.from_numpy(np.stack(fields)).float()


def scored(fields: Tensor, pairs: Pairs, *, steps: int = 0) -> Score:
    """Return how well fields register pairs."""
    moving, fixed = pairs.labels
    error = np.full(len(pairs), np.nan)
    if pairs.truth is not None:
        inside = fixed[:, 0] > 0
        missed = SPACING * magnitude(fields - pairs.truth)
        error = ((missed * inside).flatten(1).sum(1) / inside.flatten(1).sum(1)).double().numpy()
    warped = warp_labels(moving.long(), fields, padding="border")
    return Score(dice(warped, fixed), error, fold_fraction(fields).numpy(), steps)


def mean_of(scores: Sequence[Score]) -> Score:
    """Return the means of networks, pair by pair."""
    (steps,) = {one.steps for one in scores}
    dices, errors, folds = (
        np.mean([getattr(one, name) for one in scores], axis=0) for name in ("dice", "error", "folded")
    )
    return Score(dices, errors, folds, steps)


@dataclass(frozen=True, eq=False)
class Results:
    """Scores by set of pairs and arm, and what each method made of the hearts to learn from."""

    scores: Mapping[str, Mapping[str, Score]]
    copies: Mapping[str, Sequence[Deformed]]


def run(plan: Plan, methods: Mapping[str, Method]) -> Results:
    """Run the protocol; the same plan and methods give the same numbers on one machine."""
    sets = {"phases": phases(plan.held_out), "strangers": strangers(plan.held_out)}
    scores = {
        name: {NONE: scored(torch.zeros(len(pairs), 2, SIDE, SIDE), pairs), CLASSICAL: scored(demons(pairs), pairs)}
        for name, pairs in sets.items()
    }
    copies = {}
    for arm, method in methods.items():
        seen, copies[arm] = synthetic(method, plan)
        networks = [trained(seen, plan.steps, seed=seed) for seed in range(plan.networks)]
        for name, pairs in sets.items():
            scores[name][arm] = mean_of([scored(predicted(net, pairs), pairs, steps=steps) for net, steps in networks])
    return Results(scores, copies)


def tables(plan: Plan, results: Results) -> str:
    """Return the results as Markdown."""
    lines = [
        f"{plan.hearts} hearts to learn from, three slices of each, {plan.pairs} pairs of each slice; {plan.networks} "
        f"networks of each arm, {plan.steps} steps each; {plan.held_out} held-out pairs of each set. Mean [95 %]."
    ]
    for name, scores in results.scores.items():
        lines += [
            "",
            f"## {name.capitalize()}",
            "",
            f"| arm | {' | '.join(CLASSES)} | mean Dice | against `none` | end-point error, mm | folded pixels |",
            "| --- |" + " ---: |" * (len(CLASSES) + 4),
        ]
        for arm, found in scores.items():
            gained = "–" if arm == NONE else told((found.dice - scores[NONE].dice).mean(1), signed=True)
            by_class = " | ".join(told(found.dice[:, k]) for k in range(len(CLASSES)))
            lines.append(
                f"| {arm} | {by_class} | {told(found.dice.mean(1))} | {gained} | {told(found.error, digits=2)} "
                f"| {found.folded.mean():.2%} |"
            )
        lines += ["", f"Mean Dice, paired: {ranking({arm: one.dice.mean(1) for arm, one in scores.items()})}."]
    return "\n".join([*lines, "", "What the pairs to learn from are made by:", "", deformation_table(results.copies)])


def main() -> None:
    options = options_of(__doc__)
    plan = QUICK if options.quick else Plan()
    report("registration", options, lambda methods: tables(plan, run(plan, methods)))


if __name__ == "__main__":
    main()
