"""Every codec against a second decoder.

pydicom (by default GDCM for the JPEG families) is what `Cine.frame` must equal; the second decoders are Pillow
(libjpeg-turbo), OpenJPEG's own binding, CharLS's own binding, and for the rest the array that was encoded.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import gdcm
import jpeg_ls
import numpy as np
import openjpeg
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from scanweave.errors import InputError, UnsupportedError
from scanweave.io.dicom import read_cine
from scanweave.io.dicom.codecs import DecodingError, decode_frame
from scanweave.io.dicom.fragments import find_frames

GREY_AND_COLOUR = ("grey8", "grey12", "colour8")


def stack(path: Path) -> NDArray[Any]:
    return np.stack(list(read_cine(path)))


def gdcm_encode(source: Path, target: Path, syntax: int) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    assert writer.Write()


def second_decoder(ds: pydicom.Dataset) -> list[NDArray[Any]]:
    """Decode with a library that neither pydicom's default nor GDCM uses."""
    syntax = ds.file_meta.TransferSyntaxUID
    decoded = []
    for encoded in generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1))):
        if syntax in JPEG2000TransferSyntaxes:
            decoded.append(openjpeg.decode(io.BytesIO(encoded)))
        elif syntax in JPEGLSTransferSyntaxes:
            # A DICOM value is padded to even length; CharLS takes the stream alone.
            decoded.append(jpeg_ls.decode(np.frombuffer(encoded, np.uint8)))
        else:
            decoded.append(
                np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB" if ds.SamplesPerPixel == 3 else "L"))
            )
    return decoded


@pytest.mark.parametrize("kind", ["grey8", "grey12", "signed16", "colour8"])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_uncompressed_frames_are_what_was_written(tmp_path, make_dataset, sample_frames, kind, syntax):
    frames = sample_frames[kind]
    ds = make_dataset(frames, stored=12 if kind == "grey12" else None)
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        ds["PixelData"].VR = "OW" if frames.itemsize == 2 else "OB"
        ds.PixelData = frames.astype(frames.dtype.newbyteorder(">")).tobytes()
    path = tmp_path / "run.dcm"
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    read = stack(path)
    assert read.dtype == frames.dtype
    np.testing.assert_array_equal(read, frames)


@pytest.mark.parametrize("kind", ["grey8", "grey12", "signed16", "colour8"])
def test_run_length_frames_are_what_was_written_and_what_gdcm_reads(tmp_path, make_dataset, sample_frames, kind):
    path = tmp_path / "run.dcm"
    ds = make_dataset(sample_frames[kind])
    ds.compress(RLELossless)
    ds.save_as(path, enforce_file_format=True)
    read = stack(path)
    np.testing.assert_array_equal(read, sample_frames[kind])
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    raw = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    by_gdcm = np.frombuffer(raw, read.dtype)
    np.testing.assert_array_equal(read, by_gdcm.reshape(read.shape))


@pytest.mark.parametrize("kind", GREY_AND_COLOUR)
@pytest.mark.parametrize(("syntax", "near"), [(JPEGLSLossless, 0), (JPEGLSNearLossless, 2)])
def test_jpeg_ls(tmp_path, make_dataset, sample_frames, kind, syntax, near):
    path = tmp_path / "run.dcm"
    ds = make_dataset(sample_frames[kind], stored=12 if kind == "grey12" else None)
    ds.compress(syntax, **({"jls_error": near} if near else {}))
    ds.save_as(path, enforce_file_format=True)
    read = stack(path)
    assert np.abs(read.astype(int) - sample_frames[kind]).max() <= near
    np.testing.assert_array_equal(read, np.stack(second_decoder(ds)).reshape(read.shape))


