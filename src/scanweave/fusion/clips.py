"""Training sets of two cameras in folders, as published: a folder for each clip, a picture for each frame.

::

    SHARP/<clip>/<frame>.png      the published names are 000/00000000.png
    COARSE/<clip>/<frame>.png     the same names
    META.txt                      lines ``240 100 (720,1280,3)``: clip, frames, (rows, columns, channels), and by
                                  option the frames of the whole coarse recording
    CONTEXT/<clip>/<frame>.png    the whole coarse recording, of which COARSE holds the frames paired with sharp ones
    MAP.csv                       case, paired index, unpaired index

Pictures are grey, or colours all alike; 8 or 16 bits are kept. Names are natural order where there is no META.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..io.common import natural
from ..io.files import atomic_output
from ..io.images import load, look

Plane = NDArray[np.float32]
Partition = Literal["share", "none", "REDS4", "official", "addma", "insect", "insect_addma"]

PARTITIONS: Mapping[str, frozenset[int]] = {
    "REDS4": frozenset({0, 11, 15, 20}),
    "official": frozenset(range(240, 270)),
    "addma": frozenset({436, 536, 636, 736}),
    "insect": frozenset({836}),
    "insect_addma": frozenset({436, 536, 636, 736, 836}),
}
"""Numbers of the clips that are held out, by published names."""

_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg"})
_META = re.compile(r"(\S+)\s+(\d+)\s+\((\d+),\s*(\d+)(?:,\s*(\d+))?\)(?:\s+(\d+))?")
_COLUMNS = ("case", "paired index", "unpaired index")


class MetaEntry(NamedTuple):
    """A clip, as a meta file tells it.

    Attributes:
        name: Its folder.
        frames: Their number.
        shape: Rows and columns of the sharp frames.
        channels: Stored ones.
        recorded: Frames of the whole coarse recording, or None.
    """

    name: str
    frames: int
    shape: tuple[int, int]
    channels: int = 1
    recorded: int | None = None


@dataclass(frozen=True)
class Pictures:
    """The frames of a clip, a file each; decoded when asked for."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the first frame, by its header."""
        rows, columns = look(self.paths[0]).shape[:2]
        return rows, columns

    def unit(self, i: int) -> Plane:
        """Return frame `i` in [0, 1] over its stored depth, ``(row, column)``.

        Raises:
            InputError: Damaged, or in colours.
        """
        return unit_of(load(self.paths[i]), self.paths[i])


@dataclass(frozen=True)
class PairedClip:
    """One clip of both cameras.

    Attributes:
        name: Its folder.
        sharp: Frames of the sharp camera.
        coarse: Frames of the coarse one, of the same moments.
        context: The whole coarse recording, or None.
        mapped: Which frame of that each coarse frame is.
    """

    name: str
    sharp: Pictures
    coarse: Pictures
    context: Pictures | None = None
    mapped: tuple[int, ...] = ()

    @property
    def number(self) -> int | None:
        """What the name is as a number, if it is one."""
        return int(self.name) if self.name.isdecimal() else None

    def __len__(self) -> int:
        return len(self.sharp)


def unit_of(pixels: NDArray[Any], path: Path | None = None) -> Plane:
    """Return stored pixels over their depth, one channel of three that are alike.

    Raises:
        InputError: Colours.
    """
    if pixels.ndim == 3:
        if not (pixels == pixels[..., :1]).all():
            raise InputError("has colours", path=path, remedy="make it grey: `scanweave prepare fusion`")
        pixels = pixels[..., 0]
    top = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    return np.asarray(pixels.astype(np.float32) / np.float32(top), np.float32)


def open_clips(
    sharp: Path,
    coarse: Path,
    *,
    meta: Path | None = None,
    context: Path | None = None,
    context_map: Path | None = None,
) -> list[PairedClip]:
    """Open a training set: names only, no pixels.

    Args:
        sharp: Folder of clips of the sharp camera; or of one clip.
        coarse: That of the coarse one.
        meta: File that lists the clips to take; by default all folders.
        context: Folder of whole coarse recordings.
        context_map: CSV that tells which of their frames are paired; needed with `context`, and of no use without.

    Raises:
        InputError: A folder or file is missing, a clip has other frames in one camera than in the other or than the
            meta file says, or the map does not fit.
    """
    for folder in (sharp, coarse, *([] if context is None else [context])):
        if not folder.is_dir():
            raise InputError("is no folder", path=folder, remedy="give the folder that holds a folder for each clip")
    listed = None if meta is None else {entry.name: entry for entry in read_meta(meta)}
    names = list(listed) if listed is not None else _names(sharp)
    maps = {} if context_map is None else read_context_map(context_map)
    clips = []
    for name in names:
        clip = _paired(sharp / name, coarse / name, name or sharp.name)
        entry = None if listed is None else listed[name]
        if entry is not None and entry.frames != len(clip):
            raise InputError(
                f"holds {len(clip)} frames, {entry.frames} by {meta and meta.name}", path=sharp / name,
                remedy="complete the clip, or correct the list",
            )  # fmt: skip
        clips.append(clip if context is None else _with_context(clip, context / name, maps, entry, context_map))
    return clips


