"""The recovery of DRDM: from a random field, step by step, to one that leaves a plausible image.

The image is warped anew from the original at each step, never from what was warped before.

Source: Zheng et al., Medical Image Analysis 2026, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from ..models import Drdm
from ..ops.displacement import compose, warp
from .config import RecoveryConfig
from .damping import damped_compose

Watcher = Callable[[int, Tensor, Tensor], None]
"""Told of each step: the step, the prediction, and the field composed with it."""

_DENSE = 8
TOGETHER = {2: 2, 3: 1}
"""Copies, by dimensions, that the network takes at once on a CPU: more leave its caches, in 3D they take gigabytes."""


def steps_of(trained: int, count: int | None) -> list[int]:
    """Return the steps that the loop runs, from the last to 0: all, or `count` of them.

    Fields change fast in the first few steps and slowly later, so that the first eight of a shorter loop are
    neighbours and the rest are spread evenly.

    Raises:
        ValueError: More than there are, or none.

    Example:
        >>> steps_of(80, 12)
        [79, 78, 77, 76, 75, 74, 73, 72, 53, 35, 18, 0]
    """
    if count is None or count == trained:
        return list(range(trained - 1, -1, -1))
    if not 1 <= count <= trained:
        raise ValueError(f"the network knows {trained} steps: {count} of them cannot be run")
    dense = min(_DENSE, count // 2)
    last = trained - dense
    sparse = count - dense
    spread = [round(last * (sparse - 1 - index) / sparse) for index in range(sparse)]
    return [trained - 1 - index for index in range(dense)] + spread


@torch.no_grad()
def recover(
    network: Drdm,
    image: Tensor,
    start: Tensor,
    *,
    config: RecoveryConfig,
    steps: Sequence[int] | None = None,
    watch: Watcher | None = None,
) -> Tensor:
    """Recover random fields.

    Args:
        network: With trained weights, in evaluation mode.
        image: ``(B, C, side, ...)`` in [0, 1]; sides equal and multiples of 8. One image for all fields may come as
            ``(1, C, ...)``.
        start: Random fields, ``(B, nd, side, ...)`` in fractions of the side. With a floor they must keep to it.
        config: The loop.
        steps: The network's steps to run; by default as `config` says.
        watch: Called after each step.

    Returns:
        The recovered fields, ``(B, nd, side, ...)`` in fractions of the side.

    Raises:
        ValueError: Shapes that do not go together.
    """
    count = start.shape[0]
    image = image.expand(count, *image.shape[1:]) if image.shape[0] == 1 else image
    steps = list(steps) if steps is not None else steps_of(network.config.steps, config.steps)
    together = TOGETHER[start.shape[1]] if start.device.type == "cpu" else count
    parts = [slice(first, first + together) for first in range(0, count, together)]
    total = start
    with _frozen(network), _one_core_each(len(parts)) as each:
        for step in steps:

            def advance(part: slice, step: int = step, total: Tensor = total) -> tuple[Tensor, Tensor]:
                return _advanced(network, image[part], total[part], step, config)

            found, total = (torch.cat(fields) for fields in zip(*each(advance, parts), strict=True))
            if watch is not None:
                watch(step, found, total)
    return total


@torch.no_grad()
def _advanced(network: Drdm, image: Tensor, total: Tensor, step: int, config: RecoveryConfig) -> tuple[Tensor, Tensor]:
    """Return what the network would undo of each field, as seen on the image, and the field with that undone."""
    unit = float(image.shape[2])
    seen = warp(image, total, unit=unit, mode=config.image_mode, padding=config.image_padding)
    found: Tensor = network(seen, step, recursions=config.recursions)
    if config.floor is None:
        return found, compose(found, total, unit=unit, padding=config.field_padding)
    return found, damped_compose(found, total, unit=unit, floor=config.floor, padding=config.field_padding)


@contextmanager
def _one_core_each(parts: int) -> Iterator[Callable[..., Iterable[tuple[Tensor, Tensor]]]]:
    """Give a `map` that runs parts side by side on one core each, if there are as many parts as cores.

    The network's maps are narrow: cores that share each of them wait for one another a tenth of the time.
    """
    cores = torch.get_num_threads()
    if cores == 1 or parts < cores:
        yield map
        return
    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield pool.map
        finally:
            torch.set_num_threads(cores)


@contextmanager
def _frozen(network: Drdm) -> Iterator[None]:
    """Keep a network in evaluation mode for a while."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
