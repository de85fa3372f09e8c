"""Memory of a fusion does not grow with the number of frames, whatever they are read from and written to."""

from __future__ import annotations

import tracemalloc

import h5py
import numpy as np
import pytest
import tifffile

from scanweave.batch.fusion import FusionOptions, fuse_case
from scanweave.batch.fusion_cases import CameraFiles, Case
from scanweave.fusion.calibration import Calibration, write_calibration

FOUR = ((4.0, 0.0, 1.5), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0))
SIDE = 128


def write(path, frames):
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["exchange/data"] = frames
    else:
        tifffile.imwrite(path, frames, photometric="minisblack")


def peak(folder, suffix, count):
    """Return the greatest memory that a run of so many frames takes, bytes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    write(folder / f"fast{suffix}", rng.integers(1, 4000, (count, SIDE // 4, SIDE // 4)).astype(np.uint16))
    write(folder / f"sharp{suffix}", rng.integers(1, 4000, (count // 2, SIDE, SIDE)).astype(np.uint16))
    calibration = Calibration(
        method="stated", coarse_shape=(SIDE // 4, SIDE // 4), sharp_shape=(SIDE, SIDE), matrix=FOUR
    )
    write_calibration(calibration, folder / "c.json")
    case = Case(
        name="run",
        fast=CameraFiles(path=folder / f"fast{suffix}", fps=1000),
        sharp=CameraFiles(path=folder / f"sharp{suffix}", fps=500),
        calibration=folder / "c.json",
    )
    options = FusionOptions(method="temporal-linear", match="none")
    fuse_case(case, folder / f"first{suffix}", options=options)  # what is imported and kept once is no frame
    tracemalloc.start()
    try:
        fuse_case(case, folder / f"out{suffix}", options=options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".tif", ".h5"])
def test_memory_is_constant(suffix, tmp_path):
    short, long = peak(tmp_path / "short", suffix, 60), peak(tmp_path / "long", suffix, 140)
    # each run is long enough to fill what is kept of it; times and entries of the side-car go on growing
    assert (long - short) / 80 < SIDE * SIDE * 2 / 4
