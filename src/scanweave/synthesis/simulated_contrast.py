"""How the tissues of a simulated brain show in MR: relaxation times of one subject, and the settings of one scan.

``S = PD |M(TI, TR)| exp(-TE / T2)``, the signal of spin echoes and of inversion recovery, so that contrasts of one
subject agree with each other as they do in a scanner.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..simulate.params import Params, uniform
from .simulated_anatomy import TISSUES

Weighting = Literal["T1", "T2", "PD", "FLAIR"]

_RELAXATION: dict[float, tuple[tuple[float, float, float], ...]] = {
    1.5: ((600, 78, 0.72), (950, 98, 0.84), (820, 85, 0.80), (3600, 1700, 1.0), (1150, 165, 0.87)),
    3.0: ((840, 72, 0.72), (1400, 94, 0.84), (1150, 74, 0.80), (4200, 1700, 1.0), (1550, 155, 0.87)),
}
"""T1 and T2 in ms and proton density of each of `TISSUES`, by field strength in tesla: Wansapura et al., J Magn Reson
Imaging 9 (1999); Stanisz et al., Magn Reson Med 54 (2005); gliosis between grey matter and fluid."""

_SPREADS = np.array([(0.07, 0.07, 0.03), (0.07, 0.07, 0.03), (0.1, 0.16, 0.03), (0.07, 0.1, 0.0), (0.15, 0.3, 0.05)])
"""Standard deviations of the logarithms of the same, between subjects: iron differs in deep nuclei, gliosis in all."""


class Relaxation(Params):
    """What one subject's tissues are.

    Attributes:
        t1: Of each of `TISSUES`, ms.
        t2: Likewise.
        density: Of protons, that of fluid 1.
    """

    t1: tuple[float, ...]
    t2: tuple[float, ...]
    density: tuple[float, ...]

    @classmethod
    def draw(cls, *, generator: np.random.Generator) -> Relaxation:
        """Draw those of one subject in one scanner."""
        low, high = (np.asarray(values) for values in _RELAXATION.values())
        share = generator.random()
        drawn = (low + share * (high - low)) * np.exp(_SPREADS * generator.normal(size=low.shape))
        t1, t2, density = (tuple(float(value) for value in column) for column in drawn.T)
        return cls(t1=t1, t2=t2, density=density)


class Scan(Params):
    """The settings of one scan, and what is not ideal in it.

    Attributes:
        repetition: TR, ms.
        inversion: TI, ms; None for a spin echo.
        echo: TE, ms.
        saturated: Share of a spin echo of 600 ms mixed into an inversion recovery: fast ones do not relax in between.
        gamma: Power of the brightness, for all that the signal equation leaves out.
        bias: Strength of the slow change of brightness through the head.
        tilt: Its form: a coefficient for each term of second order or less.
        dark: Share of the brain's darkest percentile that becomes 0: vessels and edges, which are not simulated, are
            darker than that.
        bright: Factor of its brightest percentile: vessels and fat are brighter.
        noise: Standard deviation over the window.
        seed: Of the noise.
    """

    repetition: float
    inversion: float | None
    echo: float
    saturated: float
    gamma: float
    bias: float
    tilt: tuple[float, ...]
    dark: float
    bright: float
    noise: float
    seed: int

    @classmethod
    def draw(cls, weighting: str, of: Relaxation, *, spoilt: bool, generator: np.random.Generator) -> Scan:
        """Draw the settings of a weighting.

        Args:
            weighting: T1, T2, PD or FLAIR.
            of: The subject's tissues; FLAIR nulls its fluid.
            spoilt: Whether brightness, noise and bias vary as in what is acquired anywhere, or little, as in what a
                network should learn to make.
            generator: Where all randomness comes from.

        Raises:
            UsageError: No such weighting.
        """

        def between(*limits: float) -> float:
            return uniform((limits[0], limits[1]), generator=generator)

        inversion, saturated = None, 0.0
        if weighting == "T1":
            repetition, echo = between(1900, 2500), between(2, 10)
            inversion, saturated = between(850, 1150), between(0.1, 1.0)
        elif weighting == "FLAIR":
            repetition, echo = between(6000, 11000), between(70, 140)
            fluid = of.t1[TISSUES.index("fluid")]
            inversion = between(0.92, 1.06) * fluid * math.log(2 / (1 + math.exp(-repetition / fluid)))
        elif weighting == "T2":  # fluid that is driven back to equilibrium counts as a longer TR
            repetition, echo = between(4500, 12000), between(80, 120)
        elif weighting == "PD":
            repetition, echo = between(3000, 8000), between(8, 25)
        else:
            raise UsageError(f"no subject is simulated in {weighting!r}", remedy="there are T1, T2, PD and FLAIR")
        brightest = {"T1": 1.4, "FLAIR": 1.5}.get(weighting, 1.1)
        most = (0.15, 0.22, 0.07) if spoilt else (0.0, 0.06, 0.01)
        return cls(
            repetition=repetition,
            inversion=inversion,
            echo=echo,
            saturated=saturated,
            gamma=math.exp(between(-most[0], most[0])),
            bias=between(0, most[1]),
            tilt=tuple(float(value) for value in generator.normal(size=9)),
            dark=between(0, 0.4 if spoilt else 0.15),
            bright=between(0.95, brightest if spoilt else 1.05),
            noise=between(0.002, most[2]),
            seed=int(generator.integers(2**53)),
        )

    def signals(self, of: Relaxation) -> Tensor:
        """Return the brightness of each of `TISSUES`, the brightest 1."""
        t1, t2, density = (np.asarray(values) for values in (of.t1, of.t2, of.density))
        relaxed = 1 - np.exp(-self.repetition / t1)
        if self.inversion is not None:
            relaxed = np.abs(1 - 2 * np.exp(-self.inversion / t1) + np.exp(-self.repetition / t1))
            relaxed = (1 - self.saturated) * relaxed + self.saturated * 0.6 * (1 - np.exp(-600 / t1))
        signal = density * relaxed * np.exp(-self.echo / t2)
        return torch.from_numpy((signal / signal.max()) ** self.gamma).float()

    def shading(self, points: Tensor) -> Tensor:
        """Return the factor of brightness at points ``(..., 3)`` in mm from the middle of the head."""
        z, y, x = (points / 90).unbind(dim=-1)
        terms = (z, y, x, z * z - 0.3, y * y - 0.3, x * x - 0.3, z * y, z * x, y * x)
        form = sum(weight * term for weight, term in zip(self.tilt, terms, strict=True))
        assert isinstance(form, Tensor)
        return torch.exp(self.bias * form)
