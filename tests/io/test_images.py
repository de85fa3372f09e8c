"""Pictures: what each pixel layout becomes, and runs made of many."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from scanweave import io
from scanweave.errors import InputError, UnsupportedError

RNG = np.random.default_rng(11)
GREY = RNG.integers(0, 256, (9, 13), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (9, 13), dtype=np.uint16)
DEEP_COLOUR = RNG.integers(0, 65536, (9, 13, 3), dtype=np.uint16)


def png(pixels: np.ndarray, colour_type: int) -> bytes:
    """A 16-bit PNG written from the specification alone."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bits_are_kept_grey_and_colour(tmp_path: Path) -> None:
    (tmp_path / "grey.png").write_bytes(png(DEEP, 0))
    np.testing.assert_array_equal(io.read(tmp_path / "grey.png").frame(0), DEEP)
    (tmp_path / "rgb.png").write_bytes(png(DEEP_COLOUR, 2))
    np.testing.assert_array_equal(io.read(tmp_path / "rgb.png").frame(0), DEEP_COLOUR)


def test_opaque_alpha_is_left_out_and_transparency_refused(tmp_path: Path) -> None:
    for deep, name in ((False, "shallow"), (True, "deep")):
        full = 65535 if deep else 255
        for grey in (True, False):
            base = (DEEP if grey else DEEP_COLOUR) if deep else (GREY if grey else COLOUR)
            layers = base[..., None] if grey else base
            alpha = np.full((9, 13, 1), full, base.dtype)
            for clear in (False, True):
                alpha[0, 0] = full - 1 if clear else full
                pixels = np.concatenate([layers, alpha], axis=-1)
                path = tmp_path / f"{name}{grey}{clear}.png"
                if deep:
                    data = png(pixels.reshape(9, 13, -1), 4 if grey else 6)
                    path.write_bytes(data)
                else:
                    Image.fromarray(pixels).save(path)
                cine = io.read(path)
                assert cine.shape == base.shape
                assert any("alpha" in note for note in cine.source.notes)
                if clear:
                    with pytest.raises(UnsupportedError, match="transparent"):
                        cine.frame(0)
                else:
                    np.testing.assert_array_equal(cine.frame(0), base)


def test_palettes_bits_and_equal_channels(tmp_path: Path) -> None:
    picture = Image.fromarray(COLOUR).quantize(7)
    picture.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(io.read(tmp_path / "palette.png").frame(0), np.asarray(picture.convert("RGB")))
    bits = GREY > 128
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(io.read(tmp_path / "bits.png").frame(0), bits * np.uint8(255))
    same = np.repeat(GREY[..., None], 3, axis=-1)
    Image.fromarray(same).save(tmp_path / "same.png")
    np.testing.assert_array_equal(io.read(tmp_path / "same.png").frame(0), same)


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.dcm")
    cine = io.read(tmp_path / "a.dcm")
    assert cine.source.format == "png"
    np.testing.assert_array_equal(cine.frame(0), GREY)


def test_orientation_is_noted_and_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(tmp_path / "turned.jpg", exif=exif)
    cine = io.read(tmp_path / "turned.jpg")
    assert cine.shape == GREY.shape
    assert any("EXIF orientation 6 was not applied" in note for note in cine.source.notes)


def test_folders_are_in_natural_order_and_leave_the_rest_out(tmp_path: Path) -> None:
    for number in (10, 9, 1, 2):
        Image.fromarray(np.full((4, 5), number, np.uint8)).save(tmp_path / f"f{number}.png")
    for name in (".hidden.png", "Thumbs.db", "f1.png.scanweave.json"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "readme.txt").write_text("words")
    cine = io.read(tmp_path)
    assert [int(frame[0, 0]) for frame in cine] == [1, 2, 9, 10]
    assert cine.time_unit == "frame"
    assert cine.source.notes == ("Left out, since they are not part of the run: readme.txt.",)
    assert io.read(tmp_path, source_fps=20).times[-1] == pytest.approx(0.15)


def test_a_list_is_one_run_in_the_order_given(tmp_path: Path) -> None:
    paths = []
    for number in (3, 1, 2):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(np.full((4, 5), number, np.uint8)).save(paths[-1])
    assert [int(frame[0, 0]) for frame in io.read(paths)] == [3, 1, 2]
    assert [int(frame[0, 0]) for frame in io.read([str(paths[1])])] == [1]
    np.save(tmp_path / "run.npy", np.zeros((2, 4, 5), np.uint8))
    with pytest.raises(InputError, match="no single picture"):
        io.read([paths[0], tmp_path / "run.npy"])


@pytest.mark.parametrize("other", [COLOUR, DEEP, GREY[:8]], ids=["colour", "depth", "size"])
def test_mixed_pictures_name_both(tmp_path: Path, other: np.ndarray) -> None:
    for name, pixels in (("a.png", GREY), ("b.png", other)):
        cv2.imwrite(str(tmp_path / name), pixels)
    with pytest.raises(InputError, match=r"a\.png is 9 x 13 grey uint8, b\.png is"):
        io.read(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_pictures_cut_short_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(np.kron(COLOUR, np.ones((8, 8, 1), np.uint8))).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError):
        io.read(path).frame(0)


def test_colour_models_that_are_neither_grey_nor_rgb(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "ink.jpg")
    with pytest.raises(UnsupportedError, match="CMYK"):
        io.read(tmp_path / "ink.jpg")
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedError, match="animated"):
        io.read(tmp_path / "moving.png")


def test_jpeg_is_said_to_be_lossy_in_and_out(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    cine = io.read(tmp_path / "a.jpg")
    assert any("lossy" in note for note in cine.source.notes)
    assert any("lossy" in note for note in io.write(cine, tmp_path / "b.jpg"))
    assert io.read(tmp_path / "b.jpg").shape == GREY.shape


@pytest.mark.reference
def test_two_angiograms_are_a_run_of_two(reference: Path) -> None:
    cine = io.read([reference / "data/most_dsa/DSA_a.png", reference / "data/most_dsa/DSA_b.png"])
    assert (len(cine), cine.shape, cine.time_unit) == (2, (1024, 1024, 3), "frame")
    np.testing.assert_array_equal(cine.frame(1), np.asarray(Image.open(reference / "data/most_dsa/DSA_b.png")))
