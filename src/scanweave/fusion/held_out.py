"""What a method makes against frames that were acquired: sharp frames it was not given, or the truth of a virtual run.

Every sharp frame is hidden once, and made again of its neighbours: those are twice as far apart as they are for the
frames that are made in earnest, so that the error is overstated. Frames are hidden by turns, odd ones and even ones;
the state that makes a frame is given the others only (`scanweave.fusion.api.Job`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..metrics import mae, mse, psnr, ssim
from ..metrics.intervals import Outcome, bootstrap, outcome
from .agreement import variance
from .api import prepare
from .consistency import Consistent
from .frames import Frames, Plane
from .job import Job, Mode
from .methods import Method, State, create
from .noise import Noise, contrast_of

Progress = Callable[[str, int, int], None]

BASELINES = ("hold", "bicubic", "temporal-linear", "flow")
VISIBLE = 0.1  # dB: what differs by less is level
_FLOOR = 0.002  # of the contrast: less noise than that is not told from none
_EQUAL = 100.0  # dB of frames that are equal
_TOO_GOOD = 0.5  # of the hidden frame's own noise, in variance: no frame made without seeing it comes nearer


@dataclass(frozen=True, slots=True)
class FrameScore:
    """How near a made frame is to the acquired one.

    Attributes:
        time: Of the moment, seconds on the sharp clock.
        apart: Seconds to the nearest sharp frame that it was made of.
        psnr: dB, over the window.
        ssim: 0 to 1.
        mae: Over the window.
        in_noise: Mean squared difference over the variance of the acquired frame's own noise.
    """

    time: float
    apart: float
    psnr: float
    ssim: float
    mae: float
    in_noise: float


@dataclass(frozen=True, eq=False)
class Scores:
    """Of several methods, on the same frames.

    Attributes:
        against: What they are: ``hidden sharp frames`` or ``the true frames``.
        method: The one that is judged.
        by_method: Frame by frame; the judged one first.
        interval: 95 % of the mean difference in PSNR to the best baseline, by frames drawn again; None for one frame.
        bound: The judged method is a baseline of ours: it knows what a job gives it, and nothing else.
    """

    against: str
    method: str
    by_method: Mapping[str, Sequence[FrameScore]]
    interval: tuple[float, float] | None = None
    bound: bool = False

    @property
    def frames(self) -> int:
        """How many were scored."""
        return len(self.by_method[self.method])

    @property
    def best(self) -> str | None:
        """The baseline of the highest mean PSNR; None without one."""
        rivals = [name for name in self.by_method if name != self.method]
        return max(rivals, key=lambda name: self.mean(name, "psnr")) if rivals else None

    @property
    def differences(self) -> list[float]:
        """By how many dB the method is nearer than the best baseline, frame by frame."""
        if self.best is None:
            return []
        pairs = zip(self.by_method[self.method], self.by_method[self.best], strict=True)
        return [0.0 if one.psnr == other.psnr else one.psnr - other.psnr for one, other in pairs]

    @property
    def outcome(self) -> Outcome:
        """What may be said of the difference."""
        change = self.differences
        return outcome(float(np.mean(change)) if change else math.nan, self.interval, self.frames, visible=VISIBLE)

    @property
    def leaked(self) -> list[float]:
        """Times of frames that are nearer to the hidden one than its own noise allows: the method has seen it.

        None of a baseline, which cannot have; nor where another baseline comes as near, for then the noise is less
        than was told: moving texture may be taken for noise.
        """
        near = {name: [one.time for one in told if one.in_noise < _TOO_GOOD] for name, told in self.by_method.items()}
        found = near.pop(self.method)
        return [] if self.bound or any(near.values()) else found

    def mean(self, method: str, measure: str) -> float:
        """Return the mean of a measure over all frames of a method."""
        return float(np.mean([getattr(one, measure) for one in self.by_method[method]]))


def held_out(job: Job, noise: Noise, *, most: int | None = None, progress: Progress | None = None) -> Scores | None:
    """Hide sharp frames, make them again by the job's method and the baselines, and score them.

    Args:
        job: Any; its own mode does not matter.
        noise: Of the sharp camera.
        most: Score so many frames at most, evenly spread.
        progress: Told of each step.

    Returns:
        None where no sharp frame can be made of others.
    """
    try:
        hiding = _again(job, job.method, mode="held-out")
    except InputError:
        return None
    chosen, made = spread_over(len(hiding), most), dict[str, list[FrameScore]]()
    for method in (job.method, *rivals(job.method)):
        own = replace(hiding, method=method, _states={})
        made[method.name] = []
        for done, i in enumerate(chosen):
            target = own.target(i)
            assert target is not None and target not in own.picks[i].sharp, "a hidden frame is made of itself"
            made[method.name].append(scored(own, i, own.unit(i)[0], shown(job, job.sharp, target), noise))
            if progress is not None:
                progress(f"hidden frames by {method.name}", done + 1, len(chosen))
    return _compared("hidden sharp frames", job.method, made)


def against_truth(
    job: Job,
    frame: Callable[[int], Plane],
    truth: Callable[[int], Plane | None],
    noise: Noise,
    *,
    most: int | None = None,
    progress: Progress | None = None,
) -> Scores | None:
    """Score made frames, and the baselines' of the same moments, by the truth.

    Moments of sharp frames do not count: there a method was given the truth.

    Args:
        job: That made them.
        frame: Gives made frame `number` over the window.
        truth: Gives what it is to equal, ``(row, column)`` over the window; None where nobody knows.
        noise: Of the truth.
        most: Score so many frames at most, evenly spread.
        progress: Told of each step.

    Returns:
        None where nothing is known.
    """
    unseen = [i for i in range(len(job)) if is_new(job, i) and truth(i) is not None]
    chosen, made = [unseen[k] for k in spread_over(len(unseen), most)], dict[str, list[FrameScore]]()
    if not chosen:
        return None
    for method in (job.method, *rivals(job.method)):
        state = None if method is job.method else method.prepare(job.coarse, job.sharp, job.calibration)
        made[method.name] = []
        for done, i in enumerate(chosen):
            known = truth(i)
            assert known is not None
            one = frame(i) if state is None else at(state, job.picks[i].time)
            made[method.name].append(scored(job, i, one, known, noise))
            if progress is not None:
                progress(f"true frames by {method.name}", done + 1, len(chosen))
    return _compared("the true frames", job.method, made)


def scored(job: Job, number: int, made: Plane, truth: Plane, noise: Noise) -> FrameScore:
    """Return how near a frame is to the acquired one."""
    own = float(variance(noise, truth.astype(np.float64)).mean())
    told = noise.unit > _FLOOR * contrast_of(truth) * (1 + 1e-6)
    return FrameScore(
        time=job.picks[number].time,
        apart=_apart(job, number),
        psnr=min(psnr(made, truth), _EQUAL),
        ssim=ssim(made, truth),
        mae=mae(made, truth),
        in_noise=mse(made, truth) / own if told else math.nan,
    )


def at(state: State, time: float) -> Plane:
    """Return the frame ``(row, column)`` of one moment."""
    return np.asarray(state.at([time]).frames[0, 0].numpy(), np.float32)


def is_new(job: Job, number: int) -> bool:
    """Whether a frame's moment is that of no sharp frame which serves it."""
    return _apart(job, number) > 0


