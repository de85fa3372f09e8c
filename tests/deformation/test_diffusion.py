"""The forward process of DRDM: the published numbers, and what geometry asks for."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from scanweave.deformation import DiffusionConfig
from scanweave.deformation.diffusion import Noise, counts, draw_noise, joined, on_image, random_field
from scanweave.errors import UsageError
from scanweave.ops.displacement import warp


def test_counts_are_those_published(goldens):
    tables = json.loads((goldens / "drdm" / "tables.json").read_text())
    assert [counts(level).field for level in range(201)] == tables["steps_field"]
    assert [counts(level).target for level in range(201)] == tables["steps_target"]
    for control, cells in tables["scales_for_ctl"].items():
        assert list(DiffusionConfig(control=int(control)).cells) == cells
    with pytest.raises(ValueError, match="begin at 0"):
        counts(-1)


@pytest.mark.parametrize(
    ("case", "mode", "padding"),
    [
        ("diffuse2d_64", "bilinear", "zeros"),
        ("diffuse2d_32_edge", "bicubic", "border"),
        ("diffuse2d_256", "bilinear", "zeros"),
        ("diffuse2d_seeded", "bilinear", "zeros"),
        ("diffuse3d_16", "bilinear", "zeros"),
    ],
)
def test_golden_fields(case, mode, padding, vectors, agree, golden_noise):
    arrays = vectors(f"drdm/{case}")
    image = torch.from_numpy(arrays["x"])
    ndims, side = image.ndim - 2, image.shape[2]
    config = DiffusionConfig(scale="published", control=int(arrays.get("ctl_size", 64)))
    if "seed" in arrays:
        noise = draw_noise(ndims, config, generator=torch.Generator().manual_seed(int(arrays["seed"])))
    else:
        noise = golden_noise(case, image.shape[0], ndims, config)
    made = random_field(noise, arrays["t"].tolist(), side, config)
    stride = (..., *[slice(None, None, int(arrays.get("stride", 1)))] * ndims)
    agree(made.displacement[stride], arrays["ddf"], 1e-6)
    agree(made.target[stride], arrays["dvf"], 1e-6)
    warped = warp(image, made.displacement, unit=side, mode=mode, padding=padding)
    agree(warped[stride], arrays["warped"], 1e-5)
    if "velocity" in arrays:
        step = made.velocity.shape[2] // arrays["velocity"].shape[2]
        agree(made.velocity[(..., *[slice(None, None, step)] * ndims)], arrays["velocity"], 1e-6)


def test_the_recipe_of_golden_noise(vectors, golden_noise):
    arrays = vectors("drdm/diffuse2d_64")
    noise = golden_noise("diffuse2d_64", 2, 2, DiffusionConfig())
    for cells, velocity, perturbation in zip((64, 32, 16, 8), *noise, strict=True):
        assert np.array_equal(velocity.numpy(), arrays[f"noise_v{cells}"])
        assert np.array_equal(perturbation.numpy(), arrays[f"noise_n{cells}"])


def small(seed: int, ndims: int = 2, batch: int = 1) -> Noise:
    config = DiffusionConfig(control=16)
    return draw_noise(ndims, config, generator=torch.Generator().manual_seed(seed), batch=batch)


def test_consistent_fields_do_not_depend_on_the_size():
    """The same noise moves the same share of the side, where published fields double with it."""
    means = {}
    for scale in ("consistent", "published"):
        config = DiffusionConfig(control=16, scale=scale)
        means[scale] = [float(random_field(small(1), [40], side, config).displacement.std()) for side in (32, 64)]
    assert means["consistent"][1] == pytest.approx(means["consistent"][0], rel=0.03)
    assert means["published"][1] == pytest.approx(2 * means["published"][0], rel=0.03)
    assert means["consistent"][0] == pytest.approx(means["published"][0], rel=1e-6)  # side = 2 x control


def test_a_uniform_shift_is_kept_in_pixels():
    """A shift by one cell of the control grid is one by a cell of twice the image."""
    field = torch.full((1, 2, 16, 16), 1 / 16)
    placed = on_image(field, 24, DiffusionConfig(control=16))
    assert placed.shape == (1, 2, 24, 24)
    torch.testing.assert_close(placed * 24, torch.full_like(placed, 2 * 24 / 16))


def test_fields_of_a_batch_are_those_of_each(agree):
    config = DiffusionConfig(control=16)
    noises = [small(1), small(2)]
    together = random_field(joined(noises), [3, 30], 32, config)
    for row, (noise, level) in enumerate(zip(noises, (3, 30), strict=True)):
        alone = random_field(noise, [level], 32, config)
        torch.testing.assert_close(together.displacement[row], alone.displacement[0], atol=1e-7, rtol=0)
        torch.testing.assert_close(together.target[row], alone.target[0], atol=1e-7, rtol=0)


@pytest.mark.parametrize("options", [{"control": 8}, {"control": 48}, {"velocity": 0}, {"perturbation": -1}])
def test_illegal_options_are_refused(options):
    with pytest.raises(UsageError):
        DiffusionConfig(**options)


def test_drawing_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    small(3, ndims=3)
    assert torch.equal(torch.random.get_rng_state(), state)
