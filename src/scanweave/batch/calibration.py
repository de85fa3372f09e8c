"""Calibration of two cameras from files: the frames of both in, one JSON file and a picture out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ScanweaveError, UsageError
from ..fusion.calibration import Calibration, Shape, write_calibration
from ..fusion.clocks import Clocks, check_times, enclosing, from_images, from_stamps, nearest
from ..fusion.frames import Field
from ..fusion.grid import calibrate_by_grid
from ..fusion.picture import write_picture
from ..fusion.published_calibration import (
    ITERATIONS,
    WINDOW,
    NetworkFlow,
    PublishedOutcome,
    calibrate_as_published,
    lattice_flow,
)
from ..fusion.published_files import SavedValues, published_names, published_tag, read_published, write_published
from ..fusion.published_grid import GridTolerances
from ..fusion.reading import CameraRun, experiment, read_camera
from ..fusion.registration import calibrate_by_scene
from ..fusion.views import View, mean_view, signals
from ..io.files import check_output
from ..plan import fingerprint

Target = Literal["auto", "grid", "scene"]
Method = Literal["lattice", "published-grid", "raft"]

_SHARP_FRAMES = 18  # that the published program takes where nothing marks any


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """How two cameras are calibrated.

    Attributes:
        method: ``lattice``: ours, without a network; ``published-grid``: the published grid procedure, in which the
            lattice tells which square is which; ``raft``: the same, in which a network tells.
        weights: Of ``raft``: a file, or the name of one in the user's folder.
        as_published: Of the published procedure: keep its choice of frames, its fit and its defects.
        tolerances: Of the published procedure.
        window: Of ``raft``: side of the window that the network sees, sharp pixels.
        iterations: Of ``raft``: steps of its search.
        device: Of ``raft``: where it runs.
        published_output: Folder for the published program's files of this calibration.
        published_id: What their names begin with.
        target: What both see: a ``grid`` of squares, a textured ``scene``; ``auto`` tries the grid first.
        mirrored: One camera sees the scene mirrored, left to right.
        turned: Quarter turns of one camera against the other are tried too; of a grid only.
        ratio: Sharp pixels in the side of a coarse one, roughly; of a scene only.
        clocks: ``stamps``: each run's own time stamps, when it is fused; ``images``: what moves in these frames.
        fit_rate: Of ``images``: find the clocks' rate too; needs a long run in which much happens.
        clock_offset: Seconds that the sharp clock shows when the fast one shows 0, if it is known.
        published: Folder of the published program's three ``.npy`` files, to convert instead of calibrating.
        published_tag: What their names have in common, where the folder holds several.
    """

    method: Method = "lattice"
    weights: str | None = None
    as_published: bool = False
    tolerances: GridTolerances = GridTolerances()
    window: int = WINDOW
    iterations: int = ITERATIONS
    device: str = "auto"
    published_output: Path | None = None
    published_id: str = "1"
    target: Target = "auto"
    mirrored: bool = False
    turned: bool = False
    ratio: float | None = None
    clocks: Literal["stamps", "images"] = "stamps"
    fit_rate: bool = False
    clock_offset: float | None = None
    published: Path | None = None
    published_tag: str | None = None


@dataclass(frozen=True)
class CaseCheck:
    """Whether a case can use a calibration.

    Attributes:
        name: Of its folder.
        enclosed: Fast frames that lie between two sharp ones.
        frames: Fast and sharp frames.
        problem: Why it cannot, on one line; empty if it can.
    """

    name: str
    enclosed: int = 0
    frames: tuple[int, int] = (0, 0)
    problem: str = ""


def calibrate_files(
    fast: CameraRun, sharp: CameraRun, output: Path, options: CalibrateOptions, *, overwrite: bool = False
) -> Calibration:
    """Calibrate two cameras; write the calibration to `output`, and a picture of how it fits to ``output.png``.

    Raises:
        InputError: The views do not overlap in space or time, roles are swapped, or frames are dead or saturated.
        OutputError: A file exists already, or cannot be written.
    """
    _refuse_contradictions(options)
    picture, beside = picture_path(output), published_paths(options)
    sources = list(dict.fromkeys(path for run in (fast, sharp) for path in (run.cine.source.path, *run.files) if path))
    for path in (output, picture, *beside):
        check_output(path, sources, overwrite=overwrite)
    clocks = None if options.clock_offset is None else Clocks(offset=options.clock_offset)
    views = published_views(fast, sharp) if options.as_published else simultaneous(fast, sharp, clocks)
    found, saved = _spatial(*views, options)
    if options.clocks == "images":
        clocks = _clocks_of_images(fast, sharp, found, fit_rate=options.fit_rate)
        if not options.as_published:
            views = simultaneous(fast, sharp, clocks)
            found, saved = _spatial(*views, options)
    notes = (*found.notes, *(note for view in views for note in view.notes))
    hashed = tuple(f"{path.name} {fingerprint(path).sha256}" for path in sources)
    found = found.model_copy(update={"clocks": clocks, "notes": notes, "sources": (*found.sources, *hashed)})
    found.common()  # refuses views without overlap
    if options.published_output is not None:
        saved = saved or SavedValues.of_calibration(found)
        write_published(saved, options.published_output, tag=_tag(options), overwrite=overwrite)
    write_picture(found, views[0].mean, views[1].mean, picture)
    write_calibration(found, output)
    return found


def picture_path(output: Path) -> Path:
    """Return where the picture of a calibration lies."""
    return output.with_name(output.name + ".png")


def published_paths(options: CalibrateOptions) -> list[Path]:
    """Return the published program's files that are written, if they are."""
    folder = options.published_output
    return [] if folder is None else [folder / name for name in published_names(_tag(options)).values()]


