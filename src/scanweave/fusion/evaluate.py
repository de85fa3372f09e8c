"""Scores of fusion methods on virtual experiments, where every frame that was missed is known; no files.

By our protocol a method is given neither the frame that it makes nor one whose exposure holds it. The published one
chooses frames by index tables, in which some targets are among the frames given (specification, section 6.3): these
have a mask of 1, and count in the published means only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from ..errors import InputError, UsageError
from ..metrics import mae, psnr, ssim
from ..metrics.intervals import Outcome, bootstrap, outcome
from ..metrics.xfusion import eight_bits, xfusion_aad, xfusion_ssim, xfusion_virtual_psnr
from .calibration import Calibration
from .choice import Choice, Pick
from .frames import Frames, Plane
from .held_out import BASELINES, VISIBLE, at
from .methods import Method, PickedState, State, around
from .published_tables import virtual_selection
from .scene import common_box, moments

Protocol: TypeAlias = Literal["unseen", "xfusion"]

EQUAL = 100.0
"""dB that frames without any error count for in means and differences; in their rows PSNR is infinite."""

_OURS: Mapping[str, Callable[[Any, Any], float]] = {"psnr": psnr, "ssim": ssim, "mae": mae}
_PUBLISHED: Mapping[str, Callable[[Any, Any], float]] = {
    "psnr": xfusion_virtual_psnr,
    "aad": xfusion_aad,
    "ssim": xfusion_ssim,
}
_SMALLER_IS_BETTER = ("mae", "aad")


@dataclass(frozen=True, slots=True)
class Target:
    """A frame to make, and to compare with.

    Attributes:
        frame: Its number in the whole run.
        pick: What it is made of.
        apart: From the nearest sharp frame that it is made of, in units of the run's times.
        steps: The same in frames of the run.
        mask: Whether the published programs mark it as known.
        known: Whether it is among the frames that it is made of; our means leave it out.
    """

    frame: int
    pick: Pick
    apart: float
    steps: int
    mask: bool = False
    known: bool = False


@dataclass(frozen=True, eq=False)
class Trial:
    """One virtual experiment by one protocol.

    Attributes:
        coarse: What the fast camera recorded.
        sharp: The sharp frames that methods are given.
        calibration: How they go together.
        truth: The whole run.
        protocol: How frames are chosen and scored.
        targets: What is made.
        impossible: How many further frames the published program would fail on.
    """

    coarse: Frames
    sharp: Frames
    calibration: Calibration
    truth: Frames
    protocol: Protocol
    targets: tuple[Target, ...]
    impossible: int = 0

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """Names of what is measured."""
        return measures_of(self.protocol)

    def state(self, method: Method) -> State:
        """Bind a method to the frames that it is given.

        Raises:
            UsageError: It chooses frames itself, which the published protocol forbids.
            WeightsError: Its weights cannot be used.
        """
        state = method.prepare(self.coarse, self.sharp, self.calibration)
        if self.protocol == "xfusion" and not isinstance(state, PickedState):
            raise UsageError(f"{method.name} chooses frames itself", remedy="leave out --protocol xfusion")
        return state

    def score(self, number: int, states: Sequence[State]) -> list[list[float]]:
        """Make target `number` by each method, and return their :attr:`measures`."""
        target = self.targets[number]
        x0, y0, x1, y1 = common_box(self.calibration)
        truth = self.truth.unit(target.frame)[y0:y1, x0:x1]
        return [scores(_made(state, target.pick, self.protocol), truth, self.protocol) for state in states]


def measures_of(protocol: Protocol) -> tuple[str, ...]:
    """Return the names of what a protocol measures."""
    return tuple(_OURS if protocol == "unseen" else _PUBLISHED)


def scores(made: Plane, truth: Plane, protocol: Protocol) -> list[float]:
    """Return what a protocol measures of a made frame, in the order of :func:`measures_of`.

    Args:
        made: ``(row, column)`` over the window.
        truth: The same shape.
        protocol: ``unseen`` measures as they are, ``xfusion`` once both are of 8 bits.
    """
    if protocol == "unseen":
        return [measure(made, truth) for measure in _OURS.values()]
    levels, known = eight_bits(made), eight_bits(truth)
    return [measure(levels, known) for measure in _PUBLISHED.values()]


def unseen_trial(
    coarse: Frames,
    sharp: Frames,
    calibration: Calibration,
    truth: Frames,
    methods: Sequence[Method],
    *,
    exposure: int = 1,
) -> Trial:
    """Return the frames between those that a virtual sharp camera recorded, as far as all methods can make them.

    Args:
        coarse: What the fast camera recorded.
        sharp: What the slow one recorded.
        calibration: How they go together.
        truth: The run that both stand for.
        methods: To be scored.
        exposure: Frames of the run that a sharp frame averages over, from its own on; they count as known.

    Raises:
        InputError: There are none.
    """
    choice = Choice(moments(coarse, calibration), sharp.times, around=max(map(around, methods), default=0))
    picks, _ = choice.split(choice.moments)
    first = np.abs(truth.times[:, None] - sharp.times[None]).argmin(axis=0)
    seen = {int(begin) + more for begin in first for more in range(exposure)}
    new = tuple(_target(pick.middle, pick, truth, sharp) for pick in picks if pick.middle not in seen)
    if not new:
        raise InputError(
            "no frame lies between sharp ones that were given", remedy="give a longer run, or another --ratio"
        )
    return Trial(coarse, sharp, calibration, truth, "unseen", new)


def published_trial(
    coarse: Frames,
    calibration: Calibration,
    truth: Frames,
    *,
    ratio: float,
    fast_step: int = 1,
    last: int | None = None,
) -> Trial:
    """Return the frames that the published program makes of one run: all but frame 0, some of themselves.

    Args:
        coarse: The run, reduced.
        calibration: How both go together.
        truth: The run.
        ratio: Frames between sharp ones, twice the published ``hi_frame_sep``.
        fast_step: Frames between coarse ones, the published ``lo_frame_sep``.
        last: Third number of the published ``gt_size``; by default the run's last frame. Beyond it, frames that the
            published program fails on are counted.

    Raises:
        UsageError: A ratio that is not even, or steps below 1.
        InputError: No frame can be made.
    """
    end = len(truth) - 1 if last is None else last
    if ratio < 2 or ratio % 2 or fast_step < 1 or end < 1:
        raise UsageError(
            f"ratio {ratio:g}, fast step {fast_step} and last frame {end} are not of the published protocol",
            remedy="give even ratios, and steps and a last frame from 1",
        )
    half = int(ratio) // 2
    chosen = [
        virtual_selection(i, count=len(truth), last=end, fast_step=fast_step, sharp_step=half)
        for i in range(1, len(truth))
    ]
    possible = [one for one in chosen if max(one.sharp) < len(truth)]
    if not possible:
        raise InputError(
            f"a run of {len(truth)} frames has no two sharp frames {ratio:g} apart", remedy="give a smaller --ratio"
        )
    given = sorted({i for one in possible for i in one.sharp})
    sharp, numbers = truth.select(given), {frame: n for n, frame in enumerate(given)}
    targets = []
    for one in possible:
        frame, ends = one.fast[1], one.sharp
        first, second = truth.times[list(ends)]
        t = float((truth.times[frame] - first) / (second - first)) if second > first else 0.0
        pick = Pick(float(truth.times[frame]), one.fast, (numbers[ends[0]], numbers[ends[1]]), t)
        targets.append(_target(frame, pick, truth, sharp, mask=one.leaks, known=one.leaks or frame in ends))
    return Trial(coarse, sharp, calibration, truth, "xfusion", tuple(targets), len(chosen) - len(possible))


def _target(frame: int, pick: Pick, truth: Frames, sharp: Frames, *, mask: bool = False, known: bool = False) -> Target:
    apart = float(np.abs(sharp.times[list(pick.sharp)] - truth.times[frame]).min())
    interval = float(np.median(np.diff(truth.times)))
    return Target(frame, pick, apart, round(apart / interval), mask, known)


def _made(state: State, pick: Pick, protocol: Protocol) -> Plane:
    if protocol == "unseen":
        return at(state, pick.time)
    assert isinstance(state, PickedState), "checked when it was bound"
    return np.asarray(state.made([pick]).frames[0, 0].numpy(), np.float32)


@dataclass(frozen=True, slots=True)
class Row:
    """One frame by one method.

    Attributes:
        run: Of which run.
        ratio: Frames of the run per sharp frame.
        frame: Its number in the run.
        time: Its moment.
        apart: As of `Target`, like the others.
        steps: In frames of the run.
        method: Label of the method.
        values: Measures by name; of equal frames PSNR is infinite.
        mask: As published.
        known: Left out of our means.
    """

    run: str
    ratio: float
    frame: int
    time: float
    apart: float
    steps: int
    method: str
    values: Mapping[str, float]
    mask: bool = False
    known: bool = False


@dataclass(frozen=True, slots=True)
class Mean:
    """A method's mean at one ratio, over all frames or those of one distance.

    Attributes:
        ratio: Frames of the run per sharp frame.
        steps: Frames to the nearest sharp one; None: any.
        method: Label.
        measure: Name.
        frames: How many.
        mean: Over them.
        interval: 95 %, by frames drawn again; None of a single one.
    """

    ratio: float
    steps: int | None
    method: str
    measure: str
    frames: int
    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A method against the best baseline on the same frames; positive is better.

    Attributes:
        ratio: As of `Mean`, like the others.
        steps: Frames to the nearest sharp one.
        method: Label.
        measure: Name.
        baseline: The best one there by this measure, the method itself aside.
        frames: How many.
        difference: Mean of the paired differences.
        interval: 95 %.
        outcome: What may be said of it.
    """

    ratio: float
    steps: int | None
    method: str
    measure: str
    baseline: str
    frames: int
    difference: float
    interval: tuple[float, float] | None
    outcome: Outcome


