"""``scanweave as-published most-dsa|super-slomo``; ``uni-coal`` and ``xfusion`` say what theirs do in our words."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tyro

from ..batch.inputs import Run
from ..batch.published import write_most_dsa, write_slow_motion
from ..batch.published_synthesis import translate_training
from ..errors import UsageError
from ..fusion.published_conf import Conf, read_conf
from ..fusion.published_conf_commands import Step, step_of, steps_of
from ..fusion.published_conf_training import published_yaml
from ..fusion.published_config import read_published_yaml
from ..io.files import atomic_output, check_output
from ..plan import plain
from . import train
from .common import Inputs, Meter, Output, Reading, given, parse, print_json
from .warned import network_warnings


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


@dataclass(frozen=True, kw_only=True)
class XFusion:
    """Say what XFusion's commands and its ``xfusion.conf`` do as commands of scanweave.

    Words of its command line follow ``--``, such as: -- train --dir-hi-train DIR --dir-lo-train DIR. They hold over the
    file. Nothing is written back, and every option is either taken over or told not to be.
    """

    conf: tyro.conf.Positional[Path | None] = None
    """The file; without one, what `xfusion init` would write."""

    section: Literal["init", "convert", "train", "download", "train_calibration", "calibrate", "inference"] | None = (
        None
    )
    """Only this command of theirs; by default all, or the one after --."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="OUTPUT")] = None
    """Of train and train_calibration: a file to write for `scanweave train --config`."""

    as_published: bool = False
    """Leave known faults of the published program in."""

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
    | Annotated[XFusion, tyro.conf.subcommand("xfusion")]
)


def main(args: Sequence[str]) -> int:
    """Run the command."""
    ours, theirs = _parted(args)
    command = parse(cast(Any, Command), ours, prog="as-published")
    if isinstance(command, UniCoal):
        return _uni_coal(command, theirs)
    if isinstance(command, XFusion):
        return _xfusion(command, theirs)
    common = {
        "weights_file": command.weights,
        "reading": command.reading.options(),
        "overwrite": command.overwrite,
    }
    run = given(command.inputs)
    with network_warnings():
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
    cut = words.index("--") if "--" in words and words[0] in ("uni-coal", "xfusion") else len(words)
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


def _xfusion(command: XFusion, words: Sequence[str]) -> int:
    conf = read_conf(command.conf, words)
    if command.section is not None and conf.command not in (None, command.section):
        raise UsageError(f"--section {command.section}, and {conf.command} after --", remedy="give one of them")
    section = command.section or conf.command
    if section is None:
        steps = steps_of(conf, as_published=command.as_published)
    else:
        steps = [step_of(conf, section, as_published=command.as_published)]
        if steps[0].missing:
            raise UsageError(
                f"{section} lacks {steps[0].missing}", path=command.conf, remedy="say it after --, or there"
            )
    if command.output is not None:
        _write_settings(command, steps, conf)
    if command.json:
        print_json({"notes": conf.notes, "steps": steps, "output": command.output})
        return 0
    for note in (*conf.notes, *(f"{step.section}: {note}" for step in steps for note in step.notes)):
        print(f"note: {note}", file=sys.stderr)
    for step in steps:
        if section is None:
            print(f"# {step.section}{f' lacks {step.missing}' if step.missing else ''}")
        for one in step.commands:
            print(shlex.join(["scanweave", *one]))
    return 0


def _write_settings(command: XFusion, steps: Sequence[Step], conf: Conf) -> None:
    """Write what one step would train as `scanweave train --print-config` prints it."""
    assert command.output is not None
    if len(steps) != 1 or steps[0].section not in ("train", "train_calibration"):
        raise UsageError("-o writes what is trained", remedy="add --section train, or --section train_calibration")
    check_output(command.output, [command.conf] if command.conf else [], overwrite=command.overwrite)
    _, job, option, preset, *words = steps[0].commands[0]
    yaml_file = published_yaml(conf) if steps[0].section == "train" else None
    said, notes = io.StringIO(), [*conf.notes, *steps[0].notes]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
        if yaml_file is not None:
            translated = read_published_yaml(yaml_file)
            notes += translated.pop("notes")
            preset = str(Path(folder) / "published.json")  # JSON keeps numbers such as 1e-05
            Path(preset).write_text(json.dumps(plain(translated)), encoding="utf-8")
        train.main([job, option, preset, *words, "--print-config"])
    head = [f"# {note}" for note in ("translated of XFusion", *notes)]
    with atomic_output(command.output) as place:
        place.write_text("\n".join([*head, said.getvalue()]), encoding="utf-8")


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