@pytest.mark.parametrize("kind", GREY_AND_COLOUR)
@pytest.mark.parametrize(
    "syntax",
    [
        gdcm.TransferSyntax.JPEGLosslessProcess14,
        gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        gdcm.TransferSyntax.JPEG2000Lossless,
        gdcm.TransferSyntax.JPEG2000,
    ],
)
def test_lossless_jpeg_and_jpeg_2000(tmp_path, make_dataset, sample_frames, kind, syntax):
    frames = sample_frames[kind]
    plain, path = tmp_path / "plain.dcm", tmp_path / "run.dcm"
    make_dataset(frames, stored=12 if kind == "grey12" else None).save_as(plain, enforce_file_format=True)
    gdcm_encode(plain, path, syntax)
    read = stack(path)
    np.testing.assert_array_equal(read, frames)  # GDCM's JPEG 2000 default is reversible
    ds = pydicom.dcmread(path)
    if ds.file_meta.TransferSyntaxUID in JPEG2000TransferSyntaxes:
        np.testing.assert_array_equal(read, np.stack(second_decoder(ds)))


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "693_J2KI.dcm", "examples_jpeg2k.dcm", "GDCMJ2K_TextGBR.dcm"])
def test_lossy_and_foreign_jpeg_2000_agree_with_openjpeg(name):
    path = Path(get_testdata_file(name, download=False))
    # The irreversible wavelet is computed in floats: decoders may round one level apart.
    difference = np.abs(stack(path)[0].astype(int) - second_decoder(pydicom.dcmread(path))[0].astype(int)).max()
    assert difference <= 1


@pytest.mark.parametrize(
    "syntax", [gdcm.TransferSyntax.JPEGBaselineProcess1, gdcm.TransferSyntax.JPEGExtendedProcess2_4]
)
def test_lossy_jpeg_of_8_bits_agrees_with_pillow(tmp_path, make_dataset, sample_frames, syntax):
    plain, path = tmp_path / "plain.dcm", tmp_path / "run.dcm"
    make_dataset(sample_frames["grey8"]).save_as(plain, enforce_file_format=True)
    gdcm_encode(plain, path, syntax)
    ds = pydicom.dcmread(path)
    assert ds.file_meta.TransferSyntaxUID in (JPEGBaseline8Bit, JPEGExtended12Bit)
    # Inverse cosine transforms may round one level apart.
    assert np.abs(stack(path).astype(int) - np.stack(second_decoder(ds)).astype(int)).max() <= 1


def test_real_colour_echo_equals_pydicom_and_agrees_with_pillow():
    path = pydicom.examples.get_path("ybr_color")
    read = stack(path)
    np.testing.assert_array_equal(read, pydicom.pixels.pixel_array(path))
    by_pillow = np.stack(second_decoder(pydicom.dcmread(path)))
    # Colour conversion and chroma upsampling add their own rounding to that of the transform.
    assert np.abs(read.astype(int) - by_pillow.astype(int)).max() <= 2


def test_jpeg_of_12_bits_in_which_pydicom_has_no_decoder(tmp_path, make_dataset, sample_frames):
    path = Path(get_testdata_file("JPGExtended.dcm", download=False))
    frame = read_cine(path).frame(0)
    # The two values are those that pydicom's own tests state for libjpeg on this file.
    assert (frame[420, 140], frame[230, 120]) == (244, 95)
    plain, path = tmp_path / "plain.dcm", tmp_path / "run.dcm"
    smooth = np.tile(np.linspace(100, 4000, 32), (32, 1)).astype(np.uint16)[None]
    make_dataset(smooth, stored=12).save_as(plain, enforce_file_format=True)
    gdcm_encode(plain, path, gdcm.TransferSyntax.JPEGExtendedProcess2_4)
    assert np.abs(stack(path).astype(int) - smooth).max() <= 16  # lossy: within 0.4 % of full scale


PYDICOM_FILES = [
    "ExplVR_BigEnd.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm", "image_dfl.dcm",
    "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_small_odd_big_endian.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_jpeg.dcm",
    "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "JPEGLSNearLossless_16.dcm", "MR_small_padded.dcm",
    "J2K_pixelrep_mismatch.dcm", "examples_rgb_color.dcm", "examples_palette.dcm", "MR_small_jpeg_ls_lossless.dcm",
     "SC_jpeg_no_color_transform.dcm",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PYDICOM_FILES)
