"""Made frames against the coarse camera, and the step that makes them agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scanweave.errors import InputError, UsageError
from scanweave.fusion.agreement import CameraModel, camera_model, patch_means, runs_of
from scanweave.fusion.api import prepare
from scanweave.fusion.calibration import Calibration
from scanweave.fusion.consistency import consistent
from scanweave.fusion.degradation import Degradation
from scanweave.fusion.noise import Noise
from scanweave.fusion.virtual import VirtualOptions, virtual

SHAPE = (128, 160)
BLOCKS = Calibration(
    method="stated", coarse_shape=(32, 40), sharp_shape=SHAPE, matrix=((4.0, 0, 1.5), (0, 4.0, 1.5), (0, 0, 1.0))
)
TURNED = BLOCKS.model_copy(update={"matrix": ((3.6, 0.1, 4.0), (-0.1, 3.6, 6.0), (0.0, 0.0, 1.0))})
SLOPE, BASE = 4e-4, 1e-4


def scene(shape=SHAPE):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (0.5 + 0.3 * np.sin(columns / 7) * np.cos(rows / 9)).astype(np.float32)


def noise(slope=SLOPE, base=BASE):
    return Noise(slope, base, float(np.sqrt(slope * 0.5 + base)))


def model(calibration=BLOCKS, *, sharp=1e-12, blur=0.0):
    return CameraModel(Degradation.of(calibration, blur=blur), noise(), Noise(0.0, sharp, sharp**0.5), blur)


def recorded(frame, cameras, seed=0):
    """Return the coarse frame with noise as the model has it."""
    clean = cameras.degradation(frame)
    noisy = clean + np.random.default_rng(seed).normal(0, 1, len(clean)) * np.sqrt(SLOPE * clean + BASE)
    whole = np.zeros(cameras.degradation.inside.shape, np.float32)
    whole[cameras.degradation.inside] = noisy
    return whole


@pytest.mark.parametrize("calibration", [BLOCKS, TURNED])
@pytest.mark.parametrize("blur", [0.0, 0.7])
def test_the_adjoint_is_one(calibration, blur):
    seen, rng = Degradation.of(calibration, blur=blur), np.random.default_rng(0)
    frame, pixels = rng.random(seen.shape), rng.random(len(seen.places))
    assert np.vdot(seen(frame), pixels) == pytest.approx(np.vdot(frame, seen.adjoint(pixels)), rel=1e-12)
    np.testing.assert_allclose(seen(np.full(seen.shape, 0.3)), 0.3)
    one = np.zeros(len(pixels))
    one[len(one) // 2] = 1
    if blur == 0:
        assert np.square(seen.adjoint(one)).sum() == pytest.approx(seen.passed, rel=0.4)


def test_pixels_that_are_blocks_are_means_of_blocks():
    seen, frame = Degradation.of(BLOCKS), np.random.default_rng(0).random(SHAPE)
    means = frame.reshape(32, 4, 40, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(seen.picture(seen(frame)), means)
    assert seen.passed == pytest.approx(1 / 16)
    np.testing.assert_allclose(seen.places[41], (4 + 1.5, 4 + 1.5))


@pytest.mark.parametrize("options", [{}, {"scale": 3.7, "angle": 0.02, "offset": (2.0, 1.0)}, {"blur": 0.6}])
def test_it_sees_what_the_simulated_camera_records(options, drifting):
    pair = virtual(drifting(shape=(48, 64), dtype=np.float32), VirtualOptions(ratio=4, **options))
    seen = Degradation.of(pair.calibration, blur=options.get("blur", 0.0))
    x0, y0, x1, y1 = prepare(pair.coarse, pair.sharp, pair.calibration, match="none").box
    np.testing.assert_allclose(
        seen(pair.truth.unit(5)[y0:y1, x0:x1]), seen.seen(pair.coarse.unit(5)), atol=1e-2 if options else 1e-6
    )


@pytest.mark.parametrize("calibration", [BLOCKS, TURNED])
def test_the_chi_square_of_the_truth_is_one_within_its_spread(calibration):
    cameras = model(calibration)
    frame = scene(cameras.degradation.shape)
    found = [cameras.agreement(frame, recorded(frame, cameras, seed)) for seed in range(20)]
    values = np.array([one.chi_square for one in found])
    assert np.abs(values - 1).max() < 4 * found[0].spread
    assert values.mean() == pytest.approx(1, abs=4 * found[0].spread / np.sqrt(20))
    assert values.std() == pytest.approx(found[0].spread, rel=0.5)
    assert not any(one.spots() for one in found)


def test_a_frame_as_noisy_as_a_sharp_one_gives_what_is_expected_at_most():
    cameras = model(sharp=0.01)
    frame = scene()
    noisy = frame + np.random.default_rng(1).normal(0, 0.1, SHAPE).astype(np.float32)
    found = cameras.agreement(noisy, recorded(frame, cameras))
    assert found.highest > 2
    assert found.chi_square == pytest.approx(found.highest, rel=0.15)
    assert np.square(found.whitened).mean() == pytest.approx(1, abs=0.15)


def test_an_invented_spot_is_flagged_at_its_place_and_an_erased_one_too():
    cameras, frame = model(), scene()
    seen = recorded(frame, cameras)
    made = frame.copy()
    made[60:68, 100:112] += 0.08
    made[20:28, 40:48] -= 0.12
    spots = cameras.agreement(made, seen).spots()
    assert [one.strength > 0 for one in sorted(spots, key=lambda one: one.x)] == [False, True]
    erased, invented = sorted(spots, key=lambda one: one.x)
    assert abs(invented.x - 105.5) <= 6
    assert abs(invented.y - 63.5) <= 6
    assert abs(erased.x - 43.5) <= 6
    assert abs(erased.y - 23.5) <= 6
    assert 0 < invented.deviation < 0.09


def test_a_frame_that_repeats_the_coarse_one_is_far_below():
    cameras, frame = model(), scene()
    seen = recorded(frame, cameras)
    copied = seen.repeat(4, axis=0).repeat(4, axis=1)
    assert cameras.agreement(copied, seen).chi_square < 1e-6


def test_consistency_leaves_what_agrees_and_mends_what_does_not():
    cameras, frame = model(), scene()
    seen = recorded(frame, cameras)
    same, before, after = consistent(frame, seen, cameras)
    assert same is frame
    assert before == after
    made = frame.copy()
    made[60:80, 100:120] += 0.08
    mended, before, after = consistent(made, seen, cameras)
    assert before > 1.3
    # no further than noise allows: the coarse camera's noise is not copied
    assert 0.8 < after < 1.2
    assert np.square(mended - frame).mean() < 0.2 * np.square(made - frame).mean()
    np.testing.assert_array_equal(mended[:30, :60], made[:30, :60])


def test_consistency_of_turned_and_blurred_cameras():
    cameras = model(TURNED, blur=0.5)
    frame = scene(cameras.degradation.shape)
    mended, before, after = consistent(frame + np.float32(0.05), recorded(frame, cameras), cameras)
    assert before > 5
    assert after < 1.5
    assert np.abs(mended - frame).mean() < 0.02


def test_consistent_frames_of_a_method_tell_before_and_after(drifting):
    pair = virtual(drifting(shape=(64, 64), frames=21), VirtualOptions(ratio=10, noise=0.003))
    job, plain = (
        prepare(pair.coarse, pair.sharp, pair.calibration, method="hold", match="none", consistent=wanted)
        for wanted in (True, False)
    )
    made, told = job.unit(7)
    held, _ = plain.unit(7)
    truth = pair.truth.unit(7)
    assert told["chi_square_after"][0] < told["chi_square_before"][0] / 5
    assert np.square(made - truth).mean() < 0.3 * np.square(held - truth).mean()
    assert job.method.describe()["name"] == "hold"
    assert job.method.describe()["consistent"] is True
    with pytest.raises(UsageError, match="published"):
        prepare(pair.coarse, pair.sharp, pair.calibration, consistent=True, mode="published-continuous")


def test_noise_blur_and_acquired_frames_are_told_from_both_runs(drifting):
    pair = virtual(
        drifting(shape=(96, 128), frames=25, dtype=np.float32), VirtualOptions(ratio=4, noise=0.01, blur=0.6)
    )
    found = camera_model(pair.coarse, pair.sharp, pair.calibration)
    assert found.coarse.unit == pytest.approx(0.01, rel=0.3)
    assert found.blur == pytest.approx(0.6, abs=0.25)
    assert found.at_once == pytest.approx(0.8, abs=0.3)
    assert found.pairs == 7


def test_means_of_patches_know_what_is_not_seen():
    values = np.ones((5, 5))
    values[0, 0] = np.nan
    found = patch_means(values)
    assert np.isnan(found[0, 0])
    assert found[2, 2] == pytest.approx(3)
    assert found[1, 1] == pytest.approx(8 / np.sqrt(8))
    assert runs_of([]) == []


def test_what_cannot_be_is_refused(drifting):
    with pytest.raises(UsageError, match="blur"):
        Degradation.of(BLOCKS, blur=-1)
    with pytest.raises(InputError, match="seen whole"):
        Degradation.of(BLOCKS, blur=30)
    with pytest.raises(InputError, match="expected"):
        Degradation.of(BLOCKS)(np.zeros((4, 4)))
    pair = virtual(drifting(), VirtualOptions(ratio=4))
    one = replace(pair.coarse, cine=pair.coarse.cine.select([0]))
    with pytest.raises(InputError, match="tells no noise"):
        camera_model(one, pair.sharp, pair.calibration)
