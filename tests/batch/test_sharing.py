"""Several processes on one run: nothing made twice, nothing lost with one that is killed, the same bytes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tifffile

from scanweave.batch.fusion import FusionOptions, fuse_case
from scanweave.batch.fusion_cases import CameraFiles, Case
from scanweave.batch.many import FINISHED
from scanweave.batch.partial import PartialFolder
from scanweave.batch.sharing import assembling, make_parts
from scanweave.errors import InputError
from scanweave.fusion.virtual import VirtualOptions
from scanweave.plan import Plan

PLAN = Plan(verb="fuse", inputs=(), config={}, method={"name": "hold"})
OPTIONS = FusionOptions(method="temporal-linear", cameras=VirtualOptions(ratio=4), depth="float32")
HOLDER = """
import sys
from pathlib import Path
from scanweave.io.locks import FileLock
print(FileLock(Path(sys.argv[1])).take(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def case(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(100, 4000, (25, 16, 24)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "run.tif", frames, photometric="minisblack")
    return Case(name="run", fast=CameraFiles(path=tmp_path / "run.tif"))


def test_what_a_killed_process_had_claimed_is_made_by_another(tmp_path):
    store = PartialFolder(tmp_path / "out.tif", PLAN, shared=True)
    lock = store.folder / "000004.lock"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline().strip() == "True"
    made, told = [], []

    def make(i):
        if i == 31:
            other.kill()
            other.communicate()
        made.append(i)
        store.write(i, {"pixels": np.full(2, i)})

    make_parts(store, 32, make, told.append)
    assert made == [*range(4), *range(8, 32), *range(4, 8)]
    assert told == list(range(1, 33))


def test_who_comes_when_all_is_done_makes_nothing(tmp_path):
    store = PartialFolder(tmp_path / "out.tif", PLAN, shared=True)
    joined = PartialFolder(tmp_path / "out.tif", PLAN, resume=True, shared=True)
    make_parts(store, 3, lambda i: store.write(i, {"pixels": np.full(2, i)}))
    store.discard()
    make_parts(joined, 3, lambda i: pytest.fail("the folder is gone"))
    assert assembling(joined) is None


def test_one_process_and_three_write_the_same_bytes(case, tmp_path):
    fuse_case(case, tmp_path / "one.tif", options=OPTIONS)
    outcome = fuse_case(case, tmp_path / "three.tif", options=OPTIONS, workers=3)
    assert outcome.frames == 25
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "three.tif").read_bytes()
    assert not (tmp_path / "three.tif.partial").exists()


def test_commands_started_together_share_a_run(case, tmp_path):
    words = ["fuse", "--virtual", str(tmp_path / "run.tif"), "--ratio", "4", "--method", "temporal-linear", "--resume"]
    line = [sys.executable, "-m", "scanweave", *words, "-o", str(tmp_path / "out.tif")]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [one.communicate() for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tif", "out.tif.scanweave.json", "run.tif"]
    fuse_case(case, tmp_path / "alone.tif", options=FusionOptions(method="temporal-linear", cameras=OPTIONS.cameras))
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "alone.tif").read_bytes()
    again = fuse_case(
        case,
        tmp_path / "alone.tif",
        options=FusionOptions(method="temporal-linear", cameras=OPTIONS.cameras),
        resume=True,
    )
    assert again.notes == (FINISHED,)


def test_a_fault_is_told_once_and_leaves_nothing_whoever_meets_it(case, tmp_path):
    frames = tifffile.imread(tmp_path / "run.tif")
    frames[20] = 7
    tifffile.imwrite(tmp_path / "run.tif", frames, photometric="minisblack")
    with pytest.raises(InputError, match="dead"):
        fuse_case(case, tmp_path / "out.tif", options=OPTIONS, workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["run.tif"]
