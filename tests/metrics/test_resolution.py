"""Power by frequency and edge response against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import erf

from scanweave.metrics.resolution import Window, edge_response, find_edge, radial_power


def edge(blur, degrees, *, noise=0.0, side=64):
    rows, columns = np.mgrid[:side, :side]
    angle = math.radians(degrees)
    distance = (columns - side / 2 + 0.7) * math.cos(angle) + (rows - side / 2 + 0.2) * math.sin(angle)
    clean = 0.2 + 0.5 * (1 + erf(distance / blur / math.sqrt(2))) / 2
    return clean + np.random.default_rng(0).normal(0, noise, clean.shape)


@pytest.mark.parametrize("blur", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("degrees", [5, -8, 15, 95])
def test_the_response_of_a_gaussian_blur(blur, degrees):
    window = Window(18, 18, 28)
    found = edge_response(edge(blur, degrees, noise=0.002), window)
    assert found is not None
    expected = np.exp(-2 * np.square(math.pi * blur * found.frequencies))
    np.testing.assert_allclose(found.transfer, expected, atol=0.03)
    assert found.half == pytest.approx(math.sqrt(math.log(2) / 2) / math.pi / blur, rel=0.05)


def test_the_strongest_edge_is_found_and_nothing_where_there_is_none():
    image = edge(1.0, 10, noise=0.002)
    window = find_edge(image)
    assert window is not None
    assert window.column < 32 < window.column + window.side
    assert find_edge(np.random.default_rng(0).normal(0, 1, (64, 64))) is None
    assert find_edge(np.zeros((64, 64))) is None
    assert find_edge(image[:20, :20]) is None


def test_white_noise_has_the_power_of_its_variance_at_all_frequencies():
    frequencies, power = radial_power(np.random.default_rng(0).normal(5, 2, (256, 200)))
    assert frequencies[-1] == 0.5
    assert power[5:].mean() == pytest.approx(4, rel=0.03)
    assert np.abs(power[20:] / 4 - 1).max() < 0.4


def test_a_wave_has_its_power_at_its_frequency():
    wave = np.sin(2 * math.pi * 0.2 * np.arange(100))[None].repeat(100, axis=0)
    frequencies, power = radial_power(wave)
    assert frequencies[power.argmax()] == pytest.approx(0.2)
    with pytest.raises(ValueError, match="8 x 8"):
        radial_power(np.zeros((4, 20)))
