"""Pictures of fused frames: beside what both cameras recorded, and where they disagree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..fusion.frames import Plane
from ..fusion.job import Job
from ..fusion.profiles import Line
from ..fusion.rigid import inverse, moved
from ..fusion.trust import Findings
from ..report import Picture, Swipe
from ..report.pictures import difference_map, picture

Grey = NDArray[np.uint8]
Window = tuple[float, float]

NO_DATA = (128, 128, 128)
_SIDE = 640  # pixels of the longest side
_SHARE = (0.5, 99.5)  # percentiles that are black and white
_LINE = (255, 196, 0)


def window_of(frame: Plane) -> Window:
    """Return the values that are shown black and white."""
    low, high = (float(end) for end in np.percentile(frame, _SHARE))
    return (low, high) if high > low else (low, low + 1.0)


def grey(frame: Plane, window: Window) -> Grey:
    """Return a frame as 8-bit grey."""
    low, high = window
    return np.asarray(np.rint(np.clip((frame - low) / (high - low), 0, 1) * 255), np.uint8)


def coarse_pixels(job: Job, number: int) -> Plane:
    """Return the coarse frame of a made one on its pixels, each coarse pixel as the square that it is."""
    coarse, (left, top, right, below) = job.coarse.unit(job.picks[number].middle), job.box
    columns, rows = np.meshgrid(np.arange(left, right), np.arange(top, below))
    places = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
    x, y = np.rint(moved(inverse(job.calibration.affine), places)).astype(int).T
    found = coarse[np.clip(y, 0, coarse.shape[0] - 1), np.clip(x, 0, coarse.shape[1] - 1)]
    return np.asarray(found.reshape(job.shape), np.float32)


def swiped(left: Plane, right: Plane, names: tuple[str, str], window: Window, caption: str) -> Swipe:
    """Return two frames to be wiped over."""
    pictures = [
        picture(grey(one, window), name, max_side=_SIDE) for one, name in zip((left, right), names, strict=True)
    ]
    return Swipe(pictures[0], pictures[1], caption)


def difference(values: NDArray[np.floating], limit: float, caption: str) -> Picture:
    """Return signed values as colours, full at ``±limit``; what is NaN is grey."""
    shade = difference_map(values, limit)
    shade[~np.isfinite(values)] = NO_DATA
    return picture(shade, caption, max_side=_SIDE)


def with_line(findings: Findings, line: Line, number: int, caption: str) -> Picture:
    """Return a made frame with a line drawn on it."""
    from PIL import Image, ImageDraw

    frame, (left, top, _, _) = findings.frame(number), findings.job.box
    times = max(1, _SIDE // max(frame.shape))
    shade = grey(frame, window_of(frame)).repeat(times, axis=0).repeat(times, axis=1)
    drawn = Image.fromarray(shade).convert("RGB")
    ends = [((x - left + 0.5) * times, (y - top + 0.5) * times) for x, y in ((line.x0, line.y0), (line.x1, line.y1))]
    ImageDraw.Draw(drawn).line(ends, fill=_LINE, width=max(1, times))
    return picture(np.asarray(drawn, np.uint8), caption, max_side=max(shade.shape))
