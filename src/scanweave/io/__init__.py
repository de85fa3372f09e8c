"""Files to `Cine` and `Volume` and back; the format is found from the content, never from the suffix."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

from ..cine import Cine, Derivation
from ..displacement import Displacement
from ..errors import InputError, UnsupportedError, UsageError
from ..volume import Volume
from .common import Progress, natural
from .files import atomic_output, check_output
from .folders import are_single_images, inputs_in, left_out, list_folder, suffix_like
from .kinds import IMAGES, RUNS, VOLUMES, kind_of, require_known
from .volume_files import VOLUME_SUFFIXES, read_displacement, write_field, write_volume
from .volumes import volume_of_cine

__all__ = [
    "SUFFIXES",
    "VOLUME_SUFFIXES",
    "Progress",
    "are_single_images",
    "inputs_in",
    "natural",
    "read",
    "read_displacement",
    "suffix_like",
    "write",
]

Like = str | os.PathLike[str]
As = Literal["auto", "cine", "volume"]

SUFFIXES: dict[str, str] = {
    ".dcm": "dicom",
    ".dicom": "dicom",
    ".mp4": "video",
    ".mov": "video",
    ".mkv": "video",
    ".avi": "video",
    ".gif": "video",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".bmp": "bmp",
    ".npy": "npy",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
"""What each suffix is written as; no suffix is a folder of PNGs."""


@overload
def read(
    path: Like | Sequence[Like],
    *,
    as_: Literal["cine"],
    series: str | None = None,
    dataset: str | None = None,
    source_fps: float | None = None,
    time_index: int | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> Cine: ...


@overload
def read(
    path: Like | Sequence[Like],
    *,
    as_: Literal["volume"],
    series: str | None = None,
    dataset: str | None = None,
    source_fps: float | None = None,
    time_index: int | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> Volume: ...


@overload
def read(
    path: Like | Sequence[Like],
    *,
    as_: As = "auto",
    series: str | None = None,
    dataset: str | None = None,
    source_fps: float | None = None,
    time_index: int | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> Cine | Volume: ...


def read(
    path: Like | Sequence[Like],
    *,
    as_: As = "auto",
    series: str | None = None,
    dataset: str | None = None,
    source_fps: float | None = None,
    time_index: int | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> Cine | Volume:
    """Read a run of frames or a volume; pixels are decoded when asked for.

    Args:
        path: A DICOM file or folder; NIfTI, MetaImage or NRRD; a folder of PNG, TIFF, JPEG or BMP; a many-page TIFF;
            npy, npz or HDF5 (``file.h5:/dataset``); a video; or a list of single images in the order of time.
        as_: What to read it as. ``auto`` gives a cine where times vary at one position or nothing is known of
            positions, and a volume where positions vary at one time. ``volume`` takes pages and pictures as slices.
        series: Which DICOM series of a folder, where there are several.
        dataset: Name of the HDF5 dataset or npz array, where there are several.
        source_fps: Frames per second of the source, where the file states none or a wrong one.
        time_index: Which phase of a file that holds a volume over time, 0-based.
        spacing: Millimetres between slices, rows and columns of a volume, where the file states none or wrong ones.

    Returns:
        The run or the volume. ``source.notes`` says what was odd about the file.

    Raises:
        InputError: Missing, empty, damaged, not one run or volume, or both time and position vary.
        UnsupportedError: Sound, but no frames over time or voxels in grey or colour.
        UsageError: Arguments that contradict each other.

    Example:
        >>> from pydicom.examples import get_path
        >>> cine = read(get_path("ybr_color"))
        >>> len(cine), cine.shape
        (30, (240, 320, 3))
    """
    if as_ not in ("auto", "cine", "volume"):
        raise UsageError(f"as_={as_!r} is none of auto, cine, volume")
    if as_ == "cine" and time_index is not None:
        raise UsageError("a phase is chosen of a volume, not of a cine", remedy="leave out the phase, or --as cine")
    if source_fps is not None and not (math.isfinite(source_fps) and source_fps > 0):
        raise UsageError(f"a source rate of {source_fps} frames per second", remedy="give --source-fps above 0")
    found = _read(path, _Wish(as_, series, dataset, source_fps, time_index))
    if spacing is None:
        return found
    if isinstance(found, Volume):
        return found.respaced(spacing)
    raise UsageError("is a run of frames, and has no spacing of voxels", path=found.source.path, remedy="leave it out")


def write(
    item: Cine | Volume | Displacement,
    path: Like,
    *,
    like: Any = None,
    derivation: Derivation | None = None,
    overwrite: bool = False,
    playback_fps: float | None = None,
    single_frames: bool = False,
    mark_synthetic: bool = False,
    lossless: bool = False,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write a run frame by frame, a volume, or a displacement field; the output is whole or absent.

    Args:
        item: What to write. The options below `overwrite` are for runs.
        path: Where; the suffix picks the format (`SUFFIXES` of runs, `VOLUME_SUFFIXES` of volumes, ``.nii.gz`` of
            fields), none means a folder: of PNGs, or of a volume's DICOM series. ``file.h5:/dataset`` names the
            dataset.
        like: For DICOM: the header to derive from, instead of the run's own source; a volume, or the name of one, for
            a volume that has none. For NIfTI: a volume, or the name of one, whose header fields are kept. For a field:
            the volume that it deforms, on its grid; where that one's file states no place, neither does the field's.
        derivation: For a volume as DICOM: how voxels were made. Runs have their own.
        overwrite: Replace an existing output. An input is never replaced.
        playback_fps: Frames per second at which a video, or a DICOM viewer, shows it.
        single_frames: For DICOM: a folder with one file per frame.
        mark_synthetic: Write SYNTHETIC into a corner of made frames.
        lossless: For mp4 and mov: an exact film, which fewer players can play.
        progress: Called with the number of frames done.

    Returns:
        What a user should know about what was written, one sentence each.

    Raises:
        UsageError: A suffix that no format has, or options that do not fit.
        OutputError: The output is an input, exists, or cannot be written.
    """
    target, dataset = _split_target(Path(path))
    if isinstance(item, Displacement):
        return write_field(item, target, like=like, overwrite=overwrite)
    if isinstance(item, Volume):
        return write_volume(item, target, dataset=dataset, like=like, derivation=derivation, overwrite=overwrite)
    kind = "dicom" if single_frames else _run_kind(target)
    if playback_fps is not None and not (math.isfinite(playback_fps) and playback_fps > 0):
        raise UsageError(f"a playback rate of {playback_fps} frames per second", remedy="give a rate above 0")
    source = item.source
    check_output(target, [*([source.path] if source.path else []), *source.files], overwrite=overwrite)
    if mark_synthetic and kind != "dicom":
        item = _marked(item)
    with atomic_output(target, folder=kind == "folder" or single_frames) as place:
        if kind == "dicom":
            from .dicom.derived import write_cine

            return tuple(
                write_cine(
                    item,
                    place,
                    like=like,
                    single_frames=single_frames,
                    mark_synthetic=mark_synthetic,
                    playback_fps=playback_fps,
                    progress=progress,
                )
            )
        return _writer(kind, dataset, playback_fps, lossless)(item, place, progress)


