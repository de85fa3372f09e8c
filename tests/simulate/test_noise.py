"""Noise and scatter: mean and variance as stated."""

from __future__ import annotations

import numpy as np
import pytest

from scanweave.errors import UsageError
from scanweave.simulate.noise import counted, scattered


@pytest.mark.parametrize(("level", "photons"), [(0.2, 50.0), (0.9, 4000.0)])
def test_counting_noise_has_the_mean_and_variance_of_poisson(level, photons):
    frame = counted(np.full((300, 300), level, np.float32), photons=photons, generator=np.random.default_rng(0))
    assert frame.dtype == np.float32
    assert frame.mean() == pytest.approx(level, abs=5 * np.sqrt(level / photons) / 300)
    assert frame.var() == pytest.approx(level / photons, rel=0.03)
    whole = frame * np.float64(photons)
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-3)


def test_noise_replays_from_its_generator():
    frame = np.full((8, 8), 0.5, np.float32)
    one, other = (counted(frame, photons=100, generator=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_no_photons_are_refused():
    with pytest.raises(UsageError, match="photons"):
        counted(np.ones((4, 4), np.float32), photons=0, generator=np.random.default_rng(0))


def test_scatter_of_a_uniform_field_is_a_fraction_of_it():
    frame = scattered(np.full((60, 84), 0.5, np.float32), fraction=0.4, width=9.0)
    np.testing.assert_allclose(frame, 0.7, atol=1e-5)


def test_scatter_is_smooth_and_adds_only():
    frame = np.zeros((64, 64), np.float32)
    frame[:, 32:] = 1
    added = scattered(frame, fraction=1.0, width=8.0) - frame
    assert added.min() >= 0
    assert np.abs(np.diff(added, axis=1)).max() < 1.5 / (8 * np.sqrt(2 * np.pi))
    assert added.mean() == pytest.approx(frame.mean(), abs=0.01)


def test_no_scatter_is_no_change():
    frame = np.random.default_rng(0).random((16, 16), dtype=np.float32)
    np.testing.assert_array_equal(scattered(frame, fraction=0.0, width=3.0), frame)
