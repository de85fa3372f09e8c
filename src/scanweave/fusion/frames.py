"""`Frames`: the run of one camera as methods see it, from counts to numbers over a window and back.

Dark and flat fields are taken off, ``(count - dark) / (flat - dark)``, and a window of the result becomes [0, 1].
Nothing is clamped or rounded on the way in; on the way out only what the container cannot hold is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cine import Cine
from ..errors import InputError, UnsupportedError

Plane = NDArray[np.float32]
Window = tuple[float, float]

_DEPTHS = (8, 10, 12, 14, 16)
_LOOKED_AT = 8  # frames that the depth is told from
_SATURATED = 0.5  # share of pixels at the top of the container from which on a frame shows nothing
_ALIKE = 0.3  # correlation that intensities of both cameras must reach to be matched
_WRONG = 0.01  # share of pixels where a flat is no brighter than the dark, from which on it is refused


@dataclass(frozen=True, eq=False)
class Field:
    """What a camera records without a sample.

    Attributes:
        dark: ``(row, column)``, counts without light; 0 where none was recorded.
        gain: ``(row, column)``, counts that light of strength 1 adds to it; 1 where no flat was recorded.
        flat: Whether `gain` was measured, so that frames become transmissions.
        notes: What was found, one sentence each.
    """

    dark: Plane
    gain: Plane
    flat: bool
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, shape: tuple[int, int], *, dark: Plane | None = None, flat: Plane | None = None) -> Field:
        """Check fields that were recorded; pixels where the flat is no brighter than the dark get the median gain.

        Args:
            shape: Rows and columns of the camera's frames.
            dark: Mean of frames without light.
            flat: Mean of frames with light and no sample.

        Raises:
            InputError: Another size, numbers that are none, or a flat that is no brighter than the dark.
        """
        for name, one in (("dark", dark), ("flat", flat)):
            if one is not None and one.shape != shape:
                raise InputError(
                    f"the {name} field has {one.shape[0]} x {one.shape[1]} pixels, the frames {shape[0]} x {shape[1]}",
                    remedy="give the fields of this camera at this region of interest",
                )
            if one is not None and not np.isfinite(one).all():
                raise InputError(f"the {name} field holds values that are not numbers")
        below = np.zeros(shape, np.float32) if dark is None else dark.astype(np.float32)
        if flat is None:
            return cls(below, np.ones(shape, np.float32), flat=False)
        gain = flat.astype(np.float32) - below
        wrong = gain <= 0
        if wrong.mean() > _WRONG:
            raise InputError(
                f"the flat field is no brighter than the dark one in {wrong.mean():.0%} of its pixels",
                remedy="check that flat and dark fields are not exchanged",
            )
        notes: tuple[str, ...] = ()
        if wrong.any():
            gain[wrong] = np.median(gain[~wrong])
            notes = (f"{int(wrong.sum())} pixels of the flat field are dead and got the median gain.",)
        return cls(below, gain, flat=True, notes=notes)


@dataclass(frozen=True, eq=False)
class Frames:
    """The run of one camera.

    Attributes:
        cine: Its frames as recorded, grey; times in seconds on the camera's own clock.
        camera: ``fast`` or ``sharp``, for messages.
        field: Dark and flat field.
        window: Which values, once fields are taken off, mean 0 and 1.
        top: The largest count of the depth that is used.
        scale: What these numbers are multiplied by ...
        shift: ... and what is added then, so that both cameras tell the same of the same light.
    """

    cine: Cine
    camera: str
    field: Field
    window: Window
    top: float
    scale: float = 1.0
    shift: float = 0.0

    @classmethod
    def of(cls, cine: Cine, camera: str, *, field: Field | None = None, window: Window | None = None) -> Frames:
        """Check a run, and find its window where none is given: transmissions 0 to 1, or the depth that is used.

        Raises:
            UnsupportedError: Colour.
            InputError: A window that is empty.
        """
        if cine.is_colour:
            raise UnsupportedError(
                f"the {camera} camera's frames have colours", path=cine.source.path, remedy="give grey frames"
            )
        if window is not None and not (math.isfinite(window[0]) and window[0] < window[1] < math.inf):
            raise InputError(f"a window from {window[0]:g} to {window[1]:g} is empty", remedy="give LOW below HIGH")
        found = field or Field.of((cine.shape[0], cine.shape[1]))
        used = depth(cine)
        return cls(cine, camera, found, window or ((0.0, 1.0) if found.flat else used), used[1])

    def __len__(self) -> int:
        return len(self.cine)

    @property
    def times(self) -> NDArray[np.float64]:
        """Of all frames, on the camera's own clock."""
        return self.cine.times

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.cine.shape[0], self.cine.shape[1]

    def unit(self, i: int) -> Plane:
        """Return frame `i`, ``(row, column)`` over the window.

        Raises:
            InputError: A frame that shows nothing: dead, saturated, or not numbers.
        """
        counts = self.cine.frame(i)
        self._check(counts, i)
        low, high = self.window
        corrected = (counts.astype(np.float32) - self.field.dark) / self.field.gain
        return np.asarray((corrected - low) * (self.scale / (high - low)) + self.shift, np.float32)

    def values(self, unit: Plane) -> Plane:
        """Return numbers over the window as transmissions, or as counts where there is no flat field."""
        low, high = self.window
        return np.asarray((unit - self.shift) / self.scale * (high - low) + low, np.float32)

    def select(self, indices: list[int]) -> Frames:
        """Return the run of some of its frames."""
        return replace(self, cine=self.cine.select(indices))

    def matched(self, scale: float, shift: float) -> Frames:
        """Return the run with other units."""
        return replace(self, scale=scale, shift=shift)

    def _check(self, counts: NDArray[Any], i: int) -> None:
        what, path = f"frame {i} of the {self.camera} camera", self.cine.source.path
        low, high = counts.min(), counts.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"{what} holds values that are not numbers", path=path)
        if low == high:
            raise InputError(
                f"{what} is dead: all its pixels are {high}", path=path, remedy="leave it out of the run, with its time"
            )
        if counts.dtype.kind in "ui":
            share = float((counts >= min(self.top, np.iinfo(counts.dtype).max)).mean())
            if share > _SATURATED:
                raise InputError(
                    f"{what} is saturated in {share:.0%} of its pixels",
                    path=path,
                    remedy="leave it out of the run, with its time",
                )


