"""From a method's uncertainty to errors that were measured on the run itself.

Frames are hidden at gap 2 (every other frame), made again, and compared. On the even hidden frames two maps are
fitted: uncertainty -> per-pixel interval of the error, and root-mean-square uncertainty of a frame over the region ->
its expected error. On the odd ones both are checked. (The root mean square, because frame errors differ where motion
is largest: on a cine MR run, where the mean said nothing (Spearman -0.04), it reaches 0.64.)

**How far it carries.** A made frame of the result lies between frames one step apart, a hidden one between frames two
steps apart. Both maps take the uncertainty as it is, in units of intensity; a method states it for its own pair and
its own ``t`` (none at the ends, most in the middle), so a smaller step or a ``t`` nearer to a source gives a smaller
expected error. That the *relation* between the two is the same at every step and ``t`` is assumed, not measured: no
acquired frame exists there to compare with. What is known is its direction. At gap 2 the motion to be bridged is
twice as long, and the hidden frame's own noise counts as error: the error at gap 1 is overstated. Against that, noise
does not shrink towards the sources as ``t (1 - t)`` does: on four real runs (echo, XA, MR; blending and optical flow,
hidden at gap 4) the error at t = 1/4 was up to 1.3 times larger, against what was expected, than at t = 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cine import Cine
from .hidden import HiddenFrame, clean_spans, remade, thinned

if TYPE_CHECKING:
    from .core import RunMethod

GAP = 2
NOTE = (
    "Calibrated on frames hidden at gap 2: the frames made between neighbours are nearer to their sources, "
    "so their error is overstated."
)

_BINS = 32
_LEAST_FRAMES = 4
_MOST_PIXELS = 2**21  # over all hidden frames: bounds memory
_FLOOR = 1e-6  # keeps logarithms of perfect frames finite
_SLOPES = (0.1, 10.0)  # strictly increasing, whatever few frames say


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What the uncertainty of a method means on one run. All errors are in units of intensity in [0, 1].

    Multiply by `LeaveOneOut.peak` (the range of `Cine.levels`) for stored units.

    Attributes:
        method: Name of the method.
        own_uncertainty: Whether the maps take the method's own uncertainty, or `scanweave.trust.hidden.disagreement`
            of the two sources because it has none.
        level: Share of pixels that the interval is meant to hold.
        region: ``(row, column)`` bool, where frames are judged.
        knots: Increasing uncertainties at which the interval is known.
        bounds: Half-widths of the interval there, never decreasing.
        slope: Of the frame model ``log error = offset + slope * log uncertainty``; positive.
        offset: Of the frame model.
        typical_error: Median expected error over the hidden frames that were fitted: where confidence is 0.5.
        fitted: Number of hidden frames that the maps were fitted to (the even ones).
        checked: Number of hidden frames that they were checked on (the odd ones).
        coverage: Share of pixels of the checked frames whose error lies in the interval, in every channel.
        spearman: Spearman correlation of expected and true frame error over the checked frames, or None
            where it is undefined (one frame, or all alike).
    """

    method: str
    own_uncertainty: bool
    level: float
    region: NDArray[np.bool_]
    knots: NDArray[np.float64]
    bounds: NDArray[np.float64]
    slope: float
    offset: float
    typical_error: float
    fitted: int = 0
    checked: int = 0
    coverage: float = float("nan")
    spearman: float | None = None

    def expected_error(self, uncertainty: ArrayLike) -> float:
        """Return the expected mean absolute error over the region of a frame with this uncertainty.

        Args:
            uncertainty: ``(row, column)``, of the kind that `own_uncertainty` says.

        Raises:
            ValueError: The map does not have the shape of the region.
        """
        doubt = np.asarray(uncertainty, dtype=np.float64)
        if doubt.shape != self.region.shape:
            raise ValueError(f"uncertainty of shape {doubt.shape} does not fit a region of shape {self.region.shape}")
        return self.frame_error(_root_mean_square(doubt[self.region]))

    def frame_error(self, doubt: float) -> float:
        """Return the expected mean absolute error of a frame whose root-mean-square uncertainty is `doubt`."""
        return float(np.exp(self.offset + self.slope * np.log(doubt + _FLOOR)))

    def confidence(self, expected_error: float) -> float:
        """Return ``1 / (1 + e / typical_error)``: 1 is certain, 0.5 the run's typical hidden frame made again.

        Args:
            expected_error: In units of intensity in [0, 1], as `expected_error` gives it.
        """
        return 1.0 / (1.0 + expected_error / self.typical_error)

    def interval(self, uncertainty: ArrayLike) -> NDArray[np.float32]:
        """Return the half-width, pixel by pixel, that holds the error of a share `level` of all pixels.

        Between the knots it is linear; beyond the largest uncertainty that was seen it grows in proportion.

        Args:
            uncertainty: Any shape.
        """
        doubt = np.asarray(uncertainty, dtype=np.float64)
        within = np.interp(doubt, self.knots, self.bounds)
        beyond = np.maximum(doubt / max(float(self.knots[-1]), _FLOOR), 1.0)
        return np.asarray(within * beyond, dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the region's pixels, JSON-able."""
        return {
            "method": self.method,
            "gap": GAP,
            "uncertainty": "own" if self.own_uncertainty else "disagreement of the two sources",
            "level": self.level,
            "region_pixels": int(self.region.sum()),
            "knots": self.knots.tolist(),
            "bounds": self.bounds.tolist(),
            "slope": self.slope,
            "offset": self.offset,
            "typical_error": self.typical_error,
            "fitted": self.fitted,
            "checked": self.checked,
            "coverage": self.coverage,
            "spearman": self.spearman,
            "note": NOTE,
        }


@dataclass(slots=True)
class Evidence:
    """Gathers what hidden frames say of one method, a bounded number of pixels of each.

    Attributes:
        region: ``(row, column)`` bool, where frames are judged; not empty.
        expected_frames: How many hidden frames will come: decides how many pixels of each are kept.
    """

    region: NDArray[np.bool_]
    expected_frames: int
    _frames: list[_FrameEvidence] = field(default_factory=list)
    _method: str = ""
    _own: bool = True

    def add(self, frame: HiddenFrame) -> None:
        """Keep what a hidden frame (at gap 2) says."""
        self._method, self._own = frame.method, frame.own_uncertainty
        error = np.abs(frame.made - frame.truth)[:, self.region]
        doubt = frame.uncertainty[self.region]
        # The same pixels of every frame, evenly over the region.
        most = max(1, _MOST_PIXELS // max(1, self.expected_frames))
        step = -(-doubt.size // most)
        self._frames.append(
            _FrameEvidence(
                index=frame.index,
                doubt=_root_mean_square(doubt),
                error=float(error.mean()),
                doubts=doubt[::step].copy(),
                errors=error.max(axis=0)[::step].copy(),
            )
        )

    def calibration(self, *, level: float = 0.9) -> Calibration | None:
        """Fit on even frames, check on odd ones; None for fewer than four frames, or fewer than two of either."""
        even = [frame for frame in self._frames if frame.index % 2 == 0]
        odd = [frame for frame in self._frames if frame.index % 2 == 1]
        if len(even) + len(odd) < _LEAST_FRAMES or min(len(even), len(odd)) < 2:
            return None
        knots, bounds = _interval_model(
            np.concatenate([f.doubts for f in even]), np.concatenate([f.errors for f in even]), level=level
        )
        slope, offset = _frame_model(np.array([f.doubt for f in even]), np.array([f.error for f in even]))
        unchecked = Calibration(
            method=self._method,
            own_uncertainty=self._own,
            level=level,
            region=self.region,
            knots=knots,
            bounds=bounds,
            slope=slope,
            offset=offset,
            typical_error=float(np.exp(offset + slope * np.median(np.log([f.doubt + _FLOOR for f in even])))),
            fitted=len(even),
            checked=len(odd),
        )
        # Errors come in steps of the stored depth: the tolerance keeps rounding in float32 from deciding a tie.
        inside = np.concatenate([f.errors <= unchecked.interval(f.doubts) + 1e-6 for f in odd])
        expected = np.array([unchecked.frame_error(f.doubt) for f in odd])
        return replace(
            unchecked,
            coverage=float(inside.mean()),
            spearman=rank_correlation(expected, np.array([f.error for f in odd])),
        )

    def expected_errors(self, calibration: Calibration) -> dict[int, float]:
        """Return hidden frame -> the error that `calibration` expects of it."""
        return {frame.index: calibration.frame_error(frame.doubt) for frame in self._frames}


@dataclass(frozen=True, slots=True, eq=False)
class _FrameEvidence:
    index: int
    doubt: float
    error: float
    doubts: NDArray[np.float32]
    errors: NDArray[np.float32]


def calibrate(
    cine: Cine,
    method: RunMethod,
    *,
    region: NDArray[np.bool_] | None = None,
    duplicates: Sequence[int] = (),
    cuts: Sequence[int] = (),
    max_hidden: int | None = 64,
    level: float = 0.9,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration | None:
    """Calibrate a method's uncertainty on the run's own hidden frames (gap 2).

    Args:
        cine: The run.
        method: The method whose frames are to be judged.
        region: ``(row, column)`` bool, where it is judged. None, or true nowhere: as `judged_region` says.
        duplicates: Frames equal to the one before; spans that hold such a pair are left out.
        cuts: First frames after a cut; spans across it are left out.
        max_hidden: Hide at most so many frames, evenly over the run.
        level: Share of pixels that the interval is meant to hold.
        progress: Called with (hidden frames made, of how many).

    Returns:
        The calibration, or None where fewer than four frames can be hidden, or fewer than two even or two odd ones.

    Raises:
        ValueError: A level outside (0, 1), or a region that does not fit the frames.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    spans = thinned(clean_spans(len(cine), GAP, breaks=[*duplicates, *cuts]), max_hidden)
    if len(spans) < _LEAST_FRAMES:
        return None
    evidence = Evidence(judged_region(cine, region), len(spans))
    for done, frame in enumerate(remade(cine, {method.name: method}, spans), start=1):
        evidence.add(frame)
        if progress:
            progress(done, len(spans))
    return evidence.calibration(level=level)


def judged_region(cine: Cine, region: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return `region`, or where the run moves if it is None; the whole frame where that is nowhere.

    Raises:
        ValueError: A region that is not a bool ``(row, column)`` of the run.
    """
    if region is None:
        from .survey import moving_region, survey

        region = moving_region(survey(cine))
    region = np.asarray(region)
    if region.shape != cine.shape[:2] or region.dtype != bool:
        raise ValueError(f"a region {region.shape} {region.dtype} is not bool of the frames' shape {cine.shape[:2]}")
    return region if region.any() else np.ones_like(region)


def rank_correlation(first: NDArray[Any], second: NDArray[Any]) -> float | None:
    """Return Spearman's rank correlation, or None where it is undefined (fewer than two values, or all alike)."""
    from scipy.stats import rankdata

    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _root_mean_square(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _interval_model(
    doubts: NDArray[Any], errors: NDArray[Any], *, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the `level` quantile of the error in bins of equal count of the doubt, made never to decrease."""
    edges = np.unique(np.quantile(doubts, np.linspace(0, 1, _BINS + 1)))
    bins = np.searchsorted(edges[1:-1], doubts, side="right")
    knots, bounds = [], []
    for number in np.unique(bins):
        members = bins == number
        knots.append(float(doubts[members].mean(dtype=np.float64)))
        bounds.append(float(np.quantile(errors[members], level, method="higher")))
    return np.array(knots), np.maximum.accumulate(bounds)


def _frame_model(doubts: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope (positive) and offset of ``log error`` over ``log doubt`` by least squares."""
    x, y = np.log(doubts + _FLOOR), np.log(errors + _FLOOR)
    spread = float(np.square(x - x.mean()).sum())
    # Frames that are all alike say nothing of the slope: then error is proportional to doubt.
    slope = 1.0 if spread < 1e-12 else float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    slope = float(np.clip(slope, *_SLOPES))
    return slope, float(y.mean() - slope * x.mean())
