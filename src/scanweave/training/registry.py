"""How a job offers what it can train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .recipe import Recipe


@dataclass(frozen=True)
class RecipeEntry:
    """One system that can be trained, as a job lists it: ``RECIPES = {"name": RecipeEntry(...)}``.

    Attributes:
        config: A frozen dataclass whose fields are documented and have defaults: the command line's help and the YAML
            file come from it.
        build: Makes the recipe from such a configuration; reads files, touches no device.
        summary: What is trained, in one line.
    """

    config: type[Any]
    build: Callable[[Any], Recipe]
    summary: str