def depth(cine: Cine) -> Window:
    """Return the counts that the depth of a run means: of integers the fewest bits, from 8, that hold what they use.

    A camera of 12 bits in files of 16 says nowhere that it has 12. Frames over the whole run are looked at.
    """
    if cine.dtype.kind != "u" or cine.dtype.itemsize > 2:
        return cine.levels
    if cine.levels[1] < np.iinfo(cine.dtype).max:
        return cine.levels
    some = np.unique(np.linspace(0, len(cine) - 1, min(len(cine), _LOOKED_AT)).astype(int))
    highest = max(int(cine.frame(int(i)).max()) for i in some)
    return 0.0, float(next(2**bits - 1 for bits in _DEPTHS if highest < 2**bits))


def matching(coarse: NDArray[np.float64], sharp: NDArray[np.float64]) -> tuple[float, float]:
    """Return scale and shift that bring what the coarse camera tells to what the sharp one tells of the same places.

    The sharp camera's values, means over many of its pixels, have the smaller error: the coarse ones are fitted to
    them, ``coarse = a sharp + b``, and that line is inverted.

    Raises:
        InputError: The two do not rise together.
    """
    x, y = sharp - sharp.mean(), coarse - coarse.mean()
    slope = float((x * y).sum() / max(float((x * x).sum()), 1e-30))
    alike = slope * float(np.sqrt((x * x).sum() / max(float((y * y).sum()), 1e-30)))
    if slope <= 0 or alike < _ALIKE:
        raise InputError(
            f"the two cameras do not show the same: correlation {alike:.2f}, {_ALIKE} needed to match intensities",
            remedy="check the calibration and the times, or leave intensities as they are with --match none",
        )
    return 1 / slope, float(sharp.mean() - coarse.mean() / slope)
