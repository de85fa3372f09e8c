"""What is done with the frames of a training sample: cut, turned, and as noisy as counting photons makes them.

Everything random is drawn first, as plain numbers; the same numbers give the same frames again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from ..errors import InputError, UsageError
from ..training.samples import Drawn, Sample

SCALE = 4
"""Sharp pixels in the side of a coarse one: what the networks enlarge by."""

_STEEP = 4  # power of the difference by which the published program prefers places that change

Plane = NDArray[np.float32]


class FrameSet(NamedTuple):
    """The frames of one sample in [0, 1].

    Attributes:
        coarse: ``(n, h, w)``.
        sharp: ``(2, H, W)``.
        target: ``(1, H, W)``.
    """

    coarse: Plane
    sharp: Plane
    target: Plane


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PatchConfig:
    """How frames are cut and turned, and what noise they get."""

    side: int = Field(default=256, ge=32, multiple_of=16)
    """Sides of a patch of the sharp frames, in pixels; smaller frames are reflected at the lower and right sides, edge
    pixels repeated, so that coarse and sharp ones still fit together."""

    where: Literal["anywhere", "changing"] = "anywhere"
    """Which patch. changing: around pixels drawn with a chance that rises with the fourth power of the difference
    between the two sharp frames, as the published option sample_patch_ok has it."""

    turn: bool = True
    """Flip rows, flip columns and exchange both, each with a chance of a half."""

    photons: tuple[float, float] | None = None
    """Noise of the coarse frames: the logarithm to base 10 of the photons at white, from and to; null for none."""

    renormalise: float = Field(default=0.0, ge=0, lt=0.5)
    """Stretch all frames of a sample together: this share of their darkest and brightest pixels becomes 0 and 1."""

    def __post_init__(self) -> None:
        """Refuse what is no range.

        Raises:
            UsageError: As said.
        """
        if self.photons is not None and not self.photons[0] <= self.photons[1]:
            raise UsageError(f"photons from 10^{self.photons[0]:g} to 10^{self.photons[1]:g}", remedy="exchange them")

    def draw(self, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw place, turns and noise."""
        flips = generator.random(3) < 0.5 if self.turn else np.zeros(3, bool)
        return {
            "place": [float(one) for one in generator.random(2)],
            "turns": [bool(one) for one in flips],
            "photons": None if self.photons is None else float(10 ** generator.uniform(*self.photons)),
            "seed": int(generator.integers(2**31)),
        }


def patch(frames: FrameSet, drawn: Drawn, config: PatchConfig) -> FrameSet:
    """Return the patch of a sample that was drawn, turned, stretched and noisy.

    Raises:
        InputError: Coarse frames that are neither on the sharp grid nor four times as coarse.
    """
    cut_out = cut(frames, config.side, corner_of(frames, drawn, config))
    if config.renormalise:
        cut_out = _stretched(cut_out, config.renormalise)
    turned = FrameSet(*(_turned(planes, drawn["turns"]) for planes in cut_out))
    if drawn["photons"] is None:
        return turned
    return turned._replace(coarse=counted(turned.coarse, drawn["photons"], np.random.default_rng(drawn["seed"])))


def whole(frames: FrameSet) -> FrameSet:
    """Return a sample's whole frames; coarse ones that lie on the sharp grid are reduced.

    Raises:
        InputError: As of :func:`patch`.
    """
    return FrameSet(_reduced(frames.coarse, frames.target), frames.sharp, frames.target)


