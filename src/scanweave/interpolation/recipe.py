"""What can be trained in this job, by name."""

from __future__ import annotations

from ..training.registry import RecipeEntry
from .most_dsa_recipe import MostDsaRecipe, MostDsaRecipeConfig
from .sources import open_sources
from .super_slomo_recipe import SuperSlomoRecipe, SuperSlomoRecipeConfig


def most_dsa(config: MostDsaRecipeConfig) -> MostDsaRecipe:
    """Open the samples and weights that `config` names.

    Raises:
        UsageError: It contradicts itself, or asks for VGG without its file.
        InputError: The samples cannot be used.
        WeightsError: The weights cannot be.
    """
    return MostDsaRecipe(config, *open_sources(config))


def super_slomo(config: SuperSlomoRecipeConfig) -> SuperSlomoRecipe:
    """Open the samples and weights that `config` names (errors as of :func:`most_dsa`)."""
    return SuperSlomoRecipe(config, *open_sources(config))


RECIPES = {
    "most-dsa": RecipeEntry(MostDsaRecipeConfig, most_dsa, "MoSt-DSA: frames between those of an angiogram"),
    "super-slomo": RecipeEntry(SuperSlomoRecipeConfig, super_slomo, "Super-SloMo: frames between those of any cine"),
}
