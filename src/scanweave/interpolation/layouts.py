"""Training sets on disk: ours, and both published layouts. Whatever is odd in one is refused by name.

- ``scanweave``: ``manifest.json`` and ``SPLIT/patient_0001/run_0001/clip_0001/000000.png``, or ``frames.npy``.
- ``most-dsa``: ``TrainList.txt`` and ``TestList.txt`` of folders that hold ``frame_1.png``, ``frame_2_gt.png`` ...
  ``frame_{N+2}.png``; `ValidationList.txt` is our addition.
- ``super-slomo``: ``{train,validation,test}/CLIP/*.png`` in natural order; a folder of such clips is one split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from ..errors import InputError, UsageError
from ..io.common import natural
from ..training.patients import SPLITS
from .clips import Clip, TrainingSet
from .manifest import NAME, ClipEntry, Layout, Manifest

LISTS = {"train": "TrainList.txt", "validation": "ValidationList.txt", "test": "TestList.txt"}
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
_FRAME = re.compile(r"frame_(\d+)(_gt)?\.png")


def open_set(
    path: Path,
    *,
    layout: Literal["auto"] | Layout = "auto",
    lists: Path | None = None,
    inter_frames: int | None = None,
) -> TrainingSet:
    """Open a training set: names and headers only, no pixels.

    Args:
        path: Its folder.
        layout: How it lies there; ``auto`` looks.
        lists: Layout ``most-dsa``: the folder of the lists; by default `path`.
        inter_frames: Layout ``most-dsa``: frames between the outer two; by default as its first folder has.

    Raises:
        InputError: It is missing, empty, has gaps, holds several sizes in a clip, or lists what does not exist.
        UsageError: `layout` cannot be told.
    """
    if not path.is_dir():
        raise InputError("is no folder", path=path, remedy="make one with `scanweave prepare interpolation`")
    lists = lists or path
    manifest = Manifest.read(path) if (path / NAME).is_file() else None
    found = _told(path, lists, manifest) if layout == "auto" else layout
    if manifest is not None and manifest.layout == found:
        clips = _manifested(path, manifest)
    elif found == "most-dsa":
        clips = _listed(path, lists, inter_frames)
    elif found == "super-slomo":
        clips = _foldered(path)
    else:
        raise InputError(f"has no {NAME}", path=path, remedy="make one with `scanweave prepare interpolation`")
    if not clips:
        raise InputError("holds no clips", path=path, remedy="give the folder of a training set")
    if found == "most-dsa":
        _check_lengths(path, clips, inter_frames)
    return TrainingSet(path, found, tuple(clips), manifest)


def _told(path: Path, lists: Path, manifest: Manifest | None) -> Layout:
    if manifest is not None:
        return manifest.layout
    if any((lists / name).is_file() for name in LISTS.values()):
        return "most-dsa"
    if any(entry.is_dir() for entry in path.iterdir()):
        return "super-slomo"
    raise UsageError(
        "holds no training set: neither manifest.json, nor TrainList.txt, nor folders of clips",
        path=path,
        remedy="make one with `scanweave prepare interpolation`",
    )


# --- with a manifest --------------------------------------------------------------------------------------------------


def _manifested(path: Path, manifest: Manifest) -> list[Clip]:
    return [_clip_of(path, entry) for entry in manifest.clips]


def _clip_of(path: Path, entry: ClipEntry) -> Clip:
    folder = path / entry.folder
    there = {file.name for file in _entries(folder)}
    missing = [name for name in entry.files if name not in there]
    if missing:
        raise InputError(
            f"{missing[0]} is missing" + (f", and {len(missing) - 1} more" if len(missing) > 1 else ""),
            path=folder,
            remedy="copy the set again, whole, or prepare it again",
        )
    return Clip(
        name=entry.folder,
        split=entry.split,
        files=tuple(folder / name for name in entry.files),
        count=len(entry.frames),
        shape=(entry.shape[0], entry.shape[1]),
        times=tuple(frame.time for frame in entry.frames),
        levels=entry.levels,
        patient=entry.patient,
    )


# --- MoSt-DSA ---------------------------------------------------------------------------------------------------------


def _listed(path: Path, lists: Path, inter_frames: int | None) -> list[Clip]:
    clips: list[Clip] = []
    homes: dict[str, str] = {}
    for split, name in LISTS.items():
        if not (lists / name).is_file():
            continue
        lines = _lines(lists / name)
        for number, line in lines:
            if (home := homes.setdefault(line, name)) != name:
                raise InputError(
                    f"line {number}: {line} is in {home} too",
                    path=lists / name,
                    remedy="a sequence may be in one list only",
                )
            if not (path / line).is_dir():
                raise InputError(f"line {number}: {line} is no folder in {path}", path=lists / name)
            clips.append(_sequence(path / line, name=line, split=split))
    if not homes:
        raise InputError(f"holds no {' or '.join(LISTS.values())}", path=lists, remedy="say where the lists are")
    return clips


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as a list of folders: {error}", path=path) from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise InputError("is an empty list", path=path, remedy="write one folder per line")
    return lines


def _sequence(folder: Path, *, name: str, split: str) -> Clip:
    """Return the clip of ``frame_1.png``, ``frame_2_gt.png`` ... ``frame_n.png``."""
    matches = [found for file in _entries(folder) if (found := _FRAME.fullmatch(file.name))]
    numbers = sorted(int(found[1]) for found in matches)
    last = numbers[-1] if numbers else 0
    if last < 3:
        raise InputError(
            f"holds {len(numbers)} frames", path=folder, remedy="frame_1.png, frame_2_gt.png and frame_3.png at least"
        )
    wanted = [f"frame_{k}.png" if k in (1, last) else f"frame_{k}_gt.png" for k in range(1, last + 1)]
    there = {found[0] for found in matches}
    for file in wanted:
        if file not in there:
            raise InputError(
                f"{file} is missing", path=folder, remedy="only the first and the last frame go without _gt"
            )
    if len(there) != last:
        odd = sorted(there - set(wanted))
        raise InputError(f"{odd[0]} has no place between frame_1.png and frame_{last}.png", path=folder)
    return _pictured([folder / file for file in wanted], name=name, split=split)


def _check_lengths(path: Path, clips: Iterable[Clip], inter_frames: int | None) -> None:
    """Refuse sequences of several lengths: each is one sample, for one number of frames between."""
    usual: Clip | None = None
    for clip in clips:
        usual = usual or clip
        wanted = inter_frames + 2 if inter_frames is not None else len(usual)
        if len(clip) != wanted:
            stated = f"{inter_frames} frames between were asked for" if inter_frames else f"{usual.name} has {wanted}"
            raise InputError(f"has {len(clip)} frames, and {stated}", path=path / clip.name)


# --- Super-SloMo ------------------------------------------------------------------------------------------------------


def _foldered(path: Path) -> list[Clip]:
    homes: list[tuple[str, Path]] = [(split, path / split) for split in SPLITS if (path / split).is_dir()]
    homes = homes or [("", path)]
    return list(chain.from_iterable(_clips_in(home, path, split) for split, home in homes))


def _clips_in(home: Path, root: Path, split: str) -> list[Clip]:
    """Return the clips below `home`; stray files beside them are no clips."""
    folders = sorted((entry for entry in _entries(home) if entry.is_dir()), key=natural)
    if not folders:
        raise InputError("holds no folders of clips", path=home, remedy="give CLIP/000000.png ... in there")
    clips = []
    for folder in folders:
        files = sorted((file for file in _entries(folder) if file.suffix.lower() in _PICTURES), key=natural)
        if not files:
            raise InputError("holds no pictures", path=folder, remedy="remove it, or put its frames there")
        _check_gaps(files)
        clips.append(_pictured(files, name=folder.relative_to(root).as_posix(), split=split))
    return clips


def _check_gaps(files: list[Path]) -> None:
    """Refuse a hole in frames that are numbered: what lies beside it would be taken for neighbours in time."""
    if not all(file.stem.isdecimal() for file in files):
        return
    for before, after in pairwise(files):
        if int(after.stem) != int(before.stem) + 1:
            raise InputError(
                f"frames are missing between {before.name} and {after.name}",
                path=before.parent,
                remedy="prepare the clip again, or divide it there",
            )


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictured(files: list[Path], *, name: str, split: str) -> Clip:
    """Return the clip of `files`, whose headers must tell one size."""
    shapes = [_size(file) for file in files]
    for file, shape in zip(files, shapes, strict=True):
        if shape != shapes[0]:
            raise InputError(
                f"is {shape[0]} x {shape[1]}, {files[0].name} beside it {shapes[0][0]} x {shapes[0][1]}",
                path=file,
                remedy="all frames of a clip must have one size",
            )
    return Clip(name=name, split=split, files=tuple(files), count=len(files), shape=shapes[0])


def _size(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"cannot be read as a picture: {error}", path=file, remedy="the file may be damaged"
        ) from error


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot be listed: {error.strerror or error}", path=folder) from error
