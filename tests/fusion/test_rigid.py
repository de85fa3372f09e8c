import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.fusion.rigid import (
    Similarity,
    fit_rigid,
    fit_robust,
    fit_similarity,
    left_out_errors,
    moved,
    published_similarity,
    residuals,
    standard_errors,
)

TRUTH = Similarity(2.9, 3.1, 0.07, 40.0, -12.0)


def points(n=40, seed=0):
    return np.random.default_rng(seed).uniform(0, 100, (n, 2))


def as_row(fitted):
    return [fitted.scale_y, fitted.scale_x, fitted.angle, fitted.x, fitted.y]


def test_published_closed_forms(vectors):
    golden = vectors("xfusion/calib_closed_forms")
    matrix = fit_rigid(golden["rigid_src"], golden["rigid_dst"])
    np.testing.assert_allclose(matrix, golden["rigid_params"], atol=1e-9)
    np.testing.assert_allclose(moved(matrix, golden["rigid_src"]), golden["rigid_warped"], atol=1e-9)
    fitted = published_similarity(golden["nus_X"], golden["nus_Y"])
    np.testing.assert_allclose(as_row(fitted), golden["nus_x"], atol=1e-9)
    np.testing.assert_allclose(fitted.matrix[:2, :2], golden["nus_A"], atol=1e-9)


def test_least_squares_fit_is_closer_than_the_published_one(vectors):
    golden = vectors("xfusion/calib_closed_forms")
    x, y = golden["nus_X"], golden["nus_Y"]
    ours, theirs = (np.sum(residuals(fit(x, y).matrix, x, y) ** 2) for fit in (fit_similarity, published_similarity))
    assert ours < 0.1 * theirs


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 5), st.floats(0.2, 5), st.floats(-3.1, 3.1), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_fit_finds_what_moved_the_points(sx, sy, angle, x, y):
    truth = Similarity(sx, sy, angle, x, y)
    found = fit_similarity(points(), moved(truth.matrix, points()))
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=1e-6)
    np.testing.assert_allclose(Similarity.of(found.matrix).matrix, found.matrix, atol=1e-9)


def test_no_other_similarity_is_closer():
    rng = np.random.default_rng(1)
    x = points()
    y = moved(TRUTH.matrix, x) + rng.normal(0, 3, x.shape)
    best = fit_similarity(x, y)
    least = np.sum(residuals(best.matrix, x, y) ** 2)
    for i, step in enumerate((1e-3, 1e-3, 1e-4, 1e-2, 1e-2)):
        for sign in (-1, 1):
            values = np.array([best.scale_x, best.scale_y, best.angle, best.x, best.y])
            values[i] += sign * step
            assert np.sum(residuals(Similarity(*values).matrix, x, y) ** 2) > least


def test_outliers_are_named_and_do_not_move_the_fit():
    rng = np.random.default_rng(2)
    x = points()
    y = moved(TRUTH.matrix, x) + rng.normal(0, 0.05, x.shape)
    y[:6] += rng.choice([-1, 1], (6, 2)) * rng.uniform(10, 60, (6, 2))
    fitted, kept = fit_robust(x, y)
    assert not kept[:6].any()
    assert kept[6:].sum() >= 33
    assert residuals(fitted.matrix, x, moved(TRUTH.matrix, x)).max() < 0.08


def test_errors_are_as_large_as_stated():
    x = points(60)
    rng = np.random.default_rng(3)
    fits, stated = [], []
    for _ in range(200):
        y = moved(TRUTH.matrix, x) + rng.normal(0, 0.5, x.shape)
        fitted = fit_similarity(x, y)
        fits.append([fitted.scale_x, fitted.scale_y, fitted.angle, fitted.x, fitted.y])
        stated.append(list(standard_errors(fitted, x, y).values()))
    np.testing.assert_allclose(np.mean(stated, axis=0), np.std(fits, axis=0), rtol=0.25)
    assert np.median(left_out_errors(x, y)) >= np.median(residuals(fitted.matrix, x, y))


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="3 needed"):
        fit_similarity(points(2), points(2))
    with pytest.raises(ValueError, match="do not pair"):
        fit_rigid(points(4), points(5))
    line = np.stack([np.arange(5.0), np.ones(5)], axis=1)
    with pytest.raises(ValueError, match="on one line"):
        fit_similarity(line, line)
    with pytest.raises(ValueError, match="mirrors"):
        Similarity.of(np.diag([-1.0, 1.0, 1.0]))
