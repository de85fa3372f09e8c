"""The published grid procedure as a calibration: squares matched by a network's flow, or by the lattice alone.

The published program needs a flow between the two views to know which square is which. A network gives it (`raft`), or
the calibration that `scanweave.fusion.grid` finds without one. Pairs are then fitted jointly, in pixels of frames as
recorded, with a robust loss, and the rotation that came before is part of it; ``defects=True`` keeps the published fit
in turns, and leaves that rotation out as the published program does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ..devices import device_of, running
from ..errors import InputError, UsageError, WeightsError
from ..models import Raft
from ..weights.opening import Weights, opened
from .calibration import Calibration, Residuals, Shape, as_pairs, as_rows, flip_of, of_points
from .grid import calibrate_by_grid, refuse_swapped
from .published_grid import FACTOR, Flow, GridTolerances, Prepared, PublishedFit, matched, prepared
from .published_registration import common_box, foreground
from .rigid import Array, Similarity, fit_robust, inverse, moved, residuals

FlowBetween = Callable[[Prepared], Flow]
"""What finds the flow from the enlarged, padded coarse view to the sharp one."""

WINDOW = 384
ITERATIONS = 12
_SMALLEST, _MULTIPLE = 128, 8  # of the sides that the network takes
_CUBIC = 3


@dataclass(frozen=True, eq=False)
class PublishedOutcome:
    """What the published procedure gives.

    Attributes:
        calibration: In pixels of frames as recorded.
        fit: What it computes and saves.
    """

    calibration: Calibration
    fit: PublishedFit


def calibrate_as_published(
    coarse: NDArray[np.float64],
    sharp: NDArray[np.float64],
    flow: FlowBetween,
    *,
    method: str,
    mirrored: bool = True,
    tolerances: GridTolerances | None = None,
    defects: bool = False,
) -> PublishedOutcome:
    """Return the calibration of two cameras that see one grid of bright squares.

    Args:
        coarse: ``(row, column)``, mean image of the fast camera.
        sharp: ``(row, column)``, mean image of the sharp one, as recorded.
        flow: What finds the flow between the views.
        method: What to call the result.
        mirrored: The sharp camera sees the scene mirrored, as in the published set-up.
        tolerances: The published ones by default.
        defects: Keep the published fit, with its defects.

    Raises:
        InputError: No grid, too few squares that pair, or roles that are swapped.
    """
    tolerances = tolerances or GridTolerances()
    recorded = sharp if mirrored else sharp[:, ::-1]  # the published steps flip the sharp view
    views = prepared(sixteen_bits(coarse), sixteen_bits(recorded), tolerances)
    fit = matched(views, flow(views), tolerances)
    shapes = (coarse.shape[0], coarse.shape[1]), (sharp.shape[0], sharp.shape[1])
    points = moved(inverse(_from_recorded(shapes[0], fit.angle if fit.rotated else 0.0)), fit.coarse)
    if defects:
        return PublishedOutcome(_as_saved(fit, points, method=method, shapes=shapes, mirrored=mirrored), fit)
    similarity, kept = fit_robust(points, fit.sharp)
    refuse_swapped(similarity)
    found = of_points(points, fit.sharp, similarity, kept, method=method, shapes=shapes, mirrored=mirrored)
    return PublishedOutcome(found, fit)


def sixteen_bits(image: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return a mean image as the published program has it: cut to whole numbers; brought to 16 bits if it must be."""
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > np.iinfo(np.uint16).max or high < np.iinfo(np.uint8).max / 2:
        image = (image - low) * (np.iinfo(np.uint16).max / max(high - low, 1e-12))
    return image.astype(np.uint16)


