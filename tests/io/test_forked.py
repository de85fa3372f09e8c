"""Runs that are read in several processes forked from one that has them open."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest
import tifffile

import scanweave
from scanweave.cine import Cine


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
@pytest.mark.parametrize("suffix", [".tif", ".mkv", ".h5"])
def test_forked_processes_read_the_same_frames(tmp_path, suffix):
    frames = np.random.default_rng(0).integers(0, 256, (24, 64, 80)).astype(np.uint8)
    path = tmp_path / f"run{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, frames, compression="zlib", metadata=None)
    else:
        scanweave.write(Cine.from_array(frames, fps=25), path)
    run = scanweave.read(path)
    np.testing.assert_array_equal(run.frame(0), frames[0])
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()

    def look(first: int) -> None:
        for _ in range(4):
            answers.put([bool((run.frame(i) == frames[i]).all()) for i in range(first, 24, 3)])

    processes = [fork.Process(target=look, args=(first,)) for first in range(3)]
    for process in processes:
        process.start()
    seen = [answers.get(timeout=60) for _ in range(12)]
    for process in processes:
        process.join()
    assert all(all(one) for one in seen)
