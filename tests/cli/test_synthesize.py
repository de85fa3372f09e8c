"""The command: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scanweave import io
from scanweave.cli import main
from scanweave.volume import Volume


@pytest.fixture
def t1(tmp_path) -> Path:
    voxels = np.random.default_rng(0).integers(1, 1000, (4, 8, 6)).astype(np.int16)
    io.write(Volume.from_array(voxels, spacing=(5, 1, 1)), tmp_path / "T1.nii.gz")
    return tmp_path / "T1.nii.gz"


def test_thinner_slices_of_a_volume(t1, tmp_path, capsys):
    out = tmp_path / "thin.nii.gz"
    assert main(["synthesize", str(t1), "--spacing", "1.25", "--method", "b-spline", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "T1 from T1 by b-spline: 13 x 8 x 6 voxels of 1.25 x 1 x 1 mm" in said and "synthetic" in said
    assert io.read(out).shape == (13, 8, 6)


def test_another_contrast_with_examples_as_json(t1, tmp_path, capsys):
    example = tmp_path / "someone_T2.nii.gz"
    example.write_bytes(t1.read_bytes())
    args = ["synthesize", str(t1), "--to", "t2w", "--examples", str(example), "-o", str(tmp_path / "out"), "--json"]
    assert main(args) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["contrast"] == "T2" and told["method"] == "histogram-matched" and told["error"] is None
    assert Path(told["output"]) == tmp_path / "out" / "T2.nii.gz"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--spacing", "-1"], 2, "spacing of -1 mm"),
        (["--to", "T2", "--method", "uni-coal"], 6, "give --weights FILE"),
        (["--to", "T2", "--samples", "2"], 2, "leave out --samples"),
        (["--spacing", "2", "--axis", "3"], 2, "--axis"),
        (["--spacing", "2", "--mask", "none.nii.gz"], 3, "none.nii.gz"),
        ([], 2, "there already"),
    ],
)
def test_mistakes_have_exit_codes_and_leave_nothing(t1, tmp_path, capsys, args, code, said):
    assert main(["synthesize", str(t1), *args, "-o", str(tmp_path / "out")]) == code
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()
