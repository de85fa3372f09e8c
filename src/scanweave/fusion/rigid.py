"""Where points of one view lie in another: least squares in closed form, with and without outliers.

Points are ``(n, 2)`` as ``(x, y)``, x along columns, in pixels with centres at whole numbers; matrices are ``(3, 3)``
and act on column vectors ``(x, y, 1)``. Angles turn x towards y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Fit = Callable[[Array, Array, Array], "Similarity"]

_HUBER = 1.345  # in standard deviations: 95 % as efficient as least squares where errors are normal
_ROUNDS = 30
_MAD = 1 / np.sqrt(2 * np.log(2))  # the median length of 2-D normal errors is sigma sqrt(2 ln 2)
_FAR = 4.0  # standard deviations: one in 3000 lengths of 2-D normal errors is longer
_FLOOR = 1e-9


@dataclass(frozen=True)
class Similarity:
    """Scale along both axes of the source, then rotation, then translation: ``y = R(angle) diag(sx, sy) x + t``.

    Attributes:
        scale_x: Along the source's columns.
        scale_y: Along the source's rows.
        angle: Radians.
        x: Translation along the target's columns, pixels.
        y: Translation along the target's rows, pixels.
    """

    scale_x: float = 1.0
    scale_y: float = 1.0
    angle: float = 0.0
    x: float = 0.0
    y: float = 0.0

    @property
    def matrix(self) -> Array:
        """``(3, 3)``."""
        made = np.eye(3)
        made[:2, :2] = rotation(self.angle) * (self.scale_x, self.scale_y)
        made[:2, 2] = self.x, self.y
        return made

    @classmethod
    def of(cls, matrix: Array) -> Similarity:
        """Return that of a matrix without shear.

        Raises:
            ValueError: The matrix shears or mirrors.
        """
        columns = matrix[:2, :2]
        lengths = np.linalg.norm(columns, axis=0)
        if np.linalg.det(columns) <= 0 or abs(columns[:, 0] @ columns[:, 1]) > 1e-6 * lengths.prod():
            raise ValueError("the matrix shears or mirrors: it is no similarity with two scales")
        angle = float(np.arctan2(columns[1, 0], columns[0, 0]))
        return cls(float(lengths[0]), float(lengths[1]), angle, float(matrix[0, 2]), float(matrix[1, 2]))


def rotation(angle: float) -> Array:
    """Return the ``(2, 2)`` matrix that turns x towards y by `angle` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def pixels(shape: tuple[int, int]) -> Array:
    """Return the places ``(rows * columns, 2)`` of an image's pixels, row by row."""
    rows, columns = shape
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    return np.asarray(grid.reshape(-1, 2), dtype=np.float64)


