"""``scanweave trust fusion MADE --fast FAST --sharp SHARP --calibration FILE -o REPORT.html``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..batch.fusion_cases import Case
from ..batch.fusion_judged import TrustOptions, judge_fusion
from ..batch.inputs import strip_dataset
from ..errors import UsageError
from ..fusion.profiles import Line
from .common import Meter, parse, print_json
from .fuse import Cameras, Simulated


@dataclass(frozen=True, kw_only=True)
class TrustFusion:
    """Judge fused frames by the runs of both cameras that they were made of, whoever made them. Research use only.

    Averaged over the coarse camera's pixels, frames must give what it recorded, but for noise; what it saw otherwise is
    shown where it is. Sharp frames are hidden and made again where the side-car names a method that is at hand.
    """

    made: tyro.conf.Positional[Path]
    """The fused run; its side-car, where there is one, tells method, mode, and the cameras of --virtual."""

    fast: Path | None = None
    """Run of the coarse but fast camera."""

    sharp: Path | None = None
    """Run of the sharp but slow camera."""

    calibration: Path | None = None
    """How the two cameras go together: a file that scanweave calibrate wrote."""

    virtual: Path | None = None
    """In place of these three: the run that stood for both cameras, which are simulated as the
    side-car says, or the options below."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="REPORT.html")] = None
    """HTML report to write; without it the verdict is only printed."""

    match: Literal["linear", "none"] | None = None
    """Whether intensities of the cameras are matched, as for `scanweave fuse`."""

    profile: Annotated[tuple[float, float, float, float] | None, tyro.conf.arg(metavar="X0 Y0 X1 Y1")] = None
    """Line of the profile, in sharp pixels; by default across the strongest edge that moves."""

    camera_blur: float | None = None
    """Blur of the fast camera, standard deviation in its pixels; by default as frames taken at once tell."""

    cameras: Cameras = Cameras()
    simulated: Simulated = Simulated()

    overwrite: bool = False
    """Replace a report that exists; an input is never overwritten."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(TrustFusion, args, prog="trust fusion")
    options = TrustOptions(
        report=command.output,
        line=None if command.profile is None else Line(*command.profile),
        blur=command.camera_blur,
    )
    with Meter(silent=command.json) as meter:
        outcome = judge_fusion(
            command.made,
            _case(command),
            options,
            cameras=None if command.virtual is None else command.simulated.options(),
            match=command.match,
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


def _case(command: TrustFusion) -> Case:
    pair = command.fast is not None and command.sharp is not None
    if pair == (command.virtual is not None) or (not pair and (command.fast or command.sharp)):
        raise UsageError(
            "fused frames are judged by --fast and --sharp, or by --virtual", remedy="give just one of the two"
        )
    if command.virtual is not None:
        run = command.virtual
        return Case(name=strip_dataset(run).stem, fast=command.cameras.of("sharp", run))
    assert command.fast is not None
    assert command.sharp is not None
    return Case(
        name=strip_dataset(command.made).stem,
        fast=command.cameras.of("fast", command.fast),
        sharp=command.cameras.of("sharp", command.sharp),
        calibration=command.calibration,
    )
