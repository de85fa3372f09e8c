"""Modulated deformable convolution: published numbers, closed forms, gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scanweave.ops.deformable import deform_conv2d

NAMES = ("x", "offset", "mask", "weight", "bias")


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=range(3))
def golden(request, vectors) -> tuple[list[Tensor], dict[str, int], torch.Tensor]:
    arrays = vectors("xfusion/dcn_v2")
    case = f"c{request.param}"
    stride, padding, dilation, _, groups = (int(value) for value in arrays[f"{case}_cfg"])
    given = [torch.from_numpy(arrays[f"{case}_{name}"]) for name in NAMES]
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return given, how, arrays[f"{case}_out"]


def test_golden_numbers(golden, agree):
    given, how, expected = golden
    agree(deform_conv2d(*given, **how).double(), expected, 2e-5)
    agree(deform_conv2d(*(tensor.double() for tensor in given), **how), expected, 1e-12)


def test_golden_numbers_with_gradients_wanted(golden, agree):
    given, how, expected = golden
    made = deform_conv2d(*(tensor.double().requires_grad_() for tensor in given), **how)
    agree(made.detach(), expected, 1e-12)


@pytest.mark.parametrize(
    ("how", "deformed", "groups", "size"),
    [
        ({"padding": 1}, 2, 1, (5, 4)),
        ({"padding": 2, "dilation": 2}, 1, 2, (5, 4)),
        ({"padding": 1, "stride": 2}, 4, 2, (3, 2)),
    ],
)
def test_gradients(how, deformed, groups, size):
    places = size[0] * size[1]
    given = [
        drawn(1, 4, 5, 4),
        # no tap within a hair of a line of pixels, where the slope jumps; some go far outside
        drawn(1, 18 * deformed, *size, seed=1).mul(3).trunc() + 0.2 + 0.6 * torch.linspace(0, 1, places).view(size),
        drawn(1, 9 * deformed, *size, seed=2),
        drawn(6, 4 // groups, 3, 3, seed=3),
        drawn(6, seed=4),
    ]
    tracked = [tensor.double().requires_grad_() for tensor in given]
    assert torch.autograd.gradcheck(
        lambda *args: deform_conv2d(*args, groups=groups, **how), tracked, fast_mode=True, check_undefined_grad=False
    )


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (2, 3)])
def test_unmoved_taps_of_full_strength_convolve(kernel):
    image, weight, bias = drawn(2, 6, 9, 7), drawn(4, 6, *kernel), drawn(4)
    expected = F.conv2d(image, weight, bias)
    taps = kernel[0] * kernel[1]
    still = torch.zeros(2, 2 * 3 * taps, *expected.shape[2:], dtype=torch.float64)
    full = torch.ones(2, 3 * taps, *expected.shape[2:], dtype=torch.float64)
    torch.testing.assert_close(deform_conv2d(image, still, full, weight, bias), expected)


def test_taps_are_read_between_pixels_and_fade_out_over_the_outermost():
    image = torch.tensor([[[[1.0, 2.0], [3.0, 7.0]]]])
    weight, full = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 2, 2)
    rows_columns = [(0.5, 0.25), (-0.75, 0.0), (0.25, -1.0), (1e9, -1e9)]
    offset = torch.tensor(rows_columns).t().view(1, 2, 2, 2)
    made = deform_conv2d(image, offset, full, weight)
    # from pixels (0, 0), (0, 1), (1, 0), (1, 1): between four, above the image by 0.75, below and between, far off
    between = 0.5 * (0.75 * 1 + 0.25 * 2) + 0.5 * (0.75 * 3 + 0.25 * 7)
    torch.testing.assert_close(made.flatten(), torch.tensor([between, 0.25 * 2, 0.75 * 0.0, 0.0]))


def test_images_are_convolved_one_by_one_alike():
    given = drawn(3, 8, 6, 5), drawn(3, 36, 6, 5, seed=1), drawn(3, 18, 6, 5, seed=2)
    weight = drawn(8, 8, 3, 3, seed=3)
    singly = [deform_conv2d(*(t[k : k + 1] for t in given), weight, padding=1) for k in range(3)]
    torch.testing.assert_close(deform_conv2d(*given, weight, padding=1), torch.cat(singly))


def test_gradients_are_the_same_each_time():
    given = [drawn(1, 8, 6, 5), drawn(1, 36, 6, 5, seed=1), drawn(1, 18, 6, 5, seed=2), drawn(8, 8, 3, 3, seed=3)]
    slopes = []
    for _ in range(2):
        tracked = [tensor.clone().requires_grad_() for tensor in given]
        slopes.append(torch.autograd.grad(deform_conv2d(*tracked, padding=1).square().sum(), tracked))
    assert all(torch.equal(*pair) for pair in zip(*slopes, strict=True))


def test_half_precision_reads_at_exact_places():
    image = torch.arange(600.0).view(1, 1, 1, 600)
    offset, full = torch.full((1, 2, 1, 600), 0.0), torch.ones(1, 1, 1, 600)
    made = deform_conv2d(image.bfloat16(), offset, full, torch.ones(1, 1, 1, 1).bfloat16())
    assert made.dtype == torch.bfloat16
    assert torch.equal(made, image.bfloat16())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_broken_offsets_neither_crash_nor_hide(value):
    offset = torch.zeros(1, 2, 3, 3)
    offset[0, :, 1, 1] = value
    made = deform_conv2d(torch.ones(1, 1, 3, 3), offset, torch.ones(1, 1, 3, 3), torch.ones(1, 1, 1, 1))
    assert made.flatten().isfinite().tolist() == [index != 4 or value == 1e30 for index in range(9)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"offset": torch.zeros(1, 18, 5, 5)}, "two for each value"),
        ({"mask": torch.zeros(1, 18, 4, 5)}, "is needed"),
        ({"mask": torch.zeros(1, 27, 5, 5)}, "is needed"),
        ({"weight": torch.zeros(2, 3, 3, 3)}, "does not fit"),
        ({"image": torch.zeros(4, 5, 5)}, "does not fit"),
    ],
)
def test_what_does_not_go_together_is_refused(change, reason):
    given = {"image": torch.zeros(1, 4, 5, 5), "offset": torch.zeros(1, 36, 5, 5), "mask": torch.zeros(1, 18, 5, 5)}
    given["weight"] = torch.zeros(2, 4, 3, 3)
    with pytest.raises(ValueError, match=reason):
        deform_conv2d(**(given | change), padding=1)
