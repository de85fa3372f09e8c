"""The verb: a sharp but slow camera and a coarse but fast one -> sharp and fast."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from numpy.typing import NDArray

from ..cine import Cine, Derivation, FrameRecord, Source
from ..errors import InputError, UsageError
from .at_once import matched
from .calibration import Calibration, read_calibration
from .cameras import CameraRecord
from .choice import Choice, LeftOut, Pick
from .clocks import Clocks, check_times, missing
from .consistency import Consistent
from .frames import Frames
from .job import Depth, Job, Mode
from .methods import Method, around, create, needs_weights
from .published_tables import published_tables, traverse
from .scene import common_box, moments

Match: TypeAlias = Literal["linear", "none"]

DEFAULT = "flow"


@dataclass(frozen=True, eq=False)
class Fused:
    """What was made of two runs.

    Attributes:
        cine: The frames, made when asked for.
        job: What decides them.
        box: First column and row, and one past the last, of the sharp frame's part that they show.
    """

    cine: Cine
    job: Job
    box: tuple[int, int, int, int]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, one sentence each."""
        return self.job.notes


def fuse(
    fast: Cine | Frames,
    sharp: Cine | Frames,
    *,
    calibration: Calibration | str | os.PathLike[str],
    method: str | Method | None = None,
    options: Mapping[str, Any] | None = None,
    mode: Mode = "continuous",
    match: Match = "linear",
    depth: Depth = "stored",
    consistent: bool = False,
) -> Fused:
    """Make the sharp frames that the slow camera missed.

    Args:
        fast: The run of the coarse but fast camera; of a `Frames` with its fields and window.
        sharp: That of the sharp but slow one. Times of both are seconds.
        calibration: How the two go together, or the name of a file of it.
        method: Its name or itself; by default ``flow``, or with weights ``edvr-stf``.
        options: The method's own, by name; None where its default holds.
        mode: Which frames are made.
        match: Whether the coarse camera's intensities are brought to the sharp one's by a line.
        depth: ``stored``: as the sharp camera stores them; or unrounded, ``float32``.
        consistent: Move each frame until it agrees with the coarse one within its noise (`.consistency`).

    Returns:
        The run of fused frames; each is made when asked for.

    Raises:
        UsageError: No such method, mode or options.
        InputError: Frames of another size than the calibration's, no overlap in time or space, swapped roles.
        WeightsError: Weights that are damaged or of another network.

    Example:
        >>> import numpy as np
        >>> scene = np.random.default_rng(0).random((9, 8, 8), dtype=np.float32)
        >>> from scanweave.fusion.virtual import VirtualOptions, virtual
        >>> pair = virtual(Cine.from_array(scene, fps=1000, levels=(0, 1)), VirtualOptions(ratio=4, scale=2))
        >>> fused = fuse(pair.coarse, pair.sharp, calibration=pair.calibration, method="temporal-linear")
        >>> len(fused.cine), fused.cine.shape
        (9, (8, 8))
    """
    return fused_by(
        prepare(
            fast if isinstance(fast, Frames) else Frames.of(fast, "fast"),
            sharp if isinstance(sharp, Frames) else Frames.of(sharp, "sharp"),
            calibration if isinstance(calibration, Calibration) else read_calibration(Path(calibration)),
            method=method,
            options=options,
            mode=mode,
            match=match,
            depth=depth,
            consistent=consistent,
        )
    )


def prepare(
    coarse: Frames,
    sharp: Frames,
    calibration: Calibration,
    *,
    method: str | Method | None = None,
    options: Mapping[str, Any] | None = None,
    mode: Mode = "continuous",
    match: Match = "linear",
    depth: Depth = "stored",
    consistent: bool = False,
    records: tuple[CameraRecord, CameraRecord] | None = None,
    like: Frames | None = None,
) -> Job:
    """Check all that :func:`fuse` is given, and decide what it leaves open; nothing is made.

    Args:
        coarse: The fast camera's run.
        sharp: The slow camera's run.
        calibration: How the two go together.
        method: As of `fuse`, as are the others, and errors.
        options: The method's own.
        mode: Which frames are made.
        match: Of intensities.
        depth: Of what is made.
        consistent: Of `fuse`.
        records: Metadata of both cameras, which the published modes go by.
        like: The run whose stored units made frames have; by default the sharp one.
    """
    for name, given, known in (("mode", mode, Mode), ("match", match, Match), ("depth", depth, Depth)):
        if given not in get_args(known):
            raise UsageError(f"{name} {given!r} is none of {', '.join(get_args(known))}")
    chosen = chosen_method(method, options or {})
    if consistent:
        if mode.startswith("published"):
            raise UsageError(
                "published frames are as published", remedy="leave out --consistent, or the published modes"
            )
        chosen = Consistent(chosen)
    calibration.check(coarse.shape, sharp.shape)
    check_times(coarse.times, sharp.times, calibration.clocks or Clocks())
    common_box(calibration)
    notes = [*calibration.notes, *coarse.field.notes, *sharp.field.notes]
    if match == "linear":
        coarse = matched(coarse, sharp, calibration)
        notes.append(f"Intensities of the fast camera were matched: x {coarse.scale:.4g} {coarse.shift:+.4g}.")
    choice = Choice(moments(coarse, calibration), sharp.times, around=around(chosen))
    if mode.startswith("published"):
        picks, left_out = _published(choice, mode, records), list[LeftOut]()
    else:
        picks, left_out = _picks(choice, mode)
    if not picks:
        why = left_out[0].reason if left_out else "no frames belong together"
        raise InputError(
            f"nothing can be made: {why}", remedy="give longer runs: two sharp frames, and coarse ones in between"
        )
    notes += _said(coarse, sharp, picks, left_out)
    return Job(
        coarse, sharp, calibration, chosen, mode, tuple(picks), tuple(left_out), depth, tuple(notes), like or sharp
    )


