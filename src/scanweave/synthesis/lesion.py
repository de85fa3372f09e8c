"""What became of a lesion that someone outlined: how it stands out of its surroundings, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError

Mask = NDArray[np.bool_]
Fate = Literal["kept", "weaker", "erased", "unclear"]

_RING_MM = (2.0, 8.0)  # from the lesion: its rim, of which nobody knows, is left out
_KEPT, _ERASED = 0.8, 0.4  # shares of the contrast
_NORMAL = 1.4826  # deviation of a normal variable, in medians of its absolute values
_SEEN, _UNSEEN = 2.0, 1.0  # contrast-to-noise ratios (Rose: what is to be seen for certain has about 5, hardly at 2)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a lesion stands out of its surroundings in one image.

    Attributes:
        contrast: Mean of the lesion less that of its surroundings, in the image's units.
        spread: Deviation of the surroundings, by the median of their distances from the median: noise and the tissue's
            own structure, but not what little else lies there.
        volume_ml: What of the lesion lies beyond the value midway between both means (of the reference, where the image
            has its units): how much of it is still seen.
    """

    contrast: float
    spread: float
    volume_ml: float

    @property
    def cnr(self) -> float:
        """Contrast-to-noise ratio, negative where the lesion is darker."""
        return self.contrast / self.spread if self.spread > 0 else 0.0


def surroundings(lesion: Mask, organ: Mask, spacing: tuple[float, float, float]) -> Mask:
    """Return the ring around a lesion that it is compared with: 2 to 8 mm from it, within the organ.

    Args:
        lesion: ``(slice, row, column)``.
        organ: The same shape.
        spacing: Of voxels, mm.

    Raises:
        InputError: No lesion, or nothing around it.
    """
    if not lesion.any():
        raise InputError("the mask of the lesion is 0 everywhere", remedy="give one that outlines it")
    where = [np.flatnonzero(lesion.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    margins = [int(_RING_MM[1] / step) + 1 for step in spacing]
    part = tuple(
        slice(max(0, int(one[0]) - margin), int(one[-1]) + margin + 1)
        for one, margin in zip(where, margins, strict=True)
    )
    away = ndimage.distance_transform_edt(~lesion[part], sampling=spacing)
    ring = np.zeros_like(lesion)
    ring[part] = organ[part] & (away >= _RING_MM[0]) & (away <= _RING_MM[1])
    if not ring.any():
        raise InputError(
            f"nothing lies {_RING_MM[0]:g} to {_RING_MM[1]:g} mm around the lesion", remedy="outline the lesion alone"
        )
    return ring


def standing(
    image: NDArray[np.floating], lesion: Mask, ring: Mask, voxel_ml: float, *, like: NDArray[np.floating] | None = None
) -> Standing:
    """Return how a lesion stands out of a ring.

    Args:
        image: ``(slice, row, column)`` in any unit.
        lesion: Where the lesion is.
        ring: What it is compared with (`surroundings`).
        voxel_ml: Volume of a voxel.
        like: Values of lesion and ring ``(2,)`` whose middle parts them; by default the image's own means.
    """
    inside, around = image[lesion].astype(np.float64), image[ring].astype(np.float64)
    means = np.array([inside.mean(), around.mean()])
    tissue = means if like is None else like
    middle = float(np.mean(tissue))
    beyond = inside > middle if tissue[0] > tissue[1] else inside < middle
    spread = _NORMAL * float(np.median(np.abs(around - np.median(around))))
    return Standing(float(means[0] - means[1]), spread or float(around.std()), float(beyond.sum() * voxel_ml))


@dataclass(frozen=True, slots=True)
class LesionCheck:
    """A lesion in what a method was given, and in what it made.

    Attributes:
        inputs: By contrast.
        made: In the result.
        contrast: Which contrast was made.
    """

    inputs: dict[str, Standing]
    made: Standing
    contrast: str

    @property
    def kept(self) -> float | None:
        """Share of its contrast that is left; None of another contrast, of which nobody knows what it should be."""
        before = self.inputs.get(self.contrast)
        return None if before is None or before.contrast == 0 else self.made.contrast / before.contrast

    @property
    def fate(self) -> Fate:
        """What became of it.

        Of a contrast that was given: by the share of its contrast that is left. Of another: erased where it stands out
        of an input and not of the result; a contrast in which it does not show is possible, though.
        """
        best = max(abs(one.cnr) for one in self.inputs.values())
        kept = self.kept
        if kept is not None and abs(self.inputs[self.contrast].cnr) >= _UNSEEN:
            return "kept" if kept >= _KEPT else "erased" if kept < _ERASED else "weaker"
        if best < _SEEN:
            return "unclear"
        return "kept" if abs(self.made.cnr) >= _SEEN else "erased" if abs(self.made.cnr) < _UNSEEN else "weaker"
