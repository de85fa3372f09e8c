"""Made frames kept losslessly beside the output until it is whole: ``<output>.partial/``.

The folder is keyed by a hash of the plan, which holds a hash of the input: frames of another input or of other options
are never mixed in.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np

from ..errors import OutputError, ResourceError
from ..interpolation.interpolated import MadeFrame
from ..io.files import remove_leftovers
from ..plan import Plan

_KEY = "plan.json"


class PartialStore:
    """The frames of one unfinished output.

    Args:
        output: The output that is being made.
        plan: What decides its frames.
        resume: Take up what an earlier run left.
        overwrite: Throw away what an earlier run left.

    Raises:
        OutputError: An earlier run left frames and neither `resume` nor `overwrite` is given, or it had another plan.
    """

    def __init__(self, output: Path, plan: Plan, *, resume: bool = False, overwrite: bool = False) -> None:
        self.folder = output.with_name(output.name + ".partial")
        self.found = 0
        self._output = output
        self._ours = not self.folder.exists()
        if self.folder.exists():
            self._take_up(plan, resume=resume, overwrite=overwrite)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            key = self.folder / _KEY
            if not key.exists():
                key.write_text(json.dumps({"digest": plan.digest(), "plan": plan.model_dump(mode="json")}, indent=1))
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror or error}", path=self.folder) from error

    def _take_up(self, plan: Plan, *, resume: bool, overwrite: bool) -> None:
        if not resume and not overwrite:
            raise OutputError(
                "an earlier run was interrupted and left its frames here",
                path=self.folder,
                remedy="add --resume to go on with it, or --overwrite to start again",
            )
        remove_leftovers(self._output)
        if resume:
            try:
                digest = json.loads((self.folder / _KEY).read_text())["digest"]
            except (OSError, ValueError, KeyError, TypeError):
                digest = None
            if digest == plan.digest():
                self.found = self.count()
                return
            if not overwrite:
                raise OutputError(
                    "holds frames of another input or of other options",
                    path=self.folder,
                    remedy="give the options of the interrupted run, or --overwrite to start again",
                )
        shutil.rmtree(self.folder, ignore_errors=True)
        self._ours = True

    def count(self) -> int:
        """Return how many frames are kept."""
        return sum(1 for _ in self.folder.glob("*.npz"))

    def load(self, index: int) -> MadeFrame | None:
        """Return output frame `index`, or None if it is not kept whole."""
        try:
            with np.load(self._file(index)) as kept:
                error = float(kept["expected_error"])
                interval = kept.get("interval")
                return MadeFrame(kept["pixels"], None if np.isnan(error) else error, interval)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # A damaged file is made again; the interrupted run may have died while the disk was failing.
            return None

    def save(self, index: int, frame: MadeFrame) -> None:
        """Keep output frame `index`; a kill in the middle leaves nothing that `load` would take.

        Raises:
            ResourceError: The disk is full.
        """
        error = np.float64(np.nan if frame.expected_error is None else frame.expected_error)
        interval = {} if frame.interval is None else {"interval": frame.interval}
        target = self._file(index)
        part = target.with_suffix(".part")
        try:
            with part.open("wb") as stream:
                np.savez(stream, allow_pickle=False, pixels=frame.pixels, expected_error=error, **interval)
            part.replace(target)
        except OSError as error:
            raise ResourceError(
                f"made frames cannot be kept: {error.strerror or error}",
                path=self.folder,
                remedy="free some space, or write elsewhere with -o",
            ) from error

    def discard(self, *, only_ours: bool = False) -> None:
        """Remove the folder; with `only_ours`, only if this run began it."""
        if self._ours or not only_ours:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, index: int) -> Path:
        return self.folder / f"{index:06d}.npz"
