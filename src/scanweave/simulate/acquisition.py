"""What a scanner makes of a clean picture: texture, uneven reception, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter

from .params import Params, Range, new_seed, stream, uniform

Picture = NDArray[np.float32]
Spacing = tuple[float, ...]

_WAVES = 6
_LONGEST, _SHORTEST = 600.0, 250.0


@dataclass(frozen=True)
class AcquisitionConfig:
    """What may be drawn.

    Attributes:
        kind: Of the noise: ``rician`` for magnitudes of magnetic resonance, ``gaussian`` for CT.
        noise: Standard deviation, in units of the picture (of the real and the imaginary part, if Rician).
        bias: Standard deviation of the logarithm of the reception field; 0 for none.
        texture: Variation within structures, in units of the picture.
        grain: Size of that texture (standard deviation of its blur), mm.
    """

    kind: Literal["rician", "gaussian"] = "rician"
    noise: Range = (0.005, 0.04)
    bias: Range = (0.0, 0.25)
    texture: Range = (0.0, 0.02)
    grain: Range = (0.7, 2.0)


class Acquisition(Params):
    """One acquisition.

    Attributes:
        seed: Of all that is random.
        kind: Of the noise.
        noise: Its standard deviation.
        bias: Of the reception field, standard deviation of its logarithm.
        texture: Variation within structures.
        grain: Size of the texture, mm.
    """

    seed: int
    kind: Literal["rician", "gaussian"] = "rician"
    noise: float = Field(default=0.0, ge=0)
    bias: float = Field(default=0.0, ge=0)
    texture: float = Field(default=0.0, ge=0)
    grain: float = Field(default=1.0, ge=0)

    @classmethod
    def draw(cls, config: AcquisitionConfig, *, generator: np.random.Generator) -> Self:
        """Draw one acquisition."""
        return cls(
            seed=new_seed(generator),
            kind=config.kind,
            noise=uniform(config.noise, generator=generator),
            bias=uniform(config.bias, generator=generator),
            texture=uniform(config.texture, generator=generator),
            grain=uniform(config.grain, generator=generator),
        )

    def applied(self, clean: Picture, *, spacing: Spacing, centre: tuple[float, ...]) -> Picture:
        """Return what is acquired of a clean picture.

        Texture is left out where the picture is 0, as in air. The reception field lies still in millimetres; texture
        and noise belong to the voxels.

        Args:
            clean: ``([slice, ]row, column)``.
            spacing: Of its axes, mm.
            centre: Where its middle lies, mm, in the order of its axes.
        """
        seen = clean
        if self.texture > 0:
            seen = seen + (np.float32(self.texture) * self._grains(clean.shape, spacing)) * (clean != 0)
        if self.bias > 0:
            seen = seen * self.reception(clean.shape, spacing=spacing, centre=centre)
        noise = stream(self.seed, "noise")
        noisy = rician if self.kind == "rician" else gaussian
        return noisy(seen, deviation=self.noise, generator=noise) if self.noise > 0 else np.asarray(seen, np.float32)

    def reception(self, shape: tuple[int, ...], *, spacing: Spacing, centre: tuple[float, ...]) -> Picture:
        """Return the reception field: smooth, and 1 but for `bias`.

        Its logarithm is a sum of waves of 250 to 600 mm, of variance ``bias**2`` over all space.
        """
        generator = stream(self.seed, "reception")
        directions = generator.standard_normal((_WAVES, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        numbers = 2 * math.pi / generator.uniform(_SHORTEST, _LONGEST, _WAVES)
        phases = generator.uniform(0, 2 * math.pi, _WAVES)
        axes = [
            middle + step * (np.arange(count) - (count - 1) / 2)
            for count, step, middle in zip(shape, spacing, centre, strict=True)
        ]
        logarithm = np.zeros(shape)
        for direction, number, phase in zip(directions, numbers, phases, strict=True):
            # The last axes of the direction, so that a plane image and a slice at height 0 agree.
            turns = [number * part * axis for part, axis in zip(direction[-len(axes) :], axes, strict=True)]
            logarithm += np.cos(phase + sum(np.ix_(*turns)))
        return np.exp(self.bias * math.sqrt(2 / _WAVES) * logarithm).astype(np.float32)

    def _grains(self, shape: tuple[int, ...], spacing: Spacing) -> Picture:
        """Return blurred white noise of variance 1."""
        white = stream(self.seed, "texture").standard_normal(shape, dtype=np.float32)
        sigmas = [self.grain / step for step in spacing]
        blurred = gaussian_filter(white, sigmas, mode="wrap")
        return np.asarray(
            blurred / np.float32(math.prod(_gain(shape_, s) for shape_, s in zip(shape, sigmas, strict=True)))
        )


def draw_acquisition(config: AcquisitionConfig, *, generator: np.random.Generator) -> dict[str, Any]:
    """Draw one acquisition as plain JSON values for `image`."""
    return Acquisition.draw(config, generator=generator).as_json()


def rician(signal: NDArray[Any], *, deviation: float, generator: np.random.Generator) -> Picture:
    """Return the magnitude of a signal with complex Gaussian noise: ``|S + n1 + i n2|``.

    Where the signal is 0 that is Rayleigh's distribution, of mean ``deviation sqrt(pi / 2)``; the mean square is
    ``S**2 + 2 deviation**2`` everywhere.
    """
    real, imaginary = generator.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(deviation)
    return np.asarray(np.hypot(signal.astype(np.float32) + real, imaginary), np.float32)


def gaussian(signal: NDArray[Any], *, deviation: float, generator: np.random.Generator) -> Picture:
    """Return a signal with white Gaussian noise."""
    noise = generator.standard_normal(signal.shape, dtype=np.float32) * np.float32(deviation)
    return np.asarray(signal.astype(np.float32) + noise, np.float32)


def _gain(count: int, sigma: float) -> float:
    """Return the standard deviation that a blur leaves of white noise along one periodic axis."""
    pulse = np.zeros(count)
    pulse[0] = 1.0
    return float(np.linalg.norm(gaussian_filter(pulse, sigma, mode="wrap")))
