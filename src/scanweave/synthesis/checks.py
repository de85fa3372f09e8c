"""What was measured judges what was made.

- Thinner slices, put back through the slice profile, must give the measured ones: to within the noise.
- Slices that are hidden and made again tell how wrong slices between slices are.
- Another contrast is judged by the acquired one, where there is one.
- Edges of which no input has a trace are invented, or show that the subject moved between the inputs.
- A lesion that was outlined must still stand out of its surroundings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..metrics.edges import NewEdges, new_edges
from ..metrics.noise import air_noise, detail_noise
from ..metrics.spectrum import spectral_density
from ..volume import Volume
from .acquisition import Acquisition
from .api import Job, Progress
from .baselines import BSpline, Nearest, resampled
from .evaluate import on_grid, organ_mask
from .intensity import PERCENTILES
from .lesion import LesionCheck, standing, surroundings
from .scores import Scores, against_truth, hidden_slices, nearest_slices
from .subject import turned, turned_back

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Spectrum = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Frequencies in cycles/mm, and the power at each."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """Made slices, put back through the slice profile, against the measured ones, inside the organ.

    Attributes:
        residual: ``(given slice, row, column)``, in units of the volume.
        rms: Root mean square of it inside the organ.
        psnr: In dB, over the window of the measured slices inside the organ.
        by_slice: Root mean square of each given slice; NaN where the organ is not in it.
    """

    residual: Floats = field(repr=False)
    rms: float
    psnr: float
    by_slice: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """Of the measured slices.

    Attributes:
        deviation: In units of the volume.
        by: ``air`` around the organ; ``detail`` inside it, where air was cut away.
    """

    deviation: float
    by: Literal["air", "detail"]


@dataclass(frozen=True, eq=False)
class Findings:
    """All that was found.

    Attributes:
        job: What was asked for.
        made: The judged volume, slices first.
        organ: ``(source slice, row, column)``: where measures are taken.
        noise: Of the measured slices; None where nothing was measured of the contrast.
        acquisition: How made slices give measured ones; None where they do not.
        agreements: By what was put back: ``made``; ``unprojected``, where that was projected; the baselines.
        edges: Edges that no input has; None where they were not looked for.
        spectra: Power by frequency: ``within`` slices, and across them by method (before any projection); empty where
            slices are too few.
        scores: Against hidden slices, against the truth.
        truth: The acquired contrast on the grid of `made`, slices first, where it is known.
        lesion: What became of it; None where nobody outlined one.
        outline: ``(made slice, row, column)``: the lesion.
        notes: What could not be checked, one sentence each.
    """

    job: Job
    made: Volume
    organ: Mask
    noise: Noise | None
    acquisition: Acquisition | None
    agreements: Mapping[str, Agreement]
    edges: NewEdges | None
    spectra: Mapping[str, Spectrum]
    scores: tuple[Scores, ...] = ()
    truth: Volume | None = None
    lesion: LesionCheck | None = None
    outline: Mask | None = None
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> Volume | None:
        """The contrast as it was measured; None where it was not."""
        return self.job.subject.volumes.get(self.job.contrast)

    @property
    def judged(self) -> Agreement | None:
        """The agreement of what the method made, before any projection."""
        return self.agreements.get("unprojected", self.agreements.get("made"))

    def in_noise(self, agreement: Agreement) -> float:
        """Return a residual in units of the noise."""
        return agreement.rms / self.noise.deviation if self.noise and self.noise.deviation > 0 else math.nan


def check(
    job: Job,
    made: Volume,
    *,
    unprojected: Volume | None = None,
    truth: Volume | None = None,
    lesion: Volume | None = None,
    hide: int | None = None,
    brief: bool = False,
    progress: Progress | None = None,
) -> Findings:
    """Judge what a job made by all that was measured.

    Args:
        job: The job.
        made: What it made, in the subject's orientation.
        unprojected: The same before it was projected onto the measured slices.
        truth: The contrast as it was acquired, on the grid of `made`.
        lesion: Outline, anything but 0, on the subject's grid.
        hide: Keep one of so many measured slices, hide those between, and make them again; at least 2.
        brief: Leave out what takes longer: edges and power by frequency.
        progress: Told of each step.

    Raises:
        InputError: A truth or lesion on another grid, an empty lesion, or a volume of one value.
        UsageError: Slices to hide where none are made, or too few.
    """
    told = progress or (lambda what, done, total: None)
    told("checks", 0, 1)
    stack, subject = turned(made, job.subject.axis), job.subject
    before = None if unprojected is None else turned(unprojected, subject.axis)
    known = job.contrast in subject.volumes
    reference = subject.volumes[job.contrast] if known else next(iter(subject.volumes.values()))
    organ = organ_mask(reference) if subject.mask is None else subject.mask
    notes: list[str] = []
    acquisition = _acquisition(job, notes) if known else None
    outlined, outline = _lesion(job, stack, organ, lesion) if lesion is not None else (None, None)
    scores = [] if truth is None else [against_truth(job, made, truth, organ)]
    if hide is not None:
        scores.append(hidden_slices(job, organ, hide))
    found = Findings(
        job=job,
        made=stack,
        organ=organ,
        noise=_noise(reference, organ) if known else None,
        acquisition=acquisition,
        agreements=_agreements(job, stack, before, acquisition, organ) if acquisition else {},
        edges=None if brief else _edges(job, stack, organ),
        spectra=_spectra(job, stack if before is None else before, organ) if known and not brief else {},
        scores=tuple(scores),
        truth=None if truth is None else turned(on_grid(truth, made.grid, "the truth"), subject.axis),
        lesion=outlined,
        outline=outline,
        notes=tuple(notes),
    )
    told("checks", 1, 1)
    return found


def agreement(acquisition: Acquisition, made: Floats, measured: Floats, organ: Mask) -> Agreement:
    """Return how made slices agree with the measured ones.

    Args:
        acquisition: How the ones give the others.
        made: ``(made slice, row, column)`` in real units.
        measured: ``(measured slice, row, column)`` in the same units; all of them.
        organ: Where measured slices are compared.
    """
    wanted = acquisition.measured(torch.from_numpy(measured)).numpy()
    residual = acquisition.degraded(torch.from_numpy(made)).numpy() - wanted
    inside = organ[list(acquisition.given)]
    if not inside.any():
        inside = np.ones_like(inside)
    low, high = np.percentile(wanted[inside], PERCENTILES)
    rms = math.sqrt(float(np.square(residual[inside], dtype=np.float64).mean()))
    by_slice = [
        math.sqrt(float(np.square(one[where], dtype=np.float64).mean())) if where.any() else math.nan
        for one, where in zip(residual, inside, strict=True)
    ]
    peak = float(high - low)
    quality = math.inf if rms == 0 else 20 * math.log10(peak / rms) if peak > 0 else math.nan
    return Agreement(residual, rms, quality, tuple(by_slice))


def in_real_units(job: Job, method: BSpline | Nearest) -> Floats:
    """Return what interpolation makes of the contrast, where slices are made, in its real units."""
    volume = job.subject.volumes[job.contrast]
    low, high = volume.levels
    stored = resampled(volume, job.slices.positions_mm, method).numpy() * (high - low) + low
    return np.asarray(stored * volume.scale + volume.offset, dtype=np.float32)


def _acquisition(job: Job, notes: list[str]) -> Acquisition | None:
    try:
        return job.acquisition
    except UsageError as error:
        notes.append(f"Not compared with the measured slices: {error.reason}.")
        return None


def _agreements(
    job: Job, stack: Volume, before: Volume | None, acquisition: Acquisition, organ: Mask
) -> dict[str, Agreement]:
    measured = np.asarray(job.subject.volumes[job.contrast].real(), dtype=np.float32)
    candidates: dict[str, Floats] = {"made": np.asarray(stack.real(), dtype=np.float32)}
    if before is not None:
        candidates["unprojected"] = np.asarray(before.real(), dtype=np.float32)
    for rival in (Nearest(), BSpline()):
        if rival.name != job.method.name:
            candidates[rival.name] = in_real_units(job, rival)
    return {name: agreement(acquisition, one, measured, organ) for name, one in candidates.items()}


def _noise(volume: Volume, organ: Mask) -> Noise:
    values = np.asarray(volume.real(), dtype=np.float32)
    in_air = air_noise(values, organ)
    return Noise(detail_noise(values, organ), "detail") if in_air is None else Noise(in_air, "air")


def _edges(job: Job, stack: Volume, organ: Mask) -> NewEdges:
    spacing = job.subject.grid.spacing[0]
    windows = {name: _shares_of(volume, organ) for name, volume in job.subject.volumes.items()}
    inputs = [_scaled(volume, windows[name]) for name, volume in job.subject.volumes.items()]
    window = windows.get(job.contrast) or _shares_of(stack, nearest_slices(job, organ))
    along = np.asarray(job.slices.positions_mm) / spacing
    return new_edges(_scaled(stack, window), inputs, along, thinner=max(1.0, spacing / job.slices.spacing))


def _shares_of(volume: Volume, organ: Mask) -> tuple[float, float]:
    """Return the real values that count as 0 and 1 of an image: its window in the organ."""
    low, high = (float(end) for end in np.percentile(volume.real()[organ], PERCENTILES))
    return (low, high) if high > low else (low, low + 1.0)


def _scaled(volume: Volume, window: tuple[float, float]) -> Floats:
    return np.asarray((volume.real() - window[0]) / (window[1] - window[0]), dtype=np.float32)


def _spectra(job: Job, stack: Volume, organ: Mask) -> dict[str, Spectrum]:
    """Return power within the measured slices, and across the made ones and the baselines."""
    volume, there = job.subject.volumes[job.contrast], nearest_slices(job, organ)
    measured = np.asarray(volume.real(), dtype=np.float32)
    down, across = (spectral_density(measured, organ, axis=axis, step=volume.spacing[axis]) for axis in (1, 2))
    step = job.slices.spacing
    candidates = {job.method.name: np.asarray(stack.real(), dtype=np.float32)}
    for rival in (BSpline(), Nearest()):
        candidates.setdefault(rival.name, in_real_units(job, rival))
    made = {name: spectral_density(one, there, axis=0, step=step) for name, one in candidates.items()}
    if down is None or across is None or None in made.values():
        return {}
    within = across[0], (np.interp(across[0], *down) + across[1]) / 2
    return {"within": within, **{name: one for name, one in made.items() if one is not None}}


def _lesion(job: Job, stack: Volume, organ: Mask, lesion: Volume) -> tuple[LesionCheck, Mask]:
    subject, like = job.subject, turned_back(next(iter(job.subject.volumes.values())), job.subject.axis)
    outline = turned(on_grid(lesion, like.grid, "the lesion"), subject.axis).voxels != 0
    ring = surroundings(outline, organ, subject.grid.spacing)
    voxel = float(np.prod(subject.grid.spacing)) / 1000
    images = {name: volume.real() for name, volume in subject.volumes.items()}
    inputs = {name: standing(image, outline, ring, voxel) for name, image in images.items()}
    same = images.get(job.contrast)
    tissue = None if same is None else np.array([same[outline].mean(), same[ring].mean()])
    there, around = nearest_slices(job, outline), nearest_slices(job, ring)
    if not (there.any() and around.any()):
        raise InputError("the lesion lies where no slice was made", remedy="make slices there: --coverage slab")
    thin = voxel * job.slices.spacing / subject.grid.spacing[0]
    made = standing(stack.real(), there, around, thin, like=tissue)
    return LesionCheck(inputs, made, job.contrast), there
