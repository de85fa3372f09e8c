"""Modulated deformable convolution: each tap of a kernel reads where it is told to, as strongly as it is told to.

Zhu et al., "Deformable ConvNets v2: more deformable, better results", CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .convolution import linear

_RING = 2
"""Zeros around an image. A tap read further out meets only them, wherever it is pulled in to."""

_COLUMNS = 8 * 2**20
"""Values of columns that are held at once without gradients on a CPU."""


@dataclass(frozen=True, slots=True)
class Taps:
    """Where the taps of a kernel stand before they are moved.

    Attributes:
        kernel: Rows and columns of the kernel.
        stride: Pixels between two places of it.
        padding: Pixels beyond each side at which it begins.
        dilation: Pixels between two taps.
    """

    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def count(self) -> int:
        """How many there are."""
        return self.kernel[0] * self.kernel[1]

    def standing(self, size: tuple[int, int], like: Tensor) -> Tensor:
        """Return where they stand for a result of `size`: ``(P, K, 2)``, rows before columns, in pixels."""
        starts = [torch.arange(n, dtype=like.dtype, device=like.device) * self.stride - self.padding for n in size]
        steps = [torch.arange(n, dtype=like.dtype, device=like.device) * self.dilation for n in self.kernel]
        corners = torch.stack(torch.meshgrid(*starts, indexing="ij"), dim=-1).view(-1, 1, 2)
        return corners + torch.stack(torch.meshgrid(*steps, indexing="ij"), dim=-1).view(1, -1, 2)


def deform_conv2d(
    image: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve with taps that are moved and weighted at each place.

    With taps ``k`` of the kernel at rows ``i`` and columns ``j``, and input channel ``c`` in offset group ``g(c)``::

        out[o, p] = bias[o] + sum over c, k of weight[o, c, k] * mask[g, k, p] * S(image[c], p + k + offset[g, k, p])

    S is bilinear between pixels, all beyond the image being 0, so that it fades out over the outermost pixel.

    Args:
        image: ``(B, C, H, W)``, floating.
        offset: ``(B, 2 G K, Ho, Wo)`` in pixels, for each of G groups of neighbouring channels and each of K taps the
            shift along rows, then along columns. Infinite or undefined ones make undefined results.
        mask: ``(B, G K, Ho, Wo)``.
        weight: ``(O, C / groups, kh, kw)``.
        bias: ``(O,)``.
        stride: Of the places, in pixels.
        padding: Pixels beyond each side.
        dilation: Between taps, in pixels.
        groups: Of channels that are convolved apart.

    Returns:
        ``(B, O, Ho, Wo)`` in the dtype of a convolution of `image`, laid out channels last. Places are in float32 at
        least: half precision cannot name the pixels of a large image.

    Raises:
        ValueError: Shapes that do not go together.

    Source: Zhu et al., 2019, equation 1.
    """
    taps = Taps((weight.shape[2], weight.shape[3]), stride, padding, dilation)
    deformed = _check(image, offset, mask, weight, taps, groups)
    tracked = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (image, offset, mask))
    held = image.shape[0]
    if not tracked and image.device.type == "cpu":
        held = max(1, _COLUMNS // (image.shape[1] * taps.count * offset.shape[2] * offset.shape[3]))
    few = zip(torch.split(image, held), torch.split(offset, held), torch.split(mask, held), strict=True)
    parts = [_product(_sample(x, to, by, deformed, taps), weight, bias, deformed, groups) for x, to, by in few]
    made = parts[0] if len(parts) == 1 else torch.cat(parts)
    return made.view(*made.shape[:1], *offset.shape[2:], -1).permute(0, 3, 1, 2)


def _check(image: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, taps: Taps, groups: int) -> int:
    """Return in how many groups channels are deformed.

    Raises:
        ValueError: Shapes that do not go together.
    """
    channels = image.shape[1] if image.ndim == 4 else 0
    if not channels or weight.shape[1] * groups != channels or weight.shape[0] % groups:
        raise ValueError(f"a kernel {tuple(weight.shape)} in {groups} groups does not fit {tuple(image.shape)}")
    deformed = mask.shape[1] // taps.count
    reach = [taps.dilation * (side - 1) for side in taps.kernel]
    pairs = zip(image.shape[2:], reach, strict=True)
    sides = [(side + 2 * taps.padding - length - 1) // taps.stride + 1 for side, length in pairs]
    wanted = (image.shape[0], deformed * taps.count, *sides)
    if not deformed or channels % deformed or tuple(mask.shape) != wanted or min(sides) < 1:
        raise ValueError(f"a mask {tuple(mask.shape)} does not fit {tuple(image.shape)}: {wanted} is needed")
    if tuple(offset.shape) != (wanted[0], 2 * wanted[1], *sides):
        raise ValueError(f"offsets {tuple(offset.shape)} do not go with a mask {tuple(mask.shape)}: two for each value")
    return deformed


def _product(columns: Tensor, weight: Tensor, bias: Tensor | None, deformed: int, groups: int) -> Tensor:
    """Multiply columns ``(B, P, G K c)`` by the kernel: ``(B, P, O)``."""
    outputs, inputs = weight.shape[:2]
    count = weight[0, 0].numel()
    if groups == 1:
        flat = weight.view(outputs, deformed, -1, count).transpose(2, 3).reshape(outputs, -1)
        return linear(columns, flat, bias)
    batch, places = columns.shape[:2]
    by_channel = columns.view(batch, places, deformed, count, -1).transpose(3, 4)
    apart = by_channel.reshape(batch, places, groups, inputs * count).transpose(1, 2)
    made = apart @ weight.view(groups, -1, inputs * count).transpose(1, 2)
    joined = made.transpose(1, 2).flatten(2)
    return joined if bias is None else joined + bias


def _sample(image: Tensor, offset: Tensor, mask: Tensor, deformed: int, taps: Taps) -> Tensor:
    """Read the taps, weighted by the mask, as columns ``(B, P, G K c)``."""
    batch, channels = image.shape[:2]
    exact = torch.promote_types(image.dtype, torch.float32)
    ring = F.pad(image.to(exact), (_RING, _RING, _RING, _RING))
    table = ring.permute(0, 2, 3, 1).reshape(-1, channels // deformed)
    size = (offset.shape[2], offset.shape[3])
    offset = offset.to(exact).permute(0, 2, 3, 1).reshape(batch, -1, deformed * taps.count, 2)
    mask = mask.to(exact).permute(0, 2, 3, 1).reshape(batch, -1, deformed * taps.count)
    first, part = _placed(offset, deformed, taps, ring.shape, size)
    below, right = part[..., 0] * mask, part[..., 1]
    above = mask - below
    corners = (above * (1 - right), above * right, below * (1 - right), below * right)
    steps = [step * deformed for step in (0, 1, ring.shape[3], ring.shape[3] + 1)]
    shares = torch.stack(corners, dim=-1).view(-1, 4)
    read: Tensor = _Read.apply(table, first.flatten(), shares, steps)  # type: ignore[no-untyped-call]
    return read.view(batch, offset.shape[1], -1).to(image.dtype)


def _placed(
    offset: Tensor, deformed: int, taps: Taps, ring: torch.Size, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return where taps go.

    Args:
        offset: ``(B, P, G K, 2)`` in pixels, rows before columns.
        deformed: Offset groups G.
        taps: Where they stand.
        ring: Shape of the images with zeros around, ``(B, C, H + 4, W + 4)``.
        size: Rows and columns of the result.

    Returns:
        The row of the table of pixels and offset groups that is to the upper left of each, ``(B, P, G K)``, and how far
        each is from there, ``(B, P, G K, 2)``, in [0, 1).
    """
    batch, _, row, _ = offset.shape
    height, width = ring[2:]
    kind = torch.int32 if batch * height * width * deformed < 2**31 else torch.int64
    moved = offset + taps.standing(size, offset).repeat(1, deformed, 1)
    whole = moved.detach().floor()
    far = torch.tensor((height - _RING, width - _RING), dtype=kind, device=offset.device).repeat(row, 1)
    at = torch.clamp(whole.to(kind), torch.full_like(far, -_RING), far - _RING)
    image = torch.arange(batch, dtype=kind, device=offset.device).view(-1, 1, 1) * (height * width)
    group = torch.arange(deformed, dtype=kind, device=offset.device).repeat_interleave(taps.count)
    pixel = at[..., 0].mul(width).add_(at[..., 1]).add_(image + _RING * (width + 1))
    return pixel.mul_(deformed).add_(group), moved - whole


class _Read(torch.autograd.Function):
    """Sums of four rows of a table, with gradients that are sums in one fixed order too.

    `embedding_bag` reads rows of neighbouring channels at once, in place of a pass of grid sampling per channel. Its
    own gradient of the table sorts all reads; here they are sorted by their first rows, which the others follow.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, first: Tensor, shares: Tensor, steps: list[int]) -> Tensor:
        ctx.save_for_backward(table, first, shares)
        ctx.steps = steps
        # Detached, since `embedding_bag` would keep for its own gradient what is not needed for this one.
        return F.embedding_bag(_rows(first, steps), table.detach(), per_sample_weights=shares.detach(), mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        table, first, shares = ctx.saved_tensors
        slope = slope.contiguous()
        of_table = _of_table(slope, table, first, shares, ctx.steps) if ctx.needs_input_grad[0] else None
        of_shares = _of_shares(slope, table, first, ctx.steps) if ctx.needs_input_grad[2] else None
        return of_table, None, of_shares, None


def _rows(first: Tensor, steps: list[int]) -> Tensor:
    """Return the four rows of each read, ``(N, 4)``."""
    return torch.stack([first + step for step in steps], dim=-1)


def _of_table(slope: Tensor, table: Tensor, first: Tensor, shares: Tensor, steps: list[int]) -> Tensor:
    """Return the gradient of a table from that of the sums ``(N, c)``."""
    ordered, order = torch.sort(first)
    starts = torch.searchsorted(ordered, torch.arange(len(table), dtype=first.dtype, device=first.device))
    made = torch.zeros_like(table)
    for step, share in zip(steps, shares.index_select(0, order).unbind(1), strict=True):
        given = F.embedding_bag(order, slope, starts, per_sample_weights=share.contiguous(), mode="sum")
        made[step:] += given[: len(table) - step]
    return made


def _of_shares(slope: Tensor, table: Tensor, first: Tensor, steps: list[int]) -> Tensor:
    """Return the gradient of the shares, ``(N, 4)``, from that of the sums ``(N, c)``: as `embedding_bag` has it."""
    rows = _rows(first, steps)
    sums = torch.arange(len(rows), dtype=rows.dtype, device=rows.device)
    given: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        slope, table, rows.flatten(), sums * 4, sums.repeat_interleave(4), 0
    )
    return given.view(rows.shape)