def test_frames_equal_those_of_pydicom(name):
    path = Path(get_testdata_file(name, download=False))
    expected = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(stack(path).reshape(expected.shape), expected)


@pytest.mark.reference
def test_every_reference_run_equals_pydicom_frame_by_frame(reference):
    names = [
        "cardiac_mr/mr_cine_4ch_16f.dcm", "dsa/xa_cerebral_1frame_10bit.dcm", "dsa/xa_coronary_f000-047.dcm",
        "echo/us_a4c_30f_colour.dcm", "echo/us_a4c_65f_frametimevector.dcm", "lung_ct/ct_chest_slice0.dcm",
    ]  # fmt: skip
    for name in names:
        cine = read_cine(reference / "data" / name)
        for i in {0, len(cine) // 2, len(cine) - 1}:
            expected = pydicom.pixels.pixel_array(reference / "data" / name, index=i)
            np.testing.assert_array_equal(cine.frame(i), expected)


def test_frames_come_in_any_order_and_the_file_is_not_kept_open(tmp_path, make_dataset, sample_frames):
    path = tmp_path / "run.dcm"
    make_dataset(sample_frames["grey12"]).save_as(path, enforce_file_format=True)
    cine = read_cine(path)
    for i in (3, 0, 2, 1, -1):
        np.testing.assert_array_equal(cine.frame(i), sample_frames["grey12"][i])
    path.unlink()
    fresh = cine.with_times(cine.times)
    cine._cache.clear()
    with pytest.raises(InputError, match="frame 1 cannot be read"):
        fresh.frame(1)


def test_fragmented_frames_are_found_with_and_without_offset_tables(tmp_path):
    source = pydicom.dcmread(pydicom.examples.get_path("ybr_color"))
    encoded = list(generate_frames(source.PixelData, number_of_frames=30))[:3]
    for fragments, has_table in ((1, True), (1, False), (3, True), (3, False)):
        data = pydicom.encaps.encapsulate(encoded, fragments_per_frame=fragments, has_bot=has_table)
        stream = io.BytesIO(data)
        found, notes = find_frames(stream, 3)
        joined = [b"".join(data[o : o + n] for o, n in pieces) for pieces in found]
        assert [frame.rstrip(b"\0") for frame in joined] == [frame.rstrip(b"\0") for frame in encoded]
        assert notes == ["The file ends without closing its pixel data; all frames are there."]


def test_a_codec_that_dies_takes_only_its_frame_along(make_dataset, sample_frames):
    from scanweave.io.dicom import codecs

    ds = make_dataset(sample_frames["grey8"])
    ds.compress(JPEGLSLossless)
    encoded = next(generate_frames(ds.PixelData, number_of_frames=4))
    options = {
        "transfer_syntax_uid": str(JPEGLSLossless), "rows": 24, "columns": 30, "samples_per_pixel": 1,
        "bits_allocated": 8, "bits_stored": 8, "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData", "number_of_frames": 1,
    }  # fmt: skip
    np.testing.assert_array_equal(decode_frame(encoded, options)[0], sample_frames["grey8"][0])
    with pytest.raises(DecodingError):
        decode_frame(b"\xff\xd8\xff\xd9", options)
    process = codecs._worker._process
    assert process is not None
    os.kill(process.pid, 9)
    process.wait()
    np.testing.assert_array_equal(decode_frame(encoded, options)[0], sample_frames["grey8"][0])


def test_video_inside_dicom_is_refused_by_name(tmp_path, make_dataset, sample_frames):
    ds = make_dataset(sample_frames["grey8"])
    ds.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
    ds.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.save_as(tmp_path / "video.dcm", enforce_file_format=True)
    with pytest.raises(UnsupportedError, match=r"video stream.*MPEG-4"):
        read_cine(tmp_path / "video.dcm")
