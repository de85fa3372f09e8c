"""Two cameras simulated from a run as files, and a whole virtual experiment by commands."""

import json

import numpy as np
import pytest
import tifffile

from scanweave import io
from scanweave.cli import main
from scanweave.errors import InputError, OutputError
from scanweave.fusion.calibration import read_calibration
from scanweave.fusion.reading import read_camera
from scanweave.fusion.rigid import moved, residuals
from scanweave.fusion.scene import common_box
from scanweave.metrics import psnr


@pytest.fixture
def run(tmp_path):
    rows, columns = np.mgrid[:96, :128]
    frames = [1500 + 900 * np.sin((columns - t) / 5) * np.cos(rows / 7) for t in range(9)]
    tifffile.imwrite(tmp_path / "run.tif", np.rint(frames).astype(np.uint16), photometric="minisblack")
    return tmp_path / "run.tif"


def corners(calibration):
    rows, columns = calibration.coarse_shape
    return np.array([[0, 0], [columns - 1, 0], [0, rows - 1], [columns - 1, rows - 1]], dtype=float)


def off(found, truth):
    """Return how far the corners of the coarse frame are put from where they are, sharp pixels."""
    return residuals(found.affine, corners(truth), moved(truth.affine, corners(truth)))


@pytest.mark.parametrize("suffix", [".h5", ".tif"])
def test_both_cameras_runs_and_the_truth_are_written(run, tmp_path, capsys, suffix):
    words = ["prepare", "cameras", str(run), "-o", str(tmp_path / "out"), "--fps", "1000", "--ratio", "4"]
    assert main([*words, "--offset", "3", "-2", "--angle", "0.02", "--grid", "--format", suffix, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["frames"], told["shapes"]) == ([9, 3], [[24, 32], [96, 128]])
    fast, sharp = (read_camera(tmp_path / f"out/{name}{suffix}", name) for name in ("fast", "sharp"))
    np.testing.assert_allclose(fast.cine.times, np.arange(9) / 1000)
    np.testing.assert_allclose(sharp.cine.times, np.arange(0, 9, 4) / 1000)
    # what the sharp camera recorded are frames of the run, bit for bit
    np.testing.assert_array_equal(sharp.cine.frame(1), io.read(run, as_="cine").frame(4))
    assert fast.cine.dtype == np.uint16
    assert fast.cine.levels == sharp.cine.levels
    truth = read_calibration(tmp_path / "out/truth.json")
    assert truth.scale == pytest.approx(4)
    assert truth.similarity.angle == pytest.approx(0.02)
    assert json.loads((tmp_path / "out/cameras.json").read_text())["cameras"]["offset"] == [3, -2]
    grid = read_camera(tmp_path / f"out/grid/fast{suffix}", "fast").cine
    assert grid.shape == (24, 32)


def test_grid_of_the_same_cameras_gives_their_calibration(tmp_path, capsys):
    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "run.tif", rng.integers(0, 256, (5, 240, 320), np.uint8), photometric="minisblack")
    out = tmp_path / "out"
    words = ["prepare", "cameras", str(tmp_path / "run.tif"), "-o", str(out), "--fps", "10", "--ratio", "2"]
    assert main([*words, "--offset", "6", "4", "--angle", "-0.03", "--grid"]) == 0
    both = ["--fast", str(out / "grid/fast.h5"), "--sharp", str(out / "grid/sharp.h5")]
    assert main(["calibrate", *both, "-o", str(tmp_path / "c.json"), "--target", "grid"]) == 0
    assert off(read_calibration(tmp_path / "c.json"), read_calibration(out / "truth.json")).max() < 0.4


def test_what_cannot_be_is_refused_and_nothing_is_left(run, tmp_path):
    words = ["prepare", "cameras", str(run), "-o", str(tmp_path / "out")]
    from scanweave.cli.prepare import main as prepare

    with pytest.raises(InputError, match="nothing states the times"):
        prepare(words[1:])
    with pytest.raises(InputError, match="no two sharp frames"):
        prepare([*words[1:], "--fps", "10", "--ratio", "50"])
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        prepare([*words[1:], "--fps", "10", "--ratio", "4"])


@pytest.mark.reference
def test_a_virtual_experiment_on_real_frames_by_commands(reference, tmp_path):
    """Simulate two cameras, calibrate by the scene itself, fuse, and compare with the run."""
    real = io.read(reference / "data/xray/xray_lpbf_wall_f090-129.tif", as_="cine").with_times(np.arange(40) / 5e4)
    io.write(real.select(list(range(12))), tmp_path / "run.tif")
    out = tmp_path / "out"
    cameras = ["--ratio", "5", "--scale", "4", "--offset", "5", "-3", "--angle", "0.01745"]
    assert main(["prepare", "cameras", str(tmp_path / "run.tif"), "-o", str(out), *cameras]) == 0
    both = ["--fast", str(out / "fast.h5"), "--sharp", str(out / "sharp.h5")]
    assert main(["calibrate", *both, "-o", str(tmp_path / "c.json"), "--target", "scene"]) == 0
    found, truth = (read_calibration(path) for path in (tmp_path / "c.json", out / "truth.json"))
    assert off(found, truth).max() < 0.5
    assert main(["fuse", *both, "--calibration", str(tmp_path / "c.json"), "-o", str(tmp_path / "f.tif"),
                 "--method", "flow"]) == 0  # fmt: skip
    fused = io.read(tmp_path / "f.tif", as_="cine")
    left, top, right, below = common_box(found)
    scores = {"fused": [], "held": []}
    for i in range(1, 5):
        known = real.frame(i)[top:below, left:right]
        scores["fused"].append(psnr(fused.frame(i), known, peak=2047))
        scores["held"].append(psnr(real.frame(0)[top:below, left:right], known, peak=2047))
    assert np.mean(scores["fused"]) > np.mean(scores["held"]) + 0.5
