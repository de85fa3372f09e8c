"""``scanweave info INPUT...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from ..batch.inputs import Run, collect_runs
from ..cine import Cine
from ..errors import ScanweaveError
from ..interpolation.methods import available
from ..trust.survey import survey
from .common import Meter, Reading, given, parse, print_json


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what is in a file: format, frames, times and how sure they are, regions, duplicates, cuts, oddities."""

    inputs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files or folders."""

    reading: Reading = Reading()

    header_only: bool = False
    """Do not decode frames: no duplicates, cuts or static parts."""

    methods: bool = False
    """List the interpolation methods that are installed, and nothing else."""

    json: bool = False
    """Print JSON."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(Info, args, prog="info")
    if command.methods:
        print_json(available()) if command.json else print("\n".join(available()))
        return 0
    runs = collect_runs(given(command.inputs), command.reading.options())
    if len(runs) == 1:
        answers = [_look(runs[0], command)]
    else:
        answers = [_look_or_say(run, command) for run in runs]
    if command.json:
        print_json(answers if len(answers) > 1 else answers[0])
    else:
        for answer in answers:
            _print(answer)
    return next((int(answer["exit_code"]) for answer in answers if "exit_code" in answer), 0)


def _look_or_say(run: Run, command: Info) -> dict[str, Any]:
    try:
        return _look(run, command)
    except ScanweaveError as error:
        return {"input": str(run[0]), "error": str(error), "exit_code": error.exit_code}


def _look(run: Run, command: Info) -> dict[str, Any]:
    cine = command.reading.options().read(run)
    found: dict[str, Any] = {"input": str(run[0]), **describe(cine)}
    if not command.header_only:
        with Meter(silent=command.json) as meter:
            run_survey = survey(cine, progress=lambda done, total: meter("looking at frames", done, total))
        found["duplicates"] = list(run_survey.duplicates)
        found["cuts"] = list(run_survey.cuts)
        found["notes"] = list(dict.fromkeys([*found["notes"], *run_survey.notes()]))
    return found


def describe(cine: Cine) -> dict[str, Any]:
    """Return what is known of a run without decoding it."""
    steps = np.diff(cine.times)
    unit = "s" if cine.time_unit == "s" else "frames"
    return {
        "format": cine.source.format,
        "frames": len(cine),
        "rows": cine.shape[0],
        "columns": cine.shape[1],
        "channels": cine.shape[2] if len(cine.shape) == 3 else 1,
        "stored as": str(cine.dtype),
        "modality": cine.source.modality,
        "duration": cine.duration,
        "time unit": unit,
        "fps": cine.fps,
        "frame steps": None if not len(steps) else {"least": float(steps.min()), "greatest": float(steps.max())},
        "R waves": list(cine.source.r_waves),
        "trim": cine.source.trim,
        "regions": [
            {"kind": r.kind, "rows": r.rows, "columns": r.columns, "spacing": r.spacing, "inside": r.inside}
            for r in cine.source.regions
        ],
        "facts": cine.source.facts,
        "notes": list(cine.source.notes),
    }


def _print(answer: dict[str, Any]) -> None:
    if "error" in answer:
        print(f"scanweave: error: {answer['error']}", file=sys.stderr)
        return
    console = Console(highlight=False)
    table = Table(show_header=False, box=None, pad_edge=False, title=answer["input"], title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in {**answer, **answer["facts"]}.items():
        if name not in ("input", "facts", "notes") and value not in (None, "", [], {}, ()):
            table.add_row(name, _text(value))
    console.print(table, markup=False)
    for note in answer["notes"]:
        console.print(f"note: {note}", markup=False)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list | tuple):
        separator = "\n" if value and isinstance(value[0], dict) else ", "
        return separator.join(_text(item) for item in value)
    return str(value)
