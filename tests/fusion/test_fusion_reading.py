"""The run of one camera from files: HDF5 of synchrotrons, the published folder, times and fields beside."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile

from scanweave.errors import InputError, UnsupportedError
from scanweave.fusion.reading import experiment, read_camera

INI = "[REC_INFO]\nRecSpeed=1,000ns\nRecFrame={n}\n"
XML = """<chd><CameraSetup><FrameRateDouble>250000</FrameRateDouble><Gamma>{gamma}</Gamma></CameraSetup>
<TIMEBLOCK>{stamps}</TIMEBLOCK></chd>"""


def run(n=4, shape=(6, 8), seed=0):
    return np.random.default_rng(seed).integers(100, 4000, (n, *shape)).astype(np.uint16)


def published(folder, *, fast=9, sharp=3, gamma="0", stated=None):
    """Write an experiment folder: a fast frame every microsecond, a sharp one every four."""
    frames = folder / "TIFF16" / "rec"
    frames.mkdir(parents=True)
    for i, one in enumerate(run(fast)):
        tifffile.imwrite(frames / f"f{i}.tiff", one, photometric="minisblack")
    entries = [f"[IMAGE_INFO_{i + 1}]\nImageRelative={1000 * i}\n" for i in range(fast)]
    (folder / "rec.ini").write_text(INI.format(n=fast) + "".join(entries))
    slow = folder / "phantom"
    slow.mkdir()
    for i, one in enumerate(run(sharp, (24, 32), seed=1)):
        tifffile.imwrite(slow / f"img_{i:06d}.tif", one, photometric="minisblack")
    stamps = [
        f'<Date Frame="{i}">Tue Nov 19 2024</Date><Time Frame="{i}">10:00:00.000 {4 * i:03d}.00 E</Time>'
        for i in range(stated or sharp)
    ]
    (slow / "rec.xml").write_text(XML.format(gamma=gamma, stamps="".join(stamps)))
    return folder


def exchange(path, *, theta=None, times=None):
    with h5py.File(path, "w") as file:
        file["exchange/data"] = run()
        file["exchange/data_white"] = np.full((2, 6, 8), 4000, np.uint16)
        file["exchange/data_dark"] = np.stack([np.full((6, 8), 90), np.full((6, 8), 110)]).astype(np.uint16)
        if theta is not None:
            file["exchange/theta"] = np.asarray(theta, np.float32)
        if times is not None:
            file["exchange/times"] = times
        file["measurement/other"] = run(seed=3)
    return path


def test_both_cameras_of_a_published_folder(tmp_path):
    folder = published(tmp_path / "ab1.x")
    fast, sharp = read_camera(folder, "fast"), read_camera(folder, "sharp")
    np.testing.assert_allclose(fast.cine.times, np.arange(9) * 1e-6)
    np.testing.assert_allclose(sharp.cine.times, np.arange(3) * 4e-6, atol=1e-12)
    assert fast.cine.shape == (6, 8)
    assert sharp.cine.shape == (24, 32)
    np.testing.assert_array_equal(fast.cine.frame(2), run(9)[2])
    assert fast.record is not None
    assert sharp.record is not None
    assert read_camera(folder / "phantom", "sharp").timed


def test_counts_and_gamma_that_do_not_go_together(tmp_path):
    with pytest.raises(InputError, match=r"times of 4 frames, there are 3"):
        read_camera(published(tmp_path / "a", stated=4), "sharp")
    with pytest.raises(InputError, match=r"Gamma is 2\.2"):
        read_camera(published(tmp_path / "b", gamma="2.2"), "sharp")
    (tmp_path / "c").mkdir()
    assert experiment(tmp_path / "c") is None
    twice = published(tmp_path / "d")
    (twice / "more").mkdir()
    with pytest.raises(InputError, match="2 folders that could be the sharp"):
        read_camera(twice, "sharp")
    (twice / "more").rmdir()
    (twice / "second.ini").write_text("")
    with pytest.raises(InputError, match="2 files of metadata"):
        read_camera(twice, "fast")


def test_the_exchange_layout_with_its_fields(tmp_path):
    found = read_camera(exchange(tmp_path / "a.h5", theta=[0] * 4, times=np.arange(4) * 0.1), "sharp")
    np.testing.assert_array_equal(found.cine.frame(3), run()[3])
    np.testing.assert_allclose(found.cine.times, np.arange(4) * 0.1)
    assert found.dark is not None
    assert found.flat is not None
    assert (found.dark.mean(), found.flat.mean()) == (100, 4000)
    other = read_camera(tmp_path / "a.h5:/measurement/other", "sharp")
    np.testing.assert_array_equal(other.cine.frame(0), run(seed=3)[0])
    assert other.flat is None
    with pytest.raises(UnsupportedError, match="tomography"):
        read_camera(exchange(tmp_path / "b.h5", theta=[0, 1, 2, 3]), "sharp")


@pytest.mark.reference
def test_a_real_tomography_scan_is_refused(reference):
    with pytest.raises(UnsupportedError, match="tomography"):
        read_camera(reference / "data/xray/xray_sinogram_tooth.h5", "sharp")


def test_times_and_fields_that_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "run.tif", run(), photometric="minisblack")
    tifffile.imwrite(tmp_path / "flat.tif", np.full((3, 6, 8), 3000, np.uint16), photometric="minisblack")
    (tmp_path / "times.txt").write_text("0\n0.1\n0.25\n0.3\n")
    found = read_camera(tmp_path / "run.tif", "fast", times=tmp_path / "times.txt", flat=tmp_path / "flat.tif")
    assert found.cine.times.tolist() == [0, 0.1, 0.25, 0.3]
    assert found.flat is not None
    assert found.flat.max() == 3000
    assert not read_camera(tmp_path / "run.tif", "fast").timed
    assert read_camera(tmp_path / "run.tif", "fast", fps=10).cine.times[3] == pytest.approx(0.3)
    (tmp_path / "times.txt").write_text("0\n0.1\n0.1\n0.3\n")
    with pytest.raises(InputError, match="do not increase"):
        read_camera(tmp_path / "run.tif", "fast", times=tmp_path / "times.txt")
    (tmp_path / "times.txt").write_text("zero")
    with pytest.raises(InputError, match="no list of times"):
        read_camera(tmp_path / "run.tif", "fast", times=tmp_path / "times.txt")
    with pytest.raises(UnsupportedError, match="neither"):
        read_camera(tmp_path / "run.tif", "fast", times=tmp_path / "flat.tif")
    with pytest.raises(InputError, match="does not exist"):
        read_camera(tmp_path / "none.tif", "fast")
