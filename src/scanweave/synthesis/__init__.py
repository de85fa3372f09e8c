"""From MR volumes of a subject to another contrast, thinner slices, or both."""

from .api import Synthesized, prepare, synthesize
from .methods import Method, available, create, register
from .slices import plan_slices
from .subject import Subject

__all__ = [
    "Method",
    "Subject",
    "Synthesized",
    "available",
    "create",
    "plan_slices",
    "prepare",
    "register",
    "synthesize",
]
