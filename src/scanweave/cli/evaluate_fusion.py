"""``scanweave evaluate fusion RUN... -o FOLDER``: methods on runs that stand for both cameras."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table

from ..batch.fusion_cases import CameraFiles
from ..batch.fusion_evaluation import (
    PAGE,
    FusionEvaluationOptions,
    FusionEvaluationOutcome,
    evaluate_fusion,
)
from ..batch.fusion_evaluation_page import published_of, table_of
from ..fusion.virtual import VirtualOptions
from .common import Inputs, Meter, Output, Terminal, parse, print_json, split_lists

_WIDTH = 180
_LISTS = ("--ratio", "--method", "--weights")


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """What the two virtual cameras are, beside their ratio; of a folder with HR and LR the fast one is as recorded."""

    scale: float = 4.0
    """Sharp pixels in the side of a coarse one."""

    blur: float = 0.0
    """Blur of the fast camera, standard deviation in coarse pixels, before its pixels average."""

    noise: float = 0.0
    """Normal noise of coarse frames, standard deviation over the window."""

    photons: float | None = None
    """Photons in a coarse pixel at the window's upper end, for Poisson noise."""

    offset: tuple[float, float] = (0.0, 0.0)
    """Shift of the coarse view in sharp pixels, along columns and rows."""

    angle: float = 0.0
    """Rotation of the coarse view, radians."""

    first: int = 0
    """Frame of the run that the first sharp exposure begins with, counted from 0."""

    exposure: int = 1
    """Frames of the run that a sharp frame averages over; none of them is scored."""

    noise_seed: int = 0
    """Of the noise."""

    def options(self) -> VirtualOptions:
        """Return them for the simulator."""
        told = dict(vars(self))
        return VirtualOptions(seed=told.pop("noise_seed"), **told)


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Options of methods that run on weights."""

    device: str | None = None
    """auto, cpu, cuda, cuda:1, mps."""

    precision: Literal["float32", "bfloat16"] | None = None
    """Arithmetic of the wide layers."""

    tile: int | None = None
    """Side of tiles in sharp pixels, for frames that do not fit into memory; 0 takes frames whole."""

    def told(self) -> tuple[tuple[str, object], ...]:
        """Return them by name."""
        return tuple(vars(self).items())


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Score methods that fuse two cameras, on runs that stand for both; frames that were hidden are known.

    Writes OUTPUT/scores.csv (a row per frame and method), summary.json and summary.md. Research use only.
    """

    output: Output
    """Folder to write."""

    inputs: Inputs = ()
    """Runs, or folders of HR and LR as published."""

    protocol: Literal["unseen", "xfusion"] = "unseen"
    """unseen is ours: no method is given what it makes. xfusion chooses and scores frames as published, on 8 bits,
    and tells the published means beside those of frames that were not given."""

    ratio: tuple[float, ...] = (10.0,)
    """Frames of the run per sharp frame, one or more; need not be whole. Protocol xfusion: twice its hi-frame-sep."""

    method: tuple[str, ...] = ()
    """Methods to score; beside hold, bicubic, temporal-linear and flow where none of these is named. By default, with
    --weights edvr-stf."""

    weights: tuple[Path, ...] = ()
    """Weights of the methods that run on some, in their order."""

    fps: float | None = None
    """Frames per second of the runs, in place of what files state."""

    window: tuple[float, float] | None = None
    """Values of the runs that mean 0 and 1; by default those of the depth that is used."""

    cameras: Cameras = Cameras()
    networks: Networks = Networks()

    most: int | None = None
    """Score so many frames of each run and ratio at most, evenly spread."""

    fast_step: int = 1
    """Protocol xfusion: frames between coarse ones, its lo-frame-sep."""

    last: int | None = None
    """Protocol xfusion: third number of its gt_size; by default the last frame of the run."""

    resamples: int = 2000
    """How often frames are drawn again for intervals."""

    seed: int = 0
    """Of these draws."""

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
    command = parse(Fusion, joined(split_lists(args, *_LISTS), *_LISTS), prog="evaluate fusion")
    options = FusionEvaluationOptions(
        protocol=command.protocol,
        ratios=command.ratio,
        cameras=command.cameras.options(),
        methods=command.method,
        weights=command.weights,
        network=command.networks.told(),
        most=command.most,
        fast_step=command.fast_step,
        last=command.last,
        resamples=command.resamples,
        seed=command.seed,
    )
    runs = [CameraFiles(path=path, fps=command.fps, window=command.window) for path in command.inputs]
    with Meter(silent=command.json) as meter:
        outcome = evaluate_fusion(
            runs,
            command.output,
            options,
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


def joined(args: Sequence[str], *options: str) -> list[str]:
    """Return `args` with `options` that occur again as one: ``--ratio 10 --ratio 20`` is ``--ratio 10 20``."""
    words: list[str] = []
    lists: dict[str, list[str]] = {}
    into = words
    for word in args:
        if word in options:
            into = lists.setdefault(word, [])
            continue
        if word.startswith("-"):
            into = words
        into.append(word)
    return [*words, *(word for name, values in lists.items() for word in (name, *values))]


def _print(outcome: FusionEvaluationOutcome) -> None:
    for note in (*outcome.notes, *outcome.summary.get("notes", ())):
        print(f"note: {note}", file=sys.stderr)
    if outcome.summary:
        _print_table("frames that were not given", *table_of(outcome.summary))
        if outcome.summary["published"]:
            _print_table("means as published, with ours in brackets", *published_of(outcome.summary))
    if outcome.output is not None:
        print(f"  {outcome.output / PAGE}")


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", box=None)
    for name in columns:
        table.add_column(name, justify="right" if name in ("Ratio", "Frames", "Masked") else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Terminal(highlight=False, width=_WIDTH).print(table)  # rather wrapped by the terminal than figures cut off
