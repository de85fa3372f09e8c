"""The published grid procedure as a calibration, and its files written."""

import numpy as np
import pytest
import torch

from scanweave.errors import InputError, OutputError, UsageError, WeightsError
from scanweave.fusion.published_calibration import (
    NetworkFlow,
    calibrate_as_published,
    lattice_flow,
    published_crop,
    sixteen_bits,
)
from scanweave.fusion.published_files import SavedValues, published_tag, read_published, write_published
from scanweave.fusion.published_grid import GridTolerances, prepared, published_calibration
from scanweave.fusion.published_registration import common_box, foreground
from scanweave.fusion.rigid import Similarity, moved, residuals
from scanweave.models import Raft, RaftConfig
from scanweave.simulate.cameras import simulate_pair
from scanweave.simulate.target import TargetParams


def grid_pair(angle, **cameras):
    """Two cameras before a grid of 10 by 8 squares, one missing."""
    target = TargetParams(
        size=(200, 240), pitch=20, share=0.5, contrast=0.8, angle=0.02, origin=(121, 99),
        first=(-5, -4), last=(4, 4), missing=((1, 1),), beam=(120, 100),
    )  # fmt: skip
    return simulate_pair(
        20_000 * target.render()[None], ratio=1, scale=3.2, offset=(4, -3), angle=angle,
        **{"mirrored": True, "noise": 30.0, "generator": np.random.default_rng(0), **cameras},
    )  # fmt: skip


@pytest.fixture(scope="module")
def straight():
    return grid_pair(0.01)


@pytest.fixture(scope="module")
def turned():
    return grid_pair(0.1)


@pytest.fixture(scope="module")
def of_straight(straight):
    return by_lattice(straight)


@pytest.fixture(scope="module")
def of_turned(turned):
    return {defects: by_lattice(turned, defects=defects) for defects in (False, True)}


@pytest.fixture(scope="module")
def unmirrored():
    pair = grid_pair(0.01, mirrored=False)
    return pair, by_lattice(pair, mirrored=False).calibration


def views(pair):
    return pair.coarse[0].astype(np.float64), pair.sharp[0].astype(np.float64)


def off(calibration, pair):
    rows, columns = pair.coarse.shape[1:]
    corners = np.array([[0, 0], [columns - 1, 0], [0, rows - 1], [columns - 1, rows - 1]], dtype=float)
    return residuals(calibration.affine, corners, moved(pair.matrix, corners)).max()


def by_lattice(pair, *, mirrored=True, **options):
    flow = lattice_flow(*views(pair), mirrored=mirrored)
    return calibrate_as_published(*views(pair), flow, method="published-grid", mirrored=mirrored, **options)


def test_squares_matched_by_the_lattice_give_the_calibration(straight, turned, of_straight, of_turned):
    for pair, outcome in ((straight, of_straight), (turned, of_turned[False])):
        assert outcome.fit.rotated == (pair is turned)
        assert off(outcome.calibration, pair) < 0.4
        assert outcome.calibration.mirrored


def test_cameras_that_see_alike_need_no_mirror(unmirrored):
    pair, found = unmirrored
    assert not found.mirrored
    assert off(found, pair) < 0.4


def test_defects_are_kept_where_asked_for_and_told(straight, turned, of_turned):
    sound = by_lattice(straight, defects=True).calibration
    assert off(sound, straight) < 0.5
    assert any("keep columns" in note for note in sound.notes)
    lost = of_turned[True]
    assert off(lost.calibration, turned) > 5  # the rotation that came before is no part of the transform
    assert lost.calibration.residuals.mean > 3
    assert any("leaves out of the transform" in note for note in lost.calibration.notes)


def test_crop_is_that_of_a_rectangle_misread(straight, of_straight):
    fit = of_straight.fit
    shapes = {"coarse_shape": straight.coarse.shape[1:], "sharp_shape": straight.sharp.shape[1:]}
    left, top, right, below = published_crop(fit, **shapes)
    saved = Similarity(*fit.scale_xy, np.arctan2(fit.rigid[1, 0], fit.rigid[0, 0]), *fit.rigid[:2, 2])
    sound = common_box(foreground(shapes["coarse_shape"], shapes["sharp_shape"], saved))
    assert (left, top) == sound[:2]
    assert right <= sound[2]
    assert below <= sound[3]


