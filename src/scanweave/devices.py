"""Where a network runs, and how: its device, full precision, and an error with a name where memory gives out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import ResourceError, UsageError

_GAVE_OUT = "memory gave out in the network"
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "failed to allocate")


def device_of(name: str) -> torch.device:
    """Return the device called `name`; ``auto`` takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        UsageError: No such kind of device.
        ResourceError: This machine, or this build of PyTorch, has none.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in found.items() if there))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in found:
        raise UsageError(f"there is no device {name!r}", remedy="give auto, cpu, cuda, cuda:1 or mps")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if not found[device.type] or (device.index or 0) >= count:
        there = [f"cuda:{k}" for k in range(torch.cuda.device_count())] if found["cuda"] else []
        there += [kind for kind in ("mps", "cpu") if found[kind]]
        raise ResourceError(
            f"device {name} is not there, or PyTorch was built without it", remedy=f"there is {', '.join(there)}"
        )
    return device


@contextmanager
def running(*, remedy: str = "give --tile 256, or --device cpu") -> Iterator[None]:
    """Run a network: no gradients, float32 in full, and what gives out is named.

    Args:
        remedy: What the user can do where memory gives out.

    Raises:
        ResourceError: Memory gave out, or the compiler of PyTorch cannot compile here.
    """
    try:
        with torch.no_grad(), _full_float32():
            yield
    except MemoryError as error:
        raise ResourceError(_GAVE_OUT, remedy=remedy) from error
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error).lower() for words in _NO_MEMORY):
            raise ResourceError(_GAVE_OUT, remedy=remedy) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = f"the network cannot be compiled here: {str(error).strip().splitlines()[0]}"
            raise ResourceError(reason, remedy="leave out --compile, or install a C++ compiler") from error
        raise


@contextmanager
def _full_float32() -> Iterator[None]:
    """Keep a GPU from rounding the factors of float32 convolutions to 10 bits, as PyTorch lets it do by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
