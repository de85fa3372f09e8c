"""The heart in short axis: slices across its long axis, from apex (low) to base (high).

The left ventricle is a truncated ellipsoid, its wall the shell to a second one, closed around the cavity in every
slice. The patient's right is at the left of the image, the chest's front at its top.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .contrast import Structure
from .motion import Ripple, draw_ripple
from .params import Params, Range, uniform
from .solids import Ellipsoid, Mask, Section, oval

_RIGHT_WALL = 3.5
_FAT = 2.5


@dataclass(frozen=True)
class HeartConfig:
    """What may be drawn: adults at end diastole. Lengths in mm.

    Ranges of both sexes, healthy to moderately enlarged (Lang et al., J Am Soc Echocardiogr 28, 2015).

    Attributes:
        cavity_radius: Of the left ventricle at its widest.
        cavity_length: From the apex of the cavity to its base.
        wall: Of the left ventricle where it is widest.
        right_width: From the septum to the free wall.
        papillary: Radius of a papillary muscle.
        fat: Beneath the skin.
        chest: Half width and half depth of the trunk.
        strain: Of the bending within slices, below 1.
    """

    cavity_radius: Range = (19.0, 30.0)
    cavity_length: Range = (70.0, 100.0)
    wall: Range = (6.0, 13.0)
    right_width: Range = (20.0, 36.0)
    papillary: Range = (3.0, 5.0)
    fat: Range = (8.0, 25.0)
    chest: tuple[Range, Range] = ((150.0, 185.0), (105.0, 130.0))
    strain: Range = (0.1, 0.25)


class HeartParams(Params):
    """One heart. The origin is the middle of the cavity of the left ventricle; its long axis is z.

    Attributes:
        ripple: Bending within slices.
        cavity_radius: Of the left ventricle at its widest.
        cavity_length: From the apex of the cavity to its base.
        widest: How far below the base it is widest, as a part of its length.
        wall: Thickness where widest.
        apex_wall: Thickness at the apex.
        shift: Of the cavity within the wall, ``(x, y)``; less than the wall.
        right_width: From the septum to the free wall.
        right_reach: Length of the right ventricle as a part of the left.
        septum: Direction from the left to the right ventricle, radians from -x towards -y.
        papillaries: The papillary muscles.
        fat: Beneath the skin.
        chest: Half width and half depth of the trunk.
        chest_centre: Where the middle of the trunk lies, ``(x, y)``.
        diaphragm: Height of tissue between heart and liver.
        organs: Where liver ends and stomach starts, along x.
    """

    STRUCTURES: ClassVar[tuple[Structure, ...]] = (
        Structure("air", "air"),
        Structure("fat", "fat"),
        Structure("muscle", "muscle"),
        Structure("lungs", "lung"),
        Structure("liver", "liver"),
        Structure("stomach", "stomach"),
        Structure("heart fat", "fat"),
        Structure("aorta", "blood"),
        Structure("atria", "blood"),
        Structure("right ventricular wall", "myocardium"),
        Structure("right ventricle", "blood", 1),
        Structure("myocardium", "myocardium", 2),
        Structure("left ventricle", "blood", 3),
        Structure("papillary muscles", "myocardium", 3),
    )
    LABELS: ClassVar[dict[int, str]] = {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}

    anatomy: Literal["heart"] = "heart"
    ripple: Ripple
    cavity_radius: float = Field(gt=0)
    cavity_length: float = Field(gt=0)
    widest: float = Field(gt=0, lt=0.5)
    wall: float = Field(gt=0)
    apex_wall: float = Field(gt=0)
    shift: tuple[float, float]
    right_width: float = Field(gt=0)
    right_reach: float = Field(gt=0, lt=1)
    septum: float
    papillaries: tuple[Ellipsoid, ...]
    fat: float = Field(gt=0)
    chest: tuple[float, float]
    chest_centre: tuple[float, float]
    diaphragm: float = Field(gt=0)
    organs: float

    @classmethod
    def draw(cls, config: HeartConfig, *, generator: np.random.Generator) -> Self:
        """Draw one heart and the chest around it."""
        radius = uniform(config.cavity_radius, generator=generator)
        length = uniform(config.cavity_length, generator=generator)
        wall = uniform(config.wall, generator=generator)
        turn, off = generator.uniform(0, 2 * math.pi), wall * generator.uniform(0, 0.25)
        papillaries = tuple(
            Ellipsoid(
                centre=(0.6 * radius * math.cos(angle), 0.6 * radius * math.sin(angle), length * float(height)),
                radii=(thick * 1.4, thick, length * float(generator.uniform(0.14, 0.22))),
                angle=angle,
            )
            for angle, height, thick in (
                (
                    float(generator.uniform(*limits)),
                    generator.uniform(-0.1, 0.05),
                    uniform(config.papillary, generator=generator),
                )
                for limits in ((-1.1, -0.5), (1.2, 2.0))
            )
        )
        return cls(
            ripple=draw_ripple(
                110.0, strain=uniform(config.strain, generator=generator), rate=0.03, generator=generator
            ),
            cavity_radius=radius,
            cavity_length=length,
            widest=float(generator.uniform(0.25, 0.4)),
            wall=wall,
            apex_wall=wall * float(generator.uniform(0.5, 0.9)),
            shift=(off * math.cos(turn), off * math.sin(turn)),
            right_width=uniform(config.right_width, generator=generator),
            right_reach=float(generator.uniform(0.75, 0.92)),
            septum=float(generator.uniform(-0.1, 0.6)),
            papillaries=papillaries,
            fat=uniform(config.fat, generator=generator),
            chest=(uniform(config.chest[0], generator=generator), uniform(config.chest[1], generator=generator)),
            chest_centre=(float(generator.uniform(-50, -25)), float(generator.uniform(10, 35))),
            diaphragm=float(generator.uniform(3, 12)),
            organs=float(generator.uniform(-15, 35)),
        )

    @property
    def base(self) -> float:
        """Height of the plane of the valves."""
        return self.cavity_length / 2

    @property
    def cavity(self) -> Ellipsoid:
        """The ellipsoid of which the left ventricle is what lies below `base`."""
        height = self.base - self.widest * self.cavity_length
        return Ellipsoid(
            centre=(*self.shift, height),
            radii=(self.cavity_radius, self.cavity_radius, (1 - self.widest) * self.cavity_length),
        )

    def painter(self) -> Callable[[Section], NDArray[np.uint8]]:
        """Return what makes the map of structures of a slice."""
        cavity = self.cavity
        outer = Ellipsoid(
            centre=(0.0, 0.0, cavity.centre[2]),
            radii=(self.cavity_radius + self.wall,) * 2 + (cavity.radii[2] + self.apex_wall,),
        )
        right = self._right(outer)
        numbers = {part.name: index for index, part in enumerate(self.STRUCTURES)}

        def paint(section: Section) -> NDArray[np.uint8]:
            canvas = np.zeros(section.x.shape, np.uint8)
            for name, mask in self._trunk(section, outer):
                canvas[mask] = numbers[name]
            around = outer.grown(_FAT).mask(section) | right.grown(_RIGHT_WALL + _FAT).mask(section)
            canvas[around] = numbers["heart fat"]
            if section.z > self.base:
                canvas[self._atria(section, outer, right)] = numbers["atria"]
                return canvas
            canvas[right.grown(_RIGHT_WALL).mask(section)] = numbers["right ventricular wall"]
            canvas[right.mask(section) & self._beside(section, outer)] = numbers["right ventricle"]
            canvas[outer.mask(section)] = numbers["myocardium"]
            inside = cavity.mask(section)
            canvas[inside] = numbers["left ventricle"]
            for muscle in self.papillaries:
                canvas[inside & muscle.mask(section)] = numbers["papillary muscles"]
            return canvas

        return paint

    def _right(self, outer: Ellipsoid) -> Ellipsoid:
        """Return the ellipsoid whose part outside `outer` is the crescent of the right ventricle."""
        radius = outer.radii[0]
        away = 0.6 * radius
        return Ellipsoid(
            centre=(-away * math.cos(self.septum), -away * math.sin(self.septum), outer.centre[2]),
            radii=(0.4 * radius + self.right_width, 1.1 * radius, self.right_reach * outer.radii[2]),
            angle=self.septum,
        )

    def _beside(self, section: Section, outer: Ellipsoid) -> Mask:
        """Return where the crescent of the right ventricle ends: bluntly, before its horns are too thin to be seen."""
        toward = -section.x * np.float32(math.cos(self.septum)) - section.y * np.float32(math.sin(self.septum))
        shrunk = 1 - ((section.z - outer.centre[2]) / outer.radii[2]) ** 2
        return np.asarray(toward > np.float32(0.35 * outer.radii[0] * math.sqrt(max(shrunk, 0.0))))

    def _atria(self, section: Section, outer: Ellipsoid, right: Ellipsoid) -> Mask:
        """Return the blood of both atria, above the valves, with a septum between."""
        top = self.base + 25.0
        left_atrium = Ellipsoid(centre=(4.0, 6.0, top), radii=(0.75 * outer.radii[0], 0.7 * outer.radii[0], 28.0))
        x, y, _ = right.centre
        right_atrium = Ellipsoid(
            centre=(1.7 * x - 5.0, 1.7 * y, top), radii=(0.6 * right.radii[0], 0.6 * right.radii[1], 28.0)
        )
        return left_atrium.mask(section) | right_atrium.mask(section) & ~left_atrium.grown(3.0).mask(section)

    def _trunk(self, section: Section, outer: Ellipsoid) -> list[tuple[str, Mask]]:
        """Return what surrounds the heart, outermost first."""
        moved = Section(section.z, section.x - np.float32(self.chest_centre[0]),
                        section.y - np.float32(self.chest_centre[1]), section.columns, section.rows)  # fmt: skip
        a, b = self.chest
        layers = []
        for name, depth in (("fat", 0.0), ("muscle", self.fat), ("lungs", self.fat + 18.0)):
            layers.append((name, oval(moved, (a - depth, b - depth), power=2.3) < 1))
        cavity = layers[-1][1]
        # The diaphragm: highest under the heart, falling to both sides, and lower towards the base.
        height = 1.15 * outer.radii[0] + _RIGHT_WALL + _FAT + self.diaphragm
        floor = height + 0.15 * (section.z - outer.centre[2]) + 0.004 * (section.x - 10) ** 2 / 2
        under = cavity & (section.y > floor)
        border = section.x - np.float32(self.organs) - np.float32(0.5) * (section.y - np.float32(height))
        # Fat ties the heart to the front of the chest and to the diaphragm.
        front = Ellipsoid(centre=(-0.6 * outer.radii[0], -0.45 * b, 0.0),
                          radii=(1.1 * outer.radii[0], 0.65 * b, 1e4), angle=-0.4)  # fmt: skip
        aorta = Ellipsoid(centre=(0.45 * a, 0.42 * b, 0.0), radii=(12.0, 12.0, 1e4))
        return [
            *layers,
            ("heart fat", cavity & front.mask(section)),
            ("heart fat", under),
            ("liver", under & (border < 0)),
            ("stomach", under & (border > 6)),
            ("heart fat", cavity & aorta.grown(5.0).mask(section)),
            ("aorta", cavity & aorta.mask(section)),
        ]
