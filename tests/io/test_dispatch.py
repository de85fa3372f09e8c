"""Which reader takes what, which folders are runs, and how the unreadable is refused."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.examples import get_path

from scanweave import io
from scanweave.cine import Cine
from scanweave.errors import InputError, UnsupportedError, UsageError

RUN = Cine.from_array(np.random.default_rng(0).integers(0, 256, (3, 16, 18), dtype=np.uint8), fps=20)


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 7), value, np.uint8)).save(path)
    return path


def nifti(magic: bytes = b"n+1\0", size: int = 348) -> bytes:
    head = bytearray(struct.pack("<i", size) + bytes(540))
    head[344:348] = magic
    return bytes(head)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.hdr", nifti(magic=b"\0\0\0\0"), "Analyze"),
        ("a.pdf", b"%PDF-1.7\n", "PDF"),
        ("a.webp", b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        ("a.gz", gzip.compress(b"words", mtime=0), "gzip"),
    ],
)
def test_sound_files_of_other_kinds_are_unsupported(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnsupportedError, match=kind) as caught:
        io.read(tmp_path / name)
    assert caught.value.exit_code == 4
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["a.txt", "a.dcm", "a.png", "a.mp4"])
def test_text_and_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match="no such file"):
        io.read(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        io.read(path)
    path.write_text("These are words, and words alone.\n" * 20)
    with pytest.raises(InputError, match="neither DICOM, an image") as caught:
        io.read(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no regular file"):
        io.read(tmp_path / "pipe")


def test_bad_arguments(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError):
            io.read(path, source_fps=fps)
    with pytest.raises(UsageError, match="only HDF5 and npz"):
        io.read(path, dataset="x")
    with pytest.raises(UsageError, match="no input"):
        io.read([])
    with pytest.raises(UsageError, match="none of auto"):
        io.read(path, as_="film")
    with pytest.raises(UsageError, match="of a volume, not of a cine"):
        io.read(path, as_="cine", time_index=0)
    with pytest.raises(UsageError, match="no spacing of voxels"):
        io.read(path, spacing=(1, 1, 1))
    with pytest.raises(UsageError, match="none is a phase"):
        io.read(path, time_index=0)


def test_a_real_echo_is_read_by_content(tmp_path: Path) -> None:
    shutil.copy(get_path("ybr_color"), tmp_path / "echo.png")
    cine = io.read(tmp_path / "echo.png")
    assert (len(cine), cine.shape, cine.source.format) == (30, (240, 320, 3), "dicom")


def test_empty_and_crowded_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither DICOM nor pictures"):
        io.read(tmp_path)
    with pytest.raises(InputError, match="holds no images"):
        io.inputs_in(tmp_path)
    io.write(RUN, tmp_path / "a.mkv")
    assert len(io.read(tmp_path)) == 3
    io.write(RUN, tmp_path / "b.npy")
    with pytest.raises(InputError, match=r"several inputs: a\.mkv, b\.npy"):
        io.read(tmp_path)


def test_inputs_in(tmp_path: Path) -> None:
    series = tmp_path / "series"
    for number in range(3):
        picture(series / f"{number}.png")
    assert io.inputs_in(series) == [series]
    many = tmp_path / "many"
    many.mkdir()
    for name in ("run10.mkv", "run2.npy", "run1.tif", "run3.h5"):
        io.write(RUN, many / name)
    (many / "notes.txt").write_text("words")
    (many / ".hidden.npy").write_bytes((many / "run2.npy").read_bytes())
    shutil.copy(get_path("ybr_color"), many / "run4.dcm")
    shutil.copytree(series, many / "inner")
    (many / "nothing").mkdir()
    names = [path.name for path in io.inputs_in(many)]
    assert names == ["run1.tif", "run2.npy", "run3.h5", "run4.dcm", "run10.mkv", "inner"]
    assert io.inputs_in(many / "run2.npy") == [many / "run2.npy"]
    assert io.are_single_images([series / "0.png", series / "1.png"])
    assert not io.are_single_images([series / "0.png", many / "run1.tif"])
    assert not io.are_single_images([tmp_path / "missing.png"])


def test_suffix_like(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".avi", ".gif", ".tif", ".npy", ".npz", ".h5"):
        io.write(RUN, tmp_path / f"run{suffix}")
        assert io.suffix_like(tmp_path / f"run{suffix}") == suffix
    picture(tmp_path / "series" / "0.png")
    assert io.suffix_like(tmp_path / "series") == ""
    assert io.suffix_like(Path(get_path("ybr_color"))) == ".dcm"
    assert io.suffix_like(tmp_path / "run.h5:/frames") == ".h5"


def test_dicom_wins_in_a_mixed_folder_with_a_note(tmp_path: Path) -> None:
    shutil.copy(get_path("ybr_color"), tmp_path / "echo.dcm")
    picture(tmp_path / "shot.png")
    cine = io.read(tmp_path)
    assert cine.source.format == "dicom"
    assert any("shot.png" in note for note in cine.source.notes)
