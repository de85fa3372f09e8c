"""Checkpoints: one safetensors file each, whole or absent, newest first.

A state is nested dicts, lists and tuples of plain values and tensors. The tensors go into the file as such, the rest as
JSON into its header; no pickle, so that a checkpoint from anywhere can be opened without running what it says.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import InputError, OutputError
from ..io.files import atomic_output

_STATE = "scanweave.training"
State = Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one training: ``step_0001000.safetensors`` holds the state after 1000 steps.

    Args:
        folder: Where they lie. Only one training at a time may write there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, step: int) -> Path:
        """Return the file of the state after `step` steps."""
        return self.folder / f"step_{step:07d}.safetensors"

    def steps(self) -> list[int]:
        """Return of which steps there are checkpoints, in order."""
        return sorted(int(file.stem.removeprefix("step_")) for file in self.folder.glob("step_*.safetensors"))

    def save(self, step: int, state: State) -> Path:
        """Write the state after `step` steps.

        Raises:
            OutputError: It cannot be written; earlier checkpoints are as they were.
        """
        tensors: dict[str, Tensor] = {}
        text = json.dumps(_packed(state, "", tensors))
        path = self.path(step)
        with atomic_output(path) as target:
            try:
                safetensors.torch.save_file(_separate(tensors), target, metadata={_STATE: text})
            except SafetensorError as error:  # its writer hides the system's error
                reason = f"cannot be written: {error}"
                raise OutputError(reason, path=path, remedy="free some space, or write elsewhere with -o") from error
        return path

    def newest(self) -> tuple[int, dict[str, Any]] | None:
        """Return the newest sound checkpoint's step and state; None where there is none."""
        for step in reversed(self.steps()):
            try:
                return step, self.load(step)
            except InputError:
                continue  # damaged, as by a disk that failed: the one before is as good, only older
        return None

    def load(self, step: int) -> dict[str, Any]:
        """Return the state after `step` steps, on the CPU.

        Raises:
            InputError: The file is damaged or no checkpoint.
        """
        path = self.path(step)
        try:
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {})[_STATE]
            state: dict[str, Any] = _unpacked(json.loads(text), safetensors.torch.load_file(path))
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(
                f"is no sound checkpoint: {error}", path=path, remedy="remove it to go on without"
            ) from error
        return state

    def prune(self, *, keep_last: int, keep: Collection[int]) -> None:
        """Remove all but the newest `keep_last` and those of the steps `keep`."""
        for step in self.steps()[:-keep_last]:
            if step not in keep:
                self.path(step).unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Remove what a process that was killed while it saved left behind."""
        for stale in self.folder.glob(".step_*.part"):
            shutil.rmtree(stale, ignore_errors=True)


def _packed(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON; its tensors go into `tensors`."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"map": [[key, _packed(item, f"{name}/{key}".lstrip("/"), tensors)] for key, item in value.items()]}
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_packed(item, f"{name}/{k}", tensors) for k, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold")


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "map":
        return {key: _unpacked(item, tensors) for key, item in content}
    items = [_unpacked(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU, none sharing memory with another: the format has no ties."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().to("cpu").contiguous()
        storage = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return separate


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Return a hash of a module's weights, for those that never change and are not kept."""
    import hashlib

    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
