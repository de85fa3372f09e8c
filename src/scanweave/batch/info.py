"""What is in a file: as the header states it, and as its frames or voxels show it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cine import Cine
from ..interpolation.api import Progress
from ..trust.survey import survey
from ..volume import Volume
from .inputs import ReadOptions, Run


def inspect(
    run: Run,
    *,
    reading: ReadOptions | None = None,
    header_only: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return what is known of a run or a volume, JSON-able.

    Args:
        run: One file or folder, or single images in order.
        reading: How it is read.
        header_only: Do not decode frames or voxels; duplicates, cuts and the range of values then stay unknown.
        progress: Called with (what is being done, how many done, of how many).

    Raises:
        ScanweaveError: The run cannot be read.
    """
    cine = (reading or ReadOptions()).read_any(run)
    if isinstance(cine, Volume):
        return {"input": str(run[0]), **describe_volume(cine, header_only=header_only)}
    found: dict[str, Any] = {"input": str(run[0]), **describe(cine)}
    if not header_only:
        report = progress or (lambda what, done, total: None)
        seen = survey(cine, progress=lambda done, total: report("looking at frames", done, total))
        found["duplicates"] = list(seen.duplicates)
        found["cuts"] = list(seen.cuts)
        found["notes"] = list(dict.fromkeys([*found["notes"], *seen.notes()]))
    return found


def describe(cine: Cine) -> dict[str, Any]:
    """Return what is known of a run without decoding it."""
    steps = np.diff(cine.times)
    regions = [
        {"kind": r.kind, "rows": r.rows, "columns": r.columns, "spacing": r.spacing, "inside": r.inside}
        for r in cine.source.regions
    ]
    return {
        "format": cine.source.format,
        "frames": len(cine),
        "rows": cine.shape[0],
        "columns": cine.shape[1],
        "channels": cine.shape[2] if len(cine.shape) == 3 else 1,
        "stored_as": str(cine.dtype),
        "modality": cine.source.modality,
        "duration": cine.duration,
        "time_unit": cine.time_unit,
        "fps": cine.fps,
        "frame_steps": {"least": float(steps.min()), "greatest": float(steps.max())} if len(steps) else None,
        "r_waves": list(cine.source.r_waves),
        "trim": cine.source.trim,
        "regions": regions,
        "facts": cine.source.facts,
        "notes": list(cine.source.notes),
    }


def describe_volume(volume: Volume, *, header_only: bool = False) -> dict[str, Any]:
    """Return what is known of a volume; the range of its voxels only if they may be decoded."""
    slices, rows, columns = volume.grid.shape
    found: dict[str, Any] = {
        "format": volume.source.format,
        "slices": slices,
        "rows": rows,
        "columns": columns,
        "channels": volume.channels or 1,
        "stored_as": str(volume.dtype),
        "scale": volume.scale,
        "offset": volume.offset,
        "modality": volume.source.modality,
        "space_unit": volume.space_unit,
        "spacing": list(volume.spacing),
        "affine": volume.affine.tolist(),
        "time_index": volume.time_index,
    }
    if not header_only:
        found["finite"] = bool(np.all(np.isfinite(volume.voxels)))
        if found["finite"]:
            found["values"] = {"least": float(volume.voxels.min()), "greatest": float(volume.voxels.max())}
    return found | {"facts": volume.source.facts, "notes": list(volume.source.notes)}
