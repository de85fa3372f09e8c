"""Named scenes: drawn once as plain values, then rendered at any times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cine import Cine, Source
from ..errors import InputError, UsageError
from .angiography import AngiographyConfig, AngiographyParams
from .echo import EchoConfig, EchoParams
from .overlay import held
from .still import Still, StillConfig, StillParams

SceneConfig = AngiographyConfig | EchoConfig | StillConfig
SceneParams = AngiographyParams | EchoParams | StillParams
Images = Sequence[NDArray[Any] | Still]

SCENES: dict[str, type[SceneConfig]] = {"angiography": AngiographyConfig, "echo": EchoConfig, "still": StillConfig}
"""What each scene is configured by."""

_PARAMS: dict[str, type[SceneParams]] = {
    "angiography": AngiographyParams,
    "echo": EchoParams,
    "still": StillParams,
}
_MODALITY = {"angiography": "XA", "echo": "US", "still": None}


def draw(config: SceneConfig, *, images: Images = (), generator: np.random.Generator) -> dict[str, Any]:
    """Draw one run of a scene.

    Args:
        config: Which scene, and between what limits.
        images: Images to choose from, for the scene of that name: ``(row, column[, 3])``, unsigned integers or
            floats in [0, 1].
        generator: Where all randomness comes from.

    Returns:
        Plain JSON values that decide every frame.

    Raises:
        InputError: The scene needs a still and there is none.

    Example:
        >>> params = draw(EchoConfig(size=(64, 64)), generator=np.random.default_rng(0))
        >>> render(params, [0.0, 0.01]).shape
        (2, 64, 64)
    """
    if isinstance(config, AngiographyConfig):
        return AngiographyParams.draw(config, generator=generator).as_json()
    if isinstance(config, EchoConfig):
        return EchoParams.draw(config, generator=generator).as_json()
    return StillParams.draw(config, as_stills(images), generator=generator).as_json()


def as_stills(images: Images) -> list[Still]:
    """Return images as stills; those that are already stay as they are.

    Raises:
        InputError: An image is neither grey nor colour, or has no stated range.
    """
    return [image if isinstance(image, Still) else Still.of(np.asarray(image)) for image in images]


def parse(params: Mapping[str, Any]) -> SceneParams:
    """Return drawn values as the parameters of their scene.

    Raises:
        InputError: Not what was drawn.
    """
    name = params.get("scene") if isinstance(params, Mapping) else None
    if name not in _PARAMS:
        raise InputError(f"no scene is named {name!r}", remedy=f"known are {', '.join(_PARAMS)}")
    return _PARAMS[name].from_json(params)


def render(
    params: Mapping[str, Any] | SceneParams,
    times: ArrayLike,
    *,
    images: Images = (),
    noise: bool | Sequence[bool] = True,
) -> NDArray[np.float32]:
    """Render a run at any times, each exactly, and each independent of the others.

    Args:
        params: What `draw` gave, or the same from JSON.
        times: Seconds, in any order; those worth showing are ``start`` to ``start + duration``.
        images: The stills that `draw` was given.
        noise: Whether frames have the noise of acquisition, for all or for each. Frames of one time have one noise.

    Returns:
        ``(time, row, column[, 3])`` in [0, 1].

    Raises:
        InputError: Parameters or stills are not those that were drawn.
        UsageError: No times.
    """
    scene = params if not isinstance(params, Mapping) else parse(params)
    moments = np.asarray(times, dtype=np.float64)
    if moments.ndim != 1 or not len(moments) or not np.all(np.isfinite(moments)):
        raise UsageError("no times to render", remedy="give a list of seconds")
    noisy = [noise] * len(moments) if isinstance(noise, bool) else list(noise)
    frame = scene.renderer(as_stills(images)) if isinstance(scene, StillParams) else scene.renderer()
    return np.stack([frame(float(time), each) for time, each in zip(moments, noisy, strict=True)])


def flow(params: Mapping[str, Any], start: float, end: float) -> NDArray[np.float32]:
    """Return where the tissue of each pixel at time `start` has gone at `end`.

    In angiography this is the motion of the vessels' plane; the chest behind moves by ``params["body"]``.

    Returns:
        ``(2, row, column)`` in pixels, x then y.
    """
    scene = parse(params)
    return scene.motion.flow(scene.size, start, end)


def cine(
    params: Mapping[str, Any],
    times: ArrayLike | None = None,
    *,
    images: Images = (),
    noise: bool = True,
    duplicates: Sequence[int] = (),
    bits: int = 8,
) -> Cine:
    """Return a run as a cine of stored integers.

    Args:
        params: What `draw` gave.
        times: Seconds, increasing; default: the whole run at its own rate.
        images: The stills that `draw` was given.
        noise: Whether frames have the noise of acquisition.
        duplicates: 0-based frames that only repeat the one before, as scanners and converters leave them.
        bits: Stored depth, 1 to 16.

    Raises:
        InputError: Parameters, stills or times that cannot be used.
        UsageError: No such duplicate or depth.
    """
    if not 1 <= bits <= 16:
        raise UsageError(f"{bits} bits cannot be stored", remedy="give 1 to 16")
    scene = parse(params)
    if times is None:
        count = max(2, int(scene.duration / scene.frame_interval) + 1)
        times = scene.start + scene.frame_interval * np.arange(count)
    moments = np.asarray(times, dtype=np.float64)
    frames = render(scene, held(moments, duplicates), images=images, noise=noise)
    top = 2**bits - 1
    stored = np.rint(frames * top).astype(np.uint8 if bits <= 8 else np.uint16)
    source = Source(modality=_MODALITY[scene.scene], notes=("made by simulation; no patient was imaged",))
    return Cine.from_array(stored, times=moments, levels=(0.0, float(top)), source=source)
