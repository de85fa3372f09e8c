"""Folders of single-frame instances, choice among series, and volumes, which are not runs."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from scanweave.errors import InputError, UnsupportedError, UsageError
from scanweave.io.dicom import read_cine, sniff


@pytest.fixture
def write_series(tmp_path, make_dataset, sample_frames):
    """Write each frame of 12-bit grey as its own file, in reverse order of file names."""

    def write(folder="run", per_frame=lambda k: {}, **elements):
        uid = generate_uid()
        (tmp_path / folder).mkdir(exist_ok=True)
        for k, frame in enumerate(sample_frames["grey12"]):
            ds = make_dataset(frame[None], stored=12, SeriesInstanceUID=uid, InstanceNumber=k + 1, NumberOfFrames=None,
                              FrameIncrementPointer=None, FrameTime=None)  # fmt: skip
            for keyword, value in {**elements, **per_frame(k)}.items():
                setattr(ds, keyword, value)
            ds.save_as(tmp_path / folder / f"im{12 - k}_{elements.get('SeriesNumber', 1)}", enforce_file_format=True)
        return tmp_path / folder

    return write


def test_instances_come_in_order_of_time(write_series, sample_frames):
    folder = write_series(per_frame=lambda k: {"TriggerTime": 40 * k})
    cine = read_cine(folder)
    np.testing.assert_array_equal(np.stack(list(cine)), sample_frames["grey12"])
    np.testing.assert_allclose(cine.times, [0, 0.04, 0.08, 0.12])
    assert len(cine.source.files) == 4 and cine.source.files[0].name == "im12_1"
    assert cine.source.path == folder and cine.levels == (0, 4095)


def test_instances_without_times_are_counted_and_take_a_rate(write_series):
    folder = write_series()
    cine = read_cine(folder)
    assert cine.time_unit == "frame"
    assert any("--source-fps" in note for note in cine.source.notes)
    np.testing.assert_allclose(read_cine(folder, source_fps=4).times, [0, 0.25, 0.5, 0.75])


def test_several_series_are_listed_and_one_can_be_chosen(write_series, make_dataset, sample_frames):
    folder = write_series(SeriesNumber=1, SeriesDescription="short axis")
    write_series(SeriesNumber=2, SeriesDescription="long axis")
    make_dataset(sample_frames["colour8"], SeriesNumber=3).save_as(folder / "run.dcm", enforce_file_format=True)
    (folder / "notes.txt").write_text("not DICOM")
    with pytest.raises(InputError) as refused:
        read_cine(folder)
    message = str(refused.value)
    assert "holds 3 series" in message and "--series" in message
    assert "series 2 'long axis' US 4 frames (4 files)" in message
    assert "series 3 without description US 4 frames (run.dcm)" in message
    assert len(read_cine(folder, series="2")) == 4
    assert read_cine(folder, series="Short Axis").shape == (24, 30)
    assert read_cine(folder, series="run.dcm").shape == (24, 30, 3)
    first = read_cine(folder, series="#1")
    assert read_cine(folder, series=str(first.source.header.SeriesInstanceUID)).source.files == first.source.files
    for wrong in ("7", "", "#9"):
        with pytest.raises(UsageError, match="no series goes by the name"):
            read_cine(folder, series=wrong)


def test_copies_are_left_out_with_a_note(write_series):
    folder = write_series(per_frame=lambda k: {"TriggerTime": 40 * k})
    (folder / "copy").write_bytes((folder / "im9_1").read_bytes())
    cine = read_cine(folder)
    assert len(cine) == 4
    assert any("is a copy of another file" in note for note in cine.source.notes)


def test_a_file_of_another_size_is_named(write_series, make_dataset, sample_frames):
    folder = write_series(per_frame=lambda k: {"TriggerTime": 40 * k})
    odd = pydicom.dcmread(folder / "im9_1")
    odd.Rows, odd.PixelData = 12, odd.PixelData[: len(odd.PixelData) // 2]
    odd.save_as(folder / "im9_1")
    with pytest.raises(InputError, match=r"im9_1.*Rows is 12"):
        read_cine(folder)


def test_an_empty_folder_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="holds no DICOM image"):
        read_cine(tmp_path)


def test_positions_without_times_are_a_volume(write_series):
    folder = write_series(per_frame=lambda k: {"ImagePositionPatient": [0, 0, 5 * k]}, **PLANE)
    with pytest.raises(UnsupportedError, match=r"is a volume \(4 slices"):
        read_cine(folder)


def test_positions_and_times_together_ask_for_a_decision(write_series):
    folder = write_series(per_frame=lambda k: {"ImagePositionPatient": [0, 0, 5 * k], "TriggerTime": 10 * k})
    with pytest.raises(InputError, match="--as"):
        read_cine(folder)
    cine = read_cine(folder, as_cine=True)
    assert len(cine) == 4 and any("4 positions" in note for note in cine.source.notes)


PLANE = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.5, 0.5]}


def enhanced_groups(per_frame) -> Sequence:
    groups = []
    for k in range(4):
        content, position = Dataset(), Dataset()
        content.FrameReferenceDateTime, position.ImagePositionPatient = per_frame(k)
        group = Dataset()
        group.FrameContentSequence, group.PlanePositionSequence = Sequence([content]), Sequence([position])
        groups.append(group)
    return Sequence(groups)


def test_enhanced_runs_and_volumes_are_told_apart(tmp_path, make_dataset, sample_frames):
    stamps = ["20200101101000.3", "20200101101000.1", "20200101101000.2", "20200101101000.4"]
    path = tmp_path / "enhanced.dcm"
    common = {"SOPClassUID": pydicom.uid.EnhancedMRImageStorage, "FrameTime": None, "FrameIncrementPointer": None}
    run = enhanced_groups(lambda k: (stamps[k], [0, 0, 0]))
    make_dataset(sample_frames["grey12"], PerFrameFunctionalGroupsSequence=run, RWavePointer=1, **common).save_as(path)
    cine = read_cine(path)
    assert cine.source.order == (1, 2, 0, 3)
    assert cine.source.r_waves == (pytest.approx(0.2),), "the file's first frame is the third in time"
    np.testing.assert_allclose(cine.times, [0, 0.1, 0.2, 0.3])
    np.testing.assert_array_equal(np.stack(list(cine)), sample_frames["grey12"][[1, 2, 0, 3]])
    reordered = cine.source.header.PerFrameFunctionalGroupsSequence
    assert [group.FrameContentSequence[0].FrameReferenceDateTime for group in reordered] == sorted(stamps)
    volume = enhanced_groups(lambda k: (stamps[0], [0, 0, 3 * k]))
    for group in volume:
        group.PlaneOrientationSequence = [Dataset()]
        group.PlaneOrientationSequence[0].ImageOrientationPatient = PLANE["ImageOrientationPatient"]
    volume = make_dataset(sample_frames["grey12"], PerFrameFunctionalGroupsSequence=volume, **common)
    volume.PixelSpacing = PLANE["PixelSpacing"]
    volume.save_as(path)
    with pytest.raises(UnsupportedError, match="volume"):
        read_cine(path)


def test_dose_grids_segmentations_and_reports_are_refused_for_what_they_are():
    for name, kind in (("rtdose.dcm", "a dose grid"), ("liver_1frame.dcm", "a segmentation"),
                       ("test-SR.dcm", "holds no image"), ("waveform_ecg.dcm", "holds no image")):  # fmt: skip
        with pytest.raises(UnsupportedError, match=kind):
            read_cine(pydicom.data.get_testdata_file(name, download=False))


@pytest.mark.reference
def test_the_real_volumes_are_refused(reference):
    with pytest.raises(UnsupportedError, match=r"is a volume \(24 slices"):
        read_cine(reference / "data/brain_mr/tumour_T2_axial_enhanced.dcm")
    with pytest.raises(UnsupportedError, match=r"is a volume \(2 slices"):
        read_cine(reference / "data/lung_ct")
    with pytest.raises(InputError, match="holds 2 series"):
        read_cine(reference / "data/echo")


def test_content_decides_what_is_dicom(tmp_path, make_dataset, sample_frames):
    named, bare, other = tmp_path / "a.png", tmp_path / "b", tmp_path / "c.dcm"
    ds = make_dataset(sample_frames["grey8"])
    ds.save_as(named, enforce_file_format=True)
    bare.write_bytes(named.read_bytes()[144 + pydicom.dcmread(named).file_meta.FileMetaInformationGroupLength :])
    other.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(400))
    assert sniff(named) and sniff(bare) and not sniff(other) and not sniff(tmp_path / "absent")
    cine = read_cine(bare)
    np.testing.assert_array_equal(cine.frame(3), sample_frames["grey8"][3])
    assert any("no transfer syntax" in note for note in cine.source.notes)
