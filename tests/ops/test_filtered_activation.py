"""The leaky ReLU between two filters: published numbers, one way and the other, and gradients."""

from __future__ import annotations

import pytest
import torch

from scanweave.ops.filtered_activation import filtered_leaky_relu

CASES = {
    "up2down2": {"up": 2, "down": 2, "up_filter": "fu", "down_filter": "fd", "pad": (9, 8, 9, 8)},
    "up4down2": {
        "up": 4,
        "down": 2,
        "up_filter": "fu24",
        "down_filter": "fd",
        "pad": (-6, -9, -6, -9),
        "clamp": 256,
    },
    "clamp": {"up": 2, "down": 2, "up_filter": "fu", "down_filter": "fd", "pad": (9, 8, 9, 8), "clamp": 1.5},
    "radial": {"up": 2, "down": 2, "up_filter": "fu", "down_filter": "fr", "pad": (9, 8, 9, 8)},
    "torgb": {"gain": 1, "slope": 1, "clamp": 256},
    "encdown": {"down": 2, "down_filter": "fd", "pad": (14, 14, 14, 14), "clamp": 256},
    "enccrop": {"pad": (-1, -1, -1, -1), "clamp": 256},
    "asym": {
        "up": 2,
        "up_filter": "fu",
        "down_filter": "fd",
        "pad": (3, 7, 12, 2),
        "gain": 1.3,
        "slope": 0.1,
        "flip": True,
    },
}


@pytest.fixture(scope="module")
def arrays(vectors) -> dict[str, torch.Tensor]:
    golden = vectors("uni_coal/ops_resample")
    return {key.removeprefix("fl_"): torch.from_numpy(golden[key]) for key in golden if key.startswith("fl_")}


def options(case, arrays, dtype=torch.float32):
    given = dict(CASES[case])
    filters = {key: arrays[given[key]].to(dtype) for key in ("up_filter", "down_filter") if key in given}
    return given | filters | ({} if case == "asym" else {"bias": arrays["b"].to(dtype)})


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_golden_activations(case, tracked, arrays):
    """With gradients the larger image is whole in memory; without, a few rows at a time."""
    image = arrays["x"].clone().requires_grad_(tracked)
    made = filtered_leaky_relu(image, **options(case, arrays)).detach()
    golden = arrays[case]
    assert made.shape == golden.shape
    torch.testing.assert_close(made, golden, atol=1e-5 * float(golden.abs().max()), rtol=0)


@pytest.mark.parametrize(("sides", "channels"), [((13, 15), 70), ((41, 70), 3)])
@pytest.mark.parametrize("case", ["up2down2", "up4down2", "asym"])
def test_rows_at_a_time_are_the_whole(case, sides, channels, arrays):
    generator = torch.Generator().manual_seed(0)
    given = options(case, arrays, torch.float64) | {"bias": torch.randn(channels, dtype=torch.float64)}
    image = torch.randn(2, channels, *sides, dtype=torch.float64, generator=generator)
    laid_out = image.contiguous(memory_format=torch.channels_last)
    whole = filtered_leaky_relu(image.clone().requires_grad_(), **given).detach()
    for x in (image, laid_out):
        before = x.clone()
        torch.testing.assert_close(filtered_leaky_relu(x, **given), whole)
        assert torch.equal(x, before)


@pytest.mark.parametrize("case", ["up2down2", "up4down2", "encdown", "enccrop", "radial", "clamp"])
def test_first_and_second_gradients(case, arrays):
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, 5, 6, dtype=torch.float64, generator=generator, requires_grad=True)

    given = options(case, arrays, torch.float64)
    if case == "up4down2":  # what it crops would leave nothing of so small an image
        given["pad"] = (9, 8, 9, 8)

    def run(x):
        return filtered_leaky_relu(x, **given).square().mean(dim=(2, 3))

    assert torch.autograd.gradcheck(run, image, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, image, fast_mode=True)


def test_too_small_an_image_is_refused(arrays):
    with pytest.raises(ValueError, match="too few"):
        filtered_leaky_relu(torch.zeros(1, 3, 4, 4), **options("up4down2", arrays))
