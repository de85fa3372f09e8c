"""The protocol that every interpolation method speaks, and the registry of their names.

A method turns two acquired frames into the frames between them::

    fitted = method.fit(cine)          # may study the whole run
    state = fitted.prepare(i, j)       # once per pair of frames
    made = state.at([0.25, 0.5])       # as often as wanted

Baselines, classical motion compensation and networks are equals here. A third party registers its own through the
entry point group ``scanweave.interpolation`` (name -> a callable that takes the method's options and returns it).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..cine import Cine
from ..made import Made as Made
from ..registry import Registry

ENTRY_POINT_GROUP = "scanweave.interpolation"


@runtime_checkable
class PairState(Protocol):
    """All that depends on the pair alone, computed once."""

    def at(self, times: Sequence[float]) -> Made:
        """Return the frames at `times`, each in [0, 1]; 0 and 1 give the two sources exactly."""


@runtime_checkable
class Fitted(Protocol):
    """A method that has seen the run."""

    def prepare(self, i: int, j: int) -> PairState:
        """Study frames `i` and `j` (0-based, `i` before `j`) of the run that the method was fitted to."""


@runtime_checkable
class Method(Protocol):
    """Something that makes frames between acquired ones."""

    @property
    def name(self) -> str:
        """The registry name."""

    def fit(self, cine: Cine) -> Fitted:
        """Study the whole run; only the frames in `cine` may be used."""

    def describe(self) -> dict[str, Any]:
        """Return name, options and weights hash, JSON-able: the `method` entry of a plan."""


@dataclass(frozen=True)
class PairwiseMethod:
    """Base of methods that look at nothing but the two frames; subclasses give `prepare_pair`.

    A subclass is a frozen dataclass whose fields are the method's options.
    """

    @property
    def name(self) -> str:
        """The registry name."""
        raise AttributeError("a method must have a name")

    def prepare_pair(self, first: Tensor, second: Tensor) -> Callable[[Tensor], Made]:
        """Study two frames ``(1, channel, row, column)`` in [0, 1].

        Returns:
            A function from times ``(time,)``, all strictly between 0 and 1, to what was made there.
        """
        raise TypeError(f"{type(self).__name__} does not say how it studies a pair")

    def fit(self, cine: Cine) -> FittedPairs:
        """Return the method bound to the run; nothing is studied."""
        return FittedPairs(self, cine)

    def describe(self) -> dict[str, Any]:
        """Return name and options."""
        return {"name": self.name, **dataclasses.asdict(self)}


@dataclass(frozen=True, slots=True)
class FittedPairs:
    """A pairwise method bound to a run."""

    method: PairwiseMethod
    cine: Cine

    def prepare(self, i: int, j: int) -> ExactEnds:
        """Study frames `i` and `j`."""
        first, second = (torch.from_numpy(self.cine.unit(k)).unsqueeze(0) for k in (i, j))
        return ExactEnds(first, second, self.method.prepare_pair(first, second))


@dataclass(frozen=True, slots=True)
class ExactEnds:
    """Gives the sources themselves at 0 and 1, and asks the method in between."""

    first: Tensor
    second: Tensor
    between: Callable[[Tensor], Made]

    def at(self, times: Sequence[float]) -> Made:
        """Return the frames at `times`, in their order.

        Raises:
            ValueError: A time is outside [0, 1], or not a number.
        """
        wanted = torch.as_tensor(list(times), dtype=torch.float32)
        if len(wanted) and not bool(((wanted >= 0) & (wanted <= 1)).all()):
            raise ValueError(f"times {list(times)} are not all between 0 (first frame) and 1 (second frame)")
        inner = (wanted > 0) & (wanted < 1)
        size = (len(wanted), *self.first.shape[1:])
        frames = torch.where((wanted < 0.5).view(-1, 1, 1, 1), self.first.expand(size), self.second.expand(size))
        uncertainty: Tensor | None = torch.zeros(size[0], 1, *size[2:])
        extras: dict[str, Tensor] = {}
        if bool(inner.any()):
            made = self.between(wanted[inner])
            frames[inner] = made.frames.to(frames.dtype)
            if made.uncertainty is None:
                uncertainty = None
            elif uncertainty is not None:
                uncertainty[inner] = made.uncertainty.to(frames.dtype)
            extras = made.extras
        return Made(frames, uncertainty, extras)


@dataclass(frozen=True)
class Hold(PairwiseMethod):
    """Repeat the nearest acquired frame (the earlier one at 1/2): what a player does without interpolation."""

    name = "hold"

    def prepare_pair(self, first: Tensor, second: Tensor) -> Callable[[Tensor], Made]:
        """Keep both frames."""
        distance = (second - first).abs().mean(dim=1, keepdim=True)

        def at(times: Tensor) -> Made:
            later = (times > 0.5).view(-1, 1, 1, 1)
            nearness = torch.minimum(times, 1 - times).view(-1, 1, 1, 1)
            return Made(torch.where(later, second, first), distance * nearness)

        return at


@dataclass(frozen=True)
class Linear(PairwiseMethod):
    """Blend the two frames by their distance in time."""

    name = "linear"

    def prepare_pair(self, first: Tensor, second: Tensor) -> Callable[[Tensor], Made]:
        """Keep both frames."""
        distance = (second - first).abs().mean(dim=1, keepdim=True)

        def at(times: Tensor) -> Made:
            t = times.view(-1, 1, 1, 1)
            return Made(torch.lerp(first, second, t), distance * 2 * t * (1 - t))

        return at


@runtime_checkable
class Cautious(Protocol):
    """A method that knows when its frames need a word of caution."""

    def cautions(self, times: Sequence[float]) -> list[str]:
        """Return what to know of frames made at `times`, one sentence each."""


_METHODS: Registry[Method] = Registry(
    "interpolation method", group=ENTRY_POINT_GROUP, protocol=Method, has="name, fit and describe"
)
register = _METHODS.register
needs_weights = _METHODS.needs_weights
available = _METHODS.available
create = _METHODS.create


def _optical_flow(**options: Any) -> Method:
    from .optical_flow import OpticalFlow

    return OpticalFlow(**options)


def _minterpolate(**options: Any) -> Method:
    from .minterpolate import Minterpolate

    return Minterpolate(**options)


def _most_dsa(**options: Any) -> Method:
    from .networks import MostDsaMethod

    return MostDsaMethod(**options)


def _super_slomo(**options: Any) -> Method:
    from .networks import SuperSlomoMethod

    return SuperSlomoMethod(**options)


for _name, _factory in (
    ("hold", Hold),
    ("linear", Linear),
    ("minterpolate", _minterpolate),
    ("optical-flow", _optical_flow),
):
    register(_name, _factory)
register("most-dsa", _most_dsa, weights=True)
register("super-slomo", _super_slomo, weights=True)

DEFAULT_METHOD = "optical-flow"


def runs_without_network(name: str) -> bool:
    """Whether the method called `name` is a built-in one without a network, so that it has no weights and devices."""
    return _METHODS.is_built_in(name) and not needs_weights(name)


def ready() -> tuple[str, ...]:
    """Return the names of all methods that run without being given anything."""
    return tuple(name for name in available() if not needs_weights(name))
