import numpy as np
import pytest

from scanweave.errors import InputError
from scanweave.fusion.published_grid import (
    GridTolerances,
    Squares,
    enlarged,
    foreground,
    lattices,
    paired,
    published_calibration,
    segmented,
)
from scanweave.fusion.published_registration import (
    common_box,
    largest_rectangle,
    of_flow,
    registered,
    sharp_levels,
)
from scanweave.fusion.published_registration import foreground as seen_by_both
from scanweave.fusion.rigid import Similarity, moved


def unpacked(bits, shape):
    return np.unpackbits(bits)[: np.prod(shape)].reshape(shape).astype(bool)


@pytest.fixture(scope="module")
def pipeline(vectors):
    return vectors("xfusion/calib_pipeline")


@pytest.fixture(scope="module")
def preprocess(vectors):
    return vectors("xfusion/actual_preprocess")


def test_squares_pair_as_published(vectors):
    golden = vectors("xfusion/calib_closed_forms")

    def squares(name):
        return Squares(
            golden[f"pair_list_cent_{name}"],
            golden[f"pair_num_dots_{name}"],
            golden[f"pair_{name}_center_"],
            np.stack([golden[f"pair_b1_{name}"], golden[f"pair_b2_{name}"]]),
            float(golden[f"pair_pitch_{name}"]),
            float(golden[f"pair_nn_num_dots_{name}"]),
        )

    tolerances = GridTolerances(float(golden["pair_tol_pos"]), float(golden["pair_tol_area"]))
    coarse, sharp = paired(squares("shimadzu"), squares("phantom"), tolerances)
    np.testing.assert_allclose(coarse, golden["pair_out_shimadzu_xy"], atol=1e-9)
    np.testing.assert_allclose(sharp, golden["pair_out_phantom_xy"], atol=1e-9)


def test_masks_and_axes_are_the_published_ones(pipeline):
    sharp = np.ascontiguousarray(pipeline["phantom_avg_raw"][:, ::-1])
    coarse = enlarged(pipeline["shimadzu_avg_raw"])
    for image, name in ((sharp, "phantom"), (coarse, "shimadzu")):
        golden = unpacked(pipeline[f"fg_{name}"], image.shape)
        assert np.mean(foreground(image) != golden) < 1e-3
    masks = segmented(sharp, coarse)
    for mask, name in zip(masks, ("phantom", "shimadzu"), strict=True):
        assert np.mean(mask != unpacked(pipeline[f"seg_{name}"], mask.shape)) < 1e-3
    for lattice, name in zip(lattices(*masks), ("phantom", "shimadzu"), strict=True):
        np.testing.assert_allclose(lattice.origin, pipeline[f"{name}_center"], atol=0.05)
        axes = np.stack([pipeline[f"b1_{name}"], pipeline[f"b2_{name}"]])
        np.testing.assert_allclose(lattice.axes, axes, atol=2e-3)
        assert lattice.pitch == pytest.approx(float(pipeline[f"pitch_{name}"]), abs=0.05)


def test_whole_published_calibration(pipeline):
    fit = published_calibration(
        pipeline["shimadzu_avg_raw"], pipeline["phantom_avg_raw"], lambda place: pipeline["flow_xy"]
    )
    np.testing.assert_allclose(fit.coarse, pipeline["pairs_shimadzu_xy"], atol=0.05)
    np.testing.assert_allclose(fit.sharp, pipeline["pairs_phantom_xy"], atol=0.05)
    np.testing.assert_allclose(fit.scale, pipeline["scale_iso"], atol=5e-4)
    np.testing.assert_allclose(fit.scale_xy, pipeline["scale_xy_corrected"][0], atol=5e-4)
    np.testing.assert_allclose(fit.scale_xy[::-1], pipeline["file_scale"], atol=5e-4)
    for made, name in ((fit.first, "tfm_pass1"), (fit.rigid, "tfm_pass2"), (fit.rigid, "file_tfm")):
        np.testing.assert_allclose(made[:2, :2], pipeline[name][:2, :2], atol=2e-4)
        np.testing.assert_allclose(made[:2, 2], pipeline[name][:2, 2], atol=0.1)
    assert np.degrees(fit.angle) == pytest.approx(float(pipeline["file_rot"]), abs=0.012)
    assert (fit.rotated, fit.changed) == (False, bool(pipeline["changed"]))
    for made, name in zip(fit.residuals, ("residual_pass1", "residual_pass2"), strict=True):
        np.testing.assert_allclose(made, pipeline[name], atol=0.1)


