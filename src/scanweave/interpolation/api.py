"""The verb: a cine run -> the same run at any finer set of times, made lazily, gap by gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ..cine import Cine, Derivation
from ..errors import InputError, UsageError
from ..ops import WarpConvention
from ..trust.calibration import Calibration, calibrate
from ..trust.survey import moving_region, survey
from .augmentation import augmented
from .config import InterpolateConfig, NetworkOptions, validated
from .interpolated import FrameStore, InterpolatedCine
from .methods import DEFAULT_METHOD, Cautious, Method, create, runs_without_network
from .regions import RegionPlan, kept_inside, plan_regions
from .timeline import Slot, exposures_saved, schedule, surveyed

Progress = Callable[[str, int, int], None]


def interpolate(
    cine: Cine,
    *,
    factor: int | None = None,
    inter_frames: int | None = None,
    to_fps: float | None = None,
    times: Sequence[float] | None = None,
    method: str | Method = DEFAULT_METHOD,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    compile: bool = False,
    tile: int | Literal["auto"] = "auto",
    flow_scale: float = 1.0,
    warp_convention: WarpConvention | None = None,
    mean: tuple[float, float, float] | None = None,
    tta: bool = False,
    regions: Literal["auto", "tags", "data", "off"] = "auto",
    interpolate_flow: bool = False,
    duplicates: Literal["report", "drop"] = "report",
    confidence: Literal["off", "frames", "map"] = "frames",
    time_axis: Literal["physical", "display"] = "physical",
    playback_fps: float | None = None,
    store: FrameStore | None = None,
    progress: Progress | None = None,
) -> InterpolatedCine:
    """Make the frames between the acquired ones.

    The run is surveyed (one pass), a part of it is hidden and made again to calibrate confidence, and then nothing is
    made until a frame is asked for. The options are those of `InterpolateConfig`, which explains each.

    Args:
        cine: The run, at least two frames.
        factor: Divide every gap into this many parts.
        inter_frames: Make this many frames in every gap.
        to_fps: Resample true time to this rate.
        times: Make the frames at these times, in seconds from the first frame (a run without times: in frames).
        method: A name, or any object that speaks the protocol of `scanweave.interpolation.methods`.
        weights: Weights of a network: a file, or the name of one in the user's folder.
        device: Where a network runs.
        precision: Arithmetic of a network's convolutions.
        compile: Compile a network first.
        tile: Side of the tiles that a network takes large frames in.
        flow_scale: Let a network find the motion on frames resized by this.
        warp_convention: Where the flows of ``super-slomo`` point.
        mean: Mean colour that ``super-slomo`` subtracts.
        tta: Average with the pass turned by 180 degrees.
        regions: How it is found what to interpolate.
        interpolate_flow: Interpolate colour flow, spectral and M-mode too.
        duplicates: Report exact repeats, or take them off the time axis.
        confidence: Whether to calibrate on hidden frames.
        time_axis: What a derived DICOM states.
        playback_fps: Rate at which the result is meant to be shown.
        store: Where made frames are kept as they are made.
        progress: Called with (what is being done, how many done, of how many).

    Returns:
        The interpolated run; acquired frames come out bit for bit.

    Raises:
        InputError: Fewer than two frames.
        UsageError: Options that contradict each other.

    Example:
        >>> import numpy as np
        >>> run = Cine.from_array(np.random.default_rng(0).integers(0, 255, (3, 32, 32), dtype=np.uint8), fps=30)
        >>> slow = interpolate(run, factor=4, method="linear")
        >>> len(slow), bool((slow.frame(4) == run.frame(1)).all())
        (9, True)
    """
    options = {
        "factor": factor,
        "inter_frames": inter_frames,
        "to_fps": to_fps,
        "times": None if times is None else tuple(times),
        "method": method if isinstance(method, str) else method.name,
        "weights": weights,
        "device": device,
        "precision": precision,
        "compile": compile,
        "tile": tile,
        "flow_scale": flow_scale,
        "warp_convention": warp_convention,
        "mean": mean,
        "tta": tta,
        "regions": regions,
        "interpolate_flow": interpolate_flow,
        "duplicates": duplicates,
        "confidence": confidence,
        "time_axis": time_axis,
        "playback_fps": playback_fps,
    }
    config = validated(options)
    return interpolate_as(cine, config, method=named_method(method, config), store=store, progress=progress)


def interpolate_as(
    cine: Cine,
    config: InterpolateConfig,
    *,
    method: Method | None = None,
    store: FrameStore | None = None,
    progress: Progress | None = None,
) -> InterpolatedCine:
    """Make the frames between the acquired ones as `config` says; see `interpolate`.

    Args:
        cine: The run.
        config: All options.
        method: The method itself, in place of the one that `config` names.
        store: Where made frames are kept.
        progress: Called with (what is being done, how many done, of how many).
    """
    if len(cine) < 2:
        raise InputError(
            f"{len(cine)} frame: there is nothing to interpolate between",
            path=cine.source.path,
            remedy="give a run of two frames or more",
        )
    report = progress or (lambda what, done, total: None)
    seen = survey(cine, progress=lambda done, total: report("looking at the run", done, total))
    acquired, run = surveyed(cine, duplicates=config.duplicates, survey=seen)
    dropped = set(seen.duplicates) if acquired is not cine else set()
    original = [k for k in range(len(cine)) if k not in dropped]
    regions = plan_regions(acquired, run, mode=config.regions, interpolate_flow=config.interpolate_flow)
    base = method or named_method(config.method, config)
    whole = prepared_method(base, config, regions)
    slots = schedule(
        acquired.times,
        factor=config.factor,
        inter_frames=config.inter_frames,
        to_fps=config.to_fps,
        at_times=config.times,
        cuts=run.cuts,
        time_unit=acquired.time_unit,
    )
    calibration = None
    if config.confidence != "off" and any(slot.kind == "made" for slot in slots):
        calibration = calibrate(
            acquired,
            whole,
            region=moving_region(run) & regions.mask,
            duplicates=run.duplicates,
            cuts=run.cuts,
            progress=lambda done, total: report("calibrating on hidden frames", done, total),
        )
    if calibration is None and config.confidence == "map":
        raise InputError(
            "too few frames can be hidden to calibrate confidence, so there is no map",
            path=cine.source.path,
            remedy="leave out --confidence map",
        )
    return InterpolatedCine(
        acquired,
        slots,
        original=original,
        method=whole,
        run=run,
        regions=regions,
        calibration=calibration,
        derivation=_derivation(cine, whole, config, regions),
        notes=[
            *_notes(cine, seen.notes(), regions, config, calibration, slots, dropped=len(dropped)),
            *_cautions(base, slots),
        ],
        store=store,
    )


def named_method(name: str | Method, options: NetworkOptions) -> Method:
    """Return the method called `name`, a network with the options given for it (a method object as it is).

    Raises:
        UsageError: No such method, or weights, a device and the like for one that has no network.
        WeightsError: None for one that runs on weights.
    """
    given = options.given()
    if not isinstance(name, str):
        if given:
            raise UsageError(f"method {name.name!r} has its options already", remedy=f"leave out {', '.join(given)}")
        return name
    if not runs_without_network(name):
        return create(name, **given)
    if given.get("device") == "cpu":
        del given["device"]
    if given:
        flags = ", ".join(f"--{option.replace('_', '-')}" for option in given)
        raise UsageError(f"method {name!r} has no network: {flags} cannot be heeded", remedy=f"leave out {flags}")
    return create(name)


def prepared_method(method: Method, config: InterpolateConfig, regions: RegionPlan) -> Method:
    """Return the method as a run uses it: augmented, and kept inside the regions."""
    return kept_inside(augmented(method) if config.tta else method, regions)


def playback_rate(cine: Cine, config: InterpolateConfig) -> float | None:
    """Return the rate at which the result is meant to be shown, or None where the run has no times."""
    return config.playback_fps or config.to_fps or cine.fps


def _derivation(cine: Cine, method: Method, config: InterpolateConfig, regions: RegionPlan) -> Derivation:
    if config.divisor is not None:
        what = f"every gap divided in {config.divisor}"
    elif config.to_fps is not None:
        what = f"resampled to {config.to_fps:g} frames per second"
    else:
        what = "frames made at listed times"
    described = method.describe()
    summary = (
        f"Temporal interpolation, {what}; method {method.name}; made frames are synthetic, acquired frames unchanged; "
        f"interpolated: {regions.in_words}"
    )
    convention = described.get("config", {}).get("warp_convention")
    if convention is not None:
        summary += f"; warp convention {convention}"
    if described.get("precision", "float32") != "float32":
        summary += f"; computed in {described['precision']}"
    if config.tta:
        summary += "; averaged with the pass turned by 180 degrees"
    return Derivation(
        source_length=len(cine),
        method=method.name,
        summary=summary,
        factor=config.divisor,
        time_axis=config.time_axis,
        playback_rate=playback_rate(cine, config),
        weights_sha256=described.get("weights_sha256"),
    )


def _cautions(method: Method, slots: Sequence[Slot]) -> list[str]:
    times = sorted({slot.t for slot in slots if slot.kind == "made"})
    return method.cautions(times) if isinstance(method, Cautious) and times else []


def _notes(
    cine: Cine,
    found: Sequence[str],
    regions: RegionPlan,
    config: InterpolateConfig,
    calibration: Calibration | None,
    slots: Sequence[Slot],
    *,
    dropped: int,
) -> list[str]:
    notes = [*cine.source.notes, *found, *regions.warnings, *regions.notes]
    if dropped:
        frames = "frame was" if dropped == 1 else "frames were"
        notes.append(f"{dropped} duplicate {frames} taken off the time axis before interpolation.")
    copied = sum(slot.kind == "copied" for slot in slots)
    if copied:
        notes.append(f"{copied} frames across cuts are repeats of the nearest acquired frame: cuts are never bridged.")
    if config.inter_frames:
        notes.append(exposures_saved(config.inter_frames + 1))
    if calibration is None and config.confidence != "off":
        notes.append("Too few frames can be hidden to calibrate confidence on this run.")
    return notes
