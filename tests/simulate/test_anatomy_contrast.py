"""Contrasts against their equations, and what acquisition adds against its statistics."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from scanweave.errors import InputError
from scanweave.simulate import (
    CONTRASTS,
    MATERIALS,
    Acquisition,
    AcquisitionConfig,
    HeadConfig,
    HeartConfig,
    HeartParams,
    InversionRecovery,
    SpinEcho,
    SteadyState,
    ThoraxParams,
    draw_acquisition,
    draw_anatomy,
    draw_contrast,
    image,
    images,
)
from scanweave.simulate.acquisition import gaussian, rician
from scanweave.simulate.contrast import Structure, as_contrast

WHITE, FLUID = Structure("white", "white matter"), Structure("fluid", "fluid")


def test_spin_echo():
    """White matter of T1 500, T2 70, PD 0.77 at TR 500, TE 70: 0.77 (1 - 1/e) / e."""
    assert MATERIALS["white matter"].t1 == 500
    expected = 0.77 * (1 - math.exp(-1)) * math.exp(-1)
    assert SpinEcho(repetition=500, echo=70).means([WHITE])[0] == pytest.approx(expected)
    assert SpinEcho(repetition=1e6, echo=0).means([WHITE, FLUID]) == pytest.approx([0.77, 1.0])


def test_inversion_recovery_nulls_where_it_should():
    """With TR >> T1 the null is at TI = T1 ln 2; at TI = 0 all of the magnetisation is upside down."""
    null = InversionRecovery(repetition=1e6, inversion=2569 * math.log(2), echo=0)
    assert null.means([FLUID])[0] == pytest.approx(0, abs=1e-12)
    assert InversionRecovery(repetition=1e6, inversion=0, echo=0).means([WHITE])[0] == pytest.approx(0.77)


def test_steady_state_goes_to_its_limit_of_short_repetition():
    """TR << T2: PD sin a / (1 + cos a + (1 - cos a) T1 / T2)."""
    angle = math.radians(60)
    limit = 0.77 * math.sin(angle) / (1 + math.cos(angle) + (1 - math.cos(angle)) * 500 / 70)
    assert SteadyState(repetition=1e-3, flip=60).means([WHITE])[0] == pytest.approx(limit, rel=1e-3)


def test_named_contrasts_rank_tissue_as_they_are_known_to():
    order = ["fluid", "grey matter", "white matter"]
    parts = [Structure(name, name) for name in order]
    t1, t2, flair = (CONTRASTS[name].means(parts) for name in ("t1", "t2", "flair"))
    assert t1[0] < t1[1] < t1[2]
    assert t2[0] > t2[1] > t2[2]
    assert flair[0] < 0.4 * flair[2]
    blood, wall = CONTRASTS["cine"].means([Structure("b", "blood"), Structure("m", "myocardium")])
    assert blood > 1.5 * wall


@pytest.mark.parametrize("name", sorted(CONTRASTS))
def test_contrasts_go_to_json_and_back(name):
    contrast = CONTRASTS[name]
    assert as_contrast(json.loads(json.dumps(contrast.as_json()))) == contrast


def test_a_random_contrast_shows_its_own_values_and_only_its_own_anatomy():
    params = draw_anatomy(HeartConfig(), generator=np.random.default_rng(0))
    drawn = draw_contrast(HeartParams.STRUCTURES, generator=np.random.default_rng(1))
    again = json.loads(json.dumps(drawn))
    picture = image(params, drawn, (40, 40), (6, 6), supersample=1)
    np.testing.assert_array_equal(image(params, again, (40, 40), (6, 6), supersample=1), picture)
    assert set(np.unique(picture)) <= set(np.float32(drawn["brightness"]))
    assert drawn["brightness"][0] == 0
    other = draw_contrast(ThoraxParams.STRUCTURES, generator=np.random.default_rng(1))
    with pytest.raises(InputError, match="cannot show"):
        image(params, other, (10, 10), (6, 6))
    with pytest.raises(InputError, match="no contrast"):
        image(params, {"kind": "holiday"}, (10, 10), (6, 6))


def test_rician_noise_has_its_moments():
    """Mean of no signal: sd sqrt(pi / 2); mean square: S^2 + 2 sd^2. To 5 standard errors of 90 000 voxels."""
    generator = np.random.default_rng(0)
    empty = rician(np.zeros((300, 300)), deviation=0.5, generator=generator)
    assert empty.mean() == pytest.approx(0.5 * math.sqrt(math.pi / 2), abs=5 * 0.328 / 300)
    square = rician(np.full((300, 300), 2.0), deviation=0.5, generator=generator).astype(float) ** 2
    assert square.mean() == pytest.approx(4.5, abs=5 * 2.1 / 300)
    flat = gaussian(np.full((300, 300), -1000.0), deviation=20, generator=generator)
    assert flat.mean() == pytest.approx(-1000, abs=5 * 20 / 300)
    assert flat.std() == pytest.approx(20, rel=0.02)


def test_texture_has_the_variation_and_grain_asked_for():
    """White noise blurred by s is correlated as exp(-d^2 / (4 s^2))."""
    acquisition = Acquisition(seed=1, texture=0.1, grain=3.0)
    seen = acquisition.applied(np.ones((256, 256), np.float32), spacing=(1.5, 1.0), centre=(0, 0)) - 1
    assert seen.std() == pytest.approx(0.1, rel=0.08)
    for axis, step in ((0, 1.5), (1, 1.0)):
        found = np.mean(seen * np.roll(seen, 2, axis)) / np.mean(seen**2)
        assert found == pytest.approx(math.exp(-((2 * step) ** 2) / 36), abs=0.05)


def test_the_reception_field_lies_still_in_space():
    acquisition = Acquisition(seed=4, bias=0.3)
    coarse = acquisition.reception((5, 7, 9), spacing=(20.0, 20.0, 20.0), centre=(0, 0, 0))
    fine = acquisition.reception((9, 13, 17), spacing=(10.0, 10.0, 10.0), centre=(0, 0, 0))
    np.testing.assert_allclose(fine[::2, ::2, ::2], coarse, rtol=1e-6)
    wide = np.log(acquisition.reception((60, 60, 60), spacing=(200.0,) * 3, centre=(0, 0, 0)))
    assert wide.std() == pytest.approx(0.3, rel=0.05)
    plane = acquisition.reception((7, 9), spacing=(20.0, 20.0), centre=(0, 0))
    np.testing.assert_allclose(plane, coarse[2], rtol=1e-6)


def test_acquisitions_replay_and_differ():
    params = draw_anatomy(HeadConfig(), generator=np.random.default_rng(0))
    generator = np.random.default_rng(5)
    first, second = (draw_acquisition(AcquisitionConfig(), generator=generator) for _ in range(2))
    grid = ((40, 40), (5.0, 5.0))
    scans = images(params, ["t1", "t1"], *grid, acquisitions=[first, json.loads(json.dumps(first))])
    np.testing.assert_array_equal(scans[0], scans[1])
    assert np.abs(image(params, "t1", *grid, acquisition=second) - scans[0]).max() > 0.01
    assert scans.dtype == np.float32
    assert scans.min() >= 0
    clean = image(params, "t1", *grid, acquisition=Acquisition(seed=0))
    np.testing.assert_array_equal(clean, image(params, "t1", *grid))
