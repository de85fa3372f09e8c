"""Who is in a set of runs, and which patients train, validate and test.

Frames of one patient must never be in two splits: a network that has seen a heart is not tested by it.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..cine import Cine
from ..errors import InputError, UsageError
from ..volume import Volume

PatientFrom = Literal["auto", "id", "folder", "file"]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_HOW = {
    "auto": "by DICOM PatientID and its issuer; where there is none, by the first folder below the input, or by the"
    " file where it lies in the input itself",
    "id": "by DICOM PatientID and its issuer",
    "folder": "by the first folder below the input, or by the file where it lies in the input itself",
    "file": "by file: every run counts as a patient",
    "table": "by a table of the user's",
}


@dataclass(frozen=True)
class Told:
    """A patient, told apart from others.

    Attributes:
        identity: What tells it; may name the patient, and is never written.
        told_by: ``DICOM PatientID``, ``folder``, ``file`` or ``table``.
    """

    identity: str
    told_by: str

    def pseudonym(self, salt: str) -> str:
        """Return the hash that stands for the patient in a manifest.

        Without a secret salt, who knows how identifiers look can try them all.
        """
        return hashlib.sha256(f"{salt}\0{self.identity}".encode()).hexdigest()


def rule_in_words(how: PatientFrom, *, table: bool) -> str:
    """Say how patients are told apart."""
    return f"Patients are told apart {_HOW['table' if table else how]}."


def tell(
    path: Path,
    root: Path,
    run: Cine | Volume,
    *,
    sha256: str,
    how: PatientFrom,
    table: Mapping[str, str] | None = None,
) -> Told:
    """Tell the patient of a run.

    Args:
        path: The run.
        root: The input that it was found in.
        run: The run as read.
        sha256: Hash of its files, or what else stands for them; where a file stands for a patient, copies of it are
            that patient too.
        how: What tells patients apart.
        table: Patient of each path or file name, in place of `how`.

    Raises:
        InputError: The table does not hold it, or it has no PatientID and `how` is ``id``.
    """
    if table is not None:
        for key in (str(path), _relative(path, root), path.name):
            if key in table:
                return Told(f"table {table[key]}", "table")
        raise InputError("is not in the table of patients", path=path, remedy="add a line: its path or name, patient")
    if how in ("auto", "id"):
        identity = _patient_id(run)
        if identity is not None:
            return Told(f"id {identity}", "DICOM PatientID")
        if how == "id":
            raise InputError(
                "has no DICOM PatientID", path=path, remedy="use --patient-from folder or file, or --patients TABLE.csv"
            )
    parts = Path(_relative(path, root)).parts
    if how in ("auto", "folder") and len(parts) > 1:
        # Not the whole path: a set that was moved is split as before.
        return Told(f"folder {root.resolve().name}/{parts[0]}", "folder")
    return Told(f"file {sha256}", "folder" if path.is_dir() else "file")


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root and path.is_relative_to(root) else path.name


def _patient_id(run: Cine | Volume) -> str | None:
    header = run.source.header
    if header is None:
        return None
    from pydicom import Dataset

    from ..io.dicom.elements import text

    if not isinstance(header, Dataset):
        return None

    identity = text(header, "PatientID").strip()
    return f"{text(header, 'IssuerOfPatientID').strip()}|{identity}" if identity else None


def read_table(path: Path) -> dict[str, str]:
    """Read ``path or file name, patient`` lines (CSV); a first line ``file,patient`` is a heading.

    Raises:
        InputError: It cannot be read, or a line has not two fields, or names a file twice.
    """
    table: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read as a table: {error}", path=path) from error
    for number, row in enumerate(rows, start=1):
        fields = [field.strip() for field in row]
        if not any(fields) or (number == 1 and [field.casefold() for field in fields] == ["file", "patient"]):
            continue
        if len(fields) != 2 or not all(fields):
            raise InputError(f"line {number} has not two fields", path=path, remedy="write: file,patient")
        if table.get(fields[0], fields[1]) != fields[1]:
            raise InputError(f"line {number}: {fields[0]} has two patients", path=path)
        table[fields[0]] = fields[1]
    return table


def split_patients(
    identities: Sequence[str], *, shares: tuple[float, float, float], seed: int, stated: Mapping[str, Split] | None
) -> dict[str, Split]:
    """Give every patient a split; the same seed and patients give the same splits, in whatever order they come.

    Args:
        identities: One per run.
        shares: Shares of train, validation and test among the patients; a split with a share gets one at least.
        seed: Decides who goes where.
        stated: Splits that the user stated; of those to train on, the validation share is taken, and no more split.

    Raises:
        UsageError: Too few patients for the splits asked for, or shares that make no sense.
    """
    if min(shares) < 0 or not sum(shares) > 0 or shares[0] == 0:
        raise UsageError(
            f"shares {shares} for train, validation and test", remedy="give three numbers, the first above 0"
        )
    if not stated:
        return _dealt(sorted(set(identities)), dict(zip(SPLITS, shares, strict=True)), seed)
    fixed = {who: split for who, split in stated.items() if split != "train"}
    train = sorted(set(stated) - set(fixed))
    rest: dict[Split, float] = {"train": shares[0]}
    if "validation" not in fixed.values():
        rest["validation"] = shares[1]
    return fixed | _dealt(train, rest, seed)


def _dealt(patients: Sequence[str], shares: Mapping[Split, float], seed: int) -> dict[str, Split]:
    wanted = {split: share for split, share in shares.items() if share > 0}
    if len(patients) < len(wanted):
        raise UsageError(
            f"{len(patients)} patient{'' if len(patients) == 1 else 's'} for {len(wanted)} splits"
            f" ({', '.join(wanted)}), which may share none",
            remedy="give more patients; or --split 1,0,0 to train on all; or tell patients apart in another way"
            " (--patient-from, --patients)",
        )
    order = sorted(patients, key=lambda who: hashlib.sha256(f"{seed}\0{who}".encode()).digest())
    total = sum(wanted.values())
    # One patient for each split, the others by largest remainder.
    spare = len(patients) - len(wanted)
    exact = {split: max(share / total * len(patients) - 1, 0.0) for split, share in wanted.items()}
    scale = spare / sum(exact.values()) if sum(exact.values()) else 0.0
    counts = {split: 1 + int(part * scale) for split, part in exact.items()}
    by_remainder = sorted(wanted, key=lambda split: exact[split] * scale % 1, reverse=True)
    for split in by_remainder[: len(patients) - sum(counts.values())]:
        counts[split] += 1
    dealt: dict[str, Split] = {}
    for split, count in counts.items():
        dealt |= dict.fromkeys(order[len(dealt) : len(dealt) + count], split)
    return dealt


def refuse_two_splits(stated: Sequence[tuple[str, Split, Path]]) -> dict[str, Split]:
    """Return the stated split of each patient.

    Raises:
        InputError: One is stated to be in two.
    """
    homes: dict[str, dict[Split, Path]] = defaultdict(dict)
    for identity, split, path in stated:
        homes[identity].setdefault(split, path)
    for where in homes.values():
        if len(where) > 1:
            (one, first), (two, second) = list(where.items())[:2]
            raise InputError(
                f"is given to {two}, and {first}, of the same patient, to {one}",
                path=second,
                remedy="a patient may be in one split only; move one of them",
            )
    return {identity: next(iter(where)) for identity, where in homes.items()}
