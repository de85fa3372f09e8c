"""VGG as a critic: features of images, by which training losses judge what pixels alone cannot.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015. Its weights
come from a file of the user's (`scanweave.weights.vgg`) and never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError

Kernel = tuple[Tensor, Tensor]
"""Weight ``(out, in, 3, 3)`` and bias ``(out,)`` of a convolution."""

VGG16_DEPTHS = (2, 2, 3, 3, 3)
VGG19_DEPTHS = (2, 2, 4, 4, 4)


@dataclass(frozen=True, slots=True)
class VggConfig:
    """Which features of which VGG, and how images enter it. Widths follow from the weights.

    Attributes:
        features: Layers whose output is given, for example ``conv4_3``.
        depths: Convolutions per block of the whole network, from which layers have their names.
        rectified: Whether features are taken after the layer's ReLU.
        padded: Whether convolutions keep the size, as VGG was trained; without, each takes a border of 1.
        pooling: How size is halved between blocks; VGG was trained with ``max``.
        peak: What white is to the weights: images in [0, 1] are multiplied by it.
        mean: Subtracted from each channel after that.
        deviation: What each channel is then divided by.
    """

    features: tuple[str, ...]
    depths: tuple[int, ...] = VGG19_DEPTHS
    rectified: bool = True
    padded: bool = True
    pooling: Literal["max", "average"] = "max"
    peak: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        known = [f"conv{block}_{k}" for block, depth in enumerate(self.depths, 1) for k in range(1, depth + 1)]
        unknown = [name for name in self.features if name not in known]
        if unknown or not self.features:
            raise UsageError(f"VGG has no layer {', '.join(unknown) or 'to give'}", remedy=f"it has {', '.join(known)}")

    @property
    def layers(self) -> dict[str, int]:
        """The convolutions needed, in order, each with its index in torchvision's list of modules.

        The cells of MatConvNet's files count alike: convolution, ReLU, ..., pool.
        """
        found: dict[str, int] = {}
        index = 0
        wanted = set(self.features)
        for block, depth in enumerate(self.depths, 1):
            for k in range(1, depth + 1):
                found[f"conv{block}_{k}"] = index
                wanted.discard(f"conv{block}_{k}")
                index += 2
                if not wanted:
                    return found
            index += 1
        return found

    @property
    def smallest_side(self) -> int:
        """Side of the smallest image that has all features."""
        side = 1
        names = list(self.layers)
        for name, before in zip(reversed(names), [*reversed(names[:-1]), ""], strict=True):
            side += 0 if self.padded else 2
            if before and before[:5] != name[:5]:  # a block ends, and a pool with it
                side *= 2
        return side


class Vgg(nn.Module):
    """Features of images, from weights that are constants: buffers, of which nothing trains.

    Args:
        config: Which features.
        kernels: Weight and bias of each layer in `VggConfig.layers`.

    Example:
        >>> kernels = {"conv1_1": (torch.ones(2, 3, 3, 3), torch.zeros(2))}
        >>> Vgg(VggConfig(features=("conv1_1",)), kernels)(torch.rand(1, 3, 8, 8))["conv1_1"].shape
        torch.Size([1, 2, 8, 8])
    """

    def __init__(self, config: VggConfig, kernels: Mapping[str, Kernel]) -> None:
        super().__init__()
        self.config = config
        for name in config.layers:
            for part, tensor in zip(("weight", "bias"), kernels[name], strict=True):
                self.register_buffer(f"{name}_{part}", tensor.detach().clone())
        for name, levels in (("mean", config.mean), ("deviation", config.deviation)):
            self.register_buffer(name, torch.tensor(levels).view(1, 3, 1, 1))
        self.eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the features of `image` by layer.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1]; channels as the weights or the published loss have them.

        Raises:
            ValueError: An image smaller than `VggConfig.smallest_side`, or not of three channels.
        """
        config = self.config
        smallest = config.smallest_side
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[2:]) < smallest:
            raise ValueError(f"VGG needs images (B, 3, H, W) of at least {smallest} pixels, not {tuple(image.shape)}")
        x = (image * config.peak - self.get_buffer("mean")) / self.get_buffer("deviation")
        found: dict[str, Tensor] = {}
        block = "conv1"
        for name in config.layers:
            if name[:5] != block:
                block = name[:5]
                x = F.max_pool2d(x, 2) if config.pooling == "max" else F.avg_pool2d(x, 2)
            weight, bias = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
            x = F.conv2d(x, weight, bias, padding=int(config.padded))
            rectified = F.relu(x)
            if name in config.features:
                found[name] = rectified if config.rectified else x
            x = rectified
        return found
