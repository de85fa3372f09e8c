"""``scanweave fuse --fast FAST --sharp SHARP --calibration FILE -o OUT``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..batch.fusion import FusionOptions, FusionOutcome, fuse_cases, summary
from ..batch.fusion_cases import CameraFiles, Case, cases_of
from ..batch.fusion_judged import TrustOptions
from ..batch.inputs import strip_dataset
from ..errors import UsageError
from ..fusion.profiles import Line
from ..fusion.virtual import VirtualOptions
from .common import Meter, Output, ended, parse


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the methods; a method that has one not refuses it."""

    weights: str | None = None
    """Networks: file of weights, or the name of one in your folder of weights."""

    device: str | None = None
    """Networks: auto, cpu, cuda, cuda:1, mps."""

    precision: Literal["float32", "bfloat16"] | None = None
    """Networks: arithmetic of the wide layers."""

    tile: int | None = None
    """Networks: side of tiles in sharp pixels, for frames that do not fit into memory; 0 takes frames whole."""

    overlap: int | None = None
    """Networks: how far tiles are seen beyond, in sharp pixels; by default so far that seams are exact."""

    motion: Literal["sharp", "coarse", "none"] | None = None
    """Flow: between which frames motion is found."""

    correction: Literal["auto"] | float | None = None
    """Flow: share of the difference to the coarse frame that is added; auto: what it has in excess of noise."""

    def told(self) -> tuple[tuple[str, Any], ...]:
        """Return them by name."""
        names = ("weights", "device", "precision", "tile", "overlap", "motion", "correction")
        return tuple((name, getattr(self, name)) for name in names)


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """How both cameras' runs are read, where files do not tell."""

    fast_fps: float | None = None
    """Frames per second of the fast camera."""

    sharp_fps: float | None = None
    """Frames per second of the sharp camera."""

    fast_times: Path | None = None
    """Metadata of the fast camera (.ini, .xml), or a text with the seconds of one frame a line."""

    sharp_times: Path | None = None
    """Metadata of the sharp camera, or a text of times."""

    fast_dark: Path | None = None
    """Frames of the fast camera without light; their mean is taken off."""

    fast_flat: Path | None = None
    """Frames of the fast camera with light and no sample; with them frames become transmissions."""

    sharp_dark: Path | None = None
    """Frames of the sharp camera without light."""

    sharp_flat: Path | None = None
    """Frames of the sharp camera with light and no sample."""

    fast_window: tuple[float, float] | None = None
    """Values of the fast camera that mean 0 and 1 to methods; by default those of the depth that is used."""

    sharp_window: tuple[float, float] | None = None
    """Values of the sharp camera that mean 0 and 1."""

    def of(self, camera: Literal["fast", "sharp"], path: Path) -> CameraFiles:
        """Return the files of one camera."""
        told = {name: getattr(self, f"{camera}_{name}") for name in ("fps", "times", "dark", "flat", "window")}
        return CameraFiles(path=path, **told)


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """Of --virtual: what the two cameras are that one run stands for."""

    ratio: float = 10.0
    """Frames of the run per sharp frame; need not be whole."""

    scale: float = 4.0
    """Sharp pixels in the side of a coarse one."""

    blur: float = 0.0
    """Blur of the fast camera, standard deviation in coarse pixels, before its pixels average."""

    noise: float = 0.0
    """Normal noise of coarse frames, standard deviation over the window."""

    photons: float | None = None
    """Photons in a coarse pixel at the window's upper end, for Poisson noise."""

    offset: tuple[float, float] = (0.0, 0.0)
    """Shift of the coarse view in sharp pixels, along columns and rows."""

    angle: float = 0.0
    """Rotation of the coarse view, radians."""

    first: int = 0
    """Frame of the run that the first sharp exposure begins with, counted from 0."""

    exposure: int = 1
    """Frames of the run that a sharp frame averages over."""

    seed: int = 0
    """Of the noise."""

    def options(self) -> VirtualOptions:
        """Return them for the simulator."""
        return VirtualOptions(**vars(self))


