"""From one image to many anatomically plausible deformations of it."""

from .api import Deformed, ThroughPlaneWarning, apply, chosen_method, deform, deform_each, replay
from .canvas import Canvas
from .config import PRESETS, DiffusionConfig, RecoveryConfig, SamplingConfig
from .labels import warp_labels
from .methods import Method, available, create, register
from .sampling import Deformations, draw, sample

__all__ = [
    "PRESETS",
    "Canvas",
    "Deformations",
    "Deformed",
    "DiffusionConfig",
    "Method",
    "RecoveryConfig",
    "SamplingConfig",
    "ThroughPlaneWarning",
    "apply",
    "available",
    "chosen_method",
    "create",
    "deform",
    "deform_each",
    "draw",
    "register",
    "replay",
    "sample",
    "warp_labels",
]
