"""Reading DICOM: a multi-frame file, or a folder of single-frame instances, as a lazy `Cine` or `Volume`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from ...cine import Cine, Source
from ...errors import InputError, ScanweaveError, UnsupportedError, UsageError
from ...volume import Volume
from ..volumes import volume_of_cine
from .acquired import Acquired, opened_in, settled
from .container import open_file, require_pixels
from .display import read_display, read_levels
from .elements import integer, items, text
from .facts import read_facts
from .folder import choose_series, find_series
from .geometry import check_is_run, frame_places, instance_place, nature, places_noted, refuse_both
from .pixels import PixelData, read_layout
from .quiet import quiet
from .regions import read_regions
from .timing import Timing, instance_timing, r_waves, run_timing, trim


def read(
    path: Path,
    *,
    as_: str = "auto",
    series: str | None = None,
    source_fps: float | None = None,
    time_index: int | None = None,
) -> Cine | Volume:
    """Read DICOM frames, decoded when asked for.

    Args:
        path: A file, or a folder of single-frame instances or of several files.
        as_: ``auto`` goes by what varies, time or place; ``cine`` and ``volume`` take the frames as that.
        series: Which series of a folder: its number, UID or description, or the name of a multi-frame file.
        source_fps: Frames per second, where the file states none or a wrong one.
        time_index: Which phase, where every position was taken several times.

    Returns:
        A cine whose frames equal what ``pydicom.pixels.pixel_array`` gives (colour as RGB), or a volume of them in the
        order of their places.

    Raises:
        InputError: Damaged, truncated, not DICOM, a folder of several series where none is chosen, slices that do
            not make a grid, or frames of which both time and place vary.
        UnsupportedError: An object without pixels, or an encoding that cannot be decoded.
        UsageError: `series`, `source_fps` or `time_index` makes no sense.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("does not exist", path=path)
    notes: list[str] = []
    with quiet():
        acquired = _acquired(path, series, source_fps, notes)
        what = nature(acquired.places, acquired.timing, text(acquired.first, "Modality"))
        if as_ == "volume" or (as_ == "auto" and (what == "volume" or time_index is not None)):
            from .volumes import stacked

            if what != "run" or acquired.places[0] is not None:
                return stacked(acquired, notes, time_index=time_index)
            if time_index is not None:
                raise UsageError("its frames state no positions, so that none is a phase", path=path)
            return volume_of_cine(_cine(_in_time(acquired, notes), notes))
        if what != "run" and as_ == "auto":
            refuse_both(acquired.places, acquired.timing, path)
        notes += places_noted(acquired.places)
        return _cine(_in_time(acquired, notes), notes)


def read_cine(path: Path, *, series: str | None = None, source_fps: float | None = None, as_cine: bool = False) -> Cine:
    """Read a DICOM run; see `read`.

    Raises:
        UnsupportedError: It is a volume.
    """
    found = read(path, as_="cine" if as_cine else "auto", series=series, source_fps=source_fps)
    if isinstance(found, Volume):
        raise UnsupportedError(f"is a volume ({found.shape[0]} slices at one time), not a run over time", path=path)
    return found


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


def _acquired(path: Path, series: str | None, source_fps: float | None, notes: list[str]) -> Acquired:
    if not path.is_dir():
        return _of_file(path, path, source_fps, notes)
    chosen = choose_series(find_series(path, notes=notes), path, series)
    if len(chosen.files) == 1:
        return _of_file(chosen.files[0], path, source_fps, notes)
    headers = [contents.header for contents in chosen.contents]
    return Acquired(
        path=path,
        files=tuple(chosen.files),
        contents=tuple(chosen.contents),
        first=headers[0],
        groups=tuple(headers),
        places=tuple(instance_place(header) for header in headers),
        timing=instance_timing(headers, source_fps=source_fps),
        single=False,
    )


def _of_file(path: Path, origin: Path, source_fps: float | None, notes: list[str]) -> Acquired:
    contents = open_file(path)
    header = settled(contents, notes)
    frames = read_layout(header, require_pixels(contents, path)).frames
    check_is_run(header, frames=frames, path=path)
    groups = items(header, "PerFrameFunctionalGroupsSequence")
    alone = frames == 1 and not groups  # a single-frame instance states its place itself
    return Acquired(
        path=origin,
        files=(path,),
        contents=(contents,),
        first=header,
        groups=(header,) if alone else tuple(groups),
        places=(instance_place(header),) if alone else tuple(frame_places(header, frames)),
        timing=run_timing(header, frames, source_fps=source_fps),
        single=True,
    )


def _in_time(acquired: Acquired, notes: list[str]) -> _Run:
    """Put frames in the order of time."""
    timing, frames = acquired.timing, len(acquired.places)
    natural = tuple(range(frames))
    order = timing.order or natural
    if not acquired.single:
        files = tuple(acquired.files[i] for i in order)
        header, pixels, load = opened_in(acquired, order, notes)
        return _Run(acquired.path, files, header, pixels, timing, load)
    header, pixels, load = opened_in(acquired, order, notes)
    if order == natural:
        return _Run(acquired.path, acquired.files, header, pixels, timing, load)
    notes.append("The file holds its frames in another order than that of time; time was followed.")
    header.PerFrameFunctionalGroupsSequence = Items([acquired.groups[i] for i in order])
    return _Run(acquired.path, acquired.files, header, pixels, timing, load, order)


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
