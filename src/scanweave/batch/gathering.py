"""The runs that a training set is made of, and whose they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import io
from ..errors import InputError, ScanweaveError, UsageError
from ..plan import fingerprint
from ..training.patients import Split, Told, read_table, tell
from .inputs import ReadOptions, Run, collect_runs, strip_dataset
from .prepare_options import PrepareOptions

Progress = Callable[[str, int, int], None]

_STATED_FOLDERS: tuple[tuple[Split, tuple[str, ...]], ...] = (
    ("train", ("train_Dicoms", "trainDicoms")),
    ("test", ("test_Dicoms", "testDicoms")),
)


@dataclass(frozen=True)
class SetInputs:
    """What a set is made of.

    Attributes:
        any: SetInputs that are split by patient.
        train: SetInputs to train on, stated by the user.
        test: SetInputs to test on, stated by the user.
    """

    any: tuple[Path, ...] = ()
    train: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()


@dataclass(frozen=True)
class SourceRun:
    """A run, before it is read."""

    run: Run
    root: Path
    stated: Split | None


@dataclass(frozen=True)
class KnownRun:
    """A run of which it is known whose it is."""

    source: SourceRun
    sha256: str
    told: Told

    @property
    def path(self) -> Path:
        """The file or folder, or the first of several."""
        return self.source.run[0]


def find_runs(inputs: SetInputs, reading: ReadOptions) -> list[SourceRun]:
    """Return every run that the inputs hold; an input with train_Dicoms and test_Dicoms in it states its splits.

    Raises:
        UsageError: No input, or one states its split and another does not.
        InputError: An input does not exist, or holds no run.
    """
    if bool(inputs.train) != bool(inputs.test):
        came, other = ("--train", "--test") if inputs.train else ("--test", "--train")
        raise UsageError(f"{came} without {other}", remedy="state both, or neither")
    if inputs.train and inputs.any:
        raise UsageError("inputs beside --train and --test belong to neither", remedy="name them after one of these")
    groups: list[tuple[Split | None, Sequence[Path]]] = [("train", inputs.train), ("test", inputs.test)]
    for path in inputs.any:
        homes = {
            split: next((path / name for name in names if (path / name).is_dir()), None)
            for split, names in _STATED_FOLDERS
        }
        if all(homes.values()):
            groups += [(split, [home]) for split, home in homes.items() if home is not None]
        else:
            groups.append((None, [path]))
    if len(inputs.any) > 1 and io.are_single_images(inputs.any):
        groups = [(None, inputs.any)]
    found = []
    for split, paths in groups:
        for batch in [paths] if len(paths) > 1 and io.are_single_images(paths) else [[path] for path in paths]:
            root = batch[0] if batch[0].is_dir() else batch[0].parent
            found += [SourceRun(run, root, split) for run in collect_runs(batch, reading)]
    if not found:
        raise UsageError("no input", remedy="name a file or a folder")
    if {source.stated for source in found} > {None}:
        raise UsageError(
            "some inputs state who trains and who tests, others do not", remedy="prepare them one after the other"
        )
    return found


def know_runs(
    sources: Sequence[SourceRun], options: PrepareOptions, reading: ReadOptions, report: Progress
) -> tuple[list[KnownRun], list[str]]:
    """Read every run as far as it takes to tell its patient; copies of a run are left out.

    Returns:
        The runs, and notes on what was left out.

    Raises:
        InputError: A run cannot be read, or its patient cannot be told.
        UsageError: A copy of a run was given to another split or patient.
    """
    table = None if options.patients is None else read_table(options.patients)
    homes: dict[str, KnownRun] = {}
    notes: list[str] = []
    for k, source in enumerate(sources):
        try:
            cine = reading.read(source.run)
            digests = [fingerprint(strip_dataset(path)).sha256 for path in source.run]
        except ScanweaveError as error:
            if not options.skip_unreadable:
                raise
            notes.append(f"{source.run[0]}: Left out: {error.reason}.")
            continue
        sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        told = tell(source.run[0], source.root, cine, sha256=sha256, how=options.patient_from, table=table)
        one = KnownRun(source, sha256, told)
        if (home := homes.setdefault(sha256, one)) is not one:
            _refuse_copy(one, home)
            notes.append(f"{one.path}: Left out: a copy of {home.path}.")
        report("looking at the inputs", k + 1, len(sources))
    if not homes:
        raise InputError(f"none of {len(sources)} inputs can be read", remedy="see each with `scanweave info`")
    return list(homes.values()), notes


def _refuse_copy(copy: KnownRun, home: KnownRun) -> None:
    """Refuse a copy that the user gave to another split, or to another patient."""
    if copy.source.stated != home.source.stated:
        raise UsageError(
            f"is a copy of {home.path}, which is to {home.source.stated}, while this is to {copy.source.stated}",
            path=copy.path,
            remedy="leave one of them out",
        )
    if copy.told.identity != home.told.identity:
        raise UsageError(
            f"is a copy of {home.path}, of another patient",
            path=copy.path,
            remedy="leave one of them out, or give both one patient with --patients",
        )
