"""A line across the strongest edge that moves: what each frame shows along it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import UsageError
from .calibration import Calibration
from .frames import Plane
from .held_out import shown, spread_over
from .job import Job
from .rigid import inverse, moved

Array = NDArray[np.float64]

_LOOKED_AT = 8  # pairs of sharp frames that the edge is looked for in
_SMOOTH = 1.5  # sharp pixels
_HALF_LENGTH = 5  # coarse pixels to either side of the edge
_WIDTH = 3  # lines side by side whose mean is shown, a sharp pixel apart


@dataclass(frozen=True, slots=True)
class Line:
    """A line in sharp frames as recorded: x and y of both ends."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def length(self) -> float:
        """Sharp pixels."""
        return math.hypot(self.x1 - self.x0, self.y1 - self.y0)

    @property
    def places(self) -> Array:
        """``(point, 2)``: x and y, half a pixel apart."""
        share = np.linspace(0, 1, max(2, round(2 * self.length) + 1))[:, None]
        return np.asarray((1 - share) * (self.x0, self.y0) + share * (self.x1, self.y1), np.float64)

    def checked(self, job: Job) -> Line:
        """Return it.

        Raises:
            UsageError: It is shorter than a coarse pixel, or leaves what both cameras see.
        """
        left, top, right, below = job.box
        inside = all(left <= x <= right - 1 and top <= y <= below - 1 for x, y in self.places[[0, -1]])
        if not inside or self.length < job.calibration.scale:
            raise UsageError(
                f"a profile from ({self.x0:g}, {self.y0:g}) to ({self.x1:g}, {self.y1:g})",
                remedy=f"give x0 y0 x1 y1 in sharp pixels, x from {left} to {right - 1}, y from {top} to {below - 1}, "
                f"at least {job.calibration.scale:.3g} pixels long",
            )
        return self

    def of_made(self, job: Job, frame: Plane) -> Array:
        """Return the values along it ``(point,)`` of a frame of what both cameras see."""
        left, top, _, _ = job.box
        places = self.places - (left, top)
        aside = np.array([self.y1 - self.y0, self.x0 - self.x1]) / self.length
        lines = [
            ndimage.map_coordinates(frame.astype(np.float64), (places + k * aside).T[::-1], order=1, mode="nearest")
            for k in range(-(_WIDTH // 2), _WIDTH // 2 + 1)
        ]
        return np.asarray(np.mean(lines, axis=0), np.float64)

    def of_coarse(self, calibration: Calibration, frame: Plane) -> Array:
        """Return the values along it ``(point,)`` of a coarse frame as recorded: of the pixel at each point."""
        rows, columns = frame.shape
        x, y = np.rint(moved(inverse(calibration.affine), self.places)).astype(int).T
        return np.asarray(frame[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)], np.float64)


@dataclass(frozen=True, eq=False)
class Profile:
    """What frames show along a line about one moment.

    Attributes:
        line: Where.
        number: The made frame.
        values: By frame: ``made``, ``sharp before``, ``sharp after``, ``coarse``, and ``truth`` where it is known.
    """

    line: Line
    number: int
    values: dict[str, Array]


def strongest_moving_edge(job: Job) -> tuple[Line, int]:
    """Return a line across the strongest edge that moves between two sharp frames, and the first of the two."""
    best, found, after = -1.0, (0, 0, 1.0, 0.0), 0
    for i in spread_over(len(job.sharp) - 1, _LOOKED_AT):
        first, second = (
            ndimage.gaussian_filter(shown(job, job.sharp, k).astype(np.float64), _SMOOTH) for k in (i, i + 1)
        )
        down, across = np.gradient((first + second) / 2)
        slope = np.hypot(down, across)
        score = ndimage.gaussian_filter(slope * np.abs(second - first), 2 * _SMOOTH)
        margin = min(round(2 * job.calibration.scale), (min(score.shape) - 1) // 2)
        inner = score[margin : score.shape[0] - margin, margin : score.shape[1] - margin]
        row, column = (int(k) + margin for k in np.unravel_index(np.argmax(inner), inner.shape))
        if score[row, column] > best:
            size = max(float(slope[row, column]), 1e-12)
            best, after = float(score[row, column]), i
            found = row, column, float(across[row, column]) / size, float(down[row, column]) / size
    return _across(job, *found), after


def profile(job: Job, frame: Plane, number: int, line: Line, *, truth: Plane | None = None) -> Profile:
    """Return what a made frame and those about it show along a line.

    Args:
        job: That made it.
        frame: Made frame `number`, over the window.
        number: Which.
        line: Where.
        truth: What it is to equal, where that is known.
    """
    pick = job.picks[number]
    before, after = (line.of_made(job, shown(job, job.sharp, i)) for i in pick.sharp)
    values = {
        "made": line.of_made(job, frame),
        "sharp before": before,
        "sharp after": after,
        "coarse": line.of_coarse(job.calibration, job.coarse.unit(pick.middle)),
    }
    if truth is not None:
        values["truth"] = line.of_made(job, truth)
    return Profile(line, number, values)


def middle_frame(job: Job, after: int) -> int:
    """Return the made frame nearest to midway between a sharp frame and the next."""
    midway = float(job.sharp.times[[after, min(after + 1, len(job.sharp) - 1)]].mean())
    return int(np.argmin([abs(pick.time - midway) for pick in job.picks]))


def _across(job: Job, row: int, column: int, dx: float, dy: float) -> Line:
    """Return the line along the gradient through a pixel, as far as frames reach."""
    left, top, right, below = job.box
    reach = _HALF_LENGTH * job.calibration.scale
    # what is cut off at one end is cut off at both, so that the edge stays in the middle
    for at, step, size in ((column, dx, right - left), (row, dy, below - top)):
        if abs(step) > 1e-9:
            reach = min(reach, at / abs(step), (size - 1 - at) / abs(step))
    x, y = left + column, top + row
    return Line(x - reach * dx, y - reach * dy, x + reach * dx, y + reach * dy)
