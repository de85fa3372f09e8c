"""Reading a DICOM run: a multi-frame file, or a folder of single-frame instances, as a lazy `Cine`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from ...cine import Cine, Source
from ...errors import InputError, ScanweaveError
from .container import Contents, open_file, require_pixels
from .display import read_display, read_levels
from .elements import integer, text, value
from .facts import read_facts
from .folder import Series, choose_series, find_series
from .geometry import check_is_run, check_places, frame_places, instance_place
from .pixels import PixelData
from .quiet import PYDICOM_FAILURES, quiet
from .regions import read_regions
from .timing import Timing, instance_timing, r_waves, run_timing, trim


def read_cine(path: Path, *, series: str | None = None, source_fps: float | None = None, as_cine: bool = False) -> Cine:
    """Read a DICOM run, frame by frame when asked for.

    Args:
        path: A file, or a folder of single-frame instances or of several files.
        series: Which series of a folder: its number, UID or description, or the name of a multi-frame file.
        source_fps: Frames per second, where the file states none or a wrong one.
        as_cine: Take frames at different positions as a run all the same.

    Returns:
        A cine whose frames equal what ``pydicom.pixels.pixel_array`` gives (colour as RGB).

    Raises:
        InputError: Damaged, truncated, not DICOM, or a folder of several series where none is chosen.
        UnsupportedError: A volume, an object without pixels, or an encoding that cannot be decoded.
        UsageError: `series` or `source_fps` makes no sense.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("does not exist", path=path)
    notes: list[str] = []
    with quiet():
        if not path.is_dir():
            return _read_file(path, path, notes, source_fps=source_fps, as_cine=as_cine)
        chosen = choose_series(find_series(path, notes=notes), path, series)
        if len(chosen.files) == 1:
            return _read_file(chosen.files[0], path, notes, source_fps=source_fps, as_cine=as_cine)
        return _read_instances(chosen, path, notes, source_fps=source_fps, as_cine=as_cine)


@dataclass(frozen=True, slots=True)
class _Run:
    """What is known of a run before it becomes a `Cine`."""

    path: Path
    files: tuple[Path, ...]
    header: Dataset
    pixels: PixelData
    timing: Timing
    load: Callable[[int], NDArray[Any]]
    order: tuple[int, ...] = ()


def _read_file(path: Path, origin: Path, notes: list[str], *, source_fps: float | None, as_cine: bool) -> Cine:
    contents = open_file(path)
    header = _settled(contents, notes)
    pixels = PixelData(header, require_pixels(contents, path))
    frames = pixels.layout.frames
    check_is_run(header, frames=frames, path=path)
    timing = run_timing(header, frames, source_fps=source_fps)
    notes += check_places(frame_places(header, frames), timing, path, as_cine=as_cine)
    order = timing.order if timing.order != tuple(range(frames)) else None
    if order:
        notes.append("The file holds its frames in another order than that of time; time was followed.")
        groups = header.PerFrameFunctionalGroupsSequence
        header.PerFrameFunctionalGroupsSequence = Items([groups[i] for i in order])

    def load(i: int) -> NDArray[Any]:
        return pixels.frame(order[i] if order else i)

    return _cine(_Run(origin, (path,), header, pixels, timing, load, order or ()), notes)


def _read_instances(series: Series, folder: Path, notes: list[str], *, source_fps: float | None, as_cine: bool) -> Cine:
    headers = [contents.header for contents in series.contents]
    timing = instance_timing(headers, source_fps=source_fps)
    notes += check_places([instance_place(header) for header in headers], timing, folder, as_cine=as_cine)
    order = timing.order or tuple(range(len(headers)))
    files = tuple(series.files[i] for i in order)
    header = _settled(open_file(files[0]), notes)
    first = PixelData(header, require_pixels(series.contents[order[0]], files[0]))
    for i in order:
        _check_alike(headers[i], series.files[i], header)

    def load(i: int) -> NDArray[Any]:
        if not i:
            return first.frame(0)
        contents = series.contents[order[i]]
        return PixelData(contents.header, require_pixels(contents, files[i])).frame(0)

    return _cine(_Run(folder, files, header, first, timing, load), notes)


def _cine(run: _Run, notes: list[str]) -> Cine:
    header, layout, timing = run.header, run.pixels.layout, run.timing
    frames = len(timing.times)
    # Decoded now, so that a codec that is missing or a damaged stream is told before a long run, not within it.
    first = run.load(0)
    levels = read_levels(layout)
    if levels is not None and not levels[0] <= int(first.min()) <= int(first.max()) <= levels[1]:
        notes.append(f"Stored values reach beyond the {layout.stored} bits that the header states.")
    if integer(header, "HighBit") not in (None, layout.stored - 1):
        notes.append("High Bit does not fit Bits Stored and was ignored.")
    try:
        display = read_display(header, layout, notes)
    except ScanweaveError as error:
        raise type(error)(error.reason, path=run.files[0], remedy=error.remedy) from error
    regions = read_regions(header, rows=layout.rows, columns=layout.columns, notes=notes)
    # Trims and R wave pointers count frames as the file holds them.
    shown = None if run.order else trim(header, frames, notes)
    stored_times = timing.times[np.argsort(run.order)] if run.order else timing.times
    facts = read_facts(header, layout, timing=timing, display=display, regions=regions, frames=frames)
    waves = r_waves(header, stored_times, timing.unit)
    source = Source(
        path=run.path,
        files=run.files,
        format="dicom",
        header=header,
        modality=text(header, "Modality") or None,
        regions=regions,
        r_waves=waves,
        trim=shown,
        facts=facts,
        notes=tuple(dict.fromkeys([*notes, *run.pixels.notes, *timing.notes])),
        order=run.order,
    )
    return Cine(
        run.load,
        shape=layout.shape,
        dtype=layout.dtype,
        times=timing.times,
        time_unit=timing.unit,
        levels=levels,
        display=display,
        source=source,
    )


def _settled(contents: Contents, notes: list[str]) -> Dataset:
    """Return the header with every element converted, those that cannot be left out.

    pydicom converts elements when they are first asked for; a damaged one would otherwise fail far from here, for
    example when a derived file is written.
    """
    notes += contents.notes
    with quiet() as flaws:
        dropped = _settle(contents.header)
    if dropped:
        named = ", ".join(dropped[:5]) + (" ..." if len(dropped) > 5 else "")
        notes.append(f"{len(dropped)} header elements cannot be understood and were left out: {named}.")
    if contents.flaws or flaws:
        notes.append("The header departs from the standard in places; it was read as far as it makes sense.")
    return contents.header


def _settle(header: Dataset) -> list[str]:
    dropped = []
    for tag in list(header.keys()):
        try:
            element = header[tag]
            if element.VR == "SQ":
                for item in element.value:
                    dropped += _settle(item)
        except PYDICOM_FAILURES:
            del header[tag]
            dropped.append(str(tag))
    return dropped


_ALIKE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PixelRepresentation", "PhotometricInterpretation")


def _check_alike(header: Dataset, path: Path, first: Dataset) -> None:
    different: Sequence[str] = [name for name in _ALIKE if value(header, name) != value(first, name)]
    if different:
        name = different[0]
        raise InputError(
            f"its {name} is {text(header, name)}, that of the first file of the series {text(first, name)}",
            path=path,
            remedy="all frames of a run must have one size and depth; take this file out of the folder",
        )
