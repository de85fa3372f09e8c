"""What every command shares: parsing from dataclasses, YAML options, progress, JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..batch.inputs import ReadOptions
from ..errors import ScanweaveError, UsageError
from ..plan import plain

Parsed = TypeVar("Parsed")
OutcomeT = TypeVar("OutcomeT", bound="Ended")
MARKERS = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
_QUIET_INTERVAL = 15.0


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Options that every verb has."""

    overwrite: bool = False
    """Replace outputs that exist; an input is never overwritten."""

    resume: bool = False
    """Go on with a run that was interrupted; its made frames lie in OUTPUT.partial/."""

    report: bool = False
    """Write an HTML trust report beside the output: OUTPUT.report.html."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How an input is read."""

    as_: Annotated[Literal["auto", "cine", "volume"], tyro.conf.arg(name="as")] = "auto"
    """Read a folder or file as this, where it could be more than one thing."""

    series: str | None = None
    """Which series of a folder: its number, description or UID."""

    source_fps: float | None = None
    """True frames per second of the input, where the file states none or a wrong one."""

    time_index: int | None = None
    """Which phase of a volume over time, counted from 0."""

    spacing: tuple[float, float, float] | None = None
    """True spacing of a volume between slices, rows and columns in mm, where the file states none or a wrong one."""

    def options(self) -> ReadOptions:
        """Return them for the reader."""
        return ReadOptions(
            as_=self.as_,
            series=self.series,
            source_fps=self.source_fps,
            time_index=self.time_index,
            spacing=self.spacing,
        )


def parse(kind: type[Parsed], args: Sequence[str], *, prog: str, markers: Sequence[Any] = MARKERS) -> Parsed:
    """Parse `args` into the dataclass `kind`; its docstrings are the help, and `markers` tyro's.

    Raises:
        UsageError: They do not parse.
        SystemExit: Help was asked for and printed.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, prog=f"scanweave {prog}", args=list(args), config=tuple(markers))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(_gist(said.getvalue()), remedy=f"see scanweave {prog} --help") from stop


def _gist(panel: str) -> str:
    """Return the first part of a panel of tyro's, which says what is wrong, as one line."""
    lines = [line.strip(" │╭╮╰╯") for line in panel.splitlines()]
    parts = [list(part) for rule, part in groupby(lines[1:], key=_is_rule) if not rule]
    about = parts[0] if parts else lines
    said = " ".join(takewhile(lambda line: line != "Got errors:", about))
    # what pydantic adds for programmers
    said = re.sub(r"\[type=.*?\]|For further information visit \S+", "", said)
    return " ".join(said.split()).rstrip(".") or "wrong options"


def _is_rule(line: str) -> bool:
    return bool(line) and not line.strip("-─")


def arguments(options: dict[str, Any]) -> list[str]:
    """Return options read from a file as command-line arguments."""
    args: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            args.append(flag)
        elif value is not False and value is not None:
            args += [flag, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return args


def split_lists(args: Sequence[str], *options: str) -> list[str]:
    """Return `args` with the comma lists of `options` as separate words: ``--gaps 2,3`` is ``--gaps 2 3``."""
    words: list[str] = []
    for word in args:
        name, equals, value = word.partition("=")
        if equals and name in options:
            words += [name, *value.split(",")]
        elif words and words[-1] in options:
            words += word.split(",")
        else:
            words.append(word)
    return words


def given(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return `paths`, of which there must be one at least.

    Raises:
        UsageError: None given.
    """
    if not paths:
        raise UsageError("no input", remedy="name a file or a folder")
    return tuple(paths)


def print_json(value: Any) -> None:
    """Print `value` as JSON on standard output."""
    print(json.dumps(plain(value), indent=1))


class Ended(Protocol):
    """What became of one input of a command."""

    @property
    def error(self) -> ScanweaveError | None:
        """What went wrong, if something did."""


def ended(
    outcomes: Sequence[OutcomeT],
    *,
    as_json: bool,
    told: Callable[[OutcomeT], Any],
    show: Callable[[OutcomeT], None],
    listed: bool | None = None,
) -> int:
    """Print what became of all inputs, and return the exit code: that of the first error.

    Args:
        outcomes: One for each input.
        as_json: As JSON on standard output, or each by `show`.
        told: Returns one as JSON types.
        show: Prints one for a person.
        listed: Whether JSON is a list; by default if there is more than one.
    """
    if as_json:
        found = [told(outcome) for outcome in outcomes]
        print_json(found if listed or (listed is None and len(found) > 1) else found[0])
    else:
        for outcome in outcomes:
            show(outcome)
    return next((outcome.error.exit_code for outcome in outcomes if outcome.error), 0)


class Terminal(Console):
    """A console whose reader may go away (`scanweave info ... | head`): that is no error."""

    def on_broken_pipe(self) -> None:
        """Stop quietly."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0)


class _Rate(ProgressColumn):
    """Frames per second so far."""

    def render(self, task: Task) -> Text:
        """Show the speed once it is known."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="dim")


class Meter:
    """Shows what is being done, how fast, and how long it will take; on standard error.

    On a terminal a live bar; otherwise (a log, a batch system) one plain line now and then.
    """

    def __init__(self, *, label: str = "", silent: bool = False) -> None:
        self._label = f"{label}: " if label else ""
        self._silent = silent
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._tasks: dict[str, Any] = {}
        self._told = time.monotonic()
        self._begun: dict[str, tuple[float, int]] = {}

    def labelled(self, source: Path, number: int, total: int) -> Meter:
        """Name the input that the next steps belong to."""
        self._label = f"{source.name} ({number + 1} of {total}): "
        self._begun.clear()
        if self._bar is not None:
            for task in self._tasks.values():
                self._bar.remove_task(task)
        self._tasks.clear()
        return self

    def __enter__(self) -> Meter:
        if self._console.is_terminal and not self._silent:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of `what` are done."""
        if self._bar is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(self._label + what, total=total)
            self._bar.update(self._tasks[what], completed=done, total=total)
        elif not self._silent:
            self._line(what, done, total)

    def _line(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun, first = self._begun.setdefault(what, (now, done))
        if now - self._told < _QUIET_INTERVAL or done == first:
            return
        self._told = now
        rate = (done - first) / max(now - begun, 1e-9)
        left = (total - done) / rate
        print(f"{self._label}{what}: {done}/{total}, {rate:.1f}/s, {left:.0f} s left", file=sys.stderr)


Inputs = tyro.conf.Positional[tuple[Path, ...]]
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="OUTPUT")]
