import numpy as np
import pytest
import torch

from scanweave.fusion.flow_warp import values_of_flow, warp_by_flow, warp_by_values
from scanweave.fusion.rigid import Similarity


@pytest.fixture(scope="module")
def golden(vectors):
    return vectors("xfusion/flow_calibrator_math")


def test_images_moved_by_a_flow(golden, agree):
    warped, inside = warp_by_flow(torch.from_numpy(golden["warp_img"]), torch.from_numpy(golden["warp_flow_px"]))
    agree(warped, golden["warp_out"], 1e-3)
    shape = tuple(golden["warp_mask_shape"])
    mask = np.unpackbits(golden["warp_mask"])[: np.prod(shape)].reshape(shape)
    assert np.sum(inside.numpy() != mask) <= 1


def test_values_of_a_flow(golden):
    found = values_of_flow(torch.from_numpy(golden["warp_flow_px"]))
    values = [found.scale_y, found.scale_x, found.angle, found.x, found.y]
    np.testing.assert_allclose(values, golden["fit_norm_x"], atol=1e-4)


def test_images_moved_by_values_and_the_box_that_stays_filled(golden, agree):
    for i in range(3):
        sy, sx, angle, x, y = (float(value) for value in golden[f"affine{i}_x"])
        warped, box = warp_by_values(torch.from_numpy(golden[f"affine{i}_img"]), Similarity(sx, sy, angle, x, y))
        agree(warped, golden[f"affine{i}_out"], 1e-4)
        assert box == tuple(golden[f"affine{i}_bbox"])
