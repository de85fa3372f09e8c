"""``scanweave interpolate INPUT... -o OUTPUT --factor 4``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..batch.inputs import Run, collect_runs
from ..batch.interpolation import Outcome, WriteOptions, interpolate_file, interpolate_many
from ..errors import UsageError
from ..interpolation.config import InterpolateConfig, load_config
from .common import CommonOptions, Inputs, Meter, Output, Reading, arguments, ended, given, parse, split_lists


@dataclass(frozen=True, kw_only=True)
class Files:
    """What is written, and how."""

    format: str | None = None
    """For many inputs: the suffix of the results (dcm, mp4, mkv, tif, ...); by default each input's own."""

    single_frames: bool = False
    """Write DICOM as one file per frame into the folder OUTPUT.dcm, not as one multi-frame file."""

    mark_synthetic: bool = False
    """Burn a small mark into made frames."""

    side_by_side: bool = False
    """Also write OUTPUT.side-by-side.mp4: original, slow motion, and plain frame repetition."""


@dataclass(frozen=True, kw_only=True)
class Interpolate:
    """Make the frames between the acquired ones; acquired frames come out bit for bit.

    INPUT is a DICOM file or folder, a video, a folder of images, a multi-page TIFF, npy/npz, file.h5:/dataset, or two
    or more single images in order. OUTPUT's suffix picks the format: .dcm .mp4 .mov .mkv .avi .gif .tif .npy .npz .h5,
    none for a folder of PNGs. Many inputs, or a folder of many, need a folder as OUTPUT. Research use only.
    """

    inputs: Inputs
    """Files or folders."""

    output: Output
    """File or folder to write."""

    make: InterpolateConfig
    reading: Reading
    files: Files
    common: CommonOptions

    config: Path | None = None
    """YAML file of options; options on the command line win."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(Interpolate, split_lists(_with_config(args), "--times"), prog="interpolate")
    reading = command.reading.options()
    writing = WriteOptions(
        **{name: getattr(command.files, name) for name in Files.__dataclass_fields__},
        report=command.common.report,
        overwrite=command.common.overwrite,
        resume=command.common.resume,
    )
    runs = collect_runs(given(command.inputs), reading)
    many = len(runs) > 1 or _is_folder_of_runs(command.inputs, runs)
    if many and command.output.suffix and not command.output.is_dir():
        raise UsageError(
            f"{len(runs)} runs cannot go into one file", path=command.output, remedy="give a folder without suffix"
        )
    with Meter(silent=command.common.json) as meter:
        if many:
            outcomes = interpolate_many(
                runs, command.output, command.make, reading=reading, writing=writing, progress=meter.labelled
            )
        else:
            outcomes = [
                interpolate_file(
                    runs[0], command.output, command.make, reading=reading, writing=writing, progress=meter
                )
            ]
    return ended(outcomes, as_json=command.common.json, told=_as_json, show=_print, listed=many)


def _is_folder_of_runs(inputs: Sequence[Path], runs: Sequence[Run]) -> bool:
    return len(inputs) == 1 and inputs[0].is_dir() and runs[0] != (inputs[0],)


def _with_config(args: Sequence[str]) -> list[str]:
    """Put the options of ``--config FILE`` before the others, which then win; lists become one argument."""
    args = list(args)
    for k, word in enumerate(args):
        if word.startswith("--config="):
            args[k : k + 1] = ["--config", word.removeprefix("--config=")]
    if "--config" in args[:-1]:
        options = load_config(Path(args[args.index("--config") + 1]))
        return arguments(options) + args
    return args


def _as_json(outcome: Outcome) -> dict[str, object]:
    error = outcome.error
    return {
        "input": outcome.source,
        "outputs": [str(path) for path in outcome.outputs],
        "frames": outcome.frames,
        "made": outcome.made,
        "seconds": round(outcome.seconds, 3),
        "notes": list(outcome.notes),
        "trust": outcome.trust,
        "error": None if error is None else {"message": str(error), "exit_code": error.exit_code},
    }


def _print(outcome: Outcome) -> None:
    if outcome.error is not None:
        print(f"scanweave: error: {outcome.error}", file=sys.stderr)
        return
    for note in outcome.notes:
        print(f"note: {note}", file=sys.stderr)
    if outcome.frames:
        rate = outcome.made / max(outcome.seconds, 1e-9)
        print(
            f"{outcome.source}: {outcome.frames} frames, {outcome.made} of them made, "
            f"in {outcome.seconds:.1f} s ({rate:.1f} made/s)"
        )
    for path in outcome.outputs:
        print(f"  {path}")
    for line in outcome.trust.get("verdict", ()):
        print(line)
