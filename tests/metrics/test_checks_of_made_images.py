"""Noise, new edges and spectra, against what is known of simple images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from scanweave.metrics.edges import heights, new_edges
from scanweave.metrics.noise import air_noise, detail_noise, local_noise
from scanweave.metrics.spectrum import spectral_density


def thick(seed: int = 0, *, noise: float = 0.02) -> np.ndarray:
    """Three slices: a bright square, the same, a larger one; in noise."""
    image = np.zeros((3, 64, 64), np.float32)
    image[:2, 20:40, 20:40] = 1
    image[2, 20:52, 20:40] = 1
    return image + np.random.default_rng(seed).normal(0, noise, image.shape).astype(np.float32)


def test_noise_in_air_is_that_of_the_complex_signal():
    generator = np.random.default_rng(0)
    signal = np.zeros((4, 96, 96))
    signal[:, 30:60, 30:60] = 100
    real, imaginary = generator.normal(0, 3, (2, *signal.shape))
    magnitude = np.hypot(signal + real, imaginary).astype(np.float32)
    assert air_noise(magnitude, signal > 0) == pytest.approx(3, rel=0.02)
    assert detail_noise(magnitude, signal > 0) == pytest.approx(3, rel=0.1)
    assert air_noise(np.where(signal > 0, magnitude, 0), signal > 0) is None, "air that was cut away"


def test_local_noise_follows_its_place_and_not_the_edges():
    image = np.random.default_rng(0).normal(0, 1, (2, 65, 50)).astype(np.float32)
    image[:, :, 32:] *= 4
    image[:, 20:40] += 100
    found = local_noise(image)
    assert found.shape == image.shape
    assert np.median(found[:, :, :32]) == pytest.approx(1, rel=0.15)
    assert np.median(found[:, :, 32:]) == pytest.approx(4, rel=0.15)
    assert local_noise(np.ones((2, 1, 5), np.float32)).max() == 0


def test_the_height_of_a_step_is_the_same_within_and_across_slices():
    # a blurred step: what a pixel's width takes off the slope of a sharp one is gone
    ramp = np.broadcast_to(3 * (np.arange(32) > 15), (4, 32, 32)).astype(np.float32)
    within = heights(ramp)[:, 16, 15:17].max()
    across = heights(np.broadcast_to(3 * (np.arange(4) > 1)[:, None, None], (4, 32, 32)).astype(np.float32))
    assert within == pytest.approx(3, rel=0.15)
    assert across[1:3].min() == pytest.approx(3) and across[0].max() == 0
    noise = np.random.default_rng(0).normal(size=(1, 200, 200)).astype(np.float32)
    assert math.sqrt(np.square(heights(noise)).mean() / 2) == pytest.approx(0.5, rel=0.05)


def test_an_invented_edge_is_new_and_a_sharpened_one_is_not():
    source = thick()
    blurred = ndimage.gaussian_filter(source, (0, 1, 1))
    along = np.arange(0, 2.01, 0.25)
    made = np.stack([source[round(place)] for place in along])
    found = new_edges(made, [blurred], along)
    assert found.edges.any() and found.share == 0, "sharper within slices, and moved at once between two"
    made[4, 8:14, 44:56] += 0.5
    found = new_edges(made, [blurred], along)
    rows, columns = np.nonzero(found.new[4])
    assert rows.min() in range(6, 9) and rows.max() in range(13, 16)
    assert columns.min() in range(42, 45) and columns.max() in range(55, 58)
    assert found.share > 0.01 and 30 < found.largest <= found.new.sum() and not found.new[[0, 1, 2, 6, 7, 8]].any()


def test_an_edge_that_any_one_input_has_is_not_new():
    other = thick(1)
    other[1, 8:14, 44:56] += 0.5
    made = thick(2)
    made[1, 8:14, 44:56] -= 0.5
    along = np.arange(3.0)
    assert new_edges(made, [thick()], along).share > 0.01
    assert new_edges(made, [thick(), other], along).share == 0
    with pytest.raises(ValueError, match="places"):
        new_edges(made, [thick()], along[:2])


def test_noise_alone_has_no_edges():
    quiet = np.random.default_rng(3).normal(0, 0.05, (3, 64, 64)).astype(np.float32)
    assert not new_edges(quiet, [quiet[::-1]], np.arange(3.0)).edges.any()


def test_power_lies_at_the_frequency_of_a_wave():
    place = np.arange(96) * 2.0
    wave = np.broadcast_to(np.sin(2 * np.pi * place / 8)[:, None, None], (96, 4, 4)).astype(np.float32)
    mask = np.ones(wave.shape, bool)
    frequencies, power = spectral_density(wave, mask, axis=0, step=2.0)
    assert frequencies[power.argmax()] == pytest.approx(1 / 8, abs=1 / 64)
    assert power.sum() * (frequencies[1] - frequencies[0]) == pytest.approx(0.5, rel=0.05), "its mean square"
    assert spectral_density(wave, ~mask, axis=0, step=2.0) is None
    assert spectral_density(wave, mask, axis=1, step=2.0) is None
