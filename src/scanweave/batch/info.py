"""What is in a file: as the header states it, and as its frames show it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cine import Cine
from ..interpolation.api import Progress
from ..trust.survey import survey
from .inputs import ReadOptions, Run


def inspect(
    run: Run,
    *,
    reading: ReadOptions | None = None,
    header_only: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return what is known of a run, JSON-able.

    Args:
        run: One file or folder, or single images in order.
        reading: How it is read.
        header_only: Do not decode frames; duplicates and cuts then stay unknown.
        progress: Called with (what is being done, how many done, of how many).

    Raises:
        ScanweaveError: The run cannot be read.
    """
    cine = (reading or ReadOptions()).read(run)
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
