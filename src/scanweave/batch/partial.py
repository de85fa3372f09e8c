"""Made frames and slices kept losslessly beside the output until it is whole: ``<output>.partial/``.

The folder is keyed by a hash of the plan, which holds a hash of the input: those of another input or of other options
are never mixed in.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import Interrupted, OutputError, ResourceError
from ..interpolation.interpolated import MadeFrame
from ..io.files import remove_leftovers
from ..made import Made
from ..plan import Plan

_KEY = "plan.json"


class PartialFolder:
    """The parts of one unfinished output: arrays by name, numbered.

    Args:
        output: The output that is being made.
        plan: What decides its parts.
        resume: Take up what an earlier run left.
        overwrite: Throw away what an earlier run left.
        shared: Other processes may work on the same output now: what they write beside it is left alone.

    Raises:
        OutputError: An earlier run left parts and neither `resume` nor `overwrite` is given, or it had another plan.
    """

    def __init__(
        self, output: Path, plan: Plan, *, resume: bool = False, overwrite: bool = False, shared: bool = False
    ) -> None:
        self.folder = output.with_name(output.name + ".partial")
        self.found = 0
        self._output = output
        self._shared = shared
        self._ours = not self.folder.exists()
        self._new_parents = [place for place in self.folder.parents if not place.exists()]
        if self.folder.exists():
            self._take_up(plan, resume=resume, overwrite=overwrite)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            key = self.folder / _KEY
            if not key.exists():
                new = self._own(key)  # who looks meanwhile sees it whole or not at all
                new.write_text(json.dumps({"digest": plan.digest(), "plan": plan.model_dump(mode="json")}, indent=1))
                new.replace(key)
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror or error}", path=self.folder) from error

    def _take_up(self, plan: Plan, *, resume: bool, overwrite: bool) -> None:
        some = self.count() > 0
        if some and not resume and not overwrite:
            raise OutputError(
                "an earlier run was interrupted and left what it had made here",
                path=self.folder,
                remedy="add --resume to go on with it, or --overwrite to start again",
            )
        if not self._shared:
            remove_leftovers(self._output)
        if resume:
            try:
                digest = json.loads((self.folder / _KEY).read_text())["digest"]
            except (OSError, ValueError, KeyError, TypeError):
                digest = None
            just_begun = self._shared and not (self.folder / _KEY).exists()
            if digest == plan.digest() or just_begun:
                self.found = self.count()
                return
            if some and not overwrite:
                raise OutputError(
                    "holds parts of another input or of other options",
                    path=self.folder,
                    remedy="give the options of the interrupted run, or --overwrite to start again",
                )
        shutil.rmtree(self.folder, ignore_errors=True)
        self._ours = True

    def count(self) -> int:
        """Return how many parts are kept."""
        return sum(1 for _ in self.folder.glob("*.npz"))

    def has(self, index: int) -> bool:
        """Whether part `index` is kept; it may be damaged, which :meth:`read` tells."""
        return self._file(index).exists()

    def read(self, index: int) -> dict[str, NDArray[Any]] | None:
        """Return part `index`, or None if it is not kept whole."""
        try:
            with np.load(self._file(index)) as kept:
                return dict(kept)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # A damaged file is made again; the interrupted run may have died while the disk was failing.
            return None

    def write(self, index: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep part `index`; a kill in the middle leaves nothing that `read` would take.

        Raises:
            ResourceError: The disk is full.
        """
        target = self._file(index)
        part = self._own(target)
        try:
            with part.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)
            part.replace(target)
        except OSError as error:
            raise ResourceError(
                f"what was made cannot be kept: {error.strerror or error}",
                path=self.folder,
                remedy="free some space, or write elsewhere with -o",
            ) from error

    def discard(self, *, only_ours: bool = False) -> None:
        """Remove the folder, and those that were made for it and are empty; with `only_ours`, only if this run did."""
        if not self._ours and only_ours:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for place in self._new_parents:
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()

    def interrupted(self) -> Interrupted:
        """Return what is to be said of an interruption; a folder without parts is removed."""
        if self.count():
            return Interrupted(
                "interrupted; what was made so far is kept", path=self.folder, remedy="run again with --resume"
            )
        self.discard()
        return Interrupted("interrupted before anything was made")

    def _file(self, index: int) -> Path:
        return self.folder / f"{index:06d}.npz"

    def _own(self, target: Path) -> Path:
        """Return the name of an unfinished file that no other process uses, on any machine."""
        return target.with_suffix(f".{platform.node()}-{os.getpid()}.part")


class PartialStore(PartialFolder):
    """The frames of one unfinished run."""

    def load(self, index: int) -> MadeFrame | None:
        """Return output frame `index`, or None if it is not kept whole."""
        kept = self.read(index)
        if kept is None or not {"pixels", "expected_error"} <= kept.keys():
            return None
        error = float(kept["expected_error"])
        return MadeFrame(kept["pixels"], None if np.isnan(error) else error, kept.get("interval"))

    def save(self, index: int, frame: MadeFrame) -> None:
        """Keep output frame `index`.

        Raises:
            ResourceError: The disk is full.
        """
        error = np.float64(np.nan if frame.expected_error is None else frame.expected_error)
        interval = {} if frame.interval is None else {"interval": frame.interval}
        self.write(index, {"pixels": frame.pixels, "expected_error": np.asarray(error), **interval})


class PartialSlices(PartialFolder):
    """The slices of one unfinished volume, some at a time, as methods made them."""

    def load(self, index: int) -> Made | None:
        """Return the slices from `index` on that were made at once, or None if they are not kept whole."""
        kept = self.read(index)
        if kept is None or "frames" not in kept:
            return None
        spread = kept.get("uncertainty")
        return Made(torch.from_numpy(kept["frames"]), None if spread is None else torch.from_numpy(spread))

    def save(self, index: int, made: Made) -> None:
        """Keep slices from `index` on.

        Raises:
            ResourceError: The disk is full.
        """
        spread = {} if made.uncertainty is None else {"uncertainty": made.uncertainty.numpy()}
        self.write(index, {"frames": made.frames.numpy(), **spread})


@contextmanager
def until_whole(folder: PartialFolder) -> Iterator[None]:
    """Remove `folder` once its output is written, or has failed; keep it where the user interrupts.

    Raises:
        Interrupted: The user did.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise folder.interrupted() from stop
    except BaseException:
        folder.discard(only_ours=True)
        raise
    folder.discard()
