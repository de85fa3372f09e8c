import numpy as np
import pytest

from scanweave.errors import InputError
from scanweave.fusion.grid import calibrate_by_grid
from scanweave.fusion.lattice import find_lattice
from scanweave.fusion.published_grid import published_calibration
from scanweave.fusion.rigid import fit_similarity, moved
from scanweave.simulate.cameras import simulate_pair


def grid(shape=(240, 300), pitch=24.0, squares=(7, 9), *, mark=None):
    """Bright squares in the middle of a dark frame, smooth at their edges; `mark` is one that is missing."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    picture = np.full(shape, 100.0)
    for i in range(squares[0]):
        for j in range(squares[1]):
            if (i, j) == mark:
                continue
            cy = shape[0] / 2 + (i - (squares[0] - 1) / 2) * pitch
            cx = shape[1] / 2 + (j - (squares[1] - 1) / 2) * pitch
            far = np.maximum(abs(y - cy), abs(x - cx)) - pitch / 4
            picture += 900 / (1 + np.exp(np.clip(2 * far, -50, 50)))
    return picture


def seen_by_both(picture, **cameras):
    pair = simulate_pair(picture[None], ratio=1, generator=np.random.default_rng(0), **cameras)
    return pair.coarse[0].astype(float), pair.sharp[0].astype(float), pair.matrix


def largest_error(calibration, matrix):
    rows, columns = calibration.coarse_shape
    corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], dtype=float)
    return np.linalg.norm(moved(calibration.affine, corners) - moved(matrix, corners), axis=1).max()


@pytest.mark.parametrize(
    "cameras",
    [
        {"scale": 3.0, "offset": (8.0, -5.0), "angle": 0.04},
        {"scale": (2.8, 3.1), "offset": (-30.0, 12.0), "blur": 0.5, "noise": 20.0},
        {"scale": 3.0, "angle": -0.09, "mirrored": True},
    ],
)
def test_grid_is_matched_without_a_network(cameras):
    coarse, sharp, matrix = seen_by_both(grid(mark=(2, 3)), **cameras)
    found = calibrate_by_grid(coarse, sharp, mirrored=cameras.get("mirrored", False))
    assert largest_error(found, matrix) < 0.5
    assert found.residuals.mean < 0.3
    assert found.mirrored == cameras.get("mirrored", False)
    assert found.residuals.held_out >= found.residuals.mean * 0.9


def test_same_squares_pair_as_with_the_published_flow(vectors):
    golden = vectors("xfusion/calib_pipeline")
    coarse, sharp = golden["shimadzu_avg_raw"], golden["phantom_avg_raw"]
    published = published_calibration(coarse, sharp, lambda place: golden["flow_xy"])
    centres = (published.coarse + 0.5) / 3 - 0.5
    theirs = fit_similarity(centres, published.sharp)
    ours = calibrate_by_grid(coarse.astype(float), sharp.astype(float), mirrored=True)
    assert ours.residuals.count == len(centres)
    assert np.abs(moved(ours.similarity.matrix, centres) - moved(theirs.matrix, centres)).max() < 0.2
    assert ours.residuals.mean < 0.5 * published.residuals[1].mean()
    assert "light on its squares" in ours.notes[0]


def test_squares_have_their_places_whatever_their_tone():
    for picture in (grid(), 2000 - grid()):
        lattice = find_lattice(picture)
        assert len(lattice.places) == 63
        assert lattice.pitch == pytest.approx(24, abs=0.05)
        assert abs(lattice.angle) < 1e-3
        assert lattice.points[lattice.places[0, 0]] == pytest.approx([150, 120], abs=13)


def test_a_quarter_turn_is_found_if_asked_for():
    coarse, sharp, matrix = seen_by_both(grid((240, 240), squares=(7, 7), mark=(1, 2)), scale=3.0)
    quarter = np.ascontiguousarray(np.rot90(coarse))
    found = calibrate_by_grid(quarter, sharp, turned=True)
    # (x, y) of the turned frame is (79 - y, x) of the other
    turn = np.array([[0.0, -1.0, 79.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert largest_error(found, matrix @ turn) < 0.5


def test_swapped_roles_and_missing_grids_are_named():
    coarse, sharp, _ = seen_by_both(grid(mark=(2, 3)), scale=3.0)
    with pytest.raises(InputError, match="exchange --fast and --sharp"):
        calibrate_by_grid(sharp, coarse)
    with pytest.raises(InputError, match="sharp camera shows no grid"):
        calibrate_by_grid(coarse, np.random.default_rng(0).normal(size=(200, 200)))
