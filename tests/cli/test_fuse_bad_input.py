"""``scanweave fuse`` names what is wrong with its input in one line, and leaves nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from scanweave.cli import main
from scanweave.fusion.calibration import Calibration, write_calibration

BESIDE = ((4.0, 0.0, 500.0), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0))
FOUR = ((4.0, 0.0, 1.5), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0))
TEXTS = {
    "late.txt": "10\n10.004\n10.008\n",
    "two.txt": "0\n1\n",
    "still.txt": "0\n0\n0\n",
    "nan.txt": "0\nnan\n1\n",
    "other.xml": "<other><x/></other>",
    "other.ini": "[OTHER]\na=1\n",
}


def frames(n=9):
    rows, columns = np.mgrid[:24, :32]
    moving = [np.rint((np.sin((columns - t) / 5) * np.cos(rows / 7) + 1.2) * 1500) for t in range(n)]
    return np.stack(moving).astype(np.uint16)


def changed(run, number, value):
    """Return a run, of one frame of which all pixels but one have a value."""
    run = run.copy()
    run[number] = value
    run[number, 0, 0] = value if value < 65535 else 1
    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder, the working one, with a sound pair and everything that is not."""
    sharp, coarse = frames()[::4], frames().reshape(9, 6, 4, 8, 4).mean(axis=(2, 4)).astype(np.uint16)
    runs = {
        "fast": coarse,
        "sharp": sharp,
        "dead": changed(coarse, 3, 5),
        "bright": changed(coarse, 3, 65535),
        "dead-sharp": changed(sharp, 1, 5),
        "one": sharp[:1],
        "noise": np.random.default_rng(0).integers(0, 3000, (9, 6, 8)).astype(np.uint16),
        "small-field": np.full((2, 5, 5), 9, np.uint16),
        "dim-field": np.full((2, 24, 32), 100, np.uint16),
        "bright-field": np.full((2, 24, 32), 200, np.uint16),
    }
    for name, run in runs.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", run, photometric="minisblack")
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    for name, matrix in (("c", FOUR), ("beside", BESIDE)):
        calibration = Calibration(method="stated", coarse_shape=(6, 8), sharp_shape=(24, 32), matrix=matrix)
        write_calibration(calibration, tmp_path / f"{name}.json")
    told = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "newer.json").write_text(json.dumps(told | {"scanweave_calibration": 99}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--sharp-times late.txt", 3, "no overlap in time"),
        ("--calibration beside.json", 3, "no overlap in space"),
        ("--fast sharp.tif --sharp fast.tif", 3, "exchange --fast and --sharp"),
        ("--fast-fps 250 --sharp-fps 1000", 3, "exchange --fast and --sharp"),
        ("--fast dead.tif", 3, "dead.tif: frame 3 of the fast camera is dead"),
        ("--sharp dead-sharp.tif", 3, "dead-sharp.tif: frame 1 of the sharp camera is dead"),
        ("--fast bright.tif", 3, "bright.tif: frame 3 of the fast camera is saturated in 98%"),
        ("--sharp one.tif", 3, "1 sharp and 9 fast frames"),
        ("--fast noise.tif", 3, "do not show the same"),
        ("--sharp-times two.txt", 3, "two.txt: states the times of 2 frames, there are 3"),
        ("--sharp-times still.txt", 3, "do not increase"),
        ("--sharp-times nan.txt", 3, "do not increase"),
        ("--sharp-times other.xml", 4, "not Phantom metadata of a known version"),
        ("--fast-times other.ini", 4, "not Shimadzu metadata of a known version"),
        ("--calibration newer.json", 4, "newer.json: is a calibration of version 99"),
        ("--fast-fps 0", 2, "0 frames per second of the fast camera"),
        ("--sharp-fps nan", 2, "nan frames per second of the sharp camera"),
        ("--scale 3 --seed 1", 2, "--scale, --seed: without effect"),
        ("--ratio 3", 2, "--virtual RUN"),
        ("--sharp-flat small-field.tif", 3, "small-field.tif: the flat field has 5 x 5 pixels"),
        ("--sharp-flat dim-field.tif --sharp-dark bright-field.tif", 3, "no brighter than the dark one"),
    ],
)
def test_it_is_named_in_one_line_and_nothing_is_left(words, code, said, folder, capsys):
    told = {"--fast": "fast.tif", "--sharp": "sharp.tif", "--calibration": "c.json"}
    told |= {"--fast-fps": "1000", "--sharp-fps": "250"}
    given = words.split()
    for name, value in zip(given[::2], given[1::2], strict=True):
        told[name] = value
        if name.endswith("-times"):
            told.pop(name.replace("-times", "-fps"))
    before = sorted(path.name for path in folder.iterdir())
    assert main(["fuse", *(word for pair in told.items() for word in pair), "-o", "out.tif"]) == code
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert sorted(path.name for path in folder.iterdir()) == before
