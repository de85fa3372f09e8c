import numpy as np
import pytest

from scanweave.simulate.cameras import simulate_pair


@pytest.fixture(scope="module")
def scene():
    y, x = np.mgrid[:48, :64].astype(np.float32)
    return np.stack([np.sin(0.2 * x + 0.1 * t) + np.cos(0.15 * y) for t in range(25)]).astype(np.float32)


def test_coarse_frames_are_means_over_blocks(scene):
    pair = simulate_pair(scene, ratio=10, scale=4)
    blocks = scene.reshape(25, 12, 4, 16, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(pair.coarse, blocks, atol=1e-4)
    np.testing.assert_array_equal(pair.sharp, scene[[0, 10, 20]])
    assert pair.sharp_times.tolist() == [0, 10, 20]
    np.testing.assert_allclose(pair.matrix @ [0, 0, 1], [1.5, 1.5, 1])


def test_matrix_says_where_coarse_pixels_lie(scene):
    pair = simulate_pair(scene, scale=(3, 4), offset=(2.5, -1.5), angle=0.1)
    x, y, _ = pair.matrix @ [10, 6, 1]
    truth = np.sin(0.2 * x + 0.1 * 3) + np.cos(0.15 * y)
    assert pair.coarse[3, 6, 10] == pytest.approx(truth, abs=0.05)


def test_mirrored_sharp_camera(scene):
    plain, mirrored = (simulate_pair(scene, angle=0.1, mirrored=flag) for flag in (False, True))
    np.testing.assert_array_equal(mirrored.sharp, plain.sharp[..., ::-1])
    x, y, _ = plain.matrix @ [3, 4, 1]
    np.testing.assert_allclose(mirrored.matrix @ [3, 4, 1], [63 - x, y, 1])


def test_times_exposure_and_delay(scene):
    pair = simulate_pair(scene, times=np.arange(25) * 1e-6, ratio=7.5, first=1, exposure=3, delay=5e-6)
    assert pair.chosen.tolist() == [1, 8, 16]
    np.testing.assert_allclose(pair.sharp[1], scene[8:11].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(pair.sharp_times, pair.chosen * 1e-6 + 5e-6)


def test_noise_is_as_stated(scene):
    flat = np.full((20, 40, 40), 8.0)
    pair = simulate_pair(flat, photons=400, generator=np.random.default_rng(0))
    assert pair.coarse.std() == pytest.approx(8 / np.sqrt(400), rel=0.1)
    normal = simulate_pair(flat, noise=0.3, generator=np.random.default_rng(0))
    assert normal.coarse.std() == pytest.approx(0.3, rel=0.1)
    again = simulate_pair(flat, noise=0.3, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(normal.coarse, again.coarse)


def test_cameras_that_cannot_be_are_refused(scene):
    with pytest.raises(ValueError, match="sharper or the slower"):
        simulate_pair(scene, scale=0.5)
    with pytest.raises(ValueError, match="generator"):
        simulate_pair(scene, noise=0.1)
    with pytest.raises(ValueError, match="exposure"):
        simulate_pair(scene, exposure=11)
