"""Volumes as the tensors that fields pull, and back: stored values, never a window of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..volume import Volume
from .fields import Field
from .labels import LabelRule
from .warping import Beyond, pull

_UNSIGNED = {"u2": np.int32, "u4": np.int64, "u8": np.int64}  # PyTorch computes with none of these


def pull_volumes(
    field: Field,
    images: Sequence[Volume],
    labels: Sequence[Volume],
    *,
    rule: LabelRule = "nearest",
    beyond: Beyond = "edge",
) -> tuple[list[Volume], list[Volume]]:
    """Return volumes pulled along a field: images linearly, in stored units; labels as the whole numbers they are.

    Where `beyond` is ``zero`` an image is the lowest of its levels there, a map of labels is 0.

    Raises:
        InputError: NaN in an image, or labels that are not whole numbers.
    """
    floors = [volume.levels[0] if beyond == "zero" else 0.0 for volume in images]
    grey = [image_tensor(volume, field) - floor for volume, floor in zip(images, floors, strict=True)]
    marked = [label_tensor(volume, field) for volume in labels]
    pulled, moved = pull(field, grey, marked, rule=rule, beyond=beyond)
    made = [
        volume.with_voxels(_voxels(found + floor, volume))
        for found, floor, volume in zip(pulled, floors, images, strict=True)
    ]
    return made, [volume.with_voxels(_voxels(found, volume)) for found, volume in zip(moved, labels, strict=True)]


def image_tensor(volume: Volume, field: Field | None = None) -> Tensor:
    """Return stored values as ``(C, *space)``: float32, or float64 where that would lose some.

    Args:
        volume: The image.
        field: What will pull it; without slices where the field has none.

    Raises:
        InputError: The volume holds NaN or infinity.
    """
    refuse_nan(volume)
    voxels = volume.voxels
    wide = voxels.dtype.itemsize > 4 or (voxels.dtype.kind in "ui" and voxels.dtype.itemsize > 2)
    return _tensor(voxels.astype(np.float64 if wide else np.float32), volume, field)


def label_tensor(volume: Volume, field: Field | None = None) -> Tensor:
    """Return labels as ``(C, *space)``, whole numbers.

    Raises:
        InputError: They are not whole numbers.
    """
    refuse_unlabelled(volume)
    voxels = volume.voxels
    code = f"{voxels.dtype.kind}{voxels.dtype.itemsize}"
    return _tensor(voxels.astype(_UNSIGNED.get(code, voxels.dtype.newbyteorder("="))), volume, field)


def refuse_nan(volume: Volume) -> None:
    """Refuse an image with voxels that are no numbers, which interpolation would spread.

    Raises:
        InputError: It holds NaN or infinity.
    """
    if volume.dtype.kind == "f" and not np.all(np.isfinite(volume.voxels)):
        raise InputError(
            "holds voxels that are not numbers (NaN or infinity)", path=volume.source.path, remedy="replace them first"
        )


def refuse_unlabelled(volume: Volume) -> None:
    """Refuse a volume that is no map of labels.

    Raises:
        InputError: It holds floating-point numbers.
    """
    if volume.dtype.kind not in "ui":
        raise InputError(
            f"labels are whole numbers, and it holds {volume.dtype}",
            path=volume.source.path,
            remedy="write it as whole numbers: a value between two labels means neither",
        )


def unit_image(volume: Volume) -> Tensor:
    """Return an image ``(C, *space)`` float32 that is 0 and 1 at the ends of its levels; without slices if it has one.

    Raises:
        InputError: The volume holds NaN or infinity.
    """
    unit = torch.from_numpy(volume.unit())
    return unit[:, 0] if volume.grid.shape[0] == 1 else unit


def _tensor(voxels: NDArray[Any], volume: Volume, field: Field | None) -> Tensor:
    channels = voxels[None] if volume.channels is None else np.moveaxis(voxels, -1, 0)
    tensor = torch.from_numpy(np.ascontiguousarray(channels))
    flat = field is not None and len(field.space) == 2
    return tensor[:, 0] if flat else tensor


def _voxels(tensor: Tensor, volume: Volume) -> NDArray[Any]:
    """Return ``(C, *space)`` as voxels of a volume's layout and dtype."""
    if volume.dtype.kind in "ui" and tensor.is_floating_point():
        tensor = tensor.round()  # between neighbours, so within what the dtype holds
    array: NDArray[Any] = tensor.numpy().astype(volume.dtype)
    array = array[:, None] if array.ndim == 3 else array
    return array[0] if volume.channels is None else np.ascontiguousarray(np.moveaxis(array, 0, -1))
