"""Which runs are fused: one pair named in a command, the rows of a table, or one run that stands for both cameras."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError, UsageError
from ..fusion.calibration import Calibration, read_calibration
from ..fusion.cameras import CameraRecord
from ..fusion.frames import Field, Frames, Window
from ..fusion.published_pair import CAMERAS, grey, is_published_pair
from ..fusion.reading import Camera, CameraRun, read_camera
from ..fusion.virtual import VirtualOptions, virtual
from .inputs import strip_dataset

_COLUMNS = ("case", "fast", "sharp", "calibration")


@dataclass(frozen=True, kw_only=True)
class CameraFiles:
    """The files of one camera.

    Attributes:
        path: Its run.
        fps: Frames per second, in place of what files state.
        times: Metadata or a text of times.
        dark: Frames without light.
        flat: Frames with light and no sample.
        window: Values that mean 0 and 1, once fields are taken off.
    """

    path: Path
    fps: float | None = None
    times: Path | None = None
    dark: Path | None = None
    flat: Path | None = None
    window: Window | None = None

    @property
    def files(self) -> list[Path]:
        """All that are named."""
        return [strip_dataset(self.path), *(one for one in (self.times, self.dark, self.flat) if one is not None)]

    def read(self, camera: Camera) -> CameraRun:
        """Read the run; errors as of `read_camera`."""
        return read_camera(self.path, camera, fps=self.fps, times=self.times, dark=self.dark, flat=self.flat)

    def frames(self, run: CameraRun, camera: Camera) -> Frames:
        """Return the run as methods see it."""
        return Frames.of(run.cine, camera, field=self.field(run), window=self.window)

    def field(self, run: CameraRun) -> Field:
        """Return the camera's dark and flat field.

        Raises:
            InputError: They are not this camera's, or wrong.
        """
        try:
            return Field.of((run.cine.shape[0], run.cine.shape[1]), dark=run.dark, flat=run.flat)
        except InputError as error:
            error.path = error.path or str(self.flat or self.dark or self.path)
            raise


@dataclass(frozen=True, kw_only=True)
class Case:
    """One pair of runs, or one run that stands for both.

    Attributes:
        name: What its result is called, where there are many.
        fast: The fast camera; of a virtual experiment the run itself.
        sharp: The sharp camera; None of a virtual experiment.
        calibration: How the two go together; None of a virtual experiment, which knows.
    """

    name: str
    fast: CameraFiles
    sharp: CameraFiles | None = None
    calibration: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All inputs, each once."""
        found = [*self.fast.files, *(self.sharp.files if self.sharp else ())]
        return list(dict.fromkeys([*found, *([self.calibration] if self.calibration else ())]))


@dataclass(frozen=True, eq=False)
class Opened:
    """A case whose runs are open.

    Attributes:
        coarse: The fast camera's run.
        sharp: The sharp camera's run.
        calibration: How they go together.
        truth: Of a virtual experiment the run itself, else None.
        records: Metadata of both cameras, where both have some.
        notes: What was odd about the files.
    """

    coarse: Frames
    sharp: Frames
    calibration: Calibration
    truth: Frames | None = None
    records: tuple[CameraRecord, CameraRecord] | None = None
    notes: tuple[str, ...] = ()


def opened(case: Case, cameras: VirtualOptions | None) -> Opened:
    """Open the runs of a case.

    Raises:
        InputError: Missing or damaged files, or runs without times.
        UsageError: No calibration.
    """
    if case.sharp is None:
        return _virtual(case.fast, cameras or VirtualOptions())
    if case.calibration is None:
        raise UsageError(
            f"nothing says how the two cameras of {case.name} go together",
            remedy="give --calibration FILE; scanweave calibrate makes one",
        )
    calibration = read_calibration(case.calibration)
    fast, sharp = case.fast.read("fast"), case.sharp.read("sharp")
    for camera, run, files in (("fast", fast, case.fast), ("sharp", sharp, case.sharp)):
        if not run.timed:
            raise InputError(
                f"nothing states the times of the {camera} camera's frames",
                path=files.path,
                remedy=f"give --{camera}-fps, or --{camera}-times with its metadata",
            )
    records = None if fast.record is None or sharp.record is None else (fast.record, sharp.record)
    notes = (*fast.cine.source.notes, *sharp.cine.source.notes)
    return Opened(
        case.fast.frames(fast, "fast"), case.sharp.frames(sharp, "sharp"), calibration, records=records, notes=notes
    )


def _virtual(files: CameraFiles, cameras: VirtualOptions) -> Opened:
    """Open a virtual experiment: a run, or the published folder of one at full size and reduced."""
    recorded = None
    if is_published_pair(files.path):
        recorded = grey(replace(files, path=files.path / CAMERAS["fast"]).read("fast").cine)
        files = replace(files, path=files.path / CAMERAS["sharp"])
    run = files.read("sharp")
    truth = run.cine if recorded is None else grey(run.cine)
    pair = virtual(truth, cameras, field=files.field(run), window=files.window, recorded=recorded)
    return Opened(pair.coarse, pair.sharp, pair.calibration, pair.truth, notes=truth.source.notes)


def cases_of(table: Path, like: Case) -> list[Case]:
    """Return the cases that a table names: CSV with a header of fast and sharp, or case, and calibration if need be.

    A column ``case`` names published experiment folders, or names results where ``fast`` and ``sharp`` are given too.
    Paths are relative to the table. What it leaves open is as `like` has it.

    Raises:
        InputError: No such table, or rows that name no runs.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read as a table of cases: {error}", path=table) from error
    unknown = [name for name in (rows[0] if rows else ()) if name not in _COLUMNS]
    if unknown or not rows:
        said = f"has a column {unknown[0]!r}" if unknown else "names no case"
        raise InputError(said, path=table, remedy=f"write CSV with columns {', '.join(_COLUMNS)}, a case in each row")
    return [_case(row, number, table, like) for number, row in enumerate(rows)]


def _case(row: dict[str, str | None], number: int, table: Path, like: Case) -> Case:
    told = {name: value.strip() for name, value in row.items() if value and value.strip()}
    fast, sharp = (told.get(name) or told.get("case") for name in ("fast", "sharp"))
    if fast is None or sharp is None or ("fast" in told) != ("sharp" in told):
        raise InputError(
            f"row {number + 1} names no fast and sharp run", path=table, remedy="fill in fast and sharp, or case"
        )
    place = table.parent
    calibration = place / told["calibration"] if "calibration" in told else like.calibration
    sharp_files = like.sharp or CameraFiles(path=place)
    return Case(
        name=Path(told.get("case") or strip_dataset(Path(fast)).stem).name,
        fast=replace(like.fast, path=place / fast),
        sharp=replace(sharp_files, path=place / sharp),
        calibration=calibration,
    )


def names_of(cases: Sequence[Case]) -> list[str]:
    """Return the names of results, no two alike."""
    names: list[str] = []
    for case in cases:
        name, number = case.name, 2
        while name in names:
            name, number = f"{case.name}_{number}", number + 1
        names.append(name)
    return names
