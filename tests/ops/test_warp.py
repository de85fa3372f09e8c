"""The warp against the published programs' own outputs, and against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.ops import backward_warp
from scanweave.ops.warp import sample_at

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"


@pytest.fixture(scope="module")
def echo() -> dict[str, torch.Tensor]:
    with np.load(GOLDENS / "slowmo_echo" / "operators_12x17.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def dsa() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "most_dsa" / "operators.npz") as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.mark.parametrize("convention", ["half_pixel", "corner"])
def test_published_conventions(echo, convention):
    image = echo["img"].clone().requires_grad_()
    flow = echo["flow"].clone().requires_grad_()
    out = backward_warp(image, flow, convention=convention, padding="zeros")
    torch.testing.assert_close(out, echo[f"out_{convention}"], atol=1e-5, rtol=0)
    (out * echo["grad_weight"]).sum().backward()
    torch.testing.assert_close(image.grad, echo[f"grad_img_{convention}"], atol=1e-4, rtol=0)
    torch.testing.assert_close(flow.grad, echo[f"grad_flow_{convention}"], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("convention", ["half_pixel", "corner"])
@pytest.mark.parametrize(("tag", "move"), [("zero", (0.0, 0.0)), ("shift", (1.0, -2.0))])
def test_published_constant_flows(echo, convention, tag, move):
    flow = torch.tensor(move).view(1, 2, 1, 1).expand_as(echo["flow"])
    out = backward_warp(echo["img"], flow, convention=convention, padding="zeros")
    torch.testing.assert_close(out, echo[f"{tag}_{convention}"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", ["warp0", "warp1", "warp2", "warp_shift"])
def test_dsa_interpolator_warp_is_exact_with_border(dsa, case):
    image, flow, expected = (torch.from_numpy(dsa[f"{case}_{part}"]) for part in ("x", "flow", "out"))
    torch.testing.assert_close(backward_warp(image, flow), expected, atol=2e-5, rtol=0)


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    columns=st.integers(-3, 3),
    rows=st.integers(-3, 3),
    padding=st.sampled_from(["border", "zeros"]),
)
@settings(max_examples=60, deadline=None)
def test_whole_pixel_flow_moves_the_grid(height, width, columns, rows, padding):
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    flow = torch.tensor([columns, rows], dtype=torch.float64).view(1, 2, 1, 1).expand(2, 2, height, width)
    y, x = torch.arange(height) + rows, torch.arange(width) + columns
    expected = image[:, :, y.clamp(0, height - 1)][..., x.clamp(0, width - 1)]
    if padding == "zeros":
        inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))
        expected = expected * inside
    torch.testing.assert_close(backward_warp(image, flow, padding=padding), expected, atol=1e-12, rtol=0)


def test_half_pixel_flow_is_the_mean_of_two_neighbours():
    image = torch.tensor([[[[0.0, 1.0, 4.0]]]])
    flow = torch.zeros(1, 2, 1, 3)
    flow[:, 0] = 0.5
    torch.testing.assert_close(backward_warp(image, flow), torch.tensor([[[[0.5, 2.5, 4.0]]]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_follows_the_image(dtype):
    image = (torch.arange(2048, dtype=torch.float32) % 2).view(1, 1, 1, 2048).to(dtype)
    flow = torch.zeros(1, 2, 1, 2048, dtype=dtype)
    flow[:, 0] = 1
    out = backward_warp(image, flow)
    assert out.dtype == dtype
    # Half precision cannot tell column 2047 from 2048: only wider arithmetic gives neighbours exactly.
    torch.testing.assert_close(out[..., :-1], image[..., 1:], atol=1e-3, rtol=0)


def test_gradient_by_finite_differences():
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    # Away from whole pixels, where bilinear sampling has a kink.
    flow = 0.3 + 0.4 * torch.rand(1, 2, 4, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda i, f: backward_warp(i, f), (image, flow.requires_grad_()))


@pytest.mark.parametrize(
    ("image", "flow"), [((1, 1, 3, 4), (1, 2, 4, 3)), ((3, 4), (1, 2, 3, 4)), ((2, 1, 3, 4), (1, 2, 3, 4))]
)
def test_shapes_that_do_not_fit(image, flow):
    with pytest.raises(ValueError, match="cannot be warped"):
        backward_warp(torch.zeros(image), torch.zeros(flow))


def test_unknown_names_are_refused():
    image, flow = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, 2)
    with pytest.raises(ValueError, match="none of 'exact'"):
        backward_warp(image, flow, convention="centre")
    with pytest.raises(ValueError, match="padding 'mirror'"):
        backward_warp(image, flow, padding="mirror")


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e30])
def test_a_flow_that_diverged_does_not_end_the_process(padding, value):
    image = torch.rand(1, 8, 32, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    flow = torch.full((1, 2, 32, 32), value, requires_grad=True)
    backward_warp(image, flow, padding=padding).sum().backward()
    assert image.grad.shape == image.shape


@pytest.mark.parametrize("convention", ["exact", "corner", "half_pixel"])
@pytest.mark.parametrize(("height", "width", "size"), [(9, 7, (9, 7)), (9, 7, (4, 5)), (1, 6, (1, 6)), (5, 1, (3, 2))])
def test_many_channels_side_by_side_are_looked_up_with_the_same_result(convention, height, width, size):
    image = torch.rand(2, 24, height, width)
    places = torch.rand(2, 2, *size) * 20 - 6
    places[0, 0, 0, 0] = float("nan")
    with torch.no_grad():
        expected = sample_at(image, places, convention=convention)
        found = sample_at(image.contiguous(memory_format=torch.channels_last), places, convention=convention)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
