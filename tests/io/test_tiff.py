"""TIFF: pages of every kind that pass for frames, and those that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from scanweave import io
from scanweave.cine import Cine
from scanweave.errors import InputError, UnsupportedError

RNG = np.random.default_rng(4)
RUN = RNG.integers(0, 4096, (5, 14, 18), dtype=np.uint16)


CODINGS: list[dict[str, Any]] = [
    {},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True},
    {"tile": (16, 16)},
]


@pytest.mark.parametrize("options", CODINGS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_are_frames(tmp_path: Path, options: dict[str, Any], order: str) -> None:
    tifffile.imwrite(tmp_path / "run.tif", RUN, byteorder=order, photometric="minisblack", **options)
    cine = io.read(tmp_path / "run.tif")
    assert (len(cine), cine.dtype, cine.time_unit) == (5, np.uint16, "frame")
    for i in (4, 0, 2, 1, 3):
        np.testing.assert_array_equal(cine.frame(i), RUN[i])


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_deflate"])
def test_codings_that_only_libtiff_knows(tmp_path: Path, compression: str) -> None:
    pages = [Image.fromarray(page) for page in RUN]
    pages[0].save(tmp_path / "run.tif", save_all=True, append_images=pages[1:], compression=compression)
    np.testing.assert_array_equal(np.stack(list(io.read(tmp_path / "run.tif"))), RUN)


def test_imagej_interval_is_the_frame_time(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RUN, imagej=True, metadata={"axes": "TYX", "finterval": 0.04})
    tifffile.imwrite(tmp_path / "b.tif", RUN, imagej=True, metadata={"axes": "TYX", "fps": 12.5})
    np.testing.assert_allclose(io.read(tmp_path / "a.tif").times, np.arange(5) * 0.04)
    np.testing.assert_allclose(io.read(tmp_path / "b.tif").times, np.arange(5) * 0.08)
    assert io.read(tmp_path / "a.tif", source_fps=10).times[1] == pytest.approx(0.1)


def test_slices_are_read_as_frames_with_a_note(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "z.tif", RUN, imagej=True, metadata={"axes": "ZYX"})
    cine = io.read(tmp_path / "z.tif")
    assert len(cine) == 5
    assert any("slices (Z)" in note for note in cine.source.notes)


def test_more_axes_than_time_are_refused(tmp_path: Path) -> None:
    both = RUN[:4].reshape(2, 2, 14, 18)
    for axes in ("TZYX", "TCYX"):
        tifffile.imwrite(tmp_path / f"{axes}.tif", both, imagej=True, metadata={"axes": axes})
        with pytest.raises(UnsupportedError, match="more than frames over time"):
            io.read(tmp_path / f"{axes}.tif")


def test_colour_planes_and_interleaved(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (4, 12, 15, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "chunky.tif", colour, photometric="rgb")
    np.testing.assert_array_equal(np.stack(list(io.read(tmp_path / "chunky.tif"))), colour)
    planes = np.moveaxis(colour, -1, 1)
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(np.stack(list(io.read(tmp_path / "planes.tif"))), colour)


def test_palette_bits_and_inversion(tmp_path: Path) -> None:
    palette = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    index = RNG.integers(0, 256, (2, 10, 12), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "palette.tif", index, photometric="palette", colormap=palette)
    expected = np.moveaxis(palette // 257, 0, -1).astype(np.uint8)[index]
    np.testing.assert_array_equal(np.stack(list(io.read(tmp_path / "palette.tif"))), expected)
    tifffile.imwrite(tmp_path / "bits.tif", index > 100, photometric="minisblack")
    np.testing.assert_array_equal(io.read(tmp_path / "bits.tif").frame(1), (index[1] > 100) * np.uint8(255))
    tifffile.imwrite(tmp_path / "white.tif", index, photometric="miniswhite")
    cine = io.read(tmp_path / "white.tif")
    assert cine.display.inverted
    np.testing.assert_array_equal(cine.frame(0), index[0])


def test_one_page_header_over_many_frames(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "run.tif", RUN, imagej=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(tmp_path / "run.tif") as file:
        assert file.series[0].dataoffset is not None
    np.testing.assert_array_equal(np.stack(list(io.read(tmp_path / "run.tif"))), RUN)
    truncated = tmp_path / "one.tif"
    tifffile.imwrite(truncated, RUN, metadata={"axes": "TYX"}, contiguous=True, photometric="minisblack")
    np.testing.assert_array_equal(np.stack(list(io.read(truncated))), RUN)


def test_pages_of_different_sizes_are_named(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as tiff:
        for page in (RUN[0], RUN[1], RUN[2, :7]):
            tiff.write(page, metadata=None)
    with pytest.raises(InputError, match=r"page 0 is \(14, 18\) uint16, page 2 is \(7, 18\)"):
        io.read(tmp_path / "mixed.tif")


def test_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "run.tif"
    io.write(Cine.from_array(RUN, fps=10), path)
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.7, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError):
            list(io.read(path))


def test_ours_is_plain_tiff_that_others_read(tmp_path: Path) -> None:
    io.write(Cine.from_array(RUN, times=[0, 0.1, 0.25, 0.3, 0.4], levels=(0, 4095)), tmp_path / "run.tif")
    with tifffile.TiffFile(tmp_path / "run.tif") as file:
        assert not file.is_bigtiff
        stated = json.loads(file.pages[0].description)
    assert stated["levels"] == [0, 4095]
    assert stated["times"] == [0, 0.1, 0.25, 0.3, 0.4]
    with Image.open(tmp_path / "run.tif") as picture:
        picture.seek(3)
        np.testing.assert_array_equal(np.asarray(picture), RUN[3])


def test_a_description_that_only_looks_like_ours_is_ignored(tmp_path: Path) -> None:
    for text in ('{"scanweave": 1, "times": "soon"}', '{"scanweave": 1, "levels": [NaN, 1]}', '{"scanweave"'):
        tifffile.imwrite(tmp_path / "run.tif", RUN, description=text, metadata=None)
        cine = io.read(tmp_path / "run.tif")
        assert (cine.time_unit, cine.levels) == ("frame", (0, 65535))


def test_not_a_number_is_read_but_not_computed_with(tmp_path: Path) -> None:
    frames = RUN.astype(np.float32)
    frames[2, 3, 4] = np.nan
    for suffix in (".tif", ".npy", ".h5"):
        io.write(Cine.from_array(frames), tmp_path / f"run{suffix}")
        cine = io.read(tmp_path / f"run{suffix}")
        np.testing.assert_array_equal(cine.frame(2), frames[2])
        with pytest.raises(InputError, match="frame 2 holds values that are not numbers"):
            cine.unit(2)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("xray/xray_lpbf_wall_f090-129.tif", (40, 120, 400), "uint16"),
        ("cardiac_mr/mr_cine_la_20ph.tif", (20, 96, 96), "uint8"),
    ],
)
def test_real_runs(reference: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    cine = io.read(reference / "data" / name)
    assert (len(cine), *cine.shape) == shape
    np.testing.assert_array_equal(np.stack(list(cine)), tifffile.imread(reference / "data" / name).astype(dtype))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_written_page_by_page_is_one_run(tmp_path, compression):
    frames = np.random.default_rng(5).integers(0, 4000, (5, 12, 18), dtype=np.uint16)
    with tifffile.TiffWriter(tmp_path / "run.tif") as tiff:
        for frame in frames:
            tiff.write(frame, compression=compression, contiguous=False)
    cine = io.read(tmp_path / "run.tif")
    assert np.array_equal(np.stack(list(cine)), frames)
    assert cine.dtype == np.uint16
