import numpy as np
import pytest

from scanweave.fusion.lattice import find_lattice
from scanweave.simulate.target import TargetConfig, TargetParams


def target(**values):
    return TargetParams(
        **{
            "size": (120, 160), "pitch": 16.0, "share": 0.5, "contrast": 0.8, "origin": (80.0, 60.0),
            "first": (-3, -2), "last": (4, 3), "beam": (80.0, 60.0), **values,
        }
    )  # fmt: skip


def test_squares_lie_where_they_were_put():
    params = target(angle=0.05, missing=((1, 1),))
    found = find_lattice(params.render().astype(np.float64))
    assert len(found.points) == 8 * 6 - 1
    assert found.pitch == pytest.approx(16, abs=0.1)
    assert found.angle == pytest.approx(0.05, abs=0.002)
    assert np.linalg.norm(found.points - (80, 60), axis=1).min() < 0.1


def test_edges_are_as_bright_as_their_share():
    wide, narrow = (target(share=share).render().sum(dtype=np.float64) for share in (0.5, 0.25))
    bare = target(contrast=0.0).render().sum(dtype=np.float64)
    # relative to the beam, squares add 0.8 of their area; the picture is scaled by 1 / 1.8
    assert (1.8 * wide - bare) / (1.8 * narrow - bare) == pytest.approx(4, rel=0.02)


def test_targets_are_drawn_once_and_come_back_from_json():
    generator = np.random.default_rng(3)
    for _ in range(5):
        params = TargetParams.draw(TargetConfig(size=(96, 128)), generator=generator)
        picture = params.render()
        assert picture.shape == (96, 128)
        assert picture.dtype == np.float32
        assert 0 < picture.min() < picture.max() < 1.2
        np.testing.assert_array_equal(TargetParams.from_json(params.as_json()).render(), picture)
