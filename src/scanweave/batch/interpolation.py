"""Interpolate files: read, make, write, side-car, and on request report, side-by-side film and confidence map."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .. import io
from ..errors import InputError, OutputError, ScanweaveError
from ..interpolation.api import Progress, interpolate_as, named_method, playback_rate
from ..interpolation.augmentation import augmented
from ..interpolation.config import InterpolateConfig
from ..interpolation.interpolated import InterpolatedCine
from ..io.ahead import reading_ahead
from ..io.files import atomic_output, check_output
from ..io.video import write_pictures
from ..plan import FrameEntry, Plan, SideCar, fingerprint, plain, sidecar_path
from ..trust.report import leave_one_out, trust_page, trust_summary, write_trust_report
from .films import confidence_map, side_by_side
from .inputs import ReadOptions, Run, distinct, strip_dataset
from .many import FINISHED, each_on_its_own
from .partial import PartialStore, until_whole


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """What is written, and how.

    Attributes:
        format: Suffix of the results of many inputs; None keeps each input's own.
        single_frames: DICOM as one file per frame.
        mark_synthetic: Burn a small mark into made frames.
        side_by_side: Also write a film of original, slow motion and frame repetition.
        report: Also write the trust report.
        report_hidden: It hides at most so many frames per gap; `scanweave trust` hides all.
        overwrite: Replace outputs that exist.
        resume: Go on with an interrupted run; leave finished ones as they are.
    """

    format: str | None = None
    single_frames: bool = False
    mark_synthetic: bool = False
    side_by_side: bool = False
    report: bool = False
    report_hidden: int = 64
    overwrite: bool = False
    resume: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    source: str
    outputs: tuple[Path, ...] = ()
    frames: int = 0
    made: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    trust: dict[str, Any] = field(default_factory=dict)
    error: ScanweaveError | None = None


def interpolate_file(
    run: Run,
    output: Path,
    config: InterpolateConfig,
    *,
    reading: ReadOptions | None = None,
    writing: WriteOptions | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Interpolate one run and write everything that was asked for.

    The output and its side-car come first; film, map and report are made from the same frames. A run that fails leaves
    nothing; one that is interrupted leaves ``<output>.partial/``, from which `WriteOptions.resume` goes on.

    Args:
        run: One file or folder, or single images that form one run in this order.
        output: Where the result goes; its suffix picks the format.
        config: What is made.
        reading: How the run is read.
        writing: What is written.
        progress: Called with (what is being done, how many done, of how many).

    Raises:
        ScanweaveError: Whatever is wrong with input, options or output.
    """
    reading, writing = reading or ReadOptions(), writing or WriteOptions()
    report = progress or (lambda what, done, total: None)
    started = time.perf_counter()
    files = [strip_dataset(path) for path in run]
    place = strip_dataset(output)
    extras = _extra_outputs(place, config, writing)
    targets = [place, sidecar_path(place), *extras.values()]
    for path in targets:
        # Whether it is an input is always checked; whether it exists, unless this may be a finished run.
        check_output(path, files, overwrite=writing.overwrite or writing.resume)
    method = named_method(config.method, config)
    plan = Plan(
        verb="interpolate",
        inputs=tuple(fingerprint(path) for path in files),
        config=plain(config) | plain(reading) | _written_as(writing) | {"input": [str(path) for path in run]},
        method=(augmented(method) if config.tta else method).describe(),
        seed=config.seed,
    )
    written = writing.resume and _states_plan(place, plan)
    if written and all(path.exists() for path in targets):
        return Outcome(str(run[0]), tuple(targets), notes=(FINISHED,))
    if not written and not writing.overwrite:
        for path in targets:
            check_output(path, files)
    cine = reading.read(run)
    store = PartialStore(place, plan, resume=writing.resume, overwrite=writing.overwrite)
    with until_whole(store), reading_ahead(cine) as acquired:
        slow = interpolate_as(acquired, config, method=method, store=store, progress=report)
        notes = list(slow.notes)
        if not written:
            notes += _write_output(slow, output, config, writing, report)
        if store.found:
            notes.append(f"Taken up after an interruption: {store.found} made frames were there already.")
        if written:
            # The side-car is written anew, and tells of frames only what was seen of them.
            for k in range(len(slow)):
                slow.frame(k)
        else:
            _write_sidecar(place, plan, slow, notes, {})
        trust = _write_extras(slow, extras, config, writing, plan, notes, report)
        if extras:
            _write_sidecar(place, plan, slow, notes, trust)
    made = sum(record.kind == "made" for record in slow.records)
    seconds = time.perf_counter() - started
    outputs = tuple(path for path in targets if path.exists())
    return Outcome(str(run[0]), outputs, len(slow), made, seconds, tuple(notes), trust)