def saved_matrix(
    rigid: Array, scale_xy: Array, *, coarse_shape: Shape, sharp_shape: Shape, angle: float = 0.0
) -> Array:
    """Return what saved values mean: from places of a coarse frame as recorded to those of the flipped sharp one.

    Args:
        rigid: ``(3, 3)``, the saved transform.
        scale_xy: The saved scales, of columns and rows.
        coarse_shape: Rows and columns of a coarse frame.
        sharp_shape: Of a sharp one.
        angle: By which the enlarged coarse view was rotated first.
    """
    scale = np.diag([*scale_xy, 1.0])
    scale[:2, 2] = padding(scale_xy, coarse_shape=coarse_shape, sharp_shape=sharp_shape)
    return np.asarray(rigid @ scale @ _from_recorded(coarse_shape, angle))


def padding(scale_xy: Array, *, coarse_shape: Shape, sharp_shape: Shape) -> Array:
    """Return the columns and rows before a scaled coarse view that lies in the middle of a sharp frame."""
    size = np.array(coarse_shape[::-1]) * FACTOR
    return np.asarray((np.array(sharp_shape[::-1]) - np.floor(size * scale_xy)) // 2, np.float64)


def lattice_flow(coarse: NDArray[np.float64], sharp: NDArray[np.float64], *, mirrored: bool) -> FlowBetween:
    """Return the flow that the grid itself tells, without a network (:func:`scanweave.fusion.grid.calibrate_by_grid`).

    Raises:
        InputError: No grid, or no overlap.
    """
    found = calibrate_by_grid(coarse, sharp, mirrored=mirrored)
    facing = (flip_of(found.sharp_shape) if mirrored else np.eye(3)) @ found.affine

    def between(views: Prepared) -> Flow:
        turn = _from_recorded(found.coarse_shape, views.angle if views.rotated else 0.0)
        pad = _pad(views)
        to_sharp = facing @ inverse(turn)
        return lambda place: np.asarray(moved(to_sharp, (place - pad)[None])[0] - place)

    return between


@dataclass(frozen=True)
class NetworkFlow:
    """The flow by RAFT in a window around the middle, as published.

    Attributes:
        weights: A file, the name of one in the user's folder, or the network.
        window: Side of the window in sharp pixels; less where frames are smaller.
        iterations: Steps of the search.
        device: Where: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        defects: Give the network a rotated coarse view from 0 to 1 instead of 255, as the published program does.
    """

    weights: Weights
    window: int = WINDOW
    iterations: int = ITERATIONS
    device: str = "auto"
    defects: bool = False

    def __post_init__(self) -> None:
        """Refuse what the network cannot do.

        Raises:
            UsageError: A window that is too small, or no iteration.
        """
        if self.window < _SMALLEST or self.iterations < 1:
            raise UsageError(
                f"a window of {self.window} pixels and {self.iterations} iterations",
                remedy=f"give a window of {_SMALLEST} pixels or more, and an iteration at least",
            )

    def __call__(self, views: Prepared) -> Flow:
        """Return the flow, by cubic interpolation between pixels.

        Raises:
            InputError: Frames smaller than the network takes.
            WeightsError: Weights that cannot be used.
        """
        network = opened("raft", self.weights, {})
        if not isinstance(network, Raft) or network.config.channels != 1:
            raise WeightsError(
                "these weights take colours, the calibrator's frames are grey",
                remedy="train a calibrator from them: scanweave train raft --recipe.start FILE --recipe.colour sum",
            )
        rows, columns = views.sharp_view.shape
        coarse = np.zeros((rows, columns), np.float32)
        _lay(coarse, views.coarse_view, _pad(views).astype(int))
        if self.defects and views.rotated:
            coarse /= 255
        corner, size = self._cut((rows, columns))
        cut = (slice(corner[1], corner[1] + size[1]), slice(corner[0], corner[0] + size[0]))
        device = device_of(self.device)
        pair = [
            torch.from_numpy(np.ascontiguousarray(one[cut], dtype=np.float32))[None, None].to(device)
            for one in (coarse, views.sharp_view)
        ]
        with running(remedy="give a smaller --window, or --device cpu"):
            found = network.to(device)(*pair, iterations=self.iterations)[0].double().cpu().numpy()
        return lambda place: np.array(
            [
                ndimage.map_coordinates(one, (place - corner)[::-1, None], order=_CUBIC, mode="nearest")[0]
                for one in found
            ]
        )

    def _cut(self, shape: Shape) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the window's first column and row, and its columns and rows."""
        size = np.minimum(self.window, np.array(shape[::-1])) // _MULTIPLE * _MULTIPLE
        if size.min() < _SMALLEST:
            raise InputError(
                f"sharp frames of {shape[0]} x {shape[1]} pixels are too small: the network takes {_SMALLEST}",
                remedy="calibrate without a network: --method lattice",
            )
        return (np.array(shape[::-1]) - size) // 2, size


def published_crop(fit: PublishedFit, *, coarse_shape: Shape, sharp_shape: Shape) -> tuple[int, int, int, int]:
    """Return the crop of the flipped sharp frame that the published program takes: of a rectangle that it misreads."""
    saved = Similarity(
        float(fit.scale_xy[0]), float(fit.scale_xy[1]), float(np.arctan2(fit.rigid[1, 0], fit.rigid[0, 0])),
        float(fit.rigid[0, 2]), float(fit.rigid[1, 2]),
    )  # fmt: skip
    return common_box(foreground(coarse_shape, sharp_shape, saved), misread=True)


def _as_saved(
    fit: PublishedFit, points: Array, *, method: str, shapes: tuple[Shape, Shape], mirrored: bool
) -> Calibration:
    """Return how the published program would register frames: without the rotation that came before."""
    flip = flip_of(shapes[1]) if mirrored else np.eye(3)
    matrix = flip @ saved_matrix(fit.rigid, fit.scale_xy, coarse_shape=shapes[0], sharp_shape=shapes[1])
    at = moved(flip, fit.sharp)
    notes = ["Fitted as published, scale and rigid motion in turns."]
    if fit.rotated:
        off = float(residuals(matrix, points, at).mean())
        turned = (np.degrees(-fit.angle) + 180) % 360 - 180
        notes.append(
            f"The coarse view was rotated by {turned:.2f} degrees first, which the published program "
            f"leaves out of the transform: frames lie {off:.1f} pixels off."
        )
    left, top, right, below = published_crop(fit, coarse_shape=shapes[0], sharp_shape=shapes[1])
    notes.append(f"The published program would keep columns {left} to {right - 1} and rows {top} to {below - 1}.")
    return Calibration(
        method=method,
        coarse_shape=shapes[0],
        sharp_shape=shapes[1],
        matrix=as_rows(matrix),
        residuals=Residuals.of(matrix, points, at),
        coarse_points=as_pairs(points),
        sharp_points=as_pairs(at),
        notes=tuple(notes),
    )


def _from_recorded(coarse_shape: Shape, angle: float) -> Array:
    """Return the map from a coarse frame as recorded to the enlarged view, rotated by `angle` about its middle."""
    enlarge = np.diag([float(FACTOR), float(FACTOR), 1.0])
    enlarge[:2, 2] = (FACTOR - 1) / 2
    middle = np.array(coarse_shape[::-1]) * FACTOR / 2
    turn = Similarity(angle=angle).matrix
    turn[:2, 2] = middle - turn[:2, :2] @ middle
    return np.asarray(turn @ enlarge)


def _pad(views: Prepared) -> Array:
    """Return the columns and rows before the enlarged coarse view in the middle of a sharp frame."""
    size, large = (np.array(one.shape[::-1]) for one in (views.sharp_view, views.coarse_view))
    return np.asarray((size - large) // 2, np.float64)


def _lay(onto: NDArray[np.float32], image: NDArray[np.uint8], pad: NDArray[np.int64]) -> None:
    """Write an image into a frame from a column and row on; what lies outside is cut."""
    spans = []
    for first, have, want in zip(pad[::-1], image.shape, onto.shape, strict=True):
        spans.append((slice(max(first, 0), min(first + have, want)), slice(max(-first, 0), min(have, want - first))))
    (rows, of_rows), (columns, of_columns) = spans
    onto[rows, columns] = image[of_rows, of_columns]
