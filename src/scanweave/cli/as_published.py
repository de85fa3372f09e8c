"""``scanweave as-published most-dsa|super-slomo``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tyro

from ..batch.inputs import Run
from ..batch.published import write_most_dsa, write_slow_motion
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


Command = Annotated[Dsa, tyro.conf.subcommand("most-dsa")] | Annotated[Echo, tyro.conf.subcommand("super-slomo")]


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(cast(Any, Command), args, prog="as-published")
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
