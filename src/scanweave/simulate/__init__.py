"""Ground truth from nothing: motion, contrast, speckle, and the frames between with them.

A scene is drawn once, as plain values, and rendered at any times; `SimulatedPairs` feeds training with such frames.

Example:
    >>> import numpy as np
    >>> params = draw(AngiographyConfig(size=(64, 64)), generator=np.random.default_rng(0))
    >>> len(cine(params)) > 2
    True
"""

from .angiography import AngiographyConfig, AngiographyParams
from .echo import EchoConfig, EchoParams
from .motion import Contraction, Motion, Rigid, Ripple, Wave, draw_ripple
from .overlay import Mark, Sector, Shutter, held
from .samples import PairsConfig, SimulatedPairs
from .scenes import SCENES, cine, draw, flow, parse, render
from .still import Still, StillConfig, StillParams
from .vessels import Bolus, Tree, TreeParams, grow

__all__ = [
    "SCENES",
    "AngiographyConfig",
    "AngiographyParams",
    "Bolus",
    "Contraction",
    "EchoConfig",
    "EchoParams",
    "Mark",
    "Motion",
    "PairsConfig",
    "Rigid",
    "Ripple",
    "Sector",
    "Shutter",
    "SimulatedPairs",
    "Still",
    "StillConfig",
    "StillParams",
    "Tree",
    "TreeParams",
    "Wave",
    "cine",
    "draw",
    "draw_ripple",
    "flow",
    "grow",
    "held",
    "parse",
    "render",
]
