"""Arithmetic per channel gives the same in either memory layout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from scanweave.ops.channels import add_to_channels_, as_laid_out, instance_norm, is_channels_last


@pytest.fixture(params=[(2, 10, 16, 24), (1, 3, 5, 7)])
def images(request) -> tuple[torch.Tensor, torch.Tensor]:
    plain = 3 + torch.randn(request.param, generator=torch.Generator().manual_seed(1))
    return plain, plain.contiguous(memory_format=torch.channels_last)


def test_norm(images):
    weight, bias = torch.rand(2, images[0].shape[1], generator=torch.Generator().manual_seed(2))
    expected = F.instance_norm(images[0], weight=weight, bias=bias)
    for image in images:
        made = instance_norm(image, weight, bias)
        torch.testing.assert_close(made, expected, atol=2e-6, rtol=0)
        assert is_channels_last(made) == is_channels_last(image)


def test_norm_of_half_precision_is_taken_in_float32(images):
    """A mean of 1000 over values of one bfloat16 step would be lost in bfloat16."""
    weight, bias = torch.rand(2, images[0].shape[1], generator=torch.Generator().manual_seed(2))
    image = (1000 * images[1]).bfloat16().contiguous(memory_format=torch.channels_last)
    expected = F.instance_norm(image.float().contiguous(), weight=weight, bias=bias)
    made = instance_norm(image, weight, bias)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), expected, atol=1e-2, rtol=1e-2)


def test_addition(images):
    values = torch.rand(*images[0].shape[:2], 1, 1, generator=torch.Generator().manual_seed(3))
    expected = images[0] + values
    for image in images:
        assert torch.equal(add_to_channels_(image, values), expected)
        assert torch.equal(image, expected)


def test_one_channel_is_described_as_either():
    image, kernel = torch.rand(2, 1, 6, 8), torch.rand(4, 4, 3, 3)
    laid_out = as_laid_out(image, kernel.contiguous(memory_format=torch.channels_last))
    assert torch.equal(laid_out, image)
    assert laid_out.data_ptr() == image.data_ptr()
    assert laid_out.stride() == (48, 1, 8, 1)
    assert as_laid_out(image, kernel) is image
