import numpy as np
import pytest

from scanweave.errors import InputError
from scanweave.fusion.cameras import CameraRecord
from scanweave.fusion.clocks import (
    Clocks,
    check_times,
    enclosing,
    from_images,
    from_marks,
    from_stamps,
    missing,
    nearest,
    seconds,
)


def happening(t):
    return np.stack([np.sin(3 * t) + np.cos(7.3 * t + 1), np.exp(-5 * (t - 2) ** 2), np.cos(t * t)], axis=1)


@pytest.mark.parametrize("exposure", [0.0, 0.05])
def test_images_tell_the_clocks(exposure):
    truth = Clocks(1.001, -0.7437)
    fast, sharp = np.arange(0, 4, 0.01), np.arange(0, 2.5, 0.11)
    moments = [(sharp + d - truth.offset) / truth.rate for d in (np.linspace(0, exposure, 40) if exposure else [0.0])]
    seen = np.mean([happening(t) for t in moments], axis=0)
    noisy = happening(fast) + np.random.default_rng(0).normal(0, 0.005, (len(fast), 3))
    found = from_images(noisy, fast, seen, sharp, fit_rate=True, sharp_exposure=exposure)
    assert found.offset == pytest.approx(truth.offset, abs=2e-3)
    assert found.rate == pytest.approx(truth.rate, abs=1e-3)
    assert found.agreement > 0.99


def test_images_tell_the_clocks_of_long_irregular_runs():
    rng = np.random.default_rng(3)
    fast, sharp = (np.cumsum(rng.uniform(0.9, 1.1, n)) * d for n, d in ((20000, 0.01), (935, 0.2)))
    centres, height = rng.uniform(-50, 250, 400), rng.normal(size=(2, 400))

    def seen(times):
        return np.stack([np.exp(-(((times[:, None] - centres) / 0.4) ** 2)) @ one for one in height], axis=1)

    found = from_images(seen(fast) + rng.normal(0, 0.02, (len(fast), 2)), fast, seen(sharp - 31.4159), sharp)
    assert found.offset == pytest.approx(31.4159, abs=2e-3)


def test_marks_tell_the_clocks():
    fast = np.array([0.0, 1.0, 2.0, 5.0])
    found = from_marks(fast, 0.999 * fast + 3)
    assert (found.rate, found.offset) == pytest.approx((0.999, 3))
    assert found.agreement == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match="backwards"):
        from_marks([0, 1], [1, 0])
    with pytest.raises(InputError, match="2 and 3 moments"):
        from_marks([0, 1], [1, 0, 2])


def test_stamps_meet_at_the_first_flagged_frame():
    fast = CameraRecord("a", np.arange(10) * 1000 + 3000)
    sharp = CameraRecord("b", np.arange(6) * 5000, flagged=np.arange(6) >= 2, exposure_ns=400.0)
    np.testing.assert_allclose(seconds(sharp), (np.arange(6) - 2) * 5e-6)
    clocks = from_stamps(fast, sharp, offset=1e-6)
    # the middle of the sharp exposure lies 200 ns after its time
    assert clocks.on_sharp(seconds(fast))[3] == pytest.approx(3e-6 - 1e-6 - 0.2e-6)
    np.testing.assert_allclose(clocks.on_fast(clocks.on_sharp([0.0, 1.0])), [0.0, 1.0], atol=1e-12)


def test_ends_are_not_clamped():
    sharp = np.array([0.0, 1.0, 2.5, 3.0])
    before, after = enclosing(sharp, [-0.1, 0.0, 0.4, 1.0 - 1e-12, 2.6, 3.0, 9.0])
    assert before.tolist() == [-1, 0, 0, 1, 2, 3, 3]
    assert after.tolist() == [0, 1, 1, 2, 3, -1, -1]
    assert nearest(sharp, [-5.0, 0.6, 2.0, 9.0]).tolist() == [0, 1, 2, 3]
    assert nearest(sharp, [-5.0, 0.6, 2.0, 9.0], within=0.5).tolist() == [-1, 1, 2, -1]
    assert nearest([1.0], [0.0, 2.0]).tolist() == [0, 0]


def test_dropped_frames_are_counted():
    assert missing([0, 1, 2, 5, 6, 8]).tolist() == [0, 0, 2, 0, 1]
    assert missing([0]).tolist() == []


def test_runs_that_do_not_go_together_are_named():
    fast, sharp = np.arange(100) * 0.1, np.arange(10) * 1.0
    check_times(fast, sharp, Clocks())
    with pytest.raises(InputError, match="exchange --fast and --sharp"):
        check_times(sharp, fast, Clocks())
    with pytest.raises(InputError, match="no overlap in time"):
        check_times(fast, sharp, Clocks(offset=50.0))
    with pytest.raises(InputError, match="1 sharp"):
        check_times(fast, sharp[:1], Clocks())


def test_images_that_cannot_tell_are_refused():
    t = np.arange(40.0)
    rng = np.random.default_rng(1)
    with pytest.raises(InputError, match="nothing happens"):
        from_images(np.ones(40), t, np.ones(10), t[:10])
    with pytest.raises(InputError, match="40 frames and 39 times"):
        from_images(np.ones(40), t[:39], np.ones(10), t[:10])
    with pytest.raises(InputError, match="signals"):
        from_images(rng.random((40, 2)), t, rng.random((10, 3)), t[:10])
    with pytest.raises(InputError, match="no offset"):
        from_images(rng.random((40, 8)), t, rng.random((10, 8)), t[:10] * 3)
