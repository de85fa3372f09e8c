"""X-ray angiography: a bolus runs through a beating tree, over a chest that breathes; as seen, or subtracted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .motion import Contraction, Motion, Rigid, Ripple, draw_ripple
from .noise import counted, scattered
from .overlay import Mark, Shutter, draw_marks, marked
from .params import Params, Range, new_seed, stream, uniform
from .textures import clouds, edge_shadow, rib_shadows
from .vessels import Bolus, Tree, TreeParams, grow, tree_absorbance
from .warping import sampled

Picture = NDArray[np.float32]

_CATHETER_ABSORBANCE = 0.4


@dataclass(frozen=True)
class AngiographyConfig:
    """What may be drawn. Lengths are parts of the shorter side of the image.

    Attributes:
        size: ``(row, column)`` in pixels.
        subtracted: Chance that a run is shown subtracted (DSA).
        coronary: Chance of a tree that bends round a beating heart; else one that fans out and hardly moves.
        frame_rate: Frames per second of the run.
        radius: Of the trunk.
        length: Of the trunk.
        crossing_time: Seconds that blood takes along the trunk.
        bolus_peak: Seconds from the arrival of contrast to its peak.
        contrast: Absorbance of the trunk at the peak.
        squeeze: Of a beating heart (`Contraction`).
        heart_rate: Beats per second.
        strain: Of the waves that move vessels and chest (`Ripple`); below 1.
        sway: Radians per second that the view turns; parallax.
        drift: Of the patient, per second.
        photons: Per pixel where nothing absorbs.
        scatter: Scattered part, relative to the direct.
        shutter: Chance of a round field.
        marks: Readings burned in: at most so many.
    """

    size: tuple[int, int] = (256, 256)
    subtracted: float = 0.6
    coronary: float = 0.5
    frame_rate: Range = (3.0, 15.0)
    radius: Range = (0.01, 0.024)
    length: Range = (0.28, 0.5)
    crossing_time: Range = (0.08, 0.5)
    bolus_peak: Range = (0.4, 1.6)
    contrast: Range = (0.6, 1.8)
    squeeze: Range = (0.15, 0.7)
    heart_rate: Range = (0.8, 1.6)
    strain: Range = (0.1, 0.4)
    sway: Range = (0.0, 0.08)
    drift: Range = (0.0, 0.008)
    photons: Range = (1500.0, 20000.0)
    scatter: Range = (0.0, 0.5)
    shutter: float = 0.4
    marks: int = 2


class AngiographyParams(Params):
    """One run. `motion` moves the tree, `body` what lies behind it.

    Attributes:
        size: ``(row, column)``.
        seed: Of chest and noise.
        frame_interval: Seconds between frames as the run would be acquired.
        start: First time worth showing: contrast is coming.
        duration: Seconds worth showing.
        subtracted: Shown as ``level - gain (log mask - log live)``, the mask made at time 0 before contrast.
        trees: The vessels.
        catheter: Through which contrast comes, or None where it is out of sight.
        bolus: Their contrast.
        motion: Of the vessels.
        body: Of the background.
        sway: Radians per second of the view.
        thickness: Absorbance of the chest, standard deviation.
        level: Grey of nothing (subtracted), or exposure at the thinnest (not subtracted).
        gain: Grey per absorbance, or the exponent of the display curve.
        photons: Per pixel where nothing absorbs.
        scatter: Scattered part.
        shutter: The field, or None for all of it.
        marks: Burned in.
    """

    scene: Literal["angiography"] = "angiography"
    size: tuple[int, int]
    seed: int
    frame_interval: float = Field(gt=0)
    start: float
    duration: float = Field(gt=0)
    subtracted: bool
    trees: tuple[TreeParams, ...]
    catheter: TreeParams | None = None
    bolus: Bolus
    motion: Motion
    body: Motion
    sway: float = 0.0
    thickness: float
    level: float
    gain: float
    photons: float = Field(gt=0)
    scatter: float = Field(ge=0)
    shutter: Shutter | None = None
    marks: tuple[Mark, ...] = ()

    @classmethod
    def draw(cls, config: AngiographyConfig, *, generator: np.random.Generator) -> Self:
        """Draw one run."""
        side = float(min(config.size))
        coronary = bool(generator.random() < config.coronary)
        subtracted = bool(generator.random() < config.subtracted)
        length = side * uniform(config.length, generator=generator)
        speed = length / uniform(config.crossing_time, generator=generator)
        trees = _draw_trees(config, coronary=coronary, length=length, speed=speed, generator=generator)
        radius = trees[0].radius
        peak = uniform(config.bolus_peak, generator=generator)
        # Contrast is given as what the trunk absorbs, so that thin trunks are as visible as thick ones.
        strength = uniform(config.contrast, generator=generator) / (2 * radius)
        body = Motion(ripple=_ripple(config, 0.15, generator), rigid=_draw_drift(config, generator))
        return cls(
            size=config.size,
            seed=new_seed(generator),
            frame_interval=1 / uniform(config.frame_rate, generator=generator),
            start=0.15 * peak,
            # Most of the change: filling, passage, and the start of washing out.
            duration=2.2 * peak,
            subtracted=subtracted,
            trees=trees,
            catheter=_draw_catheter(config, trees[0], speed, generator) if coronary else None,
            bolus=Bolus(peak=peak, strength=strength, spread=float(generator.uniform(0, 0.5))),
            motion=_draw_motion(config, body.rigid, coronary=coronary, generator=generator),
            body=body,
            sway=uniform(config.sway, generator=generator) * float(generator.choice((-1, 1))),
            thickness=float(generator.uniform(0.2, 0.6)),
            level=float(generator.uniform(0.6, 0.85) if subtracted else generator.uniform(0.75, 1.0)),
            gain=float(generator.uniform(0.4, 0.9) if subtracted else generator.uniform(0.6, 1.0)),
            photons=uniform(config.photons, generator=generator),
            scatter=uniform(config.scatter, generator=generator),
            shutter=_draw_shutter(config, generator) if generator.random() < config.shutter else None,
            marks=draw_marks(config.size, count=int(generator.integers(config.marks + 1)), generator=generator),
        )

    def renderer(self) -> Callable[[float, bool], Picture]:
        """Return what makes the frame of a time, with noise or without; what does not move is made once."""
        chest = _chest(self)
        trees = [grow(tree) for tree in self.trees]
        catheter = None if self.catheter is None else grow(self.catheter)
        masks = self._masks(chest, catheter) if self.subtracted else None
        field = None if self.shutter is None else self.shutter.mask(self.size)

        def frame(time: float, noisy: bool) -> Picture:
            live = self._counts(chest, time, trees, catheter)
            if noisy:
                live = counted(live, photons=self.photons, generator=stream(self.seed, "noise", time=time))
            shown = self._exposed(live) if masks is None else self._subtracted(live, masks[noisy])
            if field is not None:
                shown = shown * field
            return marked(np.clip(shown, 0, 1), self.marks)

        return frame

    def _counts(self, chest: Picture, time: float, trees: Sequence[Tree], catheter: Tree | None) -> Picture:
        """Return the intensity at the detector, 1 where nothing absorbs."""
        thickness = sampled(chest, *self.body.back_grid(self.size, time)).astype(np.float64)
        filled = [(tree, self.bolus.concentration(tree.delay, time)) for tree in trees]
        if catheter is not None:
            filled.append((catheter, np.full(len(catheter.radius), _CATHETER_ABSORBANCE / (2 * catheter.radius[0]))))
        for tree, concentration in filled:
            thickness += tree_absorbance(
                tree,
                concentration,
                place=lambda x, y: self.motion.forth(x, y, time),
                shape=self.size,
                angle=self.sway * time,
            )
        direct = np.exp(-thickness).astype(np.float32)
        return scattered(direct, fraction=self.scatter, width=0.12 * min(self.size))

    def _masks(self, chest: Picture, catheter: Tree | None) -> tuple[Picture, Picture]:
        """Return the mask of a subtraction, without noise and with it: one exposure for the whole run."""
        mask = self._counts(chest, 0.0, (), catheter)
        return mask, counted(mask, photons=self.photons, generator=stream(self.seed, "mask"))

    def _exposed(self, live: Picture) -> Picture:
        """Return a frame as seen; exposure is set for all that arrives, as automatic exposure does."""
        return np.asarray(self.level * (live / (1 + self.scatter)) ** self.gain, dtype=np.float32)

    def _subtracted(self, live: Picture, mask: Picture) -> Picture:
        """Return a frame subtracted: vessels dark on grey."""
        least = np.float32(0.5 / self.photons)
        difference = np.log(np.maximum(mask, least)) - np.log(np.maximum(live, least))
        return np.asarray(self.level - self.gain * difference, dtype=np.float32)


def _chest(params: AngiographyParams) -> Picture:
    """Return the absorbance of what lies behind the vessels, 0 where it is thinnest."""
    generator = stream(params.seed, "chest")
    chest = 0.6 * clouds(params.size, generator=generator, coarsest=2, octaves=6)
    chest += np.float32(generator.uniform(0, 3)) * edge_shadow(params.size, generator=generator)
    chest += np.float32(generator.uniform(0, 0.8)) * rib_shadows(params.size, generator=generator)
    return np.asarray(params.thickness * (chest - chest.min()), dtype=np.float32)


def _ripple(config: AngiographyConfig, share: float, generator: np.random.Generator) -> Ripple:
    strain = share * uniform(config.strain, generator=generator)
    return draw_ripple(float(min(config.size)), strain=strain, rate=3.0, generator=generator)


def _draw_drift(config: AngiographyConfig, generator: np.random.Generator) -> Rigid:
    speed = min(config.size) * uniform(config.drift, generator=generator)
    heading = generator.uniform(0, 2 * math.pi)
    return Rigid(velocity=(speed * math.cos(heading), speed * math.sin(heading)))


def _draw_motion(config: AngiographyConfig, drift: Rigid, *, coronary: bool, generator: np.random.Generator) -> Motion:
    """Draw how vessels move: with the heart, or with the pulse alone."""
    height, width = config.size
    side = min(config.size)
    if not coronary:
        return Motion(ripple=_ripple(config, 0.8, generator), rigid=drift)
    radius = side * generator.uniform(0.22, 0.4)
    heart = Contraction(
        centre=(width * float(generator.uniform(0.4, 0.6)), height * float(generator.uniform(0.4, 0.6))),
        radii=(radius, radius * float(generator.uniform(0.7, 1.0))),
        angle=float(generator.uniform(0, math.pi)),
        squeeze=uniform(config.squeeze, generator=generator),
        twist=float(generator.uniform(-0.2, 0.2)),
        period=1 / uniform(config.heart_rate, generator=generator),
        onset=float(generator.uniform(-1, 0)),
        systole=float(generator.uniform(0.3, 0.42)),
    )
    return Motion(ripple=_ripple(config, 1.0, generator), rigid=drift, contractions=(heart,))


def _draw_trees(
    config: AngiographyConfig, *, coronary: bool, length: float, speed: float, generator: np.random.Generator
) -> tuple[TreeParams, ...]:
    """Draw one or two trees that enter from one place."""
    height, width = config.size
    if coronary:
        place = (float(generator.uniform(0.25, 0.75)), float(generator.uniform(0.1, 0.3)))
        headings = [math.pi / 2 + float(generator.uniform(-0.9, 0.9)) for _ in range(2)]
    else:
        place = (float(generator.uniform(0.3, 0.7)), 1.0)
        headings = [-math.pi / 2 + float(generator.uniform(-0.4, 0.4))]
    count = int(generator.integers(1, len(headings) + 1))
    return tuple(
        TreeParams(
            seed=new_seed(generator),
            root=(place[0] * width, place[1] * height),
            heading=heading,
            bend=float(generator.uniform(-1.8, 1.8)) if coronary else float(generator.uniform(-0.4, 0.4)),
            radius=min(config.size) * uniform(config.radius, generator=generator),
            length=length,
            generations=int(generator.integers(3, 6)),
            side_branches=float(generator.uniform(0.5, 1.8)),
            tortuosity=float(generator.uniform(0.3, 0.8)),
            speed=speed,
        )
        for heading in headings[:count]
    )


def _draw_catheter(
    config: AngiographyConfig, trunk: TreeParams, speed: float, generator: np.random.Generator
) -> TreeParams:
    """Draw the catheter that feeds `trunk`, from its tip upwards out of the image."""
    return TreeParams(
        seed=new_seed(generator),
        root=trunk.root,
        heading=-math.pi / 2 + float(generator.uniform(-0.5, 0.5)),
        bend=float(generator.uniform(-0.5, 0.5)),
        radius=min(config.size) * float(generator.uniform(0.005, 0.009)),
        length=0.7 * config.size[0],
        generations=0,
        tortuosity=0.15,
        speed=speed,
    )


def _draw_shutter(config: AngiographyConfig, generator: np.random.Generator) -> Shutter:
    height, width = config.size
    side = min(config.size)
    return Shutter(
        centre=((width - 1) / 2, (height - 1) / 2),
        radius=side * float(generator.uniform(0.5, 0.62)),
        half_width=width * float(generator.uniform(0.42, 0.5)),
        half_height=height * float(generator.uniform(0.42, 0.5)),
    )
