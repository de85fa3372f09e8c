"""Vessels: chords of tubes, transport of the bolus, and its mass in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import gamma, gammainc

from scanweave.simulate import Bolus, Motion, Rigid, Tree, TreeParams, draw_ripple, grow
from scanweave.simulate.vessels import absorbance, tree_absorbance

SHAPE = (64, 96)


def tube(radius: float, *, start: float = 8.0, end: float = 88.0, row: float = 31.3, slope: float = 0.0) -> Tree:
    count = 400
    step = (end - start) / count
    x = start + step * (np.arange(count) + 0.5)
    points = np.stack((x, row + slope * (x - start), np.zeros(count)), axis=1)
    length = np.full(count, step * math.hypot(1, slope))
    return Tree(points, np.full(count, radius), length, delay=(x - start) / 40.0)


def still(x, y):
    return x, y


def branching(seed: int = 1, **changes) -> TreeParams:
    values = {
        "seed": seed, "root": (48.0, 60.0), "heading": -math.pi / 2, "radius": 2.5, "length": 16.0,
        "generations": 3, "speed": 60.0,
    }  # fmt: skip
    return TreeParams(**(values | changes))


def test_a_tube_absorbs_by_its_chord():
    radius, row = 6.0, 31.3
    image = tree_absorbance(tube(radius), 0.1, place=still, shape=SHAPE)
    rows = np.arange(SHAPE[0])
    chord = 2 * np.sqrt(np.maximum(radius**2 - (rows - row) ** 2, 0))
    well_inside = np.abs(rows - row) < radius - 1
    np.testing.assert_allclose(image[well_inside, 48], 0.1 * chord[well_inside], rtol=0.02)
    assert not image[np.abs(rows - row) > radius + 2].any()


@pytest.mark.parametrize("radius", [0.3, 0.8, 2.0, 5.5])
@pytest.mark.parametrize("slope", [0.0, 0.27])
def test_a_tube_has_the_mass_of_its_contrast(radius, slope):
    tree = tube(radius, start=14.0, end=80.0, slope=slope)
    image = tree_absorbance(tree, 0.2, place=still, shape=SHAPE)
    volume = math.pi * radius**2 * 66 * math.hypot(1, slope)
    assert image.sum() == pytest.approx(0.2 * volume, rel=1e-9)
    assert tree.mass(0.2) == pytest.approx(0.2 * volume, rel=1e-9)


def test_moving_a_pixel_moves_the_image_by_a_pixel():
    one, other = (
        absorbance([30.3 + dx], [20.7 + dy], radius=[2.4], mass=[5.0], shape=SHAPE) for dx, dy in ((0, 0), (3, -2))
    )
    np.testing.assert_allclose(np.roll(one, (-2, 3), axis=(0, 1)), other, atol=1e-12)


def test_a_small_move_makes_a_small_change():
    """Anti-aliased: no pixel jumps when a thin vessel crosses it."""
    frames = [
        tree_absorbance(tube(0.7, row=30 + shift), 1.0, place=still, shape=SHAPE) for shift in np.linspace(0, 1, 51)
    ]
    assert np.abs(np.diff(frames, axis=0)).max() < 0.06 * np.max(frames)


def test_what_leaves_the_image_does_not_come_back_elsewhere():
    image = absorbance([-1.0, 95.0, 200.0], [5.0, 70.0, 5.0], radius=[3.0] * 3, mass=[1.0] * 3, shape=SHAPE)
    assert image.shape == SHAPE
    assert image[:, 10:].sum() == 0
    assert 0 < image.sum() < 1


def test_bolus_mass_is_that_of_an_incomplete_gamma_function():
    """Of a uniform tube: mass(t) = pi r^2 v (G(t) - G(t - L / v)), G the integral of the gamma variate."""
    tree, bolus = tube(2.0), Bolus(peak=0.5, shape=3.0, strength=0.3)

    def inflow(time: float) -> float:
        scale = bolus.strength * bolus.peak * math.exp(3.0) / 3.0**4
        return scale * gamma(4.0) * gammainc(4.0, 3.0 * max(time, 0.0) / bolus.peak)

    for time in (0.2, 0.9, 1.7, 4.0):
        expected = math.pi * 4 * 40.0 * (inflow(time) - inflow(time - 2.0))
        concentration = bolus.concentration(tree.delay, time)
        assert tree.mass(concentration) == pytest.approx(expected, rel=5e-4)
        image = tree_absorbance(tree, concentration, place=still, shape=SHAPE)
        assert image.sum() == pytest.approx(expected, rel=5e-4)


def test_the_same_contrast_passes_everywhere():
    bolus = Bolus(arrival=0.3, peak=0.4, shape=2.0, strength=0.7, spread=0.6)
    times = np.linspace(0, 30, 30001)
    delays = np.array([0.0, 0.5, 2.0])
    passed = np.trapezoid([bolus.concentration(delays, time) for time in times], times, axis=0)
    np.testing.assert_allclose(passed, bolus.exposure, rtol=1e-4)


def test_the_bolus_arrives_later_and_wider_downstream():
    bolus = Bolus(arrival=0.1, peak=0.4, strength=1.0, spread=0.5)
    times = np.linspace(0, 6, 3001)
    near, far = np.array([bolus.concentration(np.array([0.0, 1.0]), time) for time in times]).T
    assert near.max() == pytest.approx(1.0, abs=1e-6)
    assert times[near.argmax()] == pytest.approx(0.5, abs=2e-3)
    assert times[far.argmax()] == pytest.approx(0.1 + 1.0 + 0.9, abs=2e-3)
    assert not near[times <= 0.1].any()
    assert not far[times <= 1.1].any()


def test_motion_carries_mass_and_loses_none():
    tree = grow(branching(length=12.0))
    motion = Motion(
        ripple=draw_ripple(64.0, strain=0.5, rate=3.0, generator=np.random.default_rng(0)),
        rigid=Rigid(velocity=(4.0, -6.0)),
    )
    for time in (0.0, 0.4, 1.1):
        image = tree_absorbance(
            tree, 0.1, place=lambda x, y, now=time: motion.forth(x, y, now), shape=(160, 160), angle=0.1 * time
        )
        assert image.sum() == pytest.approx(tree.mass(0.1), rel=1e-9)


def test_a_tree_tapers_branches_and_replays():
    params = branching()
    tree, again = grow(params), grow(TreeParams.from_json(params.as_json()))
    for part in ("points", "radius", "length", "delay"):
        np.testing.assert_array_equal(getattr(tree, part), getattr(again, part))
    assert tree.radius.max() <= 2.5
    assert tree.radius.min() < 1.25
    assert np.all(tree.delay > 0)
    single = grow(branching(generations=0))
    assert single.length.sum() == pytest.approx(16.0)
    assert tree.length.sum() > 3 * single.length.sum()
    assert not np.array_equal(grow(branching(seed=2)).points, tree.points)


def test_branches_part_by_murrays_law():
    """Without twigs: the cubes of the radii at the start of two children sum to that of their parent's end."""
    tree = grow(branching(generations=1, side_branches=0.0))
    # The trunk has one node per pixel; the second child starts where the first did, far from the first's end.
    jumps = np.flatnonzero(np.linalg.norm(np.diff(tree.points[:, :2], axis=0), axis=1) > 1.5) + 1
    starts = [0, 16, *jumps]
    assert len(starts) == 3
    parent_end = tree.radius[starts[1] - 1]
    children = [tree.radius[start] for start in starts[1:]]
    # A child's first node is half a step along its taper.
    counts = [starts[2] - starts[1], len(tree.radius) - starts[2]]
    untapered = [radius / (1 - 0.25 * 0.5 / count) for radius, count in zip(children, counts, strict=True)]
    assert sum(radius**3 for radius in untapered) == pytest.approx(parent_end**3, rel=1e-9)


def test_parallax_moves_near_against_far():
    points = np.array([[50.0, 20.0, 10.0], [50.0, 20.0, -10.0]])
    tree = Tree(points, np.ones(2), np.ones(2), np.zeros(2))
    x, y = tree.seen(0.1, (48.0, 32.0))
    assert x[0] - x[1] == pytest.approx(20 * math.sin(0.1))
    np.testing.assert_array_equal(y, [20.0, 20.0])
