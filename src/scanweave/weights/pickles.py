"""What PyTorch's pickled files hold, without running what they ask to run.

Two guards, one behind the other. First the opcodes are read, never executed, and a file that names anything beyond
tensors, ordered dicts and dates is refused by that name. Then PyTorch's restricted unpickler loads it, which knows
such names only, whatever the first guard overlooked.
"""

from __future__ import annotations

import datetime
import io
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from pickletools import OpcodeInfo, markobject
from typing import Any, Literal

import torch

from ..errors import WeightsError

Kind = Literal["zip", "legacy"]

_STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
ALLOWED = frozenset(
    {
        "collections.OrderedDict",
        "datetime.datetime",  # Super-SloMo's files are dated
        "_codecs.encode",  # how a date's bytes are written
        "torch.Size",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.storage.UntypedStorage",
        *(f"torch.{kind}Storage" for kind in _STORAGES),
    }
)
"""All that weights are made of."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first of the five pickles that PyTorch wrote before 1.6
_LONGEST_PICKLE = 64 << 20  # the pickles of a file name its tensors; their data lie elsewhere
_UNREADABLE = (ValueError, IndexError, EOFError, OverflowError, struct.error)


def kind_of(data: bytes) -> Kind | None:
    """Return which of PyTorch's containers `data` is, by its first bytes; None for anything else."""
    if data.startswith(b"PK\x03\x04"):
        return "zip"
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "legacy"
    return None


def is_text_pickle(data: bytes) -> bool:
    """Say whether `data` is a whole pickle of the first protocol, which has no mark of its own."""
    try:
        return any(opcode.name in ("REDUCE", "INST", "BUILD", "DICT") for opcode, _, _ in pickletools.genops(data))
    except _UNREADABLE:
        return False


def load(data: bytes, *, path: Path) -> Any:
    """Load a file of `torch.save`, tensors on the CPU.

    Args:
        data: The bytes of the file: those that are judged are those that are loaded.
        path: Its name, for messages.

    Raises:
        WeightsError: It asks for more than tensors, ordered dicts and dates (named, and not run), or is damaged.
    """
    refuse_hostile(data, path=path)
    try:
        with torch.serialization.safe_globals([datetime.datetime]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on pickle protocols; what matters is raised
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError("is no file of torch.save, or a damaged one", path=path, remedy=_AGAIN) from error
    except Exception as error:  # a damaged pickle can fail in any way
        reason = f"is cut short or damaged: {_first_line(error)}"
        raise WeightsError(reason, path=path, remedy=_AGAIN) from error


def refuse_hostile(data: bytes, *, path: Path) -> None:
    """Refuse a pickle that names anything outside :data:`ALLOWED`.

    Raises:
        WeightsError: It does, and the message says what.
    """
    foreign = sorted({name for stream in _pickles(data) for name in globals_of(stream)} - ALLOWED)
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise WeightsError(
            f"asks to run {', '.join(foreign[:3])}{more}, which no weights need; refused, and not run",
            path=path,
            remedy="do not open it with other programs; get the weights from their authors again",
        )


def globals_of(stream: bytes) -> Iterator[str]:
    """Yield the dotted name of everything that a pickle (or several, end to end) would import, and import nothing."""
    stack: list[object] = []
    memo: dict[int, object] = {}
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".", 1).replace("__builtin__.", "builtins.", 1)
            elif opcode.name == "STACK_GLOBAL":
                texts = [text for text in stack[-2:] if isinstance(text, str)]
                yield ".".join(texts) if len(texts) == 2 else "a name that it hides"
            elif opcode.name in ("EXT1", "EXT2", "EXT4"):
                yield f"extension {argument}"
            _follow(opcode, argument, stack, memo)
    except _UNREADABLE:
        return  # what follows a damaged opcode cannot run either


def _follow(opcode: OpcodeInfo, argument: object, stack: list[object], memo: dict[int, object]) -> None:
    """Do to `stack` and `memo` what an opcode does to an unpickler's: texts and marks are kept, all else is None.

    What cannot be followed becomes None too: a name that is made of it counts as hidden.
    """
    top = stack[-1] if stack and isinstance(stack[-1], str) else None
    taken = len(opcode.stack_before)
    if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[argument if isinstance(argument, int) else len(memo)] = top
        return
    if markobject in opcode.stack_before:
        while stack and stack.pop() is not markobject:
            pass
        taken = opcode.stack_before.index(markobject)
    if taken:
        del stack[-taken:]
    if opcode.name == "MARK":
        stack.append(markobject)
    elif opcode.name == "DUP":
        stack += [top, top]
    elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo.get(argument) if isinstance(argument, int) else None)
    elif opcode.name.endswith(("STRING", "UNICODE", "UNICODE8")):
        stack.append(argument)
    else:
        stack += [None] * len(opcode.stack_after)


def _pickles(data: bytes) -> Iterator[bytes]:
    if kind_of(data) == "zip":
        yield from _pickles_of_zip(data)
        return
    yield data
    stream = io.BytesIO(data)
    try:  # a legacy file is five pickles, then raw numbers
        first = [argument for _, argument, _ in pickletools.genops(stream)]
        if _LEGACY_MAGIC in first:
            for _ in range(4):
                yield data[stream.tell() : stream.tell() + _LONGEST_PICKLE]
                for _ in pickletools.genops(stream):
                    pass
    except _UNREADABLE:
        return


def _pickles_of_zip(data: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if name.endswith(".pkl"):
                    with archive.open(name) as member:
                        yield member.read(_LONGEST_PICKLE)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError):
        return  # PyTorch will not read it either


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


_AGAIN = "get the file from its authors again"
