"""Convolutions as matrix products: the same numbers as PyTorch's own, where they are taken, and where they are not."""

import warnings

import pytest
import torch
from torch import nn

from scanweave.ops import convolution
from scanweave.ops.convolution import Convolution, Doubling, Linear, linear


@pytest.fixture
def products(monkeypatch):
    """Count the matrix products."""
    taken = []
    monkeypatch.setattr(convolution, "linear", lambda *call: taken.append(1) or linear(*call))
    return taken


def twins(ours, theirs):
    theirs.load_state_dict(ours.state_dict())
    ours.weight.data = ours.weight.data.contiguous(memory_format=torch.channels_last)
    return ours, theirs


@pytest.mark.parametrize(
    ("taps", "stride", "padding", "size"), [(3, 1, 1, (5, 4)), (3, 2, 1, (6, 7)), (1, 1, 0, (3, 2))]
)
def test_a_convolution_is_a_product_with_the_same_result(products, monkeypatch, taps, stride, padding, size):
    monkeypatch.setattr(convolution, "_OUTWEIGHS", 0)
    options = {"stride": stride, "padding": padding}
    ours, theirs = twins(Convolution(40, 72, taps, **options), nn.Conv2d(40, 72, taps, **options))
    x = torch.rand(2, 40, *size)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=2e-6, rtol=1e-5)
    assert products == [1]


def test_doubling_is_a_product_with_the_same_result(products):
    ours, theirs = twins(Doubling(96, 24), nn.ConvTranspose2d(96, 24, 4, stride=2, padding=1))
    x = torch.rand(2, 96, 3, 2)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=2e-6, rtol=1e-5)
    assert products == [1]


def test_a_product_is_taken_only_where_a_kernel_that_lies_channels_last_outweighs_the_map(products):
    layer = Convolution(32, 64, 3, padding=1)
    with torch.no_grad():
        layer(torch.rand(1, 32, 2, 2))
        layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
        layer(torch.rand(1, 32, 16, 16))
        assert products == []
        layer(torch.rand(1, 32, 2, 2))
    assert products == [1]


def test_what_records_gradients_takes_the_operators_that_everybody_knows(products):
    layer = Convolution(32, 64, 3, padding=1)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    x = torch.rand(1, 32, 2, 2, requires_grad=True)
    layer(x).sum().backward()
    assert products == []
    assert x.grad is not None


@pytest.mark.parametrize("layer", [Convolution(64, 32, 3, padding=1), Doubling(64, 4)])
def test_what_is_no_map_of_these_channels_is_answered_as_by_pytorch(layer):
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert layer(torch.rand(0, 64, 2, 2)).shape[:2] == (0, layer.out_channels)
        for channels in (32, 128):  # rows of other channels would fit a product all the same
            with pytest.raises(RuntimeError, match="weight of size"):
                layer(torch.rand(2, channels, 2, 2))


def test_a_traced_convolution_is_not_bound_to_a_size():
    """Also where the size that it is traced at would be a product."""
    layer = Convolution(32, 64, 3, padding=1)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    small, large = torch.rand(1, 32, 2, 3), torch.rand(1, 32, 33, 20)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)  # a size was compared
        torch.testing.assert_close(torch.jit.trace(layer, small, check_trace=False)(large), layer(large))


def test_tangents_pass_through_without_gradients():
    weight, x, along = torch.rand(4, 5), torch.rand(2, 5), torch.rand(2, 5)
    with torch.no_grad():
        made, tangent = torch.func.jvp(lambda x: linear(x, weight, None), (x,), (along,))
        turned = torch.func.jacfwd(lambda x: linear(x, weight, None))(x[0])
    torch.testing.assert_close(made, x @ weight.t())
    torch.testing.assert_close(tangent, along @ weight.t())
    torch.testing.assert_close(turned, weight)


def test_biases_of_any_stride_are_added():
    x, weight, bias = torch.rand(3, 24), torch.rand(16, 24), torch.rand(32)
    with torch.no_grad():
        for strided in (bias[::2], bias[:1].expand(16)):
            torch.testing.assert_close(linear(x, weight, strided), x @ weight.t() + strided)


def test_the_product_is_not_taken_where_it_is_switched_off(monkeypatch):
    monkeypatch.setattr(convolution, "_has_product", lambda: False)
    layer = Linear(24, 16)
    x = torch.rand(2, 5, 24)
    with torch.no_grad():
        assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_linear_is_linear():
    x, weight, bias = torch.rand(2, 5, 7, 24), torch.rand(16, 24), torch.rand(16)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias), nn.functional.linear(x, weight, bias))
        torch.testing.assert_close(linear(x, weight.double().float(), None), x @ weight.t())
    half = linear(x.bfloat16(), weight.bfloat16(), None)
    assert half.dtype == torch.bfloat16
