"""`manifest.json`: what a training set holds, where it came from in hashes, and who is in which split.

No name, number or path of a patient is written: identities are hashed (with the user's salt, if one was given), runs
are named by number, and their files by SHA-256 alone.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .._version import __version__
from ..errors import InputError
from ..training.patients import Split

NAME = "manifest.json"
Layout = Literal["scanweave", "most-dsa", "super-slomo"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredFrame(_Model):
    """One frame of a clip."""

    index: int = Field(description="Its 0-based index in the run that it came from")
    time: float = Field(description="Its time in that run, in the clip's time unit")
    sha256: str = Field(description="Hash of its pixels: dtype, shape and values as kept")
    constant: bool = Field(default=False, description="All its pixels are equal, so that it tells no patients apart")


class ClipEntry(_Model):
    """One clip: frames of one run, in order, without repeats and cuts."""

    folder: str = Field(description="Where it lies, below the manifest")
    split: Split
    patient: str = Field(description="Pseudonym: a hash")
    run: str = Field(description="The run that it came from, by number")
    storage: Literal["png", "npy"] = Field(description="A PNG per frame, or frames.npy (frame, row, column[, 3])")
    files: tuple[str, ...] = Field(description="File names in order of time; one for npy")
    shape: tuple[int, ...] = Field(description="Rows, columns, and 3 where there is colour")
    dtype: str
    levels: tuple[float, float] = Field(description="Values in the files that mean 0 and 1")
    time_unit: Literal["s", "frame"]
    box: tuple[int, int, int, int] = Field(description="Part of the run's frames: top, bottom, left, right")
    frames: tuple[StoredFrame, ...]


class Leak(NamedTuple):
    """Two clips of different splits that share a patient or a frame."""

    reason: str
    one: ClipEntry
    two: ClipEntry


class RunEntry(_Model):
    """One run that was read."""

    run: str
    patient: str
    split: Split
    told_by: str = Field(description="What told its patient: DICOM PatientID, table, folder, or file")
    sha256: str = Field(description="Hash of its file or files")
    frames: int
    clips: int
    notes: tuple[str, ...] = ()


class Manifest(_Model):
    """A training set for interpolation."""

    schema_version: Literal[1] = 1
    software: str = f"scanweave {__version__}"
    layout: Layout
    config: dict[str, Any] = Field(description="Every option of its preparation, but for the salt")
    rules: tuple[str, ...] = Field(description="How patients were told apart and split, in words")
    shared_patients: tuple[Split, ...] = Field(
        default=(), description="Splits that share patients on request: test and validation, as published"
    )
    runs: tuple[RunEntry, ...]
    clips: tuple[ClipEntry, ...]

    def write(self, folder: Path) -> None:
        """Write it into `folder`."""
        (folder / NAME).write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a set.

        Raises:
            InputError: It cannot be read, or is none.
        """
        path = folder / NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", path=path) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise InputError(
                f"is no manifest of a training set: {where}: {first['msg']}",
                path=path,
                remedy="prepare the set again",
            ) from error

    def leaks(self) -> list[Leak]:
        """Return what is in two splits that must share nothing: patients, and equal frames."""
        found: list[Leak] = []
        homes: dict[str, dict[Split, ClipEntry]] = defaultdict(dict)
        places: dict[str, dict[Split, ClipEntry]] = defaultdict(dict)
        for clip in self.clips:
            homes[clip.patient].setdefault(clip.split, clip)
            for frame in clip.frames:
                if not frame.constant:
                    places[frame.sha256].setdefault(clip.split, clip)
        for what, shared in (("patient", homes), ("frame", places)):
            for where in shared.values():
                if self._apart(set(where)):
                    one, two = list(where.values())[:2]
                    leak = Leak(f"the same {what} is in {one.folder} and in {two.folder}", one, two)
                    if not found or (leak.one, leak.two) != (found[-1].one, found[-1].two):
                        found.append(leak)
        return found

    def _apart(self, splits: set[Split]) -> bool:
        return len(splits) > 1 and not splits <= set(self.shared_patients)


def pixel_hash(frame: NDArray[Any]) -> str:
    """Return the SHA-256 of dtype, shape and values of a frame, whatever file holds it."""
    little = np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{little.dtype.str} {little.shape} ".encode())
    digest.update(little.tobytes())
    return digest.hexdigest()
