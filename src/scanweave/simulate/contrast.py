"""How tissue shows: signal equations of magnetic resonance, Hounsfield units, and contrasts of no scanner.

``E1 = exp(-TR / T1)``, ``E2 = exp(-TR / T2)``; times in milliseconds. Signals are those of proton density 1 and full
transverse magnetisation 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from ..errors import InputError, UsageError
from .params import Params, Range, uniform

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """What decides how a tissue shows.

    Attributes:
        t1: Longitudinal relaxation, ms, at 1.5 T.
        t2: Transverse relaxation, ms.
        density: Of protons that can be seen, water 1.
        hounsfield: In CT of 120 kV, HU.
    """

    t1: float
    t2: float
    density: float
    hounsfield: float


MATERIALS: dict[str, Material] = {
    "air": Material(1000, 100, 0.0, -1000),
    "fat": Material(350, 70, 1.0, -100),
    "skin": Material(950, 50, 0.9, 20),
    "muscle": Material(900, 47, 1.0, 55),
    "cortical bone": Material(500, 1, 0.05, 1000),
    "marrow": Material(549, 49, 0.9, 220),
    "cartilage": Material(1000, 40, 0.8, 120),
    "disc": Material(1100, 90, 0.8, 80),
    "blood": Material(1550, 250, 0.95, 45),
    "enhanced blood": Material(1550, 250, 0.95, 300),
    "myocardium": Material(1030, 50, 0.9, 60),
    "enhanced myocardium": Material(1030, 50, 0.9, 110),
    "lung": Material(1200, 40, 0.15, -850),
    "liver": Material(586, 46, 0.85, 60),
    "stomach": Material(1500, 120, 0.9, 30),
    "table": Material(1000, 100, 0.0, -500),
    "fluid": Material(2569, 329, 1.0, 8),
    "grey matter": Material(833, 83, 0.86, 38),
    "deep grey matter": Material(750, 78, 0.84, 37),
    "white matter": Material(500, 70, 0.77, 29),
    "lesion": Material(1100, 150, 0.88, 22),
    "eye": Material(2500, 300, 1.0, 12),
}
"""Typical values. Brain, fat and fluid: BrainWeb's normal phantom; trunk at 1.5 T: de Bazelaire et al., Radiology 230
(2004); heart and blood: the usual native values at 1.5 T; Hounsfield units: textbook means."""


@dataclass(frozen=True)
class Structure:
    """One part of an anatomy; its place in the list is its number in the map of structures.

    Attributes:
        name: What it is.
        material: Of `MATERIALS`.
        label: Its class in the segmentation; several structures may share one.
    """

    name: str
    material: str
    label: int = 0


class SpinEcho(Params):
    """``S = PD (1 - E1) exp(-TE / T2)``.

    Attributes:
        repetition: TR, ms.
        echo: TE, ms.
    """

    kind: Literal["spin echo"] = "spin echo"
    repetition: float = Field(gt=0)
    echo: float = Field(ge=0)

    def means(self, structures: Sequence[Structure]) -> Values:
        """Return the signal of each structure."""
        return np.array([self._signal(MATERIALS[part.material]) for part in structures])

    def _signal(self, of: Material) -> float:
        return of.density * (1 - math.exp(-self.repetition / of.t1)) * math.exp(-self.echo / of.t2)


class InversionRecovery(Params):
    """``S = PD |1 - 2 exp(-TI / T1) + exp(-TR / T1)| exp(-TE / T2)``: MPRAGE-like T1, or FLAIR.

    Attributes:
        repetition: TR, ms.
        inversion: TI, ms.
        echo: TE, ms.
    """

    kind: Literal["inversion recovery"] = "inversion recovery"
    repetition: float = Field(gt=0)
    inversion: float = Field(ge=0)
    echo: float = Field(ge=0)

    def means(self, structures: Sequence[Structure]) -> Values:
        """Return the signal of each structure."""
        return np.array([self._signal(MATERIALS[part.material]) for part in structures])

    def _signal(self, of: Material) -> float:
        recovered = 1 - 2 * math.exp(-self.inversion / of.t1) + math.exp(-self.repetition / of.t1)
        return of.density * abs(recovered) * math.exp(-self.echo / of.t2)


class SteadyState(Params):
    """Balanced: ``S = PD sin(a) (1 - E1) / (1 - (E1 - E2) cos(a) - E1 E2) exp(-TE / T2)``, TE = TR / 2.

    Attributes:
        repetition: TR, ms.
        flip: ``a``, degrees.
    """

    kind: Literal["steady state"] = "steady state"
    repetition: float = Field(gt=0)
    flip: float = Field(gt=0, lt=180)

    def means(self, structures: Sequence[Structure]) -> Values:
        """Return the signal of each structure."""
        return np.array([self._signal(MATERIALS[part.material]) for part in structures])

    def _signal(self, of: Material) -> float:
        angle = math.radians(self.flip)
        e1, e2 = math.exp(-self.repetition / of.t1), math.exp(-self.repetition / of.t2)
        steady = math.sin(angle) * (1 - e1) / (1 - (e1 - e2) * math.cos(angle) - e1 * e2)
        return of.density * steady * math.sqrt(e2)


class Hounsfield(Params):
    """CT: Hounsfield units."""

    kind: Literal["hounsfield"] = "hounsfield"

    def means(self, structures: Sequence[Structure]) -> Values:
        """Return the units of each structure."""
        return np.array([MATERIALS[part.material].hounsfield for part in structures], dtype=np.float64)


class RandomContrast(Params):
    """A brightness for each structure that owes nothing to physics (Billot et al., SynthSeg, 2023).

    Attributes:
        brightness: One for each structure.
    """

    kind: Literal["random"] = "random"
    brightness: tuple[float, ...]

    def means(self, structures: Sequence[Structure]) -> Values:
        """Return the brightness of each structure.

        Raises:
            InputError: It was drawn for another anatomy.
        """
        if len(self.brightness) != len(structures):
            raise InputError(
                f"a contrast for {len(self.brightness)} structures cannot show {len(structures)}",
                remedy="draw a contrast for this anatomy",
            )
        return np.array(self.brightness, dtype=np.float64)


Contrast = SpinEcho | InversionRecovery | SteadyState | Hounsfield | RandomContrast

CONTRASTS: dict[str, Contrast] = {
    "t1": InversionRecovery(repetition=2300, inversion=900, echo=3),
    "t2": SpinEcho(repetition=4500, echo=100),
    "pd": SpinEcho(repetition=4500, echo=15),
    "flair": InversionRecovery(repetition=9000, inversion=1700, echo=120),
    "cine": SteadyState(repetition=3.0, flip=60),
    "ct": Hounsfield(),
}
"""Usual settings by name; FLAIR almost nulls fluid."""

_CONTRAST: TypeAdapter[Contrast] = TypeAdapter(Annotated[Contrast, Field(discriminator="kind")])


def as_contrast(contrast: str | Contrast | Mapping[str, Any]) -> Contrast:
    """Return a contrast by its name, from JSON, or as it is.

    Raises:
        UsageError: No contrast has that name.
        InputError: The values are no contrast.
    """
    if isinstance(contrast, str):
        if contrast not in CONTRASTS:
            raise UsageError(f"no contrast is named {contrast!r}", remedy=f"known are {', '.join(CONTRASTS)}")
        return CONTRASTS[contrast]
    if not isinstance(contrast, Mapping):
        return contrast
    try:
        return _CONTRAST.validate_python(contrast)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "kind"
        raise InputError(f"no contrast: {where}: {first['msg']}", remedy="give it as it was drawn") from error


def draw_contrast(
    structures: Sequence[Structure], *, brightness: Range = (0.05, 1.0), generator: np.random.Generator
) -> dict[str, Any]:
    """Draw a random contrast: structures of one material look alike, air is dark.

    Args:
        structures: Those of the anatomy, ``params.STRUCTURES``.
        brightness: Least and greatest.
        generator: Where all randomness comes from.

    Returns:
        Plain JSON values for `image`.
    """
    shown = {name: uniform(brightness, generator=generator) for name in MATERIALS}
    shown["air"] = shown["table"] = 0.0
    return RandomContrast(brightness=tuple(shown[part.material] for part in structures)).as_json()