def inverse(matrix: Array) -> Array:
    """Return the map back."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def moved(matrix: Array, points: Array) -> Array:
    """Return points ``(n, 2)`` where `matrix` puts them."""
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])


def fit_rigid(source: Array, target: Array) -> Array:
    """Return the rotation and translation that bring `source` closest to `target` (Umeyama 1991, without scale)."""
    _check(source, target, least=2)
    x, y = source - source.mean(axis=0), target - target.mean(axis=0)
    cross = y.T @ x
    made = np.eye(3)
    made[:2, :2] = rotation(float(np.arctan2(cross[1, 0] - cross[0, 1], cross[0, 0] + cross[1, 1])))
    made[:2, 2] = target.mean(axis=0) - made[:2, :2] @ source.mean(axis=0)
    return made


def fit_isotropic(source: Array, target: Array, weights: Array | None = None) -> Similarity:
    """Return the similarity with one scale that brings `source` closest to `target` (Umeyama 1991)."""
    _check(source, target, least=2)
    w = np.ones(len(source)) if weights is None else weights
    x0, y0 = np.average(source, axis=0, weights=w), np.average(target, axis=0, weights=w)
    x, y = source - x0, target - y0
    c = (y * w[:, None]).T @ x
    along, across = c[0, 0] + c[1, 1], c[1, 0] - c[0, 1]
    scale, angle = float(np.hypot(along, across) / (w @ (x**2).sum(axis=1))), float(np.arctan2(across, along))
    x_shift, y_shift = y0 - scale * rotation(angle) @ x0
    return Similarity(scale, scale, angle, float(x_shift), float(y_shift))


def fit_similarity(source: Array, target: Array, weights: Array | None = None) -> Similarity:
    """Return the similarity with two scales that brings `source` closest to `target`: all five values jointly.

    For a given rotation R the best scale of axis i is ``(R' C)_ii / n_i`` with ``C = sum y x'`` and ``n_i = sum x_i^2``
    of centred points. What remains to be made large is a quadratic form in ``(cos, sin)``, whose larger eigenvector is
    the answer.

    Args:
        source: ``(n, 2)``.
        target: ``(n, 2)``.
        weights: ``(n,)``, of the squared distances.

    Raises:
        ValueError: Fewer than three points, or all on one line along an axis.
    """
    _check(source, target, least=3)
    w = np.ones(len(source)) if weights is None else weights
    x0, y0 = np.average(source, axis=0, weights=w), np.average(target, axis=0, weights=w)
    x, y = source - x0, target - y0
    n = w @ x**2
    if n.min() <= _FLOOR * max(n.max(), _FLOOR):
        raise ValueError("all points lie on one line: the scale across it cannot be found")
    c = (y * w[:, None]).T @ x
    cos_cos = c[0, 0] ** 2 / n[0] + c[1, 1] ** 2 / n[1]
    cos_sin = c[0, 0] * c[1, 0] / n[0] - c[0, 1] * c[1, 1] / n[1]
    sin_sin = c[1, 0] ** 2 / n[0] + c[0, 1] ** 2 / n[1]
    angle = 0.5 * np.arctan2(2 * cos_sin, cos_cos - sin_sin)
    scales = np.diag(rotation(angle).T @ c) / n
    if scales.sum() < 0:  # an eigenvector has no sign; scales have
        angle, scales = float(np.arctan2(-np.sin(angle), -np.cos(angle))), -scales
    x_shift, y_shift = y0 - rotation(angle) @ (scales * x0)
    return Similarity(float(scales[0]), float(scales[1]), float(angle), float(x_shift), float(y_shift))


def fit_robust(
    source: Array, target: Array, doubts: Array | None = None, *, fit: Fit = fit_similarity
) -> tuple[Similarity, NDArray[np.bool_]]:
    """Return the similarity that fits most points, and which those are: least squares with Huber's weights.

    Points that lie more than four standard deviations off count as outliers, and the last fit is without them.

    Args:
        source: ``(n, 2)``.
        target: ``(n, 2)``.
        doubts: ``(n,)``, standard deviations of the pairs up to a common factor; all alike by default.
        fit: The least-squares fit, with weights.
    """
    doubts = np.ones(len(source)) if doubts is None else doubts
    fitted = fit(source, target, doubts**-2)
    for _ in range(_ROUNDS):
        distance = residuals(fitted.matrix, source, target) / doubts
        sigma = max(float(np.median(distance)) * _MAD, _FLOOR)
        huber = np.minimum(1, _HUBER * sigma / (distance + _FLOOR))
        before, fitted = fitted, fit(source, target, huber * doubts**-2)
        if np.abs(fitted.matrix - before.matrix).max() < _FLOOR:
            break
    distance = residuals(fitted.matrix, source, target) / doubts
    kept = distance <= max(_FAR * float(np.median(distance)) * _MAD, 1e-6)
    if kept.sum() < 3 or kept.all():
        return fitted, np.ones(len(source), dtype=np.bool_)
    return fit(source[kept], target[kept], doubts[kept] ** -2), kept


def residuals(matrix: Array, source: Array, target: Array) -> Array:
    """Return the distance of each moved point from its target, pixels."""
    return np.asarray(np.linalg.norm(moved(matrix, source) - target, axis=1))


def standard_errors(fitted: Similarity, source: Array, target: Array) -> dict[str, float]:
    """Return the standard error of each value of a fit, from how far its points lie off."""
    x, y = source.T
    cos, sin = np.cos(fitted.angle), np.sin(fitted.angle)
    across = moved(fitted.matrix, source) - (fitted.x, fitted.y)
    zero, one = np.zeros_like(x), np.ones_like(x)
    jacobian = np.concatenate(
        [
            np.stack([cos * x, -sin * y, -across[:, 1], one, zero], axis=1),
            np.stack([sin * x, cos * y, across[:, 0], zero, one], axis=1),
        ]
    )
    freedom = max(2 * len(x) - 5, 1)
    variance = float((residuals(fitted.matrix, source, target) ** 2).sum()) / freedom
    errors = np.sqrt(np.diag(np.linalg.pinv(jacobian.T @ jacobian)) * variance)
    return dict(zip(("scale_x", "scale_y", "angle", "x", "y"), map(float, errors), strict=True))


def left_out_errors(source: Array, target: Array) -> Array:
    """Return how far from its target each point is put by a fit to all the others, pixels."""
    everyone = np.arange(len(source))
    return np.array(
        [
            float(
                np.linalg.norm(moved(fit_similarity(source[rest], target[rest]).matrix, source[i : i + 1]) - target[i])
            )
            for i in everyone
            for rest in [everyone != i]
        ]
    )


def published_similarity(source: Array, target: Array) -> Similarity:
    """Return the published closed form, which is no least-squares fit unless x and y of the source are uncorrelated.

    It takes the diagonal ``a_i = C_ii / n_i`` for that of ``R D``, and the rotation that is best for scales in the
    proportion ``a_1 : a_2``. Use :func:`fit_similarity`.
    """
    x0, y0 = source.mean(axis=0), target.mean(axis=0)
    x, y = source - x0, target - y0
    c = y.T @ x
    a = np.diag(c) / (x**2).sum(axis=0)
    angle = float(np.arctan2(a[0] * c[1, 0] - a[1] * c[0, 1], a[0] * c[0, 0] + a[1] * c[1, 1]))
    scales = a / np.cos(angle)
    x_shift, y_shift = y0 - rotation(angle) @ (scales * x0)
    return Similarity(float(scales[0]), float(scales[1]), angle, float(x_shift), float(y_shift))


def _check(source: Array, target: Array, *, least: int) -> None:
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2:
        raise ValueError(f"points {source.shape} and {target.shape} do not pair, (n, 2) expected")
    if len(source) < least:
        raise ValueError(f"{len(source)} pairs of points, {least} needed at least")
