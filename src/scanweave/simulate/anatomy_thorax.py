"""The chest: lungs with airways and vessels, heart, aorta, spine, ribs, and what lies under the diaphragm.

The origin is the middle of the chest at the height of the lower heart; z goes to the head. The patient's right is at
the left of the image, the back at its bottom.
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
from .solids import Ellipsoid, Field, Mask, Place, Section, Tubes, oval

_RIB = 9.0
_PLEURA = 2.0
_NARROWING = 0.88  # of a branch, from its start to its end


@dataclass(frozen=True)
class ThoraxConfig:
    """What may be drawn: adults lying on their back, breath held. Lengths in mm.

    Attributes:
        chest: Half width and half depth of the rib cage, within usual adult chest breadths (25 to 32 cm) and depths.
        fat: Beneath the skin.
        muscle: Outside the ribs.
        apex: Height of the lungs above the origin.
        dome: Depth of the right half of the diaphragm below the origin.
        heart: Half of the long axis of the heart.
        aorta: Radius of the aorta.
        trachea: Radius of the trachea.
        rib_spacing: From one rib to the next.
        vertebra: From one vertebra to the next.
        table: Chance that the patient lies on a table that can be seen.
        strain: Of the bending within slices, below 1.
    """

    chest: tuple[Range, Range] = ((125.0, 160.0), (85.0, 110.0))
    fat: Range = (6.0, 26.0)
    muscle: Range = (8.0, 18.0)
    apex: Range = (120.0, 160.0)
    dome: Range = (40.0, 75.0)
    heart: Range = (52.0, 72.0)
    aorta: Range = (10.0, 15.0)
    trachea: Range = (7.0, 10.5)
    rib_spacing: Range = (26.0, 34.0)
    vertebra: Range = (23.0, 30.0)
    table: float = 0.5
    strain: Range = (0.08, 0.22)


class ThoraxParams(Params):
    """One chest.

    Attributes:
        seed: Of vessels and airways in the lungs.
        ripple: Bending within slices.
        chest: Half width and half depth of the rib cage.
        fat: Beneath the skin.
        muscle: Outside the ribs.
        apex: Height of the top of the lungs.
        dome: Depth of the right half of the diaphragm below the origin.
        left_lower: How much lower its left half is.
        mediastinum: Half width of what lies between the lungs at the back; it is narrower in front.
        heart: The heart with its wall.
        heart_wall: Thickness of that wall.
        aorta: Radius of the aorta.
        trachea: Radius of the trachea.
        carina: Height at which the trachea divides.
        rib_spacing: From one rib to the next.
        rib_phase: Where the first rib lies, as a part of the spacing.
        rib_drop: How much lower a rib is in front.
        vertebra: From one vertebra to the next.
        vertebra_radii: Half width and half depth of a vertebral body.
        table: Whether there is a table.
    """

    STRUCTURES: ClassVar[tuple[Structure, ...]] = (
        Structure("air", "air"),
        Structure("table", "table"),
        Structure("skin", "skin", 10),
        Structure("fat", "fat", 10),
        Structure("muscle", "muscle", 10),
        Structure("mediastinum", "fat", 10),
        Structure("liver", "liver", 8),
        Structure("stomach and spleen", "stomach", 9),
        Structure("cartilage", "cartilage", 10),
        Structure("rib cortex", "cortical bone", 7),
        Structure("rib marrow", "marrow", 7),
        Structure("left lung", "lung", 1),
        Structure("right lung", "lung", 2),
        Structure("left lung vessels", "enhanced blood", 1),
        Structure("right lung vessels", "enhanced blood", 2),
        Structure("left lung airways", "air", 1),
        Structure("right lung airways", "air", 2),
        Structure("heart muscle", "enhanced myocardium", 3),
        Structure("heart blood", "enhanced blood", 3),
        Structure("great vessels", "enhanced blood", 4),
        Structure("trachea and bronchi", "air", 5),
        Structure("vertebral cortex", "cortical bone", 6),
        Structure("vertebral marrow", "marrow", 6),
        Structure("discs", "disc", 6),
        Structure("spinal canal", "fluid", 10),
    )
    LABELS: ClassVar[dict[int, str]] = {
        1: "left lung",
        2: "right lung",
        3: "heart",
        4: "great vessels",
        5: "trachea and bronchi",
        6: "spine",
        7: "ribs and sternum",
        8: "liver",
        9: "stomach and spleen",
        10: "other tissue",
    }

    anatomy: Literal["thorax"] = "thorax"
    seed: int
    ripple: Ripple
    chest: tuple[float, float]
    fat: float = Limited(gt=0)
    muscle: float = Limited(gt=0)
    apex: float = Limited(gt=0)
    dome: float
    left_lower: float
    mediastinum: float = Limited(gt=0)
    heart: Ellipsoid
    heart_wall: float = Limited(gt=0)
    aorta: float = Limited(gt=0)
    trachea: float = Limited(gt=0)
    carina: float
    rib_spacing: float = Limited(gt=0)
    rib_phase: float
    rib_drop: float
    vertebra: float = Limited(gt=0)
    vertebra_radii: tuple[float, float]
    table: bool

    @classmethod
    def draw(cls, config: ThoraxConfig, *, generator: np.random.Generator) -> Self:
        """Draw one chest."""
        width, depth = (uniform(limits, generator=generator) for limits in config.chest)
        long = uniform(config.heart, generator=generator)
        heart = Ellipsoid(
            centre=(float(generator.uniform(18, 30)), -0.3 * depth, float(generator.uniform(-12, 2))),
            radii=(long, 0.72 * long, float(generator.uniform(48, 60))),
            angle=float(generator.uniform(0.3, 0.8)) - math.pi / 8,
        )
        vertebra = uniform(config.vertebra, generator=generator)
        return cls(
            seed=new_seed(generator),
            ripple=draw_ripple(
                150.0, strain=uniform(config.strain, generator=generator), rate=0.01, generator=generator
            ),
            chest=(width, depth),
            fat=uniform(config.fat, generator=generator),
            muscle=uniform(config.muscle, generator=generator),
            apex=uniform(config.apex, generator=generator),
            dome=uniform(config.dome, generator=generator),
            left_lower=float(generator.uniform(5, 15)),
            mediastinum=float(generator.uniform(24, 32)),
            heart=heart,
            heart_wall=float(generator.uniform(7, 12)),
            aorta=uniform(config.aorta, generator=generator),
            trachea=uniform(config.trachea, generator=generator),
            carina=float(generator.uniform(52, 68)),
            rib_spacing=uniform(config.rib_spacing, generator=generator),
            rib_phase=float(generator.uniform()),
            rib_drop=float(generator.uniform(50, 80)),
            vertebra=vertebra,
            vertebra_radii=(float(generator.uniform(17, 21)), float(generator.uniform(14, 17))),
            table=bool(generator.random() < config.table),
        )

    def painter(self) -> Callable[[Section], NDArray[np.uint8]]:
        """Return what makes the map of structures of a slice; vessels and airways are grown once."""
        numbers = {part.name: index for index, part in enumerate(self.STRUCTURES)}
        large, trachea = self._great_vessels(), self._trachea()
        trees = {
            (side, kind): _tree(self, side, kind, stream(self.seed, f"{side} {kind}"))
            for side in ("left", "right")
            for kind in ("vessels", "airways")
        }

        def paint(section: Section) -> NDArray[np.uint8]:
            canvas = np.zeros(section.x.shape, np.uint8)
            for name, mask in self._wall(section):
                canvas[mask] = numbers[name]
            lungs = dict(zip(("left", "right"), self._lungs(section), strict=True))
            for side, lung in lungs.items():
                canvas[lung] = numbers[f"{side} lung"]
            canvas[self.heart.grown(3.0).mask(section) & (canvas >= numbers["left lung"])] = numbers["mediastinum"]
            for (side, kind), tubes in trees.items():
                canvas[tubes.mask(section) & (canvas == numbers[f"{side} lung"])] = numbers[f"{side} lung {kind}"]
            canvas[self.heart.mask(section)] = numbers["heart muscle"]
            canvas[self.heart.grown(-self.heart_wall).mask(section)] = numbers["heart blood"]
            canvas[large.mask(section)] = numbers["great vessels"]
            canvas[trachea.mask(section)] = numbers["trachea and bronchi"]
            for name, mask in self._spine(section):
                canvas[mask] = numbers[name]
            return canvas

        return paint

    def _taper(self, z: float) -> float:
        """Return the width of the rib cage at a height, as a part of the greatest."""
        start = 0.15 * self.apex
        rise = (z - start) / (self.apex + _RIB + _PLEURA + 4.0 - start)
        return 1.0 if rise <= 0 else max(1.0 - rise**2.5, 0.0) ** (1 / 2.5)

    def _half(self, z: float, inward: float) -> tuple[float, float]:
        """Return the half axes of the rib cage at a height, `inward` mm within its outer face."""
        taper = self._taper(z)
        return self.chest[0] * taper - inward, self.chest[1] * taper - inward

    def _wall(self, section: Section) -> list[tuple[str, Mask]]:
        """Return table, skin, fat, muscle, what fills the cage, and its bones, outermost first."""
        (a, b), outside = self.chest, self.fat + self.muscle
        # Shoulders and neck: the trunk keeps its width where the cage narrows, then narrows itself.
        neck = 1 - 0.55 / (1 + math.exp(-(section.z - self.apex - 35) / 9))
        layers: list[tuple[str, Mask]] = []
        if self.table:
            under = section.y - np.float32(b + outside + 3) + np.float32(0.0006) * section.x**2
            layers.append(("table", (under > 0) & (under < 22) & (np.abs(section.x) < 230)))
        for name, depth in (("skin", 0.0), ("fat", 2.0), ("muscle", self.fat)):
            half = ((a + outside - depth) * neck, (b + outside - depth) * (neck + 1) / 2)
            layers.append((name, oval(section, half, power=2.4) < 1))
        cage = oval(section, self._half(section.z, 0), power=2.3) < 1
        inside = oval(section, self._half(section.z, _RIB), power=2.3) < 1
        layers.append(("muscle", cage))
        layers.extend(self._ribs(section, cage & ~inside))
        layers.append(("mediastinum", inside))
        under = inside & (section.z < self._floor(section))
        side = section.x - np.float32(12) + np.float32(0.15) * section.y
        return [*layers, ("liver", under & (side < 0)), ("stomach and spleen", under & (side > 5))]

    def _ribs(self, section: Section, shell: Mask) -> list[tuple[str, Mask]]:
        """Return ribs, their cartilage and the sternum within the shell of the cage.

        A rib runs around the cage from the spine (0) to the sternum (1), and falls on its way.
        """
        (a, b), half = self.chest, self._half(section.z, 0)
        if min(half) <= 0:
            return []
        way = np.arctan2(np.abs(section.x) / np.float32(a), section.y / np.float32(b)) / np.float32(math.pi)
        fall = np.float32(self.rib_drop) * np.minimum(way, np.float32(1.45) - way)
        turns = (np.float32(section.z) + fall) / np.float32(self.rib_spacing) + np.float32(self.rib_phase)
        across = np.abs(turns - np.floor(turns) - np.float32(0.5)) * np.float32(self.rib_spacing)
        depth = (1 - oval(section, half, power=2.3)) * np.float32(min(half))
        band = shell & (across < 6.5) & (way > 0.08) & (depth > 1)
        core = band & (across < 4.8) & (depth > 2.6) & (depth < _RIB - 2.4)
        bony = way < np.float32(0.82)
        front = shell & (np.abs(section.x) < 17) & (section.y < 0)
        sternum = front & (-45 < section.z < 0.75 * self.apex)
        return [
            ("cartilage", band & ~bony & (section.z > -80)),
            ("rib cortex", band & bony | sternum),
            ("rib marrow", core & bony | sternum & (np.abs(section.x) < 15) & (depth > 1.5) & (depth < _RIB - 1.5)),
        ]

    def _floor(self, section: Section) -> Field:
        """Return the height of the diaphragm: two domes, falling steeply to the wall."""
        a, b = self.chest
        left = np.clip(section.x / np.float32(20) + np.float32(0.5), 0, 1)
        over = np.abs(section.x) - np.float32(0.48 * a)
        fallen = (over / np.float32(0.52 * a)) ** 2 + ((section.y + np.float32(10)) / np.float32(b)) ** 2
        return np.asarray(-self.dome - np.float32(self.left_lower) * left - np.float32(70) * fallen)

    def _lungs(self, section: Section) -> tuple[Mask, Mask]:
        """Return the left and the right lung, without what is painted over them."""
        inside = oval(section, self._half(section.z, _RIB + _PLEURA), power=2.3) < 1
        behind = 0.5 + 0.5 * np.tanh((section.y + np.float32(25)) / np.float32(18))
        between = np.float32(5) + np.float32(self.mediastinum - 5) * behind
        # The hollows beside the spine are filled by lung.
        hollow = np.clip((section.y - np.float32(self._spine_at - 12)) / np.float32(20), 0, 1)
        between = between * (1 - hollow) + np.float32(self.vertebra_radii[0] + 4) * hollow
        above = section.z > self._floor(section) + np.float32(4)
        free = inside & above & (np.abs(section.x) > between)
        return free & (section.x > 0), free & (section.x < 0)

    @property
    def _spine_at(self) -> float:
        """Where the middle of the vertebral bodies lies, along y."""
        return self.chest[1] - _RIB - self.vertebra_radii[1] - 12.0

    def _spine(self, section: Section) -> list[tuple[str, Mask]]:
        """Return vertebrae with arches and processes, discs, and the canal."""
        (a, b), back = self.vertebra_radii, self._spine_at
        turns = section.z / self.vertebra
        height = abs(turns - math.floor(turns) - 0.5) * self.vertebra  # 0 in the middle of a vertebra
        disc = height > self.vertebra / 2 - 2.5
        rod = 1e6
        body = Ellipsoid(centre=(0.0, back, section.z), radii=(a, b, rod))
        canal = Ellipsoid(centre=(0.0, back + b + 7.0, section.z), radii=(9.0, 7.5, rod))
        arch = canal.grown(6.0).mask(section)
        sideways = np.abs(section.x)
        if height < 0.3 * self.vertebra:
            tip = back + b + 7
            arch |= (sideways < 3.5) & (section.y > tip) & (section.y < tip + 34)
            arch |= (sideways < 38) & (np.abs(section.y - np.float32(tip + 4) - 0.25 * sideways) < 5)
        whole = body.mask(section)
        core = body.grown(-1.8).mask(section) & np.bool_(height < self.vertebra / 2 - 4)
        return [
            ("vertebral cortex", arch | whole),
            ("vertebral marrow", core),
            ("discs", whole if disc else np.zeros_like(whole)),
            ("spinal canal", canal.mask(section)),
        ]

    def _great_vessels(self) -> Tubes:
        """Return aorta, superior caval vein and the pulmonary arteries up to the lungs."""
        radius, back = self.aorta, self._spine_at - self.vertebra_radii[1] - self.aorta + 4
        top = self.carina + 18
        descending: list[tuple[Place, float]] = [
            ((14.0, back + 6, -200.0), 0.8 * radius),
            ((22.0, back + 4, 0.0), 0.85 * radius),
            ((24.0, back, top - 12), 0.9 * radius),
            ((20.0, back - 14, top), radius),
        ]
        arch: list[tuple[Place, float]] = [
            ((20.0, back - 14, top), radius),
            ((4.0, -12.0, top + 4), 1.1 * radius),
            ((-10.0, -24.0, top - 14), 1.2 * radius),
            ((0.0, -26.0, 20.0), 1.25 * radius),
        ]
        vein: list[tuple[Place, float]] = [((-26.0, -16.0, top + 40), 8.0), ((-26.0, -18.0, 15.0), 9.5)]
        pulmonary: list[tuple[Place, float]] = [
            ((14.0, -32.0, 25.0), 13.0),
            ((16.0, -14.0, self.carina - 14), 12.5),
            ((self.mediastinum + 14, 6.0, self.carina - 16), 9.5),
        ]
        across: list[tuple[Place, float]] = [
            ((16.0, -14.0, self.carina - 16), 11.0),
            ((-self.mediastinum - 8, -2.0, self.carina - 22), 9.0),
        ]
        return Tubes.along(descending, arch, vein, pulmonary, across)

    def _trachea(self) -> Tubes:
        """Return the trachea and both main bronchi."""
        y, radius = 14.0, self.trachea
        fork: tuple[Place, float] = ((0.0, y + 4, self.carina), 0.95 * radius)
        return Tubes.along(
            [((0.0, y - 20, self.apex + 80), radius), ((0.0, y - 8, self.apex), radius), fork],
            [fork, (_hilum(self, "left", "airways"), 0.62 * radius)],
            [fork, (_hilum(self, "right", "airways"), 0.72 * radius)],
        )


def _hilum(params: ThoraxParams, side: str, kind: str) -> Place:
    """Return where vessels or airways enter a lung."""
    sign = 1.0 if side == "left" else -1.0
    if kind == "airways":
        return (sign * (params.mediastinum + 8), 22.0, params.carina - (26.0 if side == "left" else 20.0))
    return (sign * (params.mediastinum + 6), 4.0, params.carina - 18.0)


def _tree(params: ThoraxParams, side: str, kind: str, generator: np.random.Generator) -> Tubes:
    """Grow what branches from the hilum of a lung; each branch is thinner by Murray's law, and shorter.

    A branch parts into two that lie in one plane with it; the thinner turns away more.
    """
    generations, radius = (8, 6.0) if kind == "vessels" else (4, 0.6 * params.trachea)
    sign = 1.0 if side == "left" else -1.0
    headings = _unit(np.array([(sign * 0.8, -0.5, 0.5), (sign * 0.9, 0.4, -0.1), (sign * 0.55, 0.1, -0.9)]))
    starts = np.tile(_hilum(params, side, kind), (len(headings), 1))
    thick, length = np.full(len(headings), radius), 30.0
    grown = []
    for _ in range(generations):
        ends = starts + headings * (length * generator.uniform(0.8, 1.2, (len(starts), 1)))
        grown.append(Tubes(starts, ends, np.stack((thick, _NARROWING * thick), axis=1)))
        aside = _unit(np.cross(headings, generator.standard_normal(headings.shape)))
        share = generator.uniform(0.35, 0.65, len(starts))
        parts = np.concatenate((share, 1 - share))
        sway = np.concatenate((1.4 - share, -0.4 - share))[:, None]
        headings = _unit(np.tile(headings, (2, 1)) + 0.65 * sway * np.tile(aside, (2, 1)))
        starts, thick, length = np.tile(ends, (2, 1)), np.tile(_NARROWING * thick, 2) * np.cbrt(parts), 0.82 * length
    return Tubes.joined(grown)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
