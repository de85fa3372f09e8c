"""Speckle: fully developed, and correlated over time as stated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scanweave.simulate.speckle import Speckle, correlation, log_compressed, scattering

PULSE = (1.2, 1.8)
TAU = 0.1


@pytest.fixture(scope="module")
def field():
    return Speckle((512, 512), pulse=PULSE, decorrelation_time=TAU, seed=7)


def as_complex(parts: np.ndarray) -> np.ndarray:
    return parts[..., 0].astype(complex) + 1j * parts[..., 1]


@pytest.mark.parametrize("start", [0.0, 0.01, 0.037, -5.02])
def test_stated_correlation_is_nearly_gaussian_and_ends(start):
    lag = np.linspace(-0.6, 0.6, 241)
    stated = correlation(start, start + lag, decorrelation_time=TAU)
    np.testing.assert_allclose(stated, np.exp(-((lag / TAU) ** 2) / 2), atol=0.05)
    assert correlation(start, start, decorrelation_time=TAU) == pytest.approx(1, abs=1e-12)
    assert not stated[np.abs(lag) >= 4 * math.pi * TAU / math.sqrt(12) + 1e-9].any()
    np.testing.assert_allclose(correlation(start + lag, start, decorrelation_time=TAU), stated, atol=1e-12)


@pytest.mark.parametrize("lag", [0.02, 0.07, 0.1, 0.2, 0.6, 50.0])
def test_fields_are_correlated_as_stated(field, lag):
    one, other = as_complex(field.at(0.31)), as_complex(field.at(0.31 + lag))
    energy = np.mean(np.abs(one) ** 2)
    found = np.mean(one * np.conj(other)) / energy
    # About 512 * 512 / (4 pi 1.2 1.8) = 9700 independent speckles.
    assert found.real == pytest.approx(correlation(0.31, 0.31 + lag, decorrelation_time=TAU), abs=0.03)
    assert abs(found.imag) < 0.03


def test_a_field_does_not_depend_on_what_was_asked_before():
    used = Speckle((16, 16), pulse=PULSE, decorrelation_time=TAU, seed=1)
    for time in np.linspace(-2, 2, 30):
        used.at(time)
    fresh = Speckle((16, 16), pulse=PULSE, decorrelation_time=TAU, seed=1)
    np.testing.assert_array_equal(used.at(-2.0), fresh.at(-2.0))


def test_intensity_is_correlated_by_the_square(field):
    one, other = (np.abs(as_complex(field.at(time))) ** 2 for time in (0.0, 0.08))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(
        correlation(0.0, 0.08, decorrelation_time=TAU) ** 2, abs=0.03
    )


@pytest.mark.parametrize("time", [0.0, 0.123, 5.0])
def test_speckle_is_fully_developed_at_all_times(field, time):
    """The envelope is Rayleigh distributed: E|f|^2 = 1, E|f| = sqrt(pi) / 2, P(|f| < r) = 1 - exp(-r^2)."""
    envelope = np.abs(as_complex(field.at(time)))
    assert np.mean(envelope**2) == pytest.approx(1, abs=0.03)
    assert np.mean(envelope) == pytest.approx(math.sqrt(math.pi) / 2, abs=0.015)
    assert np.mean(envelope < 0.5) == pytest.approx(1 - math.exp(-0.25), abs=0.015)


def test_neighbours_are_correlated_by_the_pulse():
    """A Gaussian pulse of width s correlates points at distance d by exp(-d^2 / (4 s^2))."""
    field = as_complex(scattering((600, 600), pulse=PULSE, generator=np.random.default_rng(3)))
    energy = np.mean(np.abs(field) ** 2)
    down = np.mean(field[2:] * np.conj(field[:-2])).real / energy
    across = np.mean(field[:, 2:] * np.conj(field[:, :-2])).real / energy
    assert down == pytest.approx(math.exp(-4 / (4 * PULSE[0] ** 2)), abs=0.03)
    assert across == pytest.approx(math.exp(-4 / (4 * PULSE[1] ** 2)), abs=0.03)


def test_log_compression_maps_decibels_to_grey():
    envelope = np.array([2.0, 1.0, 0.1, 10**-2.5, 10**-3, 0.0], np.float32)
    shown = log_compressed(envelope, dynamic_range=50.0)
    np.testing.assert_allclose(shown, [1, 1, 0.6, 0, 0, 0], atol=1e-6)
    assert shown.dtype == np.float32
