import numpy as np
import pytest

from scanweave.errors import InputError
from scanweave.fusion.published_files import read_published
from scanweave.fusion.published_grid import published_calibration
from scanweave.fusion.rigid import fit_similarity, moved, residuals, rotation

SHAPES = {"coarse_shape": (92, 112), "sharp_shape": (300, 360)}
TAIL = "1_0.10_0.10_flow_init_rotation_inv_lbl_outliers.npy"


@pytest.fixture
def golden(vectors):
    return vectors("xfusion/calib_pipeline")


def saved(folder, rigid, scales, degrees, tail=TAIL):
    for name, array in (("tfm", rigid), ("scale_factor", scales), ("rot", degrees)):
        np.save(folder / f"{name}_{tail}", array)
    return folder


def test_published_files_put_the_squares_where_they_are(tmp_path, golden):
    folder = saved(tmp_path, golden["file_tfm"], golden["file_scale"], golden["file_rot"])
    found = read_published(folder, **SHAPES)
    assert found.mirrored
    fit = published_calibration(golden["shimadzu_avg_raw"], golden["phantom_avg_raw"], lambda p: golden["flow_xy"])
    recorded = fit.sharp * (-1, 1) + (359, 0)
    off = residuals(found.affine, (fit.coarse + 0.5) / 3 - 0.5, recorded)
    np.testing.assert_allclose(off, golden["residual_pass2"], atol=1e-3)


def test_rotation_that_the_published_program_loses_is_applied(tmp_path):
    # squares seen by a camera that is turned: published values are fitted to the image turned back
    rng = np.random.default_rng(0)
    raw = rng.uniform(10, 80, (30, 2))
    large, middle, angle = 3 * raw + 1, np.array([168.0, 138.0]), 0.1
    turned = (large - middle) @ rotation(angle).T + middle
    pad = (np.array([360, 300]) - np.array([336, 276])) // 2
    rigid = np.eye(3)
    rigid[:2, 2] = 5.0, -3.0
    sharp = turned + pad + (5.0, -3.0)
    folder = saved(tmp_path, rigid, np.ones(2), np.degrees(angle))
    found = read_published(folder, **SHAPES)
    recorded = sharp * (-1, 1) + (359, 0)
    assert residuals(found.affine, raw, recorded).max() < 1e-6
    assert "rotation" in found.notes[0]
    assert fit_similarity(raw, sharp).angle == pytest.approx(angle)
    np.testing.assert_allclose(moved(found.similarity.matrix, raw), sharp, atol=1e-6)


def test_files_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(InputError, match="holds 0 files tfm"):
        read_published(tmp_path, **SHAPES)
    saved(tmp_path, np.eye(3), np.ones((1, 2)), 0.0)
    read_published(tmp_path, **SHAPES)
    saved(tmp_path, np.eye(3), np.ones(3), 0.0, tail="2_x.npy")
    with pytest.raises(InputError, match="--published-tag"):
        read_published(tmp_path, **SHAPES)
    with pytest.raises(InputError, match=r"array \(3,\)"):
        read_published(tmp_path, tag="2", **SHAPES)
    np.save(tmp_path / "rot_2_x.npy", np.array([{}], dtype=object))
    with pytest.raises(InputError, match="no array of numbers"):
        saved(tmp_path, np.eye(3), np.ones(2), np.array([{}], dtype=object), tail="2_x.npy")
        read_published(tmp_path, tag="2", **SHAPES)
