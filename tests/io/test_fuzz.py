"""Damaged files of every format are read or refused: 200 cases here, 5,000 in ``benchmarks/fuzz.py``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"


def test_damaged_files_never_crash_hang_or_surprise(tmp_path: Path) -> None:
    result = tmp_path / "fuzz.json"
    command = [sys.executable, str(FUZZ), "--cases", "200", "--json", str(result)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    summary = json.loads(result.read_text())
    assert (summary["cases"], summary["failures"]) == (200, [])
    outcomes = summary["outcomes"]
    assert outcomes["read"] > 20, "sound parts must still be read"
    assert outcomes["InputError"] > 50
