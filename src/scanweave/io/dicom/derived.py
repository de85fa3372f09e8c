"""Derived DICOM objects: frames that scanweave made or re-wrote, in a header that says so.

The class of the source where it holds many frames, else multi-frame Secondary Capture, or single frames on request.
Acquired frames are written bit for bit; pixels are stored losslessly, one frame at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from ...cine import Cine, Source
from . import derived_header as header_of
from .derived_capture import as_capture
from .derived_mark import marked
from .derived_target import Target, choose_target
from .derived_timing import (
    FrameMap,
    decimal,
    expand_vectors,
    frame_steps,
    remove,
    renumber,
    shift_start,
    write_frame_times,
    write_rates,
)
from .enhanced import write_functional_groups
from .pixel_writer import Encapsulation, is_encapsulated, write_instance
from .quiet import PYDICOM_FAILURES, quiet

_MARKED = 'Made frames bear a visible mark "SYNTHETIC" in their pixels.'
_MULTI_FRAME_ONLY = (
    "NumberOfFrames",
    "FrameIncrementPointer",
    "FrameTime",
    "FrameTimeVector",
    "StartTrim",
    "StopTrim",
    "RepresentativeFrameNumber",
    "MaskSubtractionSequence",
    "RWavePointer",
    "FrameLabelVector",
    "FrameNumbersOfInterest",
    "FrameOfInterestDescription",
    "FrameOfInterestType",
    "RWaveTimeVector",
    "EffectiveDuration",
    "FrameDelay",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "PreferredPlaybackSequencing",
    "PositionerPrimaryAngleIncrement",
    "PositionerSecondaryAngleIncrement",
    "TableVerticalIncrement",
    "TableLateralIncrement",
    "TableLongitudinalIncrement",
    "FramePrimaryAngleVector",
    "FrameSecondaryAngleVector",
    "SliceLocationVector",
)
_FUNCTIONAL_GROUPS = (
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
    "DimensionOrganizationType",
)
_PALETTES = tuple(
    f"{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue", "Alpha")
    for part in ("Descriptor", "Data")
) + tuple(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue"))


def write_cine(
    cine: Cine,
    path: Path,
    *,
    like: Cine | Dataset | None = None,
    single_frames: bool = False,
    encapsulate: Encapsulation = "auto",
    mark_synthetic: bool = False,
    playback_fps: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[str, ...]:
    """Write `cine` as a derived DICOM object, in a new series of its source's study.

    Args:
        cine: The frames. `source.header` is the source's pydicom ``Dataset``, or something else for other formats;
            `records` and `derivation` say what was made, if anything was.
        path: File to write; for `single_frames` an existing, empty folder.
        like: Gives the header (a cine's, or one by itself) where `cine` has none: its frames went through TIFF, say.
        single_frames: One instance per frame (``IM000001.dcm``, ...), in the source's single-frame class.
        encapsulate: ``none`` (native), ``rle`` (RLE Lossless), or ``auto``: RLE only above 4 GiB.
        mark_synthetic: Burn a small mark into made frames, never into acquired ones.
        playback_fps: Frames per second to recommend to viewers; default: what `derivation` says.
        progress: Called with the number of frames written so far.

    Returns:
        What was dropped or decided, one sentence each.

    Raises:
        UnsupportedError: No class of DICOM holds these pixels unchanged.
        OutputError: Native pixels were asked for and exceed 4 GiB.
        OSError: The file cannot be written.
    """
    origin, header = _origin(cine, like)
    frames = FrameMap.of(cine, header)
    source_length = frames.source_length if frames is not None else len(cine)
    target = choose_target(cine, header, source_length=source_length, single_frames=single_frames)
    encapsulated = is_encapsulated(target.layout, 1 if single_frames else len(cine), encapsulate)
    run = _Run(cine, origin, header, target, frames, playback_fps, mark_synthetic)
    if single_frames:
        return _write_singles(run, path, encapsulated=encapsulated, progress=progress)
    with quiet():
        dataset, notes = _multi_frame_header(run)
    write_instance(
        path,
        dataset,
        run.pixels(),
        layout=target.layout,
        count=len(cine),
        encapsulated=encapsulated,
        progress=progress,
    )
    return tuple(dict.fromkeys(notes))


def _origin(cine: Cine, like: Cine | Dataset | None) -> tuple[Source, Dataset | None]:
    """Return where the header comes from, and the header, if there is one."""
    if isinstance(cine.source.header, Dataset) or like is None:
        source = cine.source
    elif isinstance(like, Dataset):
        source = Source(format="dicom", header=like)
    else:
        source = like.source
    return source, source.header if isinstance(source.header, Dataset) else None


class _Run:
    """What every instance of one output shares."""

    def __init__(
        self,
        cine: Cine,
        origin: Source,
        header: Dataset | None,
        target: Target,
        frames: FrameMap | None,
        playback_fps: float | None,
        mark: bool,
    ) -> None:
        self.cine, self.header, self.target, self.frames, self.mark = cine, header, target, frames, mark
        self.records = cine.records  # a lazy run computes them anew each time
        stated = cine.derivation.playback_rate if cine.derivation is not None else None
        self.rate = playback_fps or stated
        self.now = header_of.now_in(header if header is not None else Dataset())
        self.study_uid, self.series_uid = generate_uid(prefix=None), generate_uid(prefix=None)
        self.origin_files, self.lossy = origin.files, origin.lossy
        self.sources = header_of.source_instances(origin, header)

    def pixels(self) -> Iterator[NDArray[Any]]:
        """Give the stored frames of the file, one by one."""
        for k in range(len(self.cine)):
            frame = self.cine.frame(k)
            if self.mark and self.is_made(k):
                frame = marked(frame, self.cine)
            yield self.target.convert(frame)

    def is_made(self, k: int) -> bool:
        """Whether output frame `k` was computed."""
        return self.records is not None and self.records[k].kind == "made"

    def start(self, header: Dataset | None) -> tuple[Dataset, list[str]]:
        """Copy `header` for the class and the pixels of the output."""
        dataset, notes = (Dataset(), []) if header is None else header_of.clean_copy(header)
        layout = self.target.layout
        notes += header_of.drop_size_bound(dataset, layout.rows, layout.columns)
        dataset.SOPClassUID = self.target.sop_class
        if not self.target.is_enhanced:
            remove(dataset, _FUNCTIONAL_GROUPS)
        if layout.photometric != "PALETTE COLOR":
            remove(dataset, _PALETTES)
        if self.target.is_capture:
            notes += as_capture(dataset, self.cine, self.target)
        header_of.keep_lossy_flag(dataset, header, self.lossy)
        return dataset, [*notes, *self.target.notes]

    def references(self, k: int | None = None) -> list[Dataset]:
        """Refer to the sources of output frame `k`, or of the whole output."""
        if k is None or self.frames is None:
            return [header_of.source_item(*source) for source in self.sources]
        near = sorted(set(self.frames.pairs[k])) if self.is_made(k) else [self.frames.nearest(k)]
        if len(self.sources) == 1:
            numbers = [self.frames.number(n) for n in near] if self.frames.source_length > 1 else []
            return [header_of.source_item(*self.sources[0], numbers)]
        return [header_of.source_item(*self.sources[n]) for n in near if n < len(self.sources)]

    def finish(self, dataset: Dataset, *, said: tuple[str, ...], k: int | None = None) -> None:
        """Give `dataset` its identity, and say what it is."""
        header_of.identify(
            dataset,
            said=header_of.series_words(self.cine),
            study_uid=self.study_uid,
            series_uid=self.series_uid,
            now=self.now,
        )
        synthetic = header_of.has_made(self.cine) if k is None else self.is_made(k)
        marked_too = (_MARKED,) if self.mark and synthetic else ()
        header_of.state_provenance(
            dataset,
            description=[*header_of.description(self.cine), *said, *marked_too],
            sources=self.references(k),
            how=header_of.interpolation_code() if synthetic else None,
            synthetic=synthetic,
            now=self.now,
        )


def _multi_frame_header(run: _Run) -> tuple[Dataset, list[str]]:
    dataset, notes = run.start(run.header)
    dataset.NumberOfFrames = len(run.cine)
    steps, said = frame_steps(run.cine, run.header, playback_rate=run.rate)
    notes += shift_start(dataset, run.cine, run.frames) + renumber(dataset, run.frames)
    if not run.target.is_enhanced or "FrameIncrementPointer" in dataset:
        write_frame_times(dataset, steps)
        notes += expand_vectors(dataset, run.frames)
    write_rates(dataset, run.cine, playback_rate=run.rate, always=not run.target.is_enhanced)
    if not run.target.is_enhanced:
        run.finish(dataset, said=said)
        return dataset, [*notes, *said]
    assert run.frames is not None, "an Enhanced target knows its source's frames"
    notes += write_functional_groups(dataset, run.cine, run.frames, run.sources[0] if run.sources else None)
    image_type = dataset.ImageType
    run.finish(dataset, said=said)
    dataset.ImageType = image_type
    return dataset, [*notes, *said]


def _write_singles(
    run: _Run, folder: Path, *, encapsulated: bool, progress: Callable[[int], None] | None
) -> tuple[str, ...]:
    """Write one instance per frame, in the order of their names, instance numbers and trigger times."""
    notes: list[str] = []
    nearest, header = -1, run.header
    _, said = frame_steps(run.cine, run.header, playback_rate=run.rate)
    for k, pixels in enumerate(run.pixels()):
        if run.frames is not None and run.frames.nearest(k) != nearest:
            nearest = run.frames.nearest(k)
            header = _header_of_frame(run, nearest)
        with quiet():
            dataset, found = run.start(header)
            remove(dataset, _MULTI_FRAME_ONLY)
            run.finish(dataset, said=said, k=k)
            dataset.InstanceNumber = k + 1
            _date_single(dataset, run, k)
        write_instance(
            folder / f"IM{k + 1:06d}.dcm",
            dataset,
            [pixels],
            layout=run.target.layout,
            count=1,
            encapsulated=encapsulated,
        )
        notes += found
        if progress is not None:
            progress(k + 1)
    return tuple(dict.fromkeys([*notes, *said]))


def _header_of_frame(run: _Run, source: int) -> Dataset | None:
    """Return the header of source frame `source`: its own file's in a folder of single frames."""
    files = run.origin_files
    if run.frames is None or len(files) != run.frames.source_length or len(files) < 2:
        return run.header
    try:
        with quiet():
            return pydicom.dcmread(files[source], stop_before_pixels=True)
    except PYDICOM_FAILURES:  # it was read before; should it be gone by now, the run's own header does
        return run.header


def _date_single(dataset: Dataset, run: _Run, k: int) -> None:
    """Write the frame's own time: Trigger Time, and creation and acquisition times moved by as much."""
    if run.cine.time_unit != "s":
        return
    offset = float(run.cine.times[k])
    first = float((run.header or Dataset()).get("TriggerTime") or 0)
    dataset.TriggerTime = decimal(first + 1000 * offset)
    moment = run.now + timedelta(seconds=offset)
    dataset.ContentDate, dataset.ContentTime = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")
    if run.is_made(k):
        remove(dataset, ("AcquisitionTime", "AcquisitionDate", "AcquisitionDateTime", "AcquisitionNumber"))
