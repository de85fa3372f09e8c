"""One training engine for every recipe."""

from .recipe import Batch, Horizon, Recipe, Update
from .registry import RecipeEntry
from .samples import Drawn, Sample, Samples

__all__ = ["Batch", "Drawn", "Horizon", "Recipe", "RecipeEntry", "Sample", "Samples", "Update"]
