import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from scanweave.errors import InputError
from scanweave.fusion.registration import calibrate_by_scene
from scanweave.fusion.rigid import moved
from scanweave.simulate.cameras import simulate_pair


def texture(shape=(160, 200), seed=0):
    rng = np.random.default_rng(seed)
    fine, rough = (gaussian_filter(rng.normal(size=shape), width, mode="wrap") for width in (2.5, 10.0))
    return (100 + 15 * fine / fine.std() + 15 * rough / rough.std())[None]


def largest_error(found, pair):
    rows, columns = found.coarse_shape
    corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], dtype=float)
    return np.linalg.norm(moved(found.affine, corners) - moved(pair.matrix, corners), axis=1).max()


def by_scene(pair, **options):
    frames = pair.coarse[pair.chosen], pair.sharp
    return calibrate_by_scene(*(one.mean(axis=0).astype(float) for one in frames), **options)


@pytest.mark.parametrize(
    "cameras",
    [
        {"scale": 4.0, "offset": (9.3, -6.1), "angle": 0.05, "noise": 2.0},
        {"scale": (3.1, 2.9), "offset": (-20.0, 6.0), "angle": -0.08, "blur": 0.5},
        {"scale": 3.0, "offset": (5.0, 10.0), "mirrored": True, "gain": 0.3},
    ],
)
def test_views_of_a_textured_scene_are_registered(cameras):
    pair = simulate_pair(texture(), ratio=1, generator=np.random.default_rng(0), **cameras)
    found = by_scene(pair, mirrored=cameras.get("mirrored", False))
    assert largest_error(found, pair) < 0.3
    assert found.residuals.count > 20
    assert found.residuals.median < 0.3
    assert not found.notes


@pytest.mark.reference
def test_real_radiographs_are_registered(reference):
    frames = tifffile.imread(reference / "data/xray/xray_lpbf_wall_f090-129.tif").astype(np.float32)
    pair = simulate_pair(
        frames, ratio=5, scale=4, offset=(7.3, -4.1), angle=0.03, blur=0.4, noise=5.0,
        generator=np.random.default_rng(0),
    )  # fmt: skip
    found = by_scene(pair)
    assert largest_error(found, pair) < 0.5
    assert found.scale == pytest.approx(4, abs=0.01)
    assert not found.notes
    (doubt,) = by_scene(pair, mirrored=True).notes  # an edge that runs across both views fits its mirror image
    assert "fit poorly" in doubt
    assert "--mirrored" in doubt


def test_strangers_and_swapped_roles_are_named():
    pair = simulate_pair(texture(), ratio=1, scale=4)
    with pytest.raises(InputError, match="no overlap in space"):
        calibrate_by_scene(pair.coarse[0].astype(float), texture(seed=5)[0])
    with pytest.raises(InputError, match="exchange --fast and --sharp"):
        calibrate_by_scene(pair.sharp[0].astype(float), pair.coarse[0].astype(float))
