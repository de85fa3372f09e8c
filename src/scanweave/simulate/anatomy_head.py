"""The head: scalp, skull, fluid, folded cortex, white matter, ventricles and deep grey nuclei.

The origin is the middle of the brain; z goes to the crown. The patient's right is at the left of the image, the face
at its top.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Limited

from .contrast import Structure
from .motion import Ripple, draw_ripple
from .params import Params, Range, new_seed, stream, uniform
from .solids import Ellipsoid, Field, Mask, Place, Section, Tubes, Undulation


@dataclass(frozen=True)
class HeadConfig:
    """What may be drawn: adults. Lengths in mm.

    Attributes:
        brain: Half width, half length, and height of the brain above its middle.
        fluid: Between brain and skull; wider with age.
        skull: Thickness.
        scalp: Thickness.
        cortex: Thickness of the grey ribbon (2 to 4 mm in man).
        sulcus: Depth of the folds.
        fold: Length of their waves: two gyri.
        opening: Half width of a sulcus; wider with age.
        ventricles: Size of the ventricles, 1 in a young adult.
        lesion: Chance of one.
        lesion_radius: Of the lesion.
        strain: Of the bending within slices, below 1.
    """

    brain: tuple[Range, Range, Range] = ((62.0, 72.0), (78.0, 90.0), (58.0, 68.0))
    fluid: Range = (2.0, 5.0)
    skull: Range = (4.5, 8.0)
    scalp: Range = (4.0, 8.0)
    cortex: Range = (2.3, 3.4)
    sulcus: Range = (14.0, 22.0)
    fold: Range = (15.0, 30.0)
    opening: Range = (0.5, 1.4)
    ventricles: Range = (0.8, 1.6)
    lesion: float = 0.3
    lesion_radius: Range = (4.0, 16.0)
    strain: Range = (0.08, 0.22)


@dataclass(frozen=True)
class _Folds:
    """Where sulci run, how deep they are, and how they lean."""

    sheets: Undulation
    floors: Undulation
    lean: Undulation


class HeadParams(Params):
    """One head.

    Attributes:
        seed: Of the folds.
        ripple: Bending within slices.
        brain: Half width, half length, and height above the middle.
        base: Depth of the brain below its middle.
        fluid: Between brain and skull.
        skull: Thickness.
        scalp: Thickness.
        cortex: Thickness of the grey ribbon.
        sulcus: Greatest depth of the folds.
        fold: Shortest and longest wave of the folds.
        opening: Half width of a sulcus.
        ventricles: Size of the ventricles.
        lesion: A lesion of brain tissue, or None.
    """

    STRUCTURES: ClassVar[tuple[Structure, ...]] = (
        Structure("air", "air"),
        Structure("scalp", "skin", 8),
        Structure("scalp fat", "fat", 8),
        Structure("muscle", "muscle", 8),
        Structure("eyes", "eye", 8),
        Structure("skull cortex", "cortical bone", 7),
        Structure("skull marrow", "marrow", 7),
        Structure("fluid", "fluid", 1),
        Structure("grey matter", "grey matter", 2),
        Structure("white matter", "white matter", 3),
        Structure("cerebellar grey matter", "grey matter", 2),
        Structure("cerebellar white matter", "white matter", 3),
        Structure("brain stem", "white matter", 3),
        Structure("thalami", "deep grey matter", 4),
        Structure("caudate nuclei", "deep grey matter", 4),
        Structure("putamina", "deep grey matter", 4),
        Structure("lateral ventricles", "fluid", 5),
        Structure("third ventricle", "fluid", 5),
        Structure("lesion", "lesion", 6),
    )
    LABELS: ClassVar[dict[int, str]] = {
        1: "fluid",
        2: "grey matter",
        3: "white matter",
        4: "deep grey matter",
        5: "ventricles",
        6: "lesion",
        7: "skull",
        8: "scalp and face",
    }

    anatomy: Literal["head"] = "head"
    seed: int
    ripple: Ripple
    brain: tuple[float, float, float]
    base: float = Limited(gt=0)
    fluid: float = Limited(gt=0)
    skull: float = Limited(gt=0)
    scalp: float = Limited(gt=0)
    cortex: float = Limited(gt=0)
    sulcus: float = Limited(gt=0)
    fold: tuple[float, float]
    opening: float = Limited(gt=0)
    ventricles: float = Limited(gt=0)
    lesion: Ellipsoid | None

    @classmethod
    def draw(cls, config: HeadConfig, *, generator: np.random.Generator) -> Self:
        """Draw one head."""
        brain = tuple(uniform(limits, generator=generator) for limits in config.brain)
        lesion = _draw_lesion(config, brain, generator) if generator.random() < config.lesion else None
        return cls(
            seed=new_seed(generator),
            ripple=draw_ripple(
                120.0, strain=uniform(config.strain, generator=generator), rate=0.02, generator=generator
            ),
            brain=(brain[0], brain[1], brain[2]),
            base=float(generator.uniform(38, 46)),
            fluid=uniform(config.fluid, generator=generator),
            skull=uniform(config.skull, generator=generator),
            scalp=uniform(config.scalp, generator=generator),
            cortex=uniform(config.cortex, generator=generator),
            sulcus=uniform(config.sulcus, generator=generator),
            fold=config.fold,
            opening=uniform(config.opening, generator=generator),
            ventricles=uniform(config.ventricles, generator=generator),
            lesion=lesion,
        )

    def painter(self) -> Callable[[Section], NDArray[np.uint8]]:
        """Return what makes the map of structures of a slice; the folds are drawn once."""
        numbers = {part.name: index for index, part in enumerate(self.STRUCTURES)}
        generator = stream(self.seed, "folds")
        folds = _Folds(
            sheets=Undulation.draw(self.fold, count=48, generator=generator),
            floors=Undulation.draw((60.0, 120.0), count=8, generator=generator),
            lean=Undulation.draw((60.0, 120.0), count=8, generator=generator),
        )
        deep = self._deep()

        def paint(section: Section) -> NDArray[np.uint8]:
            canvas = np.zeros(section.x.shape, np.uint8)
            for name, mask in self._shells(section):
                canvas[mask] = numbers[name]
            for name, mask in self._hindbrain(section):
                canvas[mask] = numbers[name]
            level = self._cerebrum(section, 0.0)
            brain = level < 1
            depth = self._cortical_depth(section, level, brain, folds)
            names = ("fluid", "grey matter", "white matter")
            kinds = np.array([numbers[name] for name in names], np.uint8)
            canvas[brain] = kinds[(depth > 0).astype(int) + (depth > self.cortex)]
            tissue = brain & (canvas != numbers["fluid"])
            for name, bodies in deep:
                for body in bodies:
                    canvas[tissue & body.mask(section)] = numbers[name]
            if self.lesion is not None:
                ventricles = np.isin(canvas, (numbers["lateral ventricles"], numbers["third ventricle"]))
                canvas[tissue & ~ventricles & self.lesion.mask(section)] = numbers["lesion"]
            return canvas

        return paint

    def _cerebrum(self, section: Section, grown: float) -> Field:
        """Return the level of the cerebrum grown by `grown` mm: an ellipsoid, flatter below its middle."""
        a, b, above = self.brain
        height = above if section.z >= 0 else self.base
        return Ellipsoid(centre=(0.0, 0.0, 0.0), radii=(a + grown, b + grown, height + grown)).level(section)

    @property
    def _cerebellum(self) -> Ellipsoid:
        a, b, _ = self.brain
        return Ellipsoid(centre=(0.0, 0.48 * b, -self.base - 2), radii=(0.72 * a, 0.4 * b, 26.0))

    @property
    def _stem(self) -> Tubes:
        return Tubes.along([((0.0, 4.0, -12.0), 15.0), ((0.0, 12.0, -self.base), 13.0), ((0.0, 26.0, -150.0), 7.0)])

    def _shells(self, section: Section) -> list[tuple[str, Mask]]:
        """Return face, scalp, skull and fluid, outermost first."""
        a, b, _ = self.brain
        inner, table = self.fluid, 1.6
        outer = inner + self.skull

        def within(grown: float) -> Mask:
            return (self._cerebrum(section, grown) < 1) | self._cerebellum.grown(grown).mask(section)

        face = Ellipsoid(centre=(0.0, -0.28 * b, -self.base - 28), radii=(0.93 * a, 0.8 * b, 88.0))
        neck = Tubes.along([((0.0, 0.3 * b, -20.0), 0.85 * a), ((0.0, 0.32 * b, -260.0), 0.85 * a)])
        eyes = Tubes.along(*([((side * 31.0, -0.8 * b, -self.base - 4), 12.0)] * 2 for side in (-1.0, 1.0)))
        nose = Ellipsoid(centre=(0.0, -0.72 * b, -self.base - 30), radii=(13.0, 26.0, 22.0))
        return [
            ("scalp", face.mask(section) | neck.mask(section)),
            ("scalp", within(outer + self.scalp)),
            ("scalp fat", within(outer + self.scalp - 1.8) | face.grown(-2.0).mask(section)),
            ("muscle", face.grown(-9.0).mask(section) | _shrunk(neck, 8.0).mask(section)),
            ("eyes", eyes.mask(section)),
            ("air", nose.mask(section)),
            ("skull cortex", within(outer)),
            ("skull marrow", within(outer - table) & ~within(inner + table)),
            ("fluid", within(inner)),
        ]

    def _hindbrain(self, section: Section) -> list[tuple[str, Mask]]:
        """Return cerebellum with its leaves, and the brain stem in its fluid."""
        whole = self._cerebellum
        level = whole.level(section)
        inside = level < 1
        depth = (1 - level) * np.float32(26)
        leaves = np.sin((np.float32(section.z) + np.float32(0.45) * section.y) * np.float32(2 * math.pi / 7))
        white = inside & (depth - np.float32(4.5) - np.float32(3.5) * leaves > 0)
        stem = self._stem.mask(section)
        return [
            ("fluid", _shrunk(self._stem, -3.0).mask(section) & (section.z < -self.base)),
            ("cerebellar grey matter", inside),
            ("fluid", inside & (depth < 3) & (leaves < -0.75)),
            ("cerebellar white matter", white),
            ("brain stem", stem),
        ]

    def _cortical_depth(self, section: Section, level: Field, brain: Mask, folds: _Folds) -> Field:
        """Return the distance in mm of brain points from fluid: from the surface, sulci and the midline.

        A sulcus hangs from where a height ``g`` is 0 on the surface of the brain inwards, leaning, down to a depth of
        its own; to first order the distance from it is ``|g| / |grad g|``.
        """
        x, y = section.x[brain], section.y[brain]
        points = np.stack((x, y, np.full_like(x, section.z)))
        inward = np.maximum(level[brain], np.float32(0.05))
        length = np.sqrt((points**2).sum(axis=0))
        outside, depth = points / inward, length * (1 / inward - 1)
        hung = outside.copy()
        hung[2] += np.float32(0.35) * depth * folds.lean.height(outside)
        height, slope = folds.sheets.height_and_slope(hung)
        # Only what runs along the surface moves the sheet; the least slope keeps flat places from being all sulcus.
        radial = outside / np.maximum(np.sqrt((outside**2).sum(axis=0)), np.float32(1e-3))
        along = slope - radial * (slope * radial).sum(axis=0)
        sheet = inward * np.abs(height) / np.sqrt((along**2).sum(axis=0) + np.float32(0.12**2))
        floor = np.float32(self.sulcus) * np.clip(0.85 + 0.2 * folds.floors.height(outside), 0.4, 1.1)
        floor = np.minimum(floor, np.float32(0.35) * length / inward)
        taper = np.float32(self.opening) * np.clip(1.25 - 0.75 * depth / floor, 0.35, None)
        sulcal = np.hypot(sheet, np.maximum(depth - floor, 0)) - taper
        return np.asarray(np.minimum(np.minimum(depth, sulcal), self._from_midline(section.z, x, y)))

    def _from_midline(self, z: float, x: Field, y: Field) -> Field:
        """Return the distance in mm from the fissure between the hemispheres, which ends at the corpus callosum."""
        bridge = np.sqrt((y / np.float32(0.5 * self.brain[1])) ** 2 + np.float32(((z + 2) / 30) ** 2))
        below = np.maximum(1 - bridge, 0) * np.float32(30)
        return np.asarray(np.hypot(x, below) - np.float32(self.opening))

    def _deep(self) -> list[tuple[str, list[Ellipsoid | Tubes]]]:
        """Return the nuclei and ventricles, in the order of painting; they scale with the brain."""
        a, b, c = self.brain[0] / 67, self.brain[1] / 84, self.brain[2] / 63
        wide = math.sqrt(self.ventricles)

        def at(x: float, y: float, z: float) -> Place:
            return (x * a, y * b, z * c)

        thalami, caudates, putamina, lateral = [], [], [], []
        for side in (-1.0, 1.0):
            spread = side * (8 + 3 * wide)
            thalami.append(Ellipsoid(centre=at(spread, 12, 2), radii=at(7.5, 14, 9), angle=side * -0.35))
            putamina.append(Ellipsoid(centre=at(side * 27, -4, 0), radii=at(5, 16, 9.5), angle=side * -0.22))
            caudates.append(Tubes.along([
                (at(side * (9 + 4 * wide), -30, 6), 5.0), (at(side * (12 + 4 * wide), -8, 14), 3.6),
                (at(side * (17 + 5 * wide), 18, 17), 2.2),
            ]))  # fmt: skip
            lateral.append(Tubes.along([
                (at(side * (4 + 3 * wide), -36, 5), 3.6 * wide), (at(side * (3 + 3.5 * wide), -16, 14), 4.6 * wide),
                (at(side * (8 + 3.5 * wide), 12, 19), 4.8 * wide), (at(side * 25, 36, 8), 6.2 * wide),
                (at(side * 22, 56, 1), 2.2 * wide),
            ], [(at(side * 25, 36, 8), 6.0 * wide), (at(side * 31, 14, -14), 3.0 * wide)]))  # fmt: skip
        third = Ellipsoid(centre=at(0, 6, 0), radii=(2.2 * wide * wide, 14 * b, 10 * c))
        return [
            ("thalami", [*thalami]),
            ("putamina", [*putamina]),
            ("caudate nuclei", [*caudates]),
            ("lateral ventricles", [*lateral]),
            ("third ventricle", [third]),
        ]


def _shrunk(tubes: Tubes, by: float) -> Tubes:
    return Tubes(tubes.starts, tubes.ends, tubes.radii - by)


def _draw_lesion(config: HeadConfig, brain: tuple[float, ...], generator: np.random.Generator) -> Ellipsoid:
    """Draw a lesion in one hemisphere, between ventricles and cortex."""
    side = float(generator.choice((-1.0, 1.0)))
    centre = (
        side * brain[0] * float(generator.uniform(0.35, 0.6)),
        brain[1] * float(generator.uniform(-0.5, 0.5)),
        brain[2] * float(generator.uniform(0.1, 0.5)),
    )
    radius = uniform(config.lesion_radius, generator=generator)
    shape = generator.uniform(0.75, 1.25, 3)
    return Ellipsoid(
        centre=centre,
        radii=(radius * float(shape[0]), radius * float(shape[1]), radius * float(shape[2])),
        angle=float(generator.uniform(0, math.pi)),
    )
