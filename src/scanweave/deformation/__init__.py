"""From one image to many anatomically plausible deformations of it."""

from .canvas import Canvas
from .config import PRESETS, DiffusionConfig, RecoveryConfig, SamplingConfig
from .labels import warp_labels
from .sampling import Deformations, draw, sample

__all__ = [
    "PRESETS",
    "Canvas",
    "Deformations",
    "DiffusionConfig",
    "RecoveryConfig",
    "SamplingConfig",
    "draw",
    "sample",
    "warp_labels",
]
