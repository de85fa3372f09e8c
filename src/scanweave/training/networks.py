"""A recipe's networks and optimizers as the engine sees them: what trains now, and what a checkpoint holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .checkpoints import fingerprint
from .recipe import Recipe


class Networks:
    """The networks and optimizers of a recipe, moved to a device.

    A network of which no parameter has an optimizer, and which is in evaluation mode, is fixed: a hash of it goes into
    checkpoints, not its weights.

    Args:
        recipe: Its modules and optimizers.
        device: Where to.

    Raises:
        UsageError: An optimizer holds a parameter that no module has: no checkpoint would keep it.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.modules = dict(recipe.modules())
        self.optimizers = dict(recipe.optimizers())
        for module in self.modules.values():
            module.to(device)
        names = {p: f"{name}.{key}" for name, module in self.modules.items() for key, p in module.named_parameters()}
        self._members = {name: _named(name, optimizer, names) for name, optimizer in self.optimizers.items()}
        members = {parameter for named in self._members.values() for parameter in named.values()}
        self._fixed = {
            name: fingerprint(module.state_dict())
            for name, module in self.modules.items()
            if not module.training and members.isdisjoint(module.parameters())
        }
        self._rule: Mapping[str, bool] | None = None
        self._training: dict[str, list[nn.Parameter]] = {}
        self.train({})

    def train(self, rule: Mapping[str, bool]) -> None:
        """Let the parameters train, or not, of which the longest prefix in `rule` says so.

        Raises:
            UsageError: A prefix that fits no parameter.
        """
        if rule == self._rule:
            return
        known = {name for named in self._members.values() for name in named}
        for prefix in rule:
            if not any(_fits(prefix, name) for name in known):
                raise UsageError(
                    f"no trained parameter's name begins with {prefix!r}", remedy=f"such as {min(known)!r}"
                )
        self._rule = dict(rule)
        for optimizer, named in self._members.items():
            for name, parameter in named.items():
                fits = [prefix for prefix in rule if _fits(prefix, name)]
                parameter.requires_grad_(rule[max(fits, key=len)] if fits else True)
            self._training[optimizer] = [parameter for parameter in named.values() if parameter.requires_grad]

    def training(self, optimizer: str) -> list[nn.Parameter]:
        """Return the parameters of `optimizer` that train now.

        Raises:
            UsageError: There is no such optimizer.
        """
        if optimizer not in self._training:
            raise UsageError(f"the recipe updates {optimizer!r}, and has the optimizers {sorted(self.optimizers)}")
        return self._training[optimizer]

    def set_rates(self, rates: Mapping[str, float]) -> None:
        """Set the learning rate of every group of the optimizers named."""
        for name, rate in rates.items():
            for group in self.optimizers[name].param_groups:
                group["lr"] = rate

    def rates(self) -> dict[str, float]:
        """Return the learning rate of each optimizer's first group."""
        return {name: float(optimizer.param_groups[0]["lr"]) for name, optimizer in self.optimizers.items()}

    def tensors(self) -> Iterator[Tensor]:
        """Yield all parameters and buffers."""
        for module in self.modules.values():
            yield from module.parameters()
            yield from module.buffers()

    def running(self) -> Iterator[Tensor]:
        """Yield the buffers of networks that train: running statistics, which each process has its own of."""
        for name, module in self.modules.items():
            if name not in self._fixed:
                yield from module.buffers()

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the networks into evaluation mode, without gradients, and back into the modes that they had."""
        modes = [(part, part.training) for module in self.modules.values() for part in module.modules()]
        try:
            for module in self.modules.values():
                module.eval()
            with torch.no_grad():
                yield
        finally:
            for part, mode in modes:
                part.training = mode

    def state_dict(self) -> dict[str, Any]:
        """Return all that trains."""
        return {
            "modules": {name: m.state_dict() for name, m in self.modules.items() if name not in self._fixed},
            "fixed": dict(self._fixed),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave.

        Raises:
            UsageError: It is of other networks.
        """
        ours = self.state_dict()
        if state["fixed"] != ours["fixed"]:
            names = sorted({name for name, _ in set(state["fixed"].items()) ^ set(ours["fixed"].items())})
            raise UsageError(f"the checkpoint was trained with other weights of the fixed {', '.join(names)}")
        if set(state["modules"]) != set(ours["modules"]) or set(state["optimizers"]) != set(ours["optimizers"]):
            raise UsageError(
                f"the checkpoint holds {sorted(state['modules'])} trained by {sorted(state['optimizers'])}, the recipe "
                f"{sorted(ours['modules'])} by {sorted(ours['optimizers'])}"
            )
        try:
            for name, tensors in state["modules"].items():
                self.modules[name].load_state_dict(tensors)
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"the checkpoint is of another network: {str(error).splitlines()[0]}") from error


def _fits(prefix: str, name: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def _named(name: str, optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, nn.Parameter]:
    """Return an optimizer's parameters by name, without those that the recipe itself froze."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    lost = [tuple(parameter.shape) for parameter in parameters if parameter not in names]
    if lost:
        raise UsageError(
            f"optimizer {name!r} holds a parameter {lost[0]} that none of the recipe's modules has",
            remedy="return its module from Recipe.modules",
        )
    return {names[parameter]: parameter for parameter in parameters if parameter.requires_grad}
