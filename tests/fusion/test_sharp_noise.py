"""The noise of a sharp run by brightness, found again where it is known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from scanweave.fusion.noise import Noise, noise_of


def ramp(rows: int = 128, columns: int = 256) -> np.ndarray:
    texture = 20 * np.sin(np.arange(rows)[:, None] * 1.3) * np.cos(np.arange(columns) * 2.1)
    return (200 + 1200 * np.linspace(0, 1, columns) + texture).astype(np.float32)


def noisy(clean: np.ndarray, slope: float, base: float, count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    frames = [
        (clean + generator.standard_normal(clean.shape) * np.sqrt(slope * clean + base)).astype(np.float32)
        for _ in range(count)
    ]
    return list(pairwise(frames))


@pytest.mark.parametrize(("slope", "base"), [(0.136, 0.0), (0.05, 40.0), (0.0, 90.0), (0.136, -20.0)])
def test_the_line_of_photons_is_found_under_still_texture(slope, base):
    clean = ramp()
    found = noise_of(noisy(clean, slope, base))
    expected = np.sqrt(slope * np.array([300.0, 800.0, 1300.0]) + base)
    told = found.unit * np.exp(found.spread(torch.tensor([300.0, 800.0, 1300.0])).numpy())
    np.testing.assert_allclose(told, expected, rtol=0.08)
    assert found.unit == pytest.approx(math.sqrt(slope * clean.mean() + base), rel=0.03)


def test_what_moves_in_a_small_part_matters_little():
    pairs = noisy(ramp(), 0.136, 0.0)
    for _, second in pairs:
        second[40:60, 100:140] += 500 * np.random.default_rng(1).standard_normal((20, 40)).astype(np.float32)
    assert noise_of(pairs).unit == pytest.approx(math.sqrt(0.136 * 800), rel=0.05)


def test_without_noise_the_unit_is_a_share_of_the_contrast():
    clean = ramp()
    found = noise_of([(clean, clean)])
    contrast = float(np.subtract(*np.percentile(clean, (99.5, 0.5))))
    assert found.unit == pytest.approx(0.002 * contrast, rel=1e-4)
    assert found.spread(torch.tensor([300.0])).item() == pytest.approx(0, abs=1e-5)


def test_units_go_with_the_unit_of_the_frames():
    pairs = noisy(ramp(), 0.136, 0.0)
    scaled = noise_of([(first / 4096, second / 4096) for first, second in pairs])
    assert scaled.unit * 4096 == pytest.approx(noise_of(pairs).unit, rel=1e-5)


def test_darkness_has_some_noise():
    noise = Noise(slope=1.0, base=-1.0, unit=2.0)
    told = noise.spread(torch.tensor([0.0, 5.0]))
    assert told.tolist() == pytest.approx([math.log(0.1), 0.0], abs=1e-6)