def test_a_network_that_finds_no_motion_matches_the_nearest_squares(straight):
    network = Raft()
    torch.nn.init.zeros_(network.update_block.flow_head.conv2.weight)
    torch.nn.init.zeros_(network.update_block.flow_head.conv2.bias)
    outcome = calibrate_as_published(*views(straight), NetworkFlow(network, iterations=1, device="cpu"), method="raft")
    assert outcome.calibration.method == "raft"
    assert off(outcome.calibration, straight) < 0.4


@pytest.mark.parametrize("defects", [False, True])
def test_the_network_sees_the_middle_of_both_views(turned, defects):
    """At a whole pixel the flow is what the network says of the window there."""
    torch.manual_seed(0)
    network = Raft(RaftConfig()).eval()
    seen = prepared(sixteen_bits(views(turned)[0]), sixteen_bits(views(turned)[1]), GridTolerances())
    flow = NetworkFlow(network, window=160, iterations=1, device="cpu", defects=defects)(seen)
    coarse = np.zeros((200, 240), np.float32)
    rows, columns = seen.coarse_view.shape
    top, left = (200 - rows) // 2, (240 - columns) // 2
    coarse[top : top + rows, left : left + columns] = seen.coarse_view
    pair = [torch.from_numpy(one[20:180, 40:200].astype(np.float32))[None, None] for one in (coarse, seen.sharp_view)]
    with torch.no_grad():
        said = network(pair[0] / (255 if defects else 1), pair[1], iterations=1)[0]
    np.testing.assert_allclose(flow(np.array([40 + 70.0, 20 + 50.0])), said[:, 50, 70], atol=1e-4)


def test_networks_and_frames_that_do_not_fit_are_refused(straight):
    for wrong in ({"window": 100}, {"iterations": 0}):
        with pytest.raises(UsageError):
            NetworkFlow(Raft(), **wrong)
    seen = prepared(sixteen_bits(views(straight)[0]), sixteen_bits(views(straight)[1]), GridTolerances())
    colour = Raft(RaftConfig(channels=3))
    with pytest.raises(WeightsError, match="take colours"):
        NetworkFlow(colour, device="cpu")(seen)
    small = type(seen)(seen.coarse, seen.sharp, seen.coarse_view, seen.sharp_view[:120], seen.angle, seen.rotated)
    with pytest.raises(InputError, match="too small"):
        NetworkFlow(Raft(), device="cpu")(small)


# --- files


@pytest.mark.parametrize("defects", [False, True])
def test_files_written_mean_the_same_when_read(turned, of_turned, tmp_path, defects):
    outcome = of_turned[defects]
    values = SavedValues.of_fit(outcome.fit) if defects else SavedValues.of_calibration(outcome.calibration)
    tag = published_tag("7", GridTolerances())
    paths = write_published(values, tmp_path / "cal", tag=tag)
    assert {path.name.split("_flow")[0] for path in paths} == {
        "tfm_7_0.10_0.10", "scale_factor_7_0.10_0.10_corrected", "rot_7_0.10_0.10", "calibration_results_7_0.10_0.10",
    }  # fmt: skip
    said = dict(line.split(":") for line in paths[-1].read_text().splitlines())
    assert int(said["num_pairs"]) == len(outcome.fit.coarse)
    shapes = {"coarse_shape": turned.coarse.shape[1:], "sharp_shape": turned.sharp.shape[1:]}
    found = read_published(tmp_path / "cal", tag="7_0.10_0.10", **shapes)
    assert off(found, turned) < 0.5
    if not defects:
        np.testing.assert_allclose(found.affine, outcome.calibration.affine, atol=1e-9)
    with pytest.raises(OutputError, match="exists already"):
        write_published(values, tmp_path / "cal", tag=tag)


def test_the_golden_fit_is_saved_as_the_golden_files(vectors, tmp_path):
    golden = vectors("xfusion/calib_pipeline")
    fit = published_calibration(golden["shimadzu_avg_raw"], golden["phantom_avg_raw"], lambda p: golden["flow_xy"])
    write_published(SavedValues.of_fit(fit), tmp_path, tag="1_0.10_0.10")
    for part, name, tolerance in (
        ("tfm", "file_tfm", 0.1),
        ("scale_factor", "file_scale", 5e-4),
        ("rot", "file_rot", 0.012),
    ):
        (path,) = tmp_path.glob(f"{part}_1_*.npy")
        np.testing.assert_allclose(np.load(path), golden[name], atol=tolerance)


def test_cameras_that_are_not_mirrored_have_no_published_files(unmirrored):
    with pytest.raises(UsageError, match="--published-output"):
        SavedValues.of_calibration(unmirrored[1])
    with pytest.raises(UsageError, match="part of a file's name"):
        published_tag("a/b", GridTolerances())
