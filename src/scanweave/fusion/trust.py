"""Every made frame against both cameras, and how fine it is: all that a report on a fusion says.

- Re-degraded, a frame must give what the coarse camera recorded, but for noise (`scanweave.fusion.agreement`).
- Sharp frames that are hidden and made again tell how wrong frames between sharp ones are (`.held_out`); of a virtual
  experiment the truth itself tells.
- A profile across the strongest edge that moves, power by spatial frequency, and the response to a straight edge show
  whether frames are as fine as those of the sharp camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..metrics.resolution import Response, Window, edge_response, find_edge, radial_power
from .agreement import Agreement, CameraModel, Spot, camera_model
from .consistency import Consistent
from .frames import Plane
from .held_out import Progress, Scores, against_truth, at, held_out, is_new, leaking, rivals, shown, spread_over
from .job import Job
from .methods import Method, create
from .profiles import Line, Profile, middle_frame, profile, strongest_moving_edge

Array = NDArray[np.float64]
Spectrum = tuple[Array, Array]
"""Frequencies in cycles per sharp pixel, and the power at each."""

MADE, SHARP, BICUBIC, TRUTH = "made", "sharp camera", "bicubic", "truth"

_SOME = 8  # frames that power and edges are told from


@dataclass(frozen=True, slots=True)
class FrameAgreement:
    """One made frame against the coarse one.

    Attributes:
        time: Seconds on the sharp clock.
        chi_square: Reduced.
        highest: What may be expected of a right frame at most.
        level: How many times what noise explains that is; 1 where cameras and calibration are as they are taken to be.
        spots: What the coarse camera saw otherwise, the strongest first.
    """

    time: float
    chi_square: float
    highest: float
    level: float
    spots: tuple[Spot, ...]


@dataclass(frozen=True, eq=False)
class Findings:
    """All that was found.

    Attributes:
        job: What was judged.
        frame: Gives a made frame over the window.
        truth: Gives what it is to equal; None where nobody knows.
        model: Of both cameras.
        frames: Each made frame against the coarse one.
        rest: ``(row, column)`` of the coarse camera: mean of the whitened residual over the run; NaN outside.
        others: Mean reduced chi-square of the baselines, of some of the same moments.
        hidden: Against sharp frames that were hidden; None where none were.
        known: Against the truth, where that is known.
        profile: Across the strongest edge that moves.
        power: By what was looked at: `MADE`, `SHARP`, `BICUBIC`, `TRUTH`.
        window: Where there is a straight edge; None where there is none.
        edges: How it is rendered, likewise.
        leaking: Frames that are made of what they are to equal.
        consistency: Mean reduced chi-square before and after a step of data consistency, where there was one.
        notes: What could not be told, one sentence each.
    """

    job: Job
    frame: Callable[[int], Plane]
    truth: Callable[[int], Plane | None]
    model: CameraModel
    frames: tuple[FrameAgreement, ...]
    rest: Array
    others: Mapping[str, float]
    hidden: Scores | None
    known: Scores | None
    profile: Profile
    power: Mapping[str, Spectrum]
    window: Window | None
    edges: Mapping[str, Response]
    leaking: tuple[int, ...] = ()
    consistency: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def chi_square(self) -> float:
        """Median over all frames."""
        return float(np.median([one.chi_square for one in self.frames]))

    @property
    def highest(self) -> float:
        """What may be expected at most, median over all frames."""
        return float(np.median([one.highest for one in self.frames]))

    @property
    def level(self) -> float:
        """How many times more acquired frames differ than noise explains, median over all frames."""
        return float(np.median([one.level for one in self.frames]))

    @property
    def spread(self) -> float:
        """Standard deviation of one frame's reduced chi-square by chance."""
        return math.sqrt(2 / self.model.degradation.weights.shape[0])

    @property
    def lowest(self) -> float:
        """What frames that do not repeat the coarse camera's noise give at least."""
        return min(1.0, self.model.at_once if self.model.at_once is not None else 1.0)

    def agreement(self, number: int) -> Agreement:
        """Return a made frame against the coarse one."""
        return self.model.agreement(self.frame(number), self.job.coarse.unit(self.job.picks[number].middle))

    @property
    def detail(self) -> dict[str, float]:
        """Power that pixels of the coarse camera cannot hold, as a share of the sharp camera's."""
        frequencies, own = self.power.get(SHARP, (np.empty(0), np.empty(0)))
        nyquist = 0.5 / self.job.calibration.scale
        band = (frequencies > nyquist) & (frequencies <= 2 * nyquist)
        if not band.any() or own[band].sum() <= 0:
            return {}
        return {name: float(power[band].sum() / own[band].sum()) for name, (_, power) in self.power.items()}