def published_views(fast: CameraRun, sharp: CameraRun) -> tuple[View, View]:
    """Return means of the frames that the published program takes, whatever their times.

    Of the fast camera all but the first; of the sharp one those that its metadata marks, else 18 behind the middle.

    Raises:
        InputError: Frames are dead or saturated, or there is none.
    """
    count = len(sharp.cine)
    first = max(min(count // 2 + 1, count - _SHARP_FRAMES), 0)
    marked = np.arange(first, min(first + _SHARP_FRAMES, count)) if sharp.record is None else sharp.record.marked
    of_fast = np.arange(min(1, len(fast.cine) - 1), len(fast.cine))
    return _view(fast, "fast", of_fast), _view(sharp, "sharp", np.asarray(marked, np.int64))


def simultaneous(fast: CameraRun, sharp: CameraRun, clocks: Clocks | None = None) -> tuple[View, View]:
    """Return the mean of both cameras' frames that show the same moments; of all where times are not known.

    Raises:
        InputError: No moment is common to both, or frames are dead or saturated.
    """
    if not (fast.timed and sharp.timed and len(sharp.cine) > 1):
        return _view(fast, "fast"), _view(sharp, "sharp")
    if clocks is None and fast.record is not None and sharp.record is not None:
        clocks = from_stamps(fast.record, sharp.record)
    fast_times, sharp_times = fast.cine.times, sharp.cine.times
    moments = (clocks or Clocks()).on_sharp(fast_times)
    check_times(fast_times, sharp_times, clocks or Clocks())
    chosen = np.arange(len(sharp.cine)) if sharp.record is None else sharp.record.marked
    partner = nearest(moments, sharp_times[chosen], within=float(np.median(np.diff(moments))))
    return _view(fast, "fast", partner[partner >= 0]), _view(sharp, "sharp", chosen[partner >= 0])


def check_cases(calibration: Calibration, folder: Path) -> list[CaseCheck]:
    """Say of every case in a folder of experiments whether it can use one calibration; nothing is written."""
    cases = sorted(path for path in folder.iterdir() if path.is_dir() and experiment(path)) if folder.is_dir() else []
    if not cases:
        raise InputError("holds no experiment of the published layout", path=folder, remedy="give a folder of cases")
    return [_checked(calibration, case) for case in cases]


def _checked(calibration: Calibration, folder: Path) -> CaseCheck:
    try:
        fast, sharp = read_camera(folder, "fast"), read_camera(folder, "sharp")
        calibration.check(_shape(fast), _shape(sharp))
        if fast.record is None or sharp.record is None:
            raise InputError("has no metadata of both cameras, so that times are not known", path=folder)
        clocks = calibration.clocks or from_stamps(fast.record, sharp.record)
        sharp_times = sharp.cine.times[sharp.record.marked]
        check_times(fast.cine.times, sharp_times, clocks)
        before, after = enclosing(sharp_times, clocks.on_sharp(fast.cine.times))
    except ScanweaveError as error:
        return CaseCheck(folder.name, problem=str(error))
    return CaseCheck(folder.name, int(np.sum((before >= 0) & (after >= 0))), (len(fast.cine), len(sharp.cine)))


def _refuse_contradictions(options: CalibrateOptions) -> None:
    if options.clocks == "images" and options.clock_offset is not None:
        raise UsageError("a stated offset of the clocks and clocks from images contradict each other")
    if options.fit_rate and options.clocks != "images":
        raise UsageError("the rate of the clocks is found from images", remedy="give --clocks images too")
    ours = options.method == "lattice"
    if options.published is not None and (options.ratio is not None or options.turned or not ours):
        raise UsageError(
            "a published calibration is converted as it is", remedy="leave out --ratio, --turned and --method"
        )
    if (options.method == "raft") != (options.weights is not None):
        raise UsageError(
            f"method {options.method} {'has no weights' if options.weights is None else 'takes no weights'}",
            remedy="give --method raft --weights FILE together, or neither",
        )
    if options.as_published and ours:
        raise UsageError("--as-published is of the published procedure", remedy="give --method published-grid or raft")
    if not ours and (options.target == "scene" or options.ratio is not None or options.turned):
        raise UsageError(
            f"method {options.method} needs a grid, and takes neither --ratio nor --turned",
            remedy="leave these out, or --method",
        )


def _tag(options: CalibrateOptions) -> str:
    return published_tag(options.published_id, options.tolerances)


def _by_published_steps(
    coarse: NDArray[np.float64], fine: NDArray[np.float64], options: CalibrateOptions
) -> PublishedOutcome:
    flow = (
        lattice_flow(coarse, fine, mirrored=options.mirrored)
        if options.weights is None
        else NetworkFlow(options.weights, options.window, options.iterations, options.device, options.as_published)
    )
    return calibrate_as_published(
        coarse,
        fine,
        flow,
        method=options.method,
        mirrored=options.mirrored,
        tolerances=options.tolerances,
        defects=options.as_published,
    )


def _spatial(fast: View, sharp: View, options: CalibrateOptions) -> tuple[Calibration, SavedValues | None]:
    """Return the calibration, and what the published program would save of it where its own fit is kept."""
    coarse, fine = fast.mean, sharp.mean
    if options.method != "lattice":
        outcome = _by_published_steps(coarse, fine, options)
        return outcome.calibration, SavedValues.of_fit(outcome.fit) if options.as_published else None
    if options.published is not None:
        shapes = [(one.shape[0], one.shape[1]) for one in (coarse, fine)]
        tag = options.published_tag
        return read_published(options.published, coarse_shape=shapes[0], sharp_shape=shapes[1], tag=tag), None
    return _ours(coarse, fine, options), None


def _ours(coarse: NDArray[np.float64], fine: NDArray[np.float64], options: CalibrateOptions) -> Calibration:
    if options.target != "scene":
        try:
            return calibrate_by_grid(coarse, fine, mirrored=options.mirrored, turned=options.turned)
        except InputError as error:
            if options.target == "grid":
                raise
            no_grid = error.reason
    found = calibrate_by_scene(coarse, fine, mirrored=options.mirrored, ratio=options.ratio)
    if options.target == "auto":
        return found.model_copy(update={"notes": (*found.notes, f"By the scene, since {no_grid}.")})
    return found


def _view(run: CameraRun, camera: str, frames: NDArray[np.int64] | None = None) -> View:
    """Return the mean of frames; with dark and flat field, where there are any, taken off."""
    view = mean_view(run.cine, None if frames is None else frames.tolist(), name=f"{camera} camera")
    field = Field.of(_shape(run), dark=run.dark, flat=run.flat)
    return replace(view, mean=(view.mean - field.dark) / field.gain, notes=(*view.notes, *field.notes))


def _shape(run: CameraRun) -> Shape:
    return run.cine.shape[0], run.cine.shape[1]


def _clocks_of_images(fast: CameraRun, sharp: CameraRun, calibration: Calibration, *, fit_rate: bool) -> Clocks:
    for camera, run in (("fast", fast), ("sharp", sharp)):
        if not run.timed:
            raise InputError(
                f"nothing tells the times of the {camera} camera's frames",
                path=run.cine.source.path,
                remedy=f"give --{camera}-times or --{camera}-fps",
            )
    exposures = [(run.record.exposure_ns or 0.0) * 1e-9 if run.record else 0.0 for run in (fast, sharp)]
    return from_images(
        signals(fast.cine, calibration, sharp=False),
        fast.cine.times,
        signals(sharp.cine, calibration, sharp=True),
        sharp.cine.times,
        fit_rate=fit_rate,
        fast_exposure=exposures[0],
        sharp_exposure=exposures[1],
    )
