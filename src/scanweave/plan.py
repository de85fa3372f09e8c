"""The resolved plan of a run, and the side-car that lies beside every output.

A run writes what it did, so that it can be understood and run again: ``<output>.scanweave.json``, whose schema is
`SideCar` (`SideCar.model_json_schema()`), versioned by `SCHEMA_VERSION`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ._version import __version__
from .errors import InputError

SCHEMA_VERSION = 1
SUFFIX = ".scanweave.json"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputFile(_Model):
    """One input, named and hashed."""

    path: str = Field(description="Absolute path at the time of the run")
    sha256: str = Field(description="Hash of its bytes; of a folder: of its files' names and bytes in order")
    bytes: int


class FrameEntry(_Model):
    """One output frame (`scanweave.cine.FrameRecord`)."""

    index: int
    time: float
    kind: str
    pair: tuple[int, int]
    t: float
    method: str | None = None
    confidence: float | None = None
    expected_error: float | None = None


class SliceEntry(_Model):
    """One made slice of a volume."""

    index: int
    position_mm: float = Field(description="Along the slice normal, from the centre of the first source slice")
    source: int = Field(description="Index of the source slice at or before it")
    delta: float = Field(description="How far on to the next source slice, in [0, 1)")
    extrapolated: bool = Field(default=False, description="Beyond the first or the last source slice")


class Plan(_Model):
    """Everything that decides the output."""

    schema_version: int = SCHEMA_VERSION
    software: str = f"scanweave {__version__}"
    verb: str = Field(description="The command: interpolate, ...")
    inputs: tuple[InputFile, ...]
    config: dict[str, Any] = Field(description="Every option of the verb, resolved")
    method: dict[str, Any] = Field(description="Method name, its own options, hash of its weights")
    seed: int | None = None

    def digest(self) -> str:
        """Return a hash of all that decides the made frames; equal plans make equal frames."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class SideCar(_Model):
    """What lies beside an output: the plan, what was found, and what each frame is."""

    schema_version: int = SCHEMA_VERSION
    output: str
    plan: Plan
    time_unit: str = "s"
    frames: tuple[FrameEntry, ...] = ()
    slices: tuple[SliceEntry, ...] = Field(default=(), description="Of a synthesized volume: where each slice lies")
    intensity: dict[str, Any] = Field(
        default_factory=dict, description="Of each contrast: which stored values a method saw as 0 and 1"
    )
    notes: tuple[str, ...] = Field(default=(), description="What was found and decided, one sentence each")
    trust: dict[str, Any] = Field(default_factory=dict, description="Summary of the trust report, if one was made")
    notice: str = "Made frames are synthetic. For research use only; not for diagnosis."


def sidecar_path(output: Path) -> Path:
    """Return where the side-car of `output` lies."""
    return output.with_name(output.name + SUFFIX)


def fingerprint(path: Path) -> InputFile:
    """Hash a file, or a folder's files in natural name order.

    Raises:
        InputError: The path cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    try:
        for file in files:
            if path.is_dir():
                digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
                    size += len(block)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path) from error
    return InputFile(path=str(path.resolve()), sha256=digest.hexdigest(), bytes=size)


def plain(value: Any) -> Any:
    """Return `value` as JSON types: dataclasses, paths, NumPy scalars and arrays, tuples and sets resolved."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)