def compared(
    rows: Sequence[Row], measures: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> tuple[list[Mean], list[Difference]]:
    """Return means, and differences to the best baseline, of all frames that methods were not given.

    Args:
        rows: Of every method the same frames.
        measures: What to compare.
        resamples: How often frames are drawn again.
        seed: Of the draws.
    """
    means: list[Mean] = []
    changes: list[Difference] = []
    unseen = [row for row in rows if not row.known]
    for ratio in dict.fromkeys(row.ratio for row in unseen):
        own = [row for row in unseen if row.ratio == ratio]
        for steps in (None, *sorted({row.steps for row in own})):
            there = [row for row in own if steps is None or row.steps == steps]
            for measure in measures:
                by_method: dict[str, list[float]] = {}
                for row in there:
                    by_method.setdefault(row.method, []).append(min(row.values[measure], EQUAL))
                values = {name: np.array(found) for name, found in by_method.items()}
                for name, found in values.items():
                    interval = bootstrap(found, resamples=resamples, seed=seed)
                    means.append(Mean(ratio, steps, name, measure, len(found), float(found.mean()), interval))
                for name, rival, change in _against_best(values, measure):
                    interval = bootstrap(change, resamples=resamples, seed=seed)
                    shift, count = float(change.mean()), len(change)
                    said = outcome(shift, interval, count, visible=VISIBLE if measure == "psnr" else 0.0)
                    changes.append(Difference(ratio, steps, name, measure, rival, count, shift, interval, said))
    return means, changes


def _against_best(values: Mapping[str, Any], measure: str) -> list[tuple[str, str, Any]]:
    """Return each method, the best baseline beside it, and by how much it is better, frame by frame."""
    sign = -1 if measure in _SMALLER_IS_BETTER else 1
    found = []
    for name in values:
        rivals = [other for other in values if other in BASELINES and other != name]
        if rivals:
            best = max(rivals, key=lambda other: sign * values[other].mean())
            found.append((name, best, sign * (values[name] - values[best])))
    return found


def published_means(rows: Sequence[Row], measures: Sequence[str]) -> list[dict[str, Any]]:
    """Return the means that the published program reports, which hold frames that it was given, beside ours."""
    found = []
    for key in dict.fromkeys((row.run, row.ratio, row.method) for row in rows):
        own = [row for row in rows if (row.run, row.ratio, row.method) == key]
        unseen = [row for row in own if not row.known]
        told: dict[str, Any] = {
            **dict(zip(("run", "ratio", "method"), key, strict=True)),
            "frames": len(own),
            "masked": sum(row.mask for row in own),
            "left_out_as_known": len(own) - len(unseen),
        }
        for name in measures:
            told[f"published_{name}"] = float(np.mean([row.values[name] for row in own]))
            kept = [min(row.values[name], EQUAL) for row in unseen]
            told[name] = float(np.mean(kept)) if kept else math.nan
        found.append(told)
    return found
