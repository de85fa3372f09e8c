"""Ultrasound regions: what the file says each rectangle of the image shows (DICOM PS3.3 C.8.5.5)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from ...cine import Region, RegionKind
from .elements import integer, items, number

_UNITS = {0: "none", 1: "percent", 2: "dB", 3: "cm", 4: "s", 5: "Hz", 6: "dB/s", 7: "cm/s", 8: "cm2", 9: "cm2/s"}
_UNITS |= {10: "cm3", 11: "cm3/s", 12: "degree"}


def read_regions(header: Dataset, *, rows: int, columns: int, notes: list[str]) -> tuple[Region, ...]:
    """Return the regions that the header states.

    Args:
        header: The file's header.
        rows: Rows of the image.
        columns: Columns of the image.
        notes: Receives a sentence for each region that cannot be used as stated.
    """
    found = []
    for count, item in enumerate(items(header, "SequenceOfUltrasoundRegions"), start=1):
        region = _region(item, rows, columns)
        if region is None:
            notes.append(f"Ultrasound region {count} has no sound corners and was left out.")
            continue
        if not region.inside:
            notes.append(
                f"Ultrasound region {count} ({region.kind}, rows {region.rows[0]} to {region.rows[1]}, columns"
                f" {region.columns[0]} to {region.columns[1]}) leaves the image of {rows} x {columns}: it is not used"
                " for cropping, and its calibration is doubtful."
            )
        found.append(region)
    return tuple(found)


def _region(item: Dataset, rows: int, columns: int) -> Region | None:
    corners = [integer(item, f"RegionLocation{name}") for name in ("MinY0", "MaxY1", "MinX0", "MaxX1")]
    if any(corner is None for corner in corners):
        return None
    top, bottom, left, right = (int(corner or 0) for corner in corners)
    if bottom < top or right < left:
        return None
    # The file states the last row and column inside; a Region states one past them.
    bottom, right = bottom + 1, right + 1
    delta_y, delta_x = number(item, "PhysicalDeltaY"), number(item, "PhysicalDeltaX")
    unit_y, unit_x = (_UNITS.get(integer(item, f"PhysicalUnits{axis}Direction") or 0, "none") for axis in "YX")
    return Region(
        rows=(top, bottom),
        columns=(left, right),
        kind=_kind(integer(item, "RegionSpatialFormat"), integer(item, "RegionDataType")),
        spacing=(abs(delta_y), abs(delta_x)) if delta_y and delta_x else None,
        units=(unit_y, unit_x),
        inside=top >= 0 and bottom <= rows and left >= 0 and right <= columns,
    )


def _kind(spatial_format: int | None, data_type: int | None) -> RegionKind:
    if spatial_format == 1:
        # Other data types of a 2D format (power, elastography, ...) are codes too, not tissue that moves.
        data: dict[int, RegionKind] = {1: "tissue-2d", 2: "colour-flow"}
        return data.get(data_type or 0, "other")
    formats: dict[int, RegionKind] = {2: "m-mode", 3: "spectral", 4: "waveform", 5: "graphics"}
    return formats.get(spatial_format or 0, "other")
