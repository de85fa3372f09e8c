"""Made frames against the coarse camera: re-degraded, a frame must give what that camera recorded, but for noise.

The residual of a pixel is ``r = A f - c``, with A the coarse camera, f the made frame and c the recorded one. The
reduced chi-square is the mean of ``r^2`` over the variance v of the coarse noise. What it should be:

- 1, if the frame is right and has no noise of its own;
- up to ``1 + w``, if it is as noisy as a sharp frame: w is the variance of that noise, as A leaves it, over v;
- what sharp frames give that were recorded at the same moment (`CameraModel.at_once`), where A does not quite hold:
  nothing made can be expected to agree better than what was acquired.

Much less than 1 is no success: such a frame repeats the noise of the coarse frame, so that its agreement says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from ..errors import InputError
from .at_once import blur_of, frames_at_once
from .calibration import Calibration
from .degradation import Degradation
from .frames import Frames, Plane
from .noise import Noise, noise_of

Array = NDArray[np.float64]

LIMIT = 5.0
"""Standard deviations of the mean over 3 x 3 coarse pixels from which on it is a spot that the camera did not see; more
of long runs of large frames, so that chance finds one in a hundred runs."""

_LOOKED_AT = 8  # pairs of frames that noise is told from
_LEAST = 0.1  # of the noise's unit: no pixel has less
_CHANCE = 0.01  # of a spot in a run that has none


@dataclass(frozen=True, eq=False)
class CameraModel:
    """What is known of both cameras.

    Attributes:
        degradation: What the coarse one sees.
        coarse: Its noise.
        sharp: The noise of the sharp one.
        blur: Of the coarse camera, standard deviation in coarse pixels.
        at_once: Reduced chi-square of sharp frames recorded at once with coarse ones; None where there are none.
        limit: From which deviation on a spot is one: `LIMIT`, or the largest of acquired frames at once.
        pairs: How many frames were recorded at once, of those looked at.
    """

    degradation: Degradation
    coarse: Noise
    sharp: Noise
    blur: float = 0.0
    at_once: float | None = None
    limit: float = LIMIT
    pairs: int = 0

    def agreement(self, frame: Plane, coarse: Plane) -> Agreement:
        """Compare a made frame with the coarse one of its moment, as recorded, both over the window."""
        expected = self.degradation(frame)
        residual = expected - self.degradation.seen(coarse)
        noise = variance(self.coarse, expected)
        own = variance(self.sharp, expected) * self.degradation.passed
        return Agreement(self, residual, noise, own)


@dataclass(frozen=True, eq=False)
class Agreement:
    """A made frame against the coarse one.

    Attributes:
        model: Of both cameras.
        residual: ``(coarse pixel,)``: re-degraded, less recorded, over the window.
        noise: ``(coarse pixel,)``: variance of the coarse noise.
        own: ``(coarse pixel,)``: variance that a made frame as noisy as a sharp one adds.
    """

    model: CameraModel
    residual: Array
    noise: Array
    own: Array

    @property
    def chi_square(self) -> float:
        """Mean of the squared residual over the variance of the coarse noise."""
        return float((self.residual**2 / self.noise).mean())

    @property
    def highest(self) -> float:
        """What a right frame as noisy as a sharp one gives, or if that is more, acquired frames at once."""
        return max(self._noisy, self.model.at_once or 0.0)

    @property
    def level(self) -> float:
        """Of the mean square of `whitened`: 1, or what acquired frames at once give."""
        return self.highest / self._noisy

    @property
    def _noisy(self) -> float:
        return 1 + float((self.own / self.noise).mean())

    @property
    def spread(self) -> float:
        """Standard deviation of a reduced chi-square of 1 by chance."""
        return math.sqrt(2 / len(self.residual))

    @property
    def whitened(self) -> Array:
        """``(coarse pixel,)``: the residual over the deviation that noise of both cameras explains."""
        return np.asarray(self.residual / np.sqrt(self.noise + self.own), np.float64)

    @property
    def picture(self) -> Array:
        """`whitened` where the pixels lie, ``(row, column)``; NaN where nothing can be said."""
        return self.model.degradation.picture(self.whitened)

    def spots(self) -> list[Spot]:
        """Return where the frame has what the coarse camera did not see, or lacks what it saw; the strongest first."""
        means = patch_means(self.picture)
        # NaN compares as false
        labels, count = ndimage.label(np.abs(np.nan_to_num(means)) > self.model.limit)
        degradation, found = self.model.degradation, []
        numbers = degradation.picture(np.arange(len(self.residual), dtype=np.float64))
        for label in range(1, count + 1):
            inside = labels == label
            peak = np.unravel_index(np.argmax(np.where(inside, np.abs(means), 0)), means.shape)
            pixels = numbers[inside & np.isfinite(numbers)].astype(int)
            x, y = degradation.places[int(numbers[peak])]
            deviation = float(self.residual[pixels].mean())
            found.append(Spot(float(x), float(y), len(pixels), float(means[peak]), deviation))
        return sorted(found, key=lambda spot: -abs(spot.strength))


@dataclass(frozen=True, slots=True)
class Spot:
    """Something that a made frame shows and the coarse camera did not see, or the other way round.

    Attributes:
        x: Column of its middle in sharp frames as recorded.
        y: Row.
        pixels: Coarse pixels that it covers.
        strength: Largest deviation of a mean over 3 x 3 pixels, in its standard deviation; positive: too bright.
        deviation: Mean residual, over the window.
    """

    x: float
    y: float
    pixels: int
    strength: float
    deviation: float


def camera_model(coarse: Frames, sharp: Frames, calibration: Calibration, *, blur: float | None = None) -> CameraModel:
    """Return what both runs tell of their cameras.

    Args:
        coarse: The fast camera's run, in units of the sharp one.
        sharp: The sharp camera's run.
        calibration: How they go together.
        blur: Of the coarse camera, coarse pixels; by default it is told from frames taken at once.

    Raises:
        InputError: A run of one frame, whose noise nothing tells, or frames too small.
        UsageError: A negative blur.
    """
    noises = [_noise(one) for one in (coarse, sharp)]
    pairs = list(frames_at_once(coarse, sharp, calibration))
    found = blur_of(calibration, pairs) if blur is None else blur
    seen = Degradation.of(calibration, blur=found)
    limit = max(LIMIT, float(special.ndtri(1 - _CHANCE / (2 * len(seen.places) * len(coarse)))))
    model = CameraModel(seen, noises[0], noises[1], found, limit=limit)
    if not pairs:
        return model
    agreements = [model.agreement(frame, seen) for frame, seen in pairs]
    strongest = max(float(np.nanmax(np.abs(patch_means(one.picture)))) for one in agreements)
    level = float(np.mean([one.chi_square for one in agreements]))
    return replace(model, at_once=level, limit=max(limit, strongest), pairs=len(pairs))


def variance(noise: Noise, values: Array) -> Array:
    """Return the variance of a camera's noise at values over the window."""
    return np.maximum(noise.slope * values + noise.base, (_LEAST * noise.unit) ** 2)