def interpolate_many(
    runs: Sequence[Run],
    folder: Path,
    config: InterpolateConfig,
    *,
    reading: ReadOptions | None = None,
    writing: WriteOptions | None = None,
    progress: Callable[[Path, int, int], Progress] | None = None,
) -> list[Outcome]:
    """Interpolate many runs into a folder, one result each; one that fails does not stop the others.

    Args:
        runs: The runs.
        folder: Where results go, named as their inputs with the factor.
        config: What is made.
        reading: How runs are read.
        writing: What is written.
        progress: Called with (input, its number, how many) before each; returns the callback for that one.

    Raises:
        Interrupted: The user stopped it; what was finished stays, and `WriteOptions.resume` goes on.
    """
    writing = writing or WriteOptions()
    if folder.exists() and not folder.is_dir():
        raise OutputError("is a file; many results need a folder", path=folder, remedy="give another name with -o")
    targets = _targets(runs, folder, config, writing)

    def one(number: int) -> Outcome:
        run = runs[number]
        step = progress(run[0], number, len(runs)) if progress else None
        return interpolate_file(run, targets[number], config, reading=reading, writing=writing, progress=step)

    return each_on_its_own(runs, one, lambda source, error: Outcome(source, error=error))


def _written_as(writing: WriteOptions) -> dict[str, Any]:
    """Return what decides the output's bytes, beside its name; not what is written besides it."""
    return {"single_frames": writing.single_frames, "mark_synthetic": writing.mark_synthetic}


def _write_output(
    slow: InterpolatedCine, output: Path, config: InterpolateConfig, writing: WriteOptions, report: Progress
) -> tuple[str, ...]:
    with reading_ahead(slow) as made_ahead:
        return io.write(
            made_ahead,
            output,
            overwrite=writing.overwrite,
            playback_fps=config.playback_fps,
            single_frames=writing.single_frames,
            mark_synthetic=writing.mark_synthetic,
            progress=lambda done: report("making and writing frames", done, len(slow)),
        )


def _extra_outputs(place: Path, config: InterpolateConfig, writing: WriteOptions) -> dict[str, Path]:
    extras = {}
    if writing.side_by_side:
        extras["side by side"] = place.with_name(f"{place.stem}.side-by-side.mp4")
    if config.confidence == "map":
        extras["confidence"] = place.with_name(f"{place.name}.confidence.tif")
    if writing.report:
        extras["report"] = place.with_name(f"{place.name}.report.html")
    return extras


def _write_extras(
    slow: InterpolatedCine,
    extras: dict[str, Path],
    config: InterpolateConfig,
    writing: WriteOptions,
    plan: Plan,
    notes: list[str],
    report: Progress,
) -> dict[str, Any]:
    """Write film, map and report; return the summary of the report, if there is one.

    A run that is too short to be scored gets a note in place of the report.
    """
    if path := extras.get("side by side"):
        with atomic_output(path) as target:
            write_pictures(
                side_by_side(slow),
                target,
                fps=playback_rate(slow.acquired, config) or 25.0,
                progress=lambda done: report("writing the side-by-side film", done, len(slow)),
            )
    if path := extras.get("confidence"):
        io.write(confidence_map(slow), path, overwrite=True)
    if path := extras.get("report"):
        try:
            return _report(slow, path, plan, writing.report_hidden, report)
        except InputError as error:
            notes.append(f"No trust report: {error.reason}.")
    return {}


def _report(slow: InterpolatedCine, path: Path, plan: Plan, hidden: int, report: Progress) -> dict[str, Any]:
    """Write the trust page of the method as it was used here; return its summary."""
    result = leave_one_out(
        slow.acquired,
        chosen=slow.method,
        survey=slow.survey,
        regions=slow.regions,
        max_hidden=hidden,
        progress=lambda done, total: report("scoring on hidden frames", done, total),
    )
    page = trust_page(slow.acquired, result, slow.survey, slow.regions, chosen=slow.method, made=slow, plan=plan)
    write_trust_report(path, page)
    return trust_summary(result, slow.method.name)


def _targets(runs: Sequence[Run], folder: Path, config: InterpolateConfig, writing: WriteOptions) -> list[Path]:
    """Return one output per run, named as its input with the factor; names never collide."""
    tag = f"_x{config.divisor}" if config.divisor else "_resampled"
    targets: list[Path] = []
    for run in runs:
        source = strip_dataset(run[0])
        stem = source.name if source.is_dir() else source.stem
        suffix = f".{writing.format.lstrip('.')}" if writing.format else io.suffix_like(run[0])
        targets.append(folder / f"{stem}{tag}{suffix}")
    return distinct(targets)


def _states_plan(output: Path, plan: Plan) -> bool:
    """Whether the output is there and its side-car states the same plan."""
    try:
        car = SideCar.model_validate_json(sidecar_path(output).read_bytes())
    except (OSError, ValidationError):
        return False
    return output.exists() and car.plan.digest() == plan.digest()


def _write_sidecar(
    output: Path, plan: Plan, slow: InterpolatedCine, notes: Sequence[str], trust: dict[str, Any]
) -> None:
    car = SideCar(
        output=output.name,
        plan=plan,
        time_unit=slow.time_unit,
        frames=tuple(FrameEntry(**plain(record)) for record in slow.records),
        notes=tuple(notes),
        trust=plain(trust),
    )
    with atomic_output(sidecar_path(output)) as target:
        target.write_text(car.model_dump_json(indent=1), encoding="utf-8")
