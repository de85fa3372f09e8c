"""Which runs a user's files and folders are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import io
from ..cine import Cine
from ..errors import InputError, UnsupportedError
from ..volume import Volume

Run = tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How an input is read.

    Attributes:
        as_: What a folder or file is, where it could be more than one thing.
        series: Which series of a folder: number, description or UID.
        source_fps: True frames per second, where the file states none or a wrong one.
        time_index: Which phase of a volume over time.
        spacing: True spacing of a volume (slice, row, column) in mm, where the file states none or a wrong one.
    """

    as_: Literal["auto", "cine", "volume"] = "auto"
    series: str | None = None
    source_fps: float | None = None
    time_index: int | None = None
    spacing: tuple[float, float, float] | None = None

    def read(self, run: Run) -> Cine:
        """Read one run of frames over time.

        Raises:
            UnsupportedError: It is a volume.
        """
        found = self.read_any(run)
        if isinstance(found, Volume):
            raise UnsupportedError(
                f"is a volume ({found.shape[0]} slices at one time), not a run over time",
                path=run[0],
                remedy="give a run of frames over time",
            )
        return found

    def read_any(self, run: Run) -> Cine | Volume:
        """Read one run of frames over time, or one volume."""
        source = run[0] if len(run) == 1 else list(run)
        return io.read(
            source,
            as_=self.as_,
            series=self.series,
            source_fps=self.source_fps,
            time_index=self.time_index,
            spacing=self.spacing,
        )


def strip_dataset(path: Path) -> Path:
    """Return the file of ``file.h5:/dataset``; any other path as it is."""
    head, mark, _ = str(path).rpartition(":/")
    return Path(head) if mark and not path.exists() and Path(head).suffix else path


def distinct(paths: Iterable[Path]) -> list[Path]:
    """Return output paths such that no two are the same: a name that is taken gets a number.

    Example:
        >>> [path.name for path in distinct([Path("a.html"), Path("b.html"), Path("a.html")])]
        ['a.html', 'b.html', 'a_2.html']
    """
    chosen: list[Path] = []
    for path in paths:
        candidate, number = path, 2
        while candidate in chosen:
            candidate = path.with_name(f"{path.stem}_{number}{path.suffix}")
            number += 1
        chosen.append(candidate)
    return chosen


def collect_runs(inputs: Sequence[Path], options: ReadOptions, *, volumes: bool = False) -> list[Run]:
    """Return the runs that `inputs` name: single images form one run, a folder of many runs gives each of them.

    Args:
        inputs: Files and folders.
        options: How they are read.
        volumes: Count NIfTI, MetaImage and NRRD files in folders too.

    Raises:
        InputError: An input does not exist, or holds no run.
    """
    for path in inputs:
        if not strip_dataset(path).exists():
            raise InputError("does not exist", path=path, remedy="check the name")
    if len(inputs) > 1 and io.are_single_images(inputs):
        return [tuple(inputs)]
    runs: list[Run] = []
    for path in inputs:
        if path.is_dir() and options.as_ == "auto" and options.series is None:
            runs.extend((found,) for found in io.inputs_in(path, volumes=volumes))
        else:
            runs.append((path,))
    if not runs:
        raise InputError("no run in there", path=inputs[0], remedy="give a folder that holds DICOM, video or images")
    return runs
