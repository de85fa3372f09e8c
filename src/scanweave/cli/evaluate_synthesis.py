"""``scanweave evaluate synthesis INPUT... -o FOLDER``: predictions against targets, or methods on acquired volumes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.table import Table

from ..batch.synthesis_evaluation import (
    COMPARED,
    PAGE,
    SynthesisEvaluationOptions,
    SynthesisEvaluationOutcome,
    evaluate_synthesis,
)
from ..batch.synthesis_evaluation_cases import Measuring
from ..batch.synthesis_evaluation_page import words
from ..errors import UsageError
from ..synthesis.published_config import parse_overrides, read_published
from .common import Inputs, Meter, Output, Reading, Terminal, parse, print_json, split_lists

_WIDTH = 160
_LISTS = ("--task", "--from", "--method", "--weights")


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Score synthesized MR volumes against what was acquired, beside baselines.

    With --targets, INPUTs are folders of predictions, named as their targets are. Otherwise they are acquired volumes,
    as `scanweave synthesize` takes them: slices or a contrast of them are held out and made again. Writes
    OUTPUT/scores.csv (a row per subject, task and method), summary.json, report.html and plan.json. Research use only.
    """

    output: Output
    """Folder to write."""

    inputs: Inputs = ()
    """Folders of predictions, or acquired volumes."""

    targets: Path | None = None
    """Folder of what was acquired, for predictions."""

    task: tuple[str, ...] = ()
    """What to make, by the names of the published tasks: translation_T1_T2, sr_T1_4x, cmsr_T2_PD_4x; or ixi/...,
    brats19/..., adni/..."""

    published: Path | None = None
    """In place of --task and --weights: an evaluation file of Uni-COAL's, which names both."""

    set: tuple[str, ...] = ()
    """With --published: options over those of the file, as KEY VALUE: --set epoch best."""

    from_: Annotated[tuple[str, ...], tyro.conf.arg(name="from")] = ()
    """In place of --task: contrasts that methods are given."""

    to: str | None = None
    """In place of --task: the contrast to make. For predictions: that of the targets, where they show several."""

    every: float = 1.0
    """With --to: give methods every so many slices of the sources, 4 for every fourth."""

    profile: Literal["decimate", "gaussian", "box"] = "decimate"
    """How thick slices are made: by leaving slices out, as published, or by averaging as scanners do."""

    gap: float = 0.0
    """Share of the distance of averaged slices that lies in none."""

    method: tuple[str, ...] = ()
    """Methods to score beside the baselines."""

    weights: tuple[Path, ...] = ()
    """Weights of the methods that run on some, in their order."""

    examples: tuple[Path, ...] = ()
    """Folders of other people, for baselines that learn from some; who is scored is left out of them."""

    masks: Path | None = None
    """Folder of masks of the brain, named as subjects, or the mask of a single one."""

    protocol: Literal["masked", "published"] = "masked"
    """masked is ours; published scores as Uni-COAL's program does, flaws included."""

    units: Literal["auto", "target", "made"] = "auto"
    """Of predictions: those of the targets; or made, from 0 to 255, as synthesize writes contrasts that are not there;
    auto goes by the side-cars."""

    resamples: int = 2000
    """How often subjects are drawn again for the intervals of differences."""

    seed: int = 0
    """Seed of these draws."""

    reading: Reading = field(default_factory=Reading)

    overwrite: bool = False
    """Replace a folder that exists; an input is never overwritten."""

    json: bool = False
    """Print the summary as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(Synthesis, split_lists(args, *_LISTS), prog="evaluate synthesis")
    with Meter(silent=command.json) as meter:
        outcome = evaluate_synthesis(
            command.inputs,
            command.output,
            _options(command),
            reading=command.reading.options(),
            overwrite=command.overwrite,
            progress=meter,
        )
    for failure in outcome.failures:
        print(f"scanweave: error: {failure.message}", file=sys.stderr)
    if command.json:
        print_json(outcome.summary | {"output": outcome.output, "failures": outcome.failures})
    else:
        _print(outcome)
    return next((failure.exit_code for failure in outcome.failures), 0)


def _options(command: Synthesis) -> SynthesisEvaluationOptions:
    if command.published is not None:
        if command.task or command.to is not None:
            raise UsageError("--published names the task", remedy="leave out --task, --from and --to")
        told = read_published(command.published, parse_overrides(command.set))
        task, notes = told.evaluation()
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        weights = command.weights or (told.generator,)
        command = replace(command, task=(task.name,), weights=weights, published=None)
    elif command.set:
        raise UsageError("--set changes options of a file that --published names", remedy="name it")
    return SynthesisEvaluationOptions(
        targets=command.targets,
        tasks=command.task,
        sources=command.from_,
        target=command.to,
        spacing=command.every,
        profile=command.profile,
        gap=command.gap,
        methods=command.method,
        weights=command.weights,
        examples=command.examples,
        masks=command.masks,
        measuring=Measuring(protocol=command.protocol, units=command.units),
        resamples=command.resamples,
        seed=command.seed,
    )


def _print(outcome: SynthesisEvaluationOutcome) -> None:
    for note in outcome.summary.get("notes", ()):
        print(f"note: {note}", file=sys.stderr)
    if outcome.summary:
        _print_means(outcome.summary)
    if outcome.output is not None:
        print(f"  {outcome.output / PAGE}")


def _print_means(summary: dict[str, Any]) -> None:
    measures = [name for name in COMPARED if name in summary["measures"]]
    table = Table(title="mean over subjects", title_justify="left", box=None)
    for name in ("task", "method", "n", *(words(measure)[0] for measure in measures)):
        table.add_column(name, justify="left" if name in ("task", "method") else "right", no_wrap=True)
    for entry in summary["table"]:
        cells = [_cell(entry[measure], words(measure)[2]) for measure in measures]
        table.add_row(entry["task"], entry["method"], str(entry["subjects"]), *cells)
    Terminal(highlight=False, width=_WIDTH).print(table)  # rather wrapped by the terminal than figures cut off


def _cell(told: dict[str, float] | None, digits: int) -> str:
    return "-" if told is None else f"{told['mean']:.{digits}f}"
