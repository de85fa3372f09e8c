"""What fusion can train, by name; each recipe lies in a file of its own."""

from __future__ import annotations

from ..training import RecipeEntry

RECIPES: dict[str, RecipeEntry] = {}
