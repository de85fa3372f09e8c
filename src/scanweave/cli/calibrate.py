"""``scanweave calibrate --fast FAST --sharp SHARP -o CALIBRATION.json``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..batch.calibration import (
    CalibrateOptions,
    CaseCheck,
    calibrate_files,
    check_cases,
    picture_path,
    published_paths,
)
from ..fusion.calibration import Calibration
from ..fusion.published_grid import GridTolerances
from ..fusion.reading import CameraRun, read_camera
from .common import Output, parse, print_json


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """Find where each pixel of a fast, coarse camera lies in a sharp, slow one's frames, and how their clocks agree.

    By a grid of squares that both see, without a network, or by the scene itself; or by the published grid procedure,
    with its network or without. Writes one JSON file for
    scanweave fuse, and beside it OUTPUT.png, in which you see whether it fits. Many runs of the same cameras share one
    calibration: --cases says which can use it. Research use only.
    """

    output: Output
    """Calibration to write: a JSON file."""

    fast: Path
    """Frames of the fast, coarse camera: a folder of pictures, a many-page TIFF, HDF5 (file.h5:/dataset), or the
    published experiment folder, which holds both cameras: name it for both."""

    sharp: Path
    """Frames of the sharp, slow camera."""

    method: Literal["lattice", "published-grid", "raft"] = "lattice"
    """lattice: by the grid or the scene, without a network. published-grid: the published grid procedure, in which the
    grid itself tells which square is which. raft: the same, in which a network tells: give --weights."""

    weights: str | None = None
    """Of raft: file of weights, or the name of one in your folder of weights."""

    as_published: bool = False
    """Of published-grid and raft: choose frames and fit as published, known defects included; notes tell of them."""

    tol_pos: float = 0.1
    """Of published-grid and raft: how far a square may lie off its place on the lattice, in pitches."""

    tol_area: float = 0.1
    """Of published-grid and raft: by how much a square's area may differ."""

    tol_rotation: float = 0.06
    """Of published-grid and raft: radians beyond which the coarse view is rotated first."""

    window: int = 384
    """Of raft: side of the window that the network sees, in sharp pixels."""

    flow_iters: int = 12
    """Of raft: steps of the network's search."""

    device: str = "auto"
    """Of raft: auto, cpu, cuda, cuda:1, mps."""

    target: Literal["auto", "grid", "scene"] = "auto"
    """What both cameras see: a grid of squares, or any textured scene. auto: a grid if there is one."""

    mirrored: bool = False
    """One camera sees the scene mirrored, left to right (as in the published set-up)."""

    turned: bool = False
    """One camera may be turned by quarter turns against the other; of a grid only."""

    ratio: float | None = None
    """Sharp pixels in the side of a coarse one, within a quarter, where the views differ in size; of a scene only."""

    clocks: Literal["stamps", "images"] = "stamps"
    """stamps: each run's time stamps tell, when it is fused. images: found from what moves in these frames."""

    fit_rate: bool = False
    """Of clocks from images: find how much faster one clock runs, too; needs a long run in which much happens."""

    clock_offset: float | None = None
    """Seconds that the sharp camera's clock shows when the fast one's shows 0, where it is known."""

    fast_times: Path | None = None
    """Metadata of the fast camera (.ini, .xml), or a text with the seconds of one frame a line."""

    sharp_times: Path | None = None
    """Metadata of the sharp camera, or a text of times."""

    fast_fps: float | None = None
    """Frames per second of the fast camera, where nothing else tells."""

    sharp_fps: float | None = None
    """Frames per second of the sharp camera, where nothing else tells."""

    fast_dark: Path | None = None
    """Frames of the fast camera without light; their mean is taken off."""

    fast_flat: Path | None = None
    """Frames of the fast camera with light and no sample."""

    sharp_dark: Path | None = None
    """Frames of the sharp camera without light."""

    sharp_flat: Path | None = None
    """Frames of the sharp camera with light and no sample."""

    published: Path | None = None
    """Convert the published program's files (tfm, scale_factor and rot, .npy) in this folder instead."""

    published_tag: str | None = None
    """Which of several in that folder: what the names have in common, such as 1_0.10_0.10."""

    published_output: Path | None = None
    """Folder for the same calibration as the published program's files, of cameras that see mirrored views."""

    published_id: str = "1"
    """What their names begin with."""

    cases: Path | None = None
    """Folder of experiments of the published layout: say which can use this calibration."""

    overwrite: bool = False
    """Replace outputs that exist; an input is never overwritten."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(Calibrate, args, prog="calibrate")
    found = calibrate_files(*_cameras(command), command.output, _options(command), overwrite=command.overwrite)
    cases = [] if command.cases is None else check_cases(found, command.cases)
    if command.json:
        beside = published_paths(_options(command))
        outcome = {
            "output": command.output,
            "published": beside,
            "picture": picture_path(command.output),
            "calibration": found,
        }
        print_json({**outcome, "cases": cases})
    else:
        _tell(command.output, found, cases)
        for path in published_paths(_options(command)):
            print(path)
    return 0


def _cameras(command: Calibrate) -> tuple[CameraRun, CameraRun]:
    return (
        read_camera(
            command.fast,
            "fast",
            fps=command.fast_fps,
            times=command.fast_times,
            dark=command.fast_dark,
            flat=command.fast_flat,
        ),
        read_camera(
            command.sharp,
            "sharp",
            fps=command.sharp_fps,
            times=command.sharp_times,
            dark=command.sharp_dark,
            flat=command.sharp_flat,
        ),
    )


def _options(command: Calibrate) -> CalibrateOptions:
    return CalibrateOptions(
        method=command.method,
        weights=command.weights,
        as_published=command.as_published,
        tolerances=GridTolerances(command.tol_pos, command.tol_area, command.tol_rotation),
        window=command.window,
        iterations=command.flow_iters,
        device=command.device,
        published_output=command.published_output,
        published_id=command.published_id,
        target=command.target,
        mirrored=command.mirrored,
        turned=command.turned,
        ratio=command.ratio,
        clocks=command.clocks,
        fit_rate=command.fit_rate,
        clock_offset=command.clock_offset,
        published=command.published,
        published_tag=command.published_tag,
    )


def _tell(output: Path, found: Calibration, cases: Sequence[CaseCheck]) -> None:
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    left, top, right, below = found.common()
    print(f"{found.method}: one coarse pixel is {found.scale:.3f} sharp ones", end="")
    print(f"; both cameras see columns {left} to {right - 1} and rows {top} to {below - 1}")
    if found.residuals is not None:
        off = found.residuals
        print(f"residuals at {off.count} points: mean {off.mean:.2f}, largest {off.largest:.2f} sharp pixels", end="")
        print(f", held out {off.held_out:.2f}; {off.left_out} outliers")
    if found.clocks is not None:
        print(f"clocks: sharp = {found.clocks.rate:.9g} x fast + {found.clocks.offset:.9g} s ({found.clocks.origin})")
    for case in cases:
        sound = f"{case.enclosed} of {case.frames[0]} fast frames lie between sharp ones"
        print(f"{case.name}: {case.problem or sound}")
    print(output)
    print(picture_path(output))
