"""Two cameras simulated from one run, as files: what `scanweave calibrate` and `fuse` take, and the truth to compare.

::

    FOLDER/fast.h5, FOLDER/sharp.h5          both cameras' runs, 16 bits, with their times
    FOLDER/truth.json                        how they go together, exactly
    FOLDER/cameras.json                      what the cameras are, and the run they stand for
    FOLDER/grid/fast.h5, grid/sharp.h5       the same two cameras before a calibration grid, if asked for

The run itself is what fused frames are compared with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import io
from ..cine import Cine
from ..errors import InputError
from ..fusion.calibration import write_calibration
from ..fusion.frames import Frames
from ..fusion.reading import read_camera
from ..fusion.virtual import Virtual, VirtualOptions, virtual
from ..io.files import atomic_output, check_output
from ..plan import fingerprint, plain
from ..simulate.params import stream
from ..simulate.target import TargetConfig, TargetParams

Progress = Callable[[str, int, int], None]
Format = Literal[".h5", ".tif"]

_TOP = np.iinfo(np.uint16).max
_GRID_FRAMES = 4
_SQUARES = 10  # along the shorter side of the sharp frames
_PIXELS = 4  # of the coarse camera from square to square, at least
_BRIGHTEST = 0.8  # of the window


@dataclass(frozen=True, kw_only=True)
class CamerasOptions:
    """What is made.

    Attributes:
        cameras: What the two cameras are.
        grid: Whether they also see a calibration grid.
        fps: Frames per second of the run, where its file does not tell.
        format: Of the runs.
    """

    cameras: VirtualOptions = VirtualOptions()
    grid: bool = False
    fps: float | None = None
    format: Format = ".h5"


@dataclass(frozen=True)
class CamerasOutcome:
    """What was made.

    Attributes:
        output: The folder.
        files: In it.
        frames: Of the fast and of the sharp camera.
        shapes: Rows and columns of their frames.
    """

    output: Path
    files: tuple[Path, ...]
    frames: tuple[int, int]
    shapes: tuple[tuple[int, int], tuple[int, int]]


def prepare_cameras(
    run: Path,
    output: Path,
    options: CamerasOptions,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CamerasOutcome:
    """Write what two cameras would have recorded of a run; the folder is whole or absent.

    Raises:
        InputError: A run too short or too small for these cameras, or whose times nothing tells.
        OutputError: The folder exists already, or cannot be written.
    """
    report = progress or (lambda what, done, total: None)
    read = read_camera(run, "sharp", fps=options.fps)
    check_output(output, [run, *read.files], overwrite=overwrite)
    if not read.timed:
        raise InputError("nothing states the times of its frames", path=run, remedy="give --fps")
    pair = virtual(read.cine, options.cameras)
    seen = {"": pair} | ({"grid": _before_grid(pair, options)} if options.grid else {})
    told = {"run": run.name, "sha256": _sha256(run), "cameras": plain(options.cameras)}
    with atomic_output(output, folder=True) as place:
        for name, one in seen.items():
            for camera, frames in (("fast", one.coarse), ("sharp", one.sharp)):
                path = place / name / f"{camera}{options.format}"
                path.parent.mkdir(exist_ok=True)
                step = partial(_told, report, f"writing {path.relative_to(place)}", len(frames))
                io.write(_sixteen_bits(frames, pair.truth), path, progress=step)
        write_calibration(pair.calibration, place / "truth.json")
        (place / "cameras.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return CamerasOutcome(
        output,
        tuple(sorted(path for path in output.rglob("*") if path.is_file())),
        (len(pair.coarse), len(pair.sharp)),
        (pair.coarse.shape, pair.sharp.shape),
    )


def _before_grid(pair: Virtual, options: CamerasOptions) -> Virtual:
    """Return the same two cameras before a grid that stands still, square after square in both views."""
    rows, columns = pair.sharp.shape
    pitch = max(min(rows, columns) / _SQUARES, _PIXELS * options.cameras.scale)
    config = TargetConfig(size=(rows, columns), pitch=(pitch, pitch), contrast=(0.8, 0.8))
    target = TargetParams.draw(config, generator=stream(options.cameras.seed, "grid")).render()
    frames = np.repeat(_BRIGHTEST * target[None] / target.max(), _GRID_FRAMES, axis=0)
    times = pair.truth.times[:1] + np.arange(_GRID_FRAMES) * np.diff(pair.truth.times).mean()
    still = Cine.from_array(frames, times=times, levels=(0.0, 1.0))
    return virtual(still, replace(options.cameras, ratio=1.0, first=0, exposure=1), window=(0.0, 1.0))


def _sixteen_bits(frames: Frames, truth: Frames) -> Cine:
    """Return frames in 16 bits: in the counts of the run if these are of 16 bits, else over the whole depth."""
    own = truth.cine.dtype == np.dtype(np.uint16)
    top = truth.window[1] if own and truth.window[0] == 0 else float(_TOP)

    def frame(i: int) -> NDArray[np.uint16]:
        return np.asarray(np.rint(np.clip(frames.unit(i) * top, 0, _TOP)), np.uint16)

    return Cine(frame, shape=frames.shape, dtype=np.uint16, times=frames.times, levels=(0.0, top))


def _told(report: Progress, what: str, total: int, done: int) -> None:
    report(what, done, total)


def _sha256(run: Path) -> str | None:
    return fingerprint(run).sha256 if run.exists() else None
