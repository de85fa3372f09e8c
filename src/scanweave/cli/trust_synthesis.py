"""``scanweave trust synthesis MADE.nii.gz --measured T1.nii.gz [T2.nii.gz ...] -o REPORT.html``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..batch.inputs import ReadOptions
from ..batch.synthesis_judged import JudgeOptions, judge_file
from ..batch.synthesis_subjects import subjects_of
from ..errors import UsageError
from .common import Meter, parse, print_json


@dataclass(frozen=True, kw_only=True)
class TrustSynthesis:
    """Judge a made MR volume by the volumes that it was made of, whoever made it. Research use only.

    Thinner slices are put back through the slice profile and compared with the measured ones; edges that no input has
    are flagged; with more at hand, the acquired contrast and a lesion judge too.
    """

    made: tyro.conf.Positional[Path]
    """The made volume; what its side-car says, where there is one, needs not be said again."""

    measured: tuple[Path, ...]
    """What it was made of."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="REPORT.html")] = None
    """HTML report to write; without it the verdict is only printed."""

    to: str | None = None
    """Which contrast it shows, where that is in doubt."""

    contrast: tuple[str, ...] = ()
    """What the measured volumes show, in their order, where neither names nor headers tell."""

    thickness: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """Of a measured slice, without the gap to the next, where headers do not say it."""

    profile: Literal["gaussian", "box"] = "gaussian"
    """The slice profile."""

    mask: Path | None = None
    """Where measures are taken, on the grid of the measured volumes."""

    truth: Path | None = None
    """The contrast as it was acquired, on the grid of the made volume."""

    lesion: Path | None = None
    """Outline of a lesion, on the grid of the measured volumes."""

    overwrite: bool = False
    """Replace a report that exists; an input is never overwritten."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(TrustSynthesis, args, prog="trust synthesis")
    reading = ReadOptions(as_="volume")
    people = subjects_of(command.measured, command.contrast, reading)
    if len(people) != 1:
        raise UsageError(f"the measured volumes are of {len(people)} people", remedy="name those of one person")
    options = JudgeOptions(
        to=command.to,
        thickness=command.thickness,
        profile=command.profile,
        mask=command.mask,
        truth=command.truth,
        lesion=command.lesion,
    )
    with Meter(silent=command.json) as meter:
        outcome = judge_file(
            command.made,
            people[0],
            command.output,
            options,
            reading=reading,
            overwrite=command.overwrite,
            progress=meter,
        )
    if command.json:
        print_json({"input": outcome.source, "report": outcome.report, **outcome.summary})
        return 0
    for line in outcome.summary["verdict"]:
        print(line)
    if outcome.report is not None:
        print(f"  {outcome.report}")
    return 0
