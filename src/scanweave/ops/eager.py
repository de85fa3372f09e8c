"""Whether a call is plain inference on a CPU, where some operators have a faster form with the same result."""

from __future__ import annotations

import torch
from torch import Tensor


def plain_cpu(*tensors: Tensor) -> bool:
    """Whether all tensors are float32 on a CPU and nothing records what is done to them.

    Gradients, autocast, tracing, compilation and export want the operators that everybody knows.
    """
    return not (
        torch.is_grad_enabled()
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
    ) and all(one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors)
