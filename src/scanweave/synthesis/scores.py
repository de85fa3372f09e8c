"""Scores of made volumes against what was acquired and kept from the method: hidden slices, or another contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..metrics import Outcome, bootstrap, outcome, psnr
from ..volume import Volume
from .api import Job
from .baselines import BSpline, HistogramMatched, Linear
from .comparison import BEST_PSNR, LEVEL
from .evaluate import on_grid, score
from .held_out import HeldOut, baselines_of, made_again
from .intensity import PERCENTILES, window_of
from .methods import Method, window_rule
from .subject import turned, turned_back

Mask = NDArray[np.bool_]

BASELINE = "b-spline"


@dataclass(frozen=True, slots=True)
class Scores:
    """A method and its baselines against what was acquired and kept from them.

    Attributes:
        against: ``hidden slices`` or ``truth``.
        by_method: Measures by the name of the method; the judged one comes first.
        best: Name of the best baseline, by PSNR.
        difference: PSNR of the method less that of the best baseline, dB; of hidden slices the mean over them.
        interval: Where 95 % of its resampled means over slices lie; None of a single volume.
        outcome: What may be said of it.
        every: Of hidden slices: one of so many measured slices was kept.
        slices: How many were judged.
    """

    against: Literal["hidden slices", "truth"]
    by_method: Mapping[str, Mapping[str, float]]
    best: str
    difference: float
    interval: tuple[float, float] | None
    outcome: Outcome
    every: int = 0
    slices: int = 0


def baseline_of(job: Job) -> Method:
    """Return the method without training that a job's is compared with; of another contrast it may be the same."""
    if job.contrast in job.subject.volumes:
        return Linear() if job.method.name == BASELINE else BSpline()
    return HistogramMatched(examples=getattr(job.method, "examples", ()))


def nearest_slices(job: Job, stack: NDArray[Any]) -> NDArray[Any]:
    """Return for each made slice that of ``(source slice, ...)`` which is nearest."""
    along = np.asarray(job.slices.positions_mm) / job.subject.grid.spacing[0]
    nearest: NDArray[Any] = stack[np.clip(np.floor(along + 0.5).astype(int), 0, len(stack) - 1)]
    return nearest


def against_truth(job: Job, made: Volume, truth: Volume, organ: Mask) -> Scores:
    """Score a made volume, and what its baseline makes of the same, against what was acquired.

    Args:
        job: What was asked for.
        made: In the subject's orientation.
        truth: On the grid of `made`.
        organ: ``(source slice, row, column)``: where it is judged, if the subject came with a mask.

    Raises:
        InputError: Another grid, or volumes that cannot be scored.
    """
    rival = baseline_of(job)
    windows = {
        name: window_of(name, volume, window_rule(rival), job.subject.mask)
        for name, volume in job.subject.volumes.items()
    }
    other = replace(job, method=rival, windows=windows, project=False).run().volume
    units: Literal["target", "made"] = "target" if job.contrast in job.subject.volumes else "made"
    mask = None
    if job.subject.mask is not None:
        there = nearest_slices(job, organ).astype(np.uint8)
        mask = turned_back(turned(made, job.subject.axis).with_voxels(there), job.subject.axis)
    judged = {rival.name: other, job.method.name: made}
    found = {
        name: score(judged[name], on_grid(truth, made.grid, "the truth"), mask=mask, units=units)
        for name in dict.fromkeys((job.method.name, rival.name))
    }
    own, best = (min(found[name]["psnr"], BEST_PSNR) for name in (job.method.name, rival.name))
    gained = own - best
    said: Outcome = "level" if abs(gained) < LEVEL["psnr"] else "better" if gained > 0 else "worse"
    return Scores("truth", found, rival.name, gained, None, said, slices=made.grid.shape[0])


def require_hidable(job: Job, every: int) -> None:
    """Refuse what `hidden_slices` would.

    Raises:
        UsageError: Nothing measured that could be hidden, or too few slices.
    """
    volumes, contrast, count = job.subject.volumes, job.contrast, job.subject.grid.shape[0]
    if contrast not in volumes:
        raise UsageError(
            f"no slice of {contrast} was measured that could be hidden",
            remedy="hide slices where thinner ones are made of a contrast that was given",
        )
    if every < 2 or count < 2 * every:
        raise UsageError(
            f"one of {every} slices cannot be kept, of {count}",
            remedy="keep one of 2 or more, and of twice as many slices or more",
        )


def hidden_slices(job: Job, organ: Mask, every: int) -> Scores:
    """Hide measured slices, make them again by the method and by its baselines, and score these slices alone.

    Args:
        job: What was asked for.
        organ: ``(source slice, row, column)``: where they are judged.
        every: One of so many is kept.

    Raises:
        UsageError: As `require_hidable`.
        InputError: No hidden slice shows the organ.
    """
    require_hidable(job, every)
    volumes, contrast = job.subject.volumes, job.contrast
    sources = (contrast, *(name for name in volumes if name != contrast))
    held = HeldOut(sources=sources, target=contrast, spacing=every, axis=0)
    method = _of_thick_slices(job)
    rivals = [name for name in baselines_of(held) if name != method.name]
    found: dict[str, dict[str, float]] = {}
    slices: dict[str, NDArray[np.float64]] = {}
    candidates: list[str | Method] = [method, *rivals]
    for one in candidates:
        made, truth, units = made_again(volumes, held, one)
        name = one if isinstance(one, str) else one.name
        hidden = organ[: truth.grid.shape[0]].copy()
        hidden[::every] = False
        if not hidden.any():
            raise InputError("no hidden slice shows the organ", remedy="give a mask that covers it")
        found[name] = score(made.volume, truth, mask=truth.with_voxels(hidden.astype(np.uint8)), units=units)
        slices[name] = _psnr_by_slice(made.volume, truth, hidden)
    best = max(rivals, key=lambda name: float(slices[name].mean()))
    gained = slices[method.name] - slices[best]
    interval, mean = bootstrap(gained), float(gained.mean())
    said = outcome(mean, interval, len(gained), visible=LEVEL["psnr"])
    return Scores("hidden slices", found, best, mean, interval, said, every, len(gained))


def _of_thick_slices(job: Job) -> Method:
    """Return the method told how thick a slice is: where slices are left out, they no longer touch each other."""
    method: Any = job.method
    if getattr(method, "thickness", 0.0) is None:
        method = replace(method, thickness=job.subject.grid.spacing[0])
    told: Method = method
    return told


def _psnr_by_slice(made: Volume, truth: Volume, mask: Mask) -> NDArray[np.float64]:
    peak = float(np.subtract(*np.percentile(truth.real()[mask], PERCENTILES[::-1])))
    pairs = zip(made.real(), truth.real(), mask, strict=True)
    found = [psnr(one, other, peak=peak, mask=inside) for one, other, inside in pairs if inside.any()]
    return np.minimum(np.array(found, dtype=np.float64), BEST_PSNR)
