"""Stored values survive, whatever the depth, the class and the encoding; frames are written one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi
from pydicom.pixels.decoders import RLELosslessDecoder

from scanweave.cine import Cine, Display, Source
from scanweave.errors import OutputError, UnsupportedError
from scanweave.io.dicom import pixel_writer, read_cine
from scanweave.io.dicom.derived import write_cine
from scanweave.io.dicom.pixel_writer import PixelLayout, is_encapsulated, write_instance

US, XA, MR = uid.UltrasoundMultiFrameImageStorage, uid.XRayAngiographicImageStorage, uid.MRImageStorage
BYTE = uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage
WORD = uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
COLOUR = uid.MultiFrameTrueColorSecondaryCaptureImageStorage


def noise(dtype: Any, low: int, high: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(low, high, shape or (4, 7, 9), dtype=dtype, endpoint=True)


def palette(bits: int = 8) -> dict[str, Any]:
    ramp = np.arange(256, dtype=np.uint8 if bits == 8 else "<u2") * (1 if bits == 8 else 250)
    colours = ("Red", "Green", "Blue")
    tables = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, bits] for c in colours}
    data = {
        f"{c}PaletteColorLookupTableData": np.roll(ramp, k).tobytes() for k, c in enumerate(("Red", "Green", "Blue"))
    }
    return {"PhotometricInterpretation": "PALETTE COLOR", **tables, **data}


CASES = {
    "8-bit grey": (US, noise(np.uint8, 0, 255), {}, US),
    "8-bit colour": (US, noise(np.uint8, 0, 255, 4, 7, 9, 3), {}, US),
    "8-bit palette": (US, noise(np.uint8, 0, 255), palette(), US),
    "10-bit": (XA, noise(np.uint16, 0, 1023), {"BitsStored": 10}, XA),
    "16-bit": (XA, noise(np.uint16, 0, 65535), {}, XA),
    "inverted": (XA, noise(np.uint16, 0, 4095), {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}, XA),
    "classic MR": (MR, noise(np.uint16, 0, 4095), {"BitsStored": 12}, WORD),
    "classic MR, 8 bits": (MR, noise(np.uint8, 0, 255), {}, BYTE),
    "classic MR, signed": (MR, noise(np.int16, -32768, 32767), {}, MR),
    "8 bits stored in 16": (MR, noise(np.uint16, 0, 255), {"BitsStored": 8}, BYTE),
    "7 bits stored in 8": (MR, noise(np.uint8, 0, 127), {"BitsStored": 7}, BYTE),
    "secondary capture": (uid.SecondaryCaptureImageStorage, noise(np.uint8, 0, 255, 4, 7, 9, 3), {}, COLOUR),
}


@pytest.mark.parametrize("encapsulate", ["none", "rle"])
@pytest.mark.parametrize("case", CASES)
def test_acquired_frames_are_bit_exact(case: str, encapsulate: Any, dicom, slowed, tmp_path: Path) -> None:
    sop_class, frames, elements, expected_class = CASES[case]
    source = dicom(sop_class, frames, **elements)
    slow = slowed(read_cine(source), 3)
    write_cine(slow, tmp_path / "out.dcm", encapsulate=encapsulate)
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    stored = derived.pixel_array
    np.testing.assert_array_equal(stored[::3], pydicom.dcmread(source).pixel_array)
    np.testing.assert_array_equal(stored, np.stack(list(slow)))
    assert derived.SOPClassUID == expected_class
    assert derived.HighBit == derived.BitsStored - 1
    syntax = uid.RLELossless if encapsulate == "rle" else uid.ExplicitVRLittleEndian
    assert derived.file_meta.TransferSyntaxUID == syntax


def test_palettes_stay(dicom, slowed, tmp_path: Path) -> None:
    cine = read_cine(dicom(US, noise(np.uint8, 0, 255), **palette()))
    write_cine(slowed(cine), tmp_path / "out.dcm")
    np.testing.assert_array_equal(read_cine(tmp_path / "out.dcm").display.palette, cine.display.palette)


@pytest.mark.parametrize(
    ("dtype", "shape", "levels", "sop_class", "bits"),
    [
        (np.uint8, (3, 5, 7), None, BYTE, 8),
        (np.uint16, (3, 5, 7), (0.0, 4095.0), WORD, 12),
        (np.uint16, (3, 5, 7), None, WORD, 16),
        (np.uint8, (3, 5, 7, 3), None, COLOUR, 8),
    ],
)
def test_frames_of_other_formats_become_secondary_captures(
    dtype: Any, shape: tuple[int, ...], levels: Any, sop_class: str, bits: int, tmp_path: Path
) -> None:
    high = int(levels[1]) if levels else int(np.iinfo(dtype).max)
    frames = noise(dtype, 0, high, *shape)
    write_cine(Cine.from_array(frames, fps=20, levels=levels), tmp_path / "out.dcm")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    np.testing.assert_array_equal(derived.pixel_array, frames)
    assert (derived.SOPClassUID, derived.BitsStored) == (sop_class, bits)
    assert derived.FrameTime == 50


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 4, 4), np.float32),
        np.zeros((2, 4, 4), np.uint32),
        np.zeros((2, 4, 4), np.int16),
        np.zeros((2, 4, 4, 3), np.uint16),
    ],
    ids=["float", "32-bit", "signed", "16-bit colour"],
)
def test_what_dicom_cannot_hold_is_refused_with_a_remedy(frames: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as error:
        write_cine(Cine.from_array(frames, fps=20), tmp_path / "out.dcm")
    assert "TIFF" in (error.value.remedy or "")
    assert not (tmp_path / "out.dcm").exists()


def test_inverted_greys_of_a_secondary_capture_are_shown_as_before(dicom, slowed, tmp_path: Path) -> None:
    frames = noise(np.uint8, 0, 255)
    source = dicom(MR, frames, PhotometricInterpretation="MONOCHROME1", WindowCenter="100", WindowWidth="101")
    notes = write_cine(slowed(read_cine(source), 2), tmp_path / "out.dcm")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert derived.PhotometricInterpretation == "MONOCHROME2"
    np.testing.assert_array_equal(derived.pixel_array[::2], frames)
    shown = apply_voi(derived.pixel_array[::2], derived)
    assert shown[frames < 50].min() == 65535
    assert shown[frames >= 150].max() == 0
    assert any("smallest is white" in note for note in notes)


def test_rescaled_greys_keep_their_window(dicom, slowed, tmp_path: Path) -> None:
    source = dicom(
        MR,
        noise(np.uint16, 0, 4095),
        BitsStored=12,
        RescaleSlope="2",
        RescaleIntercept="-1000",
        WindowCenter="200",
        WindowWidth="600",
    )
    notes = write_cine(slowed(read_cine(source)), tmp_path / "out.dcm")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert (derived.RescaleSlope, derived.RescaleIntercept, derived.RescaleType) == (1, 0, "US")
    assert (derived.WindowCenter, derived.WindowWidth) == (600, 300)
    assert any("rescaling" in note for note in notes)


def test_a_palette_that_no_class_holds_becomes_its_colours(dicom, slowed, tmp_path: Path) -> None:
    cine = read_cine(dicom(uid.UltrasoundImageStorage, noise(np.uint8, 0, 255), **palette()))
    notes = write_cine(slowed(cine), tmp_path / "out.dcm")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert (derived.SOPClassUID, derived.PhotometricInterpretation) == (COLOUR, "RGB")
    expected = cine.display.palette[cine.frame(0)]
    np.testing.assert_array_equal(derived.pixel_array[0], expected >> 8 if expected.dtype == np.uint16 else expected)
    assert "RedPaletteColorLookupTableData" not in derived
    assert any("palette's own colours" in note for note in notes)


def test_deep_palettes_are_refused_rather_than_rounded(tmp_path: Path) -> None:
    deep = Display(palette=np.arange(256, dtype=np.uint16)[:, None].repeat(3, axis=1) * 250)
    cine = Cine.from_array(np.zeros((2, 4, 4), np.uint8), fps=20, display=deep)
    with pytest.raises(UnsupportedError, match="16-bit colours"):
        write_cine(cine, tmp_path / "out.dcm")


def test_marks_are_burned_into_made_frames_only(dicom, slowed, tmp_path: Path) -> None:
    frames = noise(np.uint16, 0, 1023, 3, 60, 160)
    slow = slowed(read_cine(dicom(XA, frames, BitsStored=10)), 2)
    write_cine(slow, tmp_path / "out.dcm", mark_synthetic=True)
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    stored = derived.pixel_array
    np.testing.assert_array_equal(stored[::2], frames)
    for k in (1, 3):
        changed = stored[k] != slow.frame(k)
        assert 50 < changed.sum() < 0.2 * changed.size
        assert set(np.unique(stored[k][changed])) == {0, 1023}
        assert not changed[:30].any(), "the mark lies at the lower edge"
    assert "visible mark" in derived.DerivationDescription


def test_frames_are_asked_for_one_by_one(tmp_path: Path) -> None:
    asked: list[int] = []
    written: list[int] = []
    out = tmp_path / "out.dcm"
    sizes: list[int] = []

    def load(i: int) -> np.ndarray:
        asked.append(i)
        sizes.append(out.stat().st_size)
        return np.full((400, 500), i, np.uint8)

    cine = Cine(load, shape=(400, 500), dtype=np.uint8, times=np.arange(9) / 10)
    write_cine(cine, out, progress=written.append)
    assert asked == list(range(9))
    assert written == list(range(1, 10))
    assert np.all(np.diff(sizes[2:]) > 100_000), "earlier frames are on disk when the next is asked for"


def test_four_gigabytes_decide_the_encoding() -> None:
    layout = PixelLayout(1024, 1024, 1, 16, 16, False, "MONOCHROME2")
    assert not is_encapsulated(layout, 2047, "auto")
    assert is_encapsulated(layout, 2048, "auto")
    assert is_encapsulated(layout, 2, "rle")
    with pytest.raises(OutputError, match="4 GiB"):
        is_encapsulated(layout, 2048, "none")


def test_long_runs_carry_an_extended_offset_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_writer, "_BASIC_TABLE_LIMIT", 0)  # in place of gigabytes of frames
    frames = noise(np.uint16, 0, 65535, 5, 11, 13)
    write_cine(Cine.from_array(frames, fps=10), tmp_path / "out.dcm", encapsulate="rle")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert len(derived.ExtendedOffsetTable) == len(derived.ExtendedOffsetTableLengths) == 8 * 5
    np.testing.assert_array_equal(derived.pixel_array, frames)
    third = pydicom.pixels.pixel_array(tmp_path / "out.dcm", index=3)
    np.testing.assert_array_equal(third, frames[3])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_run_lengths_decode_to_the_same_pixels(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 300))
    samples = data.draw(st.sampled_from([1, 3]))
    dtype = np.dtype(np.uint8 if samples == 3 else data.draw(st.sampled_from(["<u1", "<u2", "<i2"])))
    shape = (rows, columns, 3) if samples == 3 else (rows, columns)
    frame = data.draw(arrays(dtype, shape, elements=st.sampled_from([0, 1, 77]), fill=st.just(dtype.type(5))))
    layout = PixelLayout(
        rows,
        columns,
        samples,
        8 * dtype.itemsize,
        8 * dtype.itemsize,
        dtype.kind == "i",
        "RGB" if samples == 3 else "MONOCHROME2",
    )
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.SecondaryCaptureImageStorage, "1.2.3"
    path = tmp_path_factory.mktemp("rle") / "out.dcm"
    write_instance(path, dataset, [frame], layout=layout, count=1, encapsulated=True)
    decoded, _ = RLELosslessDecoder.as_array(pydicom.dcmread(path), decoding_plugin="pydicom")
    np.testing.assert_array_equal(decoded, frame)


def test_memory_does_not_hold_the_run(tmp_path: Path) -> None:
    import tracemalloc

    def peak(count: int, encapsulate: Any) -> int:
        cine = Cine(
            lambda i: np.full((256, 256), i % 251, np.uint16),
            shape=(256, 256),
            dtype=np.uint16,
            times=np.arange(count) / 25,
            source=Source(),
        )
        tracemalloc.start()
        write_cine(cine, tmp_path / f"{count}.dcm", encapsulate=encapsulate)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    for encapsulate in ("none", "rle"):
        peak(2, encapsulate)  # first calls import and compile
        # Cyclic garbage of libraries comes and goes; 100 frames held would be 100 frames more.
        assert peak(120, encapsulate) - peak(20, encapsulate) < 5 * 256 * 256 * 2
