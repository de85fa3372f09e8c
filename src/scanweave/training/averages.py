"""Exponential averages of weights over steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..errors import UsageError


class Averages:
    """Averages of some modules' weights: ``average = decay * average + (1 - decay) * weights``; buffers are copied.

    They begin as copies.

    Args:
        modules: The modules that are averaged, by name, on their device.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = dict(modules)
        self._parameters = {name: _copies(dict(module.named_parameters())) for name, module in modules.items()}
        self._buffers = {name: _copies(dict(module.named_buffers())) for name, module in modules.items()}

    @torch.no_grad()
    def update(self, decays: Mapping[str, float]) -> None:
        """Draw the averages towards the weights of now.

        Raises:
            UsageError: Decays of other modules than before, or outside [0, 1).
        """
        if set(decays) != set(self._modules):
            raise UsageError(f"averages of {sorted(decays)} after averages of {sorted(self._modules)}")
        for name, decay in decays.items():
            if not 0 <= decay < 1:
                raise UsageError(f"the average of {name!r} has a decay of {decay}, outside [0, 1)")
            module = self._modules[name]
            draw = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            draw(list(self._parameters[name].values()), list(module.parameters()), None)
            for key, buffer in module.named_buffers():
                self._buffers[name][key].copy_(buffer)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the modules have their averaged weights meanwhile."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, module in self._modules.items():
            own = dict(module.named_parameters()) | dict(module.named_buffers())
            for kept in (self._parameters[name], self._buffers[name]):
                for key in kept:
                    own[key].data, kept[key] = kept[key], own[key].data

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return the averages by module and key."""
        return {name: self._parameters[name] | self._buffers[name] for name in self._modules}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take up averages that `state_dict` gave."""
        for name, tensors in self.state_dict().items():
            for key, tensor in tensors.items():
                tensor.copy_(state[name][key])


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor.detach().clone() for key, tensor in tensors.items()}
