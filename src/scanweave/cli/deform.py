"""``scanweave deform IMAGE --label LABEL -n 32 -o OUT``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..batch.deformation import DeformOptions, DeformOutcome, deform_file, deform_many
from ..batch.deformation_cases import Slices, paired
from ..batch.deformation_published import deform_published
from ..batch.deformation_summary import summary
from ..batch.inputs import collect_runs
from ..deformation.api import AT_ONCE
from ..errors import UsageError
from .common import Inputs, Meter, Reading, ended, given, parse
from .warned import network_warnings


@dataclass(frozen=True, kw_only=True)
class Deform:
    """Make deformed copies of images, with their labels and the fields, and measure each.

    Files are OUT/NAME_0000.nii.gz, _label, _field and OUT/manifest.json; of many images, each has a folder in OUT. By
    default copies never fold. Research use only.
    """

    inputs: Inputs = ()
    """Images: files or folders; volumes in any format that is read."""

    label: tuple[Path, ...] = ()
    """Maps of labels: of one image, all that there are; of many, files or folders named as the images are, with or
    without _label, _seg, _mask or _gt at the end."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="OUT")] = None
    """Folder to make."""

    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1
    """Copies of each image."""

    method: str = "diffeomorphic"
    """diffeomorphic (never folds), elastic, or drdm (with --weights)."""

    strength: float | None = None
    """Factor on how far copies are deformed by default."""

    max_displacement: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """Millimetres that no voxel is displaced beyond."""

    level: int | None = None
    """Drdm: how far fields are diffused; 48 to 80 in the published use."""

    weights: str | None = None
    """Drdm: file of weights, or the name of one in your folder of weights."""

    preset: str | None = None
    """Drdm: safe (the default, never folds), fast, consistent, published-2d, published-3d."""

    side: int | None = None
    """Drdm: voxels of the square or cube that the network works on, a multiple of 8."""

    device: str | None = None
    """Drdm: cpu, cuda, cuda:1, mps."""

    compile: bool = False
    """Drdm, 2D weights on the CPU: compile the network first; seconds once, a quarter of the time less then. Needs a
    C++ compiler."""

    at_once: int = AT_ONCE
    """Drdm: copies that are made together; fewer need less memory."""

    through_plane: Literal["auto", "yes", "no"] = "auto"
    """Diffeomorphic and elastic: whether voxels move out of their slices. auto: not where slices lie three times as far
    apart as pixels, or more; all slices then move alike."""

    seed: int = 0
    """Seed of all that is random; the first copies do not depend on how many there are."""

    slices: str | None = None
    """Deform slices on their own, within their planes: all, or numbers from 0 such as 2,4,6. For 2D weights, and for
    stacks of few slices."""

    label_rule: Literal["nearest", "linear"] = "nearest"
    """How labels are warped; linear gives smoother outlines. Labels stay whole numbers either way."""

    beyond: Literal["edge", "zero"] = "edge"
    """What lies beyond the image: its edge, repeated, or its lowest level."""

    format: Literal["nifti", "dicom"] = "nifti"
    """Images as NIfTI; or, of DICOM sources, as derived DICOM series OUT/NAME_0000/. Labels and fields are NIfTI."""

    published_layout: Annotated[Path | None, tyro.conf.arg(metavar="CONFIG.yaml")] = None
    """Augment as DRDM's Config/config_NAME.yaml says, in its folders and under its names, in place of IMAGE."""

    reading: Reading = Reading()

    overwrite: bool = False
    """Replace copies that exist; an input, and a file that is not ours, is never overwritten."""

    resume: bool = False
    """Go on with a run that was interrupted; finished copies are kept."""

    report: bool = False
    """Write a QC sheet beside each folder: OUT.report.html."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(Deform, args, prog="deform")
    with network_warnings(), Meter(silent=command.json) as meter:
        outcomes = _published(command, meter) if command.published_layout else _files(command, meter)
    return ended(outcomes, as_json=command.json, told=summary, show=_print)


def _files(command: Deform, meter: Meter) -> list[DeformOutcome]:
    if command.output is None:
        raise UsageError("no output", remedy="name a folder with -o")
    reading = command.reading.options()
    runs = collect_runs(given(command.inputs), reading, volumes=True)
    labels = collect_runs(command.label, reading, volumes=True) if command.label else []
    pairs = paired(runs, labels)
    how: dict[str, Any] = {
        "options": _options(command),
        "reading": reading,
        "report": command.report,
        "overwrite": command.overwrite,
        "resume": command.resume,
        "progress": meter,
    }
    if len(pairs) == 1:
        return [deform_file(pairs[0][0], command.output, labels=pairs[0][1], **how)]
    return deform_many(pairs, command.output, **how)


def _published(command: Deform, meter: Meter) -> list[DeformOutcome]:
    given_too = {
        "IMAGE": bool(command.inputs),
        "--label": bool(command.label),
        "--method": command.method not in ("diffeomorphic", "drdm"),
        "--slices": command.slices is not None,
        "--format": command.format != "nifti",
        "--level": command.level is not None,
        "--report": command.report,
        "-n": command.n != 1,
    }
    said = [name for name, is_given in given_too.items() if is_given]
    if said:
        raise UsageError(f"--published-layout decides what {said[0]} would", remedy=f"leave {said[0]} out")
    return [
        deform_published(
            command.published_layout or Path(),
            root=command.output,
            options=_options(command),
            reading=command.reading.options(),
            overwrite=command.overwrite,
            resume=command.resume,
            progress=meter,
        )
    ]


def _options(command: Deform) -> DeformOptions:
    names = ("strength", "max_displacement", "level", "weights", "preset", "side", "device")
    options: list[tuple[str, Any]] = [(name, getattr(command, name)) for name in names]
    if command.compile:
        options.append(("compile", True))
    if command.through_plane != "auto":
        options.append(("through_plane", command.through_plane == "yes"))
    return DeformOptions(
        n=command.n,
        method=command.method,
        options=tuple(options),
        seed=command.seed,
        slices=_slices(command.slices),
        label_rule=command.label_rule,
        beyond=command.beyond,
        format=command.format,
        at_once=command.at_once,
    )


def _slices(said: str | None) -> Slices | None:
    if said is None:
        return None
    if said == "all":
        return "all"
    try:
        return tuple(dict.fromkeys(int(word) for word in said.split(",")))
    except ValueError as error:
        raise UsageError(f"--slices {said}", remedy="give all, or numbers from 0 such as 2,4,6") from error


def _print(outcome: DeformOutcome) -> None:
    if outcome.error is not None:
        print(f"scanweave: error: {outcome.source}: {outcome.error}", file=sys.stderr)
        return
    for note in outcome.notes:
        print(f"note: {note}", file=sys.stderr)
    told = summary(outcome)
    print(
        f"{told['output']}: {told['copies']} {'copy' if told['copies'] == 1 else 'copies'}, "
        f"of which fold: {told['folded']}; "
        f"displaced by {told['mean_mm']:.3g} mm on average, {told['largest_mm']:.3g} at most"
    )
    if told["labels"]:
        print(f"  labels in as many parts as before: {told['labels_kept']} of {told['labels']}")
    if outcome.report is not None:
        print(f"  {outcome.report}")
