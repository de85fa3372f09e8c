"""``scanweave info``, ``trust``, ``demo`` and what all commands share."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import scanweave
from scanweave.cli import COMMANDS, main


def test_the_overview_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert "Research use only" in text
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert scanweave.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    try:
        code = main([command, "--help"])
    except SystemExit as stop:  # the parser's own way out, once it has printed
        code = stop.code
    assert code == 0
    assert "usage: scanweave" in capsys.readouterr().out


def test_an_unknown_command_is_one_line(capsys):
    assert main(["interpolte"]) == 2
    assert "choose one of interpolate" in capsys.readouterr().err


def test_info_tells_what_the_echo_is(echo_path, capsys):
    assert main(["info", str(echo_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["frames"], answer["rows"], answer["columns"], answer["channels"]) == (30, 240, 320, 3)
    assert answer["fps"] == pytest.approx(30.0003)
    assert answer["duplicates"] == [11, 28]
    assert answer["modality"] == "US"
    assert answer["regions"][0]["inside"] is False
    assert any("region" in note for note in answer["notes"])
    patient = "PatientName PatientID PatientBirthDate"
    assert not any(word in json.dumps(answer) for word in patient.split())


def test_info_in_words(echo_path, capsys):
    assert main(["info", str(echo_path)]) == 0
    text = capsys.readouterr().out
    assert "30" in text
    assert "note:" in text


def test_info_lists_methods(capsys):
    assert main(["info", "--methods"]) == 0
    assert set(capsys.readouterr().out.split()) >= {"hold", "linear", "minterpolate", "optical-flow"}


def test_trust_scores_all_methods_and_writes_a_page(echo_path, tmp_path, capsys):
    page = tmp_path / "trust.html"
    words = [
        "trust",
        str(echo_path),
        "-o",
        str(page),
        "--methods",
        "hold,linear",
        "--gaps",
        "2,4",
        "--method",
        "linear",
    ]
    assert main([*words, "--max-hidden", "8", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["report"] == str(page)
    assert "http://" not in page.read_text().replace("http://www.w3.org", "")
    assert main([*words, "--max-hidden", "8"]) == 5, "a report that exists is not replaced unasked"
    written = page.stat().st_mtime_ns
    assert main([*words, "--resume"]) == 0
    assert page.stat().st_mtime_ns == written, "a finished report is left as it is"


@pytest.mark.parametrize("length", [1, 2])
def test_what_cannot_be_scored_is_refused_with_the_reason(tmp_path, capsys, length):
    np.save(tmp_path / "short.npy", np.random.default_rng(0).integers(0, 255, (length, 16, 16), dtype=np.uint8))
    assert main(["trust", str(tmp_path / "short.npy"), "-o", str(tmp_path / "t.html")]) == 3
    assert "short.npy" in capsys.readouterr().err
    assert not (tmp_path / "t.html").exists()


def test_trust_refuses_gaps_that_hide_nothing(echo_path, capsys):
    assert main(["trust", str(echo_path), "--gaps", "1,2"]) == 2
    assert "gap" in capsys.readouterr().err


def test_the_demo_makes_all_that_it_names(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    named = [Path(word) for word in capsys.readouterr().out.split() if word.startswith(str(tmp_path))]
    assert len(named) == 5
    assert all(path.stat().st_size > 1000 for path in named)
    slow = scanweave.read(named[0])
    film = scanweave.read(named[1])
    assert len(slow) == len(film) == 117
    assert film.fps == pytest.approx(30, rel=1e-3)


def test_a_closed_pipe_is_no_error(echo_path):
    command = f'"{sys.executable}" -m scanweave info "{echo_path}" | head -n 1'
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
