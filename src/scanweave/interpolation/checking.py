"""Is a training set sound? Every frame is decoded; hashes, sizes, times and leakage between splits are checked."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from .clips import Clip, TrainingSet
from .layouts import open_set
from .manifest import ClipEntry, Layout, pixel_hash

_NAMED_AT_MOST = 5


def check_set(
    path: Path,
    *,
    layout: Literal["auto"] | Layout = "auto",
    lists: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Verify a training set and return what it holds, as plain values.

    Args:
        path: Its folder.
        layout: How it lies there; ``auto`` looks.
        lists: Layout ``most-dsa``: the folder of the lists; by default `path`.
        progress: Called with (clips checked, of how many).

    Raises:
        InputError: It is not sound; the message names what is wrong, the first few of many.
    """
    found = open_set(path, layout=layout, lists=lists)
    entries = [] if found.manifest is None else found.manifest.clips
    problems: list[str] = []
    hashes: dict[str, Clip] = {}
    for k, clip in enumerate(found.clips):
        try:
            if entries:
                problems += _changed(clip, entries[k])
            else:
                problems += _shared(clip, hashes)
        except InputError as error:
            problems.append(str(error))
        if progress is not None:
            progress(k + 1, len(found.clips))
    if found.manifest is not None:
        problems += [leak.reason for leak in found.manifest.leaks()]
    if problems:
        more = f"; and {len(problems) - _NAMED_AT_MOST} more" if len(problems) > _NAMED_AT_MOST else ""
        raise InputError(
            "; ".join(problems[:_NAMED_AT_MOST]) + more, path=path, remedy="mend it, or prepare the set again"
        )
    return describe_set(found)


def _changed(clip: Clip, entry: ClipEntry) -> list[str]:
    """Compare a clip with its manifest."""
    problems = []
    for i, frame in enumerate(entry.frames):
        if pixel_hash(clip.stored(i)) != frame.sha256:
            problems.append(f"frame {i} of {clip.name} is not the one that was prepared")
    if any(b.time <= a.time for a, b in pairwise(entry.frames)):
        problems.append(f"times of {clip.name} do not increase")
    return problems


def _shared(clip: Clip, hashes: dict[str, Clip]) -> list[str]:
    """Find frames of a clip that another split holds too; frames of one value tell nothing."""
    problems: list[str] = []
    for i in range(len(clip)):
        frame = clip.stored(i)
        if frame.min() == frame.max():
            continue
        home = hashes.setdefault(pixel_hash(frame), clip)
        if home.split != clip.split and not problems:
            problems.append(f"the same frame is in {home.name} ({home.split}) and in {clip.name} ({clip.split})")
    return problems


def describe_set(found: TrainingSet) -> dict[str, Any]:
    """Return what a set holds, as plain values."""
    return {
        "path": str(found.path),
        "layout": found.layout,
        "clips": {split or "all": count for split, count in found.splits.items()},
        "frames": sum(map(len, found.clips)),
        "sizes": sorted({f"{clip.shape[0]} x {clip.shape[1]}" for clip in found.clips}),
        "patients": len({clip.patient for clip in found.clips}) if found.manifest else None,
    }
