"""npy, npz and HDF5."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from scanweave import io
from scanweave.cine import Cine
from scanweave.errors import InputError, UnsupportedError, UsageError

RUN = np.random.default_rng(2).integers(0, 60000, (4, 9, 11), dtype=np.uint16)


def test_npy_layouts(tmp_path: Path) -> None:
    path = tmp_path / "run.npy"
    for array in (RUN, np.asfortranarray(RUN), RUN.astype(">u2"), RUN.astype(np.float16)):
        np.save(path, array)
        cine = io.read(path)
        assert cine.dtype.isnative
        np.testing.assert_array_equal(np.stack(list(cine)), array)
    np.save(path, RUN[0])
    assert len(io.read(path)) == 1
    np.save(path, RUN > 30000)
    np.testing.assert_array_equal(io.read(path).frame(1), (RUN[1] > 30000) * np.uint8(255))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (RUN[0, 0], "is not"),
        (RUN[:, None, :, None, :], "is not"),
        (np.zeros((4, 5, 3), np.uint8), "one colour picture or frames 3 columns wide"),
        (RUN.astype(complex), "no grey values"),
        (np.zeros((2, 4, 4), [("a", "u1")]), "no grey values"),
        (np.zeros((0, 4, 5), np.uint8), "no frames"),
        (np.array([None, 1]), "cannot be read"),
    ],
)
def test_npy_that_is_no_run(tmp_path: Path, array: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "bad.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=reason):
        io.read(tmp_path / "bad.npy")


def test_npz_by_name(tmp_path: Path) -> None:
    path = tmp_path / "runs.npz"
    np.savez(path, a=RUN, b=RUN[::-1])
    with pytest.raises(InputError, match="holds 2 arrays: a, b"):
        io.read(path)
    np.testing.assert_array_equal(io.read(path, dataset="b").frame(0), RUN[3])
    np.testing.assert_array_equal(io.read(f"{path}:b").frame(0), RUN[3])
    np.testing.assert_array_equal(io.read(f"{path}:/a").frame(0), RUN[0])
    with pytest.raises(InputError, match="holds no array c"):
        io.read(path, dataset="c")
    np.savez_compressed(path, only=RUN)
    np.testing.assert_array_equal(io.read(path).frame(2), RUN[2])


def test_hdf5_by_name(tmp_path: Path) -> None:
    path = tmp_path / "runs.h5"
    with h5py.File(path, "w") as file:
        file["group/run"] = RUN
        file["curve"] = np.arange(5.0)
    np.testing.assert_array_equal(np.stack(list(io.read(path))), RUN)
    with h5py.File(path, "a") as file:
        file.create_dataset("other", data=RUN[::-1], compression="gzip", chunks=(1, 9, 11))
    with pytest.raises(InputError, match="holds 2 datasets") as caught:
        io.read(path)
    assert "runs.h5:/group/run" in str(caught.value)
    np.testing.assert_array_equal(io.read(f"{path}:/other").frame(0), RUN[3])
    np.testing.assert_array_equal(io.read(path, dataset="other").frame(0), RUN[3])
    for name, reason in (("/none", "holds no dataset"), ("/group", "no dataset"), ("/curve", "is not")):
        with pytest.raises(InputError, match=reason):
            io.read(f"{path}:{name}")
    with pytest.raises(UsageError, match="two datasets"):
        io.read(f"{path}:/other", dataset="group/run")


def test_hdf5_times_beside(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file["run"] = RUN
        file["times"] = [0.0, 0.1, 0.1, 0.3]
    with pytest.raises(InputError, match="do not increase"):
        io.read(path)
    assert io.read(path, source_fps=10).times[-1] == pytest.approx(0.3)
    io.write(Cine.from_array(RUN, times=[0, 0.1, 0.15, 0.3]), f"{path}:/deep/er", overwrite=True)
    np.testing.assert_allclose(io.read(path).times, [0, 0.1, 0.15, 0.3])
    with pytest.raises(UsageError, match="times"):
        io.write(Cine.from_array(RUN, fps=3), f"{tmp_path / 'x.h5'}:/times")


def test_tomography_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["exchange/data"] = RUN
        file["exchange/theta"] = np.linspace(0, 180, 4)
    for target in (str(path), f"{path}:/exchange/data"):
        with pytest.raises(UnsupportedError, match=r"tomography scan .*4 angles"):
            io.read(target)


@pytest.mark.reference
def test_the_real_tooth_is_a_tomography_scan(reference: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"tomography scan .*181 angles"):
        io.read(reference / "data/xray/xray_sinogram_tooth.h5")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
@pytest.mark.parametrize("share", [0.01, 0.4, 0.9])
def test_cut_short(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"run{suffix}"
    io.write(Cine.from_array(RUN, fps=10), path)
    data = path.read_bytes()
    path.write_bytes(data[: max(1, int(len(data) * share))])
    with pytest.raises(InputError):
        list(io.read(path))


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("run", (3, 60_000, 60_000), np.uint16, chunks=(1, 100, 100))
    with pytest.raises(InputError, match="cannot hold"):
        io.read(path)