def _run_kind(target: Path) -> str:
    suffix = target.suffix.lower()
    kind = SUFFIXES.get(suffix, "folder" if not suffix else None)
    if kind is None:
        known = ", ".join(SUFFIXES)
        raise UsageError(f"{target.name}: no format has the suffix {suffix}", remedy=f"use one of {known}, or none")
    return kind


def _writer(
    kind: str, dataset: str | None, playback_fps: float | None, lossless: bool
) -> Callable[[Cine, Path, Progress | None], tuple[str, ...]]:
    if kind == "video":
        from .movies import write_video

        return lambda cine, place, progress: write_video(
            cine, place, playback_fps=playback_fps, lossless=lossless, progress=progress
        )
    if kind == "tiff":
        from .tiff import write_tiff

        return lambda cine, place, progress: write_tiff(cine, place, progress=progress)
    if kind in ("npy", "npz"):
        from .arrays import write_npy, write_npz

        write_array = write_npy if kind == "npy" else write_npz
        return lambda cine, place, progress: write_array(cine, place, progress=progress)
    if kind == "hdf5":
        from .hdf5 import write_hdf5

        return lambda cine, place, progress: write_hdf5(cine, place, dataset=dataset or "/frames", progress=progress)
    from .images import write_picture, write_pictures_folder

    if kind == "folder":
        return lambda cine, place, progress: write_pictures_folder(cine, place, progress=progress)
    return lambda cine, place, progress: write_picture(cine, place, format_=kind)  # type: ignore[arg-type]


def _read(path: Like | Sequence[Like], wish: _Wish) -> Cine | Volume:
    if not isinstance(path, str | os.PathLike):
        paths = [Path(one) for one in path]
        if len(paths) != 1:
            return wish.settle(_read_list(paths, wish.source_fps))
        path = paths[0]
    file, named = _split_dataset(Path(path))
    if named is not None and wish.dataset is not None and named.strip("/") != wish.dataset.strip("/"):
        raise UsageError(f"two datasets are named: {named} and {wish.dataset}", remedy="name one")
    if file.is_dir():
        return _read_folder(file, wish)
    return _read_file(file, replace(wish, dataset=wish.dataset or named))


@dataclass(frozen=True)
class _Wish:
    """What a caller of `read` asks for."""

    as_: As
    series: str | None
    dataset: str | None
    source_fps: float | None
    time_index: int | None

    def settle(self, found: Cine | Volume) -> Cine | Volume:
        """Return what was read of a format that knows frames only as what is asked for."""
        if isinstance(found, Volume):
            return found
        if self.time_index is not None:
            raise UsageError("holds no volumes over time, so that none is a phase", path=found.source.path)
        return volume_of_cine(found) if self.as_ == "volume" else found


