"""The protocol that every fusion method speaks, and the registry of their names.

A method is bound to the frames of two cameras, and makes sharp frames at any moment::

    state = method.prepare(coarse, sharp, calibration)
    made = state.at([0.0100, 0.0101])     # seconds on the sharp camera's clock

A state never sees a frame that it is asked to make again: of a run that is held out, the job gives it the other frames
only. A third party registers its own method through the entry point group ``scanweave.fusion`` (name -> a callable that
takes the method's options and returns it).
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch

from ..made import Made as Made
from ..plan import plain
from ..registry import Registry
from .calibration import Calibration
from .choice import Choice, Pick
from .frames import Frames
from .scene import Scene

ENTRY_POINT_GROUP = "scanweave.fusion"


@runtime_checkable
class State(Protocol):
    """A method bound to the frames of two cameras."""

    def at(self, times: Sequence[float]) -> Made:
        """Return sharp frames of the part of the scene that both cameras see (`scanweave.fusion.scene.common_box`).

        Args:
            times: Moments on the sharp camera's clock, in seconds.

        Returns:
            Frames ``(time, 1, row, column)`` float32 over the sharp camera's window, not clamped.

        Raises:
            InputError: No sharp frames before and after a moment, or no coarse frame near it.
        """


@runtime_checkable
class Method(Protocol):
    """Something that makes sharp frames."""

    @property
    def name(self) -> str:
        """The registry name."""

    def prepare(self, coarse: Frames, sharp: Frames, calibration: Calibration) -> State:
        """Bind the method to frames. Little is computed before they are asked for."""

    def describe(self) -> dict[str, Any]:
        """Return name, options and weights hash, JSON-able: the `method` entry of a plan."""


@dataclass(frozen=True, kw_only=True)
class FusionMethod:
    """Base of our methods: a frozen dataclass whose fields are the options.

    Attributes:
        name: The registry name.
        around: Coarse frames that are needed before the one at a moment, and after it.
    """

    name: ClassVar[str]
    around: ClassVar[int] = 0

    def describe(self) -> dict[str, Any]:
        """Return name and options."""
        options = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {"name": self.name, **{key: plain(value) for key, value in options.items()}}


@dataclass(frozen=True, eq=False)
class PickedState:
    """Base of our states: which frames serve a moment is chosen by time, then the frame is made of those.

    Attributes:
        scene: Both cameras on one grid.
        choice: Which frames serve a moment.
    """

    scene: Scene
    choice: Choice

    def at(self, times: Sequence[float]) -> Made:
        """Return frames at moments on the sharp clock, as :class:`State` says."""
        return self.made([self.choice.pick(float(time)) for time in times])

    def made(self, picks: Sequence[Pick]) -> Made:
        """Return a frame for each choice of frames, cropped to what both cameras see."""
        parts = [self.make(pick) for pick in picks]
        extras = {name: torch.cat([part.extras[name] for part in parts]) for name in parts[0].extras}
        spreads = [part.uncertainty for part in parts if part.uncertainty is not None]
        whole = torch.cat(spreads) if len(spreads) == len(parts) else None
        frames = self.scene.cropped(torch.cat([part.frames for part in parts]))
        return Made(frames, None if whole is None else self.scene.cropped(whole), extras)

    @abstractmethod
    def make(self, pick: Pick) -> Made:
        """Return one frame ``(1, 1, row, column)`` of those chosen; it may be filled up as the scene is."""


def around(method: Method) -> int:
    """Return how many coarse frames a method needs on either side of a moment; by its attribute `around`, else none."""
    return int(getattr(method, "around", 0))


_REGISTRY: Registry[Method] = Registry(
    "fusion method", group=ENTRY_POINT_GROUP, protocol=Method, has="name, prepare and describe"
)
register, create, available = _REGISTRY.register, _REGISTRY.create, _REGISTRY.available
needs_weights = _REGISTRY.needs_weights


def _hold(**options: Any) -> Method:
    from .baselines import Hold

    return Hold(**options)


def _bicubic(**options: Any) -> Method:
    from .baselines import Bicubic

    return Bicubic(**options)


def _temporal_linear(**options: Any) -> Method:
    from .baselines import TemporalLinear

    return TemporalLinear(**options)


def _flow(**options: Any) -> Method:
    from .flow import Flow

    return Flow(**options)


def _edvr_stf(**options: Any) -> Method:
    from .networks import EdvrStfMethod

    return EdvrStfMethod(**options)


def _swin_xvr(**options: Any) -> Method:
    from .networks import SwinXvrMethod

    return SwinXvrMethod(**options)


def _block_fusion(**options: Any) -> Method:
    from .block_method import BlockFusionMethod

    return BlockFusionMethod(**options)


_BUILT_IN: tuple[tuple[str, Callable[..., Method]], ...] = (
    ("hold", _hold),
    ("bicubic", _bicubic),
    ("temporal-linear", _temporal_linear),
    ("flow", _flow),
)
for _name, _factory in _BUILT_IN:
    register(_name, _factory)
register("block-fusion", _block_fusion, weights=True)
register("edvr-stf", _edvr_stf, weights=True)
register("swin-xvr", _swin_xvr, weights=True)
