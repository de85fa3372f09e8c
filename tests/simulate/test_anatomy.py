"""Anatomy: drawn, replayed from JSON, the same on every grid, and sound in its topology."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label as components

from scanweave.errors import InputError, UsageError
from scanweave.simulate import (
    ANATOMIES,
    CONTRASTS,
    HeadConfig,
    HeartConfig,
    ThoraxConfig,
    draw_anatomy,
    image,
    images,
    labels,
    parse_anatomy,
    structures,
)

NAMES = sorted(ANATOMIES)


def drawn(name: str, seed: int = 0) -> dict:
    return draw_anatomy(ANATOMIES[name](), generator=np.random.default_rng(seed))


def number(params: dict, name: str) -> int:
    return [part.name for part in parse_anatomy(params).STRUCTURES].index(name)


def heart(**changes) -> dict:
    """A heart whose slices are not bent: its ventricle is a truncated ellipsoid."""
    config = HeartConfig(strain=(0.0, 0.0), **changes)
    return draw_anatomy(config, generator=np.random.default_rng(0))


@pytest.mark.parametrize("name", NAMES)
def test_json_replays_the_same_labels_and_pictures(name):
    params = drawn(name, 3)
    again = json.loads(json.dumps(params))
    assert drawn(name, 3) == params
    assert drawn(name, 4) != params
    for make in (structures, labels):
        np.testing.assert_array_equal(make(again, (40, 48), (6.0, 5.0)), make(params, (40, 48), (6.0, 5.0)))
    np.testing.assert_array_equal(image(again, "t2", (40, 48), (6, 5)), image(params, "t2", (40, 48), (6, 5)))


@pytest.mark.parametrize("name", NAMES)
def test_a_plane_is_the_same_slice_of_a_stack(name):
    params = drawn(name, 1)
    stack = structures(params, (5, 40, 44), (9.0, 5.0, 4.5))
    for index, height in enumerate((-18, -9, 0, 9, 18)):
        plane = structures(params, (40, 44), (5.0, 4.5), centre=(height, 0, 0))
        np.testing.assert_array_equal(plane, stack[index])


@pytest.mark.parametrize("name", NAMES)
def test_grids_that_share_points_agree_there(name):
    """21 points 6 mm apart, and 41 of 3 mm: every other one is the same place."""
    params = drawn(name, 2)
    coarse = structures(params, (5, 21, 21), (8.0, 6.0, 6.0), centre=(5, 10, -10))
    fine = structures(params, (9, 41, 41), (4.0, 3.0, 3.0), centre=(5, 10, -10))
    assert np.mean(fine[::2, ::2, ::2] == coarse) > 0.999


@pytest.mark.parametrize("name", NAMES)
def test_volumes_do_not_depend_on_the_grid(name):
    params = drawn(name, 5)
    table = parse_anatomy(params)
    cubic = labels(params, (40, 48, 48), (5.0, 5.0, 5.0))
    slabs = labels(params, (20, 80, 60), (10.0, 3.0, 4.0))
    for value, part in table.LABELS.items():
        first, second = np.sum(cubic == value) * 125.0, np.sum(slabs == value) * 120.0
        if first > 50_000:
            assert second == pytest.approx(first, rel=0.08), part


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_structures_are_there(name, seed):
    params = drawn(name, seed)
    anatomy = parse_anatomy(params)
    found = set(np.unique(structures(params, (70, 70, 70), (4.0, 5.0, 5.0))))
    optional = {number(params, part) for part in ("lesion", "table") if part in {s.name for s in anatomy.STRUCTURES}}
    assert set(range(len(anatomy.STRUCTURES))) - found <= optional
    assert set(anatomy.LABELS) == {part.label for part in anatomy.STRUCTURES} - {0}


@pytest.mark.parametrize("spacing", [4.0, 2.0, 1.0])
def test_the_left_ventricle_has_the_volume_of_its_ellipsoid(spacing):
    """``V = pi R^2 (h + 2 c / 3 - h^3 / (3 c^2))`` below a base ``h`` above the widest place.

    The base may be off by half a slice, and the rim averages out: both bounds fall with the spacing.
    """
    params = heart()
    radius, length, widest = (params[key] for key in ("cavity_radius", "cavity_length", "widest"))
    high, half = widest * length, (1 - widest) * length
    volume = math.pi * radius**2 * (high + 2 * half / 3 - high**3 / (3 * half**2))
    side = math.ceil(76 / spacing)
    found = labels(params, (math.ceil(110 / spacing), side, side), (spacing,) * 3)
    assert np.sum(found == 3) * spacing**3 == pytest.approx(volume, rel=0.2 * spacing / radius + 0.5 * spacing / length)


@pytest.mark.parametrize("seed", range(4))
def test_the_myocardium_is_a_closed_ring_around_the_cavity(seed):
    """In every slice with a cavity: one cavity, one wall, and whatever touches the cavity is wall."""
    params = drawn("heart", seed)
    stack = labels(params, (20, 110, 110), (5.0, 1.2, 1.2))
    held = [slice_ for slice_ in stack if np.any(slice_ == 3)]
    assert len(held) >= params["cavity_length"] / 5 - 2
    for slice_ in held:
        cavity, wall = slice_ == 3, slice_ == 2
        assert components(cavity, connectivity=1).max() == 1
        assert components(wall, connectivity=2).max() == 1
        outside = components(~wall, connectivity=1)
        assert not set(outside[cavity]) & {outside[0, 0]}
        assert set(np.unique(slice_[outside == outside[0, 0]])) <= {0, 1}


@pytest.mark.parametrize("seed", range(3))
def test_each_part_of_the_heart_is_one(seed):
    stack = labels(drawn("heart", seed), (40, 75, 75), (3.0, 2.0, 2.0))
    assert [components(stack == value).max() for value in (1, 2, 3)] == [1, 1, 1]


def test_papillary_muscles_lie_in_the_cavity():
    params = drawn("heart", 0)
    stack = structures(params, (24, 80, 80), (4.0, 1.5, 1.5))
    muscles = stack == number(params, "papillary muscles")
    assert components(muscles).max() == 2
    assert 0.01 < muscles.sum() / np.sum(labels(params, stack.shape, (4.0, 1.5, 1.5)) == 3) < 0.25


@pytest.mark.parametrize("seed", range(3))
def test_each_lung_is_one_and_on_its_side(seed):
    params = drawn("thorax", seed)
    stack = labels(params, (50, 64, 80), (6.0, 4.0, 4.5))
    left, right = stack == 1, stack == 2
    for lung in (left, right):
        counts = np.sort(np.bincount(components(lung, connectivity=3)[lung]))
        assert counts[-1] > 0.995 * lung.sum()
        assert 1.0e6 < lung.sum() * 108 < 4.5e6  # mm^3: adult lungs hold one to four litres each
    assert np.nonzero(left)[2].min() >= np.nonzero(right)[2].max() - 2
    for value in (3, 6):
        part = stack == value
        counts = np.sort(np.bincount(components(part, connectivity=3)[part]))
        assert counts[-1] > 0.99 * part.sum()


def test_hounsfield_units_are_those_of_the_tissue():
    params = drawn("thorax", 1)
    picture = image(params, "ct", (60, 80), (5.0, 5.0), supersample=1)
    found = labels(params, (60, 80), (5.0, 5.0))
    assert np.median(picture[found == 1]) == -850
    assert picture.min() == -1000
    assert picture.max() == 1000


@pytest.mark.parametrize("seed", range(3))
def test_the_brain_is_grey_around_white_inside_fluid_inside_skull(seed):
    """Nothing of the brain touches bone, and cortex lies between white matter and fluid.

    Distances from sulci are of first order: a few places in a thousand may be thinner than a voxel.
    """
    config = HeadConfig(lesion=0.0)
    params = draw_anatomy(config, generator=np.random.default_rng(seed))
    stack = structures(params, (20, 150, 120), (3.0, 1.4, 1.4), centre=(30, 0, 0))
    white, grey = (number(params, name) for name in ("white matter", "grey matter"))
    fluid = number(params, "fluid")
    bone = (number(params, "skull cortex"), number(params, "skull marrow"))
    assert not any(contacts(stack, part, each) for part in (white, grey) for each in bone)
    assert contacts(stack, white, fluid) <= 0.002 * contacts(stack, white, grey)
    part = stack == white
    assert np.bincount(components(part, connectivity=1)[part]).max() > 0.97 * part.sum()
    volumes = np.sum(stack == grey), np.sum(stack == white)
    assert 0.3 < volumes[0] / volumes[1] < 3


def contacts(stack: np.ndarray, one: int, other: int) -> int:
    """Faces within slices that two structures share."""
    found = 0
    for axis in (1, 2):
        first, second = np.moveaxis(stack, axis, 0)[:-1], np.moveaxis(stack, axis, 0)[1:]
        found += int(np.sum((first == one) & (second == other)) + np.sum((first == other) & (second == one)))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_lesion_is_one_body_in_brain_tissue(seed):
    params = draw_anatomy(HeadConfig(lesion=1.0, lesion_radius=(8, 14)), generator=np.random.default_rng(seed))
    z = params["lesion"]["centre"][2]
    stack = labels(params, (24, 110, 90), (2.0, 1.8, 1.8), centre=(z, 0, 0))
    part = stack == 6
    assert part.sum() * 6.48 > 500
    counts = np.bincount(components(part, connectivity=3)[part])
    assert counts.max() > 0.9 * part.sum()
    without = labels({**params, "lesion": None}, stack.shape, (2.0, 1.8, 1.8), centre=(z, 0, 0))
    assert set(np.unique(without[part])) <= {2, 3, 4}
    np.testing.assert_array_equal(without[~part], stack[~part])


def test_partial_volume_is_the_mean_of_what_a_voxel_holds():
    params = drawn("heart", 2)
    fine = image(params, "cine", (8, 60, 60), (2.0, 2.0, 2.0), supersample=1)
    coarse = image(params, "cine", (2, 30, 20), (8.0, 4.0, 6.0), supersample=(4, 2, 3))
    blocks = fine.reshape(2, 4, 30, 2, 20, 3).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(coarse, blocks, atol=1e-5)
    one = image(params, "cine", (30, 20), (4.0, 6.0), supersample=(2, 3))
    np.testing.assert_allclose(one, image(params, "cine", (60, 60), (2, 2), supersample=1)
                               .reshape(30, 2, 20, 3).mean(axis=(1, 3)), atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_contrasts_of_a_subject_are_registered(name):
    """Each voxel of one structure alone shows its value in every contrast."""
    params = drawn(name, 6)
    anatomy = parse_anatomy(params)
    found = structures(params, (50, 50), (5.0, 5.0))
    pictures = images(params, list(CONTRASTS), (50, 50), (5.0, 5.0), supersample=1)
    for picture, contrast in zip(pictures, CONTRASTS.values(), strict=True):
        np.testing.assert_array_equal(picture, contrast.means(anatomy.STRUCTURES).astype(np.float32)[found])
    np.testing.assert_array_equal(pictures[1], image(params, "t2", (50, 50), (5.0, 5.0), supersample=1))


@pytest.mark.parametrize(("config", "key", "limits"), [
    (HeartConfig(), "cavity_radius", HeartConfig().cavity_radius),
    (ThoraxConfig(), "aorta", ThoraxConfig().aorta),
    (HeadConfig(), "cortex", HeadConfig().cortex),
])  # fmt: skip
def test_sizes_vary_within_their_limits(config, key, limits):
    values = [draw_anatomy(config, generator=np.random.default_rng(seed))[key] for seed in range(30)]
    assert limits[0] <= min(values) < max(values) <= limits[1]
    assert max(values) - min(values) > 0.6 * (limits[1] - limits[0])


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    shape=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    step=st.floats(0.3, 40),
    centre=st.tuples(*[st.floats(-300, 300)] * 3),
)
def test_any_grid_can_be_filled(name, shape, step, centre):
    params = drawn(name, 0)
    found = labels(params, shape, [step] * len(shape), centre=centre)
    assert found.dtype == np.uint8
    assert found.shape == tuple(shape)
    assert image(params, "ct", shape, [step] * len(shape), centre=centre).shape == tuple(shape)


@pytest.mark.parametrize(("shape", "spacing", "centre"), [
    ((10,), (1.0,), None),
    ((10, 10), (1.0, 1.0, 1.0), None),
    ((10, 0), (1.0, 1.0), None),
    ((10, 10), (1.0, -1.0), None),
    ((10, 10), (1.0, math.nan), None),
    ((10, 10), (1.0, 1.0), (0.0, 0.0)),
])  # fmt: skip
def test_what_is_no_grid_is_refused(shape, spacing, centre):
    with pytest.raises(UsageError, match="grid"):
        labels(drawn("heart"), shape, spacing, centre=centre)


def test_what_was_not_drawn_is_refused():
    params = drawn("heart")
    with pytest.raises(InputError, match="no anatomy is named 'knee'"):
        parse_anatomy({**params, "anatomy": "knee"})
    with pytest.raises(InputError, match="wall"):
        labels({**params, "wall": -1.0}, (10, 10), (1, 1))
    with pytest.raises(UsageError, match="no contrast is named"):
        image(params, "x-ray", (10, 10), (1, 1))
    with pytest.raises(UsageError, match="samples"):
        image(params, "cine", (10, 10), (1, 1), supersample=(1, 1, 1))
    with pytest.raises(UsageError, match="1 contrasts were given 2"):
        images(params, ["cine"], (10, 10), (1, 1), acquisitions=[None, None])
