"""Motion in continuous time: special cases in closed form, inverses, and never a fold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.errors import InputError
from scanweave.simulate import Contraction, Motion, Rigid, Ripple, Wave, draw_ripple
from scanweave.simulate.motion import activation
from scanweave.simulate.warping import sampled

SHAPE = (40, 56)


def beating(squeeze: float = 0.8, twist: float = 0.3) -> Contraction:
    return Contraction(centre=(27.0, 21.0), radii=(14.0, 9.0), angle=0.4, squeeze=squeeze, twist=twist)


def moving(seed: int) -> Motion:
    generator = np.random.default_rng(seed)
    ripple = draw_ripple(48.0, strain=generator.uniform(0.1, 0.9), rate=5.0, generator=generator)
    rigid = Rigid(
        velocity=tuple(generator.uniform(-20, 20, 2)),
        spin=generator.uniform(-2, 2),
        centre=tuple(generator.uniform(0, 40, 2)),
    )
    beats = (beating(generator.uniform(0.1, 3), generator.uniform(-1, 1)), beating(generator.uniform(-0.8, 0), 0.0))
    return Motion(ripple=ripple, rigid=rigid, contractions=beats)


def jacobian(motion: Motion, x: np.ndarray, y: np.ndarray, time: float) -> np.ndarray:
    """Determinant of the backward map, by central differences."""
    step = 1e-4
    right, left = motion.back(x + step, y, time), motion.back(x - step, y, time)
    below, above = motion.back(x, y + step, time), motion.back(x, y - step, time)
    (a, c), (b, d) = (
        [(more - less) / (2 * step) for more, less in zip(*pair, strict=True)]
        for pair in ((right, left), (below, above))
    )
    return a * d - b * c


def grid() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.arange(SHAPE[1], dtype=float), np.arange(SHAPE[0], dtype=float))
    return x, y


def test_no_motion_leaves_every_point_where_it_is():
    x, y = grid()
    for found, expected in zip(Motion().back_grid(SHAPE, 3.0), (x, y), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not Motion().flow(SHAPE, 0.0, 1.0).any()


@pytest.mark.parametrize("time", [0.0, 0.25, 1.0])
def test_constant_velocity_shifts_the_still_exactly(time):
    still = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    frame = sampled(still, *Motion(rigid=Rigid(velocity=(8.0, -4.0))).back_grid(SHAPE, time))
    right, up = round(8 * time), round(4 * time)
    inside = still[up:, : SHAPE[1] - right]
    np.testing.assert_allclose(frame[: SHAPE[0] - up, right:], inside, atol=2e-5)


def test_a_quarter_turn_is_the_turned_still():
    still = np.random.default_rng(1).random((33, 33), dtype=np.float32)
    motion = Motion(rigid=Rigid(spin=math.pi, centre=(16.0, 16.0)))
    frame = sampled(still, *motion.back_grid((33, 33), 0.5))
    # From x (columns) towards y (rows, down): clockwise as seen.
    np.testing.assert_allclose(frame, np.rot90(still, -1), atol=2e-5)


def test_flow_of_constant_velocity_and_of_turning():
    flow = Motion(rigid=Rigid(velocity=(3.0, -2.0))).flow(SHAPE, 0.5, 1.5)
    np.testing.assert_allclose(flow, np.broadcast_to(np.array([3.0, -2.0])[:, None, None], flow.shape), atol=1e-5)
    x, y = grid()
    turned = Motion(rigid=Rigid(spin=0.3, centre=(10.0, 5.0))).flow(SHAPE, 1.0, 2.0)
    cosine, sine = math.cos(0.3), math.sin(0.3)
    np.testing.assert_allclose(turned[0], (x - 10) * (cosine - 1) - (y - 5) * sine, atol=1e-4)
    np.testing.assert_allclose(turned[1], (x - 10) * sine + (y - 5) * (cosine - 1), atol=1e-4)


def test_contraction_changes_area_as_stated():
    x, y = grid()
    beat = beating(squeeze=0.7)
    motion = Motion(contractions=(beat,))
    time = 0.2
    c, s = math.cos(beat.angle), math.sin(beat.angle)
    u, v = x - beat.centre[0], y - beat.centre[1]
    q = ((u * c + v * s) / beat.radii[0]) ** 2 + ((v * c - u * s) / beat.radii[1]) ** 2
    expected = 1 + 0.7 * beat.activation(time) * (1 - q / 2) * np.exp(-q / 2)
    np.testing.assert_allclose(jacobian(motion, x, y, time), expected, atol=1e-6)


def test_cavity_shrinks_and_wall_thickens():
    """At the end of systole the cavity has 1 / (1 + squeeze) of its area, and the wall that lies at q = 2 its own."""
    beat = Contraction(centre=(0.0, 0.0), radii=(10.0, 10.0), squeeze=1.0)

    def moved(radius: float) -> float:
        return float(beat.forth(np.array([radius]), np.array([0.0]), beat.systole)[0][0])

    assert (moved(0.01) / 0.01) ** 2 == pytest.approx(0.5, rel=1e-5)
    wall = 10 * math.sqrt(2 * (1 + math.exp(-1)))
    assert moved(wall) == pytest.approx(10 * math.sqrt(2))
    # Its circumference is shorter by a factor, and its thickness is greater by the same.
    thickening = (moved(wall + 1e-3) - moved(wall - 1e-3)) / 2e-3
    assert thickening == pytest.approx(wall / moved(wall), rel=1e-4)
    assert thickening > 1.15
    assert moved(200.0) == pytest.approx(200.0)


def test_time_course_is_a_beat():
    phase = np.linspace(0, 1, 2001)
    level = activation(phase)
    assert level.min() == pytest.approx(0, abs=1e-12)
    assert level.max() == pytest.approx(1, abs=1e-5)
    assert phase[level.argmax()] == pytest.approx(0.35, abs=1e-3)
    # Systole is shorter than diastole, and filling is fast at first.
    filling = -np.diff(level[phase >= 0.35])
    assert filling[: len(filling) // 2].sum() > 2 * filling[len(filling) // 2 :].sum()
    assert np.all(filling >= -1e-12)
    np.testing.assert_allclose(activation(phase + 7), level, atol=1e-9)
    # Without a jump of velocity anywhere, from one beat to the next either.
    assert np.abs(np.diff(activation(np.linspace(0, 2, 40001)), 2)).max() < 1e-5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), time=st.floats(-3, 3))
def test_it_never_folds_and_can_be_undone(seed, time):
    motion = moving(seed)
    x, y = grid()
    assert jacobian(motion, x, y, time).min() > 0
    here, there = motion.forth(*motion.back(x, y, time), time)
    np.testing.assert_allclose(here, x, atol=1e-4)
    np.testing.assert_allclose(there, y, atol=1e-4)


def test_the_quick_grid_is_the_map_of_points():
    motion = moving(3)
    x, y = grid()
    for quick, exact in zip(motion.back_grid(SHAPE, 0.37), motion.back(x, y, 0.37), strict=True):
        assert quick.dtype == np.float32
        np.testing.assert_allclose(quick, exact, atol=2e-4)


def test_flows_of_parts_compose():
    """From 0 to 1 over 0.4: where a point goes in two steps is where it goes in one."""
    motion = moving(4)
    x, y = grid()
    middle = motion.forth(*motion.back(x, y, 0.0), 0.4)
    end = motion.forth(*motion.back(*middle, 0.4), 1.0)
    np.testing.assert_allclose(np.stack(end) - np.stack((x, y)), motion.flow(SHAPE, 0.0, 1.0), atol=2e-4)


def test_flow_leads_to_the_same_tissue():
    motion = moving(5)
    x, y = grid()
    flow = motion.flow(SHAPE, 0.2, 0.7)
    tissue = np.stack(motion.back(x, y, 0.2))
    np.testing.assert_allclose(np.stack(motion.back(x + flow[0], y + flow[1], 0.7)), tissue, atol=1e-3)


def test_waves_that_fold_are_refused():
    wave = Wave(wave=(0.5, 0.0), amplitude=(1.9, 0.0), phase=0.0, rate=0.0)
    assert Ripple(waves=(wave,)).strain == pytest.approx(0.95)
    values = {"waves": [wave.as_json(), wave.as_json()]}
    with pytest.raises(InputError, match="fold"):
        Ripple.from_json(values)


@pytest.mark.parametrize(
    "change", [{"squeeze": -1.0}, {"squeeze": 8.0}, {"radii": [0, 3]}, {"period": 0}, {"speed": 1}]
)
def test_impossible_beats_are_refused(change):
    with pytest.raises(InputError, match="simulation parameters"):
        Contraction.from_json(beating().as_json() | change)


def test_drawn_strain_is_what_was_asked_for():
    ripple = draw_ripple(64.0, strain=0.35, rate=1.0, generator=np.random.default_rng(0))
    assert ripple.strain == pytest.approx(0.35)
