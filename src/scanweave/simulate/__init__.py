"""Ground truth from nothing: motion, contrast, speckle, and the frames between with them.

Labelled anatomy, too, on any grid and in any contrast: `draw_anatomy`, `labels`, `image`.

A scene is drawn once, as plain values, and rendered at any times; `SimulatedPairs` feeds training with such frames.

Example:
    >>> import numpy as np
    >>> params = draw(AngiographyConfig(size=(64, 64)), generator=np.random.default_rng(0))
    >>> len(cine(params)) > 2
    True
"""

from .acquisition import Acquisition, AcquisitionConfig, draw_acquisition
from .anatomy import ANATOMIES, draw_anatomy, image, images, labels, parse_anatomy, structures
from .anatomy_head import HeadConfig, HeadParams
from .anatomy_heart import HeartConfig, HeartParams
from .anatomy_thorax import ThoraxConfig, ThoraxParams
from .angiography import AngiographyConfig, AngiographyParams
from .contrast import (
    CONTRASTS,
    MATERIALS,
    Hounsfield,
    InversionRecovery,
    RandomContrast,
    SpinEcho,
    SteadyState,
    draw_contrast,
)
from .echo import EchoConfig, EchoParams
from .motion import Contraction, Motion, Rigid, Ripple, Wave, draw_ripple
from .overlay import Mark, Sector, Shutter, held
from .radiography import RadiographyConfig, RadiographyParams
from .samples import PairsConfig, SimulatedPairs
from .scenes import SCENES, cine, draw, flow, parse, render
from .still import Still, StillConfig, StillParams
from .vessels import Bolus, Tree, TreeParams, grow

__all__ = [
    "ANATOMIES",
    "CONTRASTS",
    "MATERIALS",
    "SCENES",
    "Acquisition",
    "AcquisitionConfig",
    "AngiographyConfig",
    "AngiographyParams",
    "Bolus",
    "Contraction",
    "EchoConfig",
    "EchoParams",
    "HeadConfig",
    "HeadParams",
    "HeartConfig",
    "HeartParams",
    "Hounsfield",
    "InversionRecovery",
    "Mark",
    "Motion",
    "PairsConfig",
    "RadiographyConfig",
    "RadiographyParams",
    "RandomContrast",
    "Rigid",
    "Ripple",
    "Sector",
    "Shutter",
    "SimulatedPairs",
    "SpinEcho",
    "SteadyState",
    "Still",
    "StillConfig",
    "StillParams",
    "ThoraxConfig",
    "ThoraxParams",
    "Tree",
    "TreeParams",
    "Wave",
    "cine",
    "draw",
    "draw_acquisition",
    "draw_anatomy",
    "draw_contrast",
    "draw_ripple",
    "flow",
    "grow",
    "held",
    "image",
    "images",
    "labels",
    "parse",
    "parse_anatomy",
    "render",
    "structures",
]
