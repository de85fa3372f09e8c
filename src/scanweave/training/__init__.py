"""One training engine for every recipe.

A `Recipe` says what to train, `TrainingConfig` how, and `train` does it (`scanweave.training.engine`)::

    outcome = train(recipe, TrainingConfig(steps=1000, batch=8), Path("run"))
"""

from .config import TrainingConfig
from .engine import Outcome, train
from .recipe import Batch, Horizon, Recipe, Update
from .registry import RecipeEntry
from .samples import Drawn, Sample, Samples

__all__ = [
    "Batch",
    "Drawn",
    "Horizon",
    "Outcome",
    "Recipe",
    "RecipeEntry",
    "Sample",
    "Samples",
    "TrainingConfig",
    "Update",
    "train",
]
