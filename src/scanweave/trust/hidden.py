"""Hide acquired frames and make them again: the part that scoring and calibration share.

At gap ``g`` the frames ``i`` and ``i + g`` are shown and all between them are hidden, for every ``i`` (every phase
``i mod g``). A method is fitted to the shown frames of the phase alone, so nothing of a hidden frame leaks into what
is made in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..cine import Cine
from ..errors import UsageError

if TYPE_CHECKING:
    from .core import RunMethod


@dataclass(frozen=True, slots=True)
class Span:
    """Two shown frames (0-based) and all hidden ones between them."""

    first: int
    last: int

    @property
    def gap(self) -> int:
        """How many frames apart the shown frames are."""
        return self.last - self.first

    @property
    def phase(self) -> int:
        """Which of the `gap` ways to thin the run this span belongs to."""
        return self.first % self.gap

    @property
    def hidden(self) -> range:
        """The hidden frames."""
        return range(self.first + 1, self.last)


@dataclass(frozen=True, slots=True, eq=False)
class HiddenFrame:
    """A hidden frame beside what a method made in its place; all in units of intensity in [0, 1].

    Attributes:
        method: Name of the method.
        span: The frames that were shown.
        index: The hidden frame.
        t: Its place in true time between the shown frames, 0 to 1.
        truth: ``(channel, row, column)``, palettes resolved.
        made: As `truth`, rounded and clamped to the stored depth: what a user would get.
        uncertainty: ``(row, column)``: the method's own, or `disagreement` where it has none.
        own_uncertainty: Whether it is the method's own.
    """

    method: str
    span: Span
    index: int
    t: float
    truth: NDArray[np.float32]
    made: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    own_uncertainty: bool


def clean_spans(length: int, gap: int, *, breaks: Sequence[int] = ()) -> list[Span]:
    """Return the spans of a run at `gap` that hold no break, in time order.

    Args:
        length: Number of frames.
        gap: How many frames apart the shown frames are, 2 or more.
        breaks: Frames ``k`` that do not follow ``k - 1`` in the ordinary way: exact duplicates of it, or the first
            after a cut. A span that holds both ``k - 1`` and ``k`` is left out.

    Raises:
        UsageError: A gap that hides nothing.
    """
    if gap < 2:
        raise UsageError(f"a gap of {gap} hides no frame", remedy="give gaps of 2 or more")
    broken = np.zeros(length + 1, dtype=np.int64)
    broken[[k for k in breaks if 0 < k < length]] = 1
    before = np.cumsum(broken)
    # Breaks at i + 1 ... i + gap lie inside the span.
    return [Span(i, i + gap) for i in range(length - gap) if before[i + gap] == before[i]]


def thinned(spans: Sequence[Span], max_hidden: int | None) -> list[Span]:
    """Return at most as many spans of one gap as hide `max_hidden` frames (at least one), evenly over the run.

    The share of every phase is thinned by itself, so that no phase is lost to an unlucky stride: at gap 2 the phases
    are the odd and the even hidden frames.
    """
    if max_hidden is None or not spans:
        return list(spans)
    gap = spans[0].gap
    wanted = max(1, max_hidden // (gap - 1))
    if wanted >= len(spans):
        return list(spans)
    kept: list[Span] = []
    for phase in range(gap):
        members = [span for span in spans if span.phase == phase]
        share = min(len(members), wanted // gap + (phase < wanted % gap))
        # The middles of `share` equal stretches.
        kept += [members[(2 * k + 1) * len(members) // (2 * share)] for k in range(share)]
    return sorted(kept, key=lambda span: span.first)


def remade(cine: Cine, methods: Mapping[str, RunMethod], spans: Sequence[Span]) -> Iterator[HiddenFrame]:
    """Make every hidden frame of `spans` (all of one gap) by every method, phase by phase.

    Each phase reads the run once, in order, and no more than the frames of one span are held.

    Raises:
        ValueError: A method gave frames of another shape, or values that are not finite.
    """
    for phase in sorted({span.phase for span in spans}):
        members = [span for span in spans if span.phase == phase]
        gap = members[0].gap
        shown = cine.select(range(phase, len(cine), gap))
        fitted = {name: method.fit(shown) for name, method in methods.items()}
        for span in members:
            i, j = span.first // gap, span.last // gap
            truths = [cine.unit(k) for k in span.hidden]
            start, end = cine.times[span.first], cine.times[span.last]
            ts = [float((cine.times[k] - start) / (end - start)) for k in span.hidden]
            for name, method in fitted.items():
                made = method.prepare(i, j).at(ts)
                frames = _checked(made.frames, (len(ts), *truths[0].shape), name, "frames")
                doubts, own = _doubts(made.uncertainty, shown, (i, j), ts, name)
                for k, index in enumerate(span.hidden):
                    given = delivered(cine, frames[k])
                    yield HiddenFrame(name, span, index, ts[k], truths[k], given, doubts[k], own)


def delivered(cine: Cine, made: NDArray[Any]) -> NDArray[np.float32]:
    """Return ``(channel, row, column)`` in [0, 1] as it would come back from a file: in stored units."""
    stored = cine.stored(made)
    return Cine.from_array(stored[None], levels=cine.levels, display=cine.display).unit(0)


def disagreement(first: NDArray[Any], second: NDArray[Any], t: float) -> NDArray[np.float32]:
    """Return a doubt for methods that have none: ``mean over channels |second - first| * 2 t (1 - t)``.

    The error of a blend of two frames of smooth motion grows as ``t (1 - t)``; at 1/2 this is half the difference of
    the two frames, the most that any value between them can be wrong by, if the truth lies between them.

    Args:
        first: ``(channel, row, column)`` in [0, 1].
        second: The same shape.
        t: Place between them, 0 to 1.
    """
    return np.asarray(np.abs(second - first).mean(axis=0) * (2 * t * (1 - t)), dtype=np.float32)


def _doubts(
    uncertainty: Any, shown: Cine, pair: tuple[int, int], ts: Sequence[float], name: str
) -> tuple[list[NDArray[np.float32]], bool]:
    if uncertainty is None:
        first, second = (shown.unit(k) for k in pair)
        return [disagreement(first, second, t) for t in ts], False
    rows, columns = shown.shape[:2]
    return list(_checked(uncertainty, (len(ts), 1, rows, columns), name, "uncertainty")[:, 0]), True


def _checked(values: Any, shape: tuple[int, ...], name: str, what: str) -> NDArray[np.float32]:
    array: NDArray[np.float32] = torch.as_tensor(values).detach().to("cpu", torch.float32).numpy()
    if array.shape != shape:
        raise ValueError(f"method {name!r} gave {what} of shape {array.shape}; {shape} was expected")
    if not np.isfinite(array).all():
        raise ValueError(f"method {name!r} gave {what} that are not finite")
    return array
