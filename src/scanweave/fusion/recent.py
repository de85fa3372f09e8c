"""What was computed last, kept for who asks again: streams go forwards, so that a handful suffices."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A few values by key; the one not asked for the longest gives way.

    Example:
        >>> squares = Recent[int, int](2)
        >>> [squares.get(n, lambda n=n: n * n) for n in (1, 2, 1)], len(squares)
        ([1, 4, 1], 2)
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return what is kept under `key`; compute it, if nothing is."""
        if key not in self._kept:
            self._kept[key] = compute()
            while len(self._kept) > self._count:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
