"""Outputs are whole or absent; an input is never touched; what the disk refuses is explained."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from scanweave import io
from scanweave.cine import Cine
from scanweave.errors import InputError, OutputError, UsageError
from scanweave.io.files import atomic_output

FRAMES = np.random.default_rng(0).integers(0, 65536, (6, 64, 64), dtype=np.uint16)
RUN = Cine.from_array(FRAMES, fps=20)
SUFFIXES = ["", ".tif", ".npy", ".npz", ".h5", ".mkv", ".avi", ".mp4", ".gif"]


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    with small_disk(3000), pytest.raises(OutputError) as caught:
        io.write(RUN, tmp_path / f"run{suffix}")
    assert caught.value.exit_code == 5
    assert caught.value.path == str(tmp_path / f"run{suffix}")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_cannot_be_made(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot be written"):
        io.write(RUN, tmp_path / "file" / f"run{suffix}")
    assert left_in(tmp_path) == ["file"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_source_that_breaks_midway_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    def load(i: int) -> np.ndarray:
        if i == 4:
            raise InputError("frame 4 cannot be decoded")
        return FRAMES[i]

    broken = Cine(load, shape=(64, 64), dtype=np.uint16, times=np.arange(6) / 20)
    with pytest.raises(InputError, match="frame 4"):
        io.write(broken, tmp_path / f"run{suffix}")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("suffix", ["", ".tif", ".npy", ".h5", ".mkv"])
def test_inputs_are_never_overwritten(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    io.write(RUN, path)
    cine = io.read(path)
    alias = tmp_path / f"alias{suffix}"
    alias.symlink_to(path)
    for target in (path, alias, tmp_path / "." / f"run{suffix}"):
        with pytest.raises(OutputError, match="also an input"):
            io.write(cine, target, overwrite=True)
    np.testing.assert_array_equal(io.read(path).frame(5), FRAMES[5])
    if suffix == "":
        for inside in ("000000.png", "new.tif"):
            with pytest.raises(OutputError, match="input"):
                io.write(cine.select([0]), path / inside, overwrite=True)


def test_existing_outputs_need_leave(tmp_path: Path) -> None:
    for suffix in ("", ".npy"):
        path = tmp_path / f"run{suffix}"
        io.write(RUN, path)
        with pytest.raises(OutputError, match="exists already"):
            io.write(RUN, path)
        io.write(RUN.select([0, 1]), path, overwrite=True)
        assert len(io.read(path)) == 2
    assert left_in(tmp_path) == ["run", "run.npy"]


@pytest.mark.parametrize("name", ["run.xyz", "run.nii.gz", "run.webm"])
def test_unknown_suffixes_are_listed(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no format has the suffix") as caught:
        io.write(RUN, tmp_path / name)
    assert ".mkv" in str(caught.value)
    assert left_in(tmp_path) == []


def test_others_may_read_an_output_whose_writer_kept_it_to_itself(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with atomic_output(tmp_path / "out") as place:
        place.touch(mode=0o600)
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_atomic_output_keeps_the_old_when_the_new_fails(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_output(target) as place:
        place.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert left_in(tmp_path) == ["file.txt"]
