"""``scanweave synthesize T1.nii.gz [T2.nii.gz ...] --to T2 --spacing 1.0 -o OUT``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..batch.inputs import ReadOptions
from ..batch.synthesis import SynthesisOptions, SynthesisOutcome, summary, synthesize_files
from ..batch.synthesis_subjects import subjects_of
from ..batch.synthesis_trust import TrustOptions
from .common import Inputs, Meter, Output, ended, given, parse


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the methods; a method that has one not refuses it."""

    weights: str | None = None
    """Uni-coal: file of weights, or the name of one in your folder of weights."""

    samples: int | None = None
    """Uni-coal: latents, each of which makes a volume; from 2 on OUT_uncertainty.nii.gz says how much they differ."""

    source: str | None = None
    """Uni-coal and histogram-matched: which of the contrasts given is used, where one is."""

    both_ways: bool = False
    """Uni-coal: average with the pass over slices in the opposite order. Twice the time."""

    orthogonal: bool = False
    """Uni-coal: average with passes over the two other planes."""

    edge: Literal["replicate", "black"] | None = None
    """Uni-coal: what lies beyond the first and last slice; black as published."""

    pixel: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """Uni-coal: side of the pixels that the network sees; slices of others are resampled for it and back. By default
    what its weights were trained at, where they say it; 0 leaves pixels as they are."""

    examples: tuple[Path, ...] = ()
    """Histogram-matched and regression: other people: volumes of the contrast to make, or folders of subjects."""

    steps: int | None = None
    """Of fitting: regression and self-supervised."""

    profile: Literal["gaussian", "box"] | None = None
    """Self-supervised: the slice profile."""

    seed: int | None = None
    """Of what is random in the method."""

    device: str | None = None
    """Networks: auto, cpu, cuda, cuda:1, mps."""

    def told(self) -> tuple[tuple[str, Any], ...]:
        """Return them by name, flags that are not set left out."""
        names = ("weights", "samples", "source", "edge", "steps", "profile", "seed", "device")
        flags = ("both_ways", "orthogonal")
        return (
            *((name, getattr(self, name)) for name in names),
            *((name, getattr(self, name) or None) for name in flags),
        )


@dataclass(frozen=True, kw_only=True)
class Checks:
    """How what was made is judged; without any it is compared with the measured slices alone."""

    report: bool = False
    """Write an HTML trust report beside the output: OUTPUT.report.html."""

    hide: int | None = None
    """Keep one of so many measured slices, hide those between and make them again: the error of thinner slices. Takes
    the time of another run."""

    truth: Path | None = None
    """What is made, as it was acquired, on the grid of the result."""

    lesion: Path | None = None
    """Outline of a lesion, on the grid of the volumes: is it still there?"""


@dataclass(frozen=True, kw_only=True)
class Source:
    """How volumes are read."""

    series: str | None = None
    """Which DICOM series of a folder: its number, description or UID."""

    time_index: int | None = None
    """Which phase of a volume over time, counted from 0."""

    source_spacing: tuple[float, float, float] | None = None
    """True spacing of the volumes between slices, rows and columns in mm, where files state none or a wrong one."""


@dataclass(frozen=True, kw_only=True)
class Synthesize:
    """Make another contrast, thinner slices, or both, of MR volumes.

    INPUTs are contrasts of one person (NIfTI, DICOM files or folders), on one grid; or one folder: of the volumes of
    one person or of many, of such folders, or a BIDS dataset. All that is made is synthetic. Research use only.
    """

    inputs: Inputs
    """Files or folders."""

    output: Output
    """File to write (.nii.gz ...); without suffix a folder. Of many people, and of BIDS, a folder."""

    to: str | None = None
    """Contrast to make: one of those given (then with --spacing), or another: T1, T1c, T2, PD, FLAIR, ... Not needed
    for thinner slices of one volume."""

    spacing: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """Millimetres between the slices to make: any number up to that of the source. Without it, where they are."""

    method: str | None = None
    """nearest, linear, b-spline, self-supervised (thinner slices); histogram-matched, regression (other contrasts);
    uni-coal (both). By default uni-coal with --weights, else self-supervised for slices and histogram-matched for
    contrasts."""

    contrast: tuple[str, ...] = ()
    """What the INPUTs show, in their order, where neither names nor headers tell: T1 T2."""

    axis: Literal["auto", "0", "1", "2"] = "auto"
    """Axis along which slices lie: 0 slices, 1 rows, 2 columns of the file; auto: that of the largest spacing."""

    coverage: Literal["centres", "slab", "published"] = "centres"
    """Where made slices begin and end: between the centres of the first and last slice; the whole slab that slices
    cover, of which the ends are extrapolated; or as published."""

    thickness: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """Of a slice, without the gap to the next, where headers do not say it."""

    mask: Path | None = None
    """Where the organ is, on the grid of the volumes: windows of intensity are found there."""

    register: bool = False
    """Bring the other volumes onto the grid of the first by a rotation and a shift."""

    project: bool = False
    """Thinner slices: move what is made to the nearest volume that gives the measured slices exactly."""

    format: Literal["nifti", "dicom"] = "nifti"
    """NIfTI; or, of DICOM sources, a derived DICOM series, which is a folder."""

    options: Options = Options()
    checks: Checks = Checks()
    reading: Source = Source()

    overwrite: bool = False
    """Replace results that exist; an input is never overwritten."""

    resume: bool = False
    """Leave finished results of the same plan as they are, and go on with an interrupted one (slices of uni-coal)."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(Synthesize, args, prog="synthesize")
    source = command.reading
    reading = ReadOptions(
        as_="volume", series=source.series, time_index=source.time_index, spacing=source.source_spacing
    )
    subjects = subjects_of(given(command.inputs), command.contrast, reading)
    with Meter(silent=command.json) as meter:
        outcomes = synthesize_files(
            subjects,
            command.output,
            _options(command),
            trust=_trust(command.checks),
            reading=reading,
            overwrite=command.overwrite,
            resume=command.resume,
            progress=meter,
        )
    return ended(outcomes, as_json=command.json, told=summary, show=_print)


def _options(command: Synthesize) -> SynthesisOptions:
    axes: dict[str, Literal["auto", 0, 1, 2]] = {"auto": "auto", "0": 0, "1": 1, "2": 2}
    return SynthesisOptions(
        to=command.to,
        spacing=command.spacing,
        method=command.method,
        options=command.options.told(),
        examples=command.options.examples,
        axis=axes[command.axis],
        coverage=command.coverage,
        mask=command.mask,
        thickness=command.thickness,
        register=command.register,
        format=command.format,
        project=command.project,
    )


def _trust(checks: Checks) -> TrustOptions:
    return TrustOptions(report=checks.report, truth=checks.truth, lesion=checks.lesion, hide=checks.hide)


def _print(outcome: SynthesisOutcome) -> None:
    if outcome.error is not None:
        print(f"scanweave: error: {outcome.source}: {outcome.error}", file=sys.stderr)
        return
    for note in outcome.notes:
        print(f"note: {note}", file=sys.stderr)
    told = summary(outcome)
    if outcome.made is not None:
        shape, steps = " x ".join(map(str, told["shape"])), " x ".join(f"{step:.4g}" for step in told["spacing"])
        print(f"{told['contrast']} from {', '.join(told['sources'])} by {told['method']}: {shape} voxels of {steps} mm")
        print("  all slices are synthetic; research use only")
        for line in outcome.trust.get("verdict", ()):
            print(f"  {line}")
    for path in told["outputs"]:
        print(f"  {path}")
