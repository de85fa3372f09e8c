"""Once lossy, always lossy: also of sources that are no DICOM files."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from PIL import Image

from scanweave import io
from scanweave.cine import Cine

_GREY = Cine.from_array(np.random.default_rng(0).integers(0, 255, (3, 32, 48), dtype=np.uint8), fps=25)


def _header(source, tmp_path):
    io.write(io.read(source), tmp_path / "out.dcm")
    return pydicom.dcmread(tmp_path / "out.dcm", stop_before_pixels=True)


@pytest.mark.parametrize(("name", "term"), [("run.mp4", "ISO_14496_10"), ("run.mkv", None), ("run.gif", None)])
def test_films(tmp_path, name, term):
    io.write(_GREY, tmp_path / name)
    header = _header(tmp_path / name, tmp_path)
    assert header.get("LossyImageCompressionMethod") == term
    assert header.get("LossyImageCompression") == ("01" if term else None)


@pytest.mark.parametrize(("suffix", "term"), [("jpg", "ISO_10918_1"), ("png", None)])
def test_pictures(tmp_path, suffix, term):
    folder = tmp_path / "run"
    folder.mkdir()
    for k, frame in enumerate(_GREY):
        Image.fromarray(frame).save(folder / f"{k}.{suffix}")
    header = _header(folder, tmp_path)
    assert header.get("LossyImageCompressionMethod") == term
    assert header.get("LossyImageCompression") == ("01" if term else None)


def test_jpeg_pages(tmp_path):
    pages = [Image.fromarray(frame) for frame in _GREY]
    pages[0].save(tmp_path / "run.tif", save_all=True, append_images=pages[1:], compression="jpeg")
    assert _header(tmp_path / "run.tif", tmp_path).LossyImageCompression == "01"
