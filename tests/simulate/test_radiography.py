"""Scenes of radiography: drawn, replayed from JSON, and where they say that things are."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from scanweave.simulate import RadiographyConfig, RadiographyParams
from scanweave.simulate.radiography import Body, Branches, Path, Sheet, Wall


def drawn(seed: int, size: tuple[int, int] = (48, 64)) -> RadiographyParams:
    return RadiographyParams.draw(RadiographyConfig(size=size), generator=np.random.default_rng(seed))


def wall(**changes) -> Wall:
    given = {
        "level": 30.0, "slope": 0.0, "waves": (), "dark": 0.25, "shade": 0.0, "depth": 5.0, "edge": 0.5, "fringe": 0.0,
        "width": 1.0, "place": 20.0, "path": Path(velocity=(10.0, 0.0)), "dip": 0.0, "reach": 4.0, "quiver": 0.0,
        "left": 0.0,
    }  # fmt: skip
    return Wall(**(given | changes))


@pytest.mark.parametrize("seed", range(6))
def test_a_scene_replays_from_json_and_no_frame_depends_on_others(seed):
    scene = drawn(seed)
    again = RadiographyParams.from_json(json.loads(json.dumps(scene.as_json(), allow_nan=False)))
    frames = scene.render([0.0, 0.37, 2.0])
    assert frames.shape == (3, 48, 64)
    assert frames.dtype == np.float32
    assert frames.min() >= 0
    assert frames.max() < 4
    np.testing.assert_array_equal(again.render([0.37])[0], frames[1])


def test_scenes_differ_and_most_of_them_move():
    frames = [drawn(seed).render([0.0, 1.0]) for seed in range(20)]
    assert len({float(pair[0].mean()) for pair in frames}) == 20
    assert np.mean([np.abs(pair[1] - pair[0]).max() > 0.01 for pair in frames]) > 0.6


def test_a_body_has_its_contrast_inside_half_of_it_on_the_border_and_goes_its_way():
    body = Body(centre=(20.0, 30.0), radii=(6.0, 6.0), path=Path(velocity=(8.0, -4.0)), contrast=-0.4)
    for time, (x, y) in ((0.0, (20, 30)), (0.5, (24, 28)), (2.0, (36, 22))):
        layer = np.zeros((60, 60), np.float32)
        body.add(layer, time)
        assert layer[y, x] == pytest.approx(-0.4, rel=1e-3)
        assert layer[y, x + 6] == pytest.approx(-0.2, rel=1e-3)
        assert np.abs(layer[:, x + 12 :]).max() < 1e-3
        rows, columns = np.mgrid[:60, :60]
        assert (layer * columns).sum() / layer.sum() == pytest.approx(x, abs=0.05)
        assert (layer * rows).sum() / layer.sum() == pytest.approx(y, abs=0.05)


def test_a_body_is_there_from_its_birth_to_its_end_and_grows():
    body = Body(centre=(20.0, 20.0), radii=(5.0, 5.0), growth=0.5, contrast=0.3, born=-1.0, gone=1.0)
    areas = []
    for time in (-1.5, 0.0, 0.9, 1.0):
        layer = np.zeros((40, 40), np.float32)
        body.add(layer, time)
        areas.append(layer.sum() / 0.3)
    assert areas[0] == areas[3] == 0
    assert areas[1] == pytest.approx(np.pi * 25, rel=0.03)
    assert areas[2] == pytest.approx(np.pi * 25 * 1.45**2, rel=0.03)


def test_a_wall_is_dark_below_its_surface_which_is_left_lower_where_the_depression_has_passed():
    changed = wall(dip=5.0, left=3.0)
    for time in (0.0, 2.0):
        through = changed.transmission((60, 80), time)
        assert through[5, 40] == pytest.approx(1, abs=1e-3)
        assert through[-1, 40] == pytest.approx(0.25, abs=1e-3)
        surface = (through > 0.5).sum(axis=0)  # rows above it
        place = 20 + 10 * int(time)
        assert surface[min(place + 25, 79)] == 31  # not yet reached
        assert surface[place] == pytest.approx(31 + 5 + 1.5, abs=1)
        assert surface[max(place - 18, 0)] == pytest.approx(34, abs=1)


def test_phase_contrast_is_bright_above_and_dark_below():
    plain, fringed = (wall(fringe=fringe).transmission((60, 10), 0.0)[:, 5] for fringe in (0.0, 0.1))
    line = fringed - plain
    assert line[29] == pytest.approx(0.1, rel=0.02)
    assert line[31] == pytest.approx(-0.1, rel=0.02)
    assert abs(line[:20]).max() < 1e-4


def test_a_sheet_moves_by_whole_pixels_without_a_change():
    sheet = Sheet(
        seed=3, coarsest=3, octaves=4, falloff=0.7, sharpness=2.0, contrast=0.2, path=Path(velocity=(6.0, 2.0))
    )
    texture = sheet.texture((40, 50))
    np.testing.assert_allclose(sheet.moved(texture, 0.5)[10:, 10:], texture[9:-1, 7:-3], atol=1e-5)


def test_branches_only_grow():
    branches = Branches.draw(64, generator=np.random.default_rng(1))
    amounts = [abs(branches.layer((64, 64), time).sum()) for time in (-2.0, -0.5, 0.5, 1.5, 4.0)]
    assert amounts[0] == 0
    assert amounts[-1] > 0
    assert all(later >= sooner - 1e-3 for sooner, later in pairwise(amounts))


def test_a_path_goes_evenly_and_swings_about_it():
    path = Path(velocity=(4.0, -2.0), swing=(1.0, 0.0), rate=1.0)
    assert path.at(1.0) == pytest.approx((4.0, -2.0))
    assert path.at(1.25) == pytest.approx((6.0, -2.5))
    assert Path().still
    assert not path.still