def test_experiment_frames_are_registered_as_published(preprocess):
    sy, sx, angle, x, y = preprocess["x_sy_sx_rot_tx_ty"]
    calibration = Similarity(sx, sy, angle, x, y)
    shape = preprocess["phantom_raw"].shape[1:]
    golden = unpacked(preprocess["foreground"], shape)
    seen = seen_by_both(preprocess["shimadzu_raw"].shape[1:], shape, calibration)
    assert np.mean(seen != golden) < 1e-3
    assert largest_rectangle(golden) == tuple(preprocess["lir_xywh"])
    box = common_box(golden, misread=True)
    assert box == tuple(preprocess["bbox_upstream_xyxy"])
    left, top, right, below = box
    for i in range(3):
        made = registered(preprocess["shimadzu_raw"][i], shape, calibration)[top:below, left:right]
        off = np.abs(made - preprocess["shimadzu_crop_f32"][i])
        assert off.max() < 2
        assert off.mean() < 0.05
        levels = sharp_levels(preprocess["phantom_raw"][i])[top:below, left:right]
        np.testing.assert_array_equal(levels, preprocess["phantom_crop_u8"][i])


def test_rectangle_read_rightly_keeps_all_that_both_cameras_see(preprocess):
    shape = preprocess["phantom_raw"].shape[1:]
    golden = unpacked(preprocess["foreground"], shape)
    left, top, right, below = common_box(golden)
    assert (right - left, below - top) == (160, 128)
    assert golden[top:below, left:right].all()


def test_largest_rectangle_is_the_largest():
    rng = np.random.default_rng(0)
    for _ in range(20):
        seen = rng.random((7, 9)) < 0.8
        areas = [
            (r2 - r) * (c2 - c)
            for r in range(7)
            for c in range(9)
            for r2 in range(r + 1, 8)
            for c2 in range(c + 1, 10)
            if seen[r:r2, c:c2].all()
        ]
        x, y, width, height = largest_rectangle(seen)
        assert seen[y : y + height, x : x + width].all()
        assert width * height == max(areas)


def test_flow_of_the_calibrator_amounts_to_the_published_values(vectors):
    golden = vectors("xfusion/flow_calibrator_math")
    rows, columns = golden["fit_sk_row_col"]
    left, top = golden["fit_sk_bbox"][:2]
    fitted = of_flow(golden["warp_flow_px"][0], sharp_shape=(int(rows), int(columns)), corner=(int(left), int(top)))
    values = [fitted.scale_y, fitted.scale_x, fitted.angle, fitted.x, fitted.y]
    np.testing.assert_allclose(values, golden["fit_sk_x"], atol=1e-4)


def test_coarse_image_that_is_turned_pairs_all_the_same():
    def grid(shape, pitch, matrix):
        y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
        back = moved(np.linalg.inv(matrix), np.stack([x, y], axis=-1).reshape(-1, 2)).reshape(*shape, 2)
        inside = (np.abs((back / pitch + 0.5) % 1 - 0.5) < 0.25).all(axis=-1) & (np.abs(back) < 4.4 * pitch).all(
            axis=-1
        )
        return (10_000 + 20_000 * inside).astype(np.uint16)

    sharp = grid((300, 340), 30.0, Similarity(1, 1, 0.0, 170, 150).matrix)
    coarse = grid((96, 108), 10.0, Similarity(1, 1, 0.1, 54, 48).matrix)
    fit = published_calibration(coarse, sharp[:, ::-1], lambda place: np.zeros(2))
    assert fit.rotated
    assert fit.angle == pytest.approx(-0.1, abs=0.01)
    assert len(fit.coarse) > 40
    assert fit.residuals[1].mean() < 1


def test_images_without_a_grid_are_refused():
    flat = np.full((120, 120), 1000, np.uint16)
    with pytest.raises(InputError, match="no grid"):
        published_calibration(flat[:40, :40], flat, lambda place: np.zeros(2))
