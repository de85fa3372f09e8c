"""Training images from nothing: slices or volumes of simulated anatomy in random contrasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor

from ..errors import UsageError
from ..simulate import (
    ANATOMIES,
    Acquisition,
    AcquisitionConfig,
    draw_acquisition,
    draw_anatomy,
    draw_contrast,
    image,
    parse_anatomy,
)

AnatomyName = Literal["heart", "thorax", "head"]


class _View(NamedTuple):
    """How an anatomy is looked at: side of the image in 2D and 3D, how far its middle may lie off, in mm."""

    slices: tuple[float, float]
    volumes: tuple[float, float]
    along: float
    across: float
    contrasts: tuple[str, ...]


_VIEWS: dict[str, _View] = {
    "heart": _View((150, 380), (140, 220), 30, 15, ("cine",)),
    "thorax": _View((330, 460), (330, 430), 60, 15, ("ct", "t1", "t2")),
    "head": _View((200, 270), (200, 260), 45, 10, ("t1", "t2", "pd", "flair")),
}


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SimulationConfig:
    """What is simulated."""

    anatomies: tuple[AnatomyName, ...] = ("heart", "thorax", "head")
    """Which, equally often."""

    side: int = Field(default=128, ge=16)
    """Voxels of the images along each axis, a multiple of 8."""

    length: int = Field(default=10_000, ge=1)
    """Images of one epoch."""

    validation_length: int = Field(default=24, ge=0)
    """Images that validation draws, always the same; 0 for no validation."""

    random_contrast: float = Field(default=0.5, ge=0, le=1)
    """Chance of a contrast of no scanner, a brightness for each tissue."""

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            UsageError: No anatomy, or a side that is no multiple of 8.
        """
        if not self.anatomies:
            raise UsageError("no anatomy is named", remedy=f"name some of {', '.join(ANATOMIES)}")
        if self.side % 8:
            raise UsageError(f"side {self.side} is no multiple of 8", remedy=f"such as {-(-self.side // 8) * 8}")


@dataclass(frozen=True)
class SimulatedImages:
    """Images of subjects that are drawn anew each time (`scanweave.deformation.data.ImageSource`).

    Attributes:
        config: What is simulated.
        length: Images of one epoch.
        ndims: 2 or 3.
    """

    config: SimulationConfig
    length: int
    ndims: int

    def __len__(self) -> int:
        return self.length

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, Any]:
        """Draw a subject, where it is looked at, in which contrast, and how it is acquired."""
        name = self.config.anatomies[int(generator.integers(len(self.config.anatomies)))]
        view = _VIEWS[name]
        params = draw_anatomy(ANATOMIES[name](), generator=generator)
        contrast: Any = view.contrasts[int(generator.integers(len(view.contrasts)))]
        if generator.random() < self.config.random_contrast:
            contrast = draw_contrast(parse_anatomy(params).STRUCTURES, generator=generator)
        reach = (view.along, view.across, view.across)
        return {
            "anatomy": params,
            "contrast": contrast,
            "extent": float(generator.uniform(*(view.slices if self.ndims == 2 else view.volumes))),
            "centre": [float(generator.uniform(-one, one)) for one in reach],
            "acquisition": draw_acquisition(AcquisitionConfig(), generator=generator),
        }

    def make(self, drawn: Mapping[str, Any]) -> Tensor:
        """Return the image, ``(1, side, ...)`` in [0, 1].

        Raises:
            InputError: These values were not drawn here.
        """
        shape = (self.config.side,) * self.ndims
        spacing = (drawn["extent"] / self.config.side,) * self.ndims
        samples = 2 if self.ndims == 2 else 1
        clean = image(drawn["anatomy"], drawn["contrast"], shape, spacing, centre=drawn["centre"], supersample=samples)
        acquired = Acquisition.from_json(drawn["acquisition"]).applied(
            _spread(clean), spacing=spacing, centre=tuple(drawn["centre"][-self.ndims :])
        )
        return torch.from_numpy(_spread(acquired))[None]


def _spread(picture: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a picture that spans [0, 1]."""
    low, high = picture.min(), picture.max()
    return np.asarray((picture - low) / max(high - low, 1e-6), np.float32)
