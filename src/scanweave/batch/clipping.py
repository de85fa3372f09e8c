"""One run in, its clips out: windowed, without repeats and cuts, cropped, written without loss and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from .. import io
from ..cine import Cine
from ..interpolation.clips import Clip
from ..interpolation.cutting import Box, box_around, cropped, in_8_bits, published_box, stretches, two_beats, windows
from ..interpolation.manifest import ClipEntry, Layout, StoredFrame, pixel_hash
from ..interpolation.regions import plan_regions
from ..interpolation.timeline import without_duplicates
from ..trust.survey import Survey, survey
from .prepare_options import ClipOptions

RECORD = "run.json"
_FEWEST = 3  # two frames, and a true one between


class RunRecord(BaseModel):
    """The clips of one run, before it is known where they go: `ClipEntry.folder` lies beside the record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int
    clips: tuple[ClipEntry, ...]
    notes: tuple[str, ...]


def write_clips(cine: Cine, folder: Path, options: ClipOptions) -> RunRecord:
    """Write the clips of a run into an existing folder, with `run.json`; a run may be too short for any.

    Raises:
        InputError: A frame cannot be decoded.
        UsageError: A box that makes no sense.
    """
    chosen, note = two_beats(cine) if options.two_beats else (range(len(cine)), None)
    notes = [note] if note else []
    part = cine if len(chosen) == len(cine) else cine.select(chosen)
    kept, found, numbers, said = _without_repeats(part, chosen)
    notes += said
    clips: list[ClipEntry] = []
    if kept is not None and found is not None:
        box, said = _box(kept, found, options)
        notes += said
        view = cropped(kept if options.layout == "scanweave" else in_8_bits(kept), box)
        groups = _groups(kept.times, found, numbers, options)
        for k, group in enumerate(groups, start=1):
            clips.append(_write(view.select(group), [numbers[i] for i in group], folder / f"{k:04d}", box, options))
        if not groups:
            notes.append("No stretch of this run is long enough for a clip.")
    record = RunRecord(frames=len(cine), clips=tuple(clips), notes=tuple(notes))
    (folder / RECORD).write_text(record.model_dump_json(), encoding="utf-8")
    return record


def _without_repeats(part: Cine, chosen: Sequence[int]) -> tuple[Cine | None, Survey | None, list[int], list[str]]:
    """Return the run without repeats, its survey, each frame's number in the file, and notes; None if none is left."""
    if len(part) < _FEWEST:
        return None, None, [], [f"A run of {len(part)} frames has none between two others."]
    found = survey(part)
    notes = list(found.notes())
    repeats = set(found.duplicates)
    numbers = [chosen[i] for i in range(len(part)) if i not in repeats]
    if len(numbers) < _FEWEST:
        return None, None, [], [*notes, "Nothing moves in this run."]
    if not repeats:
        return part, found, numbers, notes
    kept = without_duplicates(part, found)
    return kept, survey(kept), numbers, notes


def _box(kept: Cine, found: Survey, options: ClipOptions) -> tuple[Box, list[str]]:
    rows, columns = kept.shape[:2]
    if options.cropping == "none":
        return Box(0, rows, 0, columns), []
    if options.cropping == "imaged":
        plan = plan_regions(kept, found)
        return box_around(plan.mask), list(plan.warnings)
    region = next(iter(kept.source.regions), None)
    notes = []
    if region is not None and not region.inside:
        notes.append("The first region leaves the image and was not used: the box is centred on the image.")
        region = None
    return published_box(region, columns, width=options.width, height=options.height), notes


def _groups(
    times: NDArray[np.float64], found: Survey, numbers: Sequence[int], options: ClipOptions
) -> list[tuple[int, ...]]:
    """Return the frames of each clip, as positions in the run without repeats."""
    if options.layout == "scanweave":
        return [tuple(part) for part in stretches(times, cuts=found.cuts) if len(part) >= _FEWEST]
    # These layouts count frames: where a repeat was taken out, a number is missing.
    holes = {i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1}
    parts = stretches(times, cuts={*found.cuts, *holes}, even=not options.allow_uneven)
    if options.layout == "super-slomo":
        length = stride = options.clip_frames
    else:
        length, stride = options.inter_frames + 2, options.stride or options.inter_frames + 1
    return [window for part in parts for window in windows(part, length, stride)]


def _write(clip: Cine, numbers: Sequence[int], folder: Path, box: Box, options: ClipOptions) -> ClipEntry:
    """Write one clip, read it back, and describe it by what was read."""
    palette = clip.display.palette
    dtype = clip.dtype if palette is None else palette.dtype
    deep = dtype.kind == "f" or dtype.itemsize > 2
    target = folder / "frames.npy" if deep else folder
    io.write(clip.with_source(path=None, files=()), target)
    files = ["frames.npy"] if deep else _named(folder, numbers, options.layout)
    found = Clip(folder.name, "", tuple(folder / name for name in files), len(clip), (clip.shape[0], clip.shape[1]))
    frames = []
    for i, (number, time) in enumerate(zip(numbers, clip.times.tolist(), strict=True)):
        pixels = found.stored(i)
        constant = bool(pixels.min() == pixels.max())
        frames.append(StoredFrame(index=number, time=time, sha256=pixel_hash(pixels), constant=constant))
    return ClipEntry(
        folder=folder.name,
        split="train",
        patient="",
        run="",
        storage="npy" if deep else "png",
        files=tuple(files),
        shape=pixels.shape,
        dtype=str(pixels.dtype),
        levels=_levels(clip),
        time_unit=clip.time_unit,
        box=box,
        frames=tuple(frames),
    )


def _levels(clip: Cine) -> tuple[float, float]:
    """Return the values that mean 0 and 1 in the files: PNG holds signed integers with half their range added."""
    if clip.display.palette is not None:
        return 0.0, float(np.iinfo(clip.display.palette.dtype).max)
    low, high = clip.levels
    if clip.dtype.kind == "i" and clip.dtype.itemsize <= 2:
        half = float(1 << (8 * clip.dtype.itemsize - 1))
        return low + half, high + half
    return low, high


def _named(folder: Path, numbers: Sequence[int], layout: Layout) -> list[str]:
    """Give the frames of a clip the names that its layout has, and return them."""
    last = len(numbers)
    if layout == "scanweave":
        return [f"{k:06d}.png" for k in range(last)]
    if layout == "super-slomo":
        names = [f"{number:06d}.png" for number in numbers]
    else:
        names = [f"frame_{k}.png" if k in (1, last) else f"frame_{k}_gt.png" for k in range(1, last + 1)]
    # From the last on: a new number is never below the old one, so that no name is taken yet.
    for k in reversed(range(last)):
        (folder / f"{k:06d}.png").rename(folder / names[k])
    return names