def fused_by(job: Job, make: Callable[[int], NDArray[Any]] | None = None) -> Fused:
    """Return the run that a job makes; `make` gives frame ``i`` as written, by default the job itself."""
    source, stored = job.sharp.cine.source, job.like.cine
    records = [
        FrameRecord(
            index=i, time=pick.time, kind="made", pair=pick.sharp, t=pick.t, method=job.method.name
        )
        for i, pick in enumerate(job.picks)
    ]  # fmt: skip
    described = job.method.describe()
    cine = Cine(
        make or (lambda i: job.make(i).pixels),
        shape=job.shape,
        dtype=job.dtype,
        times=[pick.time for pick in job.picks],
        time_unit=job.sharp.cine.time_unit,
        levels=job.like.window if job.dtype.kind == "f" else stored.levels,
        display=stored.display,
        source=Source(path=source.path, files=(*source.files, *job.coarse.cine.source.files), format=source.format),
        records=records,
        derivation=Derivation(
            source_length=len(job.sharp),
            method=job.method.name,
            summary=f"{len(job)} frames fused of two cameras by {job.method.name}, {job.mode}",
            weights_sha256=described.get("sha256"),
        ),
    )
    return Fused(cine, job, common_box(job.calibration))


def chosen_method(method: str | Method | None, options: Mapping[str, Any]) -> Method:
    """Return a method by its name, or by the rule where none is named: ``edvr-stf`` with weights, else ``flow``.

    Raises:
        UsageError: No such method, or options that it has not.
        WeightsError: It runs on weights, and none are given.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if method is None:
        method = "edvr-stf" if "weights" in given else DEFAULT
    if isinstance(method, str) and "weights" in given and not needs_weights(method):
        raise UsageError(f"{method} runs without weights", remedy="leave out --weights, or choose a network")
    return create(method, **given)


def _picks(choice: Choice, mode: Mode) -> tuple[list[Pick], list[LeftOut]]:
    if mode == "continuous":
        return choice.split(choice.moments)
    picks: list[Pick] = []
    left_out: list[LeftOut] = []
    times = choice.sharp_times
    others = [replace(choice, sharp_times=times[1 - hidden :: 2]) for hidden in (0, 1)]
    for i, time in enumerate(times):
        found, lost = others[i % 2].split([float(time)])
        picks += [_renumbered(one, 1 - i % 2) for one in found]
        left_out += lost
    return picks, left_out


def _renumbered(pick: Pick, first: int) -> Pick:
    """Return a choice among every other sharp frame, from `first` on, with numbers of the whole run."""
    before, after = (2 * i + first for i in pick.sharp)
    return replace(pick, sharp=(before, after))


def _published(choice: Choice, mode: Mode, records: tuple[CameraRecord, CameraRecord] | None) -> list[Pick]:
    if records is None:
        raise UsageError(
            f"mode {mode} goes by the metadata of both cameras", remedy="give the published folder, or leave this mode"
        )
    tables = published_tables(*records)
    if mode == "published-double" and not tables.consecutive:
        raise InputError(
            "sharp frames that coincide with fast ones are not consecutive, which the published mode requires",
            remedy="use --mode held-out",
        )
    how: Literal["continuous", "double"] = "continuous" if mode == "published-continuous" else "double"
    found = traverse(tables, how, count=len(records[0]))
    return [
        choice.published(
            one, float(choice.moments[one.fast[1]] if one.target is None else choice.sharp_times[one.target])
        )
        for one in found
    ]


def _said(coarse: Frames, sharp: Frames, picks: Sequence[Pick], left_out: Sequence[LeftOut]) -> list[str]:
    """Return what was found in both runs and in the choice of frames."""
    notes = []
    for reason in dict.fromkeys(one.reason for one in left_out):
        count = sum(one.reason == reason for one in left_out)
        notes.append(f"{count} {'moment was' if count == 1 else 'moments were'} left out: {reason}.")
    for frames in (coarse, sharp):
        dropped = int(missing(frames.times).sum())
        if dropped:
            frame = "frame" if dropped == 1 else "frames"
            notes.append(f"The {frames.camera} camera dropped {dropped} {frame}, by its usual interval.")
    late = max(abs(pick.late) for pick in picks)
    if late > 0:
        notes.append(f"The coarse frame nearest to a moment lies up to {late:.4g} s from it.")
    return notes
