"""The published programs' own arithmetic, 8 bits, truncation and all: for comparing with their files, never for use.

The methods `most-dsa` and `super-slomo` round, keep depth and leave acquired frames alone; these functions do what the
authors' programs do instead, so that their files come out again up to one grey level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..devices import running
from ..errors import InputError, UsageError
from ..models import MostDsa, SuperSlomo
from .acceleration import times_at_once

Picture = NDArray[np.uint8]

_WHOLE = "the published programs take frames whole; `scanweave interpolate --tile 256` does not"


def slow_motion_frames(pictures: Iterable[Picture], network: SuperSlomo, factor: int) -> Iterator[Picture]:
    """Slow a run down as the published echo program does.

    Each picture is shrunk to multiples of 32 (Lanczos), all frames, the acquired ones too, are truncated to 8 bits and
    enlarged again (bilinear).

    Args:
        pictures: ``(row, column, 3)`` red, green, blue.
        network: With the warp convention and mean of its weights.
        factor: Frames per gap, the first of which is the acquired one.

    Yields:
        ``(N - 1) * factor + 1`` pictures.

    Raises:
        InputError: A side below 32 pixels.
        UsageError: A factor below 1.
        ResourceError: Memory gave out.

    Source: Sahashi et al. 2024, their inference program; the order of its steps.
    """
    if factor < 1:
        raise UsageError(f"a factor of {factor} makes no frames", remedy="give a whole number of at least 1")
    before: Tensor | None = None
    size: tuple[int, int] = (0, 0)
    for picture in pictures:
        rows, columns = picture.shape[:2]
        size = (columns, rows)
        after = _shrunk(picture)
        if before is not None:
            yield _enlarged(_there_and_back(before, network), size)
            if factor > 1:
                (made,) = _made(network, before, after, [k / factor for k in range(1, factor)])
                for frame in made:
                    yield _enlarged(_truncated(frame), size)
        before = after
    if before is not None:
        yield _enlarged(_there_and_back(before, network), size)


def most_dsa_frames(first: Picture, second: Picture, network: MostDsa, inter_frames: int) -> list[Picture]:
    """Make the frames between two angiograms as the published script writes them.

    Always with the mean over the pair turned by 180 degrees, truncated to 8 bits, and with red and blue exchanged, as
    its files are.

    Args:
        first: ``(row, column, 3)`` red, green, blue.
        second: Alike.
        network: With the weights for `inter_frames`.
        inter_frames: 1, 2 or 3.

    Returns:
        One picture ``(row, column, 3)`` per frame: what reading its file as red, green, blue gives.

    Raises:
        UsageError: Another number of frames; the script refuses it too.
        ResourceError: Memory gave out.

    Source: Xu et al. 2024, their interpolation script.
    """
    if inter_frames not in (1, 2, 3):
        raise UsageError(f"the published script makes 1, 2 or 3 frames, not {inter_frames}")
    rows, columns = first.shape[:2]
    left, top = (-columns % 32) // 2, (-rows % 32) // 2
    padding = (left, -columns % 32 - left, top, -rows % 32 - top)
    frames = [F.pad(_tensor(picture[..., ::-1]), padding, mode="replicate") for picture in (first, second)]
    before, after = (torch.cat((frame, frame.flip(2, 3))) for frame in frames)
    times = [k / (inter_frames + 1) for k in range(1, inter_frames + 1)]
    upright, rotated = _made(network, before, after, times)
    made = (upright + rotated.flip(2, 3)) / 2
    # The network speaks blue, green, red; the script reverses that and its encoder takes the result for blue, green,
    # red again: read back as red, green, blue the file holds the network's own order.
    return [_truncated(frame[:, top : top + rows, left : left + columns]) for frame in made]


def _made(network: MostDsa | SuperSlomo, before: Tensor, after: Tensor, times: Sequence[float]) -> Tensor:
    """Return the frames at `times`, ``(B, N, 3, H, W)``; a bounded number of them runs as one batch."""
    at_once = times_at_once(before[:, 0].numel(), before.device)
    with running(remedy=_WHOLE):
        pair: Any = network.encode(before, after)  # each network knows its own kind
        parts = torch.split(torch.tensor(times), at_once)
        return torch.cat([network.decode(pair, part) for part in parts], dim=1)


def _shrunk(picture: Picture) -> Tensor:
    rows, columns = (side // 32 * 32 for side in picture.shape[:2])
    if not rows or not columns:
        raise InputError(f"{picture.shape[0]} x {picture.shape[1]} pixels; the published program needs 32 at least")
    return _tensor(np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.LANCZOS)))


def _tensor(picture: Picture) -> Tensor:
    """Return ``(1, 3, row, column)`` in [0, 1]."""
    return torch.from_numpy(np.array(picture, order="C")).permute(2, 0, 1).unsqueeze(0).to(torch.float32) / 255


def _there_and_back(frame: Tensor, network: SuperSlomo) -> Picture:
    """Subtract the mean and add it again, as the program does to frames that it does not change: some levels fall."""
    mean = network.mean.to(frame)
    return _truncated((frame - mean + mean)[0])


def _truncated(frame: Tensor) -> Picture:
    """Return ``(3, row, column)`` in [0, 1] as an 8-bit picture, cut off instead of rounded."""
    levels = (frame * 255).to(torch.int64) & 255
    return np.ascontiguousarray(levels.to(torch.uint8).permute(1, 2, 0).numpy())


def _enlarged(picture: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
