"""The manifest of deformed copies: what was drawn, made and measured; and the folder that it is true of."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import OutputError
from ..io.files import atomic_output, check_output, remove_leftovers
from ..plan import Plan, fingerprint

CONVENTION = (
    "Fields are vector NIfTI files as ITK reads them, in mm along LPS, on the grid of the image: the copy at p shows "
    "what the source has at p + d(p)."
)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MadeFile(_Model):
    """One file of a copy, or a folder of them: a DICOM series."""

    name: str = Field(description="Below the folder of the manifest")
    sha256: str = Field(description="Hash of its bytes; of a folder: of its files' names and bytes in order")


class CopyEntry(_Model):
    """One deformed copy."""

    stem: str = Field(description="Name of the image, or of its slice")
    copy_: int = Field(alias="copy", description="Number of the copy, from 0")
    params: dict[str, Any] = Field(description="What was drawn: with the plan's method it makes the same copy again")
    files: dict[str, MadeFile] = Field(description="By kind: image, label (label2, ...), field; diffused, ...")
    checks: dict[str, Any] = Field(description="What was measured of the field (FieldChecks)")
    label_checks: tuple[tuple[dict[str, Any], ...], ...] = Field(description="Of each map, of each label (LabelChecks)")


class Manifest(_Model):
    """What lies in a folder of deformed copies."""

    schema_version: int = 1
    plan: Plan
    complete: bool = False
    convention: str = CONVENTION
    copies: tuple[CopyEntry, ...] = ()
    diversity_mm: dict[str, float] = Field(
        default_factory=dict, description="Of the copies of each image: how much their fields differ"
    )
    notes: tuple[str, ...] = ()
    notice: str = "Deformed copies are synthetic. For research use only; not for diagnosis."


class CopyStore:
    """The copies of one folder, finished or not.

    Args:
        root: The folder.
        name: Of the manifest in it.
        plan: What decides the copies.
        inputs: Files that must not be touched.
        overwrite: Throw away what an earlier run left: the files and series that its manifest names, no others.
        resume: Keep what an earlier run of the same plan left.

    Raises:
        OutputError: The folder holds something that may not be replaced.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        plan: Plan,
        *,
        inputs: Sequence[Path],
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        self.root, self._file = root, root / name
        self.manifest = Manifest(plan=plan)
        self.found = 0
        check_output(root, list(inputs), overwrite=True)
        if self._file.exists():
            self._take_up(plan, overwrite=overwrite, resume=resume)
            remove_leftovers(self._file)
        elif root.is_file() or any(path.is_file() for path in root.rglob("*")):
            raise OutputError(
                "exists already, and is no folder of deformed copies", path=root, remedy="give a new folder with -o"
            )

    def _take_up(self, plan: Plan, *, overwrite: bool, resume: bool) -> None:
        try:
            before = Manifest.model_validate_json(self._file.read_bytes())
        except (ValidationError, OSError) as error:
            raise OutputError(
                "exists already, and is no manifest of deformed copies", path=self._file, remedy="give a new folder"
            ) from error
        if resume and before.plan.digest() == plan.digest():
            kept = tuple(entry for entry in before.copies if self._is_whole(entry))
            whole = before.complete and len(kept) == len(before.copies)
            self.manifest = before if whole else before.model_copy(update={"copies": kept, "complete": False})
            self.found = len(kept)
        elif overwrite:
            for file in (file for entry in before.copies for file in entry.files.values()):
                _remove(self._path(file))
            self._file.unlink()
        elif resume:
            raise OutputError(
                "holds copies of another input or of other options",
                path=self.root,
                remedy="give the options of the interrupted run, or --overwrite to start again",
            )
        else:
            state = "exists already" if before.complete else "an earlier run was interrupted and left its copies here"
            remedy = "add --overwrite to replace it" + ("" if before.complete else ", or --resume to go on with it")
            raise OutputError(state, path=self.root, remedy=remedy)

    def _is_whole(self, entry: CopyEntry) -> bool:
        return all(
            self._path(file).exists() and fingerprint(self._path(file)).sha256 == file.sha256
            for file in entry.files.values()
        )

    def _path(self, file: MadeFile) -> Path:
        path = self.root / file.name
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise OutputError(f"names a file outside its folder: {file.name}", path=self._file)
        return path

    def path(self, entry: CopyEntry, kind: str) -> Path:
        """Return where a file of a copy lies."""
        return self._path(entry.files[kind])

    def has(self, stem: str, copy: int) -> bool:
        """Return whether a copy is there."""
        return any(entry.stem == stem and entry.copy_ == copy for entry in self.manifest.copies)

    def begin(self) -> None:
        """Say whose folder this is, before the first file lies in it: a run that is killed then can be taken up."""
        if not self._file.exists():
            self._write()

    def add(self, entry: CopyEntry) -> None:
        """Take in a copy whose files are written."""
        copies = sorted((*self.manifest.copies, entry), key=lambda one: (one.stem, one.copy_))
        self._write(copies=tuple(copies))

    def set_diversity(self, stem: str, found: float) -> None:
        """Keep how much the copies of an image differ."""
        self._write(diversity_mm={**self.manifest.diversity_mm, stem: found})

    def finish(self, notes: tuple[str, ...]) -> Manifest:
        """Say that all copies are there, and return the manifest."""
        self._write(complete=True, notes=notes)
        return self.manifest

    def _write(self, **changes: Any) -> None:
        self.manifest = self.manifest.model_copy(update=changes)
        with atomic_output(self._file) as place:
            place.write_text(self.manifest.model_dump_json(indent=1, by_alias=True), encoding="utf-8")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
