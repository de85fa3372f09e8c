"""``scanweave prepare`` makes training sets for interpolation, synthesis and fusion, and verifies them.

``scanweave prepare cameras`` simulates two cameras at one run, ``scanweave prepare download`` fetches published data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tyro

from ..batch.download import DownloadOutcome, fetch
from ..batch.fusion_cameras import CamerasOptions, prepare_cameras
from ..batch.fusion_preparation import FusionSetOptions, prepare_fusion_set
from ..batch.gathering import SetInputs
from ..batch.preparation import PrepareOutcome, prepare_set
from ..batch.prepare_options import PrepareOptions
from ..batch.synthesis_preparation import SynthesisSetOptions, SynthesisSetOutcome, prepare_synthesis_set
from ..errors import UsageError
from ..interpolation.checking import check_set
from .common import Inputs, Meter, Output, Reading, parse, print_json, split_lists
from .fuse import Simulated


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Make a training set for interpolation: clips without repeats and cuts, split by patient, with a manifest.

    INPUT is files and folders as for `scanweave interpolate`; a folder of many runs gives each of them. A folder that
    holds train_Dicoms and test_Dicoms states who trains and who tests, as do --train and --test. The manifest holds
    hashes, times and splits; no name or path of a patient. Research use only.
    """

    output: Output
    """Folder to make."""

    inputs: Inputs = ()
    """Files or folders, to be split by patient."""

    train: tuple[Path, ...] = ()
    """Files or folders to train on, in place of INPUT and together with --test."""

    test: tuple[Path, ...] = ()
    """Files or folders to test on."""

    make: PrepareOptions = field(default_factory=PrepareOptions)
    reading: Reading = field(default_factory=Reading)

    overwrite: bool = False
    """Replace a set that exists; an input is never overwritten."""

    resume: bool = False
    """Go on with a preparation that was interrupted; its clips lie in OUTPUT.partial/."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Make a training set for synthesis: HDF5 files of one subject each, as Uni-COAL has them, split by patient.

    INPUT is folders of volumes (NIfTI, MetaImage, NRRD, DICOM) with the contrast in their names: a folder for each
    subject, or files whose names differ in the contrast alone; all contrasts of a subject on one grid, or --register.
    The manifest holds hashes, shapes, geometry and splits; no name or path of a patient. Research use only.
    """

    output: Output
    """Folder to make."""

    inputs: Inputs = ()
    """Folders of subjects."""

    make: SynthesisSetOptions = field(default_factory=SynthesisSetOptions)

    overwrite: bool = False
    """Replace a set that exists; an input is never overwritten."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Make a set for fusion in the published folders, HR and LR, with a list of the clips.

    INPUT is recordings of one fast and sharp camera (TIFF stacks, HDF5, folders of pictures): coarse frames are means
    over 4 x 4 pixels of them. Or give --sharp and --coarse, folders of pictures of both cameras, to make them grey.
    Training needs no set: `scanweave train edvr-stf --config edvr-stf-runs` takes recordings as they are. Research use
    only.
    """

    output: Output
    """Folder to make."""

    inputs: Inputs = ()
    """Recordings, or folders of some."""

    make: FusionSetOptions = field(default_factory=FusionSetOptions)

    overwrite: bool = False
    """Replace a set that exists; an input is never overwritten."""

    resume: bool = False
    """Go on with a preparation that was interrupted; its frames lie in OUTPUT.partial/."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Verify a training set for interpolation, ours or as published: every frame, its hash, sizes, times, and leakage.

    Sets for synthesis are verified when a training opens them.
    """

    set: tyro.conf.Positional[Path]
    """Folder of the set."""

    layout: Literal["auto", "scanweave", "most-dsa", "super-slomo"] = "auto"
    """How it lies there; auto looks."""

    lists: Path | None = None
    """Layout most-dsa: folder of TrainList.txt and TestList.txt; by default the set."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """Fetch published data, and unpack them: resumed where an earlier call broke off, verified by a checksum.

    Of an archive with CLASS/LR and CLASS/HR comes OUTPUT/CLASS_b0_0/LR and .../HR, as the published fusion program lays
    out its tests; any other is unpacked as it is. What has arrived lies in OUTPUT.partial/ until it is whole.
    """

    url: tyro.conf.Positional[str]
    """Address of a zip archive, or of any file: http or https."""

    output: Output
    """Folder to unpack into; it may hold other things."""

    sha256: str | None = None
    """What the file must hash to; it is told when a file has arrived."""

    overwrite: bool = False
    """Replace what is in OUTPUT under the same names."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """Make what two cameras would have recorded of one run, to try calibration and fusion on where truth is known.

    OUTPUT becomes a folder with fast.h5 and sharp.h5 (16 bits, with times), truth.json, the exact calibration, and
    cameras.json. The run itself is what fused frames are to be compared with. Research use only.
    """

    run: tyro.conf.Positional[Path]
    """A run: TIFF stack, folder of frames, HDF5 (file.h5, file.h5:/group/dataset), video."""

    output: Output
    """Folder to make."""

    simulated: Simulated = Simulated()

    grid: bool = False
    """Write grid/fast.h5 and grid/sharp.h5 too: the same cameras before a simulated calibration grid."""

    fps: float | None = None
    """Frames per second of the run, where its file does not tell."""

    format: Literal[".h5", ".tif"] = ".h5"
    """Of both cameras' runs."""

    overwrite: bool = False
    """Replace a folder that exists; an input is never overwritten."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


Command = (
    Annotated[Interpolation, tyro.conf.subcommand("interpolation")]
    | Annotated[Synthesis, tyro.conf.subcommand("synthesis")]
    | Annotated[Download, tyro.conf.subcommand("download")]
    | Annotated[Cameras, tyro.conf.subcommand("cameras")]
    | Annotated[Fusion, tyro.conf.subcommand("fusion")]
    | Annotated[Check, tyro.conf.subcommand("check")]
)


def main(args: Sequence[str]) -> int:
    """Run the command."""
    words = split_lists(args, "--split", "--contrasts", "--labels")
    command = parse(cast(Any, Command), words, prog="prepare")
    if isinstance(command, Synthesis):
        return _synthesis(command)
    if isinstance(command, Fusion):
        return _fusion(command)
    if isinstance(command, Download):
        return _download(command)
    if isinstance(command, Cameras):
        return _cameras(command)
    return _check(command) if isinstance(command, Check) else _interpolation(command)


def _interpolation(command: Interpolation) -> int:
    with Meter(silent=command.json) as meter:
        outcome = prepare_set(
            SetInputs(command.inputs, command.train, command.test),
            command.output,
            command.make,
            reading=command.reading.options(),
            overwrite=command.overwrite,
            resume=command.resume,
            progress=meter,
        )
    if command.json:
        print_json(outcome)
    else:
        _print(outcome)
    return 0


def _print(outcome: PrepareOutcome) -> None:
    for note in outcome.notes:
        print(f"note: {note}", file=sys.stderr)
    for rule in outcome.rules:
        print(rule)
    for split, clips in outcome.clips.items():
        print(f"  {split}: {clips} clips of {outcome.patients[split]} patients")
    print(f"  {outcome.output}: {outcome.frames} frames")


def _synthesis(command: Synthesis) -> int:
    with Meter(silent=command.json) as meter:
        outcome = prepare_synthesis_set(
            command.inputs, command.output, command.make, overwrite=command.overwrite, progress=meter
        )
    if command.json:
        print_json(outcome)
    else:
        _print_set(outcome)
    return 0


def _print_set(outcome: SynthesisSetOutcome) -> None:
    for note in outcome.notes:
        print(f"note: {note}", file=sys.stderr)
    for split, subjects in outcome.subjects.items():
        print(f"  {split}: {subjects} subjects of {outcome.patients[split]} patients")
    print(f"  {outcome.output}: {outcome.slices} slices")


def _download(command: Download) -> int:
    with Meter(silent=command.json) as meter:
        outcome = fetch(command.url, command.output, sha256=command.sha256, overwrite=command.overwrite, progress=meter)
    if command.json:
        print_json(outcome)
    else:
        _print_download(outcome)
    return 0


def _print_download(outcome: DownloadOutcome) -> None:
    if outcome.resumed:
        print(f"note: {outcome.resumed} bytes were there already", file=sys.stderr)
    print(f"{outcome.bytes} bytes, SHA-256 {outcome.sha256}: {outcome.files} files")
    for path in outcome.runs or outcome.entries:
        print(f"  {path}")


def _cameras(command: Cameras) -> int:
    options = CamerasOptions(
        cameras=command.simulated.options(), grid=command.grid, fps=command.fps, format=command.format
    )
    with Meter(silent=command.json) as meter:
        outcome = prepare_cameras(command.run, command.output, options, overwrite=command.overwrite, progress=meter)
    if command.json:
        print_json(outcome)
        return 0
    for camera, frames, (rows, columns) in zip(("fast", "sharp"), outcome.frames, outcome.shapes, strict=True):
        print(f"{camera}: {frames} frames of {rows} x {columns}")
    for path in outcome.files:
        print(f"  {path}")
    return 0


def _fusion(command: Fusion) -> int:
    with Meter(silent=command.json) as meter:
        outcome = prepare_fusion_set(
            command.inputs, command.output, command.make, overwrite=command.overwrite, resume=command.resume,
            progress=meter,
        )  # fmt: skip
    if command.json:
        print_json(outcome)
    else:
        print(f"  {outcome.output}: {outcome.frames} frames of both cameras in {outcome.clips} clips")
    return 0


def _check(command: Check) -> int:
    if any(command.set.glob("*/*.h5")):
        raise UsageError(
            "is a set for synthesis, and what is checked are sets for interpolation",
            path=command.set,
            remedy="train on it: `scanweave train uni-coal` looks at every file before it begins",
        )
    with Meter(silent=command.json) as meter:
        found = check_set(
            command.set,
            layout=command.layout,
            lists=command.lists,
            progress=lambda done, total: meter("checking clips", done, total),
        )
    if command.json:
        print_json(found)
    else:
        for name, value in found.items():
            print(f"{name}: {_told(value)}")
        print("sound")
    return 0


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "not stated" if value is None else str(value)
