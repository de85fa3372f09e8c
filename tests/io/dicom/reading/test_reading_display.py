"""Levels, windows, palettes, regions, facts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.sequence import Sequence

from scanweave.errors import InputError
from scanweave.io.dicom import read_cine


@pytest.fixture
def read_made(tmp_path, make_dataset):
    def read(frames, **elements):
        path = tmp_path / "run.dcm"
        make_dataset(frames, **elements).save_as(path, enforce_file_format=True)
        return read_cine(path)

    return read


@pytest.mark.parametrize(
    ("kind", "stored", "levels"),
    [
        ("grey8", 8, (0, 255)),
        ("grey12", 12, (0, 4095)),
        ("grey12", 16, (0, 65535)),
        ("signed16", 16, (-32768, 32767)),
        ("signed16", 13, (-4096, 4095)),
        ("colour8", 8, (0, 255)),
    ],
)
def test_levels_follow_the_bits_stored(read_made, sample_frames, kind, stored, levels):
    cine = read_made(sample_frames[kind], stored=stored)
    assert cine.levels == levels
    np.testing.assert_array_equal(cine.frame(2), sample_frames[kind][2])


def test_monochrome1_is_inverted(read_made, sample_frames):
    assert read_made(sample_frames["grey8"], photometric="MONOCHROME1").display.inverted
    assert not read_made(sample_frames["grey8"]).display.inverted
    assert read_made(sample_frames["grey8"], PresentationLUTShape="INVERSE").display.inverted


def test_the_first_window_is_taken_back_to_stored_units(read_made, sample_frames):
    cine = read_made(
        sample_frames["grey12"], stored=12,
        WindowCenter=[1000, 5], WindowWidth=[401, 5], RescaleSlope=2, RescaleIntercept=-1000,
    )  # fmt: skip
    # Linear: centre - 0.5 -/+ (width - 1) / 2 = 799.5 and 1199.5; stored = (value + 1000) / 2.
    assert cine.display.window == (899.75, 1099.75)
    exact = read_made(sample_frames["grey8"], WindowCenter=100, WindowWidth=50, VOILUTFunction="LINEAR_EXACT")
    assert exact.display.window == (75, 125)
    assert read_made(sample_frames["grey8"], WindowCenter=100, WindowWidth=-3).display.window is None


def palette_elements(first: int, bits: int, entries: int = 256) -> dict[str, object]:
    table = np.linspace(0, 2**bits - 1, entries)
    colours = {"Red": table, "Green": table[::-1], "Blue": np.roll(table, 7)}
    elements: dict[str, object] = {}
    for colour, column in colours.items():
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [entries, first, bits]
        elements[f"{colour}PaletteColorLookupTableData"] = column.astype(f"<u{bits // 8}").tobytes()
    return elements


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("first", [0, 10])
def test_palette_frames_stay_indices_and_the_table_gives_pydicoms_colours(read_made, sample_frames, bits, first):
    cine = read_made(sample_frames["grey8"], photometric="PALETTE COLOR", **palette_elements(first, bits))
    np.testing.assert_array_equal(cine.frame(1), sample_frames["grey8"][1])
    assert cine.display.palette.dtype == np.dtype(f"u{bits // 8}") and cine.display.palette_first == first
    expected = apply_color_lut(sample_frames["grey8"][1], cine.source.header) / (2**bits - 1)
    np.testing.assert_allclose(np.moveaxis(cine.unit(1), 0, -1), expected, atol=1e-6)


def test_segmented_palettes_are_expanded(read_made, sample_frames):
    elements = {}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        # One discrete entry of 0, then a straight line of 255 entries up to 255 * 256.
        segments = np.array([0, 1, 0, 1, 255, 255 * 256], "<u2")
        elements[f"Segmented{colour}PaletteColorLookupTableData"] = segments.tobytes()
    cine = read_made(sample_frames["grey8"], photometric="PALETTE COLOR", **elements)
    np.testing.assert_array_equal(cine.display.palette, np.tile(np.arange(256)[:, None] * 256, (1, 3)))


def test_a_missing_palette_is_bad_input(read_made, sample_frames):
    with pytest.raises(InputError, match="palette"):
        read_made(sample_frames["grey8"], photometric="PALETTE COLOR")


def test_the_real_palette_file():
    path = Path(pydicom.examples.get_path("palette_color"))
    cine, ds = read_cine(path), pydicom.dcmread(path)
    expected = apply_color_lut(ds.pixel_array, ds) / 65535
    np.testing.assert_allclose(np.moveaxis(cine.unit(0), 0, -1), expected, atol=1e-6)
    assert [region.kind for region in cine.source.regions] == ["tissue-2d", "waveform"]
    assert not any(region.inside for region in cine.source.regions)


def region(spatial_format: int, data_type: int, corners: tuple[int, int, int, int] = (0, 0, 9, 19)) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = spatial_format, data_type
    item.RegionLocationMinX0, item.RegionLocationMinY0 = corners[:2]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = corners[2:]
    item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = 4, 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = 0.01, 0.05
    return item


def test_regions_keep_their_kind_place_and_scale(read_made, sample_frames):
    kinds = {(1, 1): "tissue-2d", (1, 2): "colour-flow", (1, 5): "other", (2, 1): "m-mode", (3, 3): "spectral",
             (4, 10): "waveform", (5, 0): "graphics", (9, 9): "other"}  # fmt: skip
    cine = read_made(sample_frames["grey8"], SequenceOfUltrasoundRegions=Sequence([region(*codes) for codes in kinds]))
    assert [found.kind for found in cine.source.regions] == list(kinds.values())
    found = cine.source.regions[0]
    assert (found.rows, found.columns) == ((0, 20), (0, 10))
    assert (found.spacing, found.units, found.inside) == ((0.05, 0.01), ("cm", "s"), True)
    assert not cine.source.notes


def test_a_region_beyond_the_image_is_kept_but_marked_and_reported(read_made, sample_frames):
    cine = read_made(sample_frames["grey8"], SequenceOfUltrasoundRegions=Sequence([region(1, 1, (0, 0, 30, 23))]))
    assert not cine.source.regions[0].inside
    (note,) = cine.source.notes
    assert "leaves the image of 24 x 30" in note


def test_the_real_echo_region_is_reported():
    (note,) = read_cine(Path(pydicom.examples.get_path("ybr_color"))).source.notes[:1]
    assert "leaves the image of 240 x 320" in note


def test_facts_never_name_the_patient_and_the_header_is_whole_without_pixels(read_made, sample_frames):
    mask = Dataset()
    mask.MaskOperation, mask.MaskFrameNumbers, mask.MaskSubPixelShift = "AVG_SUB", [1, 2], [0.5, -1.0]
    cine = read_made(sample_frames["grey8"], Modality="XA", MaskSubtractionSequence=Sequence([mask]), KVP="70")
    told = " ".join(cine.source.facts.values())
    assert not any(secret in told for secret in ("Doe", "Jane", "PID-77", "19600203"))
    assert cine.source.facts["Mask"] == "AVG_SUB, mask frames 1, 2, shift 0.5\\-1.0 pixels (row, column)"
    assert cine.source.facts["Tube voltage (kV)"] == "70"
    assert cine.source.header.PatientID == "PID-77" and "PixelData" not in cine.source.header
    assert cine.source.header.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert cine.source.modality == "XA" and cine.source.format == "dicom"


def test_private_elements_stay_in_the_header():
    header = read_cine(Path(pydicom.examples.get_path("ybr_color"))).source.header
    assert any(element.tag.is_private for element in header)