@dataclass(frozen=True, kw_only=True)
class Fuse:
    """Make the frames that a sharp but slow camera missed, from those and a coarse but fast camera's.

    Runs are TIFF stacks, folders of frames, HDF5 (file.h5, file.h5:/group/dataset), or the published experiment folder,
    which holds both cameras: name it for both. All frames made are synthetic. Research use only.
    """

    output: Output
    """File to write (.tif, .h5, .h5:/dataset, .npy ...); without suffix a folder. Of many cases a folder."""

    fast: Path | None = None
    """Run of the coarse but fast camera."""

    sharp: Path | None = None
    """Run of the sharp but slow camera."""

    calibration: Path | None = None
    """How the two cameras go together: a file that scanweave calibrate wrote."""

    cases: Path | None = None
    """Table of many pairs in place of --fast and --sharp: CSV with columns fast and sharp, or case for published
    folders, and calibration where not all share --calibration."""

    virtual: Path | None = None
    """One run that stands for both cameras, which are simulated; what is made is scored against it. Of a folder with HR
    and LR, as published, the frames in LR are the fast camera's."""

    method: str | None = None
    """hold, bicubic, temporal-linear, flow; block-fusion, whose weights come with scanweave; edvr-stf, swin-xvr with
    --weights. By default edvr-stf with weights, else flow."""

    mode: Literal["continuous", "held-out", "published-continuous", "published-double"] = "continuous"
    """A frame at every moment of the fast camera; or each sharp frame again, from its neighbours, with scores. The
    published modes choose frames by the published tables: clamped at the ends, where truth leaks into published-double.
    """

    match: Literal["linear", "none"] | None = None
    """Bring the fast camera's intensities to the sharp one's by a line; by default so, but not with --virtual."""

    depth: Literal["stored", "float32"] = "stored"
    """Write whole numbers as the sharp camera stores them, or unrounded; with a flat field always float32."""

    published: bool = False
    """Also write OUT.published.npz and OUT.published.csv, as the published programs do."""

    format: Annotated[str, tyro.conf.arg(metavar="SUFFIX")] = ".tif"
    """Suffix of the results of many cases."""

    workers: int = 1
    """Processes that share many cases, or the frames of one. Further ones, on any machine that has the same folders,
    join in by the same command with --resume."""

    consistent: bool = False
    """Move each frame until, averaged over the coarse camera's pixels, it agrees with the coarse frame within noise."""

    report: Annotated[Path | None, tyro.conf.arg(metavar="REPORT.html")] = None
    """Trust report to write: every frame against both cameras, sharp frames hidden and made again; of many cases a
    folder of them."""

    profile: Annotated[tuple[float, float, float, float] | None, tyro.conf.arg(metavar="X0 Y0 X1 Y1")] = None
    """Of the report: line of the profile, in sharp pixels; by default across the strongest edge that moves."""

    camera_blur: float | None = None
    """Of the report: blur of the fast camera, standard deviation in its pixels; by default as frames taken at once
    tell."""

    options: Options = Options()
    cameras: Cameras = Cameras()
    simulated: Simulated = Simulated()

    overwrite: bool = False
    """Replace results that exist; an input is never overwritten."""

    resume: bool = False
    """Go on with a run that was interrupted; its made frames lie in OUTPUT.partial/. Finished results stay."""

    json: bool = False
    """Print the outcome as JSON on standard output."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(Fuse, args, prog="fuse")
    cases = _cases(command)
    with Meter(silent=command.json) as meter:
        outcomes = fuse_cases(
            cases,
            command.output,
            _options(command),
            workers=command.workers,
            overwrite=command.overwrite,
            resume=command.resume,
            progress=meter,
        )
    return ended(outcomes, as_json=command.json, told=summary, show=_print)


def _cases(command: Fuse) -> list[Case]:
    """Return what is to be fused.

    Raises:
        UsageError: Neither a pair, nor a table, nor a run that stands for both; or more than one of them.
    """
    pair = command.fast is not None and command.sharp is not None
    if sum((pair, command.cases is not None, command.virtual is not None)) != 1 or (
        not pair and (command.fast or command.sharp)
    ):
        raise UsageError(
            "fuse works on one of: --fast and --sharp, --cases, --virtual", remedy="give just one of the three"
        )
    _refuse_without_effect(command)
    if command.virtual is not None:
        run = command.virtual
        return [Case(name=strip_dataset(run).stem, fast=command.cameras.of("sharp", run))]
    here = Path()
    pairs = Case(
        name=strip_dataset(command.fast or here).stem,
        fast=command.cameras.of("fast", command.fast or here),
        sharp=command.cameras.of("sharp", command.sharp or here),
        calibration=command.calibration,
    )
    return [pairs] if command.cases is None else cases_of(command.cases, pairs)


def _refuse_without_effect(command: Fuse) -> None:
    """Refuse options that would change nothing, rather than let them be taken for heeded."""
    if command.virtual is not None and command.calibration is not None:
        raise UsageError(
            "--calibration has no effect with --virtual, which simulates both cameras", remedy="leave one of them out"
        )
    usual = vars(Simulated())
    told = [f"--{name}" for name, value in vars(command.simulated).items() if value != usual[name]]
    if command.virtual is None and told:
        one = f"{', '.join(told)}: without effect but on cameras that --virtual simulates"
        raise UsageError(one, remedy="leave it out, or give --virtual RUN")


def _options(command: Fuse) -> FusionOptions:
    return FusionOptions(
        method=command.method,
        options=command.options.told(),
        mode=command.mode,
        match=command.match,
        depth=command.depth,
        cameras=None if command.virtual is None else command.simulated.options(),
        published=command.published,
        format=command.format,
        consistent=command.consistent,
        trust=_trust(command),
    )


def _trust(command: Fuse) -> TrustOptions | None:
    """Return how made frames are judged; None where no report is asked for.

    Raises:
        UsageError: Options of a report, and none is asked for.
    """
    if command.report is None:
        if command.profile is not None or command.camera_blur is not None:
            raise UsageError("--profile and --camera-blur are of a report", remedy="give --report REPORT.html")
        return None
    line = None if command.profile is None else Line(*command.profile)
    return TrustOptions(report=command.report, line=line, blur=command.camera_blur)


def _print(outcome: FusionOutcome) -> None:
    if outcome.error is not None:
        print(f"scanweave: error: {outcome.source}: {outcome.error}", file=sys.stderr)
        return
    for note in outcome.notes:
        print(f"note: {note}", file=sys.stderr)
    rows, columns = outcome.shape
    print(f"{outcome.source}: {outcome.frames} frames of {rows} x {columns} by {outcome.method}")
    if outcome.scores:
        found = outcome.scores
        print(f"  {found['psnr']:.2f} dB, SSIM {found['ssim']:.4f} over {found['frames']} frames that it had not seen")
    moved = outcome.trust.get("consistency")
    if moved is not None and "verdict" not in outcome.trust:
        print(f"  reduced chi-square {moved['before']:.2f} before frames were moved, {moved['after']:.2f} after")
    for line in outcome.trust.get("verdict", ()):
        print(f"  {line}")
    print("  all frames are synthetic; research use only")
    for path in outcome.outputs:
        print(f"  {path}")
