"""Low-pass design and resampling: published numbers, a definition that multiplies by zeros, and gradients."""

from __future__ import annotations

import pytest
import scipy.signal
import torch
import torch.nn.functional as F

from scanweave.ops.fir import blur, fading_kernel, kaiser_lowpass, normal_filter, resample


@pytest.fixture(scope="module")
def arrays(vectors) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in vectors("uni_coal/ops_resample").items()}


def test_golden_designs(vectors, agree):
    golden = vectors("uni_coal/ops_filters")
    for row, (taps, cutoff, width, rate, radial) in enumerate(golden["design_params"]):
        made = kaiser_lowpass(int(taps), cutoff=cutoff, width=width, rate=rate, radial=bool(radial))
        if taps == 1:
            assert made is None
        else:
            agree(made, golden[f"design_{row}"], 1e-7)


@pytest.mark.parametrize(("taps", "cutoff", "width", "rate"), [(12, 4, 20.0, 64), (24, 4, 2.0, 64), (9, 3, 0.2, 16)])
def test_designs_are_those_of_scipy(taps, cutoff, width, rate):
    made = kaiser_lowpass(taps, cutoff=cutoff, width=width, rate=rate)
    theirs = torch.from_numpy(scipy.signal.firwin(taps, cutoff, width=width, fs=rate)).float()
    torch.testing.assert_close(made, theirs, atol=1e-7, rtol=1e-6)


def test_radial_designs_are_alike_in_all_directions_and_even():
    made = kaiser_lowpass(12, cutoff=4, width=8, rate=32, radial=True)
    torch.testing.assert_close(made, made.T)
    assert float(made.sum()) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="even number of taps, not 7"):
        kaiser_lowpass(7, cutoff=4, width=8, rate=32, radial=True)


def test_golden_weights_as_filters(vectors, agree):
    golden = vectors("uni_coal/ops_filters")
    agree(normal_filter([1, 3, 3, 1]), golden["setup_1331"], 1e-7)
    agree(normal_filter([1, 2, 3, 4, 4, 3, 2, 1]), golden["setup_8tap"], 1e-7)
    agree(normal_filter([1, 2, 4], gain=4, flip=True), golden["setup_asym_gain_flip"], 1e-7)
    agree(normal_filter([1]), golden["setup_none"], 0)


CASES = {
    "upfirdn_a": ("f1", {"up": 2, "pad": (3, 2, 4, 1), "gain": 4}),
    "upfirdn_b": ("f1", {"down": 2, "pad": (2, 2, 3, 3)}),
    "upfirdn_c": ("f2", {"up": (2, 3), "down": (3, 2), "pad": (4, -1, -2, 5), "gain": 1.7}),
    "upfirdn_d": ("f2", {"pad": (2, 1, 1, 1), "flip": True}),
    "upfirdn_e": (None, {"up": 2, "pad": (0, -1, 0, -1), "gain": 4}),
    "upfirdn_f": ("f1", {"up": 4, "down": 2, "pad": (-6, -9, -6, -9), "gain": 16}),
    "upfirdn_g": ("f1", {"up": 3, "down": 2, "pad": (5, 5, 5, 5)}),
    "upsample2d_f1": ("f1", {"up": 2, "pad": (3, 2, 3, 2), "gain": 4}),
    "downsample2d_f1": ("f1", {"down": 2, "pad": (2, 2, 2, 2)}),
    "filter2d_f2": ("f2", {"pad": (2, 2, 1, 1)}),
}


@pytest.mark.parametrize("repeated", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_golden_resampling(case, repeated, arrays, agree):
    """Few channels and many are worked on in different layouts."""
    taps, options = CASES[case]
    image = arrays["x"].repeat(1, repeated, 1, 1)
    made = resample(image, None if taps is None else arrays[taps], **options)
    agree(made, arrays[case].repeat(1, repeated, 1, 1).numpy(), 1e-5)


def by_definition(image, taps, *, up, down, pad):
    """Zeros inserted, all samples computed, most of them dropped."""
    batch, channels, height, width = image.shape
    stuffed = image.new_zeros(batch, channels, height * up, width * up)
    stuffed[..., ::up, ::up] = image
    kernel = torch.outer(taps, taps).flip(0, 1).expand(channels, 1, -1, -1)
    return F.conv2d(F.pad(stuffed, pad), kernel, groups=channels)[..., ::down, ::down]


@pytest.mark.parametrize("sides", [(1, 3), (70, 33)])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (4, 2), (1, 2), (3, 2), (2, 5)])
@pytest.mark.parametrize("pad", [(20, 31, 11, 17), (9, 8, 9, 8)])
def test_resampling_is_its_definition(sides, up, down, pad):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 9, *sides, dtype=torch.float64, generator=generator)
    taps = torch.randn(12, dtype=torch.float64, generator=generator)
    expected = by_definition(image, taps, up=up, down=down, pad=pad)
    torch.testing.assert_close(resample(image, taps, up=up, down=down, pad=pad), expected)
    plane = resample(image, torch.outer(taps, taps), up=up, down=down, pad=pad)
    torch.testing.assert_close(plane, expected)


@pytest.mark.parametrize("plane", [False, True])
@pytest.mark.parametrize(("up", "down"), [(2, 1), (4, 2), (1, 2), (3, 2)])
def test_first_and_second_gradients(up, down, plane):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 2, 3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    taps = torch.randn(6, dtype=torch.float64, generator=generator)

    def run(x):
        made = resample(x, torch.outer(taps, taps) if plane else taps, up=up, down=down, pad=(3, 4, 5, -1))
        return made.square()  # so that the second gradient is not zero

    assert torch.autograd.gradcheck(run, image, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, image, fast_mode=True)


def test_golden_blur(arrays, agree):
    for sigma in (1.0, 2.5):
        agree(fading_kernel(sigma), arrays[f"blur_kernel_{sigma}"].numpy(), 1e-7)
        agree(blur(arrays["blur_in"], sigma=sigma), arrays[f"blur_{sigma}"].numpy(), 1e-6)
    assert blur(arrays["blur_in"], sigma=0.3) is arrays["blur_in"]


def test_what_cannot_be_is_refused(arrays):
    with pytest.raises(ValueError, match="too few for a filter of 6"):
        resample(arrays["x"][..., :4], arrays["f1"])
    with pytest.raises(ValueError, match="one axis or two"):
        resample(arrays["x"], torch.ones(1, 2, 3))
