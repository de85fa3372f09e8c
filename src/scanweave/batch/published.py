"""The published programs' files under the published names: for comparing with them, never for use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import io, weights
from ..cine import Cine, Source
from ..errors import InputError, UsageError
from ..interpolation.published import most_dsa_frames, slow_motion_frames
from ..io.files import atomic_output, check_output
from ..models import MostDsa, SuperSlomo
from .inputs import ReadOptions, Run, strip_dataset


def write_most_dsa(
    run: Run,
    folder: Path,
    *,
    weights_file: Path,
    inter_frames: int = 1,
    reading: ReadOptions | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write the frames between two images as the published script does: ``InferImage.png``, ``InferImage_1_in_3.png``.

    Raises:
        InputError: Not two frames.
        ScanweaveError: Whatever else is wrong with input, weights or output.
    """
    names = [f"InferImage_{k}_in_{inter_frames}.png" for k in range(1, inter_frames + 1)]
    targets = [folder / name for name in (["InferImage.png"] if inter_frames == 1 else names)]
    for target in targets:
        check_output(target, list(run), overwrite=overwrite)
    cine = (reading or ReadOptions()).read(run)
    if len(cine) != 2:
        raise InputError(f"{len(cine)} frames; the published script takes two images", path=run[0])
    network = weights.open_weights("most-dsa", weights_file)
    assert isinstance(network, MostDsa)
    pictures = most_dsa_frames(cine.shown(0), cine.shown(1), network, inter_frames)
    for target, picture in zip(targets, pictures, strict=True):
        io.write(Cine.from_array(picture[None]), target, overwrite=overwrite)
    return tuple(targets)


def write_slow_motion(
    run: Run,
    folder: Path,
    *,
    weights_file: Path,
    factor: int,
    playback_fps: float,
    reading: ReadOptions | None = None,
    overwrite: bool = False,
    config: dict[str, object] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, ...]:
    """Slow a run as the published echo program does: ``CLIP_Slomo_xN/000000.png`` ... and ``CLIP_Slomo_xN_fpsF.mkv``.

    The film is FFV1 where theirs is FFVHUFF; both are lossless.

    Raises:
        UsageError: A rate that is none.
        ScanweaveError: Whatever is wrong with input, weights or output.
    """
    if not 0.001 <= playback_fps <= 1000:
        raise UsageError(f"{playback_fps:g} frames per second cannot be played", remedy="give from 0.001 to 1000")
    clip = run[0].name if run[0].is_dir() else strip_dataset(run[0]).stem
    frames = folder / f"{clip}_Slomo_x{factor}"
    film = folder / f"{clip}_Slomo_x{factor}_fps{playback_fps:g}.mkv"
    for target in (frames, film):
        check_output(target, [strip_dataset(path) for path in run], overwrite=overwrite)
    cine = (reading or ReadOptions()).read(run)
    network = weights.open_weights("super-slomo", weights_file, **(config or {}))
    assert isinstance(network, SuperSlomo)
    count = (len(cine) - 1) * factor + 1
    with atomic_output(frames, folder=True) as target:
        made = slow_motion_frames((cine.shown(i) for i in range(len(cine))), network, factor)
        for k, picture in enumerate(made):
            io.write(Cine.from_array(picture[None]), target / f"{k:06d}.png")
            if progress:
                progress("making frames as published", k + 1, count)
        # Before the folder gets its name: without a film there are no frames either.
        io.write(
            _at_rate(io.read(target, as_="cine"), playback_fps), film, overwrite=overwrite, playback_fps=playback_fps
        )
    return frames, film


def _at_rate(cine: Cine, fps: float) -> Cine:
    times: NDArray[np.float64] = np.arange(len(cine)) / fps
    return Cine(cine.frame, shape=cine.shape, dtype=cine.dtype, times=times, levels=cine.levels, source=Source())
