"""A leaky ReLU that does not alias: taken at a higher rate, between two filters.

Source: Karras et al., "Alias-free generative adversarial networks", 2021, section 3.2 and appendix C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .fir import Blocks, Pad, block_size, resample, ways_of

_CACHED = 1 << 17  # values between the two filters at a time, so that they stay in a core's cache


def filtered_leaky_relu(
    image: Tensor,
    *,
    up_filter: Tensor | None = None,
    down_filter: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    pad: Pad = (0, 0, 0, 0),
    bias: Tensor | None = None,
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip: bool = False,
) -> Tensor:
    """Apply a leaky ReLU at a higher rate, where the harmonics that it makes do not alias, and return to a lower one.

    In order: the bias is added, the image upsampled by `up_filter` (padded by `pad`, amplitude kept), the leaky ReLU
    times `gain` taken, the result clamped and downsampled by `down_filter`. Without gradients, on a CPU, that is done
    for a few rows at a time, and the larger image is never whole in memory.

    Args:
        image: ``(B, C, H, W)``, floating.
        up_filter: ``(n,)`` or ``(m, n)``; None where `up` is 1.
        down_filter: Alike, for `down`.
        up: Factor to the rate at which the leaky ReLU is taken.
        down: Factor from it to the rate of what returns.
        pad: See :func:`resample`.
        bias: ``(C,)``.
        gain: Positive factor of the leaky ReLU.
        slope: Of its negative side.
        clamp: Largest magnitude; None clamps nothing.
        flip: Correlate instead of convolving with both filters.

    Raises:
        ValueError: Nothing would be left.

    Source: Karras et al., "Alias-free generative adversarial networks", 2021, section 3.2 and appendix C.
    """
    if bias is not None:
        image = image + bias.view(1, -1, 1, 1)
    act = _Activation(gain, slope, math.inf if clamp is None else clamp)
    if up == 1 and up_filter is None:  # zeros stay zeros, so that padding can wait for the filter
        return resample(act(image), down_filter, down=down, pad=pad, flip=flip)
    lines = all(taps is None or taps.ndim == 1 for taps in (up_filter, down_filter))
    tracked = torch.is_grad_enabled() and image.requires_grad
    if lines and not tracked and image.device.type == "cpu" and not torch.compiler.is_compiling():
        first, second = (image.new_ones(1) if taps is None else taps.to(image) for taps in (up_filter, down_filter))
        if not flip:
            first, second = first.flip(0), second.flip(0)
        return _filtered_by_rows(image, act, first * up, second, up=up, down=down, pad=pad)
    larger = resample(image, up_filter, up=up, pad=pad, gain=up**2, flip=flip)
    return resample(act(larger), down_filter, down=down, flip=flip)


@dataclass(frozen=True, slots=True)
class _Activation:
    """``clamp(gain * leaky_relu(x))``."""

    gain: float
    slope: float
    limit: float

    def __call__(self, x: Tensor) -> Tensor:
        if self.slope != 1:
            x = F.leaky_relu(x, self.slope)
        if self.gain != 1:
            x = x * self.gain
        if math.isinf(self.limit):
            return x
        ours = not x.requires_grad and (self.slope != 1 or self.gain != 1)
        return x.clamp_(-self.limit, self.limit) if ours else x.clamp(-self.limit, self.limit)

    def amplified_(self, x: Tensor) -> None:
        """Apply it in place to what has the gain already."""
        if self.slope != 1:
            F.leaky_relu_(x, self.slope)
        if not math.isinf(self.limit):
            x.clamp_(-self.limit, self.limit)


def _filtered_by_rows(
    image: Tensor, act: _Activation, first: Tensor, second: Tensor, *, up: int, down: int, pad: Pad
) -> Tensor:
    """Take the whole of :func:`filtered_leaky_relu`, a few rows at a time; filters are correlated, without gradients.

    Blocks of rows are upsampled in height. For some rows after the other follow, in the cache, upsampling in width,
    activation and downsampling in width. What that leaves is downsampled in height.
    """
    batch, channels = image.shape[:2]
    across, along = ways_of(image, first, (up, up), (1, 1), pad)
    between = image.new_empty(()).expand(batch, channels, along.made, across.made)
    narrower, lower = ways_of(between, second, (1, 1), (down, down), (0, 0, 0, 0))
    made = block_size(up, down)
    gained = first * act.gain**0.5  # a leaky ReLU of what is amplified is that of what is not, amplified
    heighten, widen = (Blocks.of(way, gained, made=made) for way in (along, across))
    narrow, shorten = (Blocks.of(way, second, made=made // down) for way in (narrower, lower))
    found = []
    for picture in image.permute(0, 2, 3, 1):
        rows = _rows_between(picture, act, heighten=heighten, widen=widen, narrow=narrow, width=narrower.made)
        lines = shorten.over(rows, number=1, run=narrower.made * channels)
        found.append(lines[0, : lower.made].view(lower.made, narrower.made, channels))
    return (found[0][None] if batch == 1 else torch.stack(found)).permute(0, 3, 1, 2)


def _rows_between(
    picture: Tensor, act: _Activation, *, heighten: Blocks, widen: Blocks, narrow: Blocks, width: int
) -> Tensor:
    """Return ``(H, W, C)``, upsampled in height and filtered in width, as flat rows of `width`, an overhang after."""
    channels, made, stretch = picture.shape[2], heighten.made, widen.count * widen.step
    padded = picture.new_zeros(heighten.count * heighten.step + heighten.overhang, stretch, channels)
    _place(picture, padded, heighten.first, widen.first)
    rows = picture.new_zeros(heighten.count * made + narrow.overhang, width, channels)
    each = max(1, _CACHED // (widen.count * made * channels))
    higher = picture.new_zeros((made * stretch + widen.overhang) * channels)
    larger = picture.new_zeros((each * widen.count * made + narrow.overhang) * channels)
    block_of = higher[: made * stretch * channels].view(made, stretch * channels)
    for block in range(heighten.count):
        start = block * heighten.step
        torch.mm(heighten.matrix, padded[start : start + heighten.wide].flatten(1), out=block_of)
        for row in range(0, made, each):
            number = min(each, made - row)
            wide = larger[: number * widen.count * made * channels].view(number * widen.count, made, channels)
            torch.bmm(
                widen.matrix.expand(number * widen.count, -1, -1),
                widen.taken(higher, number * widen.count, channels, row * stretch * channels),
                out=wide,
            )
            act.amplified_(wide)
            again = torch.bmm(
                narrow.matrix.expand(number * widen.count, -1, -1),
                narrow.taken(larger, number * widen.count, channels),
            )
            kept = again.view(number, widen.count * narrow.made, channels)[:, :width]
            rows[block * made + row : block * made + row + number] = kept
    return rows.flatten()


def _place(picture: Tensor, padded: Tensor, top: int, left: int) -> None:
    """Copy ``(H, W, C)`` so that its row `top` and column `left` come first; what lies outside is left out."""
    rows, columns = (
        slice(max(start, 0), min(size, start + room))
        for start, size, room in zip((top, left), picture.shape[:2], padded.shape[:2], strict=True)
    )
    part = picture[rows, columns]
    if part.numel():
        padded[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
