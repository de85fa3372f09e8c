"""The output folder of a training: its plan, checkpoints, log and weights; who may go on there, and who must not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import InputError, OutputError, UsageError
from ..io.files import atomic_output, remove_leftovers
from ..plan import Plan, plain
from .checkpoints import Checkpoints
from .config import MAY_DIFFER
from .lock import FolderLock

_PARTS = ("plan.json", "log.jsonl", "checkpoints", "tensorboard", "weights")
_EXPLODED = "exploded_step_*.json"


class TrainingFolder:
    """What a training leaves: ``plan.json  log.jsonl  checkpoints/  tensorboard/  weights/``.

    Args:
        path: The folder; made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints")
        self.weights = path / "weights"
        self._lock = FolderLock(path)

    @property
    def plan_path(self) -> Path:
        """Where the resolved plan lies; given as a configuration it trains again."""
        return self.path / "plan.json"

    def begin(self, plan: Plan, *, steps: int, resume: bool, overwrite: bool) -> dict[str, Any] | None:
        """Make the folder ready for `steps` steps by `plan`; return the state to go on from, or None.

        No other process may begin there until `release`. A training that came to no checkpoint leaves nothing to lose:
        it is begun again, whether asked for or not.

        Raises:
            OutputError: There is a training already and neither `resume` nor `overwrite` is asked for, another process
                trains there, or the folder cannot be written.
            UsageError: The training there has another plan, or has taken more steps.
            InputError: All its checkpoints are damaged.
        """
        self._require_ours()
        self._make()
        self._lock.take()
        remove_leftovers(self.plan_path)
        found, started = None, self.checkpoints.steps() or self.weights.exists()
        if not started or (overwrite and not resume):
            self._clear()
        elif resume and self.checkpoints.steps():
            found = self._go_on(plan, steps)
        else:
            remedy = "add --resume to go on with it, or --overwrite to start again"
            if not self.checkpoints.steps():
                remedy = "it has no checkpoints to go on from: add --overwrite to start again"
            raise OutputError("holds a training already", path=self.path, remedy=remedy)
        self._write(self.plan_path, plan.model_dump(mode="json"))
        return found

    def release(self) -> None:
        """Let other processes begin there."""
        self._lock.release()

    def _require_ours(self) -> None:
        """Refuse a folder of something else; hidden files are nobody's."""
        if not self.path.exists() or (self.path.is_dir() and all(f.name.startswith(".") for f in self.path.iterdir())):
            return
        if not self.plan_path.is_file() or read_plan(self.plan_path).verb != "train":
            raise OutputError("exists, and holds no training", path=self.path, remedy="choose another name with -o")

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot be made: {error.strerror or error}", path=self.path) from error

    def _go_on(self, plan: Plan, steps: int) -> dict[str, Any]:
        differing = differences(read_plan(self.plan_path), plan)
        if differing:
            raise UsageError(
                f"the training there differs in {'; '.join(differing)}",
                path=self.path,
                remedy="resume it with its own configuration, its plan.json, or train elsewhere with -o",
            )
        self.checkpoints.remove_leftovers()
        found = self.checkpoints.newest()
        if found is None:
            raise InputError(
                f"all {len(self.checkpoints.steps())} checkpoints are damaged",
                path=self.checkpoints.folder,
                remedy="copy sound ones there, or add --overwrite to start again",
            )
        taken, state = found
        if taken > steps:
            raise UsageError(
                f"the training there has taken {taken} steps, more than the {steps} asked for",
                path=self.path,
                remedy="give more training.steps",
            )
        return state

    def _clear(self) -> None:
        for part in (*map(self.path.joinpath, _PARTS), *self.path.glob(_EXPLODED)):
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)

    def write_provenance(self, step: int, facts: Mapping[str, Any]) -> Path:
        """Write down what was in the batch of `step`, whose loss exploded."""
        path = self.path / _EXPLODED.replace("*", f"{step:07d}")
        self._write(path, {"step": step, **facts})
        return path

    def _write(self, path: Path, value: Mapping[str, Any]) -> None:
        with atomic_output(path) as target:
            target.write_text(json.dumps(plain(value), indent=1), encoding="utf-8")


def read_plan(path: Path) -> Plan:
    """Read the plan of a training.

    Raises:
        InputError: It is none.
    """
    try:
        return Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InputError(f"is no plan of a training: {str(error).splitlines()[0]}", path=path) from error


def differences(before: Plan, now: Plan) -> list[str]:
    """Return what differs between two plans and must not, one ``name: value there, value here`` each."""
    there, here = (dict(_flat({"": plan.config, "method": plan.method}, "")) for plan in (before, now))
    names = [name for name in {**there, **here} if name.removeprefix("training.") not in MAY_DIFFER]
    absent = object()
    return [
        f"{name}: {there.get(name)!r} there, {here.get(name)!r} now"
        for name in names
        if there.get(name, absent) != here.get(name, absent)
    ]


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}".strip("."))
    else:
        yield name, value
