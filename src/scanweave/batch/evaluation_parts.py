"""Scores of an unfinished evaluation: one file per case in ``OUTPUT.partial/``, written by whoever scored it.

Every process of an evaluation owns the cases of its share and writes their files alone; who finds all of them there at
its end puts them together. Files are keyed by the plan and by hashes of what the case was read from, so that a killed
evaluation goes on where it was, and scores of other data or options are never mixed in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputError, ScanweaveError
from ..interpolation.evaluate import Case, CaseScores, Row
from ..io.files import atomic_output
from ..plan import InputFile, fingerprint


@dataclass(frozen=True)
class Failure:
    """A case that could not be scored."""

    case: str
    message: str
    exit_code: int


@dataclass(frozen=True)
class Part:
    """What is known of one case.

    Attributes:
        case: Its name.
        scores: Its rows and notes; None where it failed.
        failure: Why; None where it was scored.
        sha256: Hash of what it was read from; empty where that could not be read.
        bytes: Size of that.
    """

    case: str
    scores: CaseScores | None = None
    failure: Failure | None = None
    sha256: str = ""
    bytes: int = 0


class Parts:
    """The finished cases of one evaluation.

    Args:
        output: Folder that the evaluation will write.
        digest: Hash of its plan.
        count: How many cases it has.
    """

    def __init__(self, output: Path, digest: str, count: int) -> None:
        self.folder = output.with_name(output.name + ".partial")
        self._merging = output.with_name(output.name + ".partial.merging")
        self._digest = digest
        self._count = count

    def take_up(self, mine: Sequence[int], *, resume: bool, overwrite: bool) -> None:
        """Make ready for the cases of one process: keep, throw away or refuse what an earlier evaluation left of them.

        Raises:
            OutputError: It left some and neither `resume` nor `overwrite` is given, or it had another plan.
        """
        if self._merging.is_dir() and not self.folder.exists():
            # An earlier evaluation was killed while it put them together.
            self._merging.rename(self.folder)
        left = [self._file(index) for index in mine if self._file(index).exists()]
        if overwrite and not resume:
            for file in left:
                file.unlink(missing_ok=True)
        elif left and not resume:
            raise OutputError(
                "an earlier evaluation was interrupted and left its scores here",
                path=self.folder,
                remedy="add --resume to go on with it, or --overwrite to start again",
            )
        elif not overwrite:
            for file in left:
                told = _read(file)
                if told is not None and told.get("plan") != self._digest:
                    raise OutputError(
                        "holds scores of other methods or options",
                        path=self.folder,
                        remedy="give the options of the interrupted evaluation, or --overwrite to start again",
                    )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror or error}", path=self.folder) from error

    def finished(self, index: int, case: Case) -> bool:
        """Whether the scores of a case are there, and of what its files hold now; one that failed is tried again."""
        part = self._load(index, case)
        if part is None or part.scores is None:
            return False
        sha256, _ = hash_of(case.files)
        if sha256 != part.sha256:
            self._file(index).unlink(missing_ok=True)
            return False
        return True

    def save(self, index: int, part: Part) -> None:
        """Keep what is known of a case; whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        scores = part.scores
        told: dict[str, Any] = {
            "plan": self._digest,
            "case": part.case,
            "sha256": part.sha256,
            "bytes": part.bytes,
            "rows": [] if scores is None else [asdict(row) for row in scores.rows],
            "notes": [] if scores is None else list(scores.notes),
            "failure": None if part.failure is None else asdict(part.failure),
        }
        with atomic_output(self._file(index)) as target:
            target.write_text(json.dumps(told), encoding="utf-8")

    def gathered(self, cases: Sequence[Case]) -> list[Part] | None:
        """Return what is known of every case, in their order; None while other processes are at work on some."""
        found = [self._load(index, case) for index, case in enumerate(cases)]
        whole = [part for part in found if part is not None]
        return whole if len(whole) == self._count else None

    def claim(self) -> bool:
        """Whether it falls to this process to put them together: of several that find all there, to one."""
        try:
            self.folder.rename(self._merging)
        except FileNotFoundError:
            return False
        return True

    def give_back(self) -> None:
        """Undo `claim`: putting them together failed."""
        self._merging.rename(self.folder)

    def discard(self) -> None:
        """Remove what was put together."""
        shutil.rmtree(self._merging, ignore_errors=True)

    def tidy(self) -> None:
        """Leave nothing behind where nothing was kept."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def count(self) -> int:
        """Return how many cases are kept."""
        return sum(1 for _ in self.folder.glob("*.json"))

    def _file(self, index: int) -> Path:
        return self.folder / f"{index:06d}.json"

    def _load(self, index: int, case: Case) -> Part | None:
        told = _read(self._file(index))
        if told is None or told.get("plan") != self._digest or told.get("case") != case.name:
            return None
        failure = None if told["failure"] is None else Failure(**told["failure"])
        scores = CaseScores(tuple(Row(**row) for row in told["rows"]), tuple(told["notes"]))
        return Part(case.name, None if failure else scores, failure, told["sha256"], told["bytes"])


def failed(case: Case, error: ScanweaveError) -> Part:
    """Return the part of a case that failed."""
    return Part(case.name, failure=Failure(case.name, str(error), error.exit_code))


def hash_of(files: Sequence[Path]) -> tuple[str, int]:
    """Return one hash of all files, and how many bytes they are.

    Raises:
        InputError: One cannot be read.
    """
    prints: list[InputFile] = [fingerprint(path) for path in files]
    if len(prints) == 1:
        return prints[0].sha256, prints[0].bytes
    joined = hashlib.sha256("".join(one.sha256 for one in prints).encode()).hexdigest()
    return joined, sum(one.bytes for one in prints)


def _read(file: Path) -> dict[str, Any] | None:
    """Return what a file of a case says; None where there is none, or a damaged one, which is made again."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