def rivals(method: Method) -> list[Method]:
    """Return the baselines that a method is compared with: without itself, and what a wrapped one was before."""
    before = [method.method] if isinstance(method, Consistent) else []
    names = {method.name, *(one.name for one in before)}
    return [*before, *(create(name) for name in BASELINES if name not in names)]


def leaking(job: Job) -> list[int]:
    """Return the frames of a job that are made of the very frame that they are to equal."""
    return [i for i, pick in enumerate(job.picks) if job.target(i) is not None and job.target(i) in pick.sharp]


def shown(job: Job, run: Frames, number: int) -> Plane:
    """Return a frame of the sharp camera, or of the truth, as far as both cameras see it."""
    x0, y0, x1, y1 = job.box
    return run.unit(number)[y0:y1, x0:x1]


def spread_over(count: int, most: int | None) -> list[int]:
    """Return so many whole numbers below `count`, evenly spread."""
    if most is None or count <= most:
        return list(range(count))
    return sorted({int(i) for i in np.linspace(0, count - 1, most)})


def _again(job: Job, method: Method, *, mode: Mode) -> Job:
    """Return the job of another method or mode on the same frames."""
    return prepare(
        job.coarse, job.sharp, job.calibration, method=method, mode=mode, match="none", depth="float32", like=job.like
    )


def _apart(job: Job, number: int) -> float:
    """Return the seconds from a moment to the nearest sharp frame that serves it; 0 where it is its own."""
    pick = job.picks[number]
    ends = job.sharp.times[list(pick.sharp)]
    found = float(np.abs(ends - pick.time).min())
    return 0.0 if found <= 1e-9 * max(float(np.ptp(ends)), 1e-30) else found


def _is_baseline(method: Method) -> bool:
    """Whether a method, or what it wraps, is a baseline itself and not just called like one."""
    inner = method.method if isinstance(method, Consistent) else method
    return type(inner) in {type(create(name)) for name in BASELINES}


def _compared(against: str, method: Method, made: Mapping[str, Sequence[FrameScore]]) -> Scores:
    scores = Scores(against, method.name, made, bound=_is_baseline(method))
    change = scores.differences
    return replace(scores, interval=bootstrap(np.array(change)) if change else None)
