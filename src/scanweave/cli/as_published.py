"""``scanweave as-published most-dsa|super-slomo``, and ``uni-coal`` for configurations of its training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tyro

from ..batch.inputs import Run
from ..batch.published import write_most_dsa, write_slow_motion
from ..batch.published_synthesis import translate_training
from ..errors import UsageError
from .common import Inputs, Meter, Output, Reading, given, parse, print_json
from .warned import weights_warnings


@dataclass(frozen=True, kw_only=True)
class _Every:
    inputs: Inputs
    """Files or folders: one run."""

    output: Output
    """Folder to write into; the names of the files are the published ones."""

    weights: Path
    """Weights file: the authors' or ours."""

    reading: Reading

    overwrite: bool = False
    """Replace outputs that exist; an input is never overwritten."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Dsa(_Every):
    """The frames between two images as the published MoSt-DSA script writes them.

    8 bits, truncated, red and blue exchanged. For comparing with its files only; `scanweave interpolate --method
    most-dsa` is for use.
    """

    inter_frames: int = 1
    """Frames to make: 1, 2 or 3."""


@dataclass(frozen=True, kw_only=True)
class Echo(_Every):
    """Slow motion as the published echo program writes it.

    Resized to multiples of 32 and back, 8 bits, truncated, acquired frames too. For comparing with its files only;
    `scanweave interpolate --method super-slomo` is for use.
    """

    factor: int
    """Frames per gap (their --sf)."""

    playback_fps: float
    """Frame rate of the film (their --slomo_fps)."""

    warp_convention: Literal["corner", "half_pixel", "exact"] | None = None
    """Where flows point, over what the file's provenance decides."""

    mean: tuple[float, float, float] | None = None
    """Mean red, green and blue (their --Red --Green --Blue), over what the file's provenance decides."""


@dataclass(frozen=True, kw_only=True)
class UniCoal:
    """Write what Uni-COAL's ``train.py`` would train as a file for `scanweave train uni-coal --config`.

    Its words follow ``--``, such as: -- --config-file final.yml --model unicoal optimizer.lr_G 0.00125
    """

    output: Output
    """File to write."""

    as_published: bool = False
    """Leave known faults of the recipe in; they are told either way."""

    sam: Path | None = None
    """File of SAM's weights, where the recipe is guided by them."""

    overwrite: bool = False
    """Replace a file that exists; an input is never overwritten."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


Command = (
    Annotated[Dsa, tyro.conf.subcommand("most-dsa")]
    | Annotated[Echo, tyro.conf.subcommand("super-slomo")]
    | Annotated[UniCoal, tyro.conf.subcommand("uni-coal")]
)


def main(args: Sequence[str]) -> int:
    """Run the command."""
    ours, theirs = _parted(args)
    command = parse(cast(Any, Command), ours, prog="as-published")
    if isinstance(command, UniCoal):
        return _uni_coal(command, theirs)
    common = {
        "weights_file": command.weights,
        "reading": command.reading.options(),
        "overwrite": command.overwrite,
    }
    run = given(command.inputs)
    with weights_warnings():
        if isinstance(command, Dsa):
            written = write_most_dsa(run, command.output, inter_frames=command.inter_frames, **common)
        else:
            written = _slow_motion(run, command, common)
    if command.json:
        print_json({"outputs": written})
    else:
        for path in written:
            print(path)
    return 0


def _parted(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return our words and, after ``--``, those of the published program.

    Raises:
        UsageError: There are none of uni-coal's.
    """
    words = list(args)
    if words[:1] == ["uni-coal"] and not {"--", "-h", "--help"} & set(words):
        raise UsageError(
            "nothing says what the published program was given",
            remedy="its words follow --, such as: -- --config-file final.yml --model unicoal",
        )
    cut = words.index("--") if "--" in words and words[0] == "uni-coal" else len(words)
    return words[:cut], words[cut + 1 :]


def _uni_coal(command: UniCoal, words: Sequence[str]) -> int:
    written = translate_training(
        words,
        command.output,
        as_published=command.as_published,
        sam=command.sam,
        overwrite=command.overwrite,
    )
    if command.json:
        print_json(written)
    else:
        for note in written.notes:
            print(f"note: {note}", file=sys.stderr)
        print(written.output)
    return 0


def _slow_motion(run: Run, command: Echo, common: dict[str, Any]) -> tuple[Path, ...]:
    config = {"warp_convention": command.warp_convention, "mean": command.mean}
    with Meter(silent=command.json) as meter:
        return write_slow_motion(
            run,
            command.output,
            factor=command.factor,
            playback_fps=command.playback_fps,
            config={name: value for name, value in config.items() if value is not None},
            progress=meter,
            **common,
        )
