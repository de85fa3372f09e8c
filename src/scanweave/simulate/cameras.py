"""Two cameras at one scene, from one recording: one fast and coarse, one slow and sharp.

The test bench of fusion: where everything lies and when is known, and the frames that the slow camera missed are there
to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

Frames = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CameraPair:
    """What two cameras recorded of one scene.

    Attributes:
        coarse: ``(n, h, w)``, the fast camera's frames, one per frame of the scene.
        sharp: ``(m, H, W)``, the slow camera's frames.
        coarse_times: ``(n,)`` on the fast clock; the start of exposure.
        sharp_times: ``(m,)`` on the slow clock: the fast one's plus the delay; the start of exposure.
        chosen: ``(m,)``, the frame of the scene at which each sharp exposure begins.
        matrix: ``(3, 3)``, from ``(x, y, 1)`` of a coarse frame to that of a sharp one; pixel centres at whole numbers.
    """

    coarse: Frames
    sharp: Frames
    coarse_times: NDArray[np.float64]
    sharp_times: NDArray[np.float64]
    chosen: NDArray[np.int64]
    matrix: NDArray[np.float64]


def simulate_pair(
    frames: ArrayLike,
    *,
    times: ArrayLike | None = None,
    ratio: float = 10.0,
    scale: float | tuple[float, float] = 4.0,
    blur: float = 0.0,
    noise: float = 0.0,
    photons: float | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
    angle: float = 0.0,
    mirrored: bool = False,
    first: int = 0,
    exposure: int = 1,
    delay: float = 0.0,
    gain: float = 1.0,
    generator: np.random.Generator | None = None,
) -> CameraPair:
    """Return what two cameras would have recorded of a run.

    Args:
        frames: ``(n, H, W)``, the scene at the fast rate and the sharp resolution; its values, whatever they are, are
            what both cameras record.
        times: ``(n,)``, increasing; the frames' numbers by default.
        ratio: Frames of the scene per sharp frame; if no whole number, the nearest frames are taken.
        scale: Sharp pixels in the side of a coarse one, or along x and y.
        blur: Standard deviation of the coarse camera's own blur, in coarse pixels; each also averages over its area.
        noise: Standard deviation of normal noise in coarse frames, in units of `frames`.
        photons: Of a coarse pixel at the scene's largest value, for Poisson noise; None for none.
        offset: By how much the coarse view is shifted, in sharp pixels along x and y.
        angle: By how much it is turned about its middle, x towards y, radians.
        mirrored: The sharp camera sees the scene mirrored, left to right.
        first: The frame of the scene that the first sharp exposure begins with.
        exposure: Frames of the scene that a sharp frame averages over.
        delay: What the sharp clock shows when the fast one shows 0.
        gain: Of the coarse camera.
        generator: For the noise; needed if there is any.

    Raises:
        ValueError: No such cameras, or noise without a generator.
    """
    scene = np.asarray(frames, dtype=np.float32)
    scales = (float(scale[0]), float(scale[1])) if isinstance(scale, tuple) else (float(scale), float(scale))
    _check(scene, ratio, scales, exposure, first)
    if generator is None and (noise > 0 or photons is not None):
        raise ValueError("noise needs a generator")
    at = np.arange(len(scene), dtype=np.float64) if times is None else np.asarray(times, dtype=np.float64)
    chosen = np.rint(np.arange(first, len(scene) - exposure + 1, ratio)).astype(np.int64)
    chosen = chosen[chosen + exposure <= len(scene)]
    matrix = _matrix((scene.shape[1], scene.shape[2]), scales, offset, angle)
    coarse = np.stack([_seen(frame, matrix, scales, blur) for frame in scene])
    coarse = _noisy(coarse, noise, photons, float(scene.max()), generator) * np.float32(gain)
    sharp = np.stack([scene[i : i + exposure].mean(axis=0) for i in chosen])
    if mirrored:
        sharp = np.ascontiguousarray(sharp[..., ::-1])
        matrix = np.array([[-1.0, 0.0, scene.shape[2] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ matrix
    return CameraPair(coarse, sharp, at, at[chosen] + delay, chosen, matrix)


def _check(scene: Frames, ratio: float, scales: tuple[float, ...], exposure: int, first: int) -> None:
    if scene.ndim != 3:
        raise ValueError(f"frames of shape {scene.shape}, (n, H, W) expected")
    if min(scales) < 1 or ratio < 1:
        raise ValueError(
            f"a fast camera with scale {scales} and ratio {ratio:g} would be the sharper or the slower one"
        )
    if not (1 <= exposure <= ratio and 0 <= first <= len(scene) - exposure):
        raise ValueError(f"an exposure of {exposure} frames from frame {first} on does not fit {len(scene)} frames")


def _matrix(
    shape: tuple[int, int], scales: tuple[float, float], offset: tuple[float, float], angle: float
) -> NDArray[np.float64]:
    """Return where a coarse pixel lies: the corners of both frames coincide, then turned about the middle, shifted."""
    (sx, sy), (rows, columns) = scales, shape
    cos, sin = np.cos(angle), np.sin(angle)
    enlarge = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    turn = np.eye(3)
    turn[:2, :2] = [[cos, -sin], [sin, cos]]
    turn[:2, 2] = middle - turn[:2, :2] @ middle + offset
    return np.asarray(turn @ enlarge)


def _seen(
    frame: NDArray[np.float32], matrix: NDArray[np.float64], scales: tuple[float, float], blur: float
) -> NDArray[np.float32]:
    """Return a frame as the coarse camera sees it: mean over each of its pixels, at as many places as it has pixels."""
    if blur > 0:
        frame = gaussian_filter(frame, (blur * scales[1], blur * scales[0]), mode="nearest")
    columns, rows = (int(n / s) for n, s in zip(frame.shape[::-1], scales, strict=True))
    nx, ny = (int(np.ceil(s - 1e-9)) for s in scales)
    # the middle of part i of n lies at (i + 1/2) / n - 1/2
    into = np.array([[1 / nx, 0, (1 / nx - 1) / 2], [0, 1 / ny, (1 / ny - 1) / 2], [0, 0, 1]])
    parts = cv2.warpAffine(
        frame, (matrix @ into)[:2], (columns * nx, rows * ny),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(parts.reshape(rows, ny, columns, nx).mean(axis=(1, 3)), np.float32)


def _noisy(
    coarse: Frames, noise: float, photons: float | None, white: float, generator: np.random.Generator | None
) -> Frames:
    if generator is None:
        return coarse
    if photons is not None:
        coarse = (generator.poisson(np.maximum(coarse, 0) * (photons / white)) * (white / photons)).astype(np.float32)
    if noise > 0:
        coarse = coarse + generator.normal(0, noise, coarse.shape).astype(np.float32)
    return coarse
