"""Derived DICOM volumes: a new series of the source's class, a file for each slice; of an Enhanced source, one file.

Each slice keeps the header of the source's slice at its place, and so its place, scale and units as they are written
there; a slice that lies elsewhere has its place from the volume's grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from ..._version import __version__
from ...cine import Cine, Derivation, Source
from ...errors import UnsupportedError
from ...volume import Volume
from . import derived_header as header_of
from .container import open_file
from .derived_contrast import call_contrast
from .derived_seat import Seat, known_places
from .derived_target import ENHANCED_CLASSES, same_pixels, stored_layout
from .derived_timing import decimal, remove
from .elements import number, numbers
from .enhanced_slices import place_slices, scale_slices, write_slice_groups
from .geometry import frame_places, instance_place
from .pixel_writer import PixelLayout, is_encapsulated, write_instance
from .quiet import quiet
from .volumes import pixel_spacing, rescale

_NEAR = 0.25  # of the distance between slices: nearer ones are one, as uneven as a series may be
_ALIKE = 1e-3  # spacings, as shares, that differ by less are one
_MANY = ("Multi-frame", "Video", "Secondary Capture")  # in names of classes that say nothing of where slices lie
_PLACE_TAGS = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"]
_OTHER = "write .nii.gz, .mha or .nrrd"
_RESAMPLED = ("113085", "DCM", "Spatial resampling")
_REWRITTEN = ("REWRITTEN", header_of.SCHEME, "Voxels written again")


def require_source(volume: Volume) -> None:
    """Refuse a volume that no DICOM can be derived from.

    Raises:
        UnsupportedError: It has no header to derive from, or its voxels are none of DICOM.
    """
    _layout(volume, _origin(volume, None)[1])


def is_one_file(volume: Volume, *, like: Volume | None = None) -> bool:
    """Return whether a volume is written as one file: it is of one slice, or comes from an Enhanced object."""
    _, header = _origin(volume, like)
    return volume.grid.shape[0] == 1 or _is_enhanced(header)


def write_volume(
    volume: Volume,
    path: Path,
    *,
    like: Volume | None = None,
    derivation: Derivation | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[str, ...]:
    """Write a volume as derived DICOM, in a new series of its source's study.

    Args:
        volume: Whole numbers of 8 or 16 bits; `source.header` is its source's.
        path: A file, for a volume that `is_one_file`; else an existing, empty folder.
        like: Gives the header where `volume` has none: its voxels went through NIfTI, say.
        derivation: How voxels were made. Without, the header says only that they were written again.
        progress: Called with the number of slices written so far.

    Returns:
        What was dropped or decided, one sentence each.

    Raises:
        UnsupportedError: No header to derive from, one of a class without places, or voxels that the class has no
            numbers for.
        OSError: A file cannot be written.
    """
    origin, header = _origin(volume, like)
    layout = _layout(volume, header)
    writer = _Writer(volume, origin, header, layout, derivation)
    file = path / "IM000001.dcm" if path.is_dir() else path
    if _is_enhanced(header):
        return writer.write_enhanced(file, progress)
    if not path.is_dir():
        return tuple(dict.fromkeys(writer.write_slice(0, file)))
    notes: list[str] = []
    for k in range(volume.grid.shape[0]):
        notes += writer.write_slice(k, path / f"IM{k + 1:06d}.dcm")
        if progress is not None:
            progress(k + 1)
    return tuple(dict.fromkeys(notes))


def _origin(volume: Volume, like: Volume | None) -> tuple[Source, Dataset]:
    """Return where the header comes from, and the header.

    Raises:
        UnsupportedError: There is none, or it is of a class whose slices have no place.
    """
    own = isinstance(volume.source.header, Dataset)
    source = volume.source if own or like is None else like.source
    header = source.header
    if not isinstance(header, Dataset):
        raise UnsupportedError(
            "comes from no DICOM: there is no header to derive one from",
            path=volume.source.path,
            remedy=f"{_OTHER}, or give a DICOM volume whose header it is like",
        )
    name = UID(str(header.get("SOPClassUID", ""))).name
    if not _is_enhanced(header) and any(word in name for word in _MANY):
        raise UnsupportedError(f"slices of {name} have no place in DICOM", path=source.path, remedy=_OTHER)
    if volume.space_unit != "mm":
        raise UnsupportedError("states no spacing", path=volume.source.path, remedy="give it with --spacing")
    return source, header


def _is_enhanced(header: Dataset) -> bool:
    """Whether slices are frames of one file, described by functional groups."""
    return header.get("SOPClassUID") in ENHANCED_CLASSES or "PerFrameFunctionalGroupsSequence" in header


def _frames(volume: Volume) -> Cine:
    """Return slices as frames, which is what pixel layouts are chosen for."""
    return Cine(
        lambda k: volume.voxels[k],
        shape=volume.shape[1:],
        dtype=volume.dtype,
        times=[float(k) for k in range(volume.grid.shape[0])],
        time_unit="frame",
        levels=volume.stated_levels,
        display=volume.display,
        source=volume.source,
    )


def _layout(volume: Volume, header: Dataset) -> PixelLayout:
    """Return how voxels lie in files, the depth that the header states if it can be.

    Raises:
        UnsupportedError: The class holds no such numbers.
    """
    if volume.dtype.kind not in "ui" or volume.dtype.itemsize > 2:
        raise UnsupportedError(
            f"DICOM slices hold whole numbers of 8 or 16 bits, its voxels are {volume.dtype}",
            path=volume.source.path,
            remedy=_OTHER,
        )
    layout = stored_layout(_frames(volume), header)
    grey16 = layout.bits_allocated == 16 and layout.samples == 1 and header.get("BitsAllocated") == 16
    if not same_pixels(layout, header) and not grey16:
        raise UnsupportedError(
            f"slices of {UID(str(header.get('SOPClassUID', ''))).name} hold other numbers than {volume.dtype}",
            path=volume.source.path,
            remedy=_OTHER,
        )
    low, high = volume.levels
    half = 1 << (layout.bits_stored - 1)
    holds = (-half <= low and high < half) if layout.signed else high < 2 * half
    # the source's bits may be too few for another contrast; Enhanced classes have 8, 12 and 16 only
    if not holds or (_is_enhanced(header) and not same_pixels(layout, header)):
        return replace(layout, bits_stored=layout.bits_allocated)
    return layout


class _Writer:
    """What all files of one output share."""

    def __init__(
        self,
        volume: Volume,
        origin: Source,
        header: Dataset,
        layout: PixelLayout,
        derivation: Derivation | None,
    ) -> None:
        self.volume, self.origin, self.header, self.layout = volume, origin, header, layout
        self.derivation = derivation
        self.how = header_of.code(*(_REWRITTEN if derivation is None else _RESAMPLED))
        self.now = header_of.now_in(header)
        self.study_uid, self.series_uid = generate_uid(prefix=None), generate_uid(prefix=None)
        self.sources = header_of.source_instances(origin, header)
        self.files = () if _is_enhanced(header) else origin.files
        self.heads = [open_file(file, tags=_PLACE_TAGS).header for file in self.files]
        self.seats = [Seat.of(volume.grid, k) for k in range(volume.grid.shape[0])]
        places = known_places([instance_place(head) for head in self.heads])
        self.nearest = [seat.nearest(places) for seat in self.seats]
        self.keeps_places = all(map(self._is_where_it_was, self.seats, self.nearest))

    def write_slice(self, k: int, file: Path) -> list[str]:
        """Write one slice as a file of its own."""
        nearest, _ = self.nearest[k]
        with quiet():
            header = self.header if nearest is None else open_file(self.files[nearest]).header
            dataset, notes = header_of.clean_copy(header)
            dataset.SOPClassUID = self.header.SOPClassUID
            header_of.keep_lossy_flag(dataset, header, self.origin.lossy)
            remove(dataset, ("NumberOfFrames", "FrameIncrementPointer"))
            if not self.keeps_places:
                self.seats[k].write(dataset)
            self._write_scale(dataset)
            self._drop_padding(dataset, header)
            self._finish(dataset, self.sources if nearest is None else self._source_of(nearest))
            dataset.InstanceNumber = k + 1
        write_instance(file, dataset, [self._pixels(k)], layout=self.layout, count=1, encapsulated=False)
        return notes

    def write_enhanced(self, file: Path, progress: Callable[[int], None] | None) -> tuple[str, ...]:
        """Write all slices as one file of the source's Enhanced class."""
        near, keeps_places = self._near_frames()
        count = len(near)
        with quiet():
            dataset, notes = header_of.clean_copy(self.header)
            header_of.keep_lossy_flag(dataset, self.header, self.origin.lossy)
            self._drop_padding(dataset, self.header)
            notes += write_slice_groups(
                dataset,
                near,
                self.sources[0] if self.sources else None,
                said=" ".join(self._description()),
                how=self.how,
                made=self.derivation is not None,
            )
            if not keeps_places:
                place_slices(dataset, self.seats)
            scales = {rescale(group, dataset) for group in dataset.PerFrameFunctionalGroupsSequence}
            if scales != {(self.volume.scale, self.volume.offset)}:
                scale_slices(dataset, self.volume.scale, self.volume.offset)
            self._finish(dataset, self.sources)
            # state_provenance, in _finish, calls value 2 secondary, which it never is here
            dataset.ImageType = ["DERIVED", "PRIMARY", *list(dataset.ImageType)[2:]]
        write_instance(
            file,
            dataset,
            (self._pixels(k) for k in range(count)),
            layout=self.layout,
            count=count,
            encapsulated=is_encapsulated(self.layout, count, "auto"),
            progress=progress,
        )
        return tuple(dict.fromkeys(notes))

    def _near_frames(self) -> tuple[list[list[int]], bool]:
        """Return the source frames that each slice lies on or between, and whether every slice is one of them."""
        groups = self.header.PerFrameFunctionalGroupsSequence
        known = list(self.origin.order) or list(range(len(groups)))  # of several phases, those of the one that was read
        places = known_places(frame_places(self.header, len(groups)))[known]
        kept = []
        for seat in self.seats:
            nearest, distance = seat.nearest(places)
            frame = known[nearest or 0]
            within = distance <= _NEAR * seat.steps[2]
            if not within or not self._is_alike(seat, self.header, pixel_spacing(groups[frame], self.header)):
                return [[known[k] for k in seat.around(places)] for seat in self.seats], False
            kept.append([frame])
        return kept, len({frame for (frame,) in kept}) == len(kept)

    def _pixels(self, k: int) -> NDArray[Any]:
        voxels: NDArray[Any] = self.volume.voxels[k].astype(self.layout.dtype, copy=False)
        return voxels

    def _is_where_it_was(self, seat: Seat, found: tuple[int | None, float]) -> bool:
        """Whether the source's nearest slice has the place, size and spacing of ours."""
        nearest, distance = found
        if nearest is None or distance > _NEAR * seat.steps[2]:
            return False
        return self._is_alike(seat, self.heads[nearest], numbers(self.heads[nearest], "PixelSpacing"))

    def _is_alike(self, seat: Seat, head: Dataset, spacing: Sequence[float]) -> bool:
        size = (head.get("Rows"), head.get("Columns"))
        same = len(spacing) == 2 and bool(np.allclose(spacing, seat.steps[:2], rtol=_ALIKE))
        return same and size == (self.layout.rows, self.layout.columns)

    def _source_of(self, nearest: int) -> Sequence[tuple[str, str]]:
        return self.sources[nearest : nearest + 1] if len(self.sources) == len(self.files) else self.sources

    def _drop_padding(self, dataset: Dataset, header: Dataset) -> None:
        """Drop a padding value that was of numbers of another kind."""
        if header.get("PixelRepresentation") != int(self.layout.signed):
            remove(dataset, ("PixelPaddingValue", "PixelPaddingRangeLimit"))

    def _write_scale(self, dataset: Dataset) -> None:
        """Say how voxels mean real values, where the header of the slice does not say just that."""
        stated = (number(dataset, "RescaleSlope") or 1.0, number(dataset, "RescaleIntercept") or 0.0)
        if stated != (self.volume.scale, self.volume.offset):
            dataset.RescaleSlope = decimal(self.volume.scale)
            dataset.RescaleIntercept = decimal(self.volume.offset)
            dataset.RescaleType = dataset.get("RescaleType") or "US"

    def _finish(self, dataset: Dataset, sources: Sequence[tuple[str, str]]) -> None:
        header_of.identify(
            dataset,
            said="derived" if self.derivation is None else "synthetic",
            study_uid=self.study_uid,
            series_uid=self.series_uid,
            now=self.now,
        )
        if self.derivation is not None and self.derivation.contrast is not None:
            call_contrast(dataset, self.derivation.contrast, self.volume)
        header_of.state_provenance(
            dataset,
            description=self._description(),
            sources=[header_of.source_item(*source) for source in sources],
            how=self.how,
            synthetic=self.derivation is not None,
            now=self.now,
        )

    def _description(self) -> list[str]:
        if self.derivation is None:
            return [f"Written by scanweave {__version__}."]
        told = [
            f"{self.derivation.summary.strip().rstrip('.')}.",
            f"scanweave {__version__}: all slices are synthetic.",
        ]
        if self.derivation.method not in self.derivation.summary:
            told.append(f"Method {self.derivation.method}.")
        if self.derivation.weights_sha256:
            told.append(f"Weights SHA-256 {self.derivation.weights_sha256[:16]}.")
        return [*told, header_of.NOTICE]
