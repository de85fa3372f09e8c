"""VGG's published files: MatConvNet's MATLAB file, torchvision's state dict, or safetensors of either naming.

None is shipped. MatConvNet's weights expect levels from 0 to 255 less a mean colour; torchvision's expect [0, 1] less a
mean, over a deviation. Which of the two a file holds shows in the names of its layers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.io
import torch
from torch import Tensor

from ..errors import WeightsError
from ..models.vgg import VGG19_DEPTHS, Kernel, Vgg, VggConfig
from .containers import read_content
from .layouts import without_prefix

MATLAB_CELLS = 43
"""Cells of ``imagenet-vgg-verydeep-19.mat``: 16 convolutions, their ReLUs, 5 pools, the classifier."""

_MATLAB_MARK = b"MATLAB 5.0 MAT-file"
_REMEDY = "give imagenet-vgg-verydeep-19.mat of MatConvNet, torchvision's vgg16 or vgg19 .pth, or safetensors of these"


@dataclass(frozen=True, slots=True)
class VggFile:
    """Weights of a VGG as a file has them.

    Attributes:
        naming: ``layers`` (``conv1_1.weight``: MatConvNet's weights) or ``torchvision`` (``features.0.weight``).
        tensors: Weights and biases by those names.
        path: The file.
        sha256: Its hash.
    """

    naming: Literal["layers", "torchvision"]
    tensors: Mapping[str, Any]
    path: Path
    sha256: str

    def network(self, config: VggConfig) -> Vgg:
        """Make the critic that `config` describes.

        Raises:
            WeightsError: A layer that it needs is missing, misshapen or not finite.
        """
        kernels: dict[str, Kernel] = {}
        channels = 3
        for layer, index in config.layers.items():
            stem = f"features.{index}" if self.naming == "torchvision" else layer
            kernels[layer] = self._kernel(stem, layer, channels)
            channels = kernels[layer][0].shape[0]
        return Vgg(config, kernels)

    def _kernel(self, stem: str, layer: str, channels: int) -> Kernel:
        weight, bias = self.tensors.get(f"{stem}.weight"), self.tensors.get(f"{stem}.bias")
        name = stem if stem == layer else f"{stem} ({layer})"
        if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
            raise WeightsError(f"lacks the layer {name} of this VGG", path=self.path, remedy=_REMEDY)
        if weight.ndim != 4 or tuple(weight.shape[1:]) != (channels, 3, 3) or tuple(bias.shape) != weight.shape[:1]:
            came = f"{tuple(weight.shape)} and {tuple(bias.shape)}"
            reason = f"has {name} of {came}, not of (n, {channels}, 3, 3) and (n,)"
            raise WeightsError(reason, path=self.path, remedy=_REMEDY)
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise WeightsError(f"has values in {name} that are not finite", path=self.path, remedy="get the file again")
        return weight.float(), bias.float()


def read_vgg(source: str | os.PathLike[str]) -> VggFile:
    """Read a file of VGG weights, whichever of the published containers it is.

    Raises:
        WeightsError: There is no such file, it is damaged or hostile, or holds something else.
    """
    path = Path(source)
    if _is_matlab(path):
        data = path.read_bytes()
        return VggFile("layers", _matlab_layers(path), path, hashlib.sha256(data).hexdigest())
    content = read_content(path)
    tensors, _ = without_prefix(content.items)
    if "features.0.weight" in tensors:
        return VggFile("torchvision", tensors, path, content.sha256 or "")
    if "conv1_1.weight" in tensors:
        return VggFile("layers", tensors, path, content.sha256 or "")
    shown = ", ".join(list(tensors)[:3]) or "nothing"
    raise WeightsError(f"holds no VGG, but {shown}", path=path, remedy=_REMEDY)


def _is_matlab(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MATLAB_MARK)) == _MATLAB_MARK
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise WeightsError(reason, path=path, remedy=_REMEDY) from error


def _matlab_layers(path: Path) -> dict[str, Tensor]:
    try:
        cells = scipy.io.loadmat(path, variable_names=["layers"]).get("layers")
    except Exception as error:  # a damaged file can fail in any way
        reason = f"is cut short or damaged: {str(error).strip() or type(error).__name__}"
        raise WeightsError(reason, path=path, remedy="get the file again") from error
    if not isinstance(cells, np.ndarray) or cells.dtype != object or cells.size != MATLAB_CELLS:
        came = "no variable `layers`" if cells is None else f"`layers` of {np.size(cells)} cells"
        raise WeightsError(f"has {came}, not `layers` of {MATLAB_CELLS} cells", path=path, remedy=_REMEDY)
    tensors: dict[str, Tensor] = {}
    for layer, index in VggConfig(features=("conv5_4",), depths=VGG19_DEPTHS).layers.items():
        try:
            # By name: other publications of the file order the fields otherwise.
            kernel, bias = np.ravel(np.ravel(np.ravel(cells)[index]["weights"])[0])
            tensors[f"{layer}.weight"] = torch.from_numpy(np.array(kernel, np.float32).transpose(3, 2, 0, 1).copy())
            tensors[f"{layer}.bias"] = torch.from_numpy(np.array(bias, np.float32).reshape(-1))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            reason = f"has no weights of {layer} in cell {index} of `layers`"
            raise WeightsError(reason, path=path, remedy=_REMEDY) from error
    return tensors