def cut(frames: FrameSet, side: int, corner: tuple[int, int]) -> FrameSet:
    """Cut a square from all frames alike; where coarse ones lie on the sharp grid, they are reduced after the cut.

    Args:
        frames: Whole frames.
        side: Of the square, in sharp pixels.
        corner: Row and column of its first pixel in the coarse frames (four times as far in the sharp ones).
    """
    rows, columns = (SCALE * one for one in corner)
    sharp, target = (_square(planes, rows, columns, side) for planes in (frames.sharp, frames.target))
    if frames.coarse.shape[1:] == frames.target.shape[1:]:
        return FrameSet(_reduced(_square(frames.coarse, rows, columns, side), target), sharp, target)
    _require_scale(frames.coarse, frames.target)
    return FrameSet(_square(frames.coarse, *corner, side // SCALE), sharp, target)


def counted(planes: Plane, photons: float, generator: np.random.Generator) -> Plane:
    """Return what counting so many photons at white makes of frames in [0, 1]; clipped to that, as published."""
    counts = generator.poisson(np.maximum(planes, 0) * photons)
    return np.asarray(np.clip(counts / photons, 0, 1), np.float32)


def tensors(frames: FrameSet) -> Sample:
    """Return a sample's frames as networks take them."""
    import torch

    made = {name: torch.from_numpy(np.ascontiguousarray(planes)) for name, planes in frames._asdict().items()}
    return {name: one if name == "target" else one[:, None] for name, one in made.items()}


def corner_of(frames: FrameSet, drawn: Drawn, config: PatchConfig) -> tuple[int, int]:
    """Return row and column, in coarse pixels, at which the patch begins."""
    free = [max(n // SCALE - config.side // SCALE, 0) for n in frames.target.shape[1:]]
    if config.where == "anywhere":
        return tuple(int(u * (most + 1)) for u, most in zip(drawn["place"], free, strict=True))  # type: ignore[return-value]
    weights = np.abs(frames.sharp[1] - frames.sharp[0]).astype(np.float64).ravel() ** _STEEP
    if not weights.sum() > 0:
        weights[:] = 1
    centre = int(np.searchsorted(np.cumsum(weights), drawn["place"][0] * weights.sum(), side="right"))
    at = np.unravel_index(min(centre, weights.size - 1), frames.target.shape[1:])
    starts = ((int(one) - config.side // 2) // SCALE for one in at)
    row, column = (min(max(start, 0), most) for start, most in zip(starts, free, strict=True))
    return row, column


def _square(planes: Plane, row: int, column: int, side: int) -> Plane:
    part = planes[:, row : row + side, column : column + side]
    missing = [side - n for n in part.shape[1:]]
    return np.pad(part, ((0, 0), (0, missing[0]), (0, missing[1])), mode="symmetric") if any(missing) else part


def _reduced(coarse: Plane, target: Plane) -> Plane:
    """Return coarse frames at their size: those on the sharp grid are reduced bilinearly by OpenCV, as published."""
    if coarse.shape[1:] != target.shape[1:]:
        _require_scale(coarse, target)
        return coarse
    size = (coarse.shape[2] // SCALE, coarse.shape[1] // SCALE)
    return np.stack([cv2.resize(np.ascontiguousarray(one), size, interpolation=cv2.INTER_LINEAR) for one in coarse])


def _require_scale(coarse: Plane, target: Plane) -> None:
    if any(SCALE * few != many for few, many in zip(coarse.shape[1:], target.shape[1:], strict=True)):
        (h, w), (rows, columns) = coarse.shape[1:], target.shape[1:]
        raise InputError(
            f"coarse frames of {h} x {w} pixels beside sharp ones of {rows} x {columns}: four times as fine, or on one"
            " grid, are wanted",
            remedy="cut the sharp frames to four times the coarse ones, or register both with `scanweave calibrate`",
        )


def _stretched(frames: FrameSet, share: float) -> FrameSet:
    pixels = np.concatenate([planes.ravel() for planes in frames])
    low, high = np.quantile(pixels, (share, 1 - share))
    if not high > low:
        return frames
    return FrameSet(*(np.asarray(np.clip((p - low) / (high - low), 0, 1), np.float32) for p in frames))


def _turned(planes: Plane, turns: Sequence[bool]) -> Plane:
    across, down, exchanged = turns
    planes = planes[:, :, ::-1] if across else planes
    planes = planes[:, ::-1] if down else planes
    return np.ascontiguousarray(planes.transpose(0, 2, 1) if exchanged else planes)
