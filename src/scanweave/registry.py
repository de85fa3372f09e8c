"""Names of interchangeable things: ours, and those that installed packages offer through an entry point group."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from .errors import UsageError

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """What can be made by name.

    Args:
        kind: What such a thing is called in messages.
        group: Entry point group: name -> a callable that takes the thing's options and returns it.
        protocol: What it must be an instance of (a runtime-checkable protocol will do).
        has: What such a thing has, in words, for who wrote one that is none.
    """

    def __init__(self, kind: str, *, group: str, protocol: type[Any], has: str) -> None:
        self.kind, self.group, self.protocol, self.has = kind, group, protocol, has
        self._factories: dict[str, Callable[..., Thing]] = {}
        self._weighted: set[str] = set()

    def register(self, name: str, factory: Callable[..., Thing], *, weights: bool = False) -> None:
        """Make a thing known as `name`; a name can be taken once.

        Args:
            name: What users call it.
            factory: Takes its options and returns it.
            weights: Whether it runs only on weights, given as its option `weights`.
        """
        if name in self._factories:
            raise ValueError(f"{self.kind} {name!r} is registered already")
        self._factories[name] = factory
        if weights:
            self._weighted.add(name)

    def needs_weights(self, name: str) -> bool:
        """Whether the thing called `name` runs only on weights that the user gives."""
        return name in self._weighted

    def is_built_in(self, name: str) -> bool:
        """Whether `name` is one of ours, not one that an installed package offers."""
        return name in self._factories

    def available(self) -> tuple[str, ...]:
        """Return all names, built in and offered by installed packages."""
        offered = (point.name for point in entry_points(group=self.group))
        return tuple(dict.fromkeys([*self._factories, *offered]))

    def create(self, name: str | Thing, **options: Any) -> Thing:
        """Return what is called `name`; a thing itself is returned as it is.

        Raises:
            UsageError: No such name, options that it does not have, or an installed package that is broken.
        """
        if not isinstance(name, str):
            return name
        factory = self._factories.get(name) or self._offered(name)
        if factory is None:
            raise UsageError(
                f"no {self.kind} is called {name!r}", remedy=f"choose one of {', '.join(self.available())}"
            )
        try:
            made = factory(**options)
        except TypeError as error:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if unknown is None:
                raise UsageError(f"{self.kind} {name!r}: {error}") from error
            option = unknown[1].replace("_", "-")
            raise UsageError(f"{self.kind} {name!r} has no option {option}", remedy=f"leave out --{option}") from error
        if not isinstance(made, self.protocol):
            raise UsageError(
                f"{self.kind} {name!r} gave a {type(made).__name__}, which has not {self.has}",
                remedy="repair or remove the package that registers it",
            )
        return made

    def _offered(self, name: str) -> Callable[..., Thing] | None:
        """Return what an installed package offers as `name`; nothing is imported before it is asked for."""
        for point in entry_points(group=self.group):
            if point.name != name:
                continue
            try:
                factory: Callable[..., Thing] = point.load()
            # Importing someone else's package can fail in any way.
            except Exception as error:
                package = point.dist.name if point.dist is not None else "an installed package"
                raise UsageError(
                    f"{self.kind} {name!r} of {package} cannot be loaded from {point.value!r}: "
                    f"{type(error).__name__}: {error}",
                    remedy="repair or remove that package",
                ) from error
            return factory
        return None
