"""``scanweave evaluate JOB``; of interpolation ``SET_OR_RUNS... -o FOLDER --method M --weights FILE --protocol P``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from ..batch.evaluation import PAGE, EvaluationOutcome, evaluate
from ..batch.evaluation_options import EvaluationOptions
from ..errors import UsageError
from . import evaluate_fusion, evaluate_synthesis
from .common import Inputs, Meter, Output, Reading, Terminal, parse, print_json, split_lists

JOBS = {
    "interpolation": "score methods that make frames between acquired ones, on runs or prepared sets",
    "synthesis": "score synthesized MR volumes, or methods that make them, against what was acquired",
    "fusion": "score methods that fuse two cameras, on runs that stand for both",
}
_LISTS = ("--method", "--gaps", "--crop", "--mean")


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Score interpolators on acquired frames that are hidden and made again, beside every baseline.

    Writes OUTPUT/scores.csv (a row per hidden frame and method), summary.json, report.html and plan.json. Under
    torchrun every process takes its share, and the last to finish writes. Research use only.
    """

    output: Output
    """Folder to write."""

    inputs: Inputs = ()
    """Runs, folders of runs, or prepared sets; for a published protocol the folder of one set."""

    options: EvaluationOptions = field(default_factory=EvaluationOptions)
    reading: Reading = field(default_factory=Reading)

    overwrite: bool = False
    """Replace a folder that exists; an input is never overwritten."""

    resume: bool = False
    """Go on with an evaluation that was interrupted; its scores lie in OUTPUT.partial/."""

    json: bool = False
    """Print the summary as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    if args and args[0] in ("-h", "--help"):
        print("usage: scanweave evaluate JOB ...\n")
        print("\n".join(f"  {name}  {text}" for name, text in JOBS.items()))
        return 0
    if not args or args[0] not in JOBS:
        came = f"nothing to evaluate is called {args[0]!r}" if args else "nothing to evaluate is named"
        raise UsageError(came, remedy=f"choose one of {', '.join(JOBS)}")
    if args[0] == "synthesis":
        return evaluate_synthesis.main(args[1:])
    if args[0] == "fusion":
        return evaluate_fusion.main(args[1:])
    words = split_lists(args[1:], *_LISTS)
    command = parse(Interpolation, words, prog="evaluate interpolation")
    with Meter(silent=command.json) as meter:
        outcome = evaluate(
            command.inputs,
            command.output,
            command.options,
            reading=command.reading.options(),
            overwrite=command.overwrite,
            resume=command.resume,
            progress=meter,
        )
    for failure in outcome.failures:
        print(f"scanweave: error: {failure.message}", file=sys.stderr)
    if command.json:
        print_json(outcome.summary | {"output": outcome.output, "failures": outcome.failures})
    else:
        _print(outcome)
    return next((failure.exit_code for failure in outcome.failures), 0)


def _print(outcome: EvaluationOutcome) -> None:
    for note in (*outcome.notes, *outcome.summary.get("notes", ())):
        print(f"note: {note}", file=sys.stderr)
    if outcome.summary:
        _print_differences(outcome.summary)
    if outcome.output is not None:
        print(f"  {outcome.output / PAGE}")


def _print_differences(summary: dict[str, Any]) -> None:
    """Print means as published where there are some, and the difference to the best baseline by the first measure."""
    for method, told in summary["reported"].items():
        values = [f"{name} {_short(value)}" for name, value in told.items() if name not in ("indices", "batches")]
        print(f"{method}: {', '.join(values)}")
    measures = list(dict.fromkeys(one["measure"] for one in summary["differences"]))
    table = Table(
        title=f"{(measures or ['nothing'])[0]} less that of the best baseline", title_justify="left", box=None
    )
    for name in ("gap", "method", "baseline", "difference", "95 % interval", "outcome"):
        table.add_column(name, justify="right" if name in ("gap", "difference") else "left", no_wrap=True)
    for one in summary["differences"]:
        if one["measure"] == measures[0]:
            interval = "-" if one["interval"] is None else " to ".join(f"{end:+.3f}" for end in one["interval"])
            words = (str(one["gap"]), one["method"], one["baseline"], f"{one['difference']:+.3f}", interval)
            table.add_row(*words, one["outcome"])
    Terminal(highlight=False).print(table)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
