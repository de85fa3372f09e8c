"""A file of weights as named content, before any network made sense of it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from pydantic import ValidationError
from safetensors import SafetensorError

from ..errors import WeightsError
from . import pickles
from .card import Card

CARD_KEY = "scanweave"
"""Where a safetensors file of ours keeps its card."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file or a mapping holds.

    Attributes:
        kind: Its container: PyTorch's of before or since 1.6, safetensors, or none.
        items: What it maps: tensors, dicts of tensors, facts of the training.
        path: The file; None for a mapping.
        sha256: Its hash.
        card: Its card, if scanweave wrote it.
    """

    kind: Literal["zip", "legacy", "safetensors", "mapping"]
    items: Mapping[str, Any]
    path: Path | None = None
    sha256: str | None = None
    card: Card | None = None


def read_content(source: Path | Mapping[str, Any]) -> Content:
    """Read a file of weights, whichever container it is; a mapping is taken as it is.

    Raises:
        WeightsError: There is no such file, it is no weights file, is damaged, or asks to run code.
    """
    if isinstance(source, Mapping):
        return Content("mapping", _named(source, None))
    data = _read(source)
    digest = hashlib.sha256(data).hexdigest()
    kind = pickles.kind_of(data)
    if kind is not None:
        _require_archive_of_torch(source, kind)
        return Content(kind, _named(pickles.load(data, path=source), source), source, digest)
    return Content("safetensors", *_safetensors(data, source), digest, _card(data, source))


def read_card(path: Path) -> Card | None:
    """Read the card alone; None where a file has none.

    Raises:
        WeightsError: The file cannot be read, or its card cannot be.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(9)
            if not _begins_like_safetensors(head):
                return None
            return _card(head + stream.read(int.from_bytes(head[:8], "little") - 1), path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot be read: {error}", path=path) from error


def _read(path: Path) -> bytes:
    """Read a file that begins like weights; anything else is refused before it is read whole."""
    try:
        with path.open("rb") as stream:
            head = stream.read(1 << 20)
            if pickles.kind_of(head) is None and not _begins_like_safetensors(head):
                if pickles.is_text_pickle(head):
                    pickles.refuse_hostile(head, path=path)
                reason = "is empty" if not head else "is no weights file"
                raise WeightsError(reason, path=path, remedy="give a .ckpt, .pkl, .pth or .safetensors file")
            return head + stream.read()
    except OSError as error:
        raise WeightsError(
            f"cannot be read: {error.strerror or error}",
            path=path,
            remedy="`scanweave weights list` tells what there is",
        ) from error


def _begins_like_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30


def _require_archive_of_torch(path: Path, kind: str) -> None:
    """Refuse a zip file of something else (a document, a dataset) with a word on what it is."""
    if kind != "zip":
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise WeightsError("is cut short or damaged", path=path, remedy="get the file again") from error
    if not any(name.endswith("data.pkl") for name in names):
        raise WeightsError("is a zip file without weights", path=path, remedy="unpack it, and give the file within")


def _safetensors(data: bytes, path: Path) -> tuple[Mapping[str, Any], Path]:
    try:
        return safetensors.torch.load(data), path
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = f"is cut short, or no sound safetensors file: {error}"
        raise WeightsError(reason, path=path, remedy="get the file again") from error


def _card(data: bytes, path: Path) -> Card | None:
    size = int.from_bytes(data[:8], "little")
    text = json.loads(data[8 : 8 + size]).get("__metadata__", {}).get(CARD_KEY)
    if text is None:
        return None
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        reason = f"has a card that this version cannot read: {error.errors()[0]['msg']}"
        raise WeightsError(reason, path=path, remedy="update scanweave, or convert the authors' file again") from error


def _named(content: Any, path: Path | None) -> Mapping[str, Any]:
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise WeightsError(
            f"holds a {type(content).__name__}, not tensors by name",
            path=path,
            remedy="give the file that the authors publish, or one that `scanweave weights convert` wrote",
        )
    return content
