"""``scanweave info INPUT...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.table import Table

from ..batch.info import inspect
from ..batch.inputs import Run, collect_runs
from ..errors import ScanweaveError
from ..interpolation.methods import available, needs_weights
from .common import Meter, Reading, Terminal, given, parse, print_json


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what is in a file: frames, times and how sure they are, regions, duplicates, cuts; or a volume's grid."""

    inputs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files or folders."""

    reading: Reading

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
        _list_methods(as_json=command.json)
        return 0
    runs = collect_runs(given(command.inputs), command.reading.options(), volumes=True)
    look = _look if len(runs) == 1 else _look_or_say
    answers = [look(run, command) for run in runs]
    if command.json:
        print_json(answers if len(answers) > 1 else answers[0])
    else:
        for answer in answers:
            _print(answer)
    return next((int(answer["exit_code"]) for answer in answers if "exit_code" in answer), 0)


def _list_methods(*, as_json: bool) -> None:
    if as_json:
        print_json([{"name": name, "needs_weights": needs_weights(name)} for name in available()])
        return
    for name in available():
        print(f"{name} (needs --weights)" if needs_weights(name) else name)


def _look(run: Run, command: Info) -> dict[str, Any]:
    with Meter(silent=command.json) as meter:
        return inspect(run, reading=command.reading.options(), header_only=command.header_only, progress=meter)


def _look_or_say(run: Run, command: Info) -> dict[str, Any]:
    try:
        return _look(run, command)
    except ScanweaveError as error:
        return {"input": str(run[0]), "error": str(error), "exit_code": error.exit_code}


def _print(answer: dict[str, Any]) -> None:
    if "error" in answer:
        print(f"scanweave: error: {answer['error']}", file=sys.stderr)
        return
    console = Terminal(highlight=False)
    console.print(answer["input"], style="bold", markup=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    found = {name.replace("_", " "): value for name, value in answer.items() if name not in ("input", "facts", "notes")}
    stated = {name: value for name, value in answer["facts"].items() if name.lower() not in found}
    for name, value in {**found, **stated}.items():
        if value not in (None, "", [], {}, ()):
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
