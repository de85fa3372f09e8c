"""Whether a call is plain inference on a CPU, where some operators have a faster form with the same result."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def plain_cpu(*tensors: Tensor) -> bool:
    """Whether all tensors are float32 on a CPU and nothing records what is done to them.

    Gradients (forward ones too), autocast, tracing, compilation and export want the operators that everybody knows.
    """
    return not (
        torch.is_grad_enabled()
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    ) and all(one.device.type == "cpu" and one.dtype == torch.float32 and not _has_tangent(one) for one in tensors)


def _has_tangent(one: Tensor) -> bool:
    """Whether derivatives travel along with a tensor, as they may where gradients are off."""
    return forward_ad.unpack_dual(one).tangent is not None  # type: ignore[no-untyped-call]
