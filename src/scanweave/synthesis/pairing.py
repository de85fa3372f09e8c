"""Which source slices go with a wanted one, and what a training sample is made of."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_of(
    source: Tensor, target: Tensor, *, contrast: int, contrasts: int, position: float, seed: int
) -> dict[str, Tensor]:
    """Return a training sample.

    Args:
        source: ``(K, H, W)`` in [0, 1].
        target: ``(1, H, W)`` in [0, 1].
        contrast: Which of the targets it is.
        contrasts: How many there are.
        position: Where it lies, from source slice n on in spacings of the source, [0, 1).
        seed: Of its z.

    Returns:
        ``source`` ``(K, H, W)`` and ``target`` ``(1, H, W)`` in [-1, 1], ``contrast`` one-hot ``(contrasts,)``,
        ``position`` ``(1,)`` and ``seed`` ``()``.
    """
    return {
        "source": (2 * source - 1).clamp(-1, 1),
        "target": (2 * target - 1).clamp(-1, 1),
        "contrast": torch.eye(contrasts)[contrast],
        "position": torch.tensor([position], dtype=torch.float32),
        "seed": torch.tensor(seed),
    }
