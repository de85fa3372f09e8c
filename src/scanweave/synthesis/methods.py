"""The protocol that every synthesis method speaks, and the registry of their names.

A method studies the volumes of a subject and makes slices of a contrast wherever they are wanted::

    fitted = method.fit({"T1": t1, "T2": t2})     # one grid, slices along array axis 0
    made = fitted.at("T2", [0.0, 0.75, 1.5])      # mm along the slice normal from the centre of the first slice

The `levels` of the volumes that a method is given are the recorded window of each contrast: ``volume.unit()`` is 0 and
1 at its ends, and so are made frames. A third party registers its own method through the entry point group
``scanweave.synthesis`` (name -> a callable that takes the method's options and returns it).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from ..made import Made as Made
from ..plan import plain
from ..registry import Registry
from ..volume import Volume

ENTRY_POINT_GROUP = "scanweave.synthesis"

WindowRule: TypeAlias = Literal["range", "percentile"]
"""Which window a method works over: all values of a volume, reversibly; or the published one, which clips the
brightest and darkest half per cent."""


@runtime_checkable
class Fitted(Protocol):
    """A method that has seen the subject."""

    def at(self, contrast: str, positions_mm: Sequence[float]) -> Made:
        """Return slices of a contrast.

        Args:
            contrast: What to make; one of those that the method was fitted to, or another.
            positions_mm: Where, along the slice normal from the centre of the first acquired slice, in mm.

        Returns:
            Frames ``(position, 1, row, column)`` float32 in [0, 1] over the recorded window of that contrast.

        Raises:
            UsageError: A contrast that the method cannot make.
        """


@runtime_checkable
class Method(Protocol):
    """Something that makes slices."""

    @property
    def name(self) -> str:
        """The registry name."""

    def fit(self, volumes: Mapping[str, Volume]) -> Fitted:
        """Study the volumes of a subject, by contrast: all on one grid, slices along array axis 0."""

    def describe(self) -> dict[str, Any]:
        """Return name, options and weights hash, JSON-able: the `method` entry of a plan."""


@dataclass(frozen=True, kw_only=True)
class SynthesisMethod:
    """Base of our methods: a frozen dataclass whose fields are the options."""

    name: ClassVar[str]
    window: ClassVar[WindowRule] = "range"
    other_contrasts: ClassVar[bool] = True

    def describe(self) -> dict[str, Any]:
        """Return name and options."""
        options = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {"name": self.name, **{key: plain(value) for key, value in options.items()}}


def window_rule(method: Method) -> WindowRule:
    """Return which window a method works over: what its attribute `window` says, else all values."""
    return "percentile" if getattr(method, "window", "range") == "percentile" else "range"


def makes_other_contrasts(method: Method) -> bool:
    """Whether a method can make contrasts that the subject has not; its attribute `other_contrasts` denies it."""
    return bool(getattr(method, "other_contrasts", True))


_REGISTRY: Registry[Method] = Registry(
    "synthesis method", group=ENTRY_POINT_GROUP, protocol=Method, has="name, fit and describe"
)
register, create, available = _REGISTRY.register, _REGISTRY.create, _REGISTRY.available
needs_weights = _REGISTRY.needs_weights


def _nearest(**options: Any) -> Method:
    from .baselines import Nearest

    return Nearest(**options)


def _linear(**options: Any) -> Method:
    from .baselines import Linear

    return Linear(**options)


def _b_spline(**options: Any) -> Method:
    from .baselines import BSpline

    return BSpline(**options)


def _histogram_matched(**options: Any) -> Method:
    from .baselines import HistogramMatched

    return HistogramMatched(**options)


def _regression(**options: Any) -> Method:
    from .regression import Regression

    return Regression(**options)


def _self_supervised(**options: Any) -> Method:
    from .self_supervised import SelfSupervised

    return SelfSupervised(**options)


def _uni_coal(**options: Any) -> Method:
    from .uni_coal import UniCoalMethod

    return UniCoalMethod(**options)


_BUILT_IN: tuple[tuple[str, Callable[..., Method]], ...] = (
    ("nearest", _nearest),
    ("linear", _linear),
    ("b-spline", _b_spline),
    ("histogram-matched", _histogram_matched),
    ("regression", _regression),
    ("self-supervised", _self_supervised),
)
for _name, _factory in _BUILT_IN:
    register(_name, _factory)
register("uni-coal", _uni_coal, weights=True)
