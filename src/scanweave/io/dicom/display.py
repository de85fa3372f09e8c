"""How stored values are meant to be shown: polarity, window, palette; and the range that their depth means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID, ExplicitVRBigEndian

from ...cine import Display
from ...errors import InputError, UnsupportedError
from .elements import items, number, numbers, text, value
from .pixels import Layout
from .quiet import PYDICOM_FAILURES

_COLOURS = ("Red", "Green", "Blue")


def read_levels(layout: Layout) -> tuple[float, float] | None:
    """Return the range that the stored bits mean; None for floats."""
    if layout.dtype.kind == "f":
        return None
    if layout.signed:
        return -float(2 ** (layout.stored - 1)), float(2 ** (layout.stored - 1) - 1)
    return 0.0, float(2**layout.stored - 1)


def read_display(header: Dataset, layout: Layout, notes: list[str]) -> Display:
    """Return the display of a file's frames.

    Args:
        header: The file's header.
        layout: Its pixel description.
        notes: Receives oddities.

    Raises:
        InputError: A palette is promised, but absent or damaged.
        UnsupportedError: A palette of a kind that is not handled.
    """
    if layout.photometric == "PALETTE COLOR":
        palette, first = _read_palette(header, layout, notes)
        return Display(palette=palette, palette_first=first)
    if layout.samples != 1:
        return Display()
    inverted = layout.photometric == "MONOCHROME1" or text(header, "PresentationLUTShape") == "INVERSE"
    window, falling = _read_window(header, notes)
    return Display(inverted=inverted != falling, window=window)


def _read_window(header: Dataset, notes: list[str]) -> tuple[tuple[float, float] | None, bool]:
    """Return the first window in stored units, and whether rescaling reverses black and white.

    Linear windows: DICOM PS3.3 C.11.2.1.2. The rescaling (value = slope * stored + intercept) is undone.
    """
    source = _shared_or_first(header, "FrameVOILUTSequence")
    centre, width = number(source, "WindowCenter"), number(source, "WindowWidth")
    scale = _shared_or_first(header, "PixelValueTransformationSequence")
    slope, intercept = number(scale, "RescaleSlope"), number(scale, "RescaleIntercept")
    slope, intercept = slope if slope else 1.0, intercept or 0.0
    if centre is None or width is None:
        return None, slope < 0
    if value(header, "ModalityLUTSequence") is not None:
        notes.append("A modality look-up table was not applied to the display window, which was left out.")
        return None, slope < 0
    exact = text(source, "VOILUTFunction") in ("LINEAR_EXACT", "SIGMOID")
    half = width / 2 if exact else (width - 1) / 2
    middle = centre if exact else centre - 0.5
    if half < 0 or width <= 0:
        notes.append(f"The display window of width {width:g} was ignored.")
        return None, slope < 0
    half = max(half, 0.5)  # a window of one value is a threshold
    low, high = sorted((bound - intercept) / slope for bound in (middle - half, middle + half))
    return (low, high), slope < 0


def _shared_or_first(header: Dataset, sequence: str) -> Dataset:
    """Return the functional group that holds for the first frame, or the header itself where there is none."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in items(header, groups)[:1]:
            for item in items(group, sequence)[:1]:
                return item
    return header


def _read_palette(header: Dataset, layout: Layout, notes: list[str]) -> tuple[NDArray[Any], int]:
    """Return the colour table ``(entries, 3)`` and the stored value of its first entry (PS3.3 C.7.6.3.1.5, .6)."""
    descriptors = [numbers(header, f"{colour}PaletteColorLookupTableDescriptor") for colour in _COLOURS]
    if any(len(found) != 3 or not np.all(np.isfinite(found)) for found in descriptors):
        raise InputError("is in palette colour, but its palette's description is absent or damaged")
    entries, first, bits = (int(number) for number in descriptors[0])
    entries = (entries & 0xFFFF) or 0x10000
    first = ((first + 0x8000) & 0xFFFF) - 0x8000 if layout.signed else first & 0xFFFF
    if bits not in (8, 16):
        raise InputError(f"is in palette colour with {bits} bits per entry; 8 or 16 exist")
    if value(header, "SegmentedRedPaletteColorLookupTableData") is not None:
        palette = _expand_segments(header, entries=entries, first=first, bits=bits)
    else:
        palette = _unpack_palette(header, entries, bits)
    if palette.dtype == np.uint16 and 0 < int(palette.max()) < 256:
        notes.append("The palette's 16-bit entries hold 8-bit values, and were taken as such.")
        palette = palette.astype(np.uint8)
    return palette, first


def _unpack_palette(header: Dataset, entries: int, bits: int) -> NDArray[Any]:
    order = ">" if UID(text(header.file_meta, "TransferSyntaxUID")) == ExplicitVRBigEndian else "<"
    columns = []
    for colour in _COLOURS:
        data = value(header, f"{colour}PaletteColorLookupTableData")
        if not isinstance(data, bytes) or len(data) < entries * (bits // 8):
            raise InputError(f"is in palette colour, but its {colour.lower()} table is absent or too short")
        # Entries of 8 bits lie one per byte or, in older files, one per 16-bit word.
        words = bits == 16 or len(data) >= 2 * entries
        if not words and order == ">":
            data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
        columns.append(np.frombuffer(data, f"{order}u2" if words else "u1", count=entries))
    table = np.stack(columns, axis=1)
    return table.astype(np.uint8 if bits == 8 and int(table.max()) < 256 else np.uint16)


def _expand_segments(header: Dataset, *, entries: int, first: int, bits: int) -> NDArray[Any]:
    if bits == 8 and entries > 256:
        # pydicom would count such entries in 8 bits.
        raise UnsupportedError("has a segmented 8-bit palette of more than 256 entries, which is not handled")
    try:
        stored = np.arange(first, first + entries, dtype=np.int64)
        return np.ascontiguousarray(apply_color_lut(stored, header)[:, :3])
    except PYDICOM_FAILURES as error:
        raise InputError("is in palette colour, but its segmented palette is damaged") from error
