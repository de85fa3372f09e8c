"""Nothing here is trained, and the weights of goldens are made anew."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def equalised(fill) -> Callable[..., nn.Module]:
    """Fill a network of equalised learning rate as the goldens of Uni-COAL were: at the scale it is built for."""

    def make(network: nn.Module, prefix: str = "") -> nn.Module:
        state = {f"{prefix}{key}": tensor for key, tensor in network.state_dict().items()}
        filled = {key: at_scale(key, value, state[key]) for key, value in fill(state).items()}
        network.load_state_dict({key.removeprefix(prefix): value for key, value in filled.items()})
        return network.eval()

    return make


def at_scale(key: str, value: Tensor, like: Tensor) -> Tensor:
    leaf = key.rsplit(".", 1)[-1]
    if leaf in {"up_filter", "down_filter", "resample_filter", "transform", "fourier_coefs"}:
        return like
    if leaf == "magnitude_ema":
        return 1 + value
    if leaf == "weight" and value.ndim >= 2:
        value = value * math.sqrt(math.prod(value.shape[1:]))
    if re.search(r"mapping\.fc\d+\.(weight|bias)$", key):
        value = value * 100
    return value + 1 if key.endswith("affine.bias") else value


@pytest.fixture(scope="session")
def fusing(fill) -> Callable[..., nn.Module]:
    """Fill a network of two cameras as its goldens were: trunks tamed, deformable taps moved visibly."""

    def make(network: nn.Module, *, trunk: str = "", last: float = 1.0) -> nn.Module:
        state = fill(network.state_dict())
        for key, value in state.items():
            if trunk and re.search(rf"^({trunk})\.\d+\.conv2\.(weight|bias)$", key):
                value *= 0.1
            elif key.endswith("conv_offset.weight"):
                value *= 10
            elif key == "conv_last.weight":
                value *= last
        network.load_state_dict(state)
        return network.eval()

    return make
