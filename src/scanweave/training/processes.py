"""The processes of one training, one per device: launched by Lightning Fabric, or already by torchrun.

Modules are not wrapped in `DistributedDataParallel`: a recipe calls any method of a network, runs it several times
before one backward pass, differentiates twice, and freezes parameters by step, all of which that wrapper forbids or
restricts. Instead weights are made equal at the start, and gradients averaged by one reduction per update.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ResourceError, ScanweaveError, UnsupportedError, UsageError
from .config import TrainingConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Value = TypeVar("Value")
_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"float32": "32-true", "bfloat16": "bf16-mixed"}


class Processes:
    """This process among all of a training, and what they tell each other.

    Args:
        config: On which devices, in which precision.

    Raises:
        UsageError: A device that is not there, or a precision that it lacks.
        UnsupportedError: Lightning Fabric is not installed.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self._fabric = _fabric(config)
        try:
            self._fabric.launch()
        except (RuntimeError, ValueError) as error:
            raise ResourceError(
                f"the training's processes cannot begin: {str(error).splitlines()[0]}",
                remedy="check that training.processes and training.nodes are what the launcher starts",
            ) from error
        if self.count > 1:
            # Gloo aborts a process that ends while its threads run, and a later training here may still need them
            atexit.register(_part)
        self._precision = self._fabric.strategy.precision

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self._fabric.global_rank

    @property
    def count(self) -> int:
        """How many processes there are."""
        return self._fabric.world_size

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self._fabric.device

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which networks run at the chosen precision."""
        context: AbstractContextManager[None] = self._fabric.autocast()
        return context

    # --- gradients

    def backward(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Add the gradients of `loss` to `parameters`, and to nothing else; scaled up where float16 needs it."""
        self._fabric.backward(loss, inputs=list(parameters))

    def unscale(self, optimizer: Optimizer) -> None:
        """Undo the scale of gradients that float16 needs."""
        self._precision.unscale_gradients(optimizer)

    @property
    def scales(self) -> bool:
        """Whether gradients are scaled: then a scale that was too large is lowered by `step`, which takes no step."""
        return getattr(self._precision, "scaler", None) is not None

    def step(self, optimizer: Optimizer) -> None:
        """Step `optimizer`, unless scaled gradients overflowed."""
        self._precision.optimizer_step(optimizer)

    def scale_state(self) -> dict[str, Any]:
        """Return the state of the gradients' scale, for a checkpoint."""
        return self._precision.state_dict()

    def load_scale_state(self, state: dict[str, Any]) -> None:
        """Take up the state of the gradients' scale."""
        self._precision.load_state_dict(state)

    # --- between processes

    def average(self, tensor: Tensor) -> None:
        """Replace `tensor` by its mean over processes."""
        if self.count > 1:
            with _explained():
                torch.distributed.all_reduce(tensor)  # gloo has no mean
            tensor /= self.count

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Replace `tensors` by those of process 0."""
        if self.count > 1:
            with _explained(), torch.no_grad():
                for tensor in tensors:
                    torch.distributed.broadcast(tensor, 0)

    def gather(self, value: Value) -> list[Value]:
        """Return every process's `value`, by rank."""
        values: list[Any] = [value] * self.count
        if self.count > 1:
            with _explained():
                torch.distributed.all_gather_object(values, value)
        return values

    def first(self, work: Callable[[], Value]) -> Value:
        """Let process 0 do `work` while the others wait; return its result, or raise its error, in all of them."""
        outcome: Value | ScanweaveError | None = None
        if self.rank == 0:
            try:
                outcome = work()
            except ScanweaveError as error:
                outcome = error
        with _explained():
            outcome = self._fabric.broadcast(outcome)
        if isinstance(outcome, ScanweaveError):
            raise outcome
        return outcome  # type: ignore[return-value]


def _part() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say what it means when the talk between processes breaks off."""
    try:
        yield
    except RuntimeError as error:
        raise ResourceError(
            "the training's processes lost each other",
            remedy="another one failed, and its own message says why; --resume goes on from the last checkpoint",
        ) from error


def _fabric(config: TrainingConfig) -> Fabric:
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.precision import MixedPrecision
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"training needs the package {error.name}", remedy="pip install 'scanweave[train]'"
        ) from error
    kind, _, number = config.device.partition(":")
    kind = _best_device() if kind == "auto" else kind
    if config.precision == "float16" and kind == "mps":
        raise UsageError("float16 does not train on mps", remedy="choose training.precision bfloat16 or float32")
    # torchrun has started the processes already and says how many
    here = int(os.environ.get("LOCAL_WORLD_SIZE", config.processes))
    nodes = int(os.environ["WORLD_SIZE"]) // here if "LOCAL_WORLD_SIZE" in os.environ else config.nodes
    devices: int | list[int] = [int(number)] if number.isdecimal() else here
    if number and (here * nodes > 1 or not number.isdecimal()):
        raise UsageError(f"training.device {config.device} is one device, for {here * nodes} processes")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=kind,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if here * nodes > 1 else "auto",
            # by its own class, since by its name float16 on the CPU silently becomes bfloat16
            plugins=[MixedPrecision("16-mixed", device=kind)] if config.precision == "float16" else None,
            precision=_PRECISIONS.get(config.precision),
        )
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"cannot train on {here} x {config.device!r}: {str(error).splitlines()[0]}",
            remedy="choose training.device cpu, cuda or mps, and as many processes as it has",
        ) from error


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
