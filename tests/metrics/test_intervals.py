"""Bootstrap intervals, and what they let one say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scanweave.metrics import bootstrap, outcome


def test_the_interval_is_about_two_standard_errors_each_way():
    values = np.random.default_rng(1).normal(2, 1, 400)
    low, high = bootstrap(values, resamples=4000)
    wide = 2 * 1.96 * values.std() / math.sqrt(len(values))
    assert high - low == pytest.approx(wide, rel=0.1)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.02)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3) != bootstrap(values, seed=4)


def test_one_value_has_no_interval():
    assert bootstrap(np.ones(1)) is None


@pytest.mark.parametrize(
    ("difference", "interval", "patients", "said"),
    [
        (1.0, (0.5, 1.5), 8, "better"),
        (-1.0, (-1.5, -0.5), 8, "worse"),
        (0.2, (-0.1, 0.5), 8, "unclear"),
        (0.04, (0.03, 0.05), 8, "level"),
        (1.0, (0.5, 1.5), 5, "too few"),
        (1.0, None, 1, "too few"),
    ],
)
def test_what_an_interval_lets_one_say(difference, interval, patients, said):
    assert outcome(difference, interval, patients, visible=0.05) == said