def patch_means(whitened: Array) -> Array:
    """Return means over 3 x 3 pixels ``(row, column)`` in their standard deviation; what is NaN does not count."""
    known = np.isfinite(whitened)
    total, count = (
        ndimage.uniform_filter(one, 3, mode="constant") * 9
        for one in (np.where(known, whitened, 0.0), known.astype(np.float64))
    )
    return np.where(known, total / np.sqrt(np.maximum(count, 1)), np.nan)


def runs_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return increasing whole numbers as runs, first and last of each.

    Example:
        >>> runs_of([2, 3, 4, 9])
        [(2, 4), (9, 9)]
    """
    runs: list[tuple[int, int]] = []
    for one in numbers:
        if runs and one == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], one)
        else:
            runs.append((one, one))
    return runs


def _noise(run: Frames) -> Noise:
    """Return a camera's noise, of the differences of frames that follow one another: a fixed pattern cancels."""
    if len(run) < 2 or min(run.shape) < 2:
        raise InputError(
            f"the {run.camera} run of {len(run)} frames of {run.shape[0]} x {run.shape[1]} pixels tells no noise",
            path=run.cine.source.path,
            remedy="give two frames or more of 2 x 2 pixels or more",
        )
    firsts = sorted({int(i) for i in np.linspace(0, len(run) - 2, min(len(run) - 1, _LOOKED_AT))})
    return noise_of([(run.unit(i), run.unit(i + 1)) for i in firsts])
