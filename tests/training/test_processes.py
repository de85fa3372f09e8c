"""Several processes train as one does, and score every sample once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

TOYS = Path(__file__).parent / "toys.py"
OPTIONS = {"steps": 12, "batch": 8, "accumulate": 2, "clip_norm": 0.5, "validate_every": 6, "validation_batch": 2}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def start(*before: str, name: str, output: Path, processes: int = 1) -> subprocess.CompletedProcess:
    options = OPTIONS | {"device": "cpu", "processes": processes}
    words = [f"{key}={json.dumps(value)}" for key, value in options.items()]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *before, str(TOYS), name, str(output), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def assert_as_one_process(ours: Path, theirs: Path, state_of, events_of) -> None:
    mine, others = state_of(ours), state_of(theirs)
    assert mine.keys() == others.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, others[name], rtol=0, atol=1e-5)
    for one, other in zip(events_of(ours), events_of(theirs), strict=True):
        assert one.keys() == other.keys()
        assert all(abs(one[key] - other[key]) < 1e-4 for key in one if isinstance(one[key], float))


def test_two_processes_of_torchrun_train_as_one(toys, fit, tmp_path, state_of, events_of):
    done = start(*TORCHRUN, name="regression,gan,sparse", output=tmp_path / "two")
    assert done.returncode == 0, done.stderr
    for name in ("regression", "gan", "sparse"):
        # the same four parts of each batch
        fit(toys.RECIPES[name](), name=f"one/{name}", **OPTIONS | {"accumulate": 4})
        assert_as_one_process(tmp_path / "two" / name, tmp_path / "one" / name, state_of, events_of)
    scores = [event for event in events_of(tmp_path / "two" / "regression") if event["event"] == "validation"]
    assert len(scores) == 2
    assert all(event["index"] == sum(range(7)) / 7 for event in scores), "7 samples, each once, by two processes"


def test_two_processes_of_our_own_train_as_one(toys, fit, tmp_path, state_of, events_of):
    done = start(name="regression", output=tmp_path / "two", processes=2)
    assert done.returncode == 0, done.stderr
    fit(toys.Regression(), name="one", **OPTIONS)
    assert_as_one_process(tmp_path / "two" / "regression", tmp_path / "one", state_of, events_of)


def test_a_failure_in_one_process_ends_all_and_says_why(tmp_path):
    done = start(*TORCHRUN, name="damaged", output=tmp_path)
    assert done.returncode != 0
    assert "InputError: thirteen.dcm: is damaged" in done.stderr
