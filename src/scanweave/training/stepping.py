"""One step of a recipe: its updates, over the parts of a batch and over processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ..errors import ScanweaveError, UsageError
from .config import TrainingConfig
from .guard import GradientRule, LossWatch
from .networks import Networks
from .order import seed_torch
from .processes import Processes
from .recipe import Batch, Recipe, Update

_STOP = " stop"


class Exploded(ScanweaveError):
    """A loss exploded; the weights are those before the step.

    Attributes:
        losses: This process's loss of each part of the batch.
    """

    def __init__(self, reason: str, losses: Sequence[float]) -> None:
        super().__init__(reason)
        self.losses = list(losses)


class Stepper:
    """Takes steps.

    Args:
        recipe: What to train.
        networks: Its networks, on the device.
        processes: Who else takes the same step.
        config: Clipping and rules.
        stopping: Whether this process was asked to stop.
    """

    def __init__(
        self,
        recipe: Recipe,
        networks: Networks,
        processes: Processes,
        config: TrainingConfig,
        *,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._recipe = recipe
        self._stopping = stopping
        self._networks = networks
        self._processes = processes
        self._config = config
        self.watch = LossWatch(config.explode)
        self.rule = GradientRule(config.non_finite, config.non_finite_limit)

    def take(self, parts: Sequence[Batch], step: int) -> tuple[dict[str, float], bool]:
        """Take `step` on the parts of this process's share.

        Returns:
            The scalars to log, means over the whole batch, and whether any process was asked to stop.

        Raises:
            Exploded: A loss is not finite or far too large.
            ScanweaveError: Gradients that are not finite, by the rule.
        """
        # Dropout and the like draw from torch's global generators. Started anew in each step, they need not be kept.
        seed_torch(self._config.seed, step, self._processes.rank, device=self._processes.device)
        self._networks.train(self._recipe.trainable(step))
        self._networks.set_rates(self._recipe.learning_rate(step))
        runs = [self._recipe.updates(part, step) for part in parts]
        logs: dict[str, float] = {}
        while (told := self._update(runs, step)) is not None:
            logs |= told
        return logs, logs.pop(_STOP, 0.0) > 0

    def _update(self, runs: Sequence[Iterator[Update]], step: int) -> dict[str, float] | None:
        """Make the next update of all parts; None after the last."""
        updates, values = [], []
        for run in runs:
            with self._processes.autocast():
                update = next(run, None)
            if update is None:
                continue
            updates.append(update)
            values.append(self._scalars(update))
            parameters = self._networks.training(update.optimizer)
            if parameters:
                # at once, so that one part's graph is gone before the next part's is built
                self._processes.backward(update.loss / len(runs), parameters)
        if not updates:
            return None
        _require_alike(updates, len(runs))
        return self._apply(updates[0], torch.stack(values), step)

    def _scalars(self, update: Update) -> Tensor:
        if update.loss.numel() != 1:
            raise UsageError(
                f"the loss of {update.optimizer!r} has the shape {tuple(update.loss.shape)}, not one value"
            )
        if self._networks.training(update.optimizer) and not update.loss.requires_grad:
            raise UsageError(f"the loss of {update.optimizer!r} depends on no parameter that trains")
        # that one of them should stop reaches all processes by the reduction that there is anyway
        scalars = [update.loss.detach().reshape(()), *update.logs.values(), float(self._stopping())]
        device = self._processes.device
        return torch.stack([torch.as_tensor(v, dtype=torch.float32, device=device).detach() for v in scalars])

    def _apply(self, update: Update, values: Tensor, step: int) -> dict[str, float]:
        """Average gradients and scalars over processes, check them, and step the optimizer."""
        name, optimizer = update.optimizer, self._networks.optimizers[update.optimizer]
        scalars = values.mean(0)
        if self._processes.count > 1:
            _average(self._networks.training(name), scalars, self._processes)
        changing = [parameter for parameter in self._networks.training(name) if parameter.grad is not None]
        if changing:
            overflow = self._unscale(name, changing)
            self._recipe.on_gradients(name, changing, step)
        norm = get_total_norm([p.grad for p in changing if p.grad is not None])
        # one reading, since each makes a GPU wait
        loss, *logged, size = torch.cat([scalars, norm.to(scalars).reshape(1)]).tolist()
        reason = self.watch.exploded(name, loss)
        if reason is not None:
            raise Exploded(reason, values[:, 0].tolist())
        if changing:
            self._step(name, changing, norm, size, overflow=overflow)
            optimizer.zero_grad(set_to_none=True)
        told = zip((*update.logs, _STOP), logged, strict=True)
        return {f"loss/{name}": loss, f"norm/{name}": size} | {what: v for what, v in told if not math.isnan(v)}

    def _unscale(self, name: str, changing: Sequence[nn.Parameter]) -> bool:
        """Undo the scale of float16 gradients; return whether it was too large for them."""
        if not self._processes.scales:
            return False
        self._processes.unscale(self._networks.optimizers[name])
        return not bool(torch.isfinite(get_total_norm([p.grad for p in changing if p.grad is not None])))

    def _step(self, name: str, changing: Sequence[nn.Parameter], norm: Tensor, size: float, *, overflow: bool) -> None:
        optimizer = self._networks.optimizers[name]
        gradients = [parameter.grad for parameter in changing if parameter.grad is not None]
        if overflow:
            self.rule.skip(name)
        elif not self.rule.passes(name, size, gradients):
            if not self._processes.scales:
                return
            optimizer.zero_grad(set_to_none=True)  # a scale that was undone wants a step, if an empty one
        elif self._config.clip_norm is not None:
            mended = norm if math.isfinite(size) else get_total_norm(gradients)
            clip_grads_with_norm_(changing, self._config.clip_norm, mended)
        # after an overflow this takes no step, and lowers the scale
        self._processes.step(optimizer)


def _require_alike(updates: Sequence[Update], parts: int) -> None:
    if len(updates) != parts:
        raise UsageError(f"the recipe yields another update for {len(updates)} of the {parts} parts of one batch")
    for first, second in pairwise(updates):
        if first.optimizer != second.optimizer or list(first.logs) != list(second.logs):
            raise UsageError(
                f"the parts of one batch ask for different updates: {first.optimizer!r} with {list(first.logs)}, "
                f"{second.optimizer!r} with {list(second.logs)}"
            )


def _average(parameters: Sequence[nn.Parameter], scalars: Tensor, processes: Processes) -> None:
    """Average gradients and scalars over processes, in place, by one reduction.

    A parameter that got no gradient in any process keeps none, as it would in one process: how many did is told, too.
    """
    kinds = {parameter.dtype for parameter in parameters} | {torch.float32}
    dtype = torch.float64 if torch.float64 in kinds else torch.float32
    present = torch.tensor([float(p.grad is not None) for p in parameters], dtype=dtype, device=scalars.device)
    pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([scalars.to(dtype), present, *(piece.reshape(-1).to(dtype) for piece in pieces)])
    processes.average(flat)
    sizes = [len(scalars), len(parameters), *(parameter.numel() for parameter in parameters)]
    told, present, *pieces = torch.split(flat, sizes)
    scalars.copy_(told)
    for parameter, has, piece in zip(parameters, present.tolist(), pieces, strict=True):
        if has:
            parameter.grad = piece.view_as(parameter).to(parameter.dtype)
