"""Finite impulse responses on images: low-pass design, and resampling by rational factors.

Resampling along an axis is a product with a band matrix whose rows repeat. It is taken in blocks that all share one
small matrix, over a view in which neighbouring blocks overlap: the zeros that upsampling would insert and the samples
that downsampling would drop are in no product, and nothing but a matrix product is asked of the device. Images are
worked on channels last, so that an axis is followed by runs of all channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Pad = tuple[int, int, int, int]
"""Samples added left, right, at the top and at the bottom; negative ones are cropped."""

_BLOCK = 32  # samples at the higher rate that one product makes or takes
_FEW = 8  # channels, below which the width is worked on with columns as runs


def kaiser_lowpass(taps: int, *, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor | None:
    """Design a low-pass filter: a sinc within a Kaiser window, of sum 1.

    Args:
        taps: Its length; 1 is no filter at all.
        cutoff: Frequency of half amplitude.
        width: Width of the transition, in the unit of `cutoff`.
        rate: Samples per unit, twice the highest frequency.
        radial: Whether it has one response in all directions of the plane, ``(taps, taps)``, instead of one per axis.

    Returns:
        ``(taps,)`` or ``(taps, taps)``, float32; None for one tap.

    Raises:
        ValueError: A radial filter of an odd length, whose middle has no value.

    Source: Kaiser, "Nonrecursive digital filter design using the I0-sinh window function", 1974; Karras et al.,
        "Alias-free generative adversarial networks", 2021, appendix C.1.
    """
    if taps == 1:
        return None
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    places = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    inside = (1 - (places / ((taps - 1) / 2)).square()).clamp(min=0).sqrt()
    window = torch.special.i0(_kaiser_beta(attenuation) * inside)  # its scale cancels
    if radial:
        if taps % 2:
            raise ValueError(f"a radial filter needs an even number of taps, not {taps}")
        radius = torch.hypot(places[:, None], places[None, :]) / rate
        response = torch.special.bessel_j1(2 * math.pi * cutoff * radius) / (math.pi * radius)
        response = response * torch.outer(window, window)
    else:
        response = torch.sinc(2 * cutoff / rate * places) * window
    normal: Tensor = response / response.sum()
    return normal.float()


def _kaiser_beta(attenuation: float) -> float:
    """Return the shape of the window that attenuates by so many dB."""
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return float(0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21))
    return 0.0


def normal_filter(taps: list[float], *, gain: float = 1.0, flip: bool = False) -> Tensor:
    """Return weights as a filter of sum `gain` over the plane: ``(n,)`` from 8 taps on, else their product ``(n, n)``.

    Example:
        >>> normal_filter([1, 1]).tolist()
        [[0.25, 0.25], [0.25, 0.25]]
    """
    line = torch.tensor(taps, dtype=torch.float32)
    filter_ = line if len(taps) >= 8 else torch.outer(line, line)
    filter_ = filter_ / filter_.sum()
    turned = filter_.flip(tuple(range(filter_.ndim))) if flip else filter_
    return turned * float(gain ** (filter_.ndim / 2))


def fading_kernel(sigma: float) -> Tensor:
    """Return weights ``2^-(k / sigma)^2`` for ``|k| <= floor(3 sigma)``, of sum 1: half at a distance of `sigma`.

    Source: Karras et al., "Alias-free generative adversarial networks", 2021, section 4 (blur that training fades out).
    """
    reach = math.floor(3 * sigma)
    weights = torch.arange(-reach, reach + 1, dtype=torch.float32).div(sigma).square().neg().exp2()
    return weights / weights.sum()


def blur(image: Tensor, *, sigma: float) -> Tensor:
    """Blur ``(B, C, H, W)`` by :func:`fading_kernel` along both axes, zeros around it; below 1/3 pixel not at all."""
    reach = math.floor(3 * sigma)
    if reach == 0:
        return image
    return resample(image, fading_kernel(sigma).to(image), pad=(reach, reach, reach, reach))


def resample(
    image: Tensor,
    taps: Tensor | None = None,
    *,
    up: int | tuple[int, int] = 1,
    down: int | tuple[int, int] = 1,
    pad: Pad = (0, 0, 0, 0),
    gain: float = 1.0,
    flip: bool = False,
) -> Tensor:
    """Insert zeros, pad, filter and decimate, computing neither with the zeros nor what is dropped.

    Args:
        image: ``(B, C, H, W)``, floating.
        taps: A filter ``(n,)`` for each axis, or one of the plane ``(m, n)``; None is the identity.
        up: ``up - 1`` zeros follow each sample; ``(x, y)`` where axes differ.
        down: Every `down`-th sample is kept, from the first; ``(x, y)`` where axes differ.
        pad: In samples after the zeros were inserted.
        gain: Of the plane, on top of the filter's own.
        flip: Correlate instead of convolving.

    Returns:
        ``(B, C, H', W')`` with ``H' = (H up + top + bottom - m) // down + 1``; nothing is assumed beyond the padding.

    Raises:
        ValueError: Nothing would be left, or the filter is neither of a line nor of a plane.
    """
    ups = up if isinstance(up, tuple) else (up, up)
    downs = down if isinstance(down, tuple) else (down, down)
    if taps is None:
        if (*ups, *downs) == (1, 1, 1, 1):
            return (F.pad(image, pad) if any(pad) else image) * (1.0 if gain == 1 else gain)
        taps = image.new_ones(1)
    if taps.ndim not in (1, 2):
        raise ValueError(f"a filter of one axis or two was expected, not of shape {tuple(taps.shape)}")
    taps = taps.to(image)
    ways = ways_of(image, taps, ups, downs, pad)
    turned = taps if flip else taps.flip(tuple(range(taps.ndim)))
    if taps.ndim == 2:
        return _in_plane(image, turned * gain, *ways)
    line = turned * gain**0.5
    across, along = ways
    if across.down > across.up:  # the axis that follows has less to do
        return _along_rows(_along_columns(image, line, across), line, along)
    return _along_columns(_along_rows(image, line, along), line, across)


# --- one axis


@dataclass(frozen=True, slots=True)
class Way:
    """How an axis is resampled: ``out[o] = sum over k of taps[k] zero_stuffed[o down + k - before]``.

    Attributes:
        up: Samples at the rate of the filter for one that comes.
        down: The same for one that goes.
        before: Zeros before the first sample, at that rate.
        taps: Length of the filter.
        size: Samples that come.
        made: Samples that go.
    """

    up: int
    down: int
    before: int
    taps: int
    size: int
    made: int

    def back(self) -> Way:
        """Return the way of the transposed matrix, with the filter reversed."""
        return Way(self.down, self.up, self.taps - 1 - self.before, self.taps, self.made, self.size)


def ways_of(image: Tensor, taps: Tensor, ups: tuple[int, int], downs: tuple[int, int], pad: Pad) -> tuple[Way, Way]:
    """Return the ways of x and y.

    Raises:
        ValueError: Nothing would be left.
    """
    left, right, top, bottom = pad
    found = []
    for axis, (before, after) in enumerate(((left, right), (top, bottom))):
        size, length = image.shape[3 - axis], taps.shape[-1 if axis == 0 else 0]
        made = (size * ups[axis] + before + after - length) // downs[axis] + 1
        if made < 1:
            raise ValueError(f"{size} samples, {before} and {after} more, are too few for a filter of {length}")
        found.append(Way(ups[axis], downs[axis], before, length, size, made))
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Blocks:
    """The band matrix of a way as blocks along its diagonal, each a copy of `matrix`.

    Attributes:
        matrix: ``(P, K)``: P samples of the output from K of the input.
        step: Samples of the input from block to block, at most K.
        first: Where the first block begins in the input; negative ones are zeros before it.
        count: How many blocks it takes for the output.
    """

    matrix: Tensor
    step: int
    first: int
    count: int

    @classmethod
    def of(cls, way: Way, taps: Tensor, *, made: int) -> Blocks:
        """Return blocks of `made` samples, a multiple of ``up / gcd(up, down)``."""
        step = made * way.down // way.up
        first = -(way.before // way.up)
        last = ((made - 1) * way.down - way.before + way.taps - 1) // way.up
        wide = max(last - first + 1, step)
        rows, columns = torch.arange(made, device=taps.device), torch.arange(wide, device=taps.device)
        tap = (columns + first) * way.up + way.before - rows[:, None] * way.down
        matrix = torch.where((tap >= 0) & (tap < way.taps), taps[tap.clamp(0, way.taps - 1)], 0)
        needed = ((way.made - 1) * way.down - way.before + way.taps - 1) // way.up - first + 1
        return cls(matrix, step, first, max(-(-way.made // made), -(-needed // step)))

    @property
    def made(self) -> int:
        """P."""
        return self.matrix.shape[0]

    @property
    def wide(self) -> int:
        """K."""
        return self.matrix.shape[1]

    @property
    def overhang(self) -> int:
        """Samples that a block takes beyond its step; those after the last block must be finite."""
        return self.wide - self.step

    def laid_out(self, lines: Tensor) -> Tensor:
        """Copy ``(N, size, run)`` to where the blocks look for it, zeros around: flat, of N stretches and an overhang.

        A stretch is as long as all steps; the samples that the last needed block takes beyond it are zeros to it.
        """
        number, size, run = lines.shape
        stretch = self.count * self.step
        flat = lines.new_zeros((number * stretch + self.overhang) * run)
        start, stop = max(self.first, 0), min(size, self.first + stretch)
        whole = flat[: number * stretch * run].view(number, stretch, run)
        if stop > start:
            whole[:, start - self.first : stop - self.first] = lines[:, start:stop]
        return flat

    def over(self, flat: Tensor, *, number: int, run: int) -> Tensor:
        """Multiply `number` stretches of :meth:`laid_out`: ``(number, count made, run)``."""
        taken = self.taken(flat, number * self.count, run)
        return torch.bmm(self.matrix.expand(len(taken), -1, -1), taken).view(number, self.count * self.made, run)

    def taken(self, flat: Tensor, number: int, run: int, offset: int = 0) -> Tensor:
        """Return what each of `number` blocks takes, a view of which neighbours overlap: ``(number, wide, run)``.

        `flat` begins its own memory.
        """
        return flat.as_strided((number, self.wide, run), (self.step * run, run, 1), offset)


def block_size(*factors: int) -> int:
    """Return how many samples at the higher rate a block has: a multiple of all factors."""
    unit = math.lcm(*factors)
    return unit * max(1, _BLOCK // unit)


class _AlongLines(torch.autograd.Function):
    """Resampling of ``(N, size, run)`` along its middle axis; its gradient is resampling too, any number of times."""

    @staticmethod
    def forward(ctx: Any, lines: Tensor, taps: Tensor, way: Way) -> Tensor:
        ctx.way = way
        ctx.save_for_backward(taps)
        blocks = Blocks.of(way, taps, made=block_size(way.up, way.down) // way.down)
        number, _, run = lines.shape
        return blocks.over(blocks.laid_out(lines), number=number, run=run)[:, : way.made]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None]:
        (taps,) = ctx.saved_tensors
        return along_lines(gradients[0], taps.flip(0), ctx.way.back()), None, None


def along_lines(lines: Tensor, taps: Tensor, way: Way) -> Tensor:
    """Resample ``(N, size, run)`` along its middle axis: ``(N, made, run)``."""
    made: Tensor = _AlongLines.apply(lines, taps, way)  # type: ignore[no-untyped-call]
    return made


def _along_rows(image: Tensor, taps: Tensor, way: Way) -> Tensor:
    """Resample ``(B, C, H, W)`` along H."""
    batch, channels, _, width = image.shape
    lines = image.permute(0, 2, 3, 1).reshape(batch, way.size, width * channels)
    return along_lines(lines, taps, way).view(batch, way.made, width, channels).permute(0, 3, 1, 2)


def _along_columns(image: Tensor, taps: Tensor, way: Way) -> Tensor:
    """Resample ``(B, C, H, W)`` along W."""
    batch, channels, height, _ = image.shape
    if channels < _FEW:
        lines = image.permute(0, 3, 1, 2).reshape(batch, way.size, channels * height)
        return along_lines(lines, taps, way).view(batch, way.made, channels, height).permute(0, 2, 3, 1)
    lines = image.permute(0, 2, 3, 1).reshape(batch * height, way.size, channels)
    return along_lines(lines, taps, way).view(batch, height, way.made, channels).permute(0, 3, 1, 2)


# --- both axes


def _in_plane(image: Tensor, taps: Tensor, across: Way, down: Way) -> Tensor:
    """Resample by a filter of the plane, each phase of the output by its own part of the filter."""
    batch, channels = image.shape[:2]
    planes = image.reshape(batch * channels, 1, *image.shape[2:])
    found = planes.new_zeros(batch * channels, 1, down.made, across.made)
    for below, kept_y, pad_y, step_y in _phases(down):
        for beside, kept_x, pad_x, step_x in _phases(across):
            part = taps[kept_y, kept_x]
            window = F.pad(planes, (*pad_x(part.shape[1]), *pad_y(part.shape[0])))
            found[..., below, beside] = F.conv2d(window, part[None, None], stride=(step_y, step_x))
    return found.view(batch, channels, down.made, across.made)


def _phases(way: Way) -> list[tuple[slice, slice, Any, int]]:
    """Return, for each phase: its outputs, its taps, the padding that its so many taps need, and its step."""
    period, step = way.up // math.gcd(way.up, way.down), way.down // math.gcd(way.up, way.down)
    found = []
    for phase in range(min(period, way.made)):
        skipped = (way.before - phase * way.down) % way.up
        if skipped >= way.taps:
            continue  # only zeros lie below the filter
        start = (phase * way.down - way.before + skipped) // way.up
        reach = (-(-(way.made - phase) // period) - 1) * step

        def pad(length: int, start: int = start, reach: int = reach) -> tuple[int, int]:
            return -start, start + reach + length - way.size

        found.append((slice(phase, None, period), slice(skipped, None, way.up), pad, step))
    return found
