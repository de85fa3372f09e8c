"""``scanweave trust INPUT --methods linear,optical-flow``; ``trust synthesis MADE ...``; ``trust fusion MADE ...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.table import Table

from ..batch.inputs import collect_runs
from ..batch.trust import ScoreOptions, TrustOutcome, trust_file, trust_many
from ..errors import UsageError
from ..interpolation.config import NetworkOptions
from ..interpolation.methods import DEFAULT_METHOD
from . import trust_fusion, trust_synthesis
from .common import CommonOptions, Inputs, Meter, Reading, Terminal, ended, given, parse, split_lists


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Hide acquired frames, make them again, and report how wrong they are: on your own run, against all baselines.

    For a gap of G, every G-th frame is kept and those between are made again; gap 2 hides every other frame. Made MR
    volumes: `scanweave trust synthesis`. Fused frames: `scanweave trust fusion`. Research use only.
    """

    inputs: Inputs
    """Files or folders, as for `scanweave interpolate`."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="REPORT.html")] = None
    """HTML report to write (for many inputs: a folder); without it the table is only printed."""

    methods: tuple[str, ...] = ()
    """Methods to score, for example linear,optical-flow; by default all that run without weights."""

    method: str = DEFAULT_METHOD
    """The method that the verdict is about."""

    gaps: tuple[int, ...] = (2, 3, 4, 8)
    """Gaps to score at: 2 hides every other frame, 3 two of three, and so on."""

    max_hidden: int | None = None
    """Score at most so many hidden frames per gap, spread evenly."""

    regions: Literal["auto", "tags", "data", "off"] = "auto"
    """What is interpolated, as for `scanweave interpolate`."""

    interpolate_flow: bool = False
    """Interpolate colour flow, spectral and M-mode too."""

    duplicates: Literal["report", "drop"] = "report"
    """Exact repeats of the frame before: spans that touch one are not scored, or they are taken off first."""

    network: NetworkOptions = NetworkOptions()
    reading: Reading = Reading()

    common: CommonOptions = CommonOptions()

    seed: int = 0
    """Seed of anything random; nothing here is."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    if args and args[0] == "synthesis":
        return trust_synthesis.main(args[1:])
    if args and args[0] == "fusion":
        return trust_fusion.main(args[1:])
    command = parse(Trust, split_lists(args, "--gaps", "--methods"), prog="trust")
    if any(gap < 2 for gap in command.gaps):
        raise UsageError(f"gaps {command.gaps} hold one below 2", remedy="a gap of 2 hides every other frame")
    reading = command.reading.options()
    runs = collect_runs(given(command.inputs), reading)
    output = command.output
    if output is None and command.common.report:
        output = Path(f"{runs[0][0].stem}.trust.html") if len(runs) == 1 else Path("trust")
    if len(runs) > 1 and output is not None and output.suffix:
        raise UsageError(f"{len(runs)} reports cannot go into one file", path=output, remedy="give a folder")
    scoring = ScoreOptions(
        methods=command.methods,
        chosen=command.method,
        network=command.network,
        gaps=command.gaps,
        max_hidden=command.max_hidden,
        regions=command.regions,
        interpolate_flow=command.interpolate_flow,
        duplicates=command.duplicates,
    )
    with Meter(silent=command.common.json) as meter:
        how: dict[str, Any] = {
            "scoring": scoring,
            "reading": reading,
            "overwrite": command.common.overwrite,
            "resume": command.common.resume,
            "progress": meter,
        }
        outcomes = [trust_file(runs[0], output, **how)] if len(runs) == 1 else trust_many(runs, output, **how)
    return ended(outcomes, as_json=command.common.json, told=_as_json, show=_print)


def _as_json(outcome: TrustOutcome) -> dict[str, object]:
    error = outcome.error
    return {
        "input": outcome.source,
        "report": None if outcome.report is None else str(outcome.report),
        **outcome.summary,
        "error": None if error is None else {"message": str(error), "exit_code": error.exit_code},
    }


def _print(outcome: TrustOutcome) -> None:
    if outcome.error is not None:
        print(f"scanweave: error: {outcome.error}", file=sys.stderr)
        return
    for note in (*outcome.notes, *outcome.summary.get("notes", ())):
        print(f"note: {note}", file=sys.stderr)
    if outcome.summary:
        for line in outcome.summary["verdict"]:
            print(line)
        _print_table(outcome)
    if outcome.report is not None:
        print(f"  {outcome.report}")


def _print_table(outcome: TrustOutcome) -> None:
    """Print median PSNR and quartiles where the run moves: a row per method, a column per gap."""
    rows = outcome.summary["summaries"]
    gaps = sorted({row["gap"] for row in rows})
    table = Table(title="PSNR where the run moves, dB: median [quartiles]", title_justify="left", box=None)
    table.add_column("method")
    for gap in gaps:
        table.add_column(f"gap {gap}", justify="right")
    for method in dict.fromkeys(row["method"] for row in rows):
        told = {row["gap"]: row["psnr_region"] for row in rows if row["method"] == method}
        table.add_row(method, *(_spread(told.get(gap)) for gap in gaps))
    Terminal(highlight=False).print(table)
    for gap, reason in outcome.summary["skipped"].items():
        print(f"gap {gap}: {reason}")


def _spread(quartiles: Sequence[float | None] | None) -> str:
    if quartiles is None or any(value is None for value in quartiles):
        return "-"
    lower, median, upper = quartiles
    return f"{median:.2f} [{lower:.2f}, {upper:.2f}]"
