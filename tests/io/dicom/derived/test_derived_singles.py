"""One instance per frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid

from scanweave.cine import Cine
from scanweave.errors import UnsupportedError
from scanweave.io.dicom import read_cine
from scanweave.io.dicom.derived import write_cine

FRAMES = np.random.default_rng(2).integers(-900, 900, (4, 6, 8), np.int16)


@pytest.fixture
def folder(dicom, tmp_path: Path) -> Path:
    """A series of four signed CT instances, 100 ms apart."""
    (tmp_path / "series").mkdir()
    for k, frame in enumerate(FRAMES):
        dicom(
            uid.CTImageStorage,
            frame[None],
            name=f"series/{k}.dcm",
            NumberOfFrames=None,
            FrameTime=None,
            FrameIncrementPointer=None,
            SeriesInstanceUID="1.2.3",
            StudyInstanceUID="1.2",
            InstanceNumber=k + 1,
            TriggerTime=str(50 + 100 * k),
            AcquisitionTime=f"10000{k}",
            SeriesDescription="perfusion",
        )
    return tmp_path / "series"


def test_a_folder_becomes_a_folder_of_its_class(folder: Path, slowed, tmp_path: Path) -> None:
    source = read_cine(folder)
    out = tmp_path / "out"
    out.mkdir()
    done: list[int] = []
    write_cine(slowed(source, 2), out, single_frames=True, progress=done.append)
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [f"IM{k:06d}.dcm" for k in range(1, 8)]
    assert done == list(range(1, 8))
    derived = [pydicom.dcmread(file) for file in files]
    np.testing.assert_array_equal([one.pixel_array for one in derived[::2]], FRAMES)
    assert {one.SOPClassUID for one in derived} == {uid.CTImageStorage}
    assert len({one.SeriesInstanceUID for one in derived}) == 1
    assert len({one.SOPInstanceUID for one in derived}) == 7
    assert {one.StudyInstanceUID for one in derived} == {"1.2"}
    assert [one.InstanceNumber for one in derived] == list(range(1, 8))
    assert [float(one.TriggerTime) for one in derived] == [50 + 50 * k for k in range(7)]
    assert ["SyntheticData" in one for one in derived] == [False, True] * 3 + [False]
    assert [one.get("AcquisitionTime") for one in derived[::2]] == [f"10000{k}" for k in range(4)]
    assert all("NumberOfFrames" not in one for one in derived)
    ids = [header.SOPInstanceUID for header in map(pydicom.dcmread, sorted(folder.iterdir()))]
    referred = [[item.ReferencedSOPInstanceUID for item in one.SourceImageSequence] for one in derived]
    assert referred[:3] == [[ids[0]], ids[:2], [ids[1]]]
    again = read_cine(out)
    np.testing.assert_allclose(again.times, np.arange(7) * 0.05, atol=1e-6)
    assert derived[0].SeriesDescription == "perfusion SLOMO x2 (synthetic frames)"


def test_a_signed_folder_does_not_fit_a_secondary_capture(folder: Path, slowed, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no signed pixels") as error:
        write_cine(slowed(read_cine(folder)), tmp_path / "out.dcm")
    assert "single-frame instances" in (error.value.remedy or "")


def test_a_multi_frame_run_taken_apart(dicom, slowed, tmp_path: Path) -> None:
    frames = np.random.default_rng(3).integers(0, 255, (3, 6, 8), np.uint8)
    cine = slowed(read_cine(dicom(uid.UltrasoundMultiFrameImageStorage, frames, StartTrim=2)), 2)
    out = tmp_path / "out"
    out.mkdir()
    write_cine(cine, out, single_frames=True, encapsulate="rle")
    derived = [pydicom.dcmread(file) for file in sorted(out.iterdir())]
    assert {one.SOPClassUID for one in derived} == {uid.UltrasoundImageStorage}
    np.testing.assert_array_equal([one.pixel_array for one in derived[::2]], frames)
    assert [one.SourceImageSequence[0].ReferencedFrameNumber for one in derived] == [1, [1, 2], 2, [2, 3], 3]
    assert all("StartTrim" not in one and "FrameTime" not in one for one in derived)


def test_frames_of_other_formats_taken_apart(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_cine(Cine.from_array(FRAMES, fps=10), out, single_frames=True)
    derived = [pydicom.dcmread(file) for file in sorted(out.iterdir())]
    assert {one.SOPClassUID for one in derived} == {uid.SecondaryCaptureImageStorage}
    np.testing.assert_array_equal([one.pixel_array for one in derived], FRAMES)
    assert len({one.StudyInstanceUID for one in derived}) == 1
