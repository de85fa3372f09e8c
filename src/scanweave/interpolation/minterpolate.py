"""FFmpeg's block-matching frame-rate conversion (the ``minterpolate`` filter), as a baseline.

The filter works on 8-bit video with a frame before and after the pair, at output times on a grid. Here each pair is
shown to it as a tiny film ``a a b b`` whose second frame is dated such that the filter's next output falls exactly on
the wanted time (to 1/1024 of the gap, the filter's own resolution).

What 8 bits lose: the pair's range is stretched to 0..255, and only what the filter does *beyond* plain blending is
taken from there, so that still pixels keep their full depth and moving ones are off by at most about one 255th of the
pair's range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
import torch
import torch.nn.functional as F
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as NothingMore
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UsageError
from .methods import Made, PairwiseMethod

# The filter divides the time between two frames into this many steps.
_TICKS = 1024
# It refuses frames smaller than two blocks, and leaves an incomplete block at the edge without motion.
_BLOCK = 16
_SMALLEST_SIDE = 2 * _BLOCK

# Luminance and two colour differences, all centred so that grey has (y, 1/2, 1/2): BT.601, full range.
_TO_YUV = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_TO_RGB = torch.linalg.inv(_TO_YUV)


@dataclass(frozen=True)
class Minterpolate(PairwiseMethod):
    """Options of FFmpeg's filter, by its names.

    Attributes:
        mc_mode: Overlapped block motion compensation, plain (``obmc``) or adaptive (``aobmc``).
        me_mode: Motion search from frame to frame both ways (``bidir``) or symmetric about the middle (``bilat``).
        vsbmc: Whether blocks at motion borders are divided.
        search_param: Reach of the motion search in pixels.

    Raises:
        UsageError: An option that the filter does not have.
    """

    name = "minterpolate"

    mc_mode: Literal["obmc", "aobmc"] = "aobmc"
    me_mode: Literal["bidir", "bilat"] = "bidir"
    vsbmc: bool = True
    search_param: int = 32

    def __post_init__(self) -> None:
        if self.mc_mode not in ("obmc", "aobmc") or self.me_mode not in ("bidir", "bilat"):
            raise UsageError(
                f"minterpolate has no mc_mode {self.mc_mode!r} with me_mode {self.me_mode!r}",
                remedy="mc_mode is obmc or aobmc, me_mode is bidir or bilat",
            )
        if not 4 <= self.search_param <= 1024:
            raise UsageError(f"search_param {self.search_param} of minterpolate is not between 4 and 1024")

    def prepare_pair(self, first: Tensor, second: Tensor) -> Callable[[Tensor], Made]:
        """Bring both frames to the filter's 8 bits; its motion search runs anew for each time."""
        low = min(float(first.min()), float(second.min()))
        span = max(max(float(first.max()), float(second.max())) - low, 1e-6)
        bytes_first, bytes_second = (_to_bytes((frame - low) / span) for frame in (first, second))
        difference = (second - first).abs().mean(dim=1, keepdim=True)

        def at(times: Tensor) -> Made:
            t = times.view(-1, 1, 1, 1)
            made = torch.stack([self._film(bytes_first, bytes_second, float(time)) for time in times])
            beyond_blend = (made - torch.lerp(bytes_first.float(), bytes_second.float(), t)) * (span / 255)
            if beyond_blend.shape[1] == 3:
                beyond_blend = torch.einsum("rc,tcij->trij", _TO_RGB, beyond_blend)
            frames = torch.lerp(first, second, t) + beyond_blend
            return Made(frames.clamp(low, low + span), 2 * t * (1 - t) * difference)

        return at

    def _film(self, first: Tensor, second: Tensor, time: float) -> Tensor:
        """Return what the filter makes of two uint8 frames ``(channel, row, column)`` at `time`, as float levels."""
        rows, columns = first.shape[1:]
        lead = _TICKS - round(time * _TICKS)
        if lead in (0, _TICKS):
            return (first if lead else second).float()
        padded = [_padded(frame) for frame in (first, second)]
        shown = [padded[0], padded[0], padded[1], padded[1]]
        outputs = list(self._filtered(shown, [0, lead, lead + _TICKS, lead + 2 * _TICKS]))
        # Outputs come one gap apart from 0 on: the one after the first frame lies `time` after the second.
        return torch.from_numpy(outputs[1][:, :rows, :columns].astype(np.float32))

    def _filtered(self, frames: list[NDArray[np.uint8]], ticks: list[int]) -> Iterator[NDArray[np.uint8]]:
        """Yield the output of the filter at whole gaps for frames ``(channel, row, column)`` dated in ticks."""
        channels, rows, columns = frames[0].shape
        pixels = "gray" if channels == 1 else "yuv444p"
        graph = av.filter.Graph()
        source = graph.add(
            "buffer",
            f"video_size={columns}x{rows}:pix_fmt={pixels}:time_base=1/{_TICKS}:frame_rate=1/1:pixel_aspect=1/1",
        )
        change = graph.add(
            "minterpolate",
            f"fps=1:mi_mode=mci:scd=none:mc_mode={self.mc_mode}:me_mode={self.me_mode}"
            f":vsbmc={int(self.vsbmc)}:search_param={self.search_param}",
        )
        sink = graph.add("buffersink")
        source.link_to(change)
        change.link_to(sink)
        graph.configure()
        for frame, tick in zip(frames, ticks, strict=True):
            picture = av.VideoFrame.from_ndarray(frame[0] if channels == 1 else frame, format=pixels)
            picture.pts, picture.time_base = tick, Fraction(1, _TICKS)
            source.push(picture)
        source.push(None)
        while True:
            try:
                output = sink.pull()
            except (NothingYet, NothingMore):
                return
            if isinstance(output, av.VideoFrame):
                yield output.to_ndarray().astype(np.uint8, copy=False).reshape(channels, rows, columns)


def _to_bytes(frame: Tensor) -> Tensor:
    """Return a frame ``(1, 1 or 3, row, column)`` in [0, 1] as uint8 ``(channel, row, column)``, colour as YUV."""
    values = frame[0].to(torch.float32)
    if len(values) == 3:
        values = torch.einsum("yc,cij->yij", _TO_YUV, values)
        values[1:] += 0.5
    return (values * 255).round().clamp(0, 255).to(torch.uint8)


def _padded(frame: Tensor) -> NDArray[np.uint8]:
    """Return a frame extended by its last row and column to whole blocks."""
    below, right = (max(_SMALLEST_SIDE, -(-side // _BLOCK) * _BLOCK) - side for side in frame.shape[1:])
    extended = F.pad(frame.float(), (0, right, 0, below), mode="replicate").to(torch.uint8)
    return np.ascontiguousarray(extended.numpy())
