"""Convolutions of small maps with very many channels, as one matrix product.

Deep in a U-Net a kernel holds more numbers than the map that it makes. oneDNN, which runs PyTorch's convolutions on a
CPU, then spends as long on rearranging the kernel, at every call, as on the convolution. Its matrix product takes the
kernel as it lies. Kernels must lie channels last (`scanweave.models.channels_last`); results differ by rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .eager import plain_cpu

_OUTWEIGHS = 8  # times the numbers of what it makes; below this the product was no faster


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` that is a matrix product in plain inference on a CPU where its kernel outweighs what it makes.

    It has neither groups nor dilation, and pads with zeros.
    """

    def __init__(self, channels_in: int, channels_out: int, side: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels_in, channels_out, side, stride=stride, padding=padding)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(B, channels_in, h, w)`` to ``(B, channels_out, ...)``."""
        (tall, wide), (down, right) = self.kernel_size, self.stride
        above, beside = (int(side) for side in self.padding)
        rows = (input.shape[2] + 2 * above - tall) // down + 1
        columns = (input.shape[3] + 2 * beside - wide) // right + 1
        if not _pays(self, input, rows * columns):
            return super().forward(input)
        tokens = F.pad(input, (beside, beside, above, above)).permute(0, 2, 3, 1)
        windows = tokens.unfold(1, tall, down).unfold(2, wide, right).permute(0, 1, 2, 4, 5, 3)
        kernel = self.weight.permute(0, 2, 3, 1).flatten(1)
        made = linear(windows.reshape(-1, kernel.shape[1]), kernel, self.bias)
        return made.view(input.shape[0], rows, columns, -1).permute(0, 3, 1, 2)


class Doubling(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` of 4 x 4 that doubles the size; a matrix product where `Convolution` is one."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 4, stride=2, padding=1)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map ``(B, channels_in, h, w)`` to ``(B, channels_out, 2h, 2w)``."""
        batch, _, rows, columns = input.shape
        if output_size is not None or not _pays(self, input, 4 * rows * columns):
            return super().forward(input, output_size)
        kernel = self.weight.permute(0, 2, 3, 1).flatten(1)
        taps = linear(input.permute(0, 2, 3, 1).flatten(0, 2), kernel.t(), None)
        taps = taps.view(batch, rows, columns, 2, 2, 2, 2, -1)  # tap 2 a + i of a pixel falls on pixel a, half i
        made = taps.new_zeros(batch, rows + 1, 2, columns + 1, 2, taps.shape[-1])
        for a in (0, 1):
            for b in (0, 1):
                made[:, a : a + rows, :, b : b + columns] += taps[:, :, :, a, :, b].permute(0, 1, 3, 2, 4, 5)
        made = made.flatten(3, 4).flatten(1, 2)[:, 1:-1, 1:-1]
        return (made if self.bias is None else made + self.bias).permute(0, 3, 1, 2)


class Linear(nn.Linear):
    """``nn.Linear`` by :func:`linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(..., features_in)`` to ``(..., features_out)``."""
        return linear(input, self.weight, self.bias)


def _pays(layer: nn.Conv2d | nn.ConvTranspose2d, input: Tensor, pixels: int) -> bool:
    """Whether a layer that makes maps of so many pixels is better a matrix product."""
    weight = layer.weight
    if not plain_cpu(input, weight):  # asked first: what compares sizes would bind an exported graph to them
        return False
    made = input.shape[0] * pixels * layer.out_channels
    return (
        made > 0
        and weight.numel() >= _OUTWEIGHS * made
        and input.shape[1] == layer.in_channels
        and weight.is_contiguous(memory_format=torch.channels_last)
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply a linear map as ``F.linear`` does: ``(..., n)`` to ``(..., m)`` by ``(m, n)``.

    In plain inference on a CPU it is oneDNN's product, which is faster than that of BLAS on processors not made by
    the maker of MKL (a third on an AMD EPYC), where PyTorch has it and it is not switched off.
    """
    if _has_product() and plain_cpu(x, weight):
        dense = None if bias is None else bias.contiguous()  # oneDNN would read past the strides of a bias
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, dense, "none", [], "")
        return made
    return F.linear(x, weight, bias)


def _has_product() -> bool:
    """Whether this PyTorch was built with oneDNN's product, and may use it."""
    return bool(torch.backends.mkldnn.enabled) and hasattr(torch.ops.mkldnn, "_linear_pointwise")
