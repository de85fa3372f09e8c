"""From what was drawn to batches on the device: samples are made in this process, or ahead in others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from ..errors import InputError, ResourceError, ScanweaveError
from .recipe import Batch
from .samples import Drawn, Sample, Samples

Loaded = TypeVar("Loaded")


class WorkerLost(ResourceError):
    """A process that makes samples ended."""


class _Made(Dataset[Sample | ScanweaveError]):
    """Samples by what was drawn for them. An error travels as a value: across processes its class would be lost."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __getitem__(self, drawn: Drawn) -> Sample | ScanweaveError:
        try:
            return self._samples.make(drawn)
        except ScanweaveError as error:
            return error


class _Parts(Sampler[list[Drawn]]):
    def __init__(self, parts: Iterable[list[Drawn]]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[list[Drawn]]:
        return iter(self._parts)


def load(
    samples: Samples, parts: Iterable[list[Drawn]], *, device: torch.device, workers: int = 0, prefetch: int = 2
) -> Iterator[Batch]:
    """Yield each part as a batch on `device`, in order.

    Args:
        samples: Where they come from.
        parts: What was drawn for each part's samples; asked for ahead of need by as much as workers make ahead.
        device: Where to.
        workers: Processes that make samples; 0 makes them here.
        prefetch: Parts that each worker makes ahead.

    Raises:
        InputError: A sample that cannot be made, or that differs in keys, shape or dtype from the others.
        WorkerLost: A worker was killed, as for want of memory.
    """
    pinned = device.type == "cuda"
    loader = DataLoader(
        _Made(samples),
        batch_sampler=_Parts(parts),
        num_workers=workers,
        collate_fn=_joined,
        prefetch_factor=prefetch if workers else None,
        pin_memory=pinned,
        worker_init_fn=_leave_signals_to_parent,
        # the loader wants a number for its workers' own generators: not from torch's global one
        generator=torch.Generator(),
    )
    for batch in _explained(loader):
        if isinstance(batch, ScanweaveError):
            raise batch
        yield {name: tensor.to(device, non_blocking=pinned) for name, tensor in batch.items()}


def _explained(batches: Iterable[Loaded]) -> Iterator[Loaded]:
    """Yield `batches`, and say what it means when a worker is gone."""
    waiting = iter(batches)
    while True:
        try:
            batch = next(waiting)
        except StopIteration:
            return
        except (RuntimeError, ConnectionError, EOFError) as error:
            # What is lost with a worker may also be the connection over which it was handing a batch.
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            raise WorkerLost(
                f"a process that makes samples ended: {(str(error) or type(error).__name__).splitlines()[0]}",
                remedy="often memory gave out: choose fewer training.workers or training.prefetch, then --resume",
            ) from error
        yield batch


@dataclass(frozen=True, slots=True)
class _Form:
    """What all samples of a source share."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{tuple(self.shape)} {str(self.dtype).removeprefix('torch.')}"


def _joined(samples: list[Sample | ScanweaveError]) -> dict[str, Tensor] | ScanweaveError:
    """Stack samples along a first axis; return the error if there is one."""
    made = [sample for sample in samples if not isinstance(sample, ScanweaveError)]
    error = next((item for item in samples if isinstance(item, ScanweaveError)), None) or _difference(made)
    if error is not None:
        return error
    joined: dict[str, Tensor] = default_collate([dict(sample) for sample in made])
    return joined


def _difference(samples: list[Sample]) -> InputError | None:
    forms = [{name: _Form(tuple(t.shape), t.dtype) for name, t in sample.items()} for sample in samples]
    for number, form in enumerate(forms[1:], start=1):
        for name in sorted(set(form) | set(forms[0])):
            first, other = forms[0].get(name), form.get(name)
            if first != other:
                return InputError(
                    f"samples of one batch differ in {name!r}: {first or 'absent'} in the first, {other or 'absent'} "
                    f"in number {number}",
                    remedy="crop to one size, or set training.batch 1",
                )
    return None


def _leave_signals_to_parent(worker: int) -> None:
    """Let the parent finish its step when the user stops the run, and end this process when it says so.

    ``timeout``, terminals and many a job script tell the whole group of processes; workers are a group of their own.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
