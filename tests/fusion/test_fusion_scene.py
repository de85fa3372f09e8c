"""Both cameras on one grid: exact where pixels coincide, right where they do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scanweave.cine import Cine
from scanweave.errors import InputError
from scanweave.fusion.calibration import Calibration
from scanweave.fusion.frames import Frames
from scanweave.fusion.scene import Scene, common_box, whole_step


def calibrated(matrix, coarse=(8, 12), sharp=(32, 48)):
    return Calibration(method="stated", coarse_shape=coarse, sharp_shape=sharp, matrix=matrix)


def ramp(shape, matrix=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))):
    """What a camera sees of light that rises along x by 1 and along y by 2 per pixel of the sharp one."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    matrix = np.asarray(matrix)
    x = matrix[0, 0] * columns + matrix[0, 1] * rows + matrix[0, 2]
    y = matrix[1, 0] * columns + matrix[1, 1] * rows + matrix[1, 2]
    cine = Cine.from_array((x + 2 * y)[None].astype(np.float32), fps=1)
    return Frames.of(cine, "fast", window=(0, 1))


FOUR = ((4.0, 0.0, 1.5), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0))


def test_coinciding_pixels_come_out_as_recorded():
    calibration = calibrated(FOUR)
    coarse = ramp((8, 12), FOUR)
    scene = Scene(coarse, ramp((32, 48)), calibration, step=4, multiple=16)
    assert scene.box == (0, 0, 48, 32)
    np.testing.assert_array_equal(scene.coarse_frame(0)[0, 0].numpy(), coarse.unit(0))
    np.testing.assert_allclose(scene.blocks(scene.sharp_frame(0))[0, 0].numpy(), coarse.unit(0), rtol=1e-5)


@pytest.mark.parametrize("scale", [2.0, 2.9, 4.4, 1.0])
@pytest.mark.parametrize("angle", [0.0, 0.03])
def test_any_scale_and_rotation_shows_the_same_light(scale, angle):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    matrix = ((cos, -sin, 5.0), (sin, cos, 3.0), (0.0, 0.0, 1.0))
    calibration = calibrated(matrix, coarse=(20, 24), sharp=(64, 80))
    scene = Scene(ramp((20, 24), matrix), ramp((64, 80)), calibration, step=4, multiple=4)
    coarse, sharp = scene.coarse_frame(0), scene.blocks(scene.sharp_frame(0))
    assert coarse.shape == sharp.shape
    inner = (..., slice(2, -2), slice(2, -2))  # light beyond the camera's last pixel centres is not known
    torch.testing.assert_close(coarse[inner], sharp[inner], atol=0.02, rtol=0)


def test_a_mirrored_camera():
    matrix = ((-4.0, 0.0, 45.5), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0))
    scene = Scene(ramp((8, 12), matrix), ramp((32, 48)), calibrated(matrix), step=4)
    torch.testing.assert_close(scene.coarse_frame(0), scene.blocks(scene.sharp_frame(0)), atol=1e-3, rtol=0)


def test_sides_are_filled_up_by_the_border_and_cropped_back():
    calibration = calibrated(((4.0, 0.0, 1.5), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0)), coarse=(5, 7), sharp=(20, 28))
    scene = Scene(ramp((5, 7), FOUR), ramp((20, 28)), calibration, step=4, multiple=16)
    frame = scene.sharp_frame(0)
    assert frame.shape == (1, 1, 32, 32)
    assert torch.equal(frame[..., 31, :28], frame[..., 19, :28])
    assert scene.coarse_frame(0).shape == (1, 1, 8, 8)
    assert scene.cropped(frame).shape == (1, 1, 20, 28)


def test_views_that_do_not_meet_are_refused():
    beside = calibrated(((4.0, 0.0, 60.0), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0)))
    with pytest.raises(InputError, match="no overlap in space"):
        common_box(beside)
    assert whole_step(calibrated(FOUR)) == 4
