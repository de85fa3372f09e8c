"""``scanweave fuse --report`` and ``scanweave trust fusion``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from scanweave.cli import main


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(0)
    frames = np.stack([np.roll(rng.integers(100, 4000, (24, 32)), t, axis=1) for t in range(13)])
    tifffile.imwrite(tmp_path / "run.tif", frames.astype(np.uint16), photometric="minisblack")
    return tmp_path / "run.tif"


def test_a_report_while_fusing_and_afterwards(run, tmp_path, capsys):
    cameras = ["--virtual", str(run), "--ratio", "4", "--noise", "0.01"]
    made, page = tmp_path / "out.tif", tmp_path / "report.html"
    words = [*cameras, "--method", "hold", "--profile", "4", "4", "20", "8", "--report", str(page)]
    assert main(["fuse", *words, "--consistent", "-o", str(made), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trust"]["method"] == "hold, made consistent"
    assert str(page) in told["outputs"]
    assert "Trust report: out.tif" in page.read_text()
    assert main(["trust", "fusion", str(made), *cameras, "-o", str(tmp_path / "again.html"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["report"] == str(tmp_path / "again.html")
    assert again["consistency"] == told["trust"]["consistency"]
    assert main(["trust", "fusion", str(made), *cameras]) == 0
    assert "coarse camera" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fuse", "--virtual", "RUN", "-o", "OUT", "--profile", "1", "1", "9", "9"], 2, "--report"),
        (["fuse", "--virtual", "RUN", "-o", "OUT", "--report", "RUN"], 2, ".html"),
        (["fuse", "--virtual", "RUN", "-o", "OUT", "--report", "OTHER", "--overwrite"], 2, ".html"),
        (["trust", "fusion", "RUN", "--virtual", "RUN", "-o", "OTHER", "--overwrite"], 2, ".html"),
        (["fuse", "--virtual", "RUN", "-o", "OUT", "--report", "R", "--camera-blur", "-1"], 2, "blur"),
        (["trust", "fusion", "RUN"], 2, "--virtual"),
        (["trust", "fusion", "RUN", "--fast", "RUN"], 2, "--virtual"),
        (["trust", "fusion", "RUN", "--fast", "RUN", "--sharp", "RUN"], 2, "--calibration"),
        (["trust", "fusion", "none.tif", "--virtual", "RUN"], 3, "none.tif"),
    ],
)
def test_mistakes_are_named_in_one_line(words, code, said, run, tmp_path, capsys):
    other = tmp_path / "other.tif"
    other.write_bytes(b"unrelated")
    named = {"RUN": str(run), "OUT": str(tmp_path / "out.tif"), "R": str(tmp_path / "r.html"), "OTHER": str(other)}
    assert main([named.get(word, word) for word in words]) == code
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.tif", "run.tif"]
    assert other.read_bytes() == b"unrelated"
