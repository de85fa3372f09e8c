"""``scanweave fuse``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from scanweave.cli import main


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(0)
    tifffile.imwrite(
        tmp_path / "run.tif", rng.integers(100, 4000, (13, 16, 24)).astype(np.uint16), photometric="minisblack"
    )
    return tmp_path / "run.tif"


def test_a_virtual_experiment(run, tmp_path, capsys):
    words = ["fuse", "--virtual", str(run), "--ratio", "4", "--scale", "4", "--method", "flow", "--motion", "none"]
    assert main([*words, "-o", str(tmp_path / "out.tif"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == 13
    assert told["scores"]["frames"] == 9
    assert tifffile.imread(tmp_path / "out.tif").shape == (13, 16, 24)
    assert main([*words, "-o", str(tmp_path / "out.tif")]) == 5
    assert "exists already" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "out.tif"), "--resume"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "--virtual"),
        (["--fast", "a.tif"], 2, "--virtual"),
        (["--virtual", "RUN", "--cases", "a.csv"], 2, "just one"),
        (["--virtual", "RUN", "--calibration", "c.json"], 2, "--calibration has no effect"),
        (["--virtual", "RUN", "--method", "sharper"], 2, "no fusion method"),
        (["--virtual", "RUN", "--method", "hold", "--tile", "64"], 2, "tile"),
        (["--virtual", "RUN", "--method", "edvr-stf"], 6, "--weights"),
        (["--virtual", "none.tif"], 3, "does not exist"),
        (["--fast", "RUN", "--sharp", "RUN"], 2, "--calibration"),
        (["--fast", "RUN", "--sharp", "RUN", "--calibration", "RUN"], 3, "no calibration"),
    ],
)
def test_mistakes_are_named_in_one_line(words, code, said, run, tmp_path, capsys):
    told = [str(run) if word == "RUN" else word for word in words]
    assert main(["fuse", *told, "-o", str(tmp_path / "out.tif")]) == code
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.tif"]


@pytest.mark.reference
def test_real_frames_in_virtual_mode(reference, tmp_path, capsys):
    run = reference / "data/xray/xray_lpbf_wall_f090-129.tif"
    found = {}
    for method in ("temporal-linear", "flow"):
        words = ["fuse", "--virtual", str(run), "--ratio", "10", "--scale", "4", "--method", method, "--json"]
        assert main([*words, "-o", str(tmp_path / f"{method}.tif")]) == 0
        found[method] = json.loads(capsys.readouterr().out)["scores"]
    assert found["flow"]["frames"] == 27
    assert found["flow"]["psnr"] > found["temporal-linear"]["psnr"] + 0.5
