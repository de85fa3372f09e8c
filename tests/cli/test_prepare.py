"""``scanweave prepare``: a training set from the command line, and its verification."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from scanweave.cli import main


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Four patients' folders, each with a run of 14 pictures."""
    for k in range(4):
        rng = np.random.default_rng(k)
        folder = tmp_path / "in" / f"Doe_{k}" / "run"
        folder.mkdir(parents=True)
        ground = rng.integers(40, 90, (32, 40))
        for n in range(14):
            frame = ground.copy()
            frame[10 + n // 2 : 20 + n // 2, 5 + n : 15 + n] += 90
            cv2.imwrite(str(folder / f"{n:03d}.png"), frame.astype(np.uint8))
    return tmp_path / "in"


def test_a_set_is_made_told_of_and_verified(runs, tmp_path, capsys):
    output = tmp_path / "set"
    assert main(["prepare", "interpolation", str(runs), "-o", str(output), "--split", "2,1,1"]) == 0
    told = capsys.readouterr().out
    assert "by the first folder below the input" in told
    assert "train: 2 clips of 2 patients" in told
    assert main(["prepare", "check", str(output)]) == 0
    told = capsys.readouterr().out
    assert "clips: train 2" in told
    assert "patients: 4" in told
    assert told.endswith("sound\n")


def test_the_outcome_as_json(runs, tmp_path, capsys):
    words = ["prepare", "interpolation", "--layout", "most-dsa", "--inter-frames", "2", "--crop", "none", "--json"]
    assert main([*words, str(runs), "-o", str(tmp_path / "set"), "--split", "2", "1", "1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["clips"] == {"train": 8, "validation": 4, "test": 4}
    assert answer["frames"] == 16 * 4
    assert main(["prepare", "check", str(tmp_path / "set"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sizes"] == ["32 x 40"]


def test_a_set_that_was_changed_is_found(runs, tmp_path, capsys):
    output = tmp_path / "set"
    assert main(["prepare", "interpolation", str(runs), "-o", str(output), "--split", "1,0,0"]) == 0
    changed = sorted(output.rglob("000005.png"))[0]
    pixels = cv2.imread(str(changed), cv2.IMREAD_UNCHANGED)
    pixels[3, 3] ^= 1
    cv2.imwrite(str(changed), pixels)
    assert main(["prepare", "check", str(output)]) == 3
    assert "frame 5 of train/patient_0001/run_0001/clip_0001 is not the one" in capsys.readouterr().err
    changed.unlink()
    assert main(["prepare", "check", str(output)]) == 3
    assert "000005.png is missing" in capsys.readouterr().err


def test_a_table_tells_patients(runs, tmp_path, capsys):
    table = tmp_path / "patients.csv"
    table.write_text("file,patient\n" + "".join(f"Doe_{k}/run,{'AB'[k // 2]}\n" for k in range(4)))
    words = ["prepare", "interpolation", str(runs), "--patients", str(table), "--split", "1,0,1", "--json"]
    assert main([*words, "-o", str(tmp_path / "set")]) == 0
    assert json.loads(capsys.readouterr().out)["patients"] == {"train": 1, "validation": 0, "test": 1}
    table.write_text("Doe_0/run,A\n")
    assert main([*words, "-o", str(tmp_path / "other")]) == 3
    assert "is not in the table" in capsys.readouterr().err
    table.write_text("Doe_0/run,A\nDoe_0/run,B\n")
    assert main([*words, "-o", str(tmp_path / "other")]) == 3
    assert "line 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["interpolation", "-o", "set"], 2, "no input"),
        (["interpolation", "nothing", "-o", "set"], 3, "does not exist"),
        (["interpolation", "in", "-o", "set", "--split", "1,1"], 2, "split"),
        (["interpolation", "in", "-o", "in"], 5, "input"),
        (["interpolation", "in", "-o", "set", "--stride", "0"], 2, "--stride"),
        (["check", "nothing"], 3, "no folder"),
        (["synthesis"], 2, "synthesis"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(runs, tmp_path, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *words]) == code
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not Path("set").exists()


@pytest.mark.parametrize("words", [["interpolation"], ["check"]])
def test_the_help_tells_every_option(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["prepare", *words, "--help"])
    assert stop.value.code == 0
    assert "--layout" in capsys.readouterr().out


def test_a_set_for_synthesis_is_not_taken_for_clips(tmp_path, capsys):
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "set" / "train" / "a.h5").write_bytes(b"")
    assert main(["prepare", "check", str(tmp_path / "set")]) == 2
    assert "is a set for synthesis" in capsys.readouterr().err