def _names(root: Path) -> list[str]:
    """Return the folders of clips; one empty name where the pictures lie in `root` itself."""
    folders = sorted((one for one in root.iterdir() if one.is_dir() and not one.name.startswith(".")), key=natural)
    found = [one.name for one in folders]
    if not found and not pictures_in(root):
        raise InputError("holds no clips", path=root, remedy="give the folder that holds a folder for each clip")
    return found or [""]


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder in natural order.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError("is no folder", path=folder, remedy="check the name")
    found = [one for one in folder.iterdir() if one.suffix.lower() in _SUFFIXES and not one.name.startswith(".")]
    return sorted(found, key=natural)


def _paired(sharp: Path, coarse: Path, name: str) -> PairedClip:
    frames, partners = pictures_in(sharp), {one.stem: one for one in pictures_in(coarse)}
    if not frames:
        raise InputError("holds no pictures", path=sharp, remedy="remove the folder, or its line in the list")
    lacking = [one.name for one in frames if one.stem not in partners]
    surplus = sorted(set(partners) - {one.stem for one in frames})
    if lacking or surplus:
        place, names = (coarse, lacking) if lacking else (sharp, [partners[one].name for one in surplus])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise InputError(
            f"lacks {', '.join(names[:3])}{more}, which the other camera's folder holds", path=place,
            remedy="both folders hold frames of the same names",
        )  # fmt: skip
    return PairedClip(name, Pictures(tuple(frames)), Pictures(tuple(partners[one.stem] for one in frames)))


def _with_context(
    clip: PairedClip, folder: Path, maps: Mapping[str, Mapping[int, int]], entry: MetaEntry | None, path: Path | None
) -> PairedClip:
    """Return a clip with the whole coarse recording."""
    context = Pictures(tuple(pictures_in(folder)))
    known = maps.get(clip.name, maps.get(clip.name.lstrip("0") or "0", {}))
    lacking = [i for i in range(len(clip)) if i not in known]
    if lacking:
        raise InputError(f"says nothing of frame {lacking[0]} of clip {clip.name}", path=path, remedy="complete it")
    if entry is not None and entry.recorded is not None and entry.recorded != len(context):
        raise InputError(
            f"holds {len(context)} frames, {entry.recorded} by the list", path=folder, remedy="correct the list"
        )
    mapped = tuple(known[i] for i in range(len(clip)))
    outside = [i for i in mapped if not 0 <= i < len(context)]
    if outside:
        raise InputError(f"holds {len(context)} frames, frame {outside[0]} is mapped to", path=folder)
    return PairedClip(clip.name, clip.sharp, clip.coarse, context, mapped)


def read_meta(path: Path) -> list[MetaEntry]:
    """Read a meta file.

    Raises:
        InputError: It cannot be read, lists nothing, a clip twice, or has a line of another form.
    """
    entries = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        found = _META.fullmatch(line.strip())
        if found is None:
            raise InputError(
                f"line {number} is {line.strip()!r}", path=path, remedy="write lines such as 240 100 (720,1280,3)"
            )
        name, frames, rows, columns, channels, recorded = found.groups()
        shape = int(rows), int(columns)
        whole = None if recorded is None else int(recorded)
        entries.append(MetaEntry(name, int(frames), shape, int(channels or 1), whole))
    if len({entry.name for entry in entries}) < len(entries) or not entries:
        raise InputError("lists no clip, or one twice", path=path, remedy="give each clip one line")
    return entries


def write_meta(path: Path, entries: Collection[MetaEntry]) -> None:
    """Write a meta file, whole or not at all."""
    lines = [
        f"{one.name} {one.frames} ({one.shape[0]},{one.shape[1]},{one.channels})"
        + ("" if one.recorded is None else f" {one.recorded}")
        for one in entries
    ]
    with atomic_output(path) as place:
        place.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_context_map(path: Path) -> dict[str, dict[int, int]]:
    """Read which frame of the whole coarse recording each paired frame is, by clip.

    Raises:
        InputError: It cannot be read, or lacks a column.
    """
    rows = list(csv.DictReader(_lines(path), skipinitialspace=True))
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for number, row in enumerate(rows, start=2):
        fields = {str(name).strip().lower(): value for name, value in row.items()}
        try:
            case, paired, unpaired = (str(fields[name]).strip() for name in _COLUMNS)
            found[case][int(float(paired))] = int(float(unpaired))
        except (KeyError, ValueError, OverflowError) as error:
            raise InputError(
                f"line {number} does not tell {', '.join(_COLUMNS)}", path=path, remedy="give a CSV of these columns"
            ) from error
    return dict(found)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", path=path, remedy="check the name") from error


def held_out(names: Collection[str], partition: Partition, *, share: float, seed: int) -> frozenset[str]:
    """Return which clips validate: those of a published name, or a share of them, drawn.

    Args:
        names: Of all clips.
        partition: Whose choice.
        share: For ``share``: how many of them, at least one where there are two.
        seed: Decides which.
    """
    if partition == "none":
        return frozenset()
    if partition == "share":
        order = np.random.default_rng(seed).permutation(sorted(names))
        count = min(max(round(share * len(order)), 1), len(order) - 1) if share > 0 else 0
        return frozenset(str(name) for name in order[:count])
    numbers = PARTITIONS[partition]
    return frozenset(name for name in names if name.isdecimal() and int(name) in numbers)
