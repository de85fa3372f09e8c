"""What frames tell that both cameras took at once: the coarse camera's blur, and how intensities go together.

Sharp frames are brought to coarse pixels by `Degradation`, never coarse frames to sharp pixels: interpolated, these
would be smoother than what they are compared with, and look fainter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy import optimize

from ..errors import InputError
from .calibration import Calibration
from .choice import Choice
from .clocks import nearest
from .degradation import Degradation
from .frames import Frames, Plane, matching
from .scene import common_box, moments

_LOOKED_AT = 8  # pairs of frames
_LARGEST_BLUR = 2.0  # coarse pixels
_FEWEST = 50  # coarse pixels, over all pairs, that tell a blur: with fewer it cannot be told from a gain
_CLEARLY = 0.97  # of the residual without blur, which one must stay below to be believed in

Pair = tuple[Plane, Plane]


def frames_at_once(
    coarse: Frames, sharp: Frames, calibration: Calibration, *, within: float | None = None
) -> Iterator[Pair]:
    """Give sharp frames, as far as both cameras see, and the coarse ones taken at once; a few over the run.

    Args:
        coarse: The fast camera's run.
        sharp: The sharp camera's run.
        calibration: How they go together.
        within: Seconds between the two at most; by default a quarter of the coarse camera's interval.
    """
    when = moments(coarse, calibration)
    if within is None:
        within = float(np.median(np.diff(when))) * 0.25 if len(when) > 1 else 0.0
    partners = nearest(when, sharp.times, within=within)
    there = np.flatnonzero(partners >= 0)
    x0, y0, x1, y1 = common_box(calibration)
    for i in sorted({int(there[int(k)]) for k in np.linspace(0, len(there) - 1, min(len(there), _LOOKED_AT))}):
        yield sharp.unit(i)[y0:y1, x0:x1], coarse.unit(int(partners[i]))


def blur_of(calibration: Calibration, pairs: Sequence[Pair], *, gain: float | None = 1.0) -> float:
    """Return the coarse camera's blur, coarse pixels: that with which sharp frames best give those taken at once.

    It is 0 where it changes little, or where too few pixels are seen to tell.

    Args:
        calibration: How the cameras go together.
        pairs: Frames of both.
        gain: Of the coarse camera; None where it is not known either: then a blur is told less surely.
    """
    if not pairs:
        return 0.0
    widest = min(_LARGEST_BLUR, min(calibration.coarse_shape) / 8)
    seen = Degradation.of(calibration, blur=widest)  # the same pixels for every blur
    recorded = np.concatenate([seen.seen(coarse) for _, coarse in pairs])
    if len(recorded) < _FEWEST:
        return 0.0

    def rest(blur: float) -> float:
        blurred = replace(seen, blur=blur * calibration.scale)
        given = np.concatenate([blurred(frame) for frame, _ in pairs])
        given, told = given - given.mean(), recorded - recorded.mean()
        slope = float(given @ told) / max(float(given @ given), 1e-30) if gain is None else gain
        return float(np.square(told - slope * given).mean())

    found = optimize.minimize_scalar(rest, bounds=(0.0, widest), method="bounded", options={"xatol": 0.01})
    return float(found.x) if found.fun < _CLEARLY * rest(0.0) else 0.0


def matched(coarse: Frames, sharp: Frames, calibration: Calibration) -> Frames:
    """Return the coarse run in units of the sharp one, by what both show of the scene at the same moments.

    Raises:
        InputError: No frames were taken at once, or they do not show the same.
    """
    within = Choice(moments(coarse, calibration), sharp.times).within
    pairs = list(frames_at_once(coarse, sharp, calibration, within=within))
    if not pairs:
        raise InputError(
            "no sharp frame was taken while the fast camera ran, so that intensities cannot be matched",
            remedy="check the clocks, or leave intensities as they are with --match none",
        )
    seen = Degradation.of(calibration, blur=blur_of(calibration, pairs, gain=None))
    given = np.concatenate([seen(frame) for frame, _ in pairs])
    return coarse.matched(*matching(np.concatenate([seen.seen(frame) for _, frame in pairs]), given))
