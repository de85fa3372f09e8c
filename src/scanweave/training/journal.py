"""What a training tells while it runs: lines of JSON, and TensorBoard's scalars and pictures."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..errors import OutputError, UnsupportedError
from ..io.files import atomic_output

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Journal:
    """``log.jsonl``, one event per line, and the folder ``tensorboard``.

    Args:
        folder: The output of the training.
        step: Steps that were taken already: what an earlier process said about later ones is taken back.

    Raises:
        OutputError: It cannot be written.
        UnsupportedError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        self.path = folder / "log.jsonl"
        if self.path.exists():
            self._take_back(step)
        try:
            self._stream = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror or error}", path=self.path) from error
        self._board = _board(folder / "tensorboard", step)
        self._hook = threading.excepthook
        # its thread's error comes back to us at the next call; said twice it would be a traceback
        threading.excepthook = self._say_unless_ours

    def _say_unless_ours(self, failure: threading.ExceptHookArgs) -> None:
        ours = type(failure.thread).__module__.startswith("tensorboard.")
        if not (ours and isinstance(failure.exc_value, OSError)):
            self._hook(failure)

    def _take_back(self, step: int) -> None:
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # cut short when the process was killed
        with atomic_output(self.path) as target:
            target.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def tell(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """Write one event after `step` steps; its numbers are drawn in TensorBoard under its name.

        Raises:
            OutputError: The disk is full.
        """
        with self._explained():
            line = {name: value if _sayable(value) else str(value) for name, value in values.items()}
            print(json.dumps({"event": event, "step": step, **line}), file=self._stream, flush=True)
            for name, value in values.items():
                if isinstance(value, int | float) and _sayable(value):
                    self._board.add_scalar(f"{event}/{name}", value, step)

    def show(self, step: int, pictures: Mapping[str, Tensor]) -> None:
        """Show pictures, ``(3 or 1, H, W)`` in [0, 1], in TensorBoard.

        Raises:
            OutputError: The disk is full.
        """
        with self._explained():
            for name, picture in pictures.items():
                self._board.add_image(f"picture/{name}", picture.detach().float().clamp(0, 1).cpu(), step)

    def close(self) -> None:
        """Write what is pending.

        Raises:
            OutputError: The disk is full.
        """
        try:
            with self._explained():
                self._stream.close()
                self._board.close()
        finally:
            threading.excepthook = self._hook

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"the log cannot be written: {error.strerror or error}",
                path=self.path.parent,
                remedy="free some space, then --resume",
            ) from error


def _sayable(value: Any) -> bool:
    """Return whether JSON has a word for `value`: it has none for what is not finite."""
    return not isinstance(value, float) or math.isfinite(value)


def _board(folder: Path, step: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"training needs the package {error.name}", remedy="pip install 'scanweave[train]'"
        ) from error
    return SummaryWriter(folder, purge_step=step + 1)


class Means:
    """Running means of named scalars, since they were last taken."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Count one value of each."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def take(self) -> dict[str, float]:
        """Return the means and begin anew."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        return means

    def state_dict(self) -> dict[str, tuple[float, int]]:
        """Return what was counted."""
        return dict(self._sums)

    def load_state_dict(self, state: Mapping[str, tuple[float, int]]) -> None:
        """Go on from what another counted."""
        self._sums = dict(state)


class Clock:
    """How fast training goes, and which share of its time it waits for data."""

    def __init__(self) -> None:
        self._waited = self._worked = 0.0
        self._steps = 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent waiting for data."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Time spent on one step."""
        began = time.perf_counter()
        yield
        self._worked += time.perf_counter() - began
        self._steps += 1

    def take(self, batch: int) -> dict[str, float]:
        """Return the numbers since they were last taken."""
        seconds = max(self._waited + self._worked, 1e-9)
        told = {"samples_per_second": self._steps * batch / seconds, "waiting": self._waited / seconds}
        self._waited = self._worked = 0.0
        self._steps = 0
        return told
