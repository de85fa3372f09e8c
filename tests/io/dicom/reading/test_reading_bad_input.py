"""Damaged files: one clear line, an exit code, no other exception, nothing printed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from scanweave.errors import InputError, ScanweaveError, UnsupportedError
from scanweave.io.dicom import read_cine


@pytest.fixture(scope="module")
def sound_files(tmp_path_factory, make_dataset, sample_frames) -> list[bytes]:
    folder, files = tmp_path_factory.mktemp("sound"), []
    for count, (kind, syntax) in enumerate(
        [
            ("grey8", None),
            ("grey12", RLELossless),
            ("colour8", JPEGLSLossless),
            ("grey8", DeflatedExplicitVRLittleEndian),
        ]
    ):
        ds = make_dataset(sample_frames[kind])
        if syntax == DeflatedExplicitVRLittleEndian:
            ds.file_meta.TransferSyntaxUID = syntax
        elif syntax:
            ds.compress(syntax)
        ds.save_as(folder / str(count), enforce_file_format=True)
        files.append((folder / str(count)).read_bytes())
    names = ("JPGExtended.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_gdcm.dcm", "examples_palette.dcm")
    return files + [Path(get_testdata_file(name, download=False)).read_bytes() for name in names]


def use(path: Path) -> None:
    """Read a file and all its frames; what scanweave says about damage must be one line that names the file."""
    try:
        for _ in read_cine(path):
            pass
    except ScanweaveError as error:
        assert "\n" not in str(error) and str(path) in str(error)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_or_flipped_files_never_escape_as_another_exception(tmp_path, sound_files, data):
    content = bytearray(data.draw(st.sampled_from(sound_files)))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        reach = data.draw(st.sampled_from([1500, len(content)]))
        for place in data.draw(st.lists(st.integers(0, min(reach, len(content)) - 1), min_size=1, max_size=12)):
            content[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "damaged.dcm"
    path.write_bytes(content)
    use(path)


def test_nothing_is_printed_or_warned(tmp_path, sound_files, capfd, recwarn):
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.dcm"
    for content in sound_files:
        damaged = bytearray(content)
        for place in rng.integers(len(damaged), size=30):
            damaged[place] ^= 16
        path.write_bytes(damaged)
        use(path)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_empty_absent_and_foreign_files(tmp_path):
    for name, content in (("empty", b""), ("noise", bytes(range(256)) * 20), ("text", b"hello")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            read_cine(tmp_path / name)
    with pytest.raises(InputError, match="does not exist"):
        read_cine(tmp_path / "absent.dcm")


def test_too_few_bytes_are_told_as_frames(tmp_path, sound_files):
    path = tmp_path / "cut.dcm"
    path.write_bytes(sound_files[0][:-1000])
    with pytest.raises(InputError, match="2 of 4 frames of 24 x 30"):
        read_cine(path)


def test_too_few_compressed_frames_are_told(tmp_path, make_dataset, sample_frames):
    ds = make_dataset(sample_frames["grey8"])
    ds.compress(JPEGLSLossless)
    ds.NumberOfFrames = 9
    ds.save_as(tmp_path / "few.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="holds 4 of the 9 frames"):
        read_cine(tmp_path / "few.dcm")
    ds.NumberOfFrames = 3
    ds.save_as(tmp_path / "many.dcm", enforce_file_format=True)
    cine = read_cine(tmp_path / "many.dcm")
    assert len(cine) == 3 and any("holds 4 frames, its header says 3" in note for note in cine.source.notes)


def test_a_stream_without_its_end_is_not_half_grey(tmp_path):
    ds = pydicom.dcmread(pydicom.examples.get_path("ybr_color"))
    encoded = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=30))
    encoded[2] = encoded[2][: len(encoded[2]) // 2]
    ds.PixelData = pydicom.encaps.encapsulate(encoded)
    ds.save_as(tmp_path / "cut.dcm")
    cine = read_cine(tmp_path / "cut.dcm")
    cine.frame(1)
    with pytest.raises(InputError, match="frame 2 is cut off"):
        cine.frame(2)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless])
def test_an_absurd_size_is_refused_before_memory_is_taken(tmp_path, make_dataset, sample_frames, syntax):
    ds = make_dataset(sample_frames["grey8"])
    if syntax:
        ds.compress(syntax)
    ds.Rows = ds.Columns = 60000
    ds.save_as(tmp_path / "huge.dcm", enforce_file_format=True)
    tracemalloc.start()
    with pytest.raises(InputError):
        read_cine(tmp_path / "huge.dcm")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_unknown_transfer_syntaxes_are_unsupported(tmp_path, make_dataset, sample_frames):
    ds = make_dataset(sample_frames["grey8"])
    ds.compress(JPEGLSLossless)
    ds.save_as(tmp_path / "odd.dcm", enforce_file_format=True)
    content = (tmp_path / "odd.dcm").read_bytes()
    (tmp_path / "odd.dcm").write_bytes(content.replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.98"))
    with pytest.raises(UnsupportedError, match=r"1\.2\.840\.10008\.1\.2\.4\.98, which cannot be decoded"):
        read_cine(tmp_path / "odd.dcm")


def test_memory_stays_flat_over_many_frames(tmp_path, make_dataset):
    frames = np.zeros((200, 64, 64), np.uint16)
    make_dataset(frames).save_as(tmp_path / "long.dcm", enforce_file_format=True)
    cine = read_cine(tmp_path / "long.dcm")
    tracemalloc.start()
    for _ in cine:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < frames.nbytes / 4