def _read_file(file: Path, wish: _Wish) -> Cine | Volume:
    kind = kind_of(file)
    if kind in ("unknown", "analyze") and file.suffix.lower() == ".img" and file.with_suffix(".hdr").is_file():
        return _read_file(file.with_suffix(".hdr"), wish)  # voxels alone: their header says what they are
    require_known(kind, file)
    if wish.dataset is not None and kind not in ("hdf5", "npz"):
        raise UsageError(f"{file}: only HDF5 and npz files hold named datasets", remedy="leave the dataset out")
    if kind == "dicom":
        from . import dicom

        return dicom.read(
            file, as_=wish.as_, series=wish.series, source_fps=wish.source_fps, time_index=wish.time_index
        )
    if kind in VOLUMES:
        return _read_volume(file, kind, wish)
    return wish.settle(_read_frames(file, kind, wish))


def _read_volume(file: Path, kind: str, wish: _Wish) -> Cine | Volume:
    if kind == "nifti":
        from .nifti import read_nifti

        return read_nifti(file, as_=wish.as_, time_index=wish.time_index, source_fps=wish.source_fps)
    if wish.as_ == "cine":
        raise UnsupportedError(f"is a volume ({kind}), not a run over time", path=file, remedy="read it as a volume")
    from .itk import read_itk

    return read_itk(file, kind=kind, time_index=wish.time_index)


def _read_frames(file: Path, kind: str, wish: _Wish) -> Cine | Volume:
    source_fps = wish.source_fps
    if kind in ("video", "gif"):
        from .video import read_video

        return read_video(file, source_fps=source_fps)
    if kind == "tiff":
        from .tiff import read_tiff

        return read_tiff(file, source_fps=source_fps)
    if kind == "hdf5":
        from .hdf5 import read_hdf5

        return read_hdf5(file, dataset=wish.dataset, as_=wish.as_, source_fps=source_fps)
    if kind in ("npy", "npz"):
        from .arrays import read_npy, read_npy_volume, read_npz

        if kind == "npz":
            return read_npz(file, name=wish.dataset and wish.dataset.strip("/"), as_=wish.as_, source_fps=source_fps)
        return read_npy_volume(file) if wish.as_ == "volume" else read_npy(file, source_fps=source_fps)
    from .images import read_pictures

    return read_pictures([file], source_fps=source_fps)


def _read_list(paths: list[Path], source_fps: float | None) -> Cine:
    if not paths:
        raise UsageError("no input", remedy="name a file or a folder")
    for path in paths:
        kind = kind_of(path)
        require_known(kind, path)
        if kind not in IMAGES:
            raise InputError(
                f"is no single picture ({kind}), but one of {len(paths)} inputs for one run",
                path=path,
                remedy="give single pictures in the order of time, or this file alone",
            )
    from .images import read_pictures

    return read_pictures(paths, source_fps=source_fps)


def _read_folder(folder: Path, wish: _Wish) -> Cine | Volume:
    listing = list_folder(folder)
    slices, pictures = listing.of("dicom"), listing.of(*IMAGES)
    if slices:
        from . import dicom

        found = dicom.read(
            folder, as_=wish.as_, series=wish.series, source_fps=wish.source_fps, time_index=wish.time_index
        )
        if pictures:
            found.source = replace(found.source, notes=(*found.source.notes, *left_out(listing, slices)))
        return found
    if pictures:
        from .images import read_pictures

        notes = left_out(listing, pictures)
        return wish.settle(read_pictures(pictures, folder=folder, source_fps=wish.source_fps, notes=notes))
    runs = listing.of(*RUNS, *VOLUMES)
    if len(runs) == 1 and not listing.folders:
        return _read_file(runs[0], wish)
    if runs or listing.folders:
        inside = ", ".join(path.name for path in [*runs, *listing.folders][:5])
        raise InputError(f"is a folder of several inputs: {inside}", path=folder, remedy="name one of them")
    raise InputError("holds neither DICOM nor pictures", path=folder, remedy="give a folder with one run of frames")


def _split_dataset(path: Path) -> tuple[Path, str | None]:
    """Split ``file.h5:/dataset``; any path that exists as it stands is left whole."""
    head, mark, name = str(path).rpartition(":")
    if mark and name and not path.exists() and Path(head).is_file():
        return Path(head), name
    return path, None


def _split_target(path: Path) -> tuple[Path, str | None]:
    match = re.fullmatch(r"(.+\.(?:h5|hdf5)):(/.+)", str(path), flags=re.IGNORECASE)
    return (Path(match[1]), match[2]) if match else (path, None)


def _marked(cine: Cine) -> Cine:
    """Return `cine` with SYNTHETIC in a corner of every made frame."""
    from .dicom.derived_mark import marked

    records = cine.records
    if records is None:
        raise UsageError("nothing here was made, so there is nothing to mark", remedy="leave mark_synthetic out")
    return cine.with_frames(lambda i: marked(cine.frame(i), cine) if records[i].kind == "made" else cine.frame(i))