def check(
    job: Job,
    frame: Callable[[int], Plane],
    *,
    truth: Callable[[int], Plane | None] | None = None,
    blur: float | None = None,
    line: Line | None = None,
    hide: bool = True,
    most: int = 40,
    consistency: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Judge the frames of a job by both cameras.

    Args:
        job: What was made, and of what.
        frame: Gives made frame `number`, ``(row, column)`` over the window.
        truth: Gives what it is to equal; None where nobody knows.
        blur: Of the coarse camera, coarse pixels; by default as frames taken at once tell.
        line: Of the profile; by default across the strongest edge that moves.
        hide: Hide sharp frames and have the method make them again; not where it is unknown.
        most: Frames that are scored at most.
        consistency: Mean reduced chi-square before and after a step of data consistency.
        progress: Told of each step.

    Raises:
        InputError: Runs too short or small to tell anything.
        UsageError: A line or blur that there cannot be.
    """
    told = progress or (lambda what, done, total: None)
    known = truth or (lambda number: None)
    if line is not None:
        line = line.checked(job)
    model = camera_model(job.coarse, job.sharp, job.calibration, blur=blur)
    frames, rest = _agreements(job, model, frame, told)
    edge, after = strongest_moving_edge(job)
    number = middle_frame(job, after)
    looked_at = _Looked.of(job, frame, known)
    window, edges = looked_at.edges()
    scored = held_out(job, model.sharp, most=most, progress=progress) if hide else None
    return Findings(
        job=job,
        frame=frame,
        truth=known,
        model=model,
        frames=frames,
        rest=rest,
        others=_others(job, model, job.method, told),
        hidden=scored,
        known=against_truth(job, frame, known, model.sharp, most=most, progress=progress),
        profile=profile(job, frame(number), number, line or edge, truth=known(number)),
        power=looked_at.power(),
        window=window,
        edges=edges,
        leaking=tuple(leaking(job)),
        consistency=consistency,
        notes=_unsaid(job, model, hide=hide, hidden=scored),
    )


def _agreements(
    job: Job, model: CameraModel, frame: Callable[[int], Plane], told: Progress
) -> tuple[tuple[FrameAgreement, ...], Array]:
    """Compare all frames with the coarse ones; return these, and the mean of what is left."""
    found, total = [], np.zeros(model.degradation.weights.shape[0])
    for i, pick in enumerate(job.picks):
        one = model.agreement(frame(i), job.coarse.unit(pick.middle))
        found.append(FrameAgreement(pick.time, one.chi_square, one.highest, one.level, tuple(one.spots())))
        total += one.whitened
        told("frames against the coarse camera", i + 1, len(job))
    return tuple(found), model.degradation.picture(total / len(job))


def _others(job: Job, model: CameraModel, method: Method, told: Progress) -> dict[str, float]:
    """Return the mean reduced chi-square of the baselines at some moments."""
    chosen, found = _some_new(job), dict[str, float]()
    for k, rival in enumerate(others := rivals(method)):
        state = rival.prepare(job.coarse, job.sharp, job.calibration)
        values = [
            model.agreement(at(state, job.picks[i].time), job.coarse.unit(job.picks[i].middle)).chi_square
            for i in chosen
        ]
        found[rival.name] = float(np.mean(values))
        told("baselines against the coarse camera", k + 1, len(others))
    return found


@dataclass(frozen=True, eq=False)
class _Looked:
    """Frames whose fineness is looked at, by what made them; of each the same moments."""

    frames: Mapping[str, list[Plane]]

    @classmethod
    def of(cls, job: Job, frame: Callable[[int], Plane], truth: Callable[[int], Plane | None]) -> _Looked:
        chosen = _some_new(job)
        coarse = create("bicubic").prepare(job.coarse, job.sharp, job.calibration)
        frames = {
            SHARP: [shown(job, job.sharp, _nearest(job, i)) for i in chosen],
            MADE: [frame(i) for i in chosen],
            BICUBIC: [at(coarse, job.picks[i].time) for i in chosen],
        }
        known = [one for i in chosen if (one := truth(i)) is not None]
        return cls({**frames, TRUTH: known} if len(known) == len(chosen) else frames)

    def power(self) -> dict[str, Spectrum]:
        """Return the mean power by frequency; nothing of frames that are too small."""
        if min(self.frames[SHARP][0].shape) < 8:
            return {}
        spectra = {name: [radial_power(one) for one in frames] for name, frames in self.frames.items()}
        return {
            name: (found[0][0], np.asarray(np.mean([power for _, power in found], axis=0)))
            for name, found in spectra.items()
        }

    def edges(self) -> tuple[Window | None, dict[str, Response]]:
        """Return the strongest straight edge of the first frames that have one, and how each renders it."""
        for number in range(len(self.frames[SHARP])):
            window = find_edge(self.frames[SHARP][number])
            found = {} if window is None else dict(self._rendered(number, window))
            if SHARP in found and MADE in found:
                return window, found
        return None, {}

    def _rendered(self, number: int, window: Window) -> Iterator[tuple[str, Response]]:
        for name, frames in self.frames.items():
            found = edge_response(frames[number], window)
            if found is not None:
                yield name, found


def _some_new(job: Job) -> list[int]:
    """Return some frames of moments that no sharp frame shows, evenly spread; of all moments where there are none."""
    new = [i for i in range(len(job)) if is_new(job, i)] or list(range(len(job)))
    return [new[k] for k in spread_over(len(new), _SOME)]


def _nearest(job: Job, number: int) -> int:
    """Return the sharp frame nearest in time to a made one."""
    pick = job.picks[number]
    return min(pick.sharp, key=lambda i: abs(float(job.sharp.times[i]) - pick.time))


def _unsaid(job: Job, model: CameraModel, *, hide: bool, hidden: Scores | None) -> tuple[str, ...]:
    notes = []
    if model.at_once is None:
        notes.append("No frames were taken at once: whether the camera model holds was not told by acquired frames.")
    if not hide:
        notes.append("Sharp frames were not hidden: the method is not at hand.")
    elif hidden is None:
        notes.append("Sharp frames were not hidden: there are too few.")
    if isinstance(job.method, Consistent):
        notes.append(
            "Frames were moved until they agree with the coarse ones: that they agree does not speak for the method."
        )
    return tuple(notes)
