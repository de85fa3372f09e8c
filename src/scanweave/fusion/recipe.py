"""What fusion can train, by name; each recipe lies in a file of its own."""

from __future__ import annotations

from ..training import RecipeEntry
from . import block_recipe, calibrator_recipe, edvr_stf_recipe, swin_xvr_recipe

RECIPES: dict[str, RecipeEntry] = {
    "block-fusion": block_recipe.ENTRY,
    "edvr-stf": edvr_stf_recipe.ENTRY,
    "raft": calibrator_recipe.ENTRY,
    "swin-xvr": swin_xvr_recipe.ENTRY,
}
